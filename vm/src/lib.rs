//! The tensor VM: programs whose results are the same bytes on every machine.
//!
//! A [`program::Program`] is a list of operators over tensors; [`program::verify`] judges it without
//! running it. An [`artefact`] is a program with its tensors, known by one hash. [`import`] makes one
//! from a model as it is published, [`interp`] runs it, [`result`] says what a run is known by.
//! `docs/vm.md` defines all of it to the byte.

pub mod artefact;
pub mod hash;
pub mod import;
pub mod interp;
pub mod kernels;
pub mod limits;
pub mod merkle;
pub mod ops;
pub mod program;
pub mod result;
pub mod trace;
