//! The hashes that bind an executor to a result.

use lockstep_proto::lockstep::job::v1::{Job, RunStatus};
use lockstep_proto::lockstep::model::v1::Version;
use lockstep_vm::hash::hash;
use lockstep_vm::result::{self, RunResult, Status};

use crate::address::Address;
use crate::error::Fault;
use crate::state::tables::Hash;

/// What opens a commitment.
#[derive(Debug, Clone, Copy)]
pub struct Opening<'a> {
    /// The attempt that it was made in.
    pub attempt: u32,
    /// Keeps a result with few possible values from being guessed.
    pub salt: &'a Hash,
    /// What was committed to.
    pub result_root: &'a Hash,
}

/// What an executor commits to: worthless to anyone who copies it, since it names the validator.
#[must_use]
pub fn commitment(chain_id: &str, job: u64, operator: &Address, opening: &Opening<'_>) -> Hash {
    hash(
        "lockstep/commit/v1",
        &[
            chain_id.as_bytes(),
            &job.to_le_bytes(),
            &opening.attempt.to_le_bytes(),
            operator,
            opening.salt,
            opening.result_root,
        ],
    )
}

/// The root of an output; `None` where its length does not fit the version and status.
#[must_use]
pub fn output_root(version: &Version, status: RunStatus, output: &[u8]) -> Option<Hash> {
    match status {
        RunStatus::Halted => result::output_root(1, version.output_values, output),
        RunStatus::Fault => result::output_root(0, 0, output),
        RunStatus::Unspecified => None,
    }
}

/// What is agreed on: which model, which input, which parameters, how it ended, which output.
///
/// # Errors
/// A fault where a root in the state is not 32 bytes.
pub fn result_root(
    version: &Version,
    job: &Job,
    status: RunStatus,
    output_root: &Hash,
) -> Result<Hash, Fault> {
    let root = |bytes: &[u8]| -> Result<Hash, Fault> {
        bytes.try_into().map_err(|_| Fault::Invariant("a root in the state is not 32 bytes"))
    };
    Ok(RunResult {
        artefact_root: &root(&version.artefact_root)?,
        input_root: &root(&job.input_root)?,
        // Encoders take none; a program that samples will bind its seed here.
        parameters: &[],
        status: match status {
            RunStatus::Halted => Status::Halted,
            RunStatus::Fault => Status::Fault,
            RunStatus::Unspecified => Status::Run,
        },
        output_root,
    }
    .root())
}
