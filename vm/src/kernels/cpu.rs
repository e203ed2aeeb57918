//! The engine: kernels of one instruction set on a pool of threads of its own.

use rayon::prelude::*;

use super::attention::attention_rows;
use super::float_mode::ieee;
use super::linear::quant_rows;
use super::{Isa, Linear, per_isa};
use crate::ops::{self, AttentionShape, Fault, Sampling};

/// Fewest values of an output that are worth a second thread.
const PARALLEL_MIN: usize = 8192;
/// Most rows of a linear layer per task: its quantised activations stay in the second-level cache.
const LINEAR_ROWS_MAX: usize = 96;

/// An execution engine. Every method gives the same bytes for every instruction set, number of threads
/// and floating-point mode of the caller.
#[derive(Debug)]
pub struct Cpu {
    isa: Isa,
    threads: usize,
    pool: Option<rayon::ThreadPool>,
}

/// Why an engine cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum CpuError {
    /// The machine lacks the instruction set.
    #[error("this machine has no {isa} instructions; it has: {available}")]
    Unavailable {
        /// What was asked for.
        isa: Isa,
        /// What there is.
        available: String,
    },
    /// No threads were asked for.
    #[error("an engine needs at least 1 thread, not 0")]
    NoThreads,
    /// The system refused to start threads.
    #[error("cannot start {threads} threads: {source}")]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// What the system said.
        source: rayon::ThreadPoolBuildError,
    },
}

impl Cpu {
    /// An engine of `isa` on `threads` threads; with one thread the caller's own does the work.
    ///
    /// # Errors
    /// [`CpuError`] where the machine lacks the instruction set, or threads cannot be had.
    pub fn new(isa: Isa, threads: usize) -> Result<Self, CpuError> {
        if !isa.is_available() {
            let available: Vec<String> = Isa::available().iter().map(Isa::to_string).collect();
            return Err(CpuError::Unavailable { isa, available: available.join(", ") });
        }
        let pool = match threads {
            0 => return Err(CpuError::NoThreads),
            1 => None,
            _ => {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
                Some(pool.map_err(|source| CpuError::Threads { threads, source })?)
            }
        };
        Ok(Self { isa, threads, pool })
    }

    /// The engine's instruction set.
    #[must_use]
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// The engine's number of threads.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Runs `work` inside the engine's pool, so that a sequence of operators, or several sequences side
    /// by side with rayon, need not be handed over to it one by one.
    pub fn install<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        match &self.pool {
            None => work(),
            Some(pool) => pool.install(work),
        }
    }

    /// Linear layer: quantises `x [rows, k]`, multiplies, scales: `out [rows, n]`.
    ///
    /// # Errors
    /// [`Fault`] where an input, after smoothing, or a result is not finite.
    ///
    /// # Panics
    /// Where lengths do not fit, or the layer is packed for another instruction set.
    pub fn linear(&self, x: &[f32], layer: &Linear, out: &mut [f32]) -> Result<(), Fault> {
        assert_eq!(layer.isa(), self.isa, "the layer is packed for another instruction set");
        assert_eq!(x.len() / layer.k(), out.len() / layer.n(), "rows of a linear layer");
        self.split(out, layer.n(), LINEAR_ROWS_MAX, |first, out| {
            let rows = out.len() / layer.n();
            layer.rows(&x[first * layer.k()..][..rows * layer.k()], out)
        })
    }

    /// The second half of [`Self::linear`]: MATMUL8 or MATMUL16 of quantised activations `q [rows, k]`
    /// with the rows' scales `sx`.
    ///
    /// # Errors
    /// [`Fault`] where a result is not finite.
    ///
    /// # Panics
    /// As [`Self::linear`].
    pub fn matmul(
        &self,
        q: &[i16],
        sx: &[f32],
        layer: &Linear,
        out: &mut [f32],
    ) -> Result<(), Fault> {
        assert_eq!(layer.isa(), self.isa, "the layer is packed for another instruction set");
        let (k, stride) = (layer.k(), layer.stride());
        self.split(out, layer.n(), LINEAR_ROWS_MAX, |first, out| {
            let rows = out.len() / layer.n();
            let mut spaced = vec![0; rows * stride];
            for (q, to) in q[first * k..].chunks_exact(k).zip(spaced.chunks_exact_mut(stride)) {
                to[..k].copy_from_slice(q);
            }
            layer.products(&spaced, &sx[first..][..rows], out)
        })
    }

    /// QUANT8 or QUANT16 of `x [rows, k]` as the layer does it: integers `[rows, k up to a multiple of 4]`
    /// and the rows' scales.
    ///
    /// # Errors
    /// [`Fault`] where an input, after smoothing, is not finite.
    pub fn quantise(&self, x: &[f32], layer: &Linear) -> Result<(Vec<i16>, Vec<f32>), Fault> {
        ieee(|| quant_rows(self.isa, x, layer))
    }

    /// EMBED of an f32 table.
    ///
    /// # Errors
    /// [`Fault`] where the table has no such row.
    pub fn embed_f32(
        &self,
        table: &[f32],
        cols: usize,
        ids: &[u32],
        out: &mut [f32],
    ) -> Result<(), Fault> {
        ops::embed_f32(table, cols, ids, out)
    }

    /// EMBED of an int8 table with one scale per row; ids are checked by the caller.
    ///
    /// # Errors
    /// [`Fault`] where a result is not finite.
    pub fn embed8(
        &self,
        (table, scale): (&[i8], &[f32]),
        cols: usize,
        ids: &[u32],
        out: &mut [f32],
    ) -> Result<(), Fault> {
        ieee(|| ops::embed8(table, scale, cols, ids, out))
    }

    /// ADD: `out = a + b`.
    ///
    /// # Errors
    /// [`Fault`] where a sum is not finite.
    pub fn add(&self, a: &[f32], b: &[f32], out: &mut [f32]) -> Result<(), Fault> {
        self.split(out, 1, usize::MAX, |first, out| {
            add(self.isa, &a[first..][..out.len()], &b[first..][..out.len()], out)
        })
    }

    /// SWIGLU: `SILU(gate) * up`.
    ///
    /// # Errors
    /// [`Fault`] where a product is not finite.
    pub fn swiglu(&self, gate: &[f32], up: &[f32], out: &mut [f32]) -> Result<(), Fault> {
        self.split(out, 1, usize::MAX, |first, out| {
            swiglu(self.isa, &gate[first..][..out.len()], &up[first..][..out.len()], out)
        })
    }

    /// LAYERNORM of each row of `x [rows, g.len()]`.
    ///
    /// # Errors
    /// [`Fault`] where a variance or a result is not finite.
    pub fn layernorm(
        &self,
        x: &[f32],
        g: &[f32],
        b: &[f32],
        eps: f32,
        out: &mut [f32],
    ) -> Result<(), Fault> {
        self.split(out, g.len(), usize::MAX, |first, out| {
            layernorm(self.isa, &x[first * g.len()..][..out.len()], (g, b), eps, out)
        })
    }

    /// RMSNORM of each row of `x [rows, g.len()]`.
    ///
    /// # Errors
    /// [`Fault`] where a mean square or a result is not finite.
    pub fn rmsnorm(&self, x: &[f32], g: &[f32], eps: f32, out: &mut [f32]) -> Result<(), Fault> {
        self.split(out, g.len(), usize::MAX, |first, out| {
            rmsnorm(self.isa, &x[first * g.len()..][..out.len()], g, eps, out)
        })
    }

    /// L2NORM of each row of `x [rows, cols]`.
    ///
    /// # Errors
    /// [`Fault`] where a length or a result is not finite.
    pub fn l2norm(&self, x: &[f32], cols: usize, out: &mut [f32]) -> Result<(), Fault> {
        self.split(out, cols, usize::MAX, |first, out| {
            l2norm(self.isa, &x[first * cols..][..out.len()], cols, out)
        })
    }

    /// `POOL_MEAN` of one sequence `x [tokens, cols]`: `out [cols]`.
    ///
    /// # Errors
    /// [`Fault`] where an input or a result is not finite.
    ///
    /// # Panics
    /// Where `out` is not `cols` long.
    pub fn pool_mean(&self, x: &[f32], cols: usize, out: &mut [f32]) -> Result<(), Fault> {
        assert_eq!(out.len(), cols, "columns of a pooling");
        ieee(|| pool_mean(self.isa, x, out))
    }

    /// ROPE of each row of `x [rows, heads, 2 * half]` with table rows `cos, sin [rows, half]`, where
    /// `half` is the rows' share of the tables and all heads of a row turn alike.
    ///
    /// # Errors
    /// [`Fault`] where a result is not finite.
    pub fn rope(
        &self,
        x: &[f32],
        (cos, sin): (&[f32], &[f32]),
        rows: usize,
        out: &mut [f32],
    ) -> Result<(), Fault> {
        ieee(|| rope(self.isa, x, (cos, sin), rows, out))
    }

    /// ATTENTION of one sequence, all heads: `q [queries, heads * head_dim]`,
    /// `k, v [tokens, heads * head_dim]`, `out` as `q`. Every query sees every key.
    ///
    /// # Errors
    /// [`Fault`] where an input, a score or a result is not finite.
    pub fn attention(
        &self,
        (q, k, v): (&[f32], &[f32], &[f32]),
        shape: AttentionShape,
        scale: f32,
        out: &mut [f32],
    ) -> Result<(), Fault> {
        self.attention_from((q, k, v), shape, scale, None, out)
    }

    /// As [`Self::attention`]; with `first`, query i sees the keys `0 ..= first + i` only.
    ///
    /// # Errors
    /// [`Fault`] where an input, a visible score or a result is not finite.
    ///
    /// # Panics
    /// Where lengths do not fit the shape, or a query would see more keys than there are.
    pub fn attention_from(
        &self,
        (q, k, v): (&[f32], &[f32], &[f32]),
        shape: AttentionShape,
        scale: f32,
        first: Option<usize>,
        out: &mut [f32],
    ) -> Result<(), Fault> {
        let width = shape.heads * shape.head_dim;
        assert!(k.len() == shape.tokens * width && v.len() == k.len(), "keys of an attention");
        assert!(q.len() == out.len() && q.len().is_multiple_of(width), "queries of an attention");
        let queries = q.len() / width;
        assert!(first.is_none_or(|f| f + queries <= shape.tokens), "keys that a query sees");
        let head = |h: usize| {
            let mut y = vec![0.0; queries * shape.head_dim];
            ieee(|| attention_rows(self.isa, (q, k, v), (shape, h), scale, first, &mut y))?;
            Ok(y)
        };
        let heads: Vec<Vec<f32>> = match &self.pool {
            Some(pool) if queries * shape.tokens * width >= PARALLEL_MIN => pool
                .install(|| (0..shape.heads).into_par_iter().map(head).collect::<Result<_, _>>())?,
            _ => (0..shape.heads).map(head).collect::<Result<_, _>>()?,
        };
        for (h, y) in heads.iter().enumerate() {
            let rows = out.chunks_exact_mut(width).zip(y.chunks_exact(shape.head_dim));
            for (out, y) in rows {
                out[h * shape.head_dim..][..shape.head_dim].copy_from_slice(y);
            }
        }
        Ok(())
    }

    /// ARGMAX.
    ///
    /// # Errors
    /// [`Fault`] where an input is not finite, or there is none.
    pub fn argmax(&self, x: &[f32]) -> Result<u32, Fault> {
        ieee(|| ops::argmax(x))
    }

    /// SAMPLE.
    ///
    /// # Errors
    /// [`Fault`] where a logit is not finite, or there is none.
    pub fn sample(&self, logits: &[f32], how: Sampling) -> Result<u32, Fault> {
        ieee(|| ops::sample(logits, how))
    }

    /// Cuts `out [rows, cols]` into runs of rows, at most `rows_max` long, and gives each with its first
    /// row to `work`, on all threads where that is worth it.
    fn split(
        &self,
        out: &mut [f32],
        cols: usize,
        rows_max: usize,
        work: impl Fn(usize, &mut [f32]) -> Result<(), Fault> + Sync,
    ) -> Result<(), Fault> {
        let rows = out.len() / cols;
        let run = |rows_run: usize, (i, out): (usize, &mut [f32])| ieee(|| work(i * rows_run, out));
        match &self.pool {
            Some(pool) if out.len() >= PARALLEL_MIN && rows > 1 => {
                let rows_run = rows.div_ceil(self.threads).min(rows_max);
                pool.install(|| {
                    let runs = out.par_chunks_mut(rows_run * cols).enumerate();
                    runs.map(|part| run(rows_run, part)).reduce(|| Ok(()), Result::and)
                })
            }
            _ => {
                let rows_run = rows.clamp(1, rows_max);
                out.chunks_mut(rows_run * cols).enumerate().try_for_each(|part| run(rows_run, part))
            }
        }
    }
}

macro_rules! map_methods {
    ($($(#[$doc:meta])* $name:ident = $body:path;)*) => {
        per_isa! {
            $($name(x: &[f32], out: &mut [f32]) -> Result<(), Fault> = $body;)*
        }

        impl Cpu {$(
            $(#[$doc])*
            ///
            /// # Errors
            /// [`Fault`] where a result is not finite.
            pub fn $name(&self, x: &[f32], out: &mut [f32]) -> Result<(), Fault> {
                self.split(out, 1, usize::MAX, |first, out| {
                    $name(self.isa, &x[first..][..out.len()], out)
                })
            }
        )*}
    };
}

map_methods! {
    /// EXPN of every value, all of them at most 0.
    expn = ops::expn_map;
    /// SIGMOID of every value.
    sigmoid = ops::sigmoid_map;
    /// SILU of every value.
    silu = ops::silu_map;
    /// `GELU_TANH` of every value.
    gelu_tanh = ops::gelu_tanh_map;
    /// `GELU_ERF` of every value.
    gelu_erf = ops::gelu_erf_map;
}

per_isa! {
    add(a: &[f32], b: &[f32], out: &mut [f32]) -> Result<(), Fault> = ops::add;
    swiglu(gate: &[f32], up: &[f32], out: &mut [f32]) -> Result<(), Fault> = ops::swiglu;
    layernorm(x: &[f32], gb: (&[f32], &[f32]), eps: f32, out: &mut [f32]) -> Result<(), Fault>
        = layernorm_rows;
    rmsnorm(x: &[f32], g: &[f32], eps: f32, out: &mut [f32]) -> Result<(), Fault> = rmsnorm_rows;
    l2norm(x: &[f32], cols: usize, out: &mut [f32]) -> Result<(), Fault> = l2norm_rows;
    pool_mean(x: &[f32], out: &mut [f32]) -> Result<(), Fault> = ops::pool_mean;
    rope(x: &[f32], tables: (&[f32], &[f32]), rows: usize, out: &mut [f32]) -> Result<(), Fault>
        = rope_rows;
}

#[inline(always)]
fn layernorm_rows(
    x: &[f32],
    (g, b): (&[f32], &[f32]),
    eps: f32,
    out: &mut [f32],
) -> Result<(), Fault> {
    let rows = x.chunks_exact(g.len()).zip(out.chunks_exact_mut(g.len()));
    for (x, out) in rows {
        ops::layernorm_row(x, g, b, eps, out)?;
    }
    Ok(())
}

#[inline(always)]
fn rmsnorm_rows(x: &[f32], g: &[f32], eps: f32, out: &mut [f32]) -> Result<(), Fault> {
    let rows = x.chunks_exact(g.len()).zip(out.chunks_exact_mut(g.len()));
    for (x, out) in rows {
        ops::rmsnorm_row(x, g, eps, out)?;
    }
    Ok(())
}

#[inline(always)]
fn l2norm_rows(x: &[f32], cols: usize, out: &mut [f32]) -> Result<(), Fault> {
    let rows = x.chunks_exact(cols).zip(out.chunks_exact_mut(cols));
    for (x, out) in rows {
        ops::l2norm_row(x, out)?;
    }
    Ok(())
}

#[inline(always)]
fn rope_rows(
    x: &[f32],
    (cos, sin): (&[f32], &[f32]),
    rows: usize,
    out: &mut [f32],
) -> Result<(), Fault> {
    let (width, half) = (x.len() / rows, cos.len() / rows);
    let tables = cos.chunks_exact(half).zip(sin.chunks_exact(half));
    for ((x, out), (cos, sin)) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)).zip(tables)
    {
        for (x, out) in x.chunks_exact(2 * half).zip(out.chunks_exact_mut(2 * half)) {
            ops::rope_row(x, cos, sin, out)?;
        }
    }
    Ok(())
}
