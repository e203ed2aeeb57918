//! Queries about the state as bytes, for those who compare nodes. Only a node answers them: what a
//! block changed is known to its store, not to the chain.

use lockstep_chain::error::{MALFORMED, TxError};
use lockstep_chain::query::Answer;
use lockstep_chain::state::StateRead as _;
use lockstep_chain::state::tables::TIP;
use lockstep_proto::lockstep::audit::v1::{
    Entry, QueryChangesRequest, QueryChangesResponse, QueryEntriesRequest, QueryEntriesResponse,
    QueryHeightsResponse,
};
use prost::Message;

use crate::store::{At, Store};

/// Keys of one answer.
const KEYS_MAX: usize = 10_000;
/// Bytes of entries after which an answer ends.
const ENTRY_BYTES: usize = 1 << 20;
/// Above every key of the state.
const END: &[u8] = &[0xff];

/// The answer, if the path is one of these.
pub(super) fn answer(
    store: &Store,
    at: &At<'_>,
    path: &str,
    data: &[u8],
) -> Option<Result<Answer, TxError>> {
    match path.strip_prefix("/lockstep.audit.v1.Query/")? {
        "Heights" => Some(heights(store, at)),
        "Changes" => Some(changes(at, data)),
        "Entries" => Some(entries(at, data)),
        "Value" => Some(value(at, data)),
        _ => None,
    }
}

fn of(message: &impl Message) -> Answer {
    Answer { value: message.encode_to_vec(), key: None }
}

fn heights(store: &Store, at: &At<'_>) -> Result<Answer, TxError> {
    // Below the first height there are no blocks, though the genesis state is there.
    let initial = TIP.get(at, &())?.map_or(0, |tip| tip.initial_height);
    let (newest, app_hash, root) = store.newest()?;
    Ok(of(&QueryHeightsResponse {
        oldest: at.oldest().max(initial),
        newest,
        app_hash: app_hash.to_vec(),
        root: root.to_vec(),
    }))
}

fn changes(at: &At<'_>, data: &[u8]) -> Result<Answer, TxError> {
    let request = QueryChangesRequest::decode(data).map_err(|_| MALFORMED)?;
    let limit = usize::try_from(request.limit).unwrap_or(KEYS_MAX).min(KEYS_MAX);
    let mut keys = at.changes()?;
    keys.retain(|key| *key > request.after);
    let more = keys.len() > limit;
    keys.truncate(limit);
    Ok(of(&QueryChangesResponse { app_hash: at.app_hash()?.to_vec(), keys, more }))
}

fn entries(at: &At<'_>, data: &[u8]) -> Result<Answer, TxError> {
    let request = QueryEntriesRequest::decode(data).map_err(|_| MALFORMED)?;
    let mut found = QueryEntriesResponse::default();
    let mut bytes = 0;
    let mut start = request.after;
    loop {
        // The least key after `start`; no key is empty.
        start.push(0);
        let Some((key, value)) = at.next_raw(&start, END)? else { break };
        if bytes > ENTRY_BYTES {
            found.more = true;
            break;
        }
        bytes += key.len() + value.len();
        start.clone_from(&key);
        found.entries.push(Entry { key, value });
    }
    Ok(of(&found))
}

/// The value at a key, empty where there is none; the proof tells the two apart.
fn value(at: &At<'_>, key: &[u8]) -> Result<Answer, TxError> {
    let value = at.get_raw(key)?.unwrap_or_default();
    Ok(Answer { value, key: Some(key.to_vec()) })
}

#[cfg(test)]
mod tests {
    use lockstep_chain::state::Writes;
    use lockstep_proto::lockstep::chain::v1::Tip;

    use super::*;
    use crate::query::answer;
    use crate::store::StoreOptions;

    fn ask<T: Message + Default>(store: &Store, name: &str, data: &[u8], height: u64) -> T {
        let path = format!("/lockstep.audit.v1.Query/{name}");
        let found = answer(store, &path, data, Some(height), false).unwrap();
        T::decode(found.value.as_slice()).unwrap()
    }

    #[test]
    fn a_node_says_what_each_block_changed_and_shows_every_key_of_a_height() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), &StoreOptions::default(), &mut |_| {}).unwrap();
        // More than one page.
        let mut first: Writes = (0..40_u8).map(|n| (vec![1, n], Some(vec![n; 60_000]))).collect();
        let tip = Tip { initial_height: 1, ..Tip::default() };
        first.insert(TIP.key(&()), Some(tip.encode_to_vec()));
        store.finalize(0, first.clone()).unwrap();
        store.commit().unwrap();
        let second = Writes::from([(vec![1, 3], None), (vec![2, 0], Some(vec![9]))]);
        let root = store.finalize(1, second).unwrap();
        store.commit().unwrap();

        let heights: QueryHeightsResponse = ask(&store, "Heights", &[], 1);
        assert_eq!((heights.oldest, heights.newest), (1, 1), "of the genesis there is no block");
        assert_eq!((heights.root, heights.app_hash), (root.to_vec(), root.to_vec()));
        let request = QueryChangesRequest { after: Vec::new(), limit: 1 };
        let page: QueryChangesResponse = ask(&store, "Changes", &request.encode_to_vec(), 1);
        assert_eq!((page.keys, page.more), (vec![vec![1, 3]], true));
        let request = QueryChangesRequest { after: vec![1, 3], limit: 9 };
        let page: QueryChangesResponse = ask(&store, "Changes", &request.encode_to_vec(), 1);
        assert_eq!((page.keys, page.more), (vec![vec![2, 0]], false));
        assert_eq!(page.app_hash, root);

        let mut seen = Writes::new();
        let mut after = Vec::new();
        loop {
            let request = QueryEntriesRequest { after };
            let page: QueryEntriesResponse = ask(&store, "Entries", &request.encode_to_vec(), 0);
            assert!(page.entries.len() < 40, "pages");
            after = page.entries.last().unwrap().key.clone();
            seen.extend(page.entries.into_iter().map(|entry| (entry.key, Some(entry.value))));
            if !page.more {
                break;
            }
        }
        assert_eq!(seen, first);

        let path = "/lockstep.audit.v1.Query/Value";
        let found = answer(&store, path, &[1, 3], Some(0), true).unwrap();
        assert_eq!(found.value, vec![3; 60_000]);
        assert!(found.proof.is_some());
        assert_eq!(answer(&store, path, &[1, 3], Some(1), true).unwrap().value, b"");
    }
}
