//! The commands of `lockstepd`, one file each.

pub mod archive;
pub mod check;
pub mod devnet;
pub mod init;
pub mod inspect;
pub mod start;
pub mod status;

pub mod accounts;
