//! Runs a job again, and compares what it gives with what the chain says it gave.

use std::io::{Read, Seek};

use lockstep_proto::lockstep::job::v1::Job;
use lockstep_proto::lockstep::model::v1::Version;
use lockstep_vm::artefact::Reader;
use lockstep_vm::interp::{Model, output_bytes};
use lockstep_vm::ops::{Cpu, Isa};
use lockstep_vm::result::{input_ids, input_root, result_root};

use crate::report::Difference;
use crate::{Result, Stop};

/// Runs `job` on the artefact, with the blob of its input where it is not inline.
///
/// # Errors
/// [`Stop::Difference`] where the result is another; [`Stop::Incomplete`] where the artefact or the
/// input is not that of the job.
pub fn job<R: Read + Seek>(
    job: &Job,
    version: &Version,
    artefact: &mut Reader<R>,
    blob: Option<&[u8]>,
    threads: usize,
) -> Result<()> {
    let root = artefact.manifest().root();
    if version.artefact_root != root {
        let what = format!("an artefact {}; the job ran {}", hex::encode(root), {
            hex::encode(&version.artefact_root)
        });
        return Err(Stop::incomplete(what, "give the model's own artefact by --artefact"));
    }
    let input = if job.input.is_empty() { blob.unwrap_or_default() } else { &job.input };
    if input_root(input).as_slice() != job.input_root {
        let what = format!("the input {} is not here", hex::encode(&job.input_root));
        return Err(Stop::incomplete(what, "give it by --input or an executor's --blobs"));
    }
    if job.result_root.is_empty() {
        let what = format!("job {} has no result to compare with", job.id);
        return Err(Stop::incomplete(what, "wait until it is verified"));
    }
    let ids = input_ids(input).ok_or_else(|| {
        Stop::incomplete("an input that is no token ids", "is it the job's input?")
    })?;
    let unable = |cause: String| Stop::incomplete(cause, "check the artefact and the memory");
    let isa = Isa::best();
    let model = Model::load(artefact, isa).map_err(|cause| unable(cause.to_string()))?;
    let cpu = Cpu::new(isa, threads).map_err(|cause| unable(cause.to_string()))?;
    let outcome = model.run(&cpu, &[&ids]).map_err(|cause| unable(cause.to_string()))?;
    let output = outcome.into_iter().next().and_then(std::result::Result::ok);
    let output = output.map(|values| output_bytes(&values));
    let found = result_root(&root, input, b"", output.as_deref());
    if found.as_slice() == job.result_root {
        return Ok(());
    }
    let (own, said) = (hex::encode(found), hex::encode(&job.result_root));
    let what = format!("the result root of job {}", job.id);
    Err(Difference::new(what, own, said).note("recomputed, and as the chain has it").into())
}
