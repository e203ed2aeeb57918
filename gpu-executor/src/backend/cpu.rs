//! The CPU backend: the VM's own interpreter.

use std::io::Cursor;
use std::str::FromStr as _;
use std::sync::Arc;

use bytes::Bytes;
use lockstep_vm::artefact::{Reader, validate};
use lockstep_vm::interp::Model;
use lockstep_vm::ops::{self, Isa};

use super::{Backend, BackendError, LoadedModel, Outcome};

/// This machine's processor.
#[derive(Debug)]
pub struct Cpu {
    engine: Arc<ops::Cpu>,
    isa: Isa,
    threads: usize,
}

impl Cpu {
    /// A processor with an instruction set, `best` or a name, and so many threads.
    ///
    /// # Errors
    /// [`BackendError::Unavailable`] where this machine lacks it.
    pub fn new(isa: &str, threads: usize) -> Result<Self, BackendError> {
        let unavailable = |problem: String| BackendError::Unavailable { backend: "cpu", problem };
        let isa = match isa {
            "best" => Isa::best(),
            name => Isa::from_str(name).map_err(|_| {
                unavailable(format!("no isa `{name}`; hint: best, scalar, avx2 or vnni"))
            })?,
        };
        let engine = ops::Cpu::new(isa, threads).map_err(|error| unavailable(error.to_string()))?;
        Ok(Self { engine: Arc::new(engine), isa, threads })
    }
}

impl Backend for Cpu {
    fn name(&self) -> String {
        format!("cpu ({}, {} threads)", self.isa, self.threads)
    }

    fn load(&self, artefact: Bytes) -> Result<Box<dyn LoadedModel>, BackendError> {
        let refused = |error: &dyn std::fmt::Display| BackendError::Artefact(error.to_string());
        let mut reader = Reader::new(Cursor::new(artefact)).map_err(|error| refused(&error))?;
        validate(&mut reader).map_err(|error| refused(&error))?;
        let model = Model::load(&mut reader, self.isa).map_err(|error| refused(&error))?;
        Ok(Box::new(Loaded { model, engine: Arc::clone(&self.engine) }))
    }
}

#[derive(Debug)]
struct Loaded {
    model: Model,
    engine: Arc<ops::Cpu>,
}

impl LoadedModel for Loaded {
    fn run(&self, inputs: &[Vec<u32>]) -> Result<Vec<Outcome>, BackendError> {
        let inputs: Vec<&[u32]> = inputs.iter().map(Vec::as_slice).collect();
        let outcomes = self.model.run(&self.engine, &inputs);
        let outcomes = outcomes.map_err(|error| BackendError::Input(error.to_string()))?;
        let bytes = |row: Vec<f32>| row.into_iter().flat_map(f32::to_le_bytes).collect();
        let outcome = |outcome: Result<Vec<f32>, ops::Fault>| match outcome {
            Ok(row) => Outcome::Halted(bytes(row)),
            Err(ops::Fault) => Outcome::Fault,
        };
        Ok(outcomes.into_iter().map(outcome).collect())
    }

    fn weight_bytes(&self) -> u64 {
        self.model.manifest().verified().cost(1).weight_bytes
    }

    fn run_bytes(&self, tokens: u64) -> u64 {
        self.model.manifest().verified().memory_bytes(tokens)
    }

    fn tokens_max(&self) -> u32 {
        self.model.manifest().verified().tokens_max()
    }
}
