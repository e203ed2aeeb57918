//! A blob on its way in: nothing is kept of it that was not verified.

use std::io::SeekFrom;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};

use super::error::BlobError;
use super::layout::Layout;
use super::store::Claim;

/// Takes the bytes of one blob in order, verifies each piece, and appends it to a file that
/// survives a crash.
#[derive(Debug)]
pub struct Intake {
    layout: Arc<Layout>,
    path: PathBuf,
    file: File,
    /// The next piece to come.
    piece: usize,
    /// Bytes of it that came.
    buffer: Vec<u8>,
    claim: Claim,
}

impl Intake {
    /// Goes on where an earlier intake ended. What it left is verified again, for a crash may have
    /// torn the file.
    pub(super) async fn open(
        layout: Arc<Layout>,
        path: PathBuf,
        claim: Claim,
    ) -> Result<Self, BlobError> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(&path).await;
        let file = file.map_err(BlobError::disk("opening", &path))?;
        let buffer = Vec::new();
        let mut intake = Self { layout, path, file, piece: 0, buffer, claim };
        intake.verify_left().await?;
        let end = intake.verified();
        intake.file.set_len(end).await.map_err(BlobError::disk("truncating", &intake.path))?;
        let sought = intake.file.seek(SeekFrom::Start(end)).await;
        sought.map_err(BlobError::disk("seeking in", &intake.path))?;
        Ok(intake)
    }

    async fn verify_left(&mut self) -> Result<(), BlobError> {
        while let Some(piece) = self.layout.piece(self.piece) {
            self.buffer.resize(usize::try_from(piece.len).unwrap_or(usize::MAX), 0);
            match self.file.read_exact(&mut self.buffer).await {
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => break,
                Err(error) => return Err(BlobError::disk("reading", &self.path)(error)),
            }
            if !self.layout.holds(self.piece, &self.buffer) {
                break;
            }
            self.piece += 1;
        }
        self.buffer.clear();
        Ok(())
    }

    /// How many bytes from the start are here and verified: where the data has to go on.
    #[must_use]
    pub fn verified(&self) -> u64 {
        self.layout.piece(self.piece).map_or(self.layout.bytes(), |piece| piece.offset)
    }

    /// Whether everything is here.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.piece == self.layout.pieces()
    }

    /// Forgets the begun piece, to go on at [`Intake::verified`] from another source.
    pub fn rewind(&mut self) {
        self.buffer.clear();
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// [`BlobError::Corrupt`] and [`BlobError::TooLong`], after which what was verified is still
    /// here; or the disk failed.
    pub async fn push(&mut self, mut bytes: &[u8]) -> Result<(), BlobError> {
        while !bytes.is_empty() {
            let Some(piece) = self.layout.piece(self.piece) else {
                let root = hex::encode(self.layout.root());
                return Err(BlobError::TooLong { root, bytes: self.layout.bytes() });
            };
            let missing = usize::try_from(piece.len).unwrap_or(usize::MAX) - self.buffer.len();
            let (now, later) = bytes.split_at(missing.min(bytes.len()));
            self.buffer.extend_from_slice(now);
            bytes = later;
            if self.buffer.len() as u64 == piece.len {
                self.keep(piece.offset).await?;
            }
        }
        Ok(())
    }

    async fn keep(&mut self, offset: u64) -> Result<(), BlobError> {
        if !self.layout.holds(self.piece, &self.buffer) {
            self.buffer.clear();
            return Err(BlobError::Corrupt { root: hex::encode(self.layout.root()), offset });
        }
        let written = self.file.write_all(&self.buffer).await;
        self.buffer.clear();
        written.map_err(BlobError::disk("writing", &self.path))?;
        self.piece += 1;
        Ok(())
    }

    /// Brings what was verified to the disk; the file to move into the store where it is complete.
    pub(super) async fn close(mut self) -> Result<(Arc<Layout>, PathBuf, Claim), BlobError> {
        // tokio's files buffer: without a flush, the last write's error would be lost.
        self.file.flush().await.map_err(BlobError::disk("writing", &self.path))?;
        self.file.sync_data().await.map_err(BlobError::disk("syncing", &self.path))?;
        Ok((self.layout, self.path, self.claim))
    }
}
