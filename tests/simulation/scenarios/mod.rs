//! Scenarios with exact expected numbers: four validators of 100 LOCK each unless said otherwise.

mod books;
mod jobs;
mod staking;
mod trials_challenges;
mod trials_concessions;
mod trials_lies;
mod trials_silence;
mod trials_timing;
mod trials_waves;

use lockstep_chain::state::tables::SLASHES;
use lockstep_chain::wire::any;
use lockstep_proto::lockstep::chain::v1::Params;
use lockstep_proto::lockstep::job::v1::{Job, JobState, MsgPostJob, PayoutKind};
use lockstep_proto::lockstep::staking::v1::{Offence, Slash};
use lockstep_tests::actions::{self, with_models};
use lockstep_tests::cluster::Cluster;
use lockstep_tests::executor::{self, Behaviour, Claim};
use lockstep_tests::genesis::{LOCK, genesis, params};
use lockstep_tests::party::{Kind, Manner};

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

/// Every verdict: against whom, for what, how much was taken.
fn verdicts(cluster: &Cluster) -> Vec<(usize, Offence, u64)> {
    let number = |slash: &Slash| {
        let mut all = cluster.validators.iter();
        all.position(|v| v.operator.address == slash.validator.as_slice()).unwrap()
    };
    slashes(cluster).iter().map(|s| (number(s), s.offence(), s.amount)).collect()
}

/// Posts a job of which two validators are members, before they have committed.
fn post_to_two(cluster: &mut Cluster) -> (u64, [usize; 2]) {
    let id = post_child(cluster);
    (id, committee(cluster, id).try_into().unwrap())
}

fn manner(cluster: &mut Cluster, who: &str, manner: Manner) {
    cluster.manners.insert(who.to_owned(), manner);
}

/// How often an account has made a move that was taken.
fn made(cluster: &Cluster, who: &str, kind: Kind) -> usize {
    let taken = cluster.played.iter().filter(|it| it.code == 0);
    taken.filter(|it| it.who == who && it.kind == kind).count()
}

/// The codes with which moves of an account were refused.
fn refused(cluster: &Cluster, who: &str, kind: Kind) -> Vec<u32> {
    let refused = cluster.played.iter().filter(|it| it.code != 0);
    refused.filter(|it| it.who == who && it.kind == kind).map(|it| it.code).collect()
}

/// Whether a job has ended with the right answer.
fn is_right(cluster: &Cluster, id: u64) -> bool {
    let job = cluster.job(id);
    job.state() == JobState::Final
        && job.result_root == executor::root(cluster.state(), &job, Claim::Truth)
}
