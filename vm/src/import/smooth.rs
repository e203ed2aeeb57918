//! Smoothing vectors: what a linear layer's inputs are divided by and its weights multiplied by, so
//! that channels with large activations leave room for the others in eight bits.
//!
//! For each channel `s = sqrt(largest activation / largest weight)`, which is `SmoothQuant` with
//! alpha 0.5: single IEEE 754 operations, so every machine gives the same.

use super::{ImportError, Phase, Progress};
use crate::interp::Model;
use crate::ops::Cpu;
use crate::program::{Op, ValueId};

/// The largest magnitude of each input channel of each linear layer over the calibration texts.
pub(super) fn observe(
    model: &Model,
    cpu: &Cpu,
    texts: &[Vec<u32>],
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<Vec<f32>>, ImportError> {
    let verified = model.manifest().verified();
    let linears: Vec<(ValueId, usize)> = (0..)
        .zip(&verified.program().ops)
        .filter_map(|(number, op)| match *op {
            Op::Linear { x, .. } => Some((number, verified.shapes()[x as usize].cols as usize)),
            _ => None,
        })
        .collect();
    let mut seen: Vec<Vec<f32>> = linears.iter().map(|(_, cols)| vec![0.0; *cols]).collect();
    let total = texts.len() as u64;
    for (number, text) in texts.iter().enumerate() {
        let mut each = |op: ValueId, x: &[f32]| {
            if let Ok(layer) = linears.binary_search_by_key(&op, |(number, _)| *number) {
                let most = &mut seen[layer];
                for row in x.chunks(most.len()) {
                    for (most, value) in most.iter_mut().zip(row) {
                        *most = if value.abs() > *most { value.abs() } else { *most };
                    }
                }
            }
        };
        let outcomes = model
            .run_observed(cpu, &[text.as_slice()], &mut each)
            .map_err(|error| error.of_input(number))?;
        if outcomes.iter().any(Result::is_err) {
            return Err(ImportError::CalibrationFault(number));
        }
        progress(Progress { phase: Phase::Calibrating, done: number as u64 + 1, total });
    }
    Ok(seen)
}

/// The factors of a layer, from the largest activation of each channel and its weights, row by row.
pub(super) fn vector(seen: &[f32], weight: &[f32]) -> Vec<f32> {
    let mut most = vec![0_f32; seen.len()];
    for row in weight.chunks(seen.len()) {
        for (most, value) in most.iter_mut().zip(row) {
            *most = if value.abs() > *most { value.abs() } else { *most };
        }
    }
    seen.iter().zip(&most).map(|(seen, most)| factor(*seen, *most)).collect()
}

/// Channels that are never used, or whose factor is out of proportion, stay as they are.
fn factor(activation: f32, weight: f32) -> f32 {
    let factor = (activation / weight).sqrt();
    if (1e-5..1e5).contains(&factor) { factor } else { 1.0 }
}

/// Multiplies each column of a matrix by its factor.
pub(super) fn scale_columns(values: &mut [f32], factors: &[f32]) {
    for row in values.chunks_mut(factors.len()) {
        for (value, factor) in row.iter_mut().zip(factors) {
            *value *= factor;
        }
    }
}

/// What QUANT multiplies the inputs with.
pub(super) fn inverse(factors: &[f32]) -> Vec<f32> {
    factors.iter().map(|factor| 1.0 / factor).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::weights::quantise;
    use crate::ops::{Activations, Isa, Linear, LinearSpec};

    const K: usize = 64;
    const N: usize = 8;

    /// Squared error of an 8-bit layer against float64.
    fn error(x: &[f32], weight: &[f32], factors: &[f32]) -> f64 {
        let mut scaled = weight.to_vec();
        scale_columns(&mut scaled, factors);
        let (cells, scale) = quantise("w", &scaled, K).unwrap();
        let pre = inverse(factors);
        let spec = LinearSpec {
            weight: &cells,
            n: N,
            k: K,
            scale: &scale,
            bias: None,
            smoothing: Some(&pre),
            activations: Activations::Bits8,
        };
        let mut out = vec![0.0; x.len() / K * N];
        let cpu = Cpu::new(Isa::Scalar, 1).unwrap();
        cpu.linear(x, &Linear::pack(Isa::Scalar, &spec), &mut out).unwrap();
        let exact = x.chunks(K).flat_map(|x| {
            weight.chunks(K).map(move |w| -> f64 {
                w.iter().zip(x).map(|(w, x)| f64::from(*w) * f64::from(*x)).sum()
            })
        });
        out.iter().zip(exact).map(|(y, exact)| (f64::from(*y) - exact).powi(2)).sum()
    }

    #[test]
    fn smoothing_evens_out_a_channel_that_drowns_the_others() {
        let wave = |i: usize| f32::from(u8::try_from(i * 89 % 251).unwrap()) / 125.0 - 1.0;
        let mut x: Vec<f32> = (0..16 * K).map(wave).collect();
        let mut weight: Vec<f32> = (0..N * K).map(|i| wave(i * 7 + 3)).collect();
        x.chunks_mut(K).for_each(|row| row[5] *= 100.0);
        weight.chunks_mut(K).for_each(|row| row[5] /= 100.0);
        let mut seen = vec![0_f32; K];
        for row in x.chunks(K) {
            for (most, value) in seen.iter_mut().zip(row) {
                *most = most.max(value.abs());
            }
        }
        let (plain, smooth) =
            (error(&x, &weight, &[1.0; K]), error(&x, &weight, &vector(&seen, &weight)));
        assert!(smooth * 20.0 < plain, "{smooth} is not far below {plain}");
    }

    #[test]
    fn channels_that_are_never_used_stay_as_they_are() {
        assert_eq!(vector(&[0.0, 4.0, 1.0], &[1.0, 1.0, 0.0]), [1.0, 2.0, 1.0]);
        assert_eq!(inverse(&[2.0, 1.0]), [0.5, 1.0]);
    }
}
