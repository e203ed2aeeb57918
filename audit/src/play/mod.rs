//! Plays trials: defends what was recomputed here, refutes what differs from it, concedes where the
//! own hardware was at fault.
//!
//! The strategy is pure: a [`Seat`] is given the state of a trial and says which moves to send. What
//! it knows itself comes as [`Evidence`]; what the others opened, from the chain. Nothing has to be
//! kept over a restart: what was done stands on the chain, what is to be done follows from it.

mod evidence;
mod lie;
mod moves;
mod opened;
mod program;
mod sample;
mod seat;
mod strategy;
#[cfg(test)]
mod tests;
mod turn;

use lockstep_chain::address::Address;

pub use evidence::{Answer, Evidence, Nodes};
pub use lie::{Claimed, Lie, falsify};
pub use moves::{Claim, Intent, Move, Node};
pub use program::{Program, Run};
pub use sample::Sample;
pub use seat::{Seat, Turn};
pub use strategy::{Now, Window};
pub use turn::{Court, Shared, accuse, turn};

/// Who plays, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Player {
    /// The account that signs.
    pub account: Address,
    /// The validator that it works for, which may have had another executor when a trial began.
    pub operator: Option<Address>,
    /// Whether it puts bonds on its challenges. Members of the committee need none against one
    /// another's answers.
    pub bonds: bool,
    /// Goes on where it knows to be wrong: an injected fault.
    pub stubborn: bool,
}

/// Why a move was not made.
#[derive(Debug, thiserror::Error)]
pub enum PlayError {
    /// The trace that stands on the chain is of another length than the own one.
    #[error(
        "a trace on trial has {theirs} leaves, the own one {ours}; hint: do this program and the \
         chain's run the same version?"
    )]
    Leaves {
        /// Leaves of the own trace.
        ours: u64,
        /// Leaves of the other.
        theirs: u64,
    },
    /// What was said to be opened does not lead to the root on trial.
    #[error(
        "the node's list below node {} of level {} of trace {} does not lead to the trace's root; \
         hint: ask another node", .0.position, .0.level, .0.trace
    )]
    Opened(Node),
    /// The chain would not compute what the own trace says.
    #[error(
        "leaf {} of trace {} cannot be proved: recomputing it gives what the other side says; \
         hint: test this machine's memory", .0.position, .0.trace
    )]
    Unprovable(Node),
    /// Two runs of one job gave two answers.
    #[error("two runs of this job here gave two answers; hint: test this machine's memory")]
    Unstable,
    /// The run could not be repeated.
    #[error("the run cannot be repeated: {0}")]
    Trace(String),
}

impl PlayError {
    /// Whether the own computation is in doubt: the seat is to be given up, and taken anew with a fresh
    /// run at the next height.
    #[must_use]
    pub fn retake(&self) -> bool {
        matches!(self, Self::Unprovable(_) | Self::Unstable | Self::Trace(_))
    }

    /// The run cannot be repeated, and this is why.
    pub fn trace(cause: impl std::fmt::Display) -> Self {
        Self::Trace(cause.to_string())
    }
}
