//! Runs jobs again, and compares what they give with what the chain says they gave.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use lockstep_chain::error::Fault;
use lockstep_chain::state::MemoryState;
use lockstep_chain::state::tables::{JOBS, TOTALS, VERSIONS};
use lockstep_proto::lockstep::job::v1::{Job, JobState};
use lockstep_proto::lockstep::model::v1::Version;
use lockstep_vm::artefact::Reader;
use lockstep_vm::hash::{Hash, hash};
use lockstep_vm::result::{input_ids, input_root};
use prost::Message as _;

use crate::play::{Evidence as _, Program, Run, Sample};
use crate::replay::fault;
use crate::report::{Difference, Report};
use crate::source::http::Http;
use crate::{Result, Stop};

/// Models that are kept in memory.
const PROGRAMS_MAX: usize = 2;
/// Bytes of an artefact and of an input that are fetched at most.
const ARTEFACT_BYTES_MAX: usize = 8 << 30;
const INPUT_BYTES_MAX: usize = 1 << 20;

/// What jobs are run again with: artefacts and inputs, from files or a validator's blob service.
#[derive(Debug)]
pub struct Holdings {
    threads: usize,
    blobs: Http,
    /// Artefacts in files, by root.
    files: BTreeMap<Vec<u8>, PathBuf>,
    /// Inputs that came from files, by root.
    inputs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Models in memory, by the root of their artefact.
    programs: BTreeMap<Vec<u8>, Program>,
}

impl Holdings {
    /// Nothing yet but what the blob service at `http://HOST:PORT` has. Runs on so many threads; on
    /// all cores unless told.
    ///
    /// # Errors
    /// Where the address is malformed.
    pub fn new(blobs: &str, threads: Option<usize>) -> Result<Self> {
        let all = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let (files, inputs, programs) = Default::default();
        let threads = threads.unwrap_or_else(all);
        Ok(Self { threads, blobs: Http::new(blobs)?, files, inputs, programs })
    }

    /// Takes in the artefacts in a folder, where other files may lie, too.
    ///
    /// # Errors
    /// Where the folder cannot be read.
    pub fn add_folder(&mut self, folder: &Path) -> Result<()> {
        let failed = |cause: std::io::Error| Stop::file("read", folder, cause);
        for entry in std::fs::read_dir(folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if let Ok(reader) = Reader::open(&path) {
                self.files.insert(reader.manifest().root().to_vec(), path);
            }
        }
        Ok(())
    }

    /// Takes in one artefact; its root.
    ///
    /// # Errors
    /// Where the file is none.
    pub fn add_artefact(&mut self, path: &Path) -> Result<Hash> {
        let reader = Reader::open(path).map_err(|cause| {
            let what = format!("{}: {cause}", path.display());
            Stop::usage(what, "give the file that `lockstep model import` wrote")
        })?;
        let root = reader.manifest().root();
        self.files.insert(root.to_vec(), path.to_owned());
        Ok(root)
    }

    /// Takes in one input; its root.
    pub fn add_input(&mut self, bytes: Vec<u8>) -> Hash {
        let root = input_root(&bytes);
        self.inputs.insert(root.to_vec(), bytes);
        root
    }

    /// Runs a job again.
    ///
    /// # Errors
    /// [`Stop::Incomplete`] where the artefact or the input is nowhere, or cannot be run.
    pub fn run(&mut self, version: &Version, job: &Job) -> Result<Run> {
        let ids = self.input(job)?;
        let program = self.program(&version.artefact_root)?;
        program.repeat(version, job, &ids).map_err(|cause| {
            let what = format!("job {} cannot be run: {cause}", job.id);
            Stop::incomplete(what, "is there enough memory? Else report this")
        })
    }

    fn program(&mut self, root: &[u8]) -> Result<Program> {
        if let Some(program) = self.programs.get(root) {
            return Ok(program.clone());
        }
        let unusable = |cause: &dyn std::fmt::Display| {
            let what = format!("the artefact {} is not usable: {cause}", hex::encode(root));
            Stop::incomplete(what, "give a folder that holds it by --artefacts, or other --blobs")
        };
        // Room first: two models of the largest size may be all that the memory holds.
        while self.programs.len() >= PROGRAMS_MAX {
            self.programs.pop_first();
        }
        let program = if let Some(path) = self.files.get(root) {
            let reader = Reader::open(path).map_err(|cause| unusable(&cause))?;
            Program::load(reader, self.threads)
        } else {
            let bytes = self.fetch(root, ARTEFACT_BYTES_MAX)?;
            let reader = Reader::new(Cursor::new(bytes)).map_err(|cause| unusable(&cause))?;
            Program::load(reader, self.threads)
        };
        let program = program.map_err(|cause| unusable(&cause))?;
        if program.root().as_slice() != root {
            return Err(unusable(&"it has another root"));
        }
        self.programs.insert(root.to_vec(), program.clone());
        Ok(program)
    }

    fn input(&self, job: &Job) -> Result<Vec<u32>> {
        let bytes = match (job.input.as_slice(), self.inputs.get(&job.input_root)) {
            ([], Some(held)) => held.clone(),
            ([], None) => self.fetch(&job.input_root, INPUT_BYTES_MAX)?,
            (inline, _) => inline.to_vec(),
        };
        let right = input_root(&bytes).as_slice() == job.input_root;
        input_ids(&bytes).filter(|_| right).ok_or_else(|| {
            let what = format!("what is given for the input of job {} is not it", job.id);
            Stop::incomplete(what, "ask another blob service by --blobs")
        })
    }

    fn fetch(&self, root: &[u8], bytes_max: usize) -> Result<Vec<u8>> {
        let name = format!("v1/blobs/{}", hex::encode(root));
        self.blobs.get(&name, bytes_max)?.ok_or_else(|| {
            let what = format!("{} does not have {}", self.blobs.url(), hex::encode(root));
            Stop::incomplete(what, "give the file, or another blob service by --blobs")
        })
    }
}

/// Runs a job again that was paid for an answer, or will be, and compares the results.
///
/// # Errors
/// [`Stop::Difference`] where the result is another; [`Stop::Incomplete`] where it cannot be run.
pub fn job(holdings: &mut Holdings, version: &Version, job: &Job) -> Result<()> {
    if job.result_root.is_empty() {
        let what = format!("job {} has no result to compare with", job.id);
        return Err(Stop::incomplete(what, "wait until it is verified"));
    }
    let run = holdings.run(version, job)?;
    let root = run.answer().result_root;
    let (what, own, said) = if root.as_slice() != job.result_root {
        ("the job's result", root.as_slice(), &job.result_root)
    } else if job.delivered_height != 0 && run.output() != job.output {
        ("the job's output", run.output(), &job.output)
    } else {
        return Ok(());
    };
    let mut difference = Difference::new(what, hex::encode(own), hex::encode(said));
    difference.key = Some(format!("jobs/{}", job.id));
    Err(difference.note("recomputed, and as the chain has it").into())
}

/// Which jobs are run again.
#[derive(Debug, Clone, Copy)]
pub struct Pick<'a> {
    /// So many of 100.
    pub percent: u8,
    /// The hash of the last block: until it is there, nobody knows which.
    pub last_block: &'a [u8],
    /// Set by a signal: ends after the job at hand.
    pub stop: &'a AtomicBool,
}

/// Runs a part of the jobs that were paid for an answer, and compares their results. Everybody who
/// replayed to the same block picks the same ones. `progress` hears the number of each job that was
/// run, and of the last.
///
/// # Errors
/// The first difference, or what is missing.
pub fn jobs(
    report: &mut Report,
    state: &MemoryState,
    pick: Pick<'_>,
    holdings: &mut Holdings,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<()> {
    let secret = hash("lockstep/audit-pick/v2", &[report.chain_id.as_bytes(), pick.last_block]);
    let sample = Sample::new(secret, pick.percent);
    let last = TOTALS.must(state, &()).map_err(fault)?.jobs;
    let (mut done, mut final_jobs) = (0_u64, 0_u64);
    let mut each = |it: &Job| -> Result<()> {
        if it.state() != JobState::Final {
            return Ok(());
        }
        final_jobs += 1;
        if !sample.takes(it.id) {
            return Ok(());
        }
        if pick.stop.load(Ordering::Relaxed) {
            return Err(Stop::incomplete("interrupted", "run it again"));
        }
        let version = VERSIONS.must(state, &it.version).map_err(fault)?;
        let compared = job(holdings, &version, it).map_err(|stop| match stop {
            Stop::Difference(difference) => difference.at(it.ended_height).into(),
            other => other,
        });
        if !matches!(compared, Err(Stop::Incomplete { .. } | Stop::Usage { .. })) {
            done += 1;
            progress(it.id, last);
        }
        compared
    };
    let ended = every(state, &mut each);
    report.fact("jobs_final", final_jobs);
    report.fact("jobs_recomputed", done);
    report.fact("jobs_percent", pick.percent);
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
    use lockstep_chain::state::MemoryState;
    use lockstep_proto::lockstep::chain::v1::Totals;

    use super::*;

    #[test]
    fn a_job_that_could_not_be_run_is_not_counted_and_a_signal_ends_it() {
        let mut state = MemoryState::default();
        let totals = Totals { jobs: 3, ..Totals::default() };
        state.0.insert(TOTALS.key(&()), totals.encode_to_vec());
        state.0.insert(VERSIONS.key(&1), Version { id: 1, ..Version::default() }.encode_to_vec());
        for id in 1..=3 {
            let mut job = Job { id, version: 1, input: vec![1; 4], ..Job::default() };
            (job.input_root, job.result_root) = (input_root(&job.input).to_vec(), vec![7; 32]);
            job.set_state(JobState::Final);
            state.0.insert(JOBS.key(&id), job.encode_to_vec());
        }
        for (stopped, why) in [(false, "blobs"), (true, "interrupted")] {
            let stop = AtomicBool::new(stopped);
            let mut report = Report::new("replay", "net");
            // Port 9 of loopback: nobody has the artefact.
            let mut holdings = Holdings::new("http://127.0.0.1:9", Some(1)).unwrap();
            let pick = Pick { percent: 100, last_block: &[1; 32], stop: &stop };
            let ended = jobs(&mut report, &state, pick, &mut holdings, &mut |_, _| {});
            let Err(Stop::Incomplete { what, .. }) = ended else { panic!("{ended:?}") };
            assert!(what.contains(why), "{what}");
            assert_eq!(report.facts["jobs_recomputed"], 0);
        }
    }
}
