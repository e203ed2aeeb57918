//! Repeats a run with tracing: any leaves of its trace, and what proves one of them.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use rayon::prelude::*;

use super::error::{Output, Source, TraceError};
use super::evaluate::{Constants, Failed, Kept, Part, Run};
use super::witness::{Content, Witness, constant_leaves};
use super::{Layout, leaf_hash};
use crate::artefact::Manifest;
use crate::hash::Hash;
use crate::interp::{Model, output_bytes};
use crate::merkle;
use crate::ops::Cpu;
use crate::result::{Status, input_bytes, output_root};

/// Leaves whose hashes are computed together, on all threads.
const LEAVES_AT_ONCE: u64 = 1 << 16;
/// Leaves that one thread computes in a row.
const LEAVES_IN_A_ROW: u64 = 16;

/// A run that can be repeated with tracing, any part of it on demand. Keeps no
/// values and no leaves, of the artefact at most 64 MiB.
pub struct Tracer {
    model: Arc<Model>,
    cpu: Arc<Cpu>,
    constants: Constants,
    ids: Vec<u32>,
    layout: Layout,
    output: Output,
    /// The first leaf that is a FAULT.
    fault: Option<u64>,
    overrides: BTreeMap<u64, (Status, Vec<u8>)>,
}

impl Tracer {
    /// Runs once without tracing. `source` is the artefact that `model` was loaded from, `cpu` an
    /// engine of the model's instruction set.
    ///
    /// A token id outside the vocabulary makes the run a FAULT.
    ///
    /// # Errors
    /// [`TraceError::Tokens`], or [`TraceError::Artefact`] where a run that faults needs the artefact to
    /// find the leaf.
    pub fn new(
        model: Arc<Model>,
        cpu: Arc<Cpu>,
        source: Arc<dyn Source>,
        ids: &[u32],
    ) -> Result<Self, TraceError> {
        let verified = model.manifest().verified();
        let tokens_max = verified.tokens_max();
        let Some(tokens) = u32::try_from(ids.len()).ok().filter(|n| (1..=tokens_max).contains(n))
        else {
            return Err(TraceError::Tokens { tokens: ids.len(), tokens_max });
        };
        let layout = Layout::new(verified, tokens);
        let output = Output { status: Status::Fault, bytes: Vec::new(), root: [0; 32] };
        let mut tracer = Self {
            constants: Constants::new(source),
            ids: ids.to_vec(),
            layout,
            output,
            fault: None,
            overrides: BTreeMap::new(),
            model,
            cpu,
        };
        tracer.run()?;
        Ok(tracer)
    }

    fn run(&mut self) -> Result<(), TraceError> {
        let verified = self.model.manifest().verified();
        let (mut output, mut fault) = (None, None);
        self.walk(&mut |part| {
            if part.fault {
                fault = Some(self.first_fault(part)?);
            } else if part.number + 1 == self.layout.parts() {
                output = Some(output_bytes(part.values.of(verified.program().output)));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        let status = if output.is_some() { Status::Halted } else { Status::Fault };
        let cols = if output.is_some() { verified.output_values() } else { 0 };
        let rows = u32::from(output.is_some());
        let bytes = output.unwrap_or_default();
        let root = output_root(rows, cols, &bytes).unwrap_or_default();
        (self.output, self.fault) = (Output { status, bytes, root }, fault);
        Ok(())
    }

    /// Says of one leaf something else than the run gave: a liar's trace, for tests and fault injection.
    #[must_use]
    pub fn with_override(mut self, position: u64, status: Status, block: Vec<u8>) -> Self {
        self.overrides.insert(position, (status, block));
        self
    }

    /// The artefact's manifest.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        self.model.manifest()
    }

    /// The numbering of the leaves.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Number of leaves.
    #[must_use]
    pub fn leaf_count(&self) -> u64 {
        self.layout.leaf_count()
    }

    /// How the run ended; overrides do not show here.
    #[must_use]
    pub fn output(&self) -> &Output {
        &self.output
    }

    /// The first leaf that is a FAULT.
    #[cfg(test)]
    pub(super) fn first_fault_of_run(&self) -> Option<u64> {
        self.fault
    }

    /// The hashes of a range of leaves.
    ///
    /// # Errors
    /// [`TraceError`].
    pub fn leaves(&self, range: Range<u64>) -> Result<Vec<Hash>, TraceError> {
        let mut all = Vec::new();
        self.stream(range, &mut |hashes| all.extend(hashes))?;
        Ok(all)
    }

    /// [`Tracer::leaves`], given away piece by piece.
    pub(super) fn stream(
        &self,
        range: Range<u64>,
        sink: &mut (dyn FnMut(Vec<Hash>) + Send),
    ) -> Result<(), TraceError> {
        self.each(&[range], &mut |part, range| {
            for range in pieces(range, LEAVES_AT_ONCE) {
                let hashes = self.in_rows(range, &|number| {
                    let (status, block) = self.content(part, number)?;
                    Ok(leaf_hash(number, status, &block))
                })?;
                sink(hashes);
            }
            Ok(())
        })
    }

    /// Status and block of one leaf.
    ///
    /// # Errors
    /// [`TraceError`].
    pub fn leaf(&self, position: u64) -> Result<(Status, Vec<u8>), TraceError> {
        let missing = TraceError::Position { position, count: self.leaf_count() };
        let (status, block) = self.contents(&[position])?.pop().ok_or(missing)?;
        Ok((status, block.to_vec()))
    }

    /// The witness of the leaf at `position`, against a trace whose nodes `node` gives: the own one, or
    /// that of the other party, which may differ in leaves from `position` on. `artefact` is the tree
    /// over the artefact's leaves.
    ///
    /// # Errors
    /// [`TraceError`].
    pub fn witness(
        &self,
        position: u64,
        node: &dyn Fn(u32, u64) -> Option<Hash>,
        artefact: &merkle::Tree,
    ) -> Result<Vec<u8>, TraceError> {
        let count = self.leaf_count();
        let missing = || TraceError::Position { position, count };
        let leaf = self.layout.find(position).ok_or_else(missing)?;
        let needs = leaf.steps.needs(leaf.family, leaf.at, &self.ids);
        let opened = self.layout.opened(position, leaf.part, &needs).ok_or_else(missing)?;
        let constants = constant_leaves(&needs, self.manifest().layout()).ok_or_else(missing)?;
        let contents = self.contents(&opened)?.into_iter();
        let known =
            |(level, position)| node(level, position).ok_or(TraceError::Node { level, position });
        let in_artefact = |(level, position)| {
            artefact.node(level, position).ok_or(TraceError::Node { level, position })
        };
        let constants_read = constants.iter().map(|number| self.constants.leaf(*number));
        let siblings = merkle::siblings_of(count, &opened).into_iter().map(known);
        let beside = merkle::siblings_of(artefact.count(), &constants).into_iter().map(in_artefact);
        let reads_input = leaf.steps.reads_input(leaf.family);
        let witness = Witness {
            leaves: contents
                .map(|(status, block)| Content { status: status.byte(), block: block.to_vec() })
                .collect(),
            siblings: siblings.collect::<Result<_, _>>()?,
            constants: constants_read
                .map(|leaf| leaf.map(|leaf| leaf.to_vec()))
                .collect::<Result<_, _>>()?,
            constant_siblings: beside.collect::<Result<_, _>>()?,
            input: if reads_input { input_bytes(&self.ids) } else { Vec::new() },
        };
        Ok(witness.encode())
    }

    /// What these leaves hold, whose numbers rise.
    fn contents(&self, numbers: &[u64]) -> Result<Vec<Held>, TraceError> {
        let ranges: Vec<Range<u64>> = numbers.iter().map(|number| *number..number + 1).collect();
        let mut contents = Vec::new();
        self.each(&ranges, &mut |part, range| {
            contents.push(self.content(part, range.start)?);
            Ok(())
        })?;
        Ok(contents)
    }

    /// What a leaf holds; `part` is the one it belongs to where the run got that far.
    fn content(&self, part: Option<&Part<'_>>, number: u64) -> Result<Held, TraceError> {
        if let Some((status, block)) = self.overrides.get(&number) {
            return Ok((*status, block.as_slice().into()));
        }
        let Some(part) = part.filter(|_| self.fault.is_none_or(|fault| number < fault)) else {
            return Ok((Status::Fault, Arc::new([])));
        };
        let last = number + 1 == self.leaf_count();
        match part.block(number) {
            Ok(block) => Ok((if last { Status::Halted } else { Status::Run }, block)),
            Err(Failed::Error(error)) => Err(error),
            Err(Failed::Fault) => Err(TraceError::Inconsistent { position: number }),
        }
    }

    /// Gives `work` each range of leaves, which rise and do not overlap, cut where parts of the trace
    /// end, with the part where the run got that far.
    fn each(&self, ranges: &[Range<u64>], work: &mut Work<'_>) -> Result<(), TraceError> {
        let count = self.leaf_count();
        let end = ranges.last().map_or(0, |range| range.end);
        if end > count {
            return Err(TraceError::Position { position: end - 1, count });
        }
        let mut done = 0;
        let overlaps = |from: u64, to: u64| {
            let cut = ranges.iter().map(move |range| range.start.max(from)..range.end.min(to));
            cut.filter(|range| !range.is_empty())
        };
        self.walk(&mut |part| {
            let leaves = part.leaves();
            overlaps(leaves.start, leaves.end).try_for_each(|range| work(Some(part), range))?;
            done = leaves.end;
            let flow = if done >= end { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
            Ok(flow)
        })?;
        overlaps(done, count).try_for_each(|range| work(None, range))
    }

    /// Shows the parts of the run in order, the result last unless it faulted before.
    fn walk(&self, visit: &mut Visit<'_>) -> Result<(), TraceError> {
        let run = Run {
            layout: &self.layout,
            manifest: self.manifest(),
            constants: &self.constants,
            ids: &self.ids,
            isa: self.cpu.isa(),
        };
        let result = self.layout.parts() - 1;
        self.cpu.install(|| {
            self.model.walk(&self.cpu, &self.ids, &mut |number, done, values| {
                let number = number as usize;
                let of = |number, fault| Part {
                    run: &run,
                    number,
                    fault,
                    values,
                    kept: Kept::default(),
                };
                let flow = visit(&of(number, done.is_err()))?;
                if number + 1 == result && done.is_ok() && flow.is_continue() {
                    return visit(&of(result, false));
                }
                Ok(flow)
            })
        })
    }

    /// The first leaf of a part that faults.
    fn first_fault(&self, part: &Part<'_>) -> Result<u64, TraceError> {
        for range in pieces(part.leaves(), LEAVES_AT_ONCE) {
            let faults = self.in_rows(range, &|number| match part.block(number) {
                Ok(_) => Ok(None),
                Err(Failed::Fault) => Ok(Some(number)),
                Err(Failed::Error(error)) => Err(error),
            })?;
            if let Some(first) = faults.into_iter().flatten().next() {
                return Ok(first);
            }
        }
        Err(TraceError::Inconsistent { position: part.leaves().start })
    }

    /// Works on every leaf of a range, on all threads, a row of leaves at a time.
    fn in_rows<T: Send>(
        &self,
        range: Range<u64>,
        work: &(dyn Fn(u64) -> Result<T, TraceError> + Sync),
    ) -> Result<Vec<T>, TraceError> {
        let row = |range: Range<u64>| range.map(work).collect();
        let rows: Vec<Range<u64>> = pieces(range, LEAVES_IN_A_ROW).collect();
        let done: Result<Vec<Vec<T>>, TraceError> = if self.cpu.threads() == 1 {
            rows.into_iter().map(row).collect()
        } else {
            rows.into_par_iter().map(row).collect()
        };
        Ok(done?.into_iter().flatten().collect())
    }
}

/// What a leaf of this trace holds.
type Held = (Status, Arc<[u8]>);
type Work<'a> = dyn FnMut(Option<&Part<'_>>, Range<u64>) -> Result<(), TraceError> + Send + 'a;
type Visit<'a> = dyn FnMut(&Part<'_>) -> Result<ControlFlow<()>, TraceError> + Send + 'a;

/// Cuts a range into pieces of at most `size`.
fn pieces(range: Range<u64>, size: u64) -> impl Iterator<Item = Range<u64>> {
    let starts = range.clone().step_by(usize::try_from(size).unwrap_or(usize::MAX));
    starts.map(move |start| start..range.end.min(start + size))
}
