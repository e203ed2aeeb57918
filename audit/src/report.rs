//! What an audit found: JSON that is the same bytes on every machine, and a page for people.
//!
//! Nothing in a report depends on when, where or how fast it was made.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use serde::Serialize;
use serde_json::Value;

/// The form of the JSON.
pub const FORMAT: &str = "lockstep-audit/1";

/// How an audit ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Everything was as the rules give it.
    Pass,
    /// Something was not.
    Difference,
    /// It could not be carried through.
    Incomplete,
}

impl Verdict {
    /// 0, 10 or 11.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Pass => 0,
            Self::Difference => 10,
            Self::Incomplete => 11,
        }
    }
}

/// A transaction of a block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TxPlace {
    /// Its place in the block; 0 is the extended commit.
    pub index: usize,
    /// SHA-256 of its bytes, in hex.
    pub hash: String,
}

/// The first thing that was not as it has to be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What was compared, for example `header.data_hash`.
    pub what: String,
    /// The block.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height: Option<u64>,
    /// The transaction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tx: Option<TxPlace>,
    /// The key of the state, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What it has to be.
    pub expected: Value,
    /// What it is.
    pub found: Value,
    /// What it means, where that is not plain.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// Two nodes differ, and neither is known to be right: A has `expected`, B has `found`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub of_two: bool,
}

impl Difference {
    /// `what` has to be `expected` and is `found`.
    pub fn new(
        what: impl Into<String>,
        expected: impl Into<Value>,
        found: impl Into<Value>,
    ) -> Self {
        let (expected, found) = (expected.into(), found.into());
        Self { what: what.into(), expected, found, ..Self::default() }
    }

    /// A has one `what`, B another.
    pub fn between(what: impl Into<String>, a: impl Into<Value>, b: impl Into<Value>) -> Self {
        Self { of_two: true, ..Self::new(what, a, b) }
    }

    /// In this block.
    #[must_use]
    pub fn at(mut self, height: u64) -> Self {
        self.height = Some(height);
        self
    }

    /// Of this transaction.
    #[must_use]
    pub fn of_tx(mut self, index: usize, hash: [u8; 32]) -> Self {
        self.tx = Some(TxPlace { index, hash: hex::encode(hash) });
        self
    }

    /// With a word on what it means.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(height) = self.height {
            write!(f, "height {height}: ")?;
        }
        if let Some(tx) = &self.tx {
            write!(f, "transaction {} ({}): ", tx.index, tx.hash)?;
        }
        if let Some(key) = &self.key {
            write!(f, "{}: ", line(key))?;
        }
        let (expected, found) = (line(&words(&self.expected)), line(&words(&self.found)));
        let what = line(&self.what);
        if self.of_two {
            write!(f, "{what}: A has {expected}, B has {found}")?;
        } else {
            write!(f, "{what} must be {expected}, is {found}")?;
        }
        if !self.note.is_empty() {
            write!(f, " ({})", line(&self.note))?;
        }
        Ok(())
    }
}

/// Text as a terminal and a page may show it: what is neither a character nor a line's end is written
/// out, as JSON writes it, too. Nodes and archives could hide words by it.
#[must_use]
pub fn printable(text: &str) -> String {
    let odd = |c: char| {
        // Signs that turn the direction of writing.
        let turns = matches!(c, '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}');
        (c.is_control() && c != '\n') || turns || matches!(c, '\u{2066}'..='\u{2069}')
    };
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if odd(c) {
            // Cannot fail.
            let _ = write!(shown, "\\u{:04x}", u32::from(c));
        } else {
            shown.push(c);
        }
    }
    shown
}

/// As [`printable`], in one line.
fn line(text: &str) -> String {
    printable(text).replace('\n', "\\n")
}

/// A value without the quotes of a plain text.
fn words(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::String(text) if text.is_empty() => "nothing".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// What an audit found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// [`FORMAT`].
    pub format: &'static str,
    /// Which audit, for example `replay`.
    pub audit: &'static str,
    /// The network.
    pub chain_id: String,
    /// How it ended.
    pub verdict: Verdict,
    /// What was looked at, by name: heights, transactions, amounts.
    pub facts: BTreeMap<String, Value>,
    /// The first difference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub difference: Option<Difference>,
    /// Why it could not be carried through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incomplete: Option<String>,
}

impl Report {
    /// A report that passes, so far.
    #[must_use]
    pub fn new(audit: &'static str, chain_id: impl Into<String>) -> Self {
        Self {
            format: FORMAT,
            audit,
            chain_id: chain_id.into(),
            verdict: Verdict::Pass,
            facts: BTreeMap::new(),
            difference: None,
            incomplete: None,
        }
    }

    /// Adds a fact.
    pub fn fact(&mut self, name: &str, value: impl Into<Value>) {
        self.facts.insert(name.to_owned(), value.into());
    }

    /// Ends it with a difference.
    pub fn differs(&mut self, difference: Difference) {
        self.verdict = Verdict::Difference;
        self.difference = Some(difference);
    }

    /// Ends it before its end.
    pub fn lacks(&mut self, what: impl Into<String>) {
        self.verdict = Verdict::Incomplete;
        self.incomplete = Some(what.into());
    }

    /// The JSON: sorted, two spaces of indent, a line end.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Through `Value`, whose objects are sorted. Neither step can fail for these types.
        let value = serde_json::to_value(self).unwrap_or_default();
        let mut text = printable(&serde_json::to_string_pretty(&value).unwrap_or_default());
        text.push('\n');
        text
    }

    /// What people see on a terminal: the facts, the hash and the verdict, a line each.
    #[must_use]
    pub fn table(&self) -> String {
        let facts = self.facts.iter();
        let facts = facts.map(|(name, value)| format!("{name:<16} {}\n", line(&words(value))));
        let end = match (self.verdict, &self.difference) {
            (Verdict::Difference, Some(difference)) => format!("DIFFERENCE: {difference}"),
            (Verdict::Incomplete, _) => {
                format!("INCOMPLETE: {}", line(self.incomplete.as_deref().unwrap_or_default()))
            }
            _ => "PASS".to_owned(),
        };
        format!("{}{:<16} {}\n{end}\n", facts.collect::<String>(), "report", self.hash())
    }

    /// BLAKE3 of [`Report::to_json`], in hex.
    #[must_use]
    pub fn hash(&self) -> String {
        blake3::hash(self.to_json().as_bytes()).to_hex().to_string()
    }
}

impl Report {
    /// A page for people, in one file, without scripts.
    #[must_use]
    pub fn to_html(&self) -> String {
        let (class, verdict) = match self.verdict {
            Verdict::Pass => ("pass", "passed"),
            Verdict::Difference => ("difference", "difference found"),
            Verdict::Incomplete => ("incomplete", "incomplete"),
        };
        let mut body = String::new();
        if let Some(difference) = &self.difference {
            body.push_str(&table("The first difference", &difference.rows()));
        }
        if let Some(what) = &self.incomplete {
            body.push_str(&table("Why it is incomplete", &[("missing", what.clone())]));
        }
        let facts = self.facts.iter();
        let facts: Vec<_> = facts.map(|(name, value)| (name.as_str(), words(value))).collect();
        body.push_str(&table("What was looked at", &facts));
        let title = format!("Lockstep audit: {}", self.audit);
        let fields = [
            ("{title}", title.as_str()),
            ("{chain}", &self.chain_id),
            ("{class}", class),
            ("{verdict}", verdict),
            ("{hash}", &self.hash()),
        ];
        let page =
            fields.iter().fold(include_str!("page.html").to_owned(), |page, (name, text)| {
                page.replace(name, &escaped(text))
            });
        page.replace("{body}", &body)
    }
}

impl Difference {
    fn rows(&self) -> Vec<(&'static str, String)> {
        let mut rows = Vec::new();
        rows.extend(self.height.map(|height| ("height", height.to_string())));
        rows.extend(
            self.tx.as_ref().map(|tx| ("transaction", format!("{} ({})", tx.index, tx.hash))),
        );
        rows.extend(self.key.as_ref().map(|key| ("key", key.clone())));
        rows.push(("what", self.what.clone()));
        let names = if self.of_two { ("A has", "B has") } else { ("must be", "is") };
        rows.push((names.0, words(&self.expected)));
        rows.push((names.1, words(&self.found)));
        if !self.note.is_empty() {
            rows.push(("note", self.note.clone()));
        }
        rows
    }
}

fn table(title: &str, rows: &[(&str, String)]) -> String {
    let row = |(name, text): &(&str, String)| {
        format!("<tr><th>{}</th><td>{}</td></tr>\n", escaped(name), escaped(text))
    };
    let rows: String = rows.iter().map(row).collect();
    format!("<h2>{}</h2>\n<table>\n{rows}</table>\n", escaped(title))
}

fn escaped(text: &str) -> String {
    let text = printable(text);
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_the_same_bytes_in_whatever_order_it_was_made() {
        let mut one = Report::new("replay", "net");
        one.fact("txs", 5);
        one.fact("heights", 3);
        let mut other = Report::new("replay", "net");
        other.fact("heights", 3);
        other.fact("txs", 5);
        assert_eq!(one.to_json(), other.to_json());
        assert_eq!(one.hash(), other.hash());
        other.fact("txs", 6);
        assert_ne!(one.hash(), other.hash());
    }

    #[test]
    fn a_difference_reads_as_a_sentence() {
        let found = Difference::new("gas used", 5, 6).at(9).of_tx(2, [0xab; 32]);
        let words = found.to_string();
        assert!(words.starts_with("height 9: transaction 2 (abab"), "{words}");
        assert!(words.ends_with("gas used must be 5, is 6"), "{words}");
    }

    #[test]
    fn what_a_node_says_moves_no_cursor_and_makes_no_lines() {
        let hostile = "a\u{1b}[2J\u{9b}1m\u{202e}b\r\nPASS\u{7f}";
        let found = Difference::new(hostile, hostile, hostile).note(hostile);
        let odd = |c: char| c.is_control() || c == '\u{202e}';
        assert!(!found.to_string().contains(odd), "{found:?}");
        assert!(found.to_string().contains("\\u001b[2J"), "{found}");
        let mut report = Report::new("replay", hostile);
        report.fact("text", hostile);
        report.differs(found);
        let json = report.to_json();
        assert!(!json.contains(|c| odd(c) && c != '\n'), "{json}");
        let read: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(read["chain_id"], hostile, "what was said is still there");
        assert!(!report.to_html().contains(|c| odd(c) && c != '\n'));
        assert!(!report.table().contains(|c| odd(c) && c != '\n'), "{}", report.table());
        assert_eq!(report.table().lines().filter(|line| line.starts_with("PASS")).count(), 0);
    }

    #[test]
    fn a_page_has_no_scripts_and_shows_what_a_node_says_as_text() {
        let mut report = Report::new("replay", "<script>alert(1)</script>");
        report.differs(Difference::new("header.chain_id", "net", "<img onerror=x>").at(4));
        let page = report.to_html();
        assert!(!page.contains("<script") && !page.contains("<img"), "{page}");
        assert!(page.contains("&lt;img onerror=x&gt;") && page.contains(&report.hash()));
    }
}
