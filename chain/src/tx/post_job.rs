//! `MsgPostJob`: asks for one run of a model.
//!
//! A developer may. The version is resolved and pinned at once; the fee (the model's price and the
//! program's static cost), the deposit and the posting charge go into escrow. Refused at once:
//! inputs that the program cannot take, a fee below the price, more open jobs than the chain takes.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use lockstep_proto::lockstep::job::v1::{Job, MsgPostJob, MsgPostJobResponse};
use lockstep_proto::lockstep::member::v1::Role;

use super::{Action, Kind, decode};
use crate::address::{self, Address};
use crate::context::Context;
use crate::error::{BAD_FIELD, Reject, TxError};
use crate::event::Event;
use crate::job::posting::{self, NO_COMMITTEE};
use crate::limits::{BLOB_BYTES_MAX, INLINE_BYTES_MAX, SUPPLY_MAX};
use crate::model;
use crate::wire::any;

/// Neither an inline input nor the root of one, or both.
pub const BAD_INPUT: Reject =
    Reject::new(4000, "bad input; hint: token ids, 4 bytes each, inline up to 16 KiB or as a blob");
/// More tokens than the model takes.
pub const INPUT_TOO_LONG: Reject =
    Reject::new(4001, "the input has more tokens than the model takes; hint: cut the text");
/// A token id is not in the vocabulary.
pub const UNKNOWN_TOKEN: Reject = Reject::new(4002, "a token id is not in the model's vocabulary");
/// The version cannot be called yet.
pub const NOT_CALLABLE: Reject = Reject::new(
    4003,
    "the version is not callable yet; hint: executors have to prove that they hold it",
);
/// The job costs more than the poster allows.
pub const MAX_FEE_TOO_LOW: Reject =
    Reject::new(4004, "max_fee is below the job's price; hint: ask for a quote");
/// More jobs are open than the chain takes.
pub const TOO_MANY_JOBS: Reject =
    Reject::new(4005, "too many jobs are open; hint: try again when some have ended");

pub(super) const KIND: Kind = Kind {
    number: 40,
    name: "post_job",
    type_url: "/lockstep.job.v1.MsgPostJob",
    roles: &[Role::Developer],
    duty: false,
    moves: None,
    rejects: &[
        BAD_INPUT,
        INPUT_TOO_LONG,
        UNKNOWN_TOKEN,
        NOT_CALLABLE,
        MAX_FEE_TOO_LOW,
        TOO_MANY_JOBS,
        NO_COMMITTEE,
    ],
    decode: decode::<MsgPostJob, PostJob>,
    example: || {
        any(&MsgPostJob {
            poster: address::account(&[1; 20]),
            model: "minilm".into(),
            input: vec![101, 0, 0, 0, 102, 0, 0, 0],
            max_fee: 100_000,
            ..MsgPostJob::default()
        })
    },
};

#[derive(Debug)]
pub(crate) struct PostJob {
    poster: Address,
    model: String,
    input: Vec<u8>,
    input_root: Vec<u8>,
    input_bytes: u64,
    max_fee: u64,
    deadline_blocks: u64,
    seed: Vec<u8>,
}

impl Action for PostJob {
    fn signer(&self) -> Address {
        self.poster
    }

    fn check(&self) -> Result<(), Reject> {
        let inline = !self.input.is_empty()
            && self.input.len() <= INLINE_BYTES_MAX
            && self.input.len().is_multiple_of(4)
            && self.input_root.is_empty()
            && self.input_bytes == 0;
        let blob = self.input.is_empty()
            && self.input_root.len() == 32
            && (4..=BLOB_BYTES_MAX).contains(&self.input_bytes)
            && self.input_bytes.is_multiple_of(4);
        if !inline && !blob {
            return Err(BAD_INPUT);
        }
        if self.seed.len() > 32 || self.max_fee > SUPPLY_MAX || self.deadline_blocks > 1_000_000 {
            return Err(BAD_FIELD);
        }
        Ok(())
    }

    fn apply(&self, ctx: &mut Context<'_, '_>) -> Result<(), TxError> {
        let open_jobs = crate::state::tables::TOTALS.must(ctx.state, &())?.open_jobs;
        if open_jobs >= u64::from(ctx.params.open_jobs_max) {
            return Err(TOO_MANY_JOBS.into());
        }
        let version = model::resolve(ctx.state, &self.model)?;
        if !version.callable {
            return Err(NOT_CALLABLE.into());
        }
        let input_bytes = if self.input.is_empty() {
            self.input_bytes
        } else {
            u64::try_from(self.input.len()).map_err(|_| BAD_INPUT)?
        };
        let tokens = u32::try_from(input_bytes / 4).map_err(|_| BAD_INPUT)?;
        if tokens > version.tokens_max {
            return Err(INPUT_TOO_LONG.into());
        }
        let words = self.input.chunks_exact(4).filter_map(|word| word.try_into().ok());
        if words.map(u32::from_le_bytes).any(|id| id >= version.vocabulary) {
            return Err(UNKNOWN_TOKEN.into());
        }
        let fee = posting::price(ctx.state, &version, tokens)?;
        if fee > self.max_fee {
            return Err(MAX_FEE_TOO_LOW.into());
        }
        let deadline = match self.deadline_blocks {
            0 => ctx.params.deadline_blocks_default,
            blocks => blocks,
        };
        let job = Job {
            poster: self.poster.to_vec(),
            version: version.id,
            input_root: if self.input.is_empty() {
                self.input_root.clone()
            } else {
                lockstep_vm::result::input_root(&self.input).to_vec()
            },
            input: self.input.clone(),
            input_bytes,
            fee,
            seed: self.seed.clone(),
            deadline_height: ctx.tip.height.saturating_add(deadline),
            ..Job::default()
        };
        let id = posting::open(ctx, job)?;
        ctx.emit(
            Event::new("post_job")
                .with("job", id)
                .with("poster", address::account(&self.poster))
                .with("model", model::label(ctx.state, &version)?)
                .with("fee", fee),
        );
        ctx.respond(&MsgPostJobResponse { job: id });
        Ok(())
    }
}

impl TryFrom<MsgPostJob> for PostJob {
    type Error = Reject;

    fn try_from(message: MsgPostJob) -> Result<Self, Reject> {
        Ok(Self {
            poster: address::parse_account(&message.poster)?,
            model: message.model,
            input: message.input,
            input_root: message.input_root,
            input_bytes: message.input_bytes,
            max_fee: message.max_fee,
            deadline_blocks: message.deadline_blocks,
            seed: message.seed,
        })
    }
}
