//! One copy of the chain.

use std::collections::BTreeMap;
use std::sync::Mutex;

use lockstep_chain::envelope::{K256, Verifier};
use lockstep_chain::state::{MemoryState, Writes};
use lockstep_chain::tree::{Blake3Rule, LeafWrite, Sequential, Tree};

/// A [`K256`] that remembers, so that many replicas cost one check.
#[derive(Debug, Default)]
pub struct Remembers(Mutex<BTreeMap<Asked, bool>>);

/// Key, digest and signature.
type Asked = ([u8; 33], [u8; 32], [u8; 64]);

impl Verifier for Remembers {
    fn verify(&self, key: &[u8; 33], digest: &[u8; 32], signature: &[u8; 64]) -> bool {
        let mut known = self.0.lock().unwrap();
        *known
            .entry((*key, *digest, *signature))
            .or_insert_with(|| K256.verify(key, digest, signature))
    }
}

/// One copy of the chain.
#[derive(Debug)]
pub struct Replica {
    /// The committed state.
    pub state: MemoryState,
    pub(super) tree: Tree<Blake3Rule>,
}

impl Replica {
    pub(super) fn new(writes: &Writes) -> Self {
        let mut replica = Self { state: MemoryState::default(), tree: Tree::default() };
        replica.commit(writes.clone());
        replica
    }

    pub(super) fn commit(&mut self, writes: Writes) -> [u8; 32] {
        let pending = self.tree.root_after(&Sequential, &writes).unwrap();
        self.tree.commit(&Sequential, pending).unwrap();
        self.state.apply(writes);
        self.tree.root().unwrap()
    }

    /// The root of a tree that is built anew from the whole state.
    pub(super) fn rebuilt_root(&self) -> [u8; 32] {
        let leaf = |(position, (key, value)): (u32, (&Vec<u8>, &Vec<u8>))| {
            LeafWrite::new::<Blake3Rule>(key, Some(value), position)
        };
        let leaves = (0..).zip(&self.state.0).map(leaf).collect();
        Tree::<Blake3Rule>::build(&Sequential, leaves).unwrap().root().unwrap()
    }
}
