//! The bytes of records that are not plain state.

use lockstep_chain::error::Fault;
use lockstep_chain::state::Writes;
use lockstep_chain::tree::Hash;

/// The last committed block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tip {
    pub(super) height: u64,
    pub(super) app_hash: Hash,
}

impl Tip {
    pub(super) fn encode(&self) -> Vec<u8> {
        [&self.height.to_be_bytes()[..], &self.app_hash].concat()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        let parsed = bytes.split_first_chunk::<8>().and_then(|(height, rest)| {
            let app_hash = Hash::try_from(rest).ok()?;
            Some(Self { height: u64::from_be_bytes(*height), app_hash })
        });
        parsed.ok_or(Fault::Corrupt("meta/tip"))
    }
}

/// A key in the history, without its height. Byte order is kept, and no key's form begins another's:
/// a zero byte becomes `00 ff`, and `00 01` ends the key.
pub(super) fn history_prefix(key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(key.len() + 16);
    escape(key, &mut out);
    out.extend_from_slice(&[0, 1]);
    out
}

/// The least history prefix of any key from `start` on.
pub(super) fn history_start(start: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(start.len() + 16);
    escape(start, &mut out);
    out
}

fn escape(key: &[u8], out: &mut Vec<u8>) {
    for byte in key {
        out.push(*byte);
        if *byte == 0 {
            out.push(0xff);
        }
    }
}

/// `prefix | 2^64-1 - height`, so that the newest comes first.
pub(super) fn history_key(mut prefix: Vec<u8>, height: u64) -> Vec<u8> {
    prefix.extend_from_slice(&(!height).to_be_bytes());
    prefix
}

/// The length of the prefix, the key and the height of a history key.
pub(super) fn split_history_key(bytes: &[u8]) -> Result<(&[u8], Vec<u8>, u64), Fault> {
    let corrupt = Fault::Corrupt("history");
    let Some((prefix, height)) = bytes.split_last_chunk::<8>() else { return Err(corrupt) };
    let mut key = Vec::with_capacity(prefix.len());
    let mut rest = prefix;
    loop {
        match rest {
            [0, 1] => return Ok((prefix, key, !u64::from_be_bytes(*height))),
            [0, 0xff, tail @ ..] => {
                key.push(0);
                rest = tail;
            }
            [0, ..] | [] => return Err(corrupt),
            [byte, tail @ ..] => {
                key.push(*byte);
                rest = tail;
            }
        }
    }
}

/// What history holds for a write: one byte that says whether there is a value, then the value.
pub(super) fn history_value(value: Option<&[u8]>) -> Vec<u8> {
    match value {
        Some(value) => [&[1], value].concat(),
        None => vec![0],
    }
}

pub(super) fn parse_history_value(bytes: &[u8]) -> Result<Option<&[u8]>, Fault> {
    match bytes {
        [1, value @ ..] => Ok(Some(value)),
        [0] => Ok(None),
        _ => Err(Fault::Corrupt("history")),
    }
}

/// `app hash(32)`, then each changed key after its length in four bytes.
pub(super) fn changeset(app_hash: &Hash, writes: &Writes) -> Result<Vec<u8>, Fault> {
    let mut out = app_hash.to_vec();
    for key in writes.keys() {
        let length = u32::try_from(key.len()).map_err(|_| Fault::Invariant("a key of 4 GiB"))?;
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(key);
    }
    Ok(out)
}

pub(super) fn parse_changeset(bytes: &[u8]) -> Result<(Hash, Vec<&[u8]>), Fault> {
    let corrupt = Fault::Corrupt("changesets");
    let Some((app_hash, mut rest)) = bytes.split_first_chunk::<32>() else { return Err(corrupt) };
    let mut keys = Vec::new();
    while !rest.is_empty() {
        let key = rest.split_first_chunk::<4>().and_then(|(length, tail)| {
            tail.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
        });
        let Some((key, tail)) = key else { return Err(corrupt) };
        keys.push(key);
        rest = tail;
    }
    Ok((*app_hash, keys))
}

/// Finds the key of a path: the path's first eight bytes, then the key.
pub(super) fn path_key(path: &Hash, key: &[u8]) -> Vec<u8> {
    [&path[..PATH_PREFIX], key].concat()
}

/// So many bytes of a path lead its record in [`path_key`].
pub(super) const PATH_PREFIX: usize = 8;
