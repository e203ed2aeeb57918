//! A node as its users meet it: `lockstepd` as built, CometBFT as installed, a real disk.

mod process;
mod support;
mod txs;
