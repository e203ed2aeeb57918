//! Transactions: one file per action, and the one list of them.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt::Debug;
use core::ops::Deref;

use lockstep_proto::lockstep::member::v1::Role;
use prost::{Message, Name};
use prost_types::Any;

use crate::address::Address;
use crate::context::Context;
use crate::error::{Reject, TxError, UNKNOWN_MESSAGE};
use crate::wire;

pub mod call_node;
pub mod cancel_job;
pub mod cancel_verdict;
pub mod challenge;
pub mod commit_result;
pub mod concede;
pub mod create_validator;
pub mod defend;
pub mod delegate;
pub mod deliver_output;
pub mod grant_role;
pub mod open_node;
pub mod pay_royalty;
pub mod post_job;
pub mod prove_possession;
pub mod prove_step;
pub mod publish_version;
pub mod register_model;
pub mod reveal_result;
pub mod revoke_role;
pub mod send;
pub mod set_alias;
pub mod undelegate;

/// What an action does. Everything about it that needs no instance is in its [`Kind`].
pub trait Action: Debug + Send + Sync {
    /// Who must have signed.
    fn signer(&self) -> Address;

    /// Checks that need nothing but the message.
    ///
    /// # Errors
    /// When the message can never be valid.
    fn check(&self) -> Result<(), Reject>;

    /// Checks against the state, then writes. On an error the writes are dropped.
    ///
    /// # Errors
    /// [`TxError::Reject`] refuses the transaction; [`TxError::Fault`] stops the node.
    fn apply(&self, ctx: &mut Context<'_, '_>) -> Result<(), TxError>;
}

/// Decodes a message's bytes and checks the form of its fields.
pub type Decode = fn(&[u8]) -> Result<Box<dyn Action>, Reject>;

/// What there is to know about an action without having one.
#[derive(Debug)]
pub struct Kind {
    /// Permanent; owns the codes `100·n` to `100·n + 99`.
    pub number: u32,
    /// The name in events, logs and the command line.
    pub name: &'static str,
    /// As in the transaction's bytes.
    pub type_url: &'static str,
    /// Any one of these may sign; none means any member.
    pub roles: &'static [Role],
    /// Duty demands it of executors, so it is free within a quota.
    pub duty: bool,
    /// For a move of a trial, what it takes of a block's budget; proposers let moves go first.
    pub moves: Option<u32>,
    /// Every refusal that only this action can cause.
    pub rejects: &'static [Reject],
    /// Decodes the message and its fields.
    pub decode: Decode,
    /// A valid message: the seed of golden vectors, fuzzing and docs.
    pub example: fn() -> Any,
}

/// Every action, by its number.
pub const KINDS: &[&Kind] = &[
    &send::KIND,
    &create_validator::KIND,
    &delegate::KIND,
    &undelegate::KIND,
    &grant_role::KIND,
    &revoke_role::KIND,
    &register_model::KIND,
    &publish_version::KIND,
    &set_alias::KIND,
    &prove_possession::KIND,
    &pay_royalty::KIND,
    &post_job::KIND,
    &cancel_job::KIND,
    &commit_result::KIND,
    &reveal_result::KIND,
    &deliver_output::KIND,
    &challenge::KIND,
    &defend::KIND,
    &call_node::KIND,
    &open_node::KIND,
    &prove_step::KIND,
    &concede::KIND,
    &cancel_verdict::KIND,
];

/// A decoded message.
#[derive(Debug)]
pub struct AnyAction {
    /// Which action it is.
    pub kind: &'static Kind,
    action: Box<dyn Action>,
}

impl AnyAction {
    /// Decodes a message by its type URL.
    ///
    /// # Errors
    /// When the type is unknown, or the bytes or fields are malformed.
    pub fn decode(any: &Any) -> Result<Self, Reject> {
        let kind = KINDS.iter().find(|kind| kind.type_url == any.type_url);
        let kind = kind.ok_or(UNKNOWN_MESSAGE)?;
        Ok(Self { kind, action: (kind.decode)(&any.value)? })
    }
}

impl Deref for AnyAction {
    type Target = dyn Action;

    fn deref(&self) -> &Self::Target {
        self.action.as_ref()
    }
}

/// The bit of a role in `Account.roles`.
#[must_use]
pub fn role_bit(role: Role) -> u32 {
    u32::try_from(i32::from(role)).ok().and_then(|shift| 1_u32.checked_shl(shift)).unwrap_or(0)
}

/// Every refusal that there is, for the table of codes.
#[must_use]
pub fn rejects() -> Vec<Reject> {
    let own = KINDS.iter().flat_map(|kind| kind.rejects.iter());
    crate::error::COMMON.iter().chain(own).copied().collect()
}

/// Decodes message `M` in its one encoding into action `A`.
fn decode<M, A>(bytes: &[u8]) -> Result<Box<dyn Action>, Reject>
where
    M: Message + Name + Default,
    A: Action + TryFrom<M, Error = Reject> + 'static,
{
    let message: M = wire::canonical(bytes)?;
    Ok(Box::new(A::try_from(message)?))
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;
    use std::format;

    use super::*;

    #[test]
    fn numbers_urls_and_codes_are_unique_and_each_code_lies_in_its_action() {
        let mut seen = BTreeSet::new();
        for kind in KINDS {
            assert!(seen.insert(format!("number {}", kind.number)));
            assert!(seen.insert(format!("name {}", kind.name)));
            assert!(seen.insert(format!("url {}", kind.type_url)));
            for reject in kind.rejects {
                assert_eq!(reject.code / 100, kind.number, "{reject}");
            }
        }
        for reject in rejects() {
            assert!(seen.insert(format!("code {}", reject.code)), "{reject}");
        }
    }

    #[test]
    fn every_example_decodes_and_passes_its_own_check() {
        for kind in KINDS {
            let example = (kind.example)();
            assert_eq!(example.type_url, kind.type_url);
            let action = AnyAction::decode(&example).unwrap();
            action.check().unwrap();
        }
    }
}
