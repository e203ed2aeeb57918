//! What runs models. Every backend gives the same bytes; each proves it before it may sign.

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
mod golden;

use std::fmt;

use bytes::Bytes;

pub use cpu::Cpu;
#[cfg(feature = "cuda")]
pub use cuda::Cuda;
pub use golden::{SelfTest, artefact as golden_artefact, self_test};

use crate::config::{BackendKind, Config};

/// Something that models run on.
pub trait Backend: fmt::Debug + Send + Sync {
    /// What it is, for people: device and instruction set.
    fn name(&self) -> String;

    /// Makes an artefact ready to run. Every leaf and every constant is checked.
    ///
    /// # Errors
    /// [`BackendError`].
    fn load(&self, artefact: Bytes) -> Result<Box<dyn LoadedModel>, BackendError>;
}

/// A model that is ready to run.
pub trait LoadedModel: fmt::Debug + Send + Sync {
    /// Runs inputs (token ids) together; each gives what it would give alone.
    ///
    /// # Errors
    /// [`BackendError::Input`], [`BackendError::Device`]; an infinity or NaN is an [`Outcome`].
    fn run(&self, inputs: &[Vec<u32>]) -> Result<Vec<Outcome>, BackendError>;

    /// Bytes that it takes while it waits.
    fn weight_bytes(&self) -> u64;

    /// Bytes that a run of inputs with so many tokens together takes at most, beside the weights.
    fn run_bytes(&self, tokens: u64) -> u64;

    /// Tokens of an input at most.
    fn tokens_max(&self) -> u32;
}

/// What a run gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// An output: f32, little endian.
    Halted(Bytes),
    /// An infinity or a NaN came up: a valid result.
    Fault,
}

/// Why a backend cannot do what it is asked for.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// It does not work on this machine.
    #[error("the {backend} backend does not work here: {problem}")]
    Unavailable {
        /// Which.
        backend: &'static str,
        /// What is missing, and a hint.
        problem: String,
    },
    /// The artefact is not valid.
    #[error("the artefact does not load: {0}")]
    Artefact(String),
    /// The input does not fit the model.
    #[error("the input does not fit the model: {0}")]
    Input(String),
    /// The device failed.
    #[error("the device failed: {0}")]
    Device(String),
    /// It gave other bytes than the specification.
    #[error(
        "self-test of {backend} failed: {program} gave {found}, the specification says {expected}; \
         nothing is signed on this device; hint: check memory, driver and overclocking, or choose \
         another `backend` or `isa`"
    )]
    SelfTest {
        /// Which backend.
        backend: String,
        /// Which program.
        program: &'static str,
        /// The bytes that came, hashed.
        found: String,
        /// The bytes that must come, hashed.
        expected: &'static str,
    },
}

/// Opens the backend that the configuration names.
///
/// # Errors
/// [`BackendError::Unavailable`].
pub fn open(config: &Config) -> Result<Box<dyn Backend>, BackendError> {
    match config.backend {
        BackendKind::Cpu => Ok(Box::new(Cpu::new(&config.isa, config.threads)?)),
        #[cfg(feature = "cuda")]
        BackendKind::Cuda => Ok(Box::new(Cuda::new()?)),
        #[cfg(not(feature = "cuda"))]
        BackendKind::Cuda => Err(BackendError::Unavailable {
            backend: "cuda",
            problem: "this build has no CUDA; hint: backend = \"cpu\"".to_owned(),
        }),
    }
}
