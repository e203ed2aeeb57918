//! Runs jobs again, and compares what they give with what the chain says they gave.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lockstep_chain::error::Fault;
use lockstep_chain::state::MemoryState;
use lockstep_chain::state::tables::{JOBS, TOTALS, VERSIONS};
use lockstep_proto::lockstep::job::v1::{Job, JobState};
use lockstep_proto::lockstep::model::v1::Version;
use lockstep_vm::artefact::Reader;
use lockstep_vm::hash::{Hash, hash};
use lockstep_vm::ops::Isa;
use lockstep_vm::result::{input_ids, input_root};
use prost::Message as _;

use crate::play::{Answer, Evidence as _, Program, Run, Sample};
use crate::replay::fault;
use crate::report::{Difference, Report};
use crate::source::http::Http;
use crate::{Result, Stop};

/// Models that are kept in memory for the next job: two of the largest size may be all that it holds.
const PROGRAMS_KEPT: usize = 2;
/// Models in memory at most, where runs that are kept hold on to them.
const PROGRAMS_MAX: usize = 4;
/// Bytes of an artefact times tokens up to which the reference without vector instructions takes
/// seconds rather than minutes.
const SCALAR_WORK_MAX: u64 = 1 << 33;
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
    /// Models in memory, by the root of their artefact. Each has a lock of its own, so that one that
    /// is being loaded holds up nobody who wants another.
    programs: Mutex<BTreeMap<Vec<u8>, Slot>>,
}

type Slot = Arc<Mutex<Option<Program>>>;

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

    /// Runs a job again. The model stays in memory for as long as the run is kept.
    ///
    /// # Errors
    /// [`Stop::Incomplete`] where the artefact or the input is nowhere, or cannot be run, or as many
    /// models as fit are in use.
    pub fn run(&self, version: &Version, job: &Job) -> Result<Run> {
        let ids = self.input(job)?;
        repeat(&self.program(&version.artefact_root)?, version, job, &ids)
    }

    /// Runs a job from the start, before money is staked on what a run gave: everything is read and
    /// loaded anew, and run by the reference without vector instructions where that does not take
    /// long, so that what went wrong by chance, such as a flipped bit in a weight, does not go wrong
    /// twice. Where the two differ, the model in memory is given up. While it runs, there is one more
    /// model in memory.
    ///
    /// # Errors
    /// As [`Holdings::run`].
    pub fn confirm(&self, version: &Version, job: &Job, first: &Answer) -> Result<Answer> {
        let (ids, root) = (self.input(job)?, &version.artefact_root);
        let tokens = u64::try_from(ids.len()).unwrap_or(u64::MAX);
        let work = version.artefact_bytes.saturating_mul(tokens);
        let isa = if work <= SCALAR_WORK_MAX { Isa::Scalar } else { Isa::best() };
        let second = repeat(&self.load(root, isa)?, version, job, &ids)?.answer();
        if second != *first {
            lock(&self.programs).remove(root);
        }
        Ok(second)
    }

    fn program(&self, root: &[u8]) -> Result<Program> {
        let slot = self.slot(root)?;
        let mut held = lock(&slot);
        if let Some(program) = &*held {
            return Ok(program.clone());
        }
        Ok(held.insert(self.load(root, Isa::best())?).clone())
    }

    /// The place of a model; another one that nobody uses goes for it.
    fn slot(&self, root: &[u8]) -> Result<Slot> {
        let mut programs = lock(&self.programs);
        if let Some(slot) = programs.get(root) {
            return Ok(Arc::clone(slot));
        }
        while programs.len() >= PROGRAMS_KEPT {
            let idle =
                programs.iter().find(|(_, slot)| is_idle(slot)).map(|(root, _)| root.clone());
            match idle {
                Some(idle) => drop(programs.remove(&idle)),
                None if programs.len() < PROGRAMS_MAX => break,
                None => {
                    let what = format!("{PROGRAMS_MAX} models are in memory and in use");
                    return Err(Stop::incomplete(what, "try again when another job is done"));
                }
            }
        }
        Ok(Arc::clone(programs.entry(root.to_vec()).or_default()))
    }

    /// Loads a model.
    fn load(&self, root: &[u8], isa: Isa) -> Result<Program> {
        let unusable = |cause: &dyn std::fmt::Display| {
            let what = format!("the artefact {} is not usable: {cause}", hex::encode(root));
            Stop::incomplete(what, "give a folder that holds it by --artefacts, or other --blobs")
        };
        let program = if let Some(path) = self.files.get(root) {
            let reader = Reader::open(path).map_err(|cause| unusable(&cause))?;
            Program::load_for(reader, isa, self.threads)
        } else {
            let bytes = self.fetch(root, ARTEFACT_BYTES_MAX)?;
            let reader = Reader::new(Cursor::new(bytes)).map_err(|cause| unusable(&cause))?;
            Program::load_for(reader, isa, self.threads)
        };
        let program = program.map_err(|cause| unusable(&cause))?;
        if program.root().as_slice() != root {
            return Err(unusable(&"it has another root"));
        }
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
            let what = format!("the blob service does not have {}", hex::encode(root));
            let hint = "give the file, or another blob service by --blobs";
            Stop::incomplete(what, format!("{hint} (asked {})", self.blobs.url()))
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether nobody loads the model, and no run that is kept needs it. Only for whoever has locked the
/// map, through which all others come.
fn is_idle(slot: &Slot) -> bool {
    let unused = || lock(slot).as_ref().is_none_or(|program| !program.is_in_use());
    Arc::strong_count(slot) == 1 && unused()
}

fn repeat(program: &Program, version: &Version, job: &Job, ids: &[u32]) -> Result<Run> {
    program.repeat(version, job, ids).map_err(|cause| {
        let what = format!("job {} cannot be run: {cause}", job.id);
        Stop::incomplete(what, "is there enough memory? Else report this")
    })
}

/// Runs a job again that was paid for an answer, or will be, and compares the results.
///
/// # Errors
/// [`Stop::Difference`] where the result is another; [`Stop::Incomplete`] where it cannot be run.
pub fn job(holdings: &Holdings, version: &Version, job: &Job) -> Result<()> {
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
    holdings: &Holdings,
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
#[path = "recompute_tests.rs"]
mod tests;
