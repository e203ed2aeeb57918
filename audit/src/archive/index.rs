//! The index: which files there are, line by line.

use serde::{Deserialize, Serialize};

use super::{FILE_BYTES_MAX, SEGMENT_BYTES, SEGMENT_HEIGHTS, checksum};
use crate::Result;
use crate::report::Difference;

/// The form of an archive.
pub const FORMAT: &str = "lockstep-archive/1";
/// The index's name.
pub const INDEX: &str = "index.jsonl";

/// What an archive holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// The first line.
    pub head: Head,
    /// One line each, in order of height.
    pub segments: Vec<Segment>,
}

/// The first line of an index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// [`FORMAT`].
    pub format: String,
    /// The network.
    pub chain_id: String,
    /// BLAKE3 of the genesis file.
    pub genesis_blake3: String,
}

/// A file of heights that follow each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Its name.
    pub file: String,
    /// The first height.
    pub from: u64,
    /// The last height.
    pub to: u64,
    /// Its length.
    pub bytes: u64,
    /// BLAKE3 of the file.
    pub blake3: String,
}

impl Segment {
    /// The name of a segment's file.
    #[must_use]
    pub fn name(from: u64, to: u64) -> String {
        format!("{from:010}-{to:010}.blocks")
    }

    /// Whether it takes no further height.
    #[must_use]
    pub const fn full(&self) -> bool {
        self.to - self.from >= SEGMENT_HEIGHTS - 1 || self.bytes >= SEGMENT_BYTES
    }
}

/// The last line of an index.
#[derive(Debug, Serialize, Deserialize)]
struct Tail {
    blake3: String,
}

impl Index {
    /// The text of the file.
    #[must_use]
    pub fn encode(&self) -> String {
        // Plain structures of text and numbers: writing them cannot fail.
        fn line(value: &impl Serialize) -> String {
            serde_json::to_string(value).unwrap_or_default() + "\n"
        }
        let mut text = line(&self.head);
        self.segments.iter().for_each(|segment| text.push_str(&line(segment)));
        let tail = Tail { blake3: checksum(text.as_bytes()) };
        text + &line(&tail)
    }

    /// Reads the file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let wrong =
            |expected: &str, found: String| Difference::new("archive index", expected, found);
        let text = std::str::from_utf8(bytes).map_err(|cause| wrong("text", cause.to_string()))?;
        let parse = |cause: serde_json::Error| wrong("lines of JSON", cause.to_string());
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        let [head, segments @ .., tail] = lines.as_slice() else {
            return Err(wrong("two lines or more", format!("{} lines", lines.len())).into());
        };
        let computed = checksum(&bytes[..bytes.len() - tail.len()]);
        let Tail { blake3: stated } = serde_json::from_str(tail).map_err(parse)?;
        let ended = format!("{{\"blake3\":\"{computed}\"}}\n");
        if stated != computed || *tail != ended {
            return Err(Difference::new("archive index: its checksum", stated, computed).into());
        }
        let head: Head = serde_json::from_str(head).map_err(parse)?;
        if head.format != FORMAT {
            return Err(Difference::new("archive index: its format", FORMAT, head.format).into());
        }
        let segments: Result<Vec<Segment>, serde_json::Error> =
            segments.iter().map(|line| serde_json::from_str(line)).collect();
        let index = Self { head, segments: segments.map_err(parse)? };
        index.in_order()?;
        Ok(index)
    }

    fn in_order(&self) -> Result<()> {
        let mut next = None;
        for segment in &self.segments {
            let expected = next.unwrap_or(segment.from);
            if segment.from != expected || segment.to < segment.from {
                let found = format!("{} to {}", segment.from, segment.to);
                let what = "archive index: the heights of a segment";
                return Err(Difference::new(what, format!("from {expected} on"), found).into());
            }
            if segment.file != Segment::name(segment.from, segment.to) {
                let expected = Segment::name(segment.from, segment.to);
                let what = "archive index: the name of a segment";
                return Err(Difference::new(what, expected, segment.file.as_str()).into());
            }
            if segment.bytes > FILE_BYTES_MAX {
                let must = format!("at most {FILE_BYTES_MAX}");
                let what = format!("archive file {}: its length", segment.file);
                return Err(Difference::new(what, must, segment.bytes).into());
            }
            next = segment.to.checked_add(1);
        }
        Ok(())
    }

    /// The heights that there are.
    #[must_use]
    pub fn heights(&self) -> Option<(u64, u64)> {
        Some((self.segments.first()?.from, self.segments.last()?.to))
    }

    /// The segment of a height.
    #[must_use]
    pub fn segment_of(&self, height: u64) -> Option<&Segment> {
        let at = self.segments.partition_point(|segment| segment.to < height);
        self.segments.get(at).filter(|segment| segment.from <= height)
    }
}
