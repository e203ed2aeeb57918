//! Traces all-MiniLM-L6-v2 and recomputes steps of it: `trace MODEL_DIR`.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use lockstep_vm::import::{Options, import_to_memory};
use lockstep_vm::interp::Model;
use lockstep_vm::merkle::Tree;
use lockstep_vm::ops::{Cpu, Isa};
use lockstep_vm::program::Activations;
use lockstep_vm::result::{input_bytes, input_root};
use lockstep_vm::trace::{Statement, Step, TraceTree, Tracer, verify_step};
use serde_json::json;

/// Runs of each measurement; the fastest counts.
const RUNS: usize = 5;
/// Steps of each trace that are recomputed.
const STEPS: u64 = 400;

fn milliseconds(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}

/// The fastest of some runs, in milliseconds, and what the last gave.
fn fastest<T>(mut work: impl FnMut() -> Result<T>) -> Result<(f64, T)> {
    let mut best = f64::INFINITY;
    let mut last = None;
    for _ in 0..RUNS {
        let start = Instant::now();
        last = Some(work()?);
        best = best.min(milliseconds(start));
    }
    Ok((best, last.context("no runs")?))
}

fn main() -> Result<()> {
    let folder: PathBuf = std::env::args_os().nth(1).context("usage: trace MODEL_DIR")?.into();
    let options = Options { activations: Activations::Bits16, ..Options::default() };
    let mut artefact = import_to_memory(&folder, &options, &mut |_| ())?;
    let isa = Isa::best();
    let model = Arc::new(Model::load(&mut artefact, isa)?);
    let constants = Tree::new(artefact.each_leaf(|_, _| ())?);
    let manifest = artefact.manifest().clone();
    let source = Arc::new(Mutex::new(artefact));
    let cpu = Arc::new(Cpu::new(isa, 2)?);
    for tokens in [16_u32, 32, 128, 256] {
        let ids: Vec<u32> = (0..tokens).map(|i| 1000 + i * 61).collect();
        let (run_ms, _) = fastest(|| Ok(model.run(&cpu, &[&ids])?))?;
        let (model, source) = (Arc::clone(&model), Arc::clone(&source));
        let tracer = Arc::new(Tracer::new(model, Arc::clone(&cpu), source, &ids)?);
        let (trace_ms, tree) = fastest(|| Ok(TraceTree::new(Arc::clone(&tracer))?))?;
        let statement = Statement {
            manifest: &manifest,
            input_root: &input_root(&input_bytes(&ids)),
            tokens,
            steps_root: &tree.root(),
        };
        let (mut witness_bytes, mut witness_ms, mut step_ms) = (0, 0_f64, 0_f64);
        let stride = (tree.count() / STEPS).max(1);
        for position in (0..tree.count()).rev().step_by(usize::try_from(stride)?) {
            let start = Instant::now();
            let node = |level, position| tree.node(level, position).ok();
            let witness = tracer.witness(position, &node, &constants)?;
            witness_ms = witness_ms.max(milliseconds(start));
            witness_bytes = witness_bytes.max(witness.len());
            let (ms, step) = fastest(|| Ok(verify_step(&statement, position, &witness)?))?;
            ensure!(step == Step::Leaf(tree.node(0, position)?), "step {position} is refuted");
            step_ms = step_ms.max(ms);
        }
        let figure = json!({
            "bench": "trace", "tokens": tokens, "isa": isa.to_string(), "threads": cpu.threads(),
            "leaves": tree.count(), "run_ms": run_ms, "trace_ms": trace_ms,
            "witness_bytes_max": witness_bytes, "witness_ms_max": witness_ms, "step_ms_max": step_ms,
        });
        println!("{figure}");
    }
    Ok(())
}
