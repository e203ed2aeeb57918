//! Executors against the real state machine: what they do for jobs, and what faults do to them.

use std::time::Duration;

use crate::common::{Network, Running, callable, job_of};
use lockstep_executor::blobs::{BlobStore, Reference};
use lockstep_executor::fault::{Fault, Kind};
use lockstep_executor::{backend, config::Config};
use lockstep_proto::lockstep::job::v1::{JobState, MemberState, MsgPostJob};
use lockstep_vm::artefact::Reader;

/// An input, and the hash of what the specification's own program gives for it.
pub(crate) const TOKENS: &[u32] = &[1, 2, 3, 4, 5, 0, 1];
pub(crate) const RIGHT: &str = "ff6dd1fba00c99559df0655e49dfd1bcb47d45b8a8c65fd224362fc05f988def";

/// Puts the golden artefact into a validator's store, as an upload would.
pub(crate) async fn store(network: &Network, number: usize) {
    let artefact = backend::golden_artefact().unwrap();
    let mut reader = Reader::new(std::io::Cursor::new(artefact.clone())).unwrap();
    let leaves = reader.each_leaf(|_, _| {}).unwrap().concat();
    let root = reader.manifest().root();
    let manifest = reader.manifest().encode().to_vec().into();
    let store = BlobStore::open(network.homes[number].path(), "blobs").unwrap();
    let reference = Reference::Artefact { version: 1, manifest };
    let layout = store.expect(&root, reference, &leaves).await.unwrap();
    let mut intake = store.intake(layout).await.unwrap();
    intake.push(&artefact).await.unwrap();
    assert!(store.finish(intake).await.unwrap());
}

/// A network with a callable version, where each executor runs.
pub(crate) async fn ready(
    validators: u8,
    change: impl Fn(usize, &mut Config),
) -> (Network, Vec<Running>) {
    ready_in(Network::start(validators), change).await
}

pub(crate) async fn ready_in(
    network: Network,
    change: impl Fn(usize, &mut Config),
) -> (Network, Vec<Running>) {
    network.publish();
    let mut running = Vec::new();
    for number in 0..network.homes.len() {
        store(&network, number).await;
        running.push(network.run(number, |config| change(number, config)));
    }
    network.until("the version is callable", callable).await;
    (network, running)
}

fn fault(kind: Kind) -> Vec<Fault> {
    vec![Fault { job: None, nth: Some(1), kind }]
}

/// Waits until all of `numbers` have something on offer.
async fn offered(network: &Network, numbers: &[usize]) {
    let all = |chain: &crate::common::Chain| {
        numbers.iter().all(|number| {
            let offers = &chain.offers[*number];
            !offers.commitments.is_empty() || !offers.reveals.is_empty()
        })
    };
    network.wait("something is on offer", all).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_verified_four_blocks_after_posting_and_then_delivered() {
    let (network, _running) = ready(2, |_, _| {}).await;
    let id = network.post(TOKENS);
    let posted = network.job(id).posted_height;
    // The votes of the next height carry the commitments; they stand in the one after.
    offered(&network, &[0, 1]).await;
    network.step();
    network.step();
    offered(&network, &[0, 1]).await;
    let until = |chain: &crate::common::Chain| {
        let job = job_of(chain, id);
        (job.verified_height > 0).then_some(job.verified_height)
    };
    let verified = network.until("the job is verified", until).await;
    assert!(verified - posted <= 4, "posted {posted}, verified {verified}");
    let ended = |chain: &crate::common::Chain| {
        let job = job_of(chain, id);
        (job.state() == JobState::Final).then_some(job)
    };
    let job = network.until("the job is final", ended).await;
    assert_eq!(blake3::hash(&job.output).to_hex().as_str(), RIGHT);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_jobs_at_once_all_become_final_though_they_do_not_fit_into_votes() {
    let (network, _running) = ready(2, |_, config| config.batch_jobs_max = 5).await;
    let jobs: Vec<u64> = (0..40_u32).map(|n| network.post(&[n % 6, n / 6, 1])).collect();
    let all = |chain: &crate::common::Chain| {
        jobs.iter().all(|id| job_of(chain, *id).state() == JobState::Final).then_some(())
    };
    network.until("all jobs are final", all).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_input_is_uploaded_once_held_by_all_and_run() {
    let network = Network::start(2);
    network.publish();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let listen = ([127, 0, 0, 1], port).into();
    store(&network, 0).await;
    let url = format!("http://127.0.0.1:{port}");
    let _first = network.run(0, |config| config.listen = listen);
    // The second fetches artefact and input from the first.
    let _second = network.run(1, |config| config.peers = vec![url.clone()]);
    network.until("the version is callable", callable).await;
    let input = lockstep_vm::result::input_bytes(TOKENS);
    let root = lockstep_vm::result::input_root(&input);
    let put = format!("{url}/v1/blobs/{}", hex::encode(root));
    let client = reqwest::Client::new();
    let refused = client.put(&put).body(input.clone()).send().await.unwrap();
    assert_eq!(refused.status(), 404);
    assert!(refused.text().await.unwrap().contains("the chain references no blob"));
    let id = network.post_message(MsgPostJob {
        input_root: root.to_vec(),
        input_bytes: input.len() as u64,
        ..MsgPostJob::default()
    });
    let corrupt = client.put(&put).body(vec![0; input.len()]).send().await.unwrap();
    assert_eq!(corrupt.status(), 400);
    assert_eq!(client.put(&put).body(input).send().await.unwrap().status(), 201);
    let ended =
        |chain: &crate::common::Chain| (job_of(chain, id).state() == JobState::Final).then_some(());
    network.until("the job is final", ended).await;
    let output = client.get(format!("{url}/v1/jobs/{id}/output")).send().await.unwrap();
    assert_eq!(output.bytes().await.unwrap(), network.job(id).output);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_of_executor_and_node_the_same_commitment_is_offered_and_opened() {
    let (network, mut running) = ready(2, |_, _| {}).await;
    let id = network.post(&[3]);
    offered(&network, &[0, 1]).await;
    let before = network.chain.lock().unwrap().offers[0].clone();
    let first = running.remove(0);
    first.stop.send(true).unwrap();
    first.task.await.unwrap().unwrap();
    let _node = network.serve(0);
    let _again = network.run(0, |_| {});
    offered(&network, &[0]).await;
    assert_eq!(network.chain.lock().unwrap().offers[0], before);
    let ended =
        |chain: &crate::common::Chain| (job_of(chain, id).state() == JobState::Final).then_some(());
    network.until("the job is final", ended).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_show_copy_late_reveal_and_silence_never_reach_revealed() {
    for kind in [Kind::NoShow, Kind::Silent, Kind::Copy, Kind::LateReveal] {
        let faulty = |number, config: &mut Config| {
            if number == 0 {
                config.fault = fault(kind);
            }
        };
        let (network, _running) = ready(2, faulty).await;
        let id = network.post(&[3]);
        let me = network.operators[0].to_vec();
        let acted = |chain: &crate::common::Chain| {
            let job = job_of(chain, id);
            let member = job.members.iter().find(|member| member.validator == me)?;
            let over = !matches!(member.state(), MemberState::Asked | MemberState::Committed);
            over.then(|| (member.clone(), job.clone()))
        };
        let (member, job) = network.until("the fault shows", acted).await;
        match kind {
            Kind::NoShow | Kind::Silent => assert_eq!(member.state(), MemberState::NoShow),
            _ => assert_eq!(member.state(), MemberState::Unrevealed, "{kind:?}"),
        }
        let honest = job.members.iter().find(|member| member.validator != me).unwrap();
        assert_eq!(kind == Kind::Copy, honest.commitment == member.commitment, "{kind:?}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
