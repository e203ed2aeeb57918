//! `lockstepd`: the node of a validator.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use lockstep_node::commands::{archive, check, devnet, init, inspect, start, status};
use lockstep_node::{child, exit};

/// A node of a Lockstep network: runs CometBFT and the executor, and executes the chain.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes the folder of a node.
    Init(init::Init),
    /// Runs a node until ctrl-c.
    Start(start::Start),
    /// Runs a whole network on this machine, with known keys, for development.
    Devnet(devnet::Devnet),
    /// Says where a node stands, and why it does not move.
    Status(status::Status),
    /// Checks every invariant of a node's state.
    Check(check::Check),
    /// Writes blocks, commits and results into plain files, for audits.
    Archive(archive::Archive),
    /// Serves the state and the blocks of a stopped node, for queries and audits.
    Inspect(inspect::Inspect),
    /// Becomes a program that dies with its parent.
    #[command(name = child::COMMAND, hide = true)]
    AsChildOf {
        parent: i32,
        program: PathBuf,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

fn main() {
    let result = match Cli::parse().command {
        Command::Init(arguments) => init::run(&arguments).map(|()| 0),
        Command::Start(arguments) => start::run(&arguments),
        Command::Devnet(arguments) => devnet::run(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Archive(arguments) => archive::run(&arguments),
        Command::Inspect(arguments) => inspect::run(&arguments),
        Command::AsChildOf { parent, program, arguments } => {
            Err(child::become_child(parent, &program, &arguments))
        }
    };
    match result {
        // Not by returning: threads of RocksDB and of the servers still run.
        Ok(code) => std::process::exit(code),
        Err(error) => {
            eprintln!("lockstepd: {error:#}");
            std::process::exit(exit::CONFIG)
        }
    }
}
