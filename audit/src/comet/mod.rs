//! What CometBFT computes: hashes of headers and of what they bind, validator sets, votes.
//!
//! As in CometBFT 0.38. A real network's blocks are the test (`tests/cluster`).

mod commit;
mod genesis;
mod set;

pub use commit::{
    Signatures, Zip215, earlier, median_time, sign_bytes, verify_commit, vote_sign_bytes,
};
pub use genesis::{EvidenceAge, GenesisFile};
pub use set::{Signer, ValidatorSet, consensus_hash};

use prost::Message as _;
use tendermint::crypto::default::Sha256;
use tendermint::merkle::simple_hash_from_byte_vectors;
use tendermint_proto::v0_38::abci::ExecTxResult;
use tendermint_proto::v0_38::types::{
    Block, BlockId, CommitSig, EvidenceList, Header, PartSetHeader, evidence,
};

/// SHA-256.
pub type Hash = [u8; 32];

/// The version of the block's rules that CometBFT 0.38 writes into headers.
pub const BLOCK_PROTOCOL: u64 = 11;
/// A block is sent in parts of so many bytes.
const PART_BYTES: usize = 65_536;

/// The root over items in CometBFT's (RFC 6962's) tree.
#[must_use]
pub fn merkle_root<T: AsRef<[u8]>>(items: &[T]) -> Hash {
    simple_hash_from_byte_vectors::<Sha256>(items)
}

/// SHA-256 of bytes.
#[must_use]
pub fn sha256(bytes: &[u8]) -> Hash {
    use sha2::Digest as _;
    sha2::Sha256::digest(bytes).into()
}

/// A block's hash.
#[must_use]
pub fn header_hash(header: &Header) -> Hash {
    let empty = Vec::new;
    let fields = [
        header.version.as_ref().map_or_else(empty, prost::Message::encode_to_vec),
        header.chain_id.encode_to_vec(),
        header.height.encode_to_vec(),
        header.time.as_ref().map_or_else(empty, prost::Message::encode_to_vec),
        // Written even where empty: the first block has none before it.
        block_id(header.last_block_id.as_ref()).encode_to_vec(),
        header.last_commit_hash.encode_to_vec(),
        header.data_hash.encode_to_vec(),
        header.validators_hash.encode_to_vec(),
        header.next_validators_hash.encode_to_vec(),
        header.consensus_hash.encode_to_vec(),
        header.app_hash.encode_to_vec(),
        header.last_results_hash.encode_to_vec(),
        header.evidence_hash.encode_to_vec(),
        header.proposer_address.encode_to_vec(),
    ];
    merkle_root(&fields)
}

/// A block id as CometBFT has it in memory: its parts are always there.
#[must_use]
pub fn block_id(id: Option<&BlockId>) -> BlockId {
    let mut id = id.cloned().unwrap_or_default();
    id.part_set_header.get_or_insert_default();
    id
}

/// What `data_hash` binds.
#[must_use]
pub fn data_hash(txs: &[Vec<u8>]) -> Hash {
    let hashes: Vec<Hash> = txs.iter().map(|tx| sha256(tx)).collect();
    merkle_root(&hashes)
}

/// What `last_commit_hash` binds.
#[must_use]
pub fn commit_hash(signatures: &[CommitSig]) -> Hash {
    let items: Vec<_> = signatures.iter().map(prost::Message::encode_to_vec).collect();
    merkle_root(&items)
}

/// What `evidence_hash` binds.
#[must_use]
pub fn evidence_hash(list: &EvidenceList) -> Hash {
    let bytes = |one: &tendermint_proto::v0_38::types::Evidence| match &one.sum {
        Some(evidence::Sum::DuplicateVoteEvidence(votes)) => votes.encode_to_vec(),
        Some(evidence::Sum::LightClientAttackEvidence(attack)) => attack.encode_to_vec(),
        None => Vec::new(),
    };
    let items: Vec<_> = list.evidence.iter().map(bytes).collect();
    merkle_root(&items)
}

/// What `last_results_hash` binds: of each result the code, the data and the gas.
#[must_use]
pub fn results_hash<'a>(results: impl IntoIterator<Item = &'a ExecTxResult>) -> Hash {
    let bound = |result: &ExecTxResult| ExecTxResult {
        code: result.code,
        data: result.data.clone(),
        gas_wanted: result.gas_wanted,
        gas_used: result.gas_used,
        ..ExecTxResult::default()
    };
    let items: Vec<_> = results.into_iter().map(|result| bound(result).encode_to_vec()).collect();
    merkle_root(&items)
}

/// What binds every byte of a block, beside its header's hash.
#[must_use]
pub fn part_set_header(block: &Block) -> PartSetHeader {
    let bytes = block.encode_to_vec();
    let parts: Vec<&[u8]> = bytes.chunks(PART_BYTES).collect();
    let total = u32::try_from(parts.len()).unwrap_or(u32::MAX);
    PartSetHeader { total, hash: merkle_root(&parts).to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_of_nothing_is_the_hash_of_nothing() {
        assert_eq!(merkle_root::<Vec<u8>>(&[]), sha256(b""));
        assert_eq!(data_hash(&[]), sha256(b""));
    }

    #[test]
    fn every_field_of_a_header_changes_its_hash() {
        let header = Header::default();
        let before = header_hash(&header);
        let flips: [fn(&mut Header); 14] = [
            |h| h.version.get_or_insert_default().app = 1,
            |h| h.chain_id.push('x'),
            |h| h.height = 1,
            |h| h.time.get_or_insert_default().seconds = 1,
            |h| h.last_block_id.get_or_insert_default().hash.push(1),
            |h| h.last_commit_hash.push(1),
            |h| h.data_hash.push(1),
            |h| h.validators_hash.push(1),
            |h| h.next_validators_hash.push(1),
            |h| h.consensus_hash.push(1),
            |h| h.app_hash.push(1),
            |h| h.last_results_hash.push(1),
            |h| h.evidence_hash.push(1),
            |h| h.proposer_address.push(1),
        ];
        for (at, flip) in flips.iter().enumerate() {
            let mut header = Header::default();
            flip(&mut header);
            assert_ne!(header_hash(&header), before, "field {at}");
        }
    }
}
