//! Makes artefacts from models as they are published: `config.json`, `model.safetensors` and the
//! files of sentence-transformers beside them. The same files and options give the same bytes.

mod bert;
mod config;
mod smooth;
#[cfg(test)]
mod tests;
mod weights;

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::artefact::{ArtefactError, Attachment, Description, Manifest, Reader, Writer};
use crate::interp::Model;
use crate::limits::ATTACHMENT_BYTES_MAX;
use crate::ops::{Cpu, CpuError, Isa};
use crate::program::{Activations, InputError};
use bert::{Blueprint, Source};
use config::Config;
use weights::Weights;

/// How a model is turned into an artefact.
#[derive(Debug, Clone)]
pub struct Options {
    /// Activation width of all linear layers …
    pub activations: Activations,
    /// … but of those whose name contains a key; a later key in order wins.
    pub overrides: BTreeMap<String, Activations>,
    /// Token ids of calibration texts, from which each linear layer gets a smoothing vector.
    /// Empty: no smoothing.
    pub calibration: Vec<Vec<u32>>,
    /// Threads for the calibration runs; they do not change the result.
    pub threads: usize,
}

impl Default for Options {
    /// 16 bits everywhere, no smoothing.
    fn default() -> Self {
        Self {
            activations: Activations::Bits16,
            overrides: BTreeMap::new(),
            calibration: Vec::new(),
            threads: 1,
        }
    }
}

/// What an import is busy with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Runs the calibration texts; counted in texts.
    Calibrating,
    /// Quantises and writes tensors; counted in tensors.
    Writing,
}

/// How far an import is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// With what.
    pub phase: Phase,
    /// Steps done.
    pub done: u64,
    /// Steps in all.
    pub total: u64,
}

/// Why a model cannot be imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A file is missing or cannot be read.
    #[error("cannot read {path}: {error}{hint}", hint = missing_hint(error))]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A JSON file does not hold what it should.
    #[error("{path} is not understood: {error}")]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: serde_json::Error,
    },
    /// Something that this importer does not know, named.
    #[error("{path}: {what} `{found}` is not supported; hint: supported are {supported}")]
    Unsupported {
        /// The file that asks for it.
        path: PathBuf,
        /// What kind of thing.
        what: &'static str,
        /// Its name.
        found: String,
        /// What there is instead.
        supported: &'static str,
    },
    /// The file of weights is damaged.
    #[error("{path} is no complete safetensors file: {error}; hint: fetch the file again")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the reader says.
        error: String,
    },
    /// A tensor that the model needs.
    #[error("tensor `{0}` is missing in the file of weights")]
    MissingTensor(String),
    /// Tensors that no known layer has.
    #[error("tensor `{0}` belongs to no layer that this importer knows; hint: BERT encoders only")]
    UnknownTensor(String),
    /// A tensor of another shape than the configuration says.
    #[error("tensor `{name}` has shape {found:?}, the configuration asks for {expected:?}")]
    TensorShape {
        /// Its name.
        name: String,
        /// Its shape.
        found: Vec<usize>,
        /// What it must be.
        expected: Vec<usize>,
    },
    /// A tensor of another type.
    #[error("tensor `{name}` has type {found}; supported are F32, F16 and BF16")]
    TensorType {
        /// Its name.
        name: String,
        /// Its type.
        found: String,
    },
    /// A weight that is infinite or not a number.
    #[error("tensor `{name}`: value {index} is {value}; every weight must be finite")]
    NotFinite {
        /// Its name.
        name: String,
        /// Which value, counted row by row from 0.
        index: usize,
        /// The value.
        value: f32,
    },
    /// A number in the configuration makes no sense.
    #[error("{path}: {what} is {found}, expected {expected}")]
    Value {
        /// The file.
        path: PathBuf,
        /// Which number.
        what: &'static str,
        /// Its value.
        found: u64,
        /// What it must be.
        expected: String,
    },
    /// A layer that was named for its own activation width does not exist.
    #[error("no linear layer's name contains `{name}`; the layers are {layers}")]
    NoLayer {
        /// What was asked for.
        name: String,
        /// What there is.
        layers: String,
    },
    /// A calibration text does not fit the model.
    #[error("calibration text: {0}")]
    Calibration(#[from] InputError),
    /// A calibration text made the model fault.
    #[error("calibration text {0} makes the model fault: a value became infinite")]
    CalibrationFault(usize),
    /// The engine for calibration.
    #[error(transparent)]
    Cpu(#[from] CpuError),
    /// The artefact cannot be made.
    #[error(transparent)]
    Artefact(#[from] ArtefactError),
}

fn missing_hint(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::NotFound {
        "; hint: give the folder with config.json, model.safetensors, modules.json, 1_Pooling"
    } else {
        ""
    }
}

/// Imports the model in `folder` into the file `out`.
///
/// # Errors
/// [`ImportError`]; then `out` is as it was.
pub fn import(
    folder: &Path,
    out: &Path,
    options: &Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<Manifest, ImportError> {
    let (plan, files) = Import::prepare(folder, options, progress)?;
    let mut writer = Writer::create(out, plan.blueprint.program.clone(), description(&files))?;
    plan.write(&mut writer, &files, progress)?;
    Ok(writer.persist(out)?)
}

/// [`import`] into memory: the artefact's bytes, ready to be read.
///
/// # Errors
/// [`ImportError`].
pub fn import_to_memory(
    folder: &Path,
    options: &Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<Reader<Cursor<Vec<u8>>>, ImportError> {
    let (plan, files) = Import::prepare(folder, options, progress)?;
    plan.to_memory(&files, progress)
}

/// The linear layers of the model in `folder`, by name, in order: what overrides choose from.
///
/// # Errors
/// [`ImportError`].
pub fn layers(folder: &Path) -> Result<Vec<String>, ImportError> {
    let config = Config::read(folder)?;
    let blueprint = Blueprint::new(&config, &Options::default())?;
    Ok(blueprint.linears.into_iter().map(|(_, name)| name).collect())
}

/// Files that travel with an artefact: name in it and content.
type Files = Vec<(String, Vec<u8>)>;

/// A model that is read, and how its tensors come from its weights.
struct Import {
    blueprint: Blueprint,
    weights: Weights,
    /// By linear layer, in order: what its inputs are divided by.
    smoothing: Vec<Vec<f32>>,
}

impl Import {
    fn prepare(
        folder: &Path,
        options: &Options,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(Self, Files), ImportError> {
        let config = Config::read(folder)?;
        let weights = Weights::read(&folder.join("model.safetensors"))?;
        let blueprint = Blueprint::new(&config, options)?;
        blueprint.check(&weights)?;
        let mut import = Self { blueprint, weights, smoothing: Vec::new() };
        if !options.calibration.is_empty() {
            import.calibrate(&config, options, progress)?;
        }
        Ok((import, attachments(folder)?))
    }

    /// Runs the calibration texts through the accurate model without smoothing, and chooses the
    /// smoothing vectors from what its linear layers see.
    fn calibrate(
        &mut self,
        config: &Config,
        options: &Options,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), ImportError> {
        let smoothed =
            std::mem::replace(&mut self.blueprint, Blueprint::new(config, &Options::default())?);
        let isa = Isa::best();
        let model = Model::load(&mut self.to_memory(&[], &mut |_| ())?, isa)?;
        let cpu = Cpu::new(isa, options.threads)?;
        let seen = smooth::observe(&model, &cpu, &options.calibration, progress)?;
        self.blueprint = smoothed;
        for ((_, name), seen) in self.blueprint.linears.iter().zip(&seen) {
            let weight = self.weights.get(&format!("{name}.weight"))?;
            self.smoothing.push(smooth::vector(seen, &weight));
        }
        Ok(())
    }

    fn to_memory(
        &self,
        files: &[(String, Vec<u8>)],
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Reader<Cursor<Vec<u8>>>, ImportError> {
        let sink = Cursor::new(Vec::new());
        let mut writer = Writer::new(sink, self.blueprint.program.clone(), description(files))?;
        self.write(&mut writer, files, progress)?;
        let (sink, _) = writer.finish()?;
        Ok(Reader::new(sink)?)
    }

    fn write<W: Write + Seek>(
        &self,
        writer: &mut Writer<W>,
        files: &[(String, Vec<u8>)],
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), ImportError> {
        let sources = &self.blueprint.sources;
        let total = sources.len() as u64;
        for (done, source) in (1..).zip(sources) {
            match source {
                Source::Rows { name, rows, cols } => {
                    let values = self.weights.get(name)?;
                    writer.table(&values[..rows * cols], *cols)?;
                }
                Source::Weight { name, cols, layer } => {
                    let mut values = self.weights.get(name)?;
                    if let Some(factors) = self.smoothing.get(*layer) {
                        smooth::scale_columns(&mut values, factors);
                    }
                    let (cells, scales) = weights::quantise(name, &values, *cols)?;
                    writer.matrix(&cells, *cols, &scales)?;
                }
                Source::Smoothing { layer } => {
                    let inverse = smooth::inverse(&self.smoothing[*layer]);
                    writer.table(&inverse, inverse.len())?;
                }
            }
            progress(Progress { phase: Phase::Writing, done, total });
        }
        for (_, content) in files {
            writer.attachment(content)?;
        }
        Ok(())
    }
}

/// The files that travel with the artefact, in order of their names in it.
fn attachments(folder: &Path) -> Result<Files, ImportError> {
    let mut files = Vec::new();
    for (name, file) in [("card.md", "README.md"), ("tokenizer.json", "tokenizer.json")] {
        let path = folder.join(file);
        let mut content = Vec::new();
        match std::fs::File::open(&path)
            .and_then(|file| file.take(ATTACHMENT_BYTES_MAX + 1).read_to_end(&mut content))
        {
            Ok(0) => {}
            Ok(_) => files.push((name.to_owned(), content)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(ImportError::File { path, error }),
        }
    }
    Ok(files)
}

fn description(files: &[(String, Vec<u8>)]) -> Description {
    Description {
        family: "bert".into(),
        attachments: files.iter().map(|(name, content)| Attachment::of(name, content)).collect(),
    }
}
