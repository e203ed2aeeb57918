//! Text becomes token ids, by the tokenizer that travels inside the artefact.

use tokenizers::{Tokenizer as Inner, TruncationParams};

use crate::{Error, Result};

/// The attachment's name in an artefact.
pub const ATTACHMENT: &str = "tokenizer.json";

/// A model's tokenizer with the model's own limit.
pub struct Tokenizer {
    whole: Inner,
    cutting: Inner,
    tokens_max: usize,
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tokenizer(at most {} tokens)", self.tokens_max)
    }
}

/// A text as the model sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    /// The ids, special ones included.
    pub ids: Vec<u32>,
    /// How many there were before the text was cut; none where it was not.
    pub cut_from: Option<usize>,
}

impl Tokenizer {
    /// Reads a `tokenizer.json`. What it says about truncation and padding is left aside: the limit
    /// is the model's, and padding would change the result.
    ///
    /// # Errors
    /// Where the bytes are no tokenizer.
    pub fn new(json: &[u8], tokens_max: u32) -> Result<Self> {
        let broken = |cause: tokenizers::Error| {
            let what = format!("the model's tokenizer cannot be read: {cause}");
            Error::usage(what, "import the model again, or give token ids by --ids")
        };
        let mut whole = Inner::from_bytes(json).map_err(broken)?;
        let tokens_max = usize::try_from(tokens_max).unwrap_or(usize::MAX);
        let limit = TruncationParams { max_length: tokens_max, ..TruncationParams::default() };
        whole.with_padding(None).with_truncation(None).map_err(broken)?;
        let mut cutting = whole.clone();
        cutting.with_truncation(Some(limit)).map_err(broken)?;
        Ok(Self { whole, cutting, tokens_max })
    }

    /// The ids of a text, cut to the model's limit.
    ///
    /// # Errors
    /// Where the tokenizer cannot encode it.
    pub fn encode(&self, text: &str) -> Result<Tokens> {
        let encode = |with: &Inner| {
            let encoding = with.encode(text, true).map_err(|cause| {
                Error::usage(format!("a text cannot be tokenized: {cause}"), "is it UTF-8 text?")
            })?;
            Ok::<_, Error>(encoding.get_ids().to_vec())
        };
        let ids = encode(&self.whole)?;
        if ids.len() <= self.tokens_max {
            return Ok(Tokens { ids, cut_from: None });
        }
        // Cut by the tokenizer, so that the closing special token stays.
        Ok(Tokens { cut_from: Some(ids.len()), ids: encode(&self.cutting)? })
    }
}

/// Reads texts from a JSON file: an array of strings.
///
/// # Errors
/// Where the file is missing, is no such array, or holds none.
pub fn read_texts(path: &std::path::Path) -> Result<Vec<String>> {
    let bytes = std::fs::read(path).map_err(|cause| Error::file("read", path, cause))?;
    let hint = "a JSON array of strings: [\"a text\", \"another\"]";
    let wrong = |cause: String| Error::usage(format!("{}: {cause}", path.display()), hint);
    let texts: Vec<String> =
        serde_json::from_slice(&bytes).map_err(|cause| wrong(cause.to_string()))?;
    if texts.is_empty() { Err(wrong("no texts".into())) } else { Ok(texts) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A word-level tokenizer with special tokens, and with a limit and padding that must not count.
    const SMALL: &str = r#"{
        "version": "1.0",
        "truncation": {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0},
        "padding": {"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": null,
                    "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"},
        "added_tokens": [], "normalizer": null, "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 2], "cls": ["[CLS]", 1]},
        "decoder": null,
        "model": {"type": "WordLevel", "unk_token": "[UNK]",
                  "vocab": {"[PAD]": 0, "[CLS]": 1, "[SEP]": 2, "[UNK]": 3, "a": 4, "b": 5, "c": 6}}
    }"#;

    #[test]
    fn the_limit_is_the_models_and_nothing_is_padded() {
        let tokenizer = Tokenizer::new(SMALL.as_bytes(), 5).unwrap();
        let short = tokenizer.encode("a b c").unwrap();
        assert_eq!(short, Tokens { ids: vec![1, 4, 5, 6, 2], cut_from: None });
        let long = tokenizer.encode("a b c a b").unwrap();
        assert_eq!(long, Tokens { ids: vec![1, 4, 5, 6, 2], cut_from: Some(7) });
        assert_eq!(tokenizer.encode("").unwrap().ids, [1, 2]);
    }

    #[test]
    fn bytes_that_are_no_tokenizer_are_refused() {
        assert!(Tokenizer::new(b"{}", 5).is_err());
    }
}
