//! A saved state, from which a replay goes on.
//!
//! One file: a line of JSON (version and position), then each key and value after its length in four bytes,
//! little endian, then BLAKE3 of all before it.

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;

use lockstep_chain::state::MemoryState;
use serde::{Deserialize, Serialize};

use super::{Ledger, Position};
use crate::abci::APP_VERSION;
use crate::comet::GenesisFile;
use crate::{Result, Stop};

const NAME: &str = "replay.state";

/// The first line.
#[derive(Serialize, Deserialize)]
struct Saved<'a> {
    /// Other rules give other states.
    app_version: u64,
    position: Cow<'a, Position>,
}

/// The saved ledger, if there is one.
///
/// # Errors
/// Where it is damaged, or of another chain.
pub(super) fn load(folder: &Path, genesis: &GenesisFile) -> Result<Option<Ledger>> {
    let path = folder.join(NAME);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(Stop::file("read", &path, cause)),
    };
    let read = read(file).map_err(|cause| Stop::file("read", &path, cause))?;
    let Some((state, position)) = read else {
        let what = format!("{NAME} is damaged, or of another version of the rules");
        let hint = format!("remove it, and begin anew ({})", path.display());
        return Err(Stop::incomplete(what, hint));
    };
    if position.genesis != genesis.id {
        let what = format!("{} belongs to another genesis file", path.display());
        return Err(Stop::usage(what, "use another folder for --state"));
    }
    Ledger::restore(state, position).map(Some)
}

fn read(file: File) -> std::io::Result<Option<(MemoryState, Position)>> {
    let mut bytes = Vec::new();
    BufReader::new(file).read_to_end(&mut bytes)?;
    Ok(parse(&bytes))
}

fn parse(bytes: &[u8]) -> Option<(MemoryState, Position)> {
    let (body, checksum) = bytes.split_last_chunk::<32>()?;
    if blake3::hash(body) != *checksum {
        return None;
    }
    let end = body.iter().position(|byte| *byte == b'\n')?;
    let (line, mut rest) = body.split_at_checked(end)?;
    rest = rest.get(1..)?;
    let saved: Saved<'_> = serde_json::from_slice(line).ok()?;
    if saved.app_version != APP_VERSION {
        return None;
    }
    let mut state = MemoryState::default();
    while !rest.is_empty() {
        let key = take(&mut rest)?;
        let value = take(&mut rest)?;
        state.0.insert(key.to_vec(), value.to_vec());
    }
    Some((state, saved.position.into_owned()))
}

fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, tail) = rest.split_first_chunk::<4>()?;
    let (taken, tail) = tail.split_at_checked(u32::from_le_bytes(*length).try_into().ok()?)?;
    *rest = tail;
    Some(taken)
}

/// Saves the ledger, whole or not at all.
///
/// # Errors
/// Where it cannot be written.
pub(super) fn save(folder: &Path, ledger: &Ledger) -> Result<()> {
    let path = folder.join(NAME);
    let write = || -> std::io::Result<()> {
        std::fs::create_dir_all(folder)?;
        let temporary = folder.join(format!("{NAME}.new"));
        let mut out = Hashed {
            out: BufWriter::new(File::create(&temporary)?),
            hasher: blake3::Hasher::new(),
        };
        let saved = Saved { app_version: APP_VERSION, position: Cow::Borrowed(ledger.position()) };
        serde_json::to_writer(&mut out, &saved)?;
        out.write_all(b"\n")?;
        ledger.with_state(|state| {
            state.0.iter().try_for_each(|(key, value)| {
                [key, value].into_iter().try_for_each(|bytes| {
                    let length = u32::try_from(bytes.len()).map_err(std::io::Error::other)?;
                    out.write_all(&length.to_le_bytes())?;
                    out.write_all(bytes)
                })
            })
        })?;
        let checksum = *out.hasher.finalize().as_bytes();
        out.out.write_all(&checksum)?;
        out.out.into_inner()?.sync_all()?;
        std::fs::rename(&temporary, &path)
    };
    write().map_err(|cause| Stop::file("write", &path, cause))
}

struct Hashed<W> {
    out: W,
    hasher: blake3::Hasher,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hasher.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}
