//! `MsgProveStep`: has the chain recompute a leaf of a trace.
//!
//! Anyone with a part in the trial may, on either side; it is a duty and free of fees. A witness that
//! does not open what the step needs proves nothing and is refused.

use alloc::vec;
use alloc::vec::Vec;

use lockstep_proto::lockstep::member::v1::Role;
use lockstep_proto::lockstep::trial::v1::{MsgProveStep, MsgProveStepResponse};
use lockstep_vm::trace::WITNESS_BYTES_MAX;

use super::{Action, Kind, decode};
use crate::address::{self, Address};
use crate::context::Context;
use crate::error::{Reject, TOO_LARGE, TxError};
use crate::limits::TRIAL_PROOF_MOVES;
use crate::trial::game::{self, NO_STAKE, NOT_OPENED, Node, WITNESS_REFUSED};
use crate::wire::any;

pub(super) const KIND: Kind = Kind {
    number: 50,
    name: "prove_step",
    type_url: "/lockstep.trial.v1.MsgProveStep",
    roles: &[Role::Executor, Role::Auditor],
    duty: true,
    moves: Some(TRIAL_PROOF_MOVES),
    rejects: &[NOT_OPENED, WITNESS_REFUSED, NO_STAKE],
    decode: decode::<MsgProveStep, ProveStep>,
    example: || {
        any(&MsgProveStep {
            prover: address::account(&[1; 20]),
            job: 7,
            trace: 1,
            position: 1300,
            witness: vec![1, 2, 3],
        })
    },
};

#[derive(Debug)]
pub(crate) struct ProveStep {
    prover: Address,
    node: Node,
    witness: Vec<u8>,
}

impl Action for ProveStep {
    fn signer(&self) -> Address {
        self.prover
    }

    fn check(&self) -> Result<(), Reject> {
        if self.witness.len() > WITNESS_BYTES_MAX { Err(TOO_LARGE) } else { Ok(()) }
    }

    fn apply(&self, ctx: &mut Context<'_, '_>) -> Result<(), TxError> {
        let right = game::prove(ctx, &self.prover, &self.node, &self.witness)?;
        ctx.respond(&MsgProveStepResponse { right });
        Ok(())
    }
}

impl TryFrom<MsgProveStep> for ProveStep {
    type Error = Reject;

    fn try_from(message: MsgProveStep) -> Result<Self, Reject> {
        Ok(Self {
            prover: address::parse_account(&message.prover)?,
            node: Node {
                job: message.job,
                trace: message.trace,
                level: 0,
                position: message.position,
            },
            witness: message.witness,
        })
    }
}
