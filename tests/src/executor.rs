//! Executors of every kind: what each offers in its votes and sends as transactions, given the
//! committed state. "Running" the example model gives ones, as its table is of ones.

use lockstep_chain::commitment::{commitment, output_root, result_root};
use lockstep_chain::envelope::any;
use lockstep_chain::job::phase::Opening;
use lockstep_chain::model::artefact::example_leaf;
use lockstep_chain::model::possession;
use lockstep_chain::query;
use lockstep_chain::state::StateRead;
use lockstep_chain::state::tables::{Hash, PARAMS, TIP, VERSIONS};
use lockstep_proto::lockstep::block::v1::{Commitment, Reveal, VoteExtension};
use lockstep_proto::lockstep::job::v1::{Job, Member, MsgDeliverOutput, RunStatus};
use lockstep_proto::lockstep::model::v1::{LeafProof, MsgProvePossession, Version};
use prost_types::Any;

use crate::keys::Validator;

/// How an executor behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// As it should.
    Honest,
    /// Wrong output for every job from this one on.
    LiesFrom(u64),
    /// Wrong output for this job alone.
    LiesOnceFor(u64),
    /// Never commits.
    Silent,
    /// Commits and never reveals.
    NeverReveals,
    /// Reveals so many heights after it committed.
    RevealsAfter(u64),
    /// Waits for another member's commitment, and later its opening, and shows them as its own.
    Copies,
    /// Commits to another salt in every round, so that no two of its votes say the same.
    Equivocates,
    /// Does everything but hand in outputs.
    NeverDelivers,
    /// Does nothing at all, not even prove possession.
    Dead,
}

/// The output of the example model.
#[must_use]
pub fn honest_output(version: &Version) -> Vec<u8> {
    (0..version.output_values).flat_map(|_| 1.0_f32.to_le_bytes()).collect()
}

fn output(version: &Version, job: &Job, behaviour: Behaviour) -> Vec<u8> {
    let mut output = honest_output(version);
    let lies = match behaviour {
        Behaviour::LiesFrom(first) => job.id >= first,
        Behaviour::LiesOnceFor(id) => job.id == id,
        _ => false,
    };
    if lies {
        output[..4].copy_from_slice(&2.0_f32.to_le_bytes());
    }
    output
}

/// The result root that an executor of this kind arrives at.
///
/// # Panics
/// Where the state lacks the job's version.
#[must_use]
pub fn root(state: &dyn StateRead, job: &Job, behaviour: Behaviour) -> Hash {
    let version = VERSIONS.must(state, &job.version).unwrap();
    let output = output(&version, job, behaviour);
    let output = output_root(&version, RunStatus::Halted, &output).unwrap();
    result_root(&version, job, RunStatus::Halted, &output).unwrap()
}

/// What an executor derives for a job; the variant is 0 for all that keep to one.
#[must_use]
pub fn salt(validator: &Validator, job: &Job, variant: u64) -> Hash {
    lockstep_vm::hash::hash(
        "lockstep/test-salt",
        &[
            &validator.executor.address,
            &job.id.to_le_bytes(),
            &job.attempt.to_le_bytes(),
            &variant.to_le_bytes(),
        ],
    )
}

/// Variants of an equivocator's salt.
const VARIANTS: u64 = 16;

/// Everything that the executor has on offer in a round.
///
/// # Panics
/// Where the state is not one of the chain's.
#[must_use]
pub fn offers(
    state: &dyn StateRead,
    all: &[Validator],
    me: &Validator,
    behaviour: Behaviour,
    round: u32,
) -> VoteExtension {
    let duties = query::duties(state, &me.operator.address).unwrap();
    let mut offers = VoteExtension::default();
    if matches!(behaviour, Behaviour::Dead) {
        return offers;
    }
    offers.holds = duties.hold.iter().map(|job| job.id).collect();
    for job in &duties.commit {
        let sealed = seal(state, me, job, behaviour, u64::from(round) + duties.height * 3);
        if let Some(commitment) = sealed {
            offers.commitments.push(Commitment { job: job.id, attempt: job.attempt, commitment });
        }
    }
    for job in &duties.reveal {
        if let Some((salt, result_root)) = open(state, all, me, job, behaviour) {
            offers.reveals.push(Reveal {
                job: job.id,
                attempt: job.attempt,
                salt: salt.to_vec(),
                result_root: result_root.to_vec(),
            });
        }
    }
    offers
}

fn present<'a>(job: &'a Job, me: &'a Validator) -> (Option<&'a Member>, Vec<&'a Member>) {
    let now = job.members.iter().filter(|member| member.attempt == job.attempt);
    let (own, others): (Vec<_>, Vec<_>) =
        now.partition(|member| member.validator == me.operator.address);
    (own.first().copied(), others)
}

fn seal(
    state: &dyn StateRead,
    me: &Validator,
    job: &Job,
    behaviour: Behaviour,
    variant: u64,
) -> Option<Vec<u8>> {
    let variant = match behaviour {
        Behaviour::Silent => return None,
        Behaviour::Copies => {
            let (_, others) = present(job, me);
            let victim = others.iter().find(|member| !member.commitment.is_empty());
            return victim.map(|member| member.commitment.clone());
        }
        Behaviour::Equivocates => variant % VARIANTS,
        _ => 0,
    };
    let chain_id = TIP.must(state, &()).unwrap().chain_id;
    let (salt, result_root) = (salt(me, job, variant), root(state, job, behaviour));
    let opening = Opening { attempt: job.attempt, salt: &salt, result_root: &result_root };
    Some(commitment(&chain_id, job.id, &me.operator.address, &opening).to_vec())
}

fn open(
    state: &dyn StateRead,
    all: &[Validator],
    me: &Validator,
    job: &Job,
    behaviour: Behaviour,
) -> Option<(Hash, Hash)> {
    let (own, others) = present(job, me);
    let own = own?;
    let tip = TIP.must(state, &()).unwrap();
    match behaviour {
        Behaviour::NeverReveals => None,
        Behaviour::RevealsAfter(heights) if tip.height < own.committed_height + heights => None,
        Behaviour::Copies => {
            let copied = others.iter().find(|member| member.commitment == own.commitment)?;
            // As if read from the other's vote.
            let victim = all.iter().find(|v| copied.validator == v.operator.address)?;
            Some((salt(victim, job, 0), root(state, job, Behaviour::Honest)))
        }
        Behaviour::Equivocates => (0..VARIANTS).find_map(|variant| {
            let sealed = seal(state, me, job, behaviour, variant)?;
            let bound = sealed == own.commitment;
            bound.then(|| (salt(me, job, variant), root(state, job, behaviour)))
        }),
        _ => Some((salt(me, job, 0), root(state, job, behaviour))),
    }
}

/// What the executor has to send as transactions now.
///
/// # Panics
/// Where the state is not one of the chain's.
#[must_use]
pub fn messages(state: &dyn StateRead, me: &Validator, behaviour: Behaviour) -> Vec<Any> {
    let duties = query::duties(state, &me.operator.address).unwrap();
    let mut messages = Vec::new();
    if behaviour == Behaviour::Dead {
        return messages;
    }
    let leaves = PARAMS.must(state, &()).unwrap().possession_leaves;
    for id in duties.possess {
        let version = VERSIONS.must(state, &id).unwrap();
        let asked = possession::challenge(&version, &me.operator.address, leaves);
        let proof = |index| LeafProof { index, leaf: example_leaf(), path: Vec::new() };
        messages.push(any(&MsgProvePossession {
            executor: me.executor.text(),
            version: id,
            leaves: asked.into_iter().map(proof).collect(),
        }));
    }
    for job in duties.deliver {
        if behaviour == Behaviour::NeverDelivers {
            continue;
        }
        let version = VERSIONS.must(state, &job.version).unwrap();
        messages.push(any(&MsgDeliverOutput {
            executor: me.executor.text(),
            job: job.id,
            status: RunStatus::Halted.into(),
            output: output(&version, &job, behaviour),
        }));
    }
    messages
}
