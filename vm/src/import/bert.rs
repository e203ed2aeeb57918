//! BERT encoders as programs, and where each of their tensors comes from.

use super::config::Config;
use super::weights::Weights;
use super::{ImportError, Options};
use crate::program::{Activations, FORMAT, Index, Input, Op, Program, Tensor, TensorId, ValueId};

/// A program with the origin of its tensors.
#[derive(Debug)]
pub(super) struct Blueprint {
    pub(super) program: Program,
    /// By tensor.
    pub(super) sources: Vec<Source>,
    /// The linear layers in order: operator and name.
    pub(super) linears: Vec<(ValueId, String)>,
    /// What the file of weights must hold: name and shape.
    needed: Vec<(String, Vec<usize>)>,
}

/// Where a tensor's values come from.
#[derive(Debug)]
pub(super) enum Source {
    /// The first rows of a table.
    Rows { name: String, rows: usize, cols: usize },
    /// A matrix, quantised; of the so many-th linear layer.
    Weight { name: String, cols: usize, layer: usize },
    /// The smoothing vector of a linear layer.
    Smoothing { layer: usize },
}

struct Builder<'a> {
    blueprint: Blueprint,
    config: &'a Config,
    options: &'a Options,
}

impl Blueprint {
    pub(super) fn new(config: &Config, options: &Options) -> Result<Self, ImportError> {
        let program = Program {
            format: FORMAT,
            input: Input::TokenIds { vocabulary: config.vocabulary, tokens_max: config.tokens_max },
            tensors: Vec::new(),
            ops: Vec::new(),
            output: 0,
        };
        let blueprint =
            Self { program, sources: Vec::new(), linears: Vec::new(), needed: Vec::new() };
        let mut builder = Builder { blueprint, config, options };
        builder.encoder();
        for name in options.overrides.keys() {
            let mut layers = builder.blueprint.linears.iter().map(|(_, layer)| layer.as_str());
            if !layers.clone().any(|layer| layer.contains(name)) {
                let layers = layers.by_ref().collect::<Vec<_>>().join(", ");
                return Err(ImportError::NoLayer { name: name.clone(), layers });
            }
        }
        Ok(builder.blueprint)
    }

    /// Checks that the file holds the tensors needed, with their shapes, and nothing unknown.
    pub(super) fn check(&self, weights: &Weights) -> Result<(), ImportError> {
        let unused = ["embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias"];
        for name in weights.names() {
            let known = self.needed.iter().any(|(needed, _)| *needed == name);
            if !known && !unused.contains(&name.as_str()) && !name.starts_with("cls.") {
                return Err(ImportError::UnknownTensor(name));
            }
        }
        for (name, expected) in &self.needed {
            let found = weights.shape(name)?;
            if found != *expected {
                let (name, expected) = (name.clone(), expected.clone());
                return Err(ImportError::TensorShape { name, found, expected });
            }
        }
        Ok(())
    }
}

impl Builder<'_> {
    fn op(&mut self, op: Op) -> ValueId {
        let ops = &mut self.blueprint.program.ops;
        ops.push(op);
        number(ops.len() - 1)
    }

    fn tensor(&mut self, tensor: Tensor, source: Source) -> TensorId {
        let tensors = &mut self.blueprint.program.tensors;
        tensors.push(tensor);
        self.blueprint.sources.push(source);
        number(tensors.len() - 1)
    }

    /// A table whose first `rows` of `rows_there` are kept.
    fn rows(&mut self, name: &str, rows: u32, rows_there: u32, cols: u32) -> TensorId {
        let (name, shape) = (name.to_owned(), vec![rows_there as usize, cols as usize]);
        self.blueprint.needed.push((name.clone(), shape));
        let source = Source::Rows { name, rows: rows as usize, cols: cols as usize };
        self.tensor(Tensor::F32 { rows, cols }, source)
    }

    fn vector(&mut self, name: String, cols: u32) -> TensorId {
        self.blueprint.needed.push((name.clone(), vec![cols as usize]));
        let source = Source::Rows { name, rows: 1, cols: cols as usize };
        self.tensor(Tensor::F32 { rows: 1, cols }, source)
    }

    fn norm(&mut self, x: ValueId, name: &str) -> ValueId {
        let hidden = self.config.hidden;
        let gain = self.vector(format!("{name}.weight"), hidden);
        let bias = self.vector(format!("{name}.bias"), hidden);
        let eps_bits = self.config.eps.to_bits();
        self.op(Op::LayerNorm { x, gain, bias, eps_bits })
    }

    fn linear(&mut self, x: ValueId, name: String, n: u32, k: u32) -> ValueId {
        let layer = self.blueprint.linears.len();
        let weight_name = format!("{name}.weight");
        self.blueprint.needed.push((weight_name.clone(), vec![n as usize, k as usize]));
        let source = Source::Weight { name: weight_name, cols: k as usize, layer };
        let weight = self.tensor(Tensor::I8 { rows: n, cols: k }, source);
        let bias = Some(self.vector(format!("{name}.bias"), n));
        let smoothing = (!self.options.calibration.is_empty())
            .then(|| self.tensor(Tensor::F32 { rows: 1, cols: k }, Source::Smoothing { layer }));
        let activations = self.activations(&name);
        let value = self.op(Op::Linear { x, weight, bias, smoothing, activations });
        self.blueprint.linears.push((value, name));
        value
    }

    fn activations(&self, layer: &str) -> Activations {
        let named = self.options.overrides.iter().rev().find(|(name, _)| layer.contains(*name));
        named.map_or(self.options.activations, |(_, activations)| *activations)
    }

    fn encoder(&mut self) {
        let mut x = self.embeddings();
        for layer in 0..self.config.layers {
            x = self.layer(x, &format!("encoder.layer.{layer}"));
        }
        x = self.op(Op::PoolMean { x });
        if self.config.normalise {
            x = self.op(Op::L2Norm { x });
        }
        self.blueprint.program.output = x;
    }

    fn embeddings(&mut self) -> ValueId {
        let Config { hidden, vocabulary, positions, token_types, tokens_max, .. } = *self.config;
        let name = |kind| format!("embeddings.{kind}_embeddings.weight");
        let words = self.rows(&name("word"), vocabulary, vocabulary, hidden);
        let places = self.rows(&name("position"), tokens_max, positions, hidden);
        let types = self.rows(&name("token_type"), 1, token_types, hidden);
        let a = self.op(Op::Embed { table: words, index: Index::Tokens });
        let b = self.op(Op::Embed { table: places, index: Index::Positions });
        let a = self.op(Op::Add { a, b });
        let b = self.op(Op::Embed { table: types, index: Index::Row(0) });
        let x = self.op(Op::Add { a, b });
        self.norm(x, "embeddings.LayerNorm")
    }

    fn layer(&mut self, x: ValueId, name: &str) -> ValueId {
        let Config { hidden, intermediate, .. } = *self.config;
        let mixed = self.attention(x, name);
        let mixed = self.op(Op::Add { a: x, b: mixed });
        let mixed = self.norm(mixed, &format!("{name}.attention.output.LayerNorm"));
        let wide = self.linear(mixed, format!("{name}.intermediate.dense"), intermediate, hidden);
        let wide = self.op(Op::Map { x: wide, map: self.config.activation });
        let back = self.linear(wide, format!("{name}.output.dense"), hidden, intermediate);
        let sum = self.op(Op::Add { a: mixed, b: back });
        self.norm(sum, &format!("{name}.output.LayerNorm"))
    }

    fn attention(&mut self, x: ValueId, name: &str) -> ValueId {
        let Config { hidden, heads, .. } = *self.config;
        let [q, k, v] = ["query", "key", "value"]
            .map(|part| self.linear(x, format!("{name}.attention.self.{part}"), hidden, hidden));
        let scale_bits = attention_scale(hidden / heads).to_bits();
        let mixed = self.op(Op::Attention { q, k, v, heads, scale_bits });
        self.linear(mixed, format!("{name}.attention.output.dense"), hidden, hidden)
    }
}

/// `1 / sqrt(d)`, computed in double precision and rounded once.
#[expect(clippy::cast_possible_truncation, reason = "the rounding is what is meant")]
fn attention_scale(head_dim: u32) -> f32 {
    (1.0 / f64::from(head_dim).sqrt()) as f32
}

fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
