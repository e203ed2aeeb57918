//! Importing, registering and publishing the two models.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use lockstep_client::rpc::Client;
use lockstep_client::tx::{self, message};
use lockstep_client::wallet::Wallet;
use lockstep_client::{blobs, query};
use lockstep_tests::binary;

/// What to import and how.
pub(crate) struct Recipe<'a> {
    pub(crate) name: &'a str,
    pub(crate) arguments: &'a [&'a str],
    pub(crate) parents: Vec<(String, u32)>,
    pub(crate) price: u64,
}

/// Imports a model by the command that a user runs; returns the artefact.
pub(crate) fn import(model: &Path, out: &Path, recipe: &Recipe<'_>) -> anyhow::Result<PathBuf> {
    let path = out.join(format!("{}.lockstep", recipe.name));
    let run = Command::new(binary("lockstep"))
        .args(["model", "import"])
        .arg(model)
        .arg("--out")
        .arg(&path)
        .args(recipe.arguments)
        .output()
        .context("cannot run `lockstep model import`")?;
    ensure!(run.status.success(), "import failed: {}", String::from_utf8_lossy(&run.stderr));
    Ok(path)
}

/// Registers a model and publishes its first version; returns the version's id.
pub(crate) async fn publish(
    client: &Client,
    owner: &Wallet,
    recipe: &Recipe<'_>,
    artefact: &Path,
    blob_service: &str,
) -> anyhow::Result<u64> {
    let manifest = blobs::open(artefact)?.manifest().encode().to_vec();
    let options = tx::Options::default();
    let register =
        message::register_model(owner, recipe.name, "Apache-2.0", recipe.price, &recipe.parents);
    tx::succeeded(tx::send(client, owner, vec![register], &options).await?)?;
    let publish = message::publish_version(owner, recipe.name, &manifest);
    tx::succeeded(tx::send(client, owner, vec![publish], &options).await?)?;
    blobs::upload(blob_service, artefact, |_, _| {}).await?;
    Ok(query::version(client, recipe.name).await?.id)
}
