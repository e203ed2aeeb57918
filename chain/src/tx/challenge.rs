//! `MsgChallenge`: puts an answer on trial, with a bond; may bring another answer, with another bond.
//!
//! An executor or auditor may, within the challenge window of a verified job, also of one whose output
//! was delivered, and while a trial takes traces.

use alloc::vec::Vec;

use lockstep_proto::lockstep::member::v1::Role;
use lockstep_proto::lockstep::trial::v1::{MsgChallenge, MsgChallengeResponse};

use super::{Action, Kind, decode};
use crate::address::{self, Address};
use crate::context::Context;
use crate::error::{BAD_FIELD, Reject, TxError};
use crate::state::tables::Hash;
use crate::trial::open::{self, CHALLENGED_ALREADY, NO_SUCH_ANSWER, NO_WINDOW, TOO_MANY};
use crate::trial::{BOTH_SIDES, OUT};
use crate::wire::any;

pub(super) const KIND: Kind = Kind {
    number: 46,
    name: "challenge",
    type_url: "/lockstep.trial.v1.MsgChallenge",
    roles: &[Role::Executor, Role::Auditor],
    duty: false,
    moves: Some(0),
    rejects: &[NO_WINDOW, NO_SUCH_ANSWER, CHALLENGED_ALREADY, BOTH_SIDES, TOO_MANY, OUT],
    decode: decode::<MsgChallenge, Challenge>,
    example: || {
        any(&MsgChallenge {
            challenger: address::account(&[1; 20]),
            job: 7,
            result_root: [3; 32].to_vec(),
            own_result_root: Vec::new(),
        })
    },
};

#[derive(Debug)]
pub(crate) struct Challenge {
    challenger: Address,
    job: u64,
    result_root: Hash,
    own: Option<Hash>,
}

impl Action for Challenge {
    fn signer(&self) -> Address {
        self.challenger
    }

    fn check(&self) -> Result<(), Reject> {
        if self.own == Some(self.result_root) { Err(BAD_FIELD) } else { Ok(()) }
    }

    fn apply(&self, ctx: &mut Context<'_, '_>) -> Result<(), TxError> {
        open::challenge(ctx, &self.challenger, self.job, &self.result_root, self.own.as_ref())?;
        ctx.respond(&MsgChallengeResponse {});
        Ok(())
    }
}

impl TryFrom<MsgChallenge> for Challenge {
    type Error = Reject;

    fn try_from(message: MsgChallenge) -> Result<Self, Reject> {
        let own = message.own_result_root;
        Ok(Self {
            challenger: address::parse_account(&message.challenger)?,
            job: message.job,
            result_root: message.result_root.try_into().map_err(|_| BAD_FIELD)?,
            own: if own.is_empty() { None } else { Some(own.try_into().map_err(|_| BAD_FIELD)?) },
        })
    }
}
