//! The 60 texts of `data/minilm` through the real model: exactly the bytes of the numeric
//! specification's own program, on every instruction set, and near the float reference.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use lockstep_vm::import::{Options, import_to_memory};
use lockstep_vm::interp::{Model, output_bytes};
use lockstep_vm::merkle::Tree;
use lockstep_vm::ops::{Cpu, Isa};
use lockstep_vm::program::Activations;
use lockstep_vm::result::{Status, input_bytes, input_root, output_root};
use lockstep_vm::trace::{Statement, Step, TraceTree, Tracer, last_leaf, verify_step};

const TEXTS: usize = 60;
const WIDTH: usize = 384;

/// The folder of all-MiniLM-L6-v2, as `scripts/setup` leaves it.
fn model_dir() -> PathBuf {
    let default = || {
        let home = std::env::var_os("HOME").unwrap_or_default();
        PathBuf::from(home).join(".cache/lockstep/models/all-MiniLM-L6-v2")
    };
    let folder = std::env::var_os("LOCKSTEP_MINILM").map_or_else(default, PathBuf::from);
    assert!(
        folder.join("model.safetensors").exists(),
        "no model in {}; hint: run scripts/setup, which fetches it, or set LOCKSTEP_MINILM",
        folder.display()
    );
    folder
}

fn data(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/minilm").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The payload of a numpy file of f32 `[60, 384]`.
fn npy(name: &str) -> Vec<u8> {
    let bytes = data(name);
    assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00", "{name}");
    let header = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let text = std::str::from_utf8(&bytes[10..header]).unwrap();
    assert!(text.contains("'<f4'") && text.contains("(60, 384)") && text.contains("False"));
    assert_eq!(bytes.len() - header, TEXTS * WIDTH * 4);
    bytes[header..].to_vec()
}

fn token_ids() -> Vec<Vec<u32>> {
    let ids: Vec<Vec<u32>> = serde_json::from_slice(&data("token_ids.json")).unwrap();
    assert_eq!(ids.len(), TEXTS);
    ids
}

fn activations(activations: Activations) -> Options {
    Options { activations, ..Options::default() }
}

fn run(model: &Model, cpu: &Cpu, ids: &[Vec<u32>]) -> Vec<u8> {
    let inputs: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
    let outcomes = model.run(cpu, &inputs).unwrap();
    outcomes.iter().flat_map(|outcome| output_bytes(outcome.as_ref().unwrap())).collect()
}

/// Cosine of each text with the float64 reference.
fn cosines(bytes: &[u8]) -> Vec<f64> {
    let values = |bytes: &[u8]| -> Vec<f64> {
        bytes.as_chunks().0.iter().map(|v| f64::from(f32::from_le_bytes(*v))).collect()
    };
    let (ours, reference) = (values(bytes), values(&npy("embeddings_f32.npy")));
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    ours.chunks(WIDTH)
        .zip(reference.chunks(WIDTH))
        .map(|(a, b)| dot(a, b) / (dot(a, a) * dot(b, b)).sqrt())
        .collect()
}

fn min_and_median(name: &str, mut cosines: Vec<f64>) -> (f64, f64) {
    cosines.sort_by(f64::total_cmp);
    let half = cosines.len() / 2;
    let (min, median) = (cosines[0], f64::midpoint(cosines[half - 1], cosines[half]));
    println!("{name}: cosine min {min:.5} median {median:.5}");
    (min, median)
}

fn gives_the_golden_bytes(width: Activations, golden: &str) -> Vec<u8> {
    let mut artefact = import_to_memory(&model_dir(), &activations(width), &mut |_| ()).unwrap();
    let (ids, golden) = (token_ids(), npy(golden));
    for isa in Isa::available() {
        let model = Model::load(&mut artefact, isa).unwrap();
        for threads in [1, 2] {
            let cpu = Cpu::new(isa, threads).unwrap();
            let together = run(&model, &cpu, &ids);
            assert!(together == golden, "{isa}, {threads} threads, one batch");
            if isa == Isa::best() {
                let alone: Vec<u8> = ids.chunks(1).flat_map(|one| run(&model, &cpu, one)).collect();
                assert!(alone == golden, "{isa}, {threads} threads, one by one");
            }
        }
    }
    golden
}

#[test]
fn eight_bit_activations_give_the_golden_bytes_on_every_instruction_set() {
    let bytes = gives_the_golden_bytes(Activations::Bits8, "golden_w8a8.npy");
    let (min, median) = min_and_median("w8a8", cosines(&bytes));
    assert!(min >= 0.979 && median >= 0.997);
}

#[test]
fn sixteen_bit_activations_give_the_golden_bytes_and_are_accurate() {
    let bytes = gives_the_golden_bytes(Activations::Bits16, "golden_w8a16.npy");
    let (min, median) = min_and_median("w8a16", cosines(&bytes));
    assert!(min >= 0.995 && median >= 0.9995);
}

/// The second model of the demo: eight bits with smoothing vectors from calibration texts.
#[test]
fn smoothing_vectors_make_eight_bits_more_accurate() {
    let folder = model_dir();
    let calibration: Vec<Vec<u32>> = token_ids().into_iter().step_by(2).collect();
    let options = Options { calibration, ..activations(Activations::Bits8) };
    let mut artefact = import_to_memory(&folder, &options, &mut |_| ()).unwrap();
    let again = import_to_memory(&folder, &Options { threads: 2, ..options }, &mut |_| ()).unwrap();
    assert_eq!(artefact.manifest(), again.manifest(), "calibration is not reproducible");
    let isa = Isa::best();
    let model = Model::load(&mut artefact, isa).unwrap();
    let bytes = run(&model, &Cpu::new(isa, 2).unwrap(), &token_ids());
    let cosines = cosines(&bytes);
    let unseen = cosines.iter().skip(1).step_by(2).copied().collect();
    for (name, cosines) in [("all texts", cosines), ("texts unseen", unseen)] {
        let (min, median) = min_and_median(&format!("w8a8 with smoothing, {name}"), cosines);
        assert!(min >= 0.985 && median >= 0.9985, "{name}");
    }
}

/// Every 397th step of the traces of the shortest and some other texts, and how they end.
#[test]
fn traces_end_in_the_golden_bytes_and_their_steps_verify() {
    for (width, golden) in
        [(Activations::Bits8, "golden_w8a8.npy"), (Activations::Bits16, "golden_w8a16.npy")]
    {
        let mut artefact =
            import_to_memory(&model_dir(), &activations(width), &mut |_| ()).unwrap();
        let isa = Isa::best();
        let model = Arc::new(Model::load(&mut artefact, isa).unwrap());
        let constants = Tree::new(artefact.each_leaf(|_, _| ()).unwrap());
        let manifest = artefact.manifest().clone();
        let source = Arc::new(Mutex::new(artefact));
        let cpu = Arc::new(Cpu::new(isa, 2).unwrap());
        let golden = npy(golden);
        for (text, ids) in token_ids().iter().enumerate().step_by(13) {
            let (model, cpu) = (Arc::clone(&model), Arc::clone(&cpu));
            let tracer = Tracer::new(model, cpu, Arc::clone(&source) as _, ids).unwrap();
            let output = tracer.output();
            assert!(output.bytes == golden[text * WIDTH * 4..][..WIDTH * 4], "text {text}");
            let root = output_root(1, 384, &output.bytes).unwrap();
            let tree = TraceTree::new(Arc::new(tracer)).unwrap();
            let count = tree.count();
            assert_eq!(tree.node(0, count - 1).unwrap(), last_leaf(count, Status::Halted, &root));
            let statement = Statement {
                manifest: &manifest,
                input_root: &input_root(&input_bytes(ids)),
                tokens: u32::try_from(ids.len()).unwrap(),
                steps_root: &tree.root(),
            };
            for position in (0..count).step_by(397).chain([count - 1]) {
                let node = |level, position| tree.node(level, position).ok();
                let witness = tree.tracer().witness(position, &node, &constants).unwrap();
                let step = verify_step(&statement, position, &witness);
                assert_eq!(step, Ok(Step::Leaf(tree.node(0, position).unwrap())), "{position}");
            }
        }
    }
}

/// Which layers need sixteen bits most: the figures behind the advice in `docs/vm.md`.
#[test]
#[ignore = "a measurement of minutes; run with --ignored --nocapture"]
fn sixteen_bits_by_kind_of_layer() {
    let folder = model_dir();
    let ids = token_ids();
    let isa = Isa::best();
    let cpu = Cpu::new(isa, 2).unwrap();
    let kinds = ["query", "key", "value", "attention.output", "intermediate", ".output.dense"];
    let layers = (0..6).map(|layer| format!("layer.{layer}."));
    for name in kinds.map(str::to_owned).into_iter().chain(layers) {
        for calibration in [Vec::new(), ids.iter().step_by(2).cloned().collect()] {
            let smoothed = if calibration.is_empty() { "" } else { " with smoothing" };
            let overrides = BTreeMap::from([(name.clone(), Activations::Bits16)]);
            let options = Options { overrides, calibration, ..activations(Activations::Bits8) };
            let mut artefact = import_to_memory(&folder, &options, &mut |_| ()).unwrap();
            let model = Model::load(&mut artefact, isa).unwrap();
            let cosines = cosines(&run(&model, &cpu, &ids));
            min_and_median(&format!("w8a8{smoothed}, 16 in {name}"), cosines);
        }
    }
}
