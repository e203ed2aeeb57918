//! Static verification: after it, no input of 1 to `tokens_max` ids below `vocabulary` can overflow
//! an integer, read outside a tensor or exceed the cost that [`Verified::cost`] gives.

use super::error::{InputError, Place, VerifyError};
use super::plan::{Cost, Plan};
use super::shapes::{Rows, Shape};
use super::{FORMAT, Index, Input, Op, Program, Tensor, TensorId, ValueId};
use crate::limits::{
    COLS_MAX, DEPTH_MAX, HEAD_DIM_MAX, HEADS_MAX, MACS_MAX, MEMORY_BYTES_MAX, OPS_MAX,
    OUTPUT_VALUES_MAX, ROWS_MAX, TENSORS_MAX, TOKENS_MAX, TRACE_LEAVES_MAX, VOCABULARY_MAX,
};
use crate::trace::Layout;

/// A program that passed [`verify`], with the shapes of its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    program: Program,
    shapes: Vec<Shape>,
    plan: Plan,
}

impl Verified {
    /// The program.
    #[must_use]
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// The shape of each operator's value.
    #[must_use]
    pub fn shapes(&self) -> &[Shape] {
        &self.shapes
    }

    /// Where values live during a run.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Token ids that an input may hold.
    #[must_use]
    pub fn tokens_max(&self) -> u32 {
        let Input::TokenIds { tokens_max, .. } = self.program.input;
        tokens_max
    }

    /// Every token id is below this.
    #[must_use]
    pub fn vocabulary(&self) -> u32 {
        let Input::TokenIds { vocabulary, .. } = self.program.input;
        vocabulary
    }

    /// f32 values of an output, which is one row.
    #[must_use]
    pub fn output_values(&self) -> u32 {
        usize::try_from(self.program.output)
            .ok()
            .and_then(|output| self.shapes.get(output))
            .map_or(0, |shape| shape.cols)
    }

    /// Whether a run may take so many token ids. One outside the vocabulary makes it a FAULT, which is
    /// a result like any other.
    ///
    /// # Errors
    /// [`InputError`].
    pub fn check_input(&self, ids: &[u32]) -> Result<(), InputError> {
        let tokens_max = self.tokens_max();
        let tokens = u32::try_from(ids.len()).unwrap_or(u32::MAX);
        if tokens == 0 {
            return Err(InputError::Empty { input: 0 });
        }
        if tokens > tokens_max {
            return Err(InputError::TooLong { input: 0, tokens, tokens_max });
        }
        Ok(())
    }

    /// What a run of one input of `tokens` ids takes, known before it runs. Never less for more
    /// tokens; saturates beyond `tokens_max`.
    #[must_use]
    pub fn cost(&self, tokens: u32) -> Cost {
        Cost::of(self, tokens.into())
    }

    /// Most bytes that the values and scratch of a batch take, where `tokens` is the sum of the
    /// lengths of its inputs.
    #[must_use]
    pub fn memory_bytes(&self, tokens: u64) -> u64 {
        self.plan.memory_bytes(tokens)
    }
}

/// Checks a program.
///
/// # Errors
/// The first thing found wrong.
pub fn verify(program: Program) -> Result<Verified, VerifyError> {
    if program.format != FORMAT {
        return Err(VerifyError::Format(program.format));
    }
    check_input(&program)?;
    for (number, tensor) in (0..).zip(&program.tensors) {
        check_tensor(Place::Tensor(number), tensor)?;
    }
    let mut checker = Checker {
        program: &program,
        shapes: Vec::with_capacity(program.ops.len()),
        tensors_used: vec![false; program.tensors.len()],
        values_used: vec![false; program.ops.len()],
    };
    for (number, op) in (0..).zip(&program.ops) {
        let shape = checker.op(Place::op(number, op), op)?;
        checker.shapes.push(shape);
    }
    checker.output()?;
    let shapes = checker.shapes;
    let plan = Plan::new(&program, &shapes);
    let verified = Verified { program, shapes, plan };
    let cost = verified.cost(verified.tokens_max());
    range(Place::Program, "its number of multiply-adds", cost.macs, 0, MACS_MAX)?;
    range(Place::Program, "its memory in bytes", cost.memory_bytes, 0, MEMORY_BYTES_MAX)?;
    let leaves = Layout::new(&verified, verified.tokens_max()).leaf_count();
    range(Place::Program, "its number of leaves of a trace", leaves, 1, TRACE_LEAVES_MAX)?;
    Ok(verified)
}

fn range(
    place: Place,
    what: &'static str,
    found: u64,
    min: u64,
    max: u64,
) -> Result<(), VerifyError> {
    if (min..=max).contains(&found) {
        return Ok(());
    }
    Err(VerifyError::Range { place, what, found, min, max })
}

fn length(list: usize) -> u64 {
    u64::try_from(list).unwrap_or(u64::MAX)
}

fn check_input(program: &Program) -> Result<(), VerifyError> {
    let place = Place::Program;
    let Input::TokenIds { vocabulary, tokens_max } = program.input;
    range(place, "its vocabulary", vocabulary.into(), 1, VOCABULARY_MAX.into())?;
    range(place, "its limit of tokens", tokens_max.into(), 1, TOKENS_MAX.into())?;
    let (tensors, ops) = (length(program.tensors.len()), length(program.ops.len()));
    range(place, "its number of tensors", tensors, 1, length(TENSORS_MAX))?;
    range(place, "its number of operators", ops, 1, length(OPS_MAX))
}

fn check_tensor(place: Place, tensor: &Tensor) -> Result<(), VerifyError> {
    let (rows, cols, cols_max) = match *tensor {
        Tensor::I8 { rows, cols } => (rows, cols, DEPTH_MAX),
        Tensor::F32 { rows, cols } => (rows, cols, COLS_MAX),
    };
    range(place, "its number of rows", rows.into(), 1, ROWS_MAX.into())?;
    range(place, "its number of columns", cols.into(), 1, cols_max.into())
}

/// A float that is finite and above zero, judged by its bits.
fn check_float(place: Place, what: &'static str, bits: u32) -> Result<(), VerifyError> {
    if (1..0x7f80_0000).contains(&bits) {
        return Ok(());
    }
    Err(VerifyError::Float { place, what, bits })
}

struct Checker<'a> {
    program: &'a Program,
    shapes: Vec<Shape>,
    tensors_used: Vec<bool>,
    values_used: Vec<bool>,
}

impl Checker<'_> {
    fn value(&mut self, place: Place, value: ValueId) -> Result<Shape, VerifyError> {
        let index = usize::try_from(value).unwrap_or(usize::MAX);
        let shape = self.shapes.get(index).ok_or(VerifyError::Later { place, value })?;
        if let Some(used) = self.values_used.get_mut(index) {
            *used = true;
        }
        Ok(*shape)
    }

    fn tokens(&mut self, place: Place, value: ValueId) -> Result<Shape, VerifyError> {
        let found = self.value(place, value)?;
        if found.rows == Rows::Tokens {
            return Ok(found);
        }
        let expected = "one row for each token".to_owned();
        Err(VerifyError::Shape { place, value, found, expected })
    }

    fn same(&mut self, place: Place, value: ValueId, shape: Shape) -> Result<(), VerifyError> {
        let found = self.value(place, value)?;
        if found == shape {
            return Ok(());
        }
        let expected = shape.to_string();
        Err(VerifyError::Shape { place, value, found, expected })
    }

    fn tensor(&mut self, place: Place, tensor: TensorId) -> Result<Tensor, VerifyError> {
        let index = usize::try_from(tensor).unwrap_or(usize::MAX);
        let found = self.program.tensors.get(index);
        let found = found.ok_or(VerifyError::NoTensor { place, tensor })?;
        if let Some(used) = self.tensors_used.get_mut(index) {
            *used = true;
        }
        Ok(*found)
    }

    fn matrix(&mut self, place: Place, tensor: TensorId) -> Result<(u32, u32), VerifyError> {
        match self.tensor(place, tensor)? {
            Tensor::I8 { rows, cols } => Ok((rows, cols)),
            Tensor::F32 { .. } => {
                Err(VerifyError::Kind { place, tensor, expected: "an int8 matrix" })
            }
        }
    }

    fn table(&mut self, place: Place, tensor: TensorId) -> Result<(u32, u32), VerifyError> {
        match self.tensor(place, tensor)? {
            Tensor::F32 { rows, cols } => Ok((rows, cols)),
            Tensor::I8 { .. } => Err(VerifyError::Kind { place, tensor, expected: "an f32 table" }),
        }
    }

    fn vector(&mut self, place: Place, tensor: TensorId, n: u32) -> Result<(), VerifyError> {
        let (rows, cols) = self.table(place, tensor)?;
        if (rows, cols) == (1, n) {
            return Ok(());
        }
        let expected = format!("[1, {n}]");
        Err(VerifyError::TensorShape { place, tensor, rows, cols, expected })
    }

    fn op(&mut self, place: Place, op: &Op) -> Result<Shape, VerifyError> {
        match *op {
            Op::Embed { table, index } => self.embed(place, table, index),
            Op::Add { a, b } => {
                let shape = self.value(place, a)?;
                self.same(place, b, shape)?;
                Ok(shape)
            }
            Op::LayerNorm { x, gain, bias, eps_bits } => {
                let shape = self.value(place, x)?;
                self.vector(place, gain, shape.cols)?;
                self.vector(place, bias, shape.cols)?;
                check_float(place, "eps", eps_bits)?;
                Ok(shape)
            }
            Op::Linear { x, weight, bias, smoothing, .. } => {
                self.linear(place, x, weight, bias, smoothing)
            }
            Op::Map { x, .. } | Op::L2Norm { x } => self.value(place, x),
            Op::Attention { q, k, v, heads, scale_bits } => {
                let shape = self.tokens(place, q)?;
                self.same(place, k, shape)?;
                self.same(place, v, shape)?;
                check_float(place, "scale", scale_bits)?;
                range(place, "its number of heads", heads.into(), 1, HEADS_MAX.into())?;
                if shape.cols.checked_rem(heads) != Some(0) {
                    let expected = format!("columns that divide by {heads} heads");
                    return Err(VerifyError::Shape { place, value: q, found: shape, expected });
                }
                let head_dim = u64::from(shape.cols.checked_div(heads).unwrap_or(0));
                range(place, "its columns of a head", head_dim, 1, HEAD_DIM_MAX.into())?;
                Ok(shape)
            }
            Op::PoolMean { x } => {
                let shape = self.tokens(place, x)?;
                Ok(Shape { rows: Rows::One, cols: shape.cols })
            }
        }
    }

    fn embed(
        &mut self,
        place: Place,
        tensor: TensorId,
        index: Index,
    ) -> Result<Shape, VerifyError> {
        let (rows, cols) = self.table(place, tensor)?;
        let Input::TokenIds { vocabulary, tokens_max } = self.program.input;
        let fits = match index {
            Index::Tokens => rows == vocabulary,
            Index::Positions => rows >= tokens_max,
            Index::Row(row) => row < rows,
        };
        if fits {
            return Ok(Shape { rows: Rows::Tokens, cols });
        }
        let expected = match index {
            Index::Tokens => format!("one row for each of {vocabulary} token ids"),
            Index::Positions => format!("at least {tokens_max} rows, one for each position"),
            Index::Row(row) => format!("more than {row} rows"),
        };
        Err(VerifyError::TensorShape { place, tensor, rows, cols, expected })
    }

    fn linear(
        &mut self,
        place: Place,
        x: ValueId,
        weight: TensorId,
        bias: Option<TensorId>,
        smoothing: Option<TensorId>,
    ) -> Result<Shape, VerifyError> {
        let shape = self.value(place, x)?;
        let (n, k) = self.matrix(place, weight)?;
        if shape.cols != k {
            let expected = format!("{k} columns, as many as weight tensor {weight} has");
            return Err(VerifyError::Shape { place, value: x, found: shape, expected });
        }
        range(place, "its number of outputs", n.into(), 1, COLS_MAX.into())?;
        if let Some(bias) = bias {
            self.vector(place, bias, n)?;
        }
        if let Some(smoothing) = smoothing {
            self.vector(place, smoothing, k)?;
        }
        Ok(Shape { rows: shape.rows, cols: n })
    }

    fn output(&mut self) -> Result<(), VerifyError> {
        let value = self.program.output;
        let found = self.value(Place::Program, value)?;
        if found.rows != Rows::One {
            let expected = "one row, as the output of a program".to_owned();
            return Err(VerifyError::Shape { place: Place::Program, value, found, expected });
        }
        let values = u64::from(found.cols);
        range(Place::Program, "its values of an output", values, 1, OUTPUT_VALUES_MAX.into())?;
        if let Some((number, _)) = (0..).zip(&self.tensors_used).find(|(_, used)| !**used) {
            return Err(VerifyError::UnusedTensor(number));
        }
        if let Some((number, _)) = (0..).zip(&self.values_used).find(|(_, used)| !**used) {
            return Err(VerifyError::UnusedValue(number));
        }
        Ok(())
    }
}
