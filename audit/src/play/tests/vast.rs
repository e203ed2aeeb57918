//! A game over as many leaves as a trace may have, of which only those that differ are kept.

use std::collections::BTreeMap;

use lockstep_proto::lockstep::job::v1::RunStatus;
use lockstep_vm::hash::{Hash, hash};
use lockstep_vm::limits::TRACE_LEAVES_MAX;
use lockstep_vm::merkle::{OPEN_LEVELS, below, leaf_hash, level_above, root_of_top, under};

use super::court::{Court, Party};
use super::{HONEST, LIAR};
use crate::play::{Answer, Evidence, Nodes, PlayError};

/// A trace of `1 << levels` leaves. Below what is opened nothing is known.
#[derive(Clone)]
struct Vast {
    levels: u32,
    known: BTreeMap<u64, Hash>,
}

impl Vast {
    /// Says this at one leaf and at the last one, which is the answer.
    fn new(levels: u32, at: u64, says: &[u8]) -> Self {
        let leaf = |at| (at, leaf_hash(at, says));
        Self { levels, known: [at, (1 << levels) - 1].map(leaf).into() }
    }

    fn hash(&self, level: u32, position: u64) -> Hash {
        let first = position << level;
        let known = self.known.range(first..first + (1 << level)).next();
        match known {
            Some((_, leaf)) if level == 0 => *leaf,
            None if level == 0 || (self.levels - level).is_multiple_of(OPEN_LEVELS) => {
                hash("lockstep/test/v1", &[&level.to_le_bytes(), &position.to_le_bytes()])
            }
            _ => {
                let children = [0, 1].map(|at| self.hash(level - 1, 2 * position + at));
                level_above(level, position, &children)[0]
            }
        }
    }
}

impl Evidence for Vast {
    fn answer(&self) -> Answer {
        let root = *self.known.last_key_value().unwrap().1;
        Answer { status: RunStatus::Halted, output_root: root, result_root: root }
    }

    fn again(&self) -> Result<bool, PlayError> {
        Ok(true)
    }

    fn is_traced(&self) -> bool {
        true
    }

    fn leaves(&self) -> u64 {
        1 << self.levels
    }

    fn steps_root(&self) -> Result<Hash, PlayError> {
        Ok(root_of_top(self.leaves(), &self.hash(self.levels, 0)))
    }

    fn open(&self, level: u32, position: u64) -> Result<Vec<Hash>, PlayError> {
        let range = under(self.leaves(), level, position, below(level)).unwrap();
        Ok(range.map(|at| self.hash(below(level), at)).collect())
    }

    fn node(&self, level: u32, position: u64) -> Result<Hash, PlayError> {
        Ok(self.hash(level, position))
    }

    fn witness(&self, _: u64, _: Nodes<'_>) -> Result<Vec<u8>, PlayError> {
        Ok(Vec::new())
    }

    fn recompute(&self, _: &Hash, leaf: u64, _: &[u8]) -> Result<Option<Hash>, PlayError> {
        Ok(Some(self.hash(0, leaf)))
    }
}

#[test]
fn a_game_takes_two_blocks_more_for_each_256_times_as_many_leaves_and_eight_at_most() {
    assert_eq!(TRACE_LEAVES_MAX, 1 << 30);
    for (levels, blocks) in [(8, 2), (9, 4), (16, 4), (17, 6), (24, 6), (25, 8), (30, 8)] {
        for at in [0, (1 << levels) / 3, (1 << levels) - 2] {
            let [right, wrong] = [b"right", b"wrong"].map(|says| Vast::new(levels, at, says));
            let truth = right.clone();
            let judge = move |_: &Hash, leaf: u64, _: &[u8]| Some(truth.hash(0, leaf));
            let members = [([HONEST; 20], right.answer()), ([LIAR; 20], wrong.answer())];
            let mut court = Court::before(Box::new(judge), right.leaves(), &members);
            let mut parties = [
                Party::new(HONEST, right.clone(), false, false),
                Party::new(LIAR, wrong, false, true),
            ];
            while !court.trial.traces.iter().any(|trace| trace.fallen) {
                let turns = parties.iter_mut().flat_map(|party| {
                    let moves = court.turn(&mut party.seat).into_iter();
                    moves.map(|(_, it)| (party.account, it)).collect::<Vec<_>>()
                });
                let moves = turns.collect();
                court.block(moves);
            }
            let fallen: Vec<_> = court.trial.traces.iter().filter(|it| it.fallen).collect();
            assert_eq!(fallen.len(), 1, "{levels} {at}");
            assert_eq!(fallen[0].account, [LIAR; 20], "{levels} {at}");
            assert_eq!(court.height, blocks, "{levels} {at}");
        }
    }
}
