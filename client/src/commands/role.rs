//! `lockstep role`.

use clap::{Subcommand, ValueEnum};
use lockstep_client::Result;
use lockstep_client::tx::message;
use lockstep_proto::lockstep::member::v1 as pb;
use serde_json::json;

use super::submit::submit;
use crate::cli::{Globals, Signing};

/// What a member may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Name {
    Council,
    Validator,
    Publisher,
    Developer,
    Executor,
    Auditor,
    Observer,
}

impl From<Name> for pb::Role {
    fn from(name: Name) -> Self {
        match name {
            Name::Council => Self::Council,
            Name::Validator => Self::Validator,
            Name::Publisher => Self::Publisher,
            Name::Developer => Self::Developer,
            Name::Executor => Self::Executor,
            Name::Auditor => Self::Auditor,
            Name::Observer => Self::Observer,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Role {
    /// Gives an account a role; it becomes a member with its first.
    Grant {
        /// `lockstep1…`, or a devnet's account.
        account: String,
        role: Name,
        /// For an executor: the validator that it works for.
        #[arg(long, required_if_eq("role", "executor"))]
        validator: Option<String>,
        #[command(flatten)]
        signing: Signing,
    },
    /// Takes a role from an account.
    Revoke {
        /// `lockstep1…`, or a devnet's account.
        account: String,
        role: Name,
        #[command(flatten)]
        signing: Signing,
    },
}

pub(super) async fn run(globals: &Globals, command: Role) -> Result<()> {
    match command {
        Role::Grant { account, role, validator, signing } => {
            let account = super::query::address(&account)?;
            let operator = validator.as_deref().map(super::query::operator).transpose()?;
            let operator = operator.unwrap_or_default();
            let sent = submit(globals, &signing, |from| {
                vec![message::grant_role(from, &account, role.into(), &operator)]
            });
            sent.await?.report(globals, &format!("{account} has a new role"), json!({}));
        }
        Role::Revoke { account, role, signing } => {
            let account = super::query::address(&account)?;
            let sent = submit(globals, &signing, |from| {
                vec![message::revoke_role(from, &account, role.into())]
            });
            sent.await?.report(globals, &format!("{account} has lost a role"), json!({}));
        }
    }
    Ok(())
}
