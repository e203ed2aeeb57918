//! What a job runs on: token ids, given or made from texts.

use std::path::PathBuf;

use clap::Args;
use lockstep_client::job::Offer;
use lockstep_client::text::{ATTACHMENT, Tokenizer, read_texts};
use lockstep_client::{Error, Result, blobs, model};

use crate::cli::Globals;
use crate::console::note;

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Input {
    /// A text; may come several times, each is a job.
    #[arg(long)]
    text: Vec<String>,
    /// Texts, a JSON array of strings; each is a job.
    #[arg(long, value_name = "FILE.json")]
    texts: Option<PathBuf>,
    /// Token ids, such as `101,7592,102`; may come several times, each is a job.
    #[arg(long)]
    ids: Vec<String>,
}

impl Input {
    /// The token ids of each job. The tokenizer comes from `artefact`, the cache or the blob
    /// service.
    pub(super) async fn ids(
        &self,
        globals: &Globals,
        offer: &Offer,
        artefact: Option<&PathBuf>,
    ) -> Result<Vec<Vec<u32>>> {
        if !self.ids.is_empty() {
            return self.ids.iter().map(|text| parse_ids(text, offer.version.vocabulary)).collect();
        }
        let texts = match &self.texts {
            Some(path) => read_texts(path)?,
            None => self.text.clone(),
        };
        let tokenizer = tokenizer(globals, offer, artefact).await?;
        let mut inputs = Vec::new();
        for (number, text) in (1..).zip(&texts) {
            let tokens = tokenizer.encode(text)?;
            if let Some(from) = tokens.cut_from {
                let to = tokens.ids.len();
                note(&format!(
                    "text {number} is cut from {from} to {to} tokens, the model's limit"
                ));
            }
            inputs.push(tokens.ids);
        }
        Ok(inputs)
    }
}

fn parse_ids(text: &str, vocabulary: u32) -> Result<Vec<u32>> {
    let one = |word: &str| {
        let id = word.trim().parse::<u32>().ok().filter(|id| *id < vocabulary);
        id.ok_or_else(|| {
            let what = format!("`{word}` is no token id of this model");
            Error::usage(what, format!("numbers below {vocabulary}, with commas between them"))
        })
    };
    text.split(',').map(one).collect()
}

async fn tokenizer(
    globals: &Globals,
    offer: &Offer,
    artefact: Option<&PathBuf>,
) -> Result<Tokenizer> {
    if let Some(path) = artefact {
        let mut reader = blobs::open(path)?;
        if reader.manifest().root() != offer.manifest.root() {
            let what = format!("{} is not the artefact of this version", path.display());
            return Err(Error::usage(what, "leave --artefact out, and it is fetched"));
        }
        return model::tokenizer(path, &mut reader);
    }
    let name = format!("{}.{ATTACHMENT}", hex::encode(offer.manifest.root()));
    let folder = globals.home().join("tokenizers");
    let cached = folder.join(name);
    let tokens_max = offer.version.tokens_max;
    if let Ok(json) = std::fs::read(&cached) {
        // The manifest binds its hash: a cache that somebody changed would change results.
        let files = &offer.manifest.description().attachments;
        let hash = lockstep_vm::artefact::Attachment::hash_of(&json);
        if files.iter().any(|file| file.name == ATTACHMENT && file.hash == hash) {
            return Tokenizer::new(&json, tokens_max);
        }
    }
    let service = blobs::Blobs::new(&globals.blobs)?;
    let json = service.attachment(&offer.manifest, ATTACHMENT).await?;
    // Only a cache: without it, it is fetched again.
    if std::fs::create_dir_all(&folder).is_ok() {
        let _ = std::fs::write(&cached, &json);
    }
    Tokenizer::new(&json, tokens_max)
}
