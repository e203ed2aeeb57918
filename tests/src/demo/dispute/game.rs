//! The games as the blocks show them: how long, how many moves, and what the chain recomputed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use lockstep_client::query;
use lockstep_client::rpc::Client;
use lockstep_proto::cosmos::tx::v1beta1::{TxBody, TxRaw};
use lockstep_proto::lockstep::job::v1::JobState;
use lockstep_proto::lockstep::trial::v1::{
    MsgCallNode, MsgChallenge, MsgDefend, MsgOpenNode, MsgProveStep, MsgProveStepResponse,
};
use lockstep_vm::artefact::Manifest;
use lockstep_vm::trace::{Statement, verify_step};
use prost::{Message, Name};

use super::lies::Plan;
use crate::report::say;

/// How long a trial may take.
const TRIAL_MAX: Duration = Duration::from_mins(2);

/// What was measured.
#[derive(Debug, serde::Serialize)]
pub(crate) struct Figures {
    /// From the challenge to the step that felled a trace, the longest of all games.
    pub(crate) blocks: u64,
    /// Transactions of that game.
    pub(crate) moves: u64,
    /// Recomputing a step with the definition that the chain uses, the longest of all.
    pub(crate) step_ms: f64,
    /// The largest witness.
    pub(crate) witness_bytes: usize,
    /// Games that ended with a trace's fall.
    pub(crate) games: usize,
}

/// One message of a trial in a block.
struct Move {
    height: u64,
    job: u64,
    what: What,
}

enum What {
    Challenge,
    /// Steps root and number of the trace.
    Defend(Vec<u8>),
    Call(u32),
    Open(u32),
    Prove {
        trace: u32,
        position: u64,
        witness: Vec<u8>,
        right: bool,
    },
}

/// Waits for the trials of both lies, and returns when each began.
pub(crate) async fn watch(client: &Client, plan: &Plan) -> anyhow::Result<BTreeMap<u64, u64>> {
    let start = Instant::now();
    let mut began = BTreeMap::new();
    loop {
        for trial in query::trials(client).await?.trials {
            if began.insert(trial.job, trial.started_height).is_none() {
                say::line(&format!(
                    "job {} is on trial from block {}",
                    trial.job, trial.started_height
                ));
            }
        }
        let mut open = 0;
        for (job, _) in plan.lies() {
            let job = query::job(client, job).await?;
            open += usize::from(!began.contains_key(&job.id) || job.state() == JobState::OnTrial);
        }
        if open == 0 {
            return Ok(began);
        }
        if start.elapsed() > TRIAL_MAX {
            bail!("trials did not begin and end within {TRIAL_MAX:?}; see the executors' logs");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Reads every move from the blocks.
pub(crate) async fn measure(
    client: &Client,
    plan: &Plan,
    began: &BTreeMap<u64, u64>,
) -> anyhow::Result<Figures> {
    let from = began.values().copied().min().context("no trial was held")?;
    let to = client.status().await?.height;
    let mut moves = Vec::new();
    for height in from..=to {
        for (bytes, included) in client.block_txs(height).await?.into_iter().skip(1) {
            if included.code == 0 {
                moves.extend(read(&bytes, &included, height)?);
            }
        }
    }
    let mut figures = Figures { blocks: 0, moves: 0, step_ms: 0.0, witness_bytes: 0, games: 0 };
    for (job, _) in plan.lies() {
        let own: Vec<&Move> = moves.iter().filter(|one| one.job == job).collect();
        let start = *began.get(&job).context("a lie without a trial")?;
        one_job(client, job, start, &own, &mut figures).await?;
    }
    say::line(&format!(
        "{} traces fell; the longest game took {} blocks and {} moves; a step {:.2} ms, {} bytes",
        figures.games, figures.blocks, figures.moves, figures.step_ms, figures.witness_bytes
    ));
    Ok(figures)
}

async fn one_job(
    client: &Client,
    job: u64,
    start: u64,
    moves: &[&Move],
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let job = query::job(client, job).await?;
    let manifest = Manifest::decode(&query::manifest(client, job.version).await?)?;
    let input_root = job.input_root.as_slice().try_into().context("an input root")?;
    let tokens = u32::try_from(job.input.len() / 4)?;
    let traces: Vec<&Vec<u8>> = moves
        .iter()
        .filter_map(|one| if let What::Defend(root) = &one.what { Some(root) } else { None })
        .collect();
    for one in moves {
        let What::Prove { trace, position, witness, right } = &one.what else { continue };
        let steps_root = traces.get(*trace as usize).context("a proof without a trace")?;
        let steps_root = steps_root.as_slice().try_into().context("a steps root")?;
        let statement = Statement {
            manifest: &manifest,
            input_root: &input_root,
            tokens,
            steps_root: &steps_root,
        };
        let clock = Instant::now();
        verify_step(&statement, *position, witness).context("a witness that the chain took")?;
        figures.step_ms = figures.step_ms.max(clock.elapsed().as_secs_f64() * 1e3);
        figures.witness_bytes = figures.witness_bytes.max(witness.len());
        if *right {
            continue;
        }
        figures.games += 1;
        let blocks = one.height - start;
        let of_game =
            moves.iter().filter(|other| other.height <= one.height && other.is_of(*trace));
        if blocks >= figures.blocks {
            figures.blocks = blocks;
            figures.moves = u64::try_from(of_game.count())?;
        }
        say::line(&format!(
            "job {}: a trace falls at leaf {position}, {blocks} blocks after the trial began",
            job.id
        ));
    }
    Ok(())
}

impl Move {
    /// Whether it belongs to the game about a trace; the challenge belongs to all of them.
    fn is_of(&self, wanted: u32) -> bool {
        match &self.what {
            What::Challenge | What::Defend(_) => true,
            What::Call(trace) | What::Open(trace) | What::Prove { trace, .. } => *trace == wanted,
        }
    }
}

fn read(
    bytes: &[u8],
    included: &lockstep_client::rpc::Included,
    height: u64,
) -> anyhow::Result<Vec<Move>> {
    let raw = TxRaw::decode(bytes)?;
    let body = TxBody::decode(raw.body_bytes.as_slice())?;
    let mut moves = Vec::new();
    for (place, any) in body.messages.iter().enumerate() {
        let found = if any.type_url == MsgChallenge::type_url() {
            Some((MsgChallenge::decode(any.value.as_slice())?.job, What::Challenge))
        } else if any.type_url == MsgDefend::type_url() {
            let message = MsgDefend::decode(any.value.as_slice())?;
            Some((message.job, What::Defend(message.steps_root)))
        } else if any.type_url == MsgCallNode::type_url() {
            let message = MsgCallNode::decode(any.value.as_slice())?;
            Some((message.job, What::Call(message.trace)))
        } else if any.type_url == MsgOpenNode::type_url() {
            let message = MsgOpenNode::decode(any.value.as_slice())?;
            Some((message.job, What::Open(message.trace)))
        } else if any.type_url == MsgProveStep::type_url() {
            let message = MsgProveStep::decode(any.value.as_slice())?;
            let answer: MsgProveStepResponse = lockstep_client::tx::response(included, place)?;
            let MsgProveStep { job, trace, position, witness, .. } = message;
            Some((job, What::Prove { trace, position, witness, right: answer.right }))
        } else {
            None
        };
        moves.extend(found.map(|(job, what)| Move { height, job, what }));
    }
    Ok(moves)
}
