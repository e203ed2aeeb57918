//! `MsgCallNode`: asks for what lies below a node of a trace, or for the proof of a leaf.
//!
//! Challengers of the trace's answer may, and members that revealed another; it is a duty and free of
//! fees.

use lockstep_proto::lockstep::member::v1::Role;
use lockstep_proto::lockstep::trial::v1::{MsgCallNode, MsgCallNodeResponse};

use super::{Action, Kind, decode};
use crate::address::{self, Address};
use crate::context::Context;
use crate::error::{Reject, TxError};
use crate::trial::game::{
    self, CALLS_OVER, NO_SUCH_TRACE, NOT_A_CHALLENGER, NOT_YOUR_MOVE, Node, PROVED_ALREADY,
    WRONG_NODE,
};
use crate::wire::any;

pub(super) const KIND: Kind = Kind {
    number: 48,
    name: "call_node",
    type_url: "/lockstep.trial.v1.MsgCallNode",
    roles: &[Role::Executor, Role::Auditor],
    duty: true,
    moves: Some(1),
    rejects: &[
        NO_SUCH_TRACE,
        NOT_A_CHALLENGER,
        NOT_YOUR_MOVE,
        WRONG_NODE,
        CALLS_OVER,
        PROVED_ALREADY,
    ],
    decode: decode::<MsgCallNode, CallNode>,
    example: || {
        any(&MsgCallNode {
            challenger: address::account(&[1; 20]),
            job: 7,
            trace: 1,
            level: 8,
            position: 5,
        })
    },
};

#[derive(Debug)]
pub(crate) struct CallNode {
    challenger: Address,
    node: Node,
}

impl Action for CallNode {
    fn signer(&self) -> Address {
        self.challenger
    }

    fn check(&self) -> Result<(), Reject> {
        Ok(())
    }

    fn apply(&self, ctx: &mut Context<'_, '_>) -> Result<(), TxError> {
        game::call(ctx, &self.challenger, &self.node)?;
        ctx.respond(&MsgCallNodeResponse {});
        Ok(())
    }
}

impl TryFrom<MsgCallNode> for CallNode {
    type Error = Reject;

    fn try_from(message: MsgCallNode) -> Result<Self, Reject> {
        Ok(Self {
            challenger: address::parse_account(&message.challenger)?,
            node: Node {
                job: message.job,
                trace: message.trace,
                level: message.level,
                position: message.position,
            },
        })
    }
}
