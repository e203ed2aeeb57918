//! `lockstep model import`.

use std::path::PathBuf;

use clap::Args;
use lockstep_client::{Result, model, text};
use lockstep_vm::program::Activations;
use serde_json::json;

use crate::cli::Globals;
use crate::console::{bar, say};

#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The folder with `config.json`, `model.safetensors`, `tokenizer.json`, `1_Pooling` …
    model_dir: PathBuf,
    /// The file to write; whole or not at all.
    #[arg(long)]
    out: PathBuf,
    /// Bits of the activations that linear layers see: 16 is more accurate, 8 is faster.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u8).range(8..=16))]
    activations: u8,
    /// Calibration texts, a JSON array of strings: each linear layer gets a smoothing vector.
    #[arg(long, value_name = "TEXTS.json")]
    smoothing: Option<PathBuf>,
    /// Threads of the calibration, all unless told; they do not change the artefact.
    #[arg(long, default_value_t = default_threads(), hide_default_value = true)]
    threads: usize,
}

pub(super) fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

pub(super) fn run(globals: &Globals, command: &Import) -> Result<()> {
    let activations = match command.activations {
        8 => Activations::Bits8,
        16 => Activations::Bits16,
        other => {
            let what = format!("activations of {other} bits");
            return Err(lockstep_client::Error::usage(what, "--activations 8 or 16"));
        }
    };
    let texts = command.smoothing.as_deref().map(text::read_texts).transpose()?.unwrap_or_default();
    let progress = bar("import", false);
    let mut report = |phase: &'static str, done, total| {
        progress.set_message(phase);
        progress.set_length(total);
        progress.set_position(done);
    };
    let (folder, out) = (&command.model_dir, &command.out);
    let imported = model::import(folder, out, activations, &texts, command.threads, &mut report);
    progress.finish_and_clear();
    let manifest = imported?;
    let root = hex::encode(manifest.root());
    let verified = manifest.verified();
    let value = json!({
        "artefact": out,
        "artefact_root": root,
        "leaves": manifest.leaf_count(),
        "bytes": manifest.leaves_bytes(),
        "tokens_max": verified.tokens_max(),
        "vocabulary": verified.vocabulary(),
        "output_values": verified.output_values(),
        "macs_at_tokens_max": verified.cost(verified.tokens_max()).macs,
    });
    let words = format!(
        "artefact  {}\nroot      {root}\nsize      {} bytes in {} leaves\nmodel     at most {} tokens, {} values out",
        out.display(),
        manifest.leaves_bytes(),
        manifest.leaf_count(),
        verified.tokens_max(),
        verified.output_values(),
    );
    say(globals.json, &value, &words);
    Ok(())
}
