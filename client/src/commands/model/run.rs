//! `lockstep model run`.

use std::path::PathBuf;

use clap::Args;
use lockstep_client::{Error, Result, model, npy, text};
use lockstep_vm::ops::Isa;
use serde_json::json;

use super::import::default_threads;
use crate::cli::Globals;
use crate::console::{bar, note, say};

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// What `lockstep model import` wrote.
    artefact: PathBuf,
    /// The texts, a JSON array of strings.
    #[arg(long, value_name = "FILE.json")]
    texts: PathBuf,
    /// Where the values go: `.npy`, f32, one row per text.
    #[arg(long, value_name = "FILE.npy")]
    out: PathBuf,
    /// Instruction set: scalar, avx2 or vnni; the best that there is unless told. All give the same
    /// bytes.
    #[arg(long)]
    backend: Option<String>,
    /// Threads, all unless told; any number gives the same bytes.
    #[arg(long, default_value_t = default_threads(), hide_default_value = true)]
    threads: usize,
}

pub(super) fn run(globals: &Globals, command: &Run) -> Result<()> {
    let isa = match &command.backend {
        None => Isa::best(),
        Some(name) => name.parse().map_err(|_| {
            Error::usage(format!("no backend is called `{name}`"), "scalar, avx2 or vnni")
        })?,
    };
    let texts = text::read_texts(&command.texts)?;
    let progress = bar("run", false);
    let mut report = |done, total| {
        progress.set_length(total);
        progress.set_position(done);
    };
    let start = std::time::Instant::now();
    let done = model::run(&command.artefact, &texts, isa, command.threads, &mut report);
    progress.finish_and_clear();
    let done = done?;
    let seconds = start.elapsed().as_secs_f64();
    npy::write(&command.out, &done.rows)?;
    let mut cut = Vec::new();
    for (number, tokens) in (1..).zip(&done.tokens) {
        if let Some(from) = tokens.cut_from {
            let to = tokens.ids.len();
            note(&format!("text {number} was cut from {from} to {to} tokens, the model's limit"));
            cut.push(json!({ "text": number, "from": from, "to": to }));
        }
    }
    let (rows, columns) = (done.rows.len(), done.rows.first().map_or(0, Vec::len));
    let value = json!({
        "out": command.out, "rows": rows, "values": columns, "backend": isa.to_string(),
        "threads": command.threads, "seconds": seconds, "cut": cut,
    });
    let words = format!(
        "{}: {rows} rows of {columns} values, by {isa} in {seconds:.1} s",
        command.out.display()
    );
    say(globals.json, &value, &words);
    Ok(())
}
