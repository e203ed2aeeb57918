//! Writes rows of f32 as `.npy`, so that one `numpy.load` compares them.

use std::path::Path;

use crate::{Error, Result};

/// The file's bytes, version 1.0, little endian, rows first.
///
/// # Errors
/// Where the rows have different lengths.
pub fn encode(rows: &[Vec<f32>]) -> Result<Vec<u8>> {
    let columns = rows.first().map_or(0, Vec::len);
    if rows.iter().any(|row| row.len() != columns) {
        return Err(Error::usage("rows of different lengths", "write one file per length"));
    }
    let shape = format!("({}, {columns})", rows.len());
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}");
    // Magic, version, length and header together fill whole blocks of 64 bytes.
    let padding = (64 - (10 + header.len() + 1) % 64) % 64;
    header.extend(std::iter::repeat_n(' ', padding));
    header.push('\n');
    let length = u16::try_from(header.len())
        .map_err(|_| Error::usage("too many rows for one file", "use fewer texts"))?;
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(length.to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(rows.iter().flatten().flat_map(|value| value.to_le_bytes()));
    Ok(bytes)
}

/// Writes a file that is either complete or not there.
///
/// # Errors
/// Where the rows differ in length, or the disk refuses.
pub fn write(path: &Path, rows: &[Vec<f32>]) -> Result<()> {
    replace(path, &encode(rows)?)
}

/// Writes beside `path`, then renames, so that a crash leaves the old file or the new one.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.part", std::process::id()));
    let beside = std::path::PathBuf::from(beside);
    std::fs::write(&beside, bytes)
        .and_then(|()| std::fs::rename(&beside, path))
        .inspect_err(|_| drop(std::fs::remove_file(&beside)))
        .map_err(|cause| Error::file("write", path, cause))
}

/// Reads little-endian f32.
///
/// # Errors
/// Where the bytes are no whole number of values.
pub fn values(bytes: &[u8]) -> Result<Vec<f32>> {
    let (chunks, rest) = bytes.as_chunks::<4>();
    if !rest.is_empty() {
        return Err(Error::usage(
            "an output that is no list of f32",
            "the model may be of another kind",
        ));
    }
    Ok(chunks.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_what_numpy_writes_itself() {
        let bytes = encode(&[vec![1.0, 2.0], vec![3.0, -0.5]]).unwrap();
        // numpy.save(f, numpy.array([[1, 2], [3, -.5]], dtype="<f4"))
        let mut expected = b"\x93NUMPY\x01\x00v\x00".to_vec();
        let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }";
        expected.extend(format!("{header:<117}\n").bytes());
        expected.extend([0, 0, 0x80, 0x3f, 0, 0, 0, 0x40, 0, 0, 0x40, 0x40, 0, 0, 0, 0xbf]);
        assert_eq!(bytes, expected);
        assert!(encode(&[vec![1.0], vec![]]).is_err());
    }
}
