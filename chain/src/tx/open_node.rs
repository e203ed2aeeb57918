//! `MsgOpenNode`: gives what lies below a node that was called.
//!
//! Whoever stands behind the trace's answer may; it is a duty and free of fees. Refused: nodes that do
//! not fold to the one called.

use alloc::vec::Vec;

use lockstep_proto::lockstep::member::v1::Role;
use lockstep_proto::lockstep::trial::v1::{MsgOpenNode, MsgOpenNodeResponse};

use super::{Action, Kind, decode};
use crate::address::{self, Address};
use crate::context::Context;
use crate::error::{Reject, TxError};
use crate::state::tables::Hash;
use crate::trial::game::{self, NOT_A_SUPPORTER, NOT_CALLED, Node, WRONG_NODES, hashes};
use crate::wire::any;

pub(super) const KIND: Kind = Kind {
    number: 49,
    name: "open_node",
    type_url: "/lockstep.trial.v1.MsgOpenNode",
    roles: &[Role::Executor, Role::Auditor],
    duty: true,
    moves: Some(1),
    rejects: &[NOT_CALLED, WRONG_NODES, NOT_A_SUPPORTER],
    decode: decode::<MsgOpenNode, OpenNode>,
    example: || {
        any(&MsgOpenNode {
            defender: address::account(&[1; 20]),
            job: 7,
            trace: 1,
            level: 8,
            position: 5,
            nodes: [6; 64].to_vec(),
        })
    },
};

#[derive(Debug)]
pub(crate) struct OpenNode {
    defender: Address,
    node: Node,
    nodes: Vec<Hash>,
}

impl Action for OpenNode {
    fn signer(&self) -> Address {
        self.defender
    }

    fn check(&self) -> Result<(), Reject> {
        Ok(())
    }

    fn apply(&self, ctx: &mut Context<'_, '_>) -> Result<(), TxError> {
        game::open(ctx, &self.defender, &self.node, &self.nodes)?;
        ctx.respond(&MsgOpenNodeResponse {});
        Ok(())
    }
}

impl TryFrom<MsgOpenNode> for OpenNode {
    type Error = Reject;

    fn try_from(message: MsgOpenNode) -> Result<Self, Reject> {
        Ok(Self {
            defender: address::parse_account(&message.defender)?,
            node: Node {
                job: message.job,
                trace: message.trace,
                level: message.level,
                position: message.position,
            },
            nodes: hashes(&message.nodes)?,
        })
    }
}
