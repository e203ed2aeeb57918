//! `lockstep docs`: the reference pages that are generated.

use std::fmt::Write as _;

use clap::{CommandFactory as _, Subcommand};

use crate::cli::Cli;
use crate::console::say;

#[derive(Debug, Subcommand)]
pub(crate) enum Docs {
    /// The table of codes, `docs/errors.md`.
    Errors,
    /// Every command, `docs/cli.md`.
    Cli,
}

pub(super) fn run(command: &Docs) {
    let text = match command {
        Docs::Errors => lockstep_client::codes::document(),
        Docs::Cli => document(),
    };
    say(false, &serde_json::Value::Null, &text);
}

/// The text of `docs/cli.md`.
fn document() -> String {
    let mut text = String::from(
        "# lockstep\n\n\
         Generated from the program itself by `lockstep docs cli`; a test compares.\n",
    );
    let mut root = Cli::command().term_width(100).disable_help_subcommand(true);
    root.build();
    page(&mut text, &mut root, "lockstep", 2);
    text
}

fn page(text: &mut String, command: &mut clap::Command, name: &str, level: usize) {
    let help = command.clone().bin_name(name).render_long_help();
    let level_marks = "#".repeat(level);
    let _ =
        write!(text, "\n{level_marks} {name}\n\n```text\n{}\n```\n", help.to_string().trim_end());
    for child in command.get_subcommands_mut() {
        if !child.is_hide_set() {
            let name = format!("{name} {}", child.get_name());
            page(text, child, &name, (level + 1).min(4));
        }
    }
}
