//! `MsgDefend`: posts the trace of an answer on trial.
//!
//! Who revealed or brought the answer may; any other executor or auditor with a bond. It is a duty and
//! free of fees.

use alloc::vec::Vec;

use lockstep_proto::lockstep::job::v1::RunStatus;
use lockstep_proto::lockstep::member::v1::Role;
use lockstep_proto::lockstep::trial::v1::{MsgDefend, MsgDefendResponse};

use super::{Action, Kind, decode};
use crate::address::{self, Address};
use crate::context::Context;
use crate::error::{BAD_FIELD, Reject, TxError};
use crate::trial::NOT_ON_TRIAL;
use crate::trial::defend::{self, BAD_TRACE, Claim, DEFENDED_ALREADY, NO_SUCH_RESULT, TOO_LATE};
use crate::trial::game::hashes;
use crate::wire::any;

pub(super) const KIND: Kind = Kind {
    number: 47,
    name: "defend",
    type_url: "/lockstep.trial.v1.MsgDefend",
    roles: &[Role::Executor, Role::Auditor],
    duty: true,
    moves: Some(1),
    rejects: &[NOT_ON_TRIAL, TOO_LATE, NO_SUCH_RESULT, BAD_TRACE, DEFENDED_ALREADY],
    decode: decode::<MsgDefend, Defend>,
    example: || {
        any(&MsgDefend {
            defender: address::account(&[1; 20]),
            job: 7,
            status: RunStatus::Halted.into(),
            output_root: [3; 32].to_vec(),
            steps_root: [4; 32].to_vec(),
            last_path: [5; 64].to_vec(),
            nodes: [6; 96].to_vec(),
        })
    },
};

#[derive(Debug)]
pub(crate) struct Defend {
    defender: Address,
    job: u64,
    claim: Claim,
}

impl Action for Defend {
    fn signer(&self) -> Address {
        self.defender
    }

    fn check(&self) -> Result<(), Reject> {
        Ok(())
    }

    fn apply(&self, ctx: &mut Context<'_, '_>) -> Result<(), TxError> {
        let trace = defend::defend(ctx, &self.defender, self.job, &self.claim)?;
        ctx.respond(&MsgDefendResponse { trace });
        Ok(())
    }
}

impl TryFrom<MsgDefend> for Defend {
    type Error = Reject;

    fn try_from(message: MsgDefend) -> Result<Self, Reject> {
        let root = |bytes: Vec<u8>| bytes.try_into().map_err(|_| BAD_FIELD);
        Ok(Self {
            defender: address::parse_account(&message.defender)?,
            job: message.job,
            claim: Claim {
                status: RunStatus::try_from(message.status).map_err(|_| BAD_FIELD)?,
                output_root: root(message.output_root)?,
                steps_root: root(message.steps_root)?,
                last_path: hashes(&message.last_path)?,
                nodes: hashes(&message.nodes)?,
            },
        })
    }
}
