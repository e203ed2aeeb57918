//! What a player can do about a job, and the messages for it.

use std::fmt;

use lockstep_chain::address::{self, Address};
use lockstep_chain::wire::any;
use lockstep_proto::lockstep::trial::v1::{
    MsgCallNode, MsgChallenge, MsgConcede, MsgDefend, MsgOpenNode, MsgProveStep,
};
use lockstep_vm::hash::Hash;
use lockstep_vm::merkle::height;
use prost_types::Any;

use super::PlayError;
use super::evidence::{Answer, Evidence};

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

/// The node from which everything hangs.
#[must_use]
pub(super) fn top(trace: u32, leaves: u64) -> Node {
    Node { trace, level: height(leaves), position: 0 }
}

/// The ancestor of a node at a level.
#[must_use]
pub(super) fn ancestor(node: Node, level: u32) -> Node {
    let position = node.position.checked_shr(level.saturating_sub(node.level)).unwrap_or(0);
    Node { level, position, ..node }
}

/// What is to be done, without what it takes: made at each height, while a move is made once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Intent {
    /// Doubt an answer, with a bond.
    Challenge {
        /// The answer that is doubted.
        answer: Hash,
        /// Whether the own answer is brought with it, with its trace and another bond.
        own: bool,
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

impl Intent {
    /// By what it is known: a challenge is one challenge, with or without an own answer.
    pub(super) fn key(self) -> Self {
        match self {
            Self::Challenge { answer, .. } => Self::Challenge { answer, own: false },
            other => other,
        }
    }
}

/// An answer with the trace that is to prove it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// What is claimed.
    pub answer: Answer,
    /// Root of the trace.
    pub steps_root: Hash,
    /// Path of the last leaf.
    pub last_path: Vec<Hash>,
    /// What lies eight levels below the root.
    pub nodes: Vec<Hash>,
}

impl Claim {
    /// What was computed here. Takes as long as the trace.
    ///
    /// # Errors
    /// Where the run cannot be repeated.
    pub fn of(evidence: &impl Evidence) -> Result<Self, PlayError> {
        let root = top(0, evidence.leaves());
        Ok(Self {
            answer: evidence.answer(),
            steps_root: evidence.steps_root()?,
            last_path: evidence.last_path()?,
            nodes: evidence.open(root.level, root.position)?,
        })
    }

    fn message(self, defender: String, job: u64) -> Any {
        any(&MsgDefend {
            defender,
            job,
            status: self.answer.status.into(),
            output_root: self.answer.output_root.to_vec(),
            steps_root: self.steps_root.to_vec(),
            last_path: self.last_path.concat(),
            nodes: self.nodes.concat(),
        })
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
        own: Option<Claim>,
    },
    /// As [`Intent::Defend`].
    Defend(Claim),
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
    /// The messages of the account that moves, which belong into one transaction: an own answer
    /// without its trace falls, and its bond with it.
    #[must_use]
    pub fn messages(self, account: &Address, job: u64) -> Vec<Any> {
        let me = address::account(account);
        let message = match self {
            Self::Challenge { answer, own } => {
                let root = own.as_ref().map(|own| own.answer.result_root.to_vec());
                let challenge = any(&MsgChallenge {
                    challenger: me.clone(),
                    job,
                    result_root: answer.to_vec(),
                    own_result_root: root.unwrap_or_default(),
                });
                let own = own.map(|own| own.message(me, job));
                return [challenge].into_iter().chain(own).collect();
            }
            Self::Defend(claim) => claim.message(me, job),
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
        };
        vec![message]
    }
}
