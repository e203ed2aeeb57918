//! Reads an archive, from a folder or by HTTP.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use super::{GENESIS, INDEX, Index, Segment, checksum, segment};
use crate::report::Difference;
use crate::source::http::Http;
use crate::source::{Entry, Heights, Source};
use crate::{Result, Stop};

/// Bytes of an index and of a genesis file, at most.
const OTHER_BYTES_MAX: u64 = 256 << 20;

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
    /// Where it cannot be read, or has more bytes than that.
    pub fn file(&self, name: &str, bytes_max: u64) -> Result<Option<Vec<u8>>> {
        let folder = match self {
            Self::Folder(folder) => folder,
            Self::Http(http) => {
                return http.get(name, usize::try_from(bytes_max).unwrap_or(usize::MAX));
            }
        };
        let path = folder.join(name);
        let mut bytes = Vec::new();
        let read = File::open(&path)
            .and_then(|file| file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes));
        match read {
            Ok(length) if length as u64 > bytes_max => {
                let what = format!("archive file {name}: its length");
                Err(Difference::new(what, format!("at most {bytes_max}"), "more").into())
            }
            Ok(_) => Ok(Some(bytes)),
            Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(Stop::file("read", &path, cause)),
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
        let Some(bytes) = place.file(INDEX, OTHER_BYTES_MAX)? else { return Ok(None) };
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
        let bytes = self.place.file(GENESIS, OTHER_BYTES_MAX)?;
        let bytes = bytes.ok_or_else(|| self.lacks(GENESIS))?;
        let computed = checksum(&bytes);
        let stated = self.index.head.genesis_blake3.as_str();
        if stated != computed {
            let what = format!("archive file {GENESIS}: its checksum");
            return Err(Difference::new(what, stated, computed).into());
        }
        Ok(bytes)
    }

    fn lacks(&self, name: &str) -> Stop {
        let what = format!("the archive has no file {name}, which its index lists");
        let hint = "copy the archive anew; a copy must take the index first";
        Stop::incomplete(what, format!("{hint} ({})", self.place.name()))
    }

    fn listed(&self, height: u64) -> Result<Segment> {
        self.index.segment_of(height).cloned().ok_or_else(|| {
            let hint = format!("use one that has it ({})", self.place.name());
            Stop::incomplete(format!("the archive has no block {height}"), hint)
        })
    }

    /// The segment of a height, and its bytes.
    fn segment(&mut self, height: u64) -> Result<(Segment, Vec<u8>)> {
        let mut found = self.listed(height)?;
        let mut bytes = self.place.file(&found.file, found.bytes)?;
        if bytes.is_none() {
            // An archive that grows has replaced its last segment by a longer one.
            let index = self.place.file(INDEX, OTHER_BYTES_MAX)?;
            self.index = Index::decode(&index.ok_or_else(|| self.lacks(INDEX))?)?;
            found = self.listed(height)?;
            bytes = self.place.file(&found.file, found.bytes)?;
        }
        let bytes = bytes.ok_or_else(|| self.lacks(&found.file))?;
        Ok((found, bytes))
    }
}

impl Source for Archive {
    fn name(&self) -> String {
        self.place.name()
    }

    fn heights(&mut self) -> Result<Heights> {
        let Some((first, last)) = self.index.heights() else {
            let hint = format!("`lockstepd archive` fills it ({})", self.place.name());
            return Err(Stop::incomplete("the archive is empty", hint));
        };
        Ok(Heights { first, last })
    }

    fn entries(&mut self, from: u64, max: usize) -> Result<Vec<Entry>> {
        if self.left.is_empty() || self.next != from {
            let (found, bytes) = self.segment(from)?;
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
    let mut archive = Archive::open(Place::Folder(folder.to_owned()))?.ok_or_else(|| {
        let what = format!("{} is no archive: it has no {INDEX}", folder.display());
        Stop::usage(what, "give the folder that `lockstepd archive --out` wrote")
    })?;
    archive.genesis()?;
    let Some((mut next, last)) = archive.index.heights() else { return Ok(0) };
    let mut heights = 0;
    while next <= last {
        let (found, bytes) = archive.segment(next)?;
        for entry in segment::decode(&found, &bytes, found.from)? {
            if let Some(damage) = entry.damage {
                return Err(damage.into());
            }
            heights += 1;
        }
        progress(found.to);
        next = found.to.saturating_add(1);
    }
    Ok(heights)
}
