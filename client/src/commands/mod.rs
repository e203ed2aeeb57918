//! One command, one file.

mod audit;
mod docs;
mod job;
mod keys;
mod model;
mod query;
mod role;
mod royalty;
mod stake;
mod status;
mod submit;
mod trust;
mod tx;

use clap::Subcommand;
use lockstep_client::Result;
use lockstep_client::rpc::Client;

use crate::cli::{Cli, Globals};

/// What can be asked for.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Keys: add, recover, list, show.
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Transactions: send tokens, look one up.
    #[command(subcommand)]
    Tx(tx::Tx),
    /// Reads the chain's state, with a proof where asked.
    Query(query::Query),
    /// Models: import and run one here, register and publish it.
    #[command(subcommand)]
    Model(model::Model),
    /// Jobs: post, wait, show, receipt, cancel.
    #[command(subcommand)]
    Job(job::Job),
    /// Stake: become a validator, delegate, take back.
    #[command(subcommand)]
    Stake(stake::Stake),
    /// Roles: grant and revoke, for the council.
    #[command(subcommand)]
    Role(role::Role),
    /// Royalties for use off the chain.
    #[command(subcommand)]
    Royalty(royalty::Royalty),
    /// How the node is doing.
    Status,
    /// Recomputes the chain from its blocks: needs no node to trust.
    #[command(subcommand)]
    Audit(audit::Audit),
    /// Writes reference pages.
    #[command(subcommand, hide = true)]
    Docs(docs::Docs),
}

/// Does what was asked for; the exit code where it went well: an audit has some of its own.
pub(crate) async fn run(cli: Cli) -> Result<u8> {
    let globals = &cli.globals;
    let done = match cli.command {
        Command::Audit(command) => return audit::run(globals, command).await,
        Command::Keys(command) => keys::run(globals, &command),
        Command::Tx(command) => tx::run(globals, command).await,
        Command::Query(command) => query::run(globals, &command).await,
        Command::Model(command) => model::run(globals, command).await,
        Command::Job(command) => job::run(globals, command).await,
        Command::Stake(command) => stake::run(globals, command).await,
        Command::Role(command) => role::run(globals, command).await,
        Command::Royalty(command) => royalty::run(globals, command).await,
        Command::Status => status::run(globals).await,
        Command::Docs(command) => {
            docs::run(&command);
            Ok(())
        }
    };
    done.map(|()| 0)
}

fn client(globals: &Globals) -> Result<Client> {
    Client::new(&globals.node)
}
