//! Reads an archive, from a folder or by HTTP.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use super::{GENESIS, INDEX, Index, checksum, segment};
use crate::report::Difference;
use crate::source::http::Http;
use crate::source::{Entry, Heights, Source};
use crate::{Result, Stop};

/// Bytes of a file that are fetched, at most: a segment and the block that filled it.
const FILE_BYTES_MAX: usize = 512 << 20;

/// Where an archive is.
#[derive(Debug)]
pub enum Place {
    /// A folder.
    Folder(PathBuf),
    /// Files below an address.
    Http(Http),
}

impl Place {
    /// A file of it; none where there is none.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn file(&self, name: &str) -> Result<Option<Vec<u8>>> {
        match self {
            Self::Folder(folder) => {
                let path = folder.join(name);
                match std::fs::read(&path) {
                    Ok(bytes) => Ok(Some(bytes)),
                    Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Ok(None),
                    Err(cause) => Err(Stop::file("read", &path, cause)),
                }
            }
            Self::Http(http) => http.get(name, FILE_BYTES_MAX),
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Folder(folder) => folder.display().to_string(),
            Self::Http(http) => http.url().to_owned(),
        }
    }
}

/// An archive that is read.
#[derive(Debug)]
pub struct Archive {
    place: Place,
    index: Index,
    /// What is left of the last segment that was read, and its first height.
    left: VecDeque<Entry>,
    next: u64,
}

impl Archive {
    /// The archive at a place; none where there is no index.
    ///
    /// # Errors
    /// Where it cannot be read or its index is damaged.
    pub fn open(place: Place) -> Result<Option<Self>> {
        let Some(bytes) = place.file(INDEX)? else { return Ok(None) };
        let index = Index::decode(&bytes)?;
        Ok(Some(Self { place, index, left: VecDeque::new(), next: 0 }))
    }

    /// What it holds.
    #[must_use]
    pub const fn index(&self) -> &Index {
        &self.index
    }

    /// The genesis file, whose checksum is right.
    ///
    /// # Errors
    /// Where it is missing or damaged.
    pub fn genesis(&self) -> Result<Vec<u8>> {
        let bytes = self.needed(GENESIS)?;
        let computed = checksum(&bytes);
        let stated = self.index.head.genesis_blake3.as_str();
        if stated != computed {
            let what = format!("archive file {GENESIS}: its checksum");
            return Err(Difference::new(what, stated, computed).into());
        }
        Ok(bytes)
    }

    fn needed(&self, name: &str) -> Result<Vec<u8>> {
        self.place.file(name)?.ok_or_else(|| {
            let what = format!("{} has no file {name}, which its index lists", self.place.name());
            Stop::incomplete(what, "copy the archive anew; a copy must take the index first")
        })
    }
}

impl Source for Archive {
    fn name(&self) -> String {
        self.place.name()
    }

    fn heights(&mut self) -> Result<Heights> {
        let Some((first, last)) = self.index.heights() else {
            let what = format!("the archive {} is empty", self.place.name());
            return Err(Stop::incomplete(what, "`lockstepd archive` fills it"));
        };
        Ok(Heights { first, last })
    }

    fn entries(&mut self, from: u64, max: usize) -> Result<Vec<Entry>> {
        let Some(found) = self.index.segment_of(from).cloned() else {
            let what = format!("the archive {} has no block {from}", self.place.name());
            return Err(Stop::incomplete(what, "use one that has it"));
        };
        if self.left.is_empty() || self.next != from {
            let bytes = self.needed(&found.file)?;
            self.left = segment::decode(&found, &bytes, from)?.into();
        }
        let count = max.clamp(1, self.left.len().max(1));
        self.next = from + count as u64;
        Ok(self.left.drain(..count.min(self.left.len())).collect())
    }
}

/// Checks every checksum of an archive, and that every record decodes. Returns how many heights
/// there are. `progress` hears each height that is done.
///
/// # Errors
/// The first thing that is wrong, with its height.
pub fn verify(folder: &Path, progress: &mut dyn FnMut(u64)) -> Result<u64> {
    let archive = Archive::open(Place::Folder(folder.to_owned()))?.ok_or_else(|| {
        let what = format!("{} is no archive: it has no {INDEX}", folder.display());
        Stop::usage(what, "give the folder that `lockstepd archive --out` wrote")
    })?;
    archive.genesis()?;
    let mut heights = 0;
    for found in &archive.index.segments {
        let bytes = archive.needed(&found.file)?;
        for entry in segment::decode(found, &bytes, found.from)? {
            if let Some(damage) = entry.damage {
                return Err(damage.into());
            }
            heights += 1;
        }
        progress(found.to);
    }
    Ok(heights)
}
