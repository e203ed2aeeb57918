//! `MsgCancelJob`: takes a job back. Only its poster may, and only before the first commitment.

use lockstep_proto::lockstep::job::v1::{JobState, MsgCancelJob, MsgCancelJobResponse};
use lockstep_proto::lockstep::member::v1::Role;

use super::{Action, Kind, decode};
use crate::address::{self, Address};
use crate::context::Context;
use crate::error::{Reject, TxError};
use crate::job::{self, settle};
use crate::wire::any;

/// The signer did not post the job.
pub const NOT_POSTER: Reject = Reject::new(4100, "the signer did not post this job");
/// An executor has committed, or the job has ended.
pub const TOO_LATE: Reject =
    Reject::new(4101, "too late: an executor has committed, or the job has ended");

pub(super) const KIND: Kind = Kind {
    number: 41,
    name: "cancel_job",
    type_url: "/lockstep.job.v1.MsgCancelJob",
    roles: &[Role::Developer],
    duty: false,
    moves: None,
    rejects: &[NOT_POSTER, TOO_LATE],
    decode: decode::<MsgCancelJob, CancelJob>,
    example: || any(&MsgCancelJob { poster: address::account(&[1; 20]), job: 7 }),
};

#[derive(Debug)]
pub(crate) struct CancelJob {
    poster: Address,
    job: u64,
}

impl Action for CancelJob {
    fn signer(&self) -> Address {
        self.poster
    }

    fn check(&self) -> Result<(), Reject> {
        Ok(())
    }

    fn apply(&self, ctx: &mut Context<'_, '_>) -> Result<(), TxError> {
        let job = job::get(ctx.state, self.job)?;
        if job.poster != self.poster {
            return Err(NOT_POSTER.into());
        }
        let untouched = matches!(job.state(), JobState::AwaitingInput | JobState::Posted)
            && job.members.iter().all(|member| member.committed_height == 0);
        if !untouched {
            return Err(TOO_LATE.into());
        }
        settle::refund(ctx, job, JobState::Cancelled)?;
        ctx.respond(&MsgCancelJobResponse {});
        Ok(())
    }
}

impl TryFrom<MsgCancelJob> for CancelJob {
    type Error = Reject;

    fn try_from(message: MsgCancelJob) -> Result<Self, Reject> {
        Ok(Self { poster: address::parse_account(&message.poster)?, job: message.job })
    }
}
