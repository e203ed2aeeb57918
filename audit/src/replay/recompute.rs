//! Runs jobs again and compares their answers.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use lockstep_chain::error::Fault;
use lockstep_chain::state::MemoryState;
use lockstep_chain::state::tables::{JOBS, TOTALS, VERSIONS};
use lockstep_proto::lockstep::job::v1::{Job, JobState};
use lockstep_vm::artefact::Reader;
use lockstep_vm::hash::hash;
use lockstep_vm::result::{input_ids, input_root};
use prost::Message as _;

use super::ledger::fault;
use crate::play::{Evidence as _, Program};
use crate::report::{Difference, Report};
use crate::source::http::Http;
use crate::{Result, Stop};

/// Models that are kept in memory.
const PROGRAMS_MAX: usize = 2;
/// Bytes of an artefact and of an input that are fetched at most.
const ARTEFACT_BYTES_MAX: usize = 8 << 30;
const INPUT_BYTES_MAX: usize = 1 << 20;

/// Where artefacts and large inputs come from.
#[derive(Debug, Default)]
pub struct Holdings {
    /// Artefacts in a folder, by root.
    files: BTreeMap<Vec<u8>, PathBuf>,
    /// A validator's blob service.
    blobs: Option<Http>,
}

impl Holdings {
    /// Artefacts from a folder; what it lacks, and large inputs, from a blob service.
    ///
    /// # Errors
    /// Where the folder cannot be read or the address is malformed.
    pub fn new(folder: Option<&Path>, blobs: Option<&str>) -> Result<Self> {
        let mut files = BTreeMap::new();
        if let Some(folder) = folder {
            let failed = |cause: std::io::Error| Stop::file("read", folder, cause);
            for entry in std::fs::read_dir(folder).map_err(failed)? {
                let path = entry.map_err(failed)?.path();
                // Other files may lie there, too.
                if let Ok(reader) = Reader::open(&path) {
                    files.insert(reader.manifest().root().to_vec(), path);
                }
            }
        }
        Ok(Self { files, blobs: blobs.map(Http::new).transpose()? })
    }

    fn program(&self, root: &[u8], threads: usize) -> Result<Program> {
        let lacks = |cause: &dyn std::fmt::Display| {
            let what = format!("the artefact {} is not usable: {cause}", hex::encode(root));
            Stop::incomplete(what, "give a folder that holds it by --artefacts")
        };
        let program = if let Some(path) = self.files.get(root) {
            let reader = Reader::open(path).map_err(|cause| lacks(&cause))?;
            Program::load(reader, threads)
        } else {
            let bytes = self.fetch(root, ARTEFACT_BYTES_MAX)?;
            let reader = Reader::new(Cursor::new(bytes)).map_err(|cause| lacks(&cause))?;
            Program::load(reader, threads)
        };
        let program = program.map_err(|cause| lacks(&cause))?;
        if program.root().as_slice() != root {
            return Err(lacks(&"it has another root"));
        }
        Ok(program)
    }

    fn input(&self, job: &Job) -> Result<Vec<u32>> {
        let bytes = match job.input.as_slice() {
            [] => self.fetch(&job.input_root, INPUT_BYTES_MAX)?,
            inline => inline.to_vec(),
        };
        let right = input_root(&bytes).as_slice() == job.input_root;
        input_ids(&bytes).filter(|_| right).ok_or_else(|| {
            let what = format!("the input of job {} does not have the job's root", job.id);
            Stop::incomplete(what, "ask another blob service by --blobs")
        })
    }

    fn fetch(&self, root: &[u8], bytes_max: usize) -> Result<Vec<u8>> {
        let name = format!("v1/blobs/{}", hex::encode(root));
        let found = match &self.blobs {
            Some(blobs) => blobs.get(&name, bytes_max)?,
            None => None,
        };
        found.ok_or_else(|| {
            let what = format!("the blob {} is nowhere", hex::encode(root));
            Stop::incomplete(what, "give a folder by --artefacts, or a blob service by --blobs")
        })
    }
}

/// Whether a job is among the `percent` that everybody picks of a chain's jobs.
#[must_use]
pub fn picked(chain_id: &str, job: u64, percent: u8) -> bool {
    let hash = hash("lockstep/audit-pick/v1", &[chain_id.as_bytes(), &job.to_le_bytes()]);
    let [a, b, ..] = hash;
    // 65536 is far more than 100, so that the remainder prefers no number by much.
    u16::from_le_bytes([a, b]) % 100 < u16::from(percent)
}

/// Runs so many percent of the jobs that were paid for an answer, and compares their results.
/// `progress` hears the number of each job that was run, and of the last.
///
/// # Errors
/// The first difference, or what is missing.
pub fn jobs(
    report: &mut Report,
    state: &MemoryState,
    percent: u8,
    holdings: &Holdings,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<()> {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut programs: BTreeMap<u64, Program> = BTreeMap::new();
    let last = TOTALS.must(state, &()).map_err(fault)?.jobs;
    let (mut done, mut final_jobs) = (0_u64, 0_u64);
    let mut each = |job: &Job| -> Result<()> {
        if job.state() != JobState::Final {
            return Ok(());
        }
        final_jobs += 1;
        if !picked(&report.chain_id, job.id, percent) {
            return Ok(());
        }
        let version = VERSIONS.must(state, &job.version).map_err(fault)?;
        if !programs.contains_key(&job.version) {
            while programs.len() >= PROGRAMS_MAX {
                programs.pop_first();
            }
            programs.insert(job.version, holdings.program(&version.artefact_root, threads)?);
        }
        let Some(program) = programs.get(&job.version) else { return Ok(()) };
        let run = program.repeat(&version, job, &holdings.input(job)?).map_err(|cause| {
            Stop::incomplete(format!("job {} cannot be run: {cause}", job.id), "report this")
        })?;
        done += 1;
        progress(job.id, last);
        let (own, paid) = (hex::encode(run.answer().result_root), hex::encode(&job.result_root));
        if own != paid {
            let mut difference = Difference::new("the result that was paid for", own, paid);
            difference.key = Some(format!("jobs/{}", job.id));
            return Err(difference.at(job.ended_height).into());
        }
        Ok(())
    };
    let ended = every(state, &mut each);
    report.fact("jobs_final", final_jobs);
    report.fact("jobs_recomputed", done);
    report.fact("jobs_percent", percent);
    ended
}

/// All jobs there ever were.
fn every(state: &MemoryState, each: &mut dyn FnMut(&Job) -> Result<()>) -> Result<()> {
    for (_, value) in state.0.range(JOBS.key(&0)..=JOBS.key(&u64::MAX)) {
        let job = Job::decode(value.as_slice());
        each(&job.map_err(|_| fault(Fault::Corrupt(JOBS.name)))?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn about_so_many_percent_are_picked_and_always_the_same() {
        for percent in [0, 10, 50, 100] {
            let count = (0..10_000).filter(|job| picked("net", *job, percent)).count();
            let wanted = 100 * usize::from(percent);
            assert!(count.abs_diff(wanted) < 200, "{count} at {percent} %");
        }
        let some: Vec<bool> = (0..100).map(|job| picked("net", job, 50)).collect();
        assert_ne!(some, (0..100).map(|job| picked("other", job, 50)).collect::<Vec<_>>());
        // Whoever looks at more looks at all that others did.
        assert!((0..1000).all(|job| !picked("net", job, 20) || picked("net", job, 40)));
    }
}
