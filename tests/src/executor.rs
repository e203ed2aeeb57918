//! Executors of every kind: what each offers in its votes and sends as transactions, given the
//! committed state.

use lockstep_chain::commitment::Opening;
use lockstep_chain::commitment::{commitment, result_root};
use lockstep_chain::model::possession;
use lockstep_chain::query;
use lockstep_chain::state::StateRead;
use lockstep_chain::state::tables::{Hash, PARAMS, TIP, VERSIONS};
use lockstep_chain::wire::any;
use lockstep_proto::lockstep::block::v1::{Commitment, Reveal, VoteExtension};
use lockstep_proto::lockstep::job::v1::{Job, Member, MsgDeliverOutput, RunStatus};
use lockstep_proto::lockstep::model::v1::{LeafProof, MsgProvePossession};
use lockstep_vm::result::{Status, input_ids, input_root};
use prost_types::Any;

use crate::keys::Validator;
use crate::model::{Run, TOKENS_MAX, VOCABULARY, artefact};

/// How an executor behaves while a job is computed; how it plays a trial is another matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// As it should.
    Honest,
    /// Wrong output for every job from this one on, the same as every other liar's.
    LiesFrom(u64),
    /// The same wrong output for this job alone.
    LiesOnceFor(u64),
    /// Wrong output for every job, one of its own; the number tells inventions apart.
    Invents(u8),
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

/// What somebody says that a run gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Claim {
    /// What it gave.
    Truth,
    /// Something else; the number tells lies apart.
    Lie(u8),
}

impl Claim {
    /// What is claimed of a run with this input.
    ///
    /// # Panics
    /// Where the model does not take the input.
    #[must_use]
    pub fn run(self, ids: &[u32]) -> Run {
        let mut run = artefact().run(ids);
        if let Self::Lie(number) = self {
            if run.status == Status::Fault {
                run = Run { status: Status::Halted, output: artefact().run(&[0]).output };
            }
            // The last bit of one value.
            run.output[4 * usize::from(number)] ^= 1;
        }
        run
    }
}

impl Behaviour {
    /// What an executor of this kind reveals for a job.
    #[must_use]
    pub fn claim(self, job: u64) -> Claim {
        match self {
            Self::LiesFrom(first) if job >= first => Claim::Lie(0),
            Self::LiesOnceFor(id) if job == id => Claim::Lie(0),
            Self::Invents(number) => Claim::Lie(number.wrapping_add(1)),
            _ => Claim::Truth,
        }
    }
}

/// The token ids of a job. Those of a blob are not on the chain, so they are tried.
///
/// # Panics
/// Where a blob is none that the tests post.
#[must_use]
pub fn tokens(job: &Job) -> Vec<u32> {
    if !job.input.is_empty() {
        return input_ids(&job.input).expect("whole token ids");
    }
    blobs().into_iter().find(|ids| root_of(ids) == *job.input_root).expect("one of the blobs")
}

fn root_of(ids: &[u32]) -> Hash {
    input_root(&lockstep_vm::result::input_bytes(ids))
}

/// The inputs that the tests post as blobs: rising by one from any token, of every length.
fn blobs() -> Vec<Vec<u32>> {
    let mut blobs = Vec::new();
    for first in 0..VOCABULARY {
        for length in 1..=TOKENS_MAX {
            blobs.push((first..first + length).map(|id| id % VOCABULARY).collect());
        }
    }
    blobs
}

pub(crate) fn run_status(status: Status) -> RunStatus {
    if status == Status::Halted { RunStatus::Halted } else { RunStatus::Fault }
}

/// The result root of a claim about a job.
///
/// # Panics
/// Where the state lacks the job's version.
#[must_use]
pub fn root(state: &dyn StateRead, job: &Job, claim: Claim) -> Hash {
    let version = VERSIONS.must(state, &job.version).unwrap();
    let run = claim.run(&tokens(job));
    result_root(&version, job, run_status(run.status), &run.output_root()).unwrap()
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
    let (salt, result_root) = (salt(me, job, variant), root(state, job, behaviour.claim(job.id)));
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
            Some((salt(victim, job, 0), root(state, job, Claim::Truth)))
        }
        Behaviour::Equivocates => (0..VARIANTS).find_map(|variant| {
            let sealed = seal(state, me, job, behaviour, variant)?;
            let bound = sealed == own.commitment;
            bound.then(|| (salt(me, job, variant), root(state, job, behaviour.claim(job.id))))
        }),
        _ => Some((salt(me, job, 0), root(state, job, behaviour.claim(job.id)))),
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
        let proof = |index| {
            let (leaf, path) = artefact().leaf(index);
            LeafProof { index, leaf, path: path.iter().map(|hash| hash.to_vec()).collect() }
        };
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
        let run = behaviour.claim(job.id).run(&tokens(&job));
        messages.push(any(&MsgDeliverOutput {
            executor: me.executor.text(),
            job: job.id,
            status: run_status(run.status).into(),
            output: run.output,
        }));
    }
    messages
}
