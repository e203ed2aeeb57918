//! The one table of codes: what each means and what to do, for the command line and the docs.

use std::fmt;

use lockstep_chain::error::Reject;

/// A refusal by the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The chain's code; see `docs/errors.md`.
    pub code: u32,
    /// What the node said, used where this program does not know the code.
    pub log: String,
}

impl Refusal {
    /// What to do about it, where there is something to say.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let (_, hint) = split(known(self.code).map_or(self.log.as_str(), |it| it.reason));
        hint.map(str::to_owned)
    }

    /// What is wrong.
    #[must_use]
    pub fn reason(&self) -> &str {
        split(known(self.code).map_or(self.log.as_str(), |it| it.reason)).0
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (code {})", self.reason(), self.code)
    }
}

fn known(code: u32) -> Option<Reject> {
    lockstep_chain::tx::rejects().into_iter().find(|reject| reject.code == code)
}

/// Splits what is wrong from what to do.
fn split(reason: &str) -> (&str, Option<&str>) {
    match reason.split_once("; hint: ") {
        Some((what, hint)) => (what, Some(hint)),
        None => (reason, None),
    }
}

/// The text of `docs/errors.md`.
#[must_use]
pub fn document() -> String {
    let mut rejects = lockstep_chain::tx::rejects();
    rejects.sort_by_key(|reject| reject.code);
    let mut text = String::from(
        "# Codes\n\n\
         Generated from the chain's own constants by `lockstep docs errors`; a test compares.\n\
         A code is permanent. Codes below 100 can meet any transaction; the action with number n\n\
         owns 100n to 100n + 99.\n\n\
         `lockstep` ends with 0 when all went well, 1 when it was asked something impossible or\n\
         reached no node, 2 when the chain refused and nothing changed, 3 when a transaction stands\n\
         in a block and failed there, 4 when it is not known after the timeout.\n\n\
         | code | of | what is wrong | hint |\n|---|---|---|---|\n",
    );
    for reject in rejects {
        let owner = owner(reject.code);
        let (what, hint) = split(reject.reason);
        let row = format!("| {} | {owner} | {what} | {} |\n", reject.code, hint.unwrap_or(""));
        text.push_str(&row);
    }
    text
}

fn owner(code: u32) -> &'static str {
    let kinds = lockstep_chain::tx::KINDS;
    kinds.iter().find(|kind| kind.number == code / 100).map_or("any", |kind| kind.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_code_is_said_in_the_words_of_the_table_not_in_those_of_the_node() {
        let refusal = Refusal { code: 13, log: "out of cheese; hint: cheddar".into() };
        assert_eq!(refusal.to_string(), "fee too low (code 13)");
        assert_eq!(refusal.hint().as_deref(), Some("fee >= gas limit x gas price, in ulock"));
    }

    #[test]
    fn an_unknown_code_is_said_in_the_words_of_the_node() {
        let refusal = Refusal { code: 999_999, log: "new rule; hint: upgrade".into() };
        assert_eq!(refusal.to_string(), "new rule (code 999999)");
        assert_eq!(refusal.hint().as_deref(), Some("upgrade"));
    }

    #[test]
    fn the_document_names_every_code_once() {
        let text = document();
        for reject in lockstep_chain::tx::rejects() {
            let row = format!("\n| {} | ", reject.code);
            assert_eq!(text.matches(&row).count(), 1, "{reject}");
        }
    }
}
