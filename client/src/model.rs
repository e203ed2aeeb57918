//! Models on this machine, without any chain: importing and running them.

use std::path::Path;

use lockstep_vm::artefact::{Manifest, Reader};
use lockstep_vm::import::{self, ImportError, Options, Phase};
use lockstep_vm::interp::Model;
use lockstep_vm::ops::{Cpu, Isa};
use lockstep_vm::program::Activations;

use crate::text::{self, Tokenizer, Tokens};
use crate::{Error, Result, blobs};

/// Texts that run together between two steps of the progress bar.
const BATCH: usize = 16;

/// What a run gave.
#[derive(Debug)]
pub struct Run {
    /// One row per text.
    pub rows: Vec<Vec<f32>>,
    /// The tokens of each text, and whether it was cut.
    pub tokens: Vec<Tokens>,
}

/// Imports the model in `folder` into the artefact `out`; `smoothing` texts give each linear layer a
/// smoothing vector. `progress` gets what it is busy with, steps done and steps in all.
///
/// # Errors
/// Where files are missing, damaged, or of a kind that is not supported: named, with a hint.
pub fn import(
    folder: &Path,
    out: &Path,
    activations: Activations,
    smoothing: &[String],
    threads: usize,
    progress: &mut dyn FnMut(&'static str, u64, u64),
) -> Result<Manifest> {
    let calibration = calibration(folder, smoothing)?;
    let options = Options { activations, calibration, threads, ..Options::default() };
    let mut report = |at: import::Progress| {
        let phase = match at.phase {
            Phase::Calibrating => "calibrate",
            Phase::Writing => "import",
        };
        progress(phase, at.done, at.total);
    };
    import::import(folder, out, &options, &mut report).map_err(|error| refused(&error))
}

/// The token ids of calibration texts, cut like any other text.
fn calibration(folder: &Path, texts: &[String]) -> Result<Vec<Vec<u32>>> {
    if texts.is_empty() {
        return Ok(Vec::new());
    }
    let path = folder.join(text::ATTACHMENT);
    let json = std::fs::read(&path).map_err(|cause| Error::file("read", &path, cause))?;
    let tokenizer = Tokenizer::new(&json, tokens_max(folder)?)?;
    texts.iter().map(|text| Ok(tokenizer.encode(text)?.ids)).collect()
}

/// The model's own limit: of sentence-transformers, or else of the network's positions.
fn tokens_max(folder: &Path) -> Result<u32> {
    let limits = [
        ("sentence_bert_config.json", "max_seq_length"),
        ("config.json", "max_position_embeddings"),
    ];
    for (file, key) in limits {
        let path = folder.join(file);
        let Ok(bytes) = std::fs::read(&path) else { continue };
        let read = serde_json::from_slice::<serde_json::Value>(&bytes);
        let value = read.map_err(|cause| Error::file("understand", &path, cause))?;
        if let Some(limit) = value[key].as_u64().and_then(|limit| u32::try_from(limit).ok()) {
            return Ok(limit);
        }
    }
    let what = format!("{} does not say how many tokens it takes", folder.display());
    Err(Error::usage(what, "sentence_bert_config.json or config.json says so"))
}

fn refused(error: &ImportError) -> Error {
    let words = error.to_string();
    let (what, hint) = words
        .split_once("; hint: ")
        .unwrap_or((words.as_str(), "the folder must hold an unaltered model of a supported kind"));
    Error::usage(what, hint)
}

/// Runs texts on a model: the bytes that the chain would agree on.
///
/// # Errors
/// Where the artefact is damaged, this machine lacks the instruction set, or a text makes the model
/// fault.
pub fn run(
    artefact: &Path,
    texts: &[String],
    isa: Isa,
    threads: usize,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Run> {
    let mut reader = blobs::open(artefact)?;
    let tokenizer = tokenizer(artefact, &mut reader)?;
    let tokens = texts.iter().map(|text| tokenizer.encode(text)).collect::<Result<Vec<_>>>()?;
    let cpu = Cpu::new(isa, threads).map_err(|cause| {
        let there: Vec<String> = Isa::available().iter().map(ToString::to_string).collect();
        Error::usage(cause.to_string(), format!("this machine has {}", there.join(", ")))
    })?;
    let model =
        Model::load(&mut reader, isa).map_err(|cause| blobs::wrong_file(artefact, cause))?;
    let ids: Vec<&[u32]> = tokens.iter().map(|tokens| tokens.ids.as_slice()).collect();
    let mut rows = Vec::with_capacity(ids.len());
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    for batch in ids.chunks(BATCH) {
        let outcomes = model
            .run(&cpu, batch)
            .map_err(|cause| Error::usage(cause.to_string(), "check the texts"))?;
        for outcome in outcomes {
            rows.push(outcome.map_err(|_| {
                let what =
                    format!("text {} makes the model fault: a value became infinite", rows.len());
                Error::usage(
                    what,
                    "on the chain such a job has the result FAULT, without an output",
                )
            })?);
        }
        progress(count(rows.len()), count(ids.len()));
    }
    Ok(Run { rows, tokens })
}

/// The tokenizer inside an artefact.
///
/// # Errors
/// Where it holds none, or the file is damaged.
pub fn tokenizer<R: std::io::Read + std::io::Seek>(
    artefact: &Path,
    reader: &mut Reader<R>,
) -> Result<Tokenizer> {
    let tokens_max = reader.manifest().verified().tokens_max();
    let json = reader.attachment(text::ATTACHMENT);
    let json = json.map_err(|cause| blobs::wrong_file(artefact, cause))?;
    Tokenizer::new(&json, tokens_max)
}
