//! The texts, their reference embeddings, and who is near whom.

use std::path::Path;

use anyhow::{Context as _, ensure};

use crate::figures::cosine;

/// Sixty English texts, more or less, and their embeddings by the model in float64.
pub(crate) struct Texts {
    pub(crate) texts: Vec<String>,
    pub(crate) reference: Vec<Vec<f32>>,
}

impl Texts {
    /// Reads them from the repository.
    pub(crate) fn read() -> anyhow::Result<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../vm/tests/data/minilm");
        let texts = lockstep_client::text::read_texts(&folder.join("texts.json"))?;
        let path = folder.join("embeddings_f32.npy");
        let bytes =
            std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let reference = rows(&bytes, texts.len())?;
        Ok(Self { texts, reference })
    }
}

/// The rows of a two-dimensional f32 array in numpy's format.
pub(crate) fn rows(npy: &[u8], rows: usize) -> anyhow::Result<Vec<Vec<f32>>> {
    ensure!(npy.starts_with(b"\x93NUMPY\x01"), "not a numpy file of version 1");
    let length = npy.get(8..10).context("a numpy file without a header")?;
    let header = 10 + usize::from(u16::from_le_bytes([length[0], length[1]]));
    let values = npy.get(header..).context("a numpy file without values")?;
    ensure!(rows > 0 && values.len() % (4 * rows) == 0, "{} bytes for {rows} rows", values.len());
    let row =
        |bytes: &[u8]| bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    Ok(values.chunks_exact(values.len() / rows).map(row).collect())
}

/// For the pairs of texts that are nearest: both, and how near.
pub(crate) fn nearest(embeddings: &[(usize, Vec<f32>)], pairs: usize) -> Vec<(usize, usize, f64)> {
    let mut all = Vec::new();
    for (place, (i, a)) in embeddings.iter().enumerate() {
        for (j, b) in &embeddings[place + 1..] {
            all.push((*i, *j, cosine(a, b)));
        }
    }
    all.sort_by(|a, b| b.2.total_cmp(&a.2));
    all.truncate(pairs);
    all
}
