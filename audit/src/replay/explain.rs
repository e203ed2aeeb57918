//! Where a root differs, the keys that make it so, if the source is a node that can be asked.

use std::collections::BTreeSet;
use std::path::Path;

use lockstep_chain::state::MemoryState;

use super::Ledger;
use crate::Result;
use crate::compare::{Node, States, describe_key, describe_value};
use crate::report::Difference;

/// Adds the first key that differs after the last block, where the node at `url` says more than its
/// blocks do. It need not: then the difference stays as it is.
pub(super) fn root(difference: &mut Difference, url: &str, ledger: &Ledger) {
    // An address is asked as it is: no program is run for it.
    let Ok(node) = Node::open(url, Path::new("")) else { return };
    // Of the state before the first block no node can be asked: 0 stands for the last height.
    if ledger.position().block_id.is_none() {
        return;
    }
    let height = ledger.position().height;
    let found = ledger.with_state(|state| key(state, ledger.last_keys(), &node, height));
    let Ok(Some((key, own, theirs))) = found else { return };
    let roots = format!("the root is {}, not {}", difference.expected, difference.found);
    difference.note = format!("{}; {}", difference.note, roots.replace('"', ""));
    difference.key = Some(describe_key(&key));
    difference.expected = describe_value(&key, own.as_deref());
    difference.found = describe_value(&key, theirs.as_deref());
}

type Pair = (Vec<u8>, Option<Vec<u8>>, Option<Vec<u8>>);

/// Of the keys that either side wrote, the first whose values differ.
fn key(
    state: &MemoryState,
    own: &BTreeSet<Vec<u8>>,
    node: &impl States,
    height: u64,
) -> Result<Option<Pair>> {
    let mut keys = own.clone();
    keys.extend(node.changes(height).unwrap_or_default());
    for key in keys {
        let (ours, theirs) = (state.0.get(&key), node.value(&key, height)?);
        if ours != theirs.as_ref() {
            return Ok(Some((key, ours.cloned(), theirs)));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use lockstep_proto::lockstep::audit::v1::{Entry, QueryHeightsResponse};

    use super::*;

    /// A node whose last block wrote keys 1 and 2.
    struct Fixed(BTreeMap<Vec<u8>, Vec<u8>>);

    impl States for Fixed {
        fn heights(&self) -> Result<QueryHeightsResponse> {
            Ok(QueryHeightsResponse::default())
        }
        fn root(&self, _: u64) -> Result<Vec<u8>> {
            Ok(Vec::new())
        }
        fn changes(&self, _: u64) -> Result<Vec<Vec<u8>>> {
            Ok(vec![vec![1], vec![2]])
        }
        fn value(&self, key: &[u8], _: u64) -> Result<Option<Vec<u8>>> {
            Ok(self.0.get(key).cloned())
        }
        fn entries(&self, _: &[u8], _: u64) -> Result<(Vec<Entry>, bool)> {
            Ok((Vec::new(), false))
        }
    }

    #[test]
    fn a_key_that_either_side_wrote_alone_is_found() {
        let state = |pairs: &[(u8, u8)]| pairs.iter().map(|(k, v)| (vec![*k], vec![*v])).collect();
        let own = MemoryState(state(&[(1, 1), (2, 2), (3, 3)]));
        let found = |theirs: &[(u8, u8)], wrote: &[u8]| {
            let wrote = wrote.iter().map(|key| vec![*key]).collect();
            key(&own, &wrote, &Fixed(state(theirs)), 9).unwrap().map(|(key, ..)| key[0])
        };
        assert_eq!(found(&[(1, 1), (2, 2), (3, 3)], &[1]), None);
        assert_eq!(found(&[(1, 1), (2, 9), (3, 3)], &[1]), Some(2));
        assert_eq!(found(&[(1, 1), (2, 2)], &[3]), Some(3));
        assert_eq!(found(&[(1, 1), (2, 2)], &[1]), None);
    }
}
