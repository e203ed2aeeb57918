//! `lockstep model publish`: the version's transaction, the upload, and the wait until executors
//! have proved that they hold it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use lockstep_chain::address;
use lockstep_client::rpc::Client;
use lockstep_client::tx::{self, message};
use lockstep_client::{Error, Result, blobs, query};
use lockstep_proto::lockstep::model::v1::{
    MsgPublishVersionResponse, QueryVersionRequest, Version,
};
use lockstep_vm::artefact::{Manifest, validate_file};
use serde_json::json;

use crate::cli::{Globals, Signing};
use crate::commands::{client, submit::submit};
use crate::console::{bar, note, say};

#[derive(Debug, Args)]
pub(crate) struct Publish {
    /// The model's name.
    name: String,
    /// What `lockstep model import` wrote.
    artefact: PathBuf,
    #[command(flatten)]
    signing: Signing,
}

pub(super) async fn run(globals: &Globals, command: &Publish) -> Result<()> {
    let client = client(globals)?;
    // Every leaf is checked here already: executors would refuse a damaged file later.
    let manifest = validate_file(&command.artefact).map_err(|cause| {
        let words = cause.to_string();
        let (what, hint) = words
            .split_once("; hint: ")
            .unwrap_or((words.as_str(), "import the model again: `lockstep model import`"));
        Error::usage(format!("{}: {what}", command.artefact.display()), hint)
    })?;
    let version = match published(&client, command, &manifest).await? {
        Some(version) => {
            note(&format!("{}:{} is published already", command.name, version.number));
            version
        }
        None => publish(globals, command, &client, &manifest).await?,
    };
    if !version.callable {
        upload(globals, command).await?;
        if !command.signing.no_wait {
            wait_callable(&client, version.id, command.signing.timeout()).await?;
        }
    }
    let version = query::version_by_id(&client, version.id).await?;
    let root = hex::encode(manifest.root());
    let value = json!({
        "model": command.name, "version": version.id, "number": version.number,
        "artefact_root": root, "callable": version.callable,
    });
    let state = if version.callable { "callable" } else { "not callable yet" };
    let words = format!("{}:{} is {state}\nroot      {root}", command.name, version.number);
    say(globals.json, &value, &words);
    Ok(())
}

/// The version of this model with this artefact, where an earlier call came so far.
async fn published(
    client: &Client,
    command: &Publish,
    manifest: &Manifest,
) -> Result<Option<Version>> {
    let model = query::model(client, &command.name).await?;
    let request = QueryVersionRequest {
        artefact_root: manifest.root().to_vec(),
        ..QueryVersionRequest::default()
    };
    let found = query::ask(client, "/lockstep.model.v1.Query/Version", &request).await;
    match found {
        Ok(version) => Ok(Some(version).filter(|version: &Version| version.model == model.id)),
        Err(Error::Rejected(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn publish(
    globals: &Globals,
    command: &Publish,
    client: &Client,
    manifest: &Manifest,
) -> Result<Version> {
    // The upload needs the version on the chain, so this step is always waited for.
    let signing = Signing { no_wait: false, ..command.signing.clone() };
    let submitted = submit(globals, &signing, |from| {
        vec![message::publish_version(from, &command.name, manifest.encode())]
    });
    let included = submitted.await?.included;
    let included = included.ok_or_else(|| Error::usage("not waited for", "try again"))?;
    let answer: MsgPublishVersionResponse = tx::response(&included, 0)?;
    query::version_by_id(client, answer.version).await
}

async fn upload(globals: &Globals, command: &Publish) -> Result<()> {
    let progress = bar("upload", true);
    let report = |done, total| {
        progress.set_length(total);
        progress.set_position(done);
    };
    let done = blobs::upload(&globals.blobs, &command.artefact, report).await;
    progress.finish_and_clear();
    done
}

/// Waits, and shows whose stake has proved possession.
async fn wait_callable(client: &Client, version: u64, timeout: Duration) -> Result<()> {
    let progress = bar("possession", false);
    let start = Instant::now();
    loop {
        if query::version_by_id(client, version).await?.callable {
            progress.finish_and_clear();
            return Ok(());
        }
        if start.elapsed() > timeout {
            progress.finish_and_clear();
            let what = format!("version id {version} becomes callable");
            return Err(Error::Unknown { what, seconds: timeout.as_secs() });
        }
        let (held, total) = holders(client, version).await?;
        progress.set_length(total);
        progress.set_position(held);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

/// Voting power that has proved possession, and all of it.
async fn holders(client: &Client, version: u64) -> Result<(u64, u64)> {
    let (mut held, mut total) = (0_u64, 0_u64);
    for validator in query::validators(client).await? {
        total = total.saturating_add(validator.power);
        let Ok(bytes) = validator.operator.as_slice().try_into() else { continue };
        let operator = address::operator(&bytes);
        if query::possession(client, version, &operator).await.is_ok_and(|it| it.proved) {
            held = held.saturating_add(validator.power);
        }
    }
    Ok((held, total))
}
