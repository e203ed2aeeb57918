//! The manifest: all that the chain needs to judge an artefact, in at most 256 KiB.

#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic
    )
)]

use borsh::{BorshDeserialize, BorshSerialize};

use super::layout::{Layout, LeafError, Span};
use crate::hash::{Hash, hash};
use crate::limits::{
    ARTEFACT_BYTES_MAX, ATTACHMENT_BYTES_MAX, ATTACHMENTS_MAX, LEAVES_MAX, MANIFEST_BYTES_MAX,
    NAME_BYTES_MAX,
};
use crate::merkle;
use crate::program::{Program, Verified, VerifyError, verify};

/// The format that this build reads and writes.
pub(crate) const FORMAT: u16 = 1;

/// A file that travels with the artefact, such as `tokenizer.json`; its bytes are leaves.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Attachment {
    /// Lower-case letters, digits, `.`, `_` and `-`; names rise strictly from one to the next.
    pub name: String,
    /// Its length, at least 1.
    pub bytes: u64,
    /// `hash("lockstep/attachment/v1", [content])`.
    pub hash: Hash,
}

impl Attachment {
    /// Describes a file.
    #[must_use]
    pub fn of(name: &str, content: &[u8]) -> Self {
        Self {
            name: name.to_owned(),
            bytes: u64::try_from(content.len()).unwrap_or(u64::MAX),
            hash: Self::hash_of(content),
        }
    }

    /// The hash of a file's content.
    #[must_use]
    pub fn hash_of(content: &[u8]) -> Hash {
        hash("lockstep/attachment/v1", &[content])
    }
}

/// What is said about a model beside its program; nothing of it changes a result.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Description {
    /// The family of models, for example `bert`. Letters as in attachments' names.
    pub family: String,
    /// Files that travel with it.
    pub attachments: Vec<Attachment>,
}

#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
struct Body {
    format: u16,
    /// Canonical bytes of the program.
    program: Vec<u8>,
    description: Description,
    leaf_count: u64,
    leaves_root: Hash,
}

/// Why a manifest is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Another format than this build knows.
    #[error("the manifest is in format {0}, this build reads format {FORMAT}")]
    Format(u16),
    /// The bytes are no manifest in canonical form.
    #[error("the manifest's bytes are refused: {0}")]
    Bytes(String),
    /// The program is refused.
    #[error(transparent)]
    Program(#[from] VerifyError),
    /// An attachment's or the family's name.
    #[error("the name `{0}` is refused; hint: 1 to 64 of a-z, 0-9, `.`, `_`, `-`, in strict order")]
    Name(String),
    /// A number is outside its bounds.
    #[error("the manifest's {what} is {found}, allowed are {min} to {max}")]
    Range {
        /// Which number.
        what: &'static str,
        /// Its value.
        found: u64,
        /// The least allowed.
        min: u64,
        /// The greatest allowed.
        max: u64,
    },
}

/// A checked manifest: its program is verified, its leaves are laid out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    bytes: Vec<u8>,
    root: Hash,
    verified: Verified,
    description: Description,
    layout: Layout,
    leaves_root: Hash,
}

impl Manifest {
    /// Puts a manifest together; `leaves_root` is the Merkle root of the leaves that
    /// [`Manifest::layout`] asks for.
    ///
    /// # Errors
    /// As [`Manifest::decode`].
    pub fn new(
        program: &Program,
        description: Description,
        leaves_root: Hash,
    ) -> Result<Self, ManifestError> {
        let lengths: Vec<u64> = description.attachments.iter().map(|file| file.bytes).collect();
        let layout = Layout::new(&program.tensors, &lengths);
        let body = Body {
            format: FORMAT,
            program: program.encode()?,
            description,
            leaf_count: layout.leaf_count(),
            leaves_root,
        };
        let bytes =
            borsh::to_vec(&body).map_err(|error| ManifestError::Bytes(error.to_string()))?;
        Self::decode(&bytes)
    }

    /// Reads canonical bytes and verifies all that can be verified without the leaves.
    ///
    /// # Errors
    /// The first thing found wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let length_max = u64::try_from(MANIFEST_BYTES_MAX).unwrap_or(u64::MAX);
        range("length in bytes", length, 1, length_max)?;
        if let Some(format) = bytes.first_chunk().map(|format| u16::from_le_bytes(*format))
            && format != FORMAT
        {
            return Err(ManifestError::Format(format));
        }
        let refused = |error: std::io::Error| ManifestError::Bytes(error.to_string());
        let body: Body = borsh::from_slice(bytes).map_err(refused)?;
        if borsh::to_vec(&body).map_err(refused)? != bytes {
            return Err(ManifestError::Bytes("not in canonical form".into()));
        }
        let verified = verify(Program::decode(&body.program)?)?;
        check_description(&body.description)?;
        let lengths: Vec<u64> =
            body.description.attachments.iter().map(|file| file.bytes).collect();
        let layout = Layout::new(&verified.program().tensors, &lengths);
        let expected = layout.leaf_count();
        range("number of leaves", expected, 1, LEAVES_MAX)?;
        range("number of leaves", body.leaf_count, expected, expected)?;
        range("bytes of leaves", layout.bytes(), 1, ARTEFACT_BYTES_MAX)?;
        Ok(Self {
            root: hash("lockstep/artefact/v1", &[bytes]),
            bytes: bytes.to_vec(),
            verified,
            description: body.description,
            layout,
            leaves_root: body.leaves_root,
        })
    }

    /// The canonical bytes.
    #[must_use]
    pub fn encode(&self) -> &[u8] {
        &self.bytes
    }

    /// The artefact root: `hash("lockstep/artefact/v1", [bytes])`.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.root
    }

    /// The verified program.
    #[must_use]
    pub fn verified(&self) -> &Verified {
        &self.verified
    }

    /// What is said about the model.
    #[must_use]
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// Which bytes each leaf holds.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The Merkle root of the leaves.
    #[must_use]
    pub fn leaves_root(&self) -> Hash {
        self.leaves_root
    }

    /// Number of leaves.
    #[must_use]
    pub fn leaf_count(&self) -> u64 {
        self.layout.leaf_count()
    }

    /// Bytes of a leaf; none where there is no such leaf.
    #[must_use]
    pub fn leaf_len(&self, index: u64) -> Option<usize> {
        self.layout.span(index).map(|span| span.bytes())
    }

    /// Bytes of all leaves together.
    #[must_use]
    pub fn leaves_bytes(&self) -> u64 {
        self.layout.bytes()
    }

    /// The rectangle that a leaf holds.
    ///
    /// # Errors
    /// [`LeafError::Index`].
    pub fn span(&self, index: u64) -> Result<Span, LeafError> {
        let count = self.leaf_count();
        self.layout.span(index).ok_or(LeafError::Index { index, count })
    }

    /// Checks that `leaf` is leaf `index` of the artefact, and that its values keep the rules.
    ///
    /// A leaf that leads to the root and breaks the rules is told by its error: any other than
    /// [`LeafError::Index`] and [`LeafError::Root`] proves the artefact malformed.
    ///
    /// # Errors
    /// [`LeafError`].
    pub fn verify_leaf(&self, index: u64, leaf: &[u8], path: &[Hash]) -> Result<(), LeafError> {
        let span = self.span(index)?;
        if !merkle::verify(&self.leaves_root, index, self.leaf_count(), leaf, path) {
            return Err(LeafError::Root);
        }
        span.check(leaf)
    }
}

fn range(what: &'static str, found: u64, min: u64, max: u64) -> Result<(), ManifestError> {
    if (min..=max).contains(&found) {
        return Ok(());
    }
    Err(ManifestError::Range { what, found, min, max })
}

fn check_name(name: &str) -> Result<(), ManifestError> {
    let allowed = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'_' | b'-')
    };
    if (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(allowed) {
        return Ok(());
    }
    Err(ManifestError::Name(name.to_owned()))
}

fn check_description(description: &Description) -> Result<(), ManifestError> {
    check_name(&description.family)?;
    let count = u64::try_from(description.attachments.len()).unwrap_or(u64::MAX);
    let count_max = u64::try_from(ATTACHMENTS_MAX).unwrap_or(u64::MAX);
    range("number of attachments", count, 0, count_max)?;
    let mut before = "";
    for file in &description.attachments {
        check_name(&file.name)?;
        if file.name.as_str() <= before {
            return Err(ManifestError::Name(file.name.clone()));
        }
        before = &file.name;
        range("attachment's length", file.bytes, 1, ATTACHMENT_BYTES_MAX)?;
    }
    Ok(())
}
