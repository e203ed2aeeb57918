//! Segments: records one after another, each as its length in four bytes, little endian, BLAKE3 of
//! its bytes, and its bytes.

use lockstep_proto::lockstep::audit::v1::Record;
use prost::Message as _;
use tendermint_proto::v0_38::types::{Block, Commit};

use super::Segment;
use crate::abci::unsigned;
use crate::report::Difference;
use crate::source::Entry;

const HEAD_BYTES: usize = 4 + 32;

/// Appends a height to a segment's bytes.
pub(super) fn encode(entry: &Entry, out: &mut Vec<u8>) {
    let record = Record {
        block: entry.block.encode_to_vec(),
        commit: entry.commit.encode_to_vec(),
        results: entry.results.clone(),
        app_hash: entry.app_hash.clone(),
    }
    .encode_to_vec();
    // A record holds one block, which CometBFT bounds far below 4 GiB.
    let length = u32::try_from(record.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(blake3::hash(&record).as_bytes());
    out.extend_from_slice(&record);
}

/// Reads a segment from `from` on. A record whose checksum is wrong is given with its damage, for
/// the rules of the chain may tell where it is.
///
/// # Errors
/// Where nothing more can be read, with the height at which.
pub(super) fn decode(
    segment: &Segment,
    bytes: &[u8],
    from: u64,
) -> Result<Vec<Entry>, Box<Difference>> {
    let mut rest = bytes;
    let mut entries = Vec::new();
    let mut damaged = false;
    for height in segment.from..=segment.to {
        let (stated, record, tail) = split(rest).ok_or_else(|| {
            let found = format!("{} bytes that hold none", rest.len());
            Box::new(wrong(segment, "a record", found).at(height))
        })?;
        rest = tail;
        let computed = blake3::hash(record);
        let damage = (computed != stated).then(|| {
            let (stated, computed) = (stated.to_hex(), computed.to_hex());
            let what = format!("archive file {}: the record's checksum", segment.file);
            Difference::new(what, stated.as_str(), computed.as_str()).at(height)
        });
        damaged |= damage.is_some();
        if height >= from {
            entries.push(entry(segment, height, record, damage.as_ref())?);
        }
    }
    if damaged {
        return Ok(entries);
    }
    // Every record is whole: then the file has to be, or something is between them.
    let computed = super::checksum(bytes);
    let of = |field: &str| format!("archive file {}: its {field}", segment.file);
    let found = if bytes.len() as u64 != segment.bytes {
        Difference::new(of("length"), segment.bytes, bytes.len())
    } else if !rest.is_empty() || computed != segment.blake3 {
        Difference::new(of("checksum"), segment.blake3.as_str(), computed)
    } else {
        return Ok(entries);
    };
    Err(Box::new(found.at(segment.to)))
}

fn wrong(segment: &Segment, expected: &str, found: String) -> Difference {
    Difference::new(format!("archive file {}", segment.file), expected, found)
}

fn split(bytes: &[u8]) -> Option<(blake3::Hash, &[u8], &[u8])> {
    let (head, rest) = bytes.split_at_checked(HEAD_BYTES)?;
    let (length, stated) = head.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (record, tail) = rest.split_at_checked(length)?;
    Some((blake3::Hash::from_bytes(stated.try_into().ok()?), record, tail))
}

fn entry(
    segment: &Segment,
    height: u64,
    bytes: &[u8],
    damage: Option<&Difference>,
) -> Result<Entry, Box<Difference>> {
    let decoded = || -> Result<Entry, prost::DecodeError> {
        let record = Record::decode(bytes)?;
        Ok(Entry {
            block: Block::decode(record.block.as_slice())?,
            commit: Commit::decode(record.commit.as_slice())?,
            results: record.results,
            app_hash: record.app_hash,
            damage: damage.cloned(),
        })
    };
    let entry = decoded().map_err(|cause| {
        let not = || wrong(segment, "a record of a block", cause.to_string()).at(height);
        Box::new(
            damage.cloned().map_or_else(not, |d| d.note(format!("it does not decode: {cause}"))),
        )
    })?;
    let stands = entry.block.header.as_ref().map_or(0, |header| unsigned(header.height));
    if stands != height && entry.damage.is_none() {
        let found = format!("that of height {stands}");
        return Err(Box::new(wrong(segment, "the block of its place", found).at(height)));
    }
    Ok(entry)
}
