//! Runs all-MiniLM-L6-v2 through the VM as it is told on standard input: `minilm MODEL_DIR`.
//!
//! Each line in is a request, each line out its answer, so that `benches/minilm.py` can alternate between
//! this process and onnxruntime. The sentences of a request are all of the same length.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};
use lockstep_vm::import::{Options, import_to_memory};
use lockstep_vm::interp::Model;
use lockstep_vm::ops::{Cpu, Isa};
use lockstep_vm::program::Activations;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Request {
    /// `w8a8` or `w8a16`.
    mode: String,
    /// An instruction set, or `best`.
    isa: String,
    threads: usize,
    /// Token ids of each sentence of the batch.
    sentences: Vec<Vec<u32>>,
    /// Batches run until this time is over, at least one.
    seconds: f64,
}

#[derive(Serialize)]
struct Answer {
    isa: String,
    sentences: usize,
    wall_s: f64,
    /// Of all threads.
    cpu_s: f64,
    /// Of the last batch.
    outputs: Vec<Vec<f32>>,
}

/// Models by mode and instruction set, engines by instruction set and threads, made when asked for.
struct Bench {
    folder: PathBuf,
    models: BTreeMap<(String, Isa), Model>,
    engines: BTreeMap<(Isa, usize), Cpu>,
}

impl Bench {
    fn prepare(&mut self, request: &Request) -> Result<(&Model, &Cpu)> {
        let isa = match request.isa.as_str() {
            "best" => Isa::best(),
            name => name.parse()?,
        };
        let activations = match request.mode.as_str() {
            "w8a8" => Activations::Bits8,
            "w8a16" => Activations::Bits16,
            mode => bail!("mode {mode:?}: use w8a8 or w8a16"),
        };
        let (model, engine) = ((request.mode.clone(), isa), (isa, request.threads));
        if let Entry::Vacant(entry) = self.engines.entry(engine) {
            entry.insert(Cpu::new(isa, request.threads)?);
        }
        if !self.models.contains_key(&model) {
            let options = Options { activations, ..Options::default() };
            let mut artefact = import_to_memory(&self.folder, &options, &mut |_| ())?;
            self.models.insert(model.clone(), Model::load(&mut artefact, isa)?);
        }
        Ok((&self.models[&model], &self.engines[&engine]))
    }

    fn measure(&mut self, request: &Request) -> Result<Answer> {
        let (model, cpu) = self.prepare(request)?;
        let batch: Vec<&[u32]> = request.sentences.iter().map(Vec::as_slice).collect();
        let (start, cpu_start) = (Instant::now(), cpu_seconds());
        let mut sentences = 0;
        let outcomes = loop {
            let outcomes = model.run(cpu, &batch)?;
            sentences += batch.len();
            if start.elapsed().as_secs_f64() >= request.seconds {
                break outcomes;
            }
        };
        let (wall_s, cpu_s) = (start.elapsed().as_secs_f64(), cpu_seconds() - cpu_start);
        let outputs =
            outcomes.into_iter().collect::<Result<_, _>>().map_err(|e| anyhow!("{e:?}"))?;
        Ok(Answer { isa: cpu.isa().to_string(), sentences, wall_s, cpu_s, outputs })
    }
}

/// CPU time of all threads of this process so far.
#[expect(clippy::cast_precision_loss, reason = "53 bits of nanoseconds are 104 days")]
fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

fn main() -> Result<()> {
    let folder = std::env::args_os().nth(1).context("usage: minilm MODEL_DIR < requests")?;
    let mut bench =
        Bench { folder: folder.into(), models: BTreeMap::new(), engines: BTreeMap::new() };
    for line in std::io::stdin().lock().lines() {
        let request: Request = serde_json::from_str(&line?).context("a request")?;
        let answer = serde_json::to_string(&bench.measure(&request)?)?;
        writeln!(std::io::stdout().lock(), "{answer}")?;
    }
    Ok(())
}
