//! Weights from safetensors files, widened exactly to f32 and checked to be finite.

use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::ImportError;
use crate::ops::quant_weight_row;

/// A file of weights in memory.
#[derive(Debug)]
pub(super) struct Weights {
    bytes: Vec<u8>,
    /// Prefix that some exports put before each name.
    prefix: &'static str,
}

impl Weights {
    pub(super) fn read(path: &Path) -> Result<Self, ImportError> {
        let bytes = std::fs::read(path)
            .map_err(|error| ImportError::File { path: path.to_owned(), error })?;
        let tensors = SafeTensors::deserialize(&bytes).map_err(|error| ImportError::Damaged {
            path: path.to_owned(),
            error: error.to_string(),
        })?;
        let prefixed = tensors.names().iter().any(|name| name.starts_with("bert."));
        let prefix = if prefixed { "bert." } else { "" };
        Ok(Self { bytes, prefix })
    }

    fn view(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.bytes).expect("read once already")
    }

    /// Names without the prefix, sorted; of the same file always the same.
    pub(super) fn names(&self) -> Vec<String> {
        let view = self.view();
        let strip = |name: &&str| name.strip_prefix(self.prefix).unwrap_or(name).to_owned();
        let mut names: Vec<String> = view.names().iter().map(strip).collect();
        names.sort();
        names
    }

    /// The shape of a tensor.
    pub(super) fn shape(&self, name: &str) -> Result<Vec<usize>, ImportError> {
        let view = self.view();
        Ok(self.tensor(&view, name)?.shape().to_vec())
    }

    /// The values of a tensor, row by row.
    pub(super) fn get(&self, name: &str) -> Result<Vec<f32>, ImportError> {
        let view = self.view();
        let tensor = self.tensor(&view, name)?;
        let bytes = tensor.data();
        let halves = || bytes.as_chunks().0.iter().map(|half| u16::from_le_bytes(*half));
        let values: Vec<f32> = match tensor.dtype() {
            Dtype::F32 => bytes.as_chunks().0.iter().map(|v| f32::from_le_bytes(*v)).collect(),
            Dtype::F16 => halves().map(widen_f16).collect(),
            Dtype::BF16 => halves().map(|half| f32::from_bits(u32::from(half) << 16)).collect(),
            other => {
                let found = format!("{other:?}");
                return Err(ImportError::TensorType { name: name.to_owned(), found });
            }
        };
        match values.iter().position(|value| !value.is_finite()) {
            Some(index) => {
                Err(ImportError::NotFinite { name: name.to_owned(), index, value: values[index] })
            }
            None => Ok(values),
        }
    }

    fn tensor<'a>(
        &self,
        view: &SafeTensors<'a>,
        name: &str,
    ) -> Result<TensorView<'a>, ImportError> {
        let full = format!("{}{name}", self.prefix);
        view.tensor(&full).map_err(|_| ImportError::MissingTensor(name.to_owned()))
    }
}

/// Half precision to single precision; exact for every value.
#[expect(clippy::cast_precision_loss, reason = "a fraction has ten bits")]
fn widen_f16(half: u16) -> f32 {
    let sign = u32::from(half >> 15) << 31;
    let (exponent, fraction) = (u32::from(half >> 10) & 31, u32::from(half) & 0x3ff);
    match exponent {
        // Subnormal: fraction * 2^-24.
        0 => {
            let magnitude = fraction as f32 * f32::from_bits(0x3380_0000);
            f32::from_bits(sign | magnitude.to_bits())
        }
        31 => f32::from_bits(sign | 0x7f80_0000 | fraction << 13),
        _ => f32::from_bits(sign | (exponent + 112) << 23 | fraction << 13),
    }
}

/// Quantises each row of a matrix: int8 values and row scales.
pub(super) fn quantise(
    name: &str,
    values: &[f32],
    cols: usize,
) -> Result<(Vec<i8>, Vec<f32>), ImportError> {
    let mut cells = vec![0; values.len()];
    let mut scales = Vec::new();
    for (row, (w, q)) in values.chunks(cols).zip(cells.chunks_mut(cols)).enumerate() {
        let scale = quant_weight_row(w, q).map_err(|_| {
            let wild = w.iter().position(|value| !value.is_finite()).unwrap_or(0);
            let index = row * cols + wild;
            ImportError::NotFinite { name: name.to_owned(), index, value: w[wild] }
        })?;
        scales.push(scale);
    }
    Ok((cells, scales))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_widens_exactly() {
        for half in 0..=u16::MAX {
            let wide = widen_f16(half);
            let exponent = i32::from(half >> 10 & 31);
            let fraction = f64::from(half & 0x3ff);
            let magnitude = match exponent {
                0 => fraction * 2_f64.powi(-24),
                31 if fraction == 0.0 => f64::INFINITY,
                31 => f64::NAN,
                _ => (1024.0 + fraction) * 2_f64.powi(exponent - 25),
            };
            let expected = if half >> 15 == 1 { -magnitude } else { magnitude };
            if expected.is_nan() {
                assert!(wide.is_nan(), "{half:04x}");
            } else {
                assert_eq!(f64::from(wide).to_bits(), expected.to_bits(), "{half:04x}");
            }
        }
    }
}
