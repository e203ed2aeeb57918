//! What a liar says: faults that are injected to show that they do not pay.

use lockstep_chain::commitment;
use lockstep_proto::lockstep::job::v1::RunStatus;
use lockstep_proto::lockstep::model::v1::Version;
use lockstep_vm::limits::{TILE_COLS, TILE_ROWS};
use lockstep_vm::result::Status;
use lockstep_vm::trace::Tracer;

use super::PlayError;

/// What is not as it was computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// The output, and the trace's leaves that hold it.
    Output,
    /// A leaf in the middle of the trace: the answer is right.
    Trace,
}

/// What a run gave, made wrong and nothing but wrong: the same bytes for all who lie, finite, and as
/// many as the version says.
#[must_use]
pub fn falsify(version: &Version, output: &[u8]) -> (RunStatus, Vec<u8>) {
    let mut wrong = output.to_vec();
    if wrong.is_empty() {
        wrong = vec![0; usize::try_from(version.output_values).unwrap_or(0).saturating_mul(4)];
    }
    if let Some(byte) = wrong.first_mut() {
        // The lowest bit of the first f32's significand.
        *byte ^= 1;
    }
    (RunStatus::Halted, wrong)
}

/// Status and output, where they are others than the run's.
pub type Claimed = Option<(RunStatus, Vec<u8>)>;

impl Lie {
    /// The trace that says so, and status and output where they are others.
    pub(super) fn told(
        self,
        tracer: Tracer,
        version: &Version,
    ) -> Result<(Tracer, Claimed), PlayError> {
        let last = tracer.leaf_count().saturating_sub(1);
        match self {
            Self::Trace => {
                let middle = last / 2;
                let (status, mut block) = tracer.leaf(middle).map_err(PlayError::trace)?;
                match block.first_mut() {
                    Some(byte) => *byte ^= 1,
                    None => block.push(1),
                }
                Ok((tracer.with_override(middle, status, block), None))
            }
            Self::Output => {
                let honest = tracer.output().bytes.clone();
                let (status, wrong) = falsify(version, &honest);
                let root = commitment::output_root(version, status, &wrong);
                let root = root.ok_or_else(|| PlayError::trace("an odd output"))?;
                let tracer = alter_tile(tracer, &honest, &wrong)?;
                let tracer = tracer.with_override(last, Status::Halted, root.to_vec());
                Ok((tracer, Some((status, wrong))))
            }
        }
    }
}

/// Alters the tile that holds the first value of the output, where the last operator's tiles stand
/// right before the last leaf; else only that one lies.
fn alter_tile(tracer: Tracer, honest: &[u8], wrong: &[u8]) -> Result<Tracer, PlayError> {
    let tile = honest.len().min(TILE_COLS * 4);
    let tiles = honest.len().div_ceil(TILE_COLS * 4);
    let position = u64::try_from(tiles).ok().and_then(|tiles| {
        let before = tiles.checked_add(1)?;
        tracer.leaf_count().checked_sub(before)
    });
    let Some(position) = position.filter(|_| tile > 0) else { return Ok(tracer) };
    let (status, mut block) = tracer.leaf(position).map_err(PlayError::trace)?;
    let fits = block.len() <= TILE_ROWS * TILE_COLS * 4 && block.get(..tile) == honest.get(..tile);
    if status != Status::Run || !fits {
        return Ok(tracer);
    }
    block[..tile].copy_from_slice(&wrong[..tile]);
    Ok(tracer.with_override(position, status, block))
}
