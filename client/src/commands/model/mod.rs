//! `lockstep model`.

mod alias;
mod import;
mod publish;
mod register;
mod run;
mod show;

use clap::Subcommand;
use lockstep_client::Result;

use crate::cli::Globals;

#[derive(Debug, Subcommand)]
pub(crate) enum Model {
    /// Makes an artefact from a model as it is published; needs no chain.
    Import(import::Import),
    /// Runs an artefact on texts and gives the bytes that the chain would; needs no chain.
    Run(run::Run),
    /// Creates a model on the chain; its first version comes with `publish`.
    Register(register::Register),
    /// Adds a version to a model, uploads its artefact and waits until it can be called. Run again,
    /// it goes on where it broke off.
    Publish(publish::Publish),
    /// Points `stable` or another name at a version.
    Alias(alias::Alias),
    /// Shows a model, its versions and whom it pays.
    Show {
        /// Its name.
        name: String,
    },
}

pub(super) async fn run(globals: &Globals, command: Model) -> Result<()> {
    match command {
        Model::Import(command) => import::run(globals, &command),
        Model::Run(command) => run::run(globals, &command),
        Model::Register(command) => register::run(globals, &command).await,
        Model::Publish(command) => publish::run(globals, &command).await,
        Model::Alias(command) => alias::run(globals, &command).await,
        Model::Show { name } => show::run(globals, &name).await,
    }
}
