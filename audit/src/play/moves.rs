//! What a player can do about a job, and the messages for it.

use std::fmt;

use lockstep_chain::address::{self, Address};
use lockstep_chain::envelope::any;
use lockstep_proto::lockstep::job::v1::RunStatus;
use lockstep_proto::lockstep::trial::v1::{
    MsgCallNode, MsgChallenge, MsgConcede, MsgDefend, MsgOpenNode, MsgProveStep,
};
use lockstep_vm::hash::Hash;
use prost_types::Any;

/// A node of a trace on trial. Levels count from the leaves upward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Node {
    /// Number of the trace.
    pub trace: u32,
    /// Its level.
    pub level: u32,
    /// Its place in the level.
    pub position: u64,
}

/// What is to be done, without what it takes: made at each height, while a move is made once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Intent {
    /// Doubt an answer, with a bond; `own` says what is right, and stands behind it.
    Challenge {
        /// The answer that is doubted.
        answer: Hash,
        /// The own answer; none where it stands already.
        own: Option<Hash>,
    },
    /// Post the own trace.
    Defend,
    /// Ask for what lies below a node; for a leaf, for its proof.
    Call(Node),
    /// Open a node that was called.
    Open(Node),
    /// Have a called leaf recomputed, which is right.
    Prove(Node),
    /// Have a leaf recomputed that is wrong.
    Refute(Node),
    /// Admit that the revealed answer is wrong.
    Concede,
}

impl fmt::Display for Intent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let node = |node: &Node| {
            format!("node {} of level {}, trace {}", node.position, node.level, node.trace)
        };
        match self {
            Self::Challenge { answer, .. } => write!(f, "challenge {}", hex::encode(answer)),
            Self::Defend => write!(f, "defend the own answer"),
            Self::Call(it) => write!(f, "call {}", node(it)),
            Self::Open(it) => write!(f, "open {}", node(it)),
            Self::Prove(it) => write!(f, "prove leaf {} of trace {}", it.position, it.trace),
            Self::Refute(it) => write!(f, "refute leaf {} of trace {}", it.position, it.trace),
            Self::Concede => write!(f, "concede"),
        }
    }
}

/// A move that is ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Move {
    /// As [`Intent::Challenge`].
    Challenge {
        /// The answer that is doubted.
        answer: Hash,
        /// The own answer.
        own: Option<Hash>,
    },
    /// As [`Intent::Defend`].
    Defend {
        /// With the output root, what the answer consists of.
        status: RunStatus,
        /// Root of the output.
        output_root: Hash,
        /// Root of the trace.
        steps_root: Hash,
        /// Path of the last leaf.
        last_path: Vec<Hash>,
        /// What lies eight levels below the root.
        nodes: Vec<Hash>,
    },
    /// As [`Intent::Call`].
    Call(Node),
    /// As [`Intent::Open`].
    Open(Node, Vec<Hash>),
    /// As [`Intent::Prove`] and [`Intent::Refute`].
    Prove(Node, Vec<u8>),
    /// As [`Intent::Concede`].
    Concede,
}

impl Move {
    /// Gas that is enough for any move but a proof, of whatever length.
    pub const GAS: u64 = 2_000_000;
    /// Gas that is enough for a proof: it pays for a step.
    pub const PROOF_GAS: u64 = 4_000_000;

    /// Gas to sign for.
    #[must_use]
    pub fn gas(&self) -> u64 {
        if matches!(self, Self::Prove(..)) { Self::PROOF_GAS } else { Self::GAS }
    }

    /// The message of the account that moves.
    #[must_use]
    pub fn message(self, account: &Address, job: u64) -> Any {
        let me = address::account(account);
        match self {
            Self::Challenge { answer, own } => any(&MsgChallenge {
                challenger: me,
                job,
                result_root: answer.to_vec(),
                own_result_root: own.map(|own| own.to_vec()).unwrap_or_default(),
            }),
            Self::Defend { status, output_root, steps_root, last_path, nodes } => any(&MsgDefend {
                defender: me,
                job,
                status: status.into(),
                output_root: output_root.to_vec(),
                steps_root: steps_root.to_vec(),
                last_path: last_path.concat(),
                nodes: nodes.concat(),
            }),
            Self::Call(Node { trace, level, position }) => {
                any(&MsgCallNode { challenger: me, job, trace, level, position })
            }
            Self::Open(Node { trace, level, position }, nodes) => {
                let nodes = nodes.concat();
                any(&MsgOpenNode { defender: me, job, trace, level, position, nodes })
            }
            Self::Prove(Node { trace, position, .. }, witness) => {
                any(&MsgProveStep { prover: me, job, trace, position, witness })
            }
            Self::Concede => any(&MsgConcede { executor: me, job }),
        }
    }
}
