//! Which bytes each leaf of an artefact holds.
//!
//! Leaves follow the program's tensors in order, then its attachments. An int8 matrix comes in
//! blocks of 64 by 512, row by row of blocks, each block row-major, edge blocks smaller; after them
//! its row scales as a table of one row. An f32 table comes in whole rows, as many as fit into
//! 32 KiB; rows of more than 8,192 values are cut into pieces. Attachments come in pieces of 32 KiB.

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

use crate::limits::{BLOCK_COLS, BLOCK_ROWS, LEAF_BYTES_MAX, LEAF_VALUES_MAX};
use crate::program::{Tensor, TensorId};

/// What a leaf holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// int8 values of a weight matrix, none of them -128.
    Weights(TensorId),
    /// f32 row scales of a weight matrix, finite.
    Scales(TensorId),
    /// f32 values of a table, finite.
    Table(TensorId),
    /// Bytes of an attachment, by its number.
    Attachment(usize),
}

/// A leaf: the rectangle of its tensor that it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Of what.
    pub content: Content,
    /// First row.
    pub row: u32,
    /// Number of rows.
    pub rows: u32,
    /// First column.
    pub col: u32,
    /// Number of columns.
    pub cols: u32,
    /// Columns of the whole that it is a part of.
    pub width: u32,
}

impl Span {
    /// Length of the leaf in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let width = match self.content {
            Content::Weights(_) | Content::Attachment(_) => 1_u64,
            Content::Scales(_) | Content::Table(_) => 4,
        };
        let values = u64::from(self.rows).saturating_mul(self.cols.into());
        usize::try_from(values.saturating_mul(width)).unwrap_or(usize::MAX)
    }

    /// Checks a leaf's length and values.
    ///
    /// # Errors
    /// What is wrong, and where in the leaf.
    pub fn check(&self, leaf: &[u8]) -> Result<(), LeafError> {
        if leaf.len() != self.bytes() {
            return Err(LeafError::Length { found: leaf.len(), expected: self.bytes() });
        }
        match self.content {
            Content::Weights(tensor) => match leaf.iter().position(|byte| *byte == 0x80) {
                Some(at) => Err(LeafError::Weight { tensor, at }),
                None => Ok(()),
            },
            Content::Scales(tensor) | Content::Table(tensor) => {
                let (values, _) = leaf.as_chunks();
                let wild =
                    |value: &[u8; 4]| u32::from_le_bytes(*value) & 0x7f80_0000 == 0x7f80_0000;
                match values.iter().position(wild) {
                    Some(at) => Err(LeafError::Float { tensor, at }),
                    None => Ok(()),
                }
            }
            Content::Attachment(_) => Ok(()),
        }
    }
}

/// Why a leaf is refused, whatever its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LeafError {
    /// There is no such leaf.
    #[error("there is no leaf {index}, the artefact has {count}")]
    Index {
        /// The number asked for.
        index: u64,
        /// The number of leaves.
        count: u64,
    },
    /// The wrong length.
    #[error("the leaf has {found} bytes, expected {expected}")]
    Length {
        /// Its length.
        found: usize,
        /// What it must be.
        expected: usize,
    },
    /// A weight of -128, for which products could overflow.
    #[error("weight {at} of the leaf, in tensor {tensor}, is -128; allowed are -127 to 127")]
    Weight {
        /// The tensor.
        tensor: TensorId,
        /// Which value of the leaf.
        at: usize,
    },
    /// A constant that is infinite or not a number.
    #[error("value {at} of the leaf, in tensor {tensor}, is infinite or not a number")]
    Float {
        /// The tensor.
        tensor: TensorId,
        /// Which value of the leaf.
        at: usize,
    },
    /// It does not lead to the root.
    #[error("the leaf does not lead to the root of the manifest")]
    Root,
}

/// A run of leaves that hold one matrix, table or attachment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Section {
    content: Content,
    first_leaf: u64,
    first_byte: u64,
    rows: u32,
    cols: u32,
    /// Rows and columns of a full leaf.
    step: (u32, u32),
}

impl Section {
    fn new(content: Content, rows: u32, cols: u32) -> Self {
        let step = match content {
            Content::Weights(_) => (BLOCK_ROWS, BLOCK_COLS),
            Content::Scales(_) | Content::Table(_) => {
                (LEAF_VALUES_MAX.checked_div(cols).unwrap_or(1).max(1), LEAF_VALUES_MAX)
            }
            Content::Attachment(_) => (1, u32::try_from(LEAF_BYTES_MAX).unwrap_or(u32::MAX)),
        };
        Self { content, first_leaf: 0, first_byte: 0, rows, cols, step }
    }

    /// Leaves across.
    fn across(&self) -> u64 {
        u64::from(self.cols.div_ceil(self.step.1))
    }

    fn leaves(&self) -> u64 {
        u64::from(self.rows.div_ceil(self.step.0)).saturating_mul(self.across())
    }

    fn bytes(&self) -> u64 {
        let width = match self.content {
            Content::Weights(_) | Content::Attachment(_) => 1,
            Content::Scales(_) | Content::Table(_) => 4,
        };
        u64::from(self.rows).saturating_mul(self.cols.into()).saturating_mul(width)
    }

    fn span(&self, number: u64) -> Option<Span> {
        let down = u32::try_from(number.checked_div(self.across())?).ok()?;
        let right = u32::try_from(number.checked_rem(self.across())?).ok()?;
        let (row, col) = (down.checked_mul(self.step.0)?, right.checked_mul(self.step.1)?);
        Some(Span {
            content: self.content,
            row,
            rows: self.rows.checked_sub(row)?.min(self.step.0),
            col,
            cols: self.cols.checked_sub(col)?.min(self.step.1),
            width: self.cols,
        })
    }
}

/// The leaves of an artefact, as they follow from its tensors and attachments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    sections: Vec<Section>,
    leaf_count: u64,
    bytes: u64,
}

impl Layout {
    /// Lays out tensors, then attachments of so many bytes each (fewer than 2^32).
    #[must_use]
    pub fn new(tensors: &[Tensor], attachments: &[u64]) -> Self {
        let mut layout = Self { sections: Vec::new(), leaf_count: 0, bytes: 0 };
        for (number, tensor) in (0..).zip(tensors) {
            match *tensor {
                Tensor::I8 { rows, cols } => {
                    layout.push(Section::new(Content::Weights(number), rows, cols));
                    layout.push(Section::new(Content::Scales(number), 1, rows));
                }
                Tensor::F32 { rows, cols } => {
                    layout.push(Section::new(Content::Table(number), rows, cols));
                }
            }
        }
        for (number, bytes) in attachments.iter().enumerate() {
            let bytes = u32::try_from(*bytes).unwrap_or(u32::MAX);
            layout.push(Section::new(Content::Attachment(number), 1, bytes));
        }
        layout
    }

    fn push(&mut self, mut section: Section) {
        section.first_leaf = self.leaf_count;
        section.first_byte = self.bytes;
        self.leaf_count = self.leaf_count.saturating_add(section.leaves());
        self.bytes = self.bytes.saturating_add(section.bytes());
        self.sections.push(section);
    }

    /// Number of leaves.
    #[must_use]
    pub fn leaf_count(&self) -> u64 {
        self.leaf_count
    }

    /// Bytes of all leaves.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    fn section_of(&self, leaf: u64) -> Option<&Section> {
        if leaf >= self.leaf_count {
            return None;
        }
        let after = self.sections.partition_point(|section| section.first_leaf <= leaf);
        self.sections.get(after.checked_sub(1)?)
    }

    /// What a leaf holds; none where there is no such leaf.
    #[must_use]
    pub fn span(&self, leaf: u64) -> Option<Span> {
        let section = self.section_of(leaf)?;
        section.span(leaf.checked_sub(section.first_leaf)?)
    }

    /// Where a leaf starts, counted in bytes from the first leaf.
    #[must_use]
    pub fn offset(&self, leaf: u64) -> Option<u64> {
        let section = self.section_of(leaf)?;
        let span = section.span(leaf.checked_sub(section.first_leaf)?)?;
        let width = match span.content {
            Content::Weights(_) | Content::Attachment(_) => 1_u64,
            Content::Scales(_) | Content::Table(_) => 4,
        };
        // The leaves above are full rows; those to the left are as high as this one.
        let above = u64::from(span.row).checked_mul(section.cols.into())?;
        let left = u64::from(span.rows).checked_mul(span.col.into())?;
        section.first_byte.checked_add(above.checked_add(left)?.checked_mul(width)?)
    }

    /// The leaf that holds a place of a content, given by its row and column.
    #[must_use]
    pub fn leaf_at(&self, content: Content, row: u32, col: u32) -> Option<u64> {
        let section = self.section(content)?;
        if row >= section.rows || col >= section.cols {
            return None;
        }
        let down = row.checked_div(section.step.0)?;
        let right = col.checked_div(section.step.1)?;
        let before = u64::from(down).checked_mul(section.across())?;
        section.first_leaf.checked_add(before)?.checked_add(right.into())
    }

    fn section(&self, content: Content) -> Option<&Section> {
        // Sections rise with their tensors, then with the attachments.
        let order = |content: Content| match content {
            Content::Weights(tensor) | Content::Table(tensor) => (0, u64::from(tensor), 0),
            Content::Scales(tensor) => (0, u64::from(tensor), 1),
            Content::Attachment(number) => (1, u64::try_from(number).unwrap_or(u64::MAX), 0),
        };
        let found = self.sections.binary_search_by_key(&order(content), |at| order(at.content));
        self.sections.get(found.ok()?).filter(|section| section.content == content)
    }

    /// The leaves of one content, by number.
    #[must_use]
    pub fn leaves_of(&self, content: Content) -> std::ops::Range<u64> {
        self.section(content).map_or(0..0, |section| {
            section.first_leaf..section.first_leaf.saturating_add(section.leaves())
        })
    }
}
