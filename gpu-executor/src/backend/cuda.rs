//! The CUDA backend. It finds and names the device; its kernels are not built yet, and it says so
//! rather than run anything else in their place.

use std::sync::Arc;

use bytes::Bytes;
use cudarc::driver::{CudaContext, sys};

use super::{Backend, BackendError, LoadedModel};

/// An NVIDIA GPU.
#[derive(Debug)]
pub struct Cuda {
    name: String,
    _context: Arc<CudaContext>,
}

impl Cuda {
    /// The first GPU of this machine.
    ///
    /// # Errors
    /// [`BackendError::Unavailable`] where there is no driver or no device.
    pub fn new() -> Result<Self, BackendError> {
        let unavailable = |problem: String| BackendError::Unavailable { backend: "cuda", problem };
        #[expect(unsafe_code, reason = "opens libcuda, whose initialisers are NVIDIA's")]
        let present = unsafe { sys::is_culib_present() };
        // Without libcuda, everything else in cudarc panics.
        if !present {
            let problem = "libcuda is not installed; hint: install the NVIDIA driver, or set \
                           backend = \"cpu\"";
            return Err(unavailable(problem.to_owned()));
        }
        let failed = |error: cudarc::driver::DriverError| unavailable(error.to_string());
        let context = CudaContext::new(0).map_err(failed)?;
        let (major, minor) = context.compute_capability().map_err(failed)?;
        let gib = context.total_mem().map_err(failed)? >> 30;
        let device = context.name().map_err(failed)?;
        let name = format!("cuda ({device}, compute capability {major}.{minor}, {gib} GiB)");
        Ok(Self { name, _context: context })
    }
}

impl Backend for Cuda {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn load(&self, _artefact: Bytes) -> Result<Box<dyn LoadedModel>, BackendError> {
        Err(BackendError::Unavailable {
            backend: "cuda",
            problem: format!(
                "{} is there, but the kernels are not built yet; hint: backend = \"cpu\"",
                self.name
            ),
        })
    }
}
