//! Scenarios with exact expected numbers: four validators of 100 LOCK each unless said otherwise.

mod jobs;
mod staking;
mod trials;

use lockstep_chain::envelope::any;
use lockstep_chain::state::tables::SLASHES;
use lockstep_proto::lockstep::chain::v1::Params;
use lockstep_proto::lockstep::job::v1::{Job, JobState, MsgPostJob, PayoutKind};
use lockstep_proto::lockstep::staking::v1::Slash;
use lockstep_tests::actions::{self, with_models};
use lockstep_tests::cluster::Cluster;
use lockstep_tests::executor::Behaviour;
use lockstep_tests::genesis::{LOCK, genesis, params};

const STAKE: u64 = 100 * LOCK;

fn four() -> Cluster {
    with_models(&genesis(&[100; 4], params()))
}

fn four_with(change: impl FnOnce(&mut Params)) -> Cluster {
    let mut params = params();
    change(&mut params);
    with_models(&genesis(&[100; 4], params))
}

fn post(cluster: &mut Cluster, job: &MsgPostJob) -> u64 {
    let tx = cluster.tx("dev0", vec![any(job)]);
    cluster.deliver(vec![tx]);
    cluster.totals().jobs
}

fn post_child(cluster: &mut Cluster) -> u64 {
    post(cluster, &actions::job("dev0", "child", &[1, 2, 3]))
}

/// The numbers of the job's present members, in order.
fn committee(cluster: &Cluster, id: u64) -> Vec<usize> {
    let job = cluster.job(id);
    let present = job.members.iter().filter(|member| member.attempt == job.attempt);
    let number = |operator: &[u8]| {
        let found = cluster.validators.iter().position(|v| v.operator.address == operator);
        found.unwrap()
    };
    present.map(|member| number(&member.validator)).collect()
}

fn until(cluster: &mut Cluster, id: u64, state: JobState) -> Job {
    for _ in 0..150 {
        let job = cluster.job(id);
        if job.state() == state {
            return job;
        }
        cluster.run(1);
    }
    panic!("job {id} is {:?} and never {state:?}", cluster.job(id).state());
}

fn slashes(cluster: &Cluster) -> Vec<Slash> {
    SLASHES.scan(cluster.state(), &(), 1000).unwrap().into_iter().map(|(_, slash)| slash).collect()
}

fn tokens(cluster: &Cluster) -> Vec<u64> {
    (0..4).map(|number| cluster.validator(number).tokens).collect()
}

/// All stakes as at the start but for one.
fn all_but(number: usize, stake: u64) -> Vec<u64> {
    (0..4).map(|other| if other == number { stake } else { STAKE }).collect()
}

fn paid(job: &Job, kind: PayoutKind) -> Vec<u64> {
    job.payouts.iter().filter(|payout| payout.kind() == kind).map(|payout| payout.amount).collect()
}

fn set(cluster: &mut Cluster, number: usize, behaviour: Behaviour) {
    cluster.behaviours[number] = behaviour;
}
