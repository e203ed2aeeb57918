//! What people and programs see.

use std::io::{IsTerminal as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use age::secrecy::SecretString;
use indicatif::{ProgressBar, ProgressStyle};
use lockstep_audit::report::printable;
use lockstep_client::{Error, Result};
use serde::Serialize;
use serde_json::{Value, json};

/// Prints a result: words, or one JSON object.
pub(crate) fn say(json: bool, value: &Value, words: &str) {
    let text = if json {
        serde_json::to_string_pretty(value).unwrap_or_default()
    } else {
        words.trim_end().to_owned()
    };
    // A closed pipe (`| head`) is the reader's wish.
    let _ = writeln!(std::io::stdout(), "{}", printable(&text));
}

/// Says what is going on, to people only.
pub(crate) fn note(words: &str) {
    let _ = writeln!(std::io::stderr(), "{}", printable(words.trim_end()));
}

/// Prints an error with its hint.
pub(crate) fn complain(error: &Error, json: bool) {
    let hint = error.hint();
    if json {
        let value = json!({ "error": {
            "what": error.to_string(),
            "hint": hint,
            "code": error.code(),
            "exit": error.exit_code(),
        }});
        note(&value.to_string());
        return;
    }
    note(&format!("error: {error}"));
    if let Some(hint) = hint {
        note(&format!("hint: {hint}"));
    }
}

/// Turns a message of the state into JSON.
pub(crate) fn to_json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

/// Asks; refuses where nobody can answer.
pub(crate) fn confirm(question: &str) -> Result<()> {
    if !std::io::stdin().is_terminal() {
        return Err(Error::usage("nobody is here to confirm this", "--yes signs without asking"));
    }
    let _ = write!(std::io::stderr(), "{question} [y/N] ");
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    if read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes") {
        return Ok(());
    }
    Err(Error::usage("not confirmed, nothing was signed", "answer y to sign"))
}

/// A passphrase from a file, or by a prompt; a new one is asked for twice.
pub(crate) fn passphrase(file: Option<&Path>, new: bool) -> Result<SecretString> {
    let text = match file {
        Some(path) => from_file(path)?,
        None => prompt("passphrase: ")?,
    };
    if text.is_empty() {
        return Err(Error::usage(
            "an empty passphrase",
            "it keeps the key from whoever has the file",
        ));
    }
    if new && file.is_none() && prompt("once more: ")? != text {
        return Err(Error::usage("the two passphrases differ", "try again"));
    }
    Ok(SecretString::from(text))
}

fn from_file(path: &Path) -> Result<String> {
    let meta = std::fs::metadata(path).map_err(|cause| Error::file("read", path, cause))?;
    let mode = meta.permissions().mode() & 0o777;
    // A pipe from a secret manager has no such bits to speak of.
    if meta.is_file() && mode & 0o077 != 0 {
        let what = format!("{} has mode {mode:03o}: others can read it", path.display());
        return Err(Error::usage(what, format!("chmod 600 {}", path.display())));
    }
    let text = std::fs::read_to_string(path).map_err(|cause| Error::file("read", path, cause))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// Asks for something that must not show.
pub(crate) fn prompt(question: &str) -> Result<String> {
    rpassword::prompt_password(question).map_err(|cause| {
        let what = format!("cannot ask for it: {cause}");
        Error::usage(what, "without a terminal use --passphrase-file or a devnet's account")
    })
}

/// A bar of bytes or steps; hidden where nobody watches.
pub(crate) fn bar(what: &'static str, bytes: bool) -> ProgressBar {
    let bar = ProgressBar::new(0);
    let units = if bytes { "{bytes}/{total_bytes} {bytes_per_sec}" } else { "{pos}/{len}" };
    let template = format!("{{msg:<10}} [{{bar:40}}] {units} {{eta}}");
    if let Ok(style) = ProgressStyle::with_template(&template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_message(what);
    bar
}
