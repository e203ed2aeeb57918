//! Everything that a block has to be before it is executed.

use serde_json::Value;
use tendermint_proto::google::protobuf::Timestamp;
use tendermint_proto::v0_38::types::{Block, BlockId, Commit, Header};

use super::position::Position;
use super::prepare::Prepared;
use crate::Compared;
use crate::abci::{APP_VERSION, unsigned};
use crate::comet::{
    BLOCK_PROTOCOL, Signatures, block_id, earlier, median_time, merkle_root, sha256, verify_commit,
};
use crate::report::Difference;

/// Checks a block that follows `position`. The header comes first, field by field, since every
/// field but three follows from the block before; then what the header binds; then the votes.
pub(super) fn block(
    position: &Position,
    prepared: &Prepared,
    signatures: &dyn Signatures,
) -> Compared {
    let block = &prepared.entry.block;
    let Some(header) = &block.header else { return wrong("header", "a header", Value::Null) };
    foretold(position, header)?;
    last_votes(position, block, signatures)?;
    bound(position, prepared, header, block)?;
    id(prepared, header)?;
    let commit = &prepared.entry.commit;
    verify_commit("commit", &position.chain_id, commit, &position.signing, signatures).map(drop)
}

fn wrong(what: &str, expected: impl Into<Value>, found: impl Into<Value>) -> Compared {
    Err(Box::new(Difference::new(what, expected, found)))
}

fn same<T: PartialEq + Into<Value>>(what: &str, expected: T, found: T) -> Compared {
    if expected == found { Ok(()) } else { wrong(what, expected, found) }
}

fn same_bytes(what: &str, expected: &[u8], found: &[u8]) -> Compared {
    same(what, hex::encode(expected), hex::encode(found))
}

/// The fields of a header that follow from the blocks before.
fn foretold(position: &Position, header: &Header) -> Compared {
    let height = position.height + 1;
    same("header.height", height, unsigned(header.height))?;
    same("header.chain_id", position.chain_id.as_str(), header.chain_id.as_str())?;
    let version = header.version.unwrap_or_default();
    same("header.version.block", BLOCK_PROTOCOL, version.block)?;
    same("header.version.app", APP_VERSION, version.app)?;
    let last = block_id(position.block_id.as_ref());
    same_id("header.last_block_id", &last, &block_id(header.last_block_id.as_ref()))?;
    let signing = position.signing.hash();
    same_bytes("header.validators_hash", &signing, &header.validators_hash)?;
    let to_sign = position.to_sign.hash();
    same_bytes("header.next_validators_hash", &to_sign, &header.next_validators_hash)?;
    same_bytes("header.consensus_hash", &position.consensus_hash, &header.consensus_hash)?;
    // What the block before left behind: its own height is the one to look at.
    let before = |field: &str, expected: &[u8], found: &[u8], what: &str| {
        same_bytes(field, expected, found).map_err(|difference| {
            let note = format!("{what} after block {}, in the header after it", position.height);
            Box::new(difference.at(position.height).note(note))
        })
    };
    let (root, results) = (&position.app_hash, &position.results_hash);
    before("header.app_hash", root, &header.app_hash, "the root of the state")?;
    before("header.last_results_hash", results, &header.last_results_hash, "codes, data and gas")?;
    if !position.signing.has(&header.proposer_address) {
        let found = hex::encode(&header.proposer_address);
        return wrong("header.proposer_address", "somebody who signs this block", found);
    }
    Ok(())
}

fn same_id(what: &str, expected: &BlockId, found: &BlockId) -> Compared {
    same_bytes(&format!("{what}.hash"), &expected.hash, &found.hash)?;
    let (expected, found) = (&expected.part_set_header, &found.part_set_header);
    let (expected, found) =
        (expected.clone().unwrap_or_default(), found.clone().unwrap_or_default());
    same(&format!("{what}.part_set_header.total"), expected.total, found.total)?;
    same_bytes(&format!("{what}.part_set_header.hash"), &expected.hash, &found.hash)
}

/// What a header binds, and its time. Where the votes are for this very header, it is what it was,
/// and the content is not.
fn bound(position: &Position, prepared: &Prepared, header: &Header, block: &Block) -> Compared {
    let voted = prepared.entry.commit.block_id.as_ref().map(|id| id.hash.as_slice());
    let header_stands = voted == Some(prepared.hash.as_slice());
    let pairs = [
        ("data_hash", &prepared.data_hash, &header.data_hash, "data.txs"),
        ("last_commit_hash", &prepared.last_commit_hash, &header.last_commit_hash, "last_commit"),
        ("evidence_hash", &prepared.evidence_hash, &header.evidence_hash, "evidence"),
    ];
    for (field, computed, stated, content) in pairs {
        if computed == stated.as_slice() {
            continue;
        }
        if !header_stands {
            return same_bytes(&format!("header.{field}"), computed, stated);
        }
        return match content {
            "data.txs" => Err(Box::new(changed_tx(prepared, header, block))),
            _ => wrong(&format!("block.{content}"), hex::encode(stated), hex::encode(computed)),
        };
    }
    time(position, header, block)
}

/// Which transaction is not the one that the header binds, if the source knows their hashes.
fn changed_tx(prepared: &Prepared, header: &Header, block: &Block) -> Difference {
    let txs = block.data.as_ref().map(|data| data.txs.as_slice()).unwrap_or_default();
    let listed: Vec<&[u8]> =
        prepared.entry.results.iter().map(|result| result.tx_hash.as_slice()).collect();
    let whole = || {
        let (stated, computed) = (hex::encode(&header.data_hash), hex::encode(prepared.data_hash));
        Difference::new("block.data.txs: their hash", stated, computed)
    };
    if merkle_root(&listed) != header.data_hash.as_slice() {
        return whole();
    }
    let mut pairs = txs.iter().map(|tx| sha256(tx)).zip(&listed).enumerate();
    match pairs.find(|(_, (hash, listed))| hash != *listed) {
        Some((index, (hash, listed))) => {
            let expected = <[u8; 32]>::try_from(*listed).unwrap_or_default();
            Difference::new("block.data.txs: its hash", hex::encode(listed), hex::encode(hash))
                .of_tx(index, expected)
        }
        None => Difference::new("block.data.txs: how many", listed.len(), txs.len()),
    }
}

fn words(time: Option<Timestamp>) -> String {
    let time = time.unwrap_or_default();
    format!("{}.{:09} s", time.seconds, time.nanos)
}

/// The first block has the genesis' time, every other one the median of the last votes' times.
fn time(position: &Position, header: &Header, block: &Block) -> Compared {
    let found = header.time.unwrap_or_default();
    let Some(before) = position.time else {
        return same("header.time", words(Some(position.genesis_time)), words(Some(found)));
    };
    let commit = block.last_commit.as_ref();
    let median = commit.and_then(|commit| median_time(commit, &position.signed));
    same("header.time", words(median), words(Some(found)))?;
    if earlier(&before, &found).is_lt() {
        return Ok(());
    }
    wrong("header.time", format!("after {}", words(Some(before))), words(Some(found)))
}

/// The votes must be for exactly this block.
fn id(prepared: &Prepared, header: &Header) -> Compared {
    let commit = &prepared.entry.commit;
    same("commit.height", header.height, commit.height)?;
    let voted = block_id(commit.block_id.as_ref());
    let parts = voted.part_set_header.unwrap_or_default();
    let same_parts = parts == prepared.parts;
    if voted.hash != prepared.hash {
        let difference = Difference::new(
            if same_parts { "commit.block_id.hash" } else { "header: its hash" },
            hex::encode(if same_parts { prepared.hash.as_slice() } else { &voted.hash }),
            hex::encode(if same_parts { &voted.hash } else { prepared.hash.as_slice() }),
        );
        let proposer = "all fields are right that follow from other blocks, so it is \
                        proposer_address or a field that no rule knows";
        let note = if same_parts { "" } else { proposer };
        return Err(Box::new(difference.note(note)));
    }
    let (computed, stated) = (prepared.parts.total, parts.total);
    same("commit.block_id.part_set_header.total", computed, stated)?;
    let (computed, stated) = (&prepared.parts.hash, &parts.hash);
    same_bytes("commit.block_id.part_set_header.hash", computed, stated)
}

/// The votes for the block before, which this one carries.
fn last_votes(position: &Position, block: &Block, signatures: &dyn Signatures) -> Compared {
    let empty = Commit::default();
    let last = block.last_commit.as_ref().unwrap_or(&empty);
    let Some(id) = &position.block_id else {
        return same("block.last_commit.signatures", 0, last.signatures.len());
    };
    if position.commit.as_ref() == Some(last) {
        return Ok(());
    }
    same("block.last_commit.height", position.height, unsigned(last.height))?;
    same_id("block.last_commit.block_id", id, &block_id(last.block_id.as_ref()))?;
    let set = &position.signed;
    let found = verify_commit("block.last_commit", &position.chain_id, last, set, signatures);
    found.map(drop).map_err(
        // Other votes than those that came with the block are fine as long as they are right; wrong
        // ones are named by what makes them others.
        |difference| match &position.commit {
            Some(checked) => changed_vote(checked, last).err().unwrap_or(difference),
            None => difference,
        },
    )
}

/// Where a commit is not the one that was checked before.
fn changed_vote(checked: &Commit, found: &Commit) -> Compared {
    same("block.last_commit.round", checked.round, found.round)?;
    for (place, (one, other)) in checked.signatures.iter().zip(&found.signatures).enumerate() {
        let name = |field: &str| format!("block.last_commit.signatures[{place}].{field}");
        same(&name("block_id_flag"), one.block_id_flag, other.block_id_flag)?;
        same_bytes(&name("validator_address"), &one.validator_address, &other.validator_address)?;
        same(&name("timestamp"), words(one.timestamp), words(other.timestamp))?;
        same_bytes(&name("signature"), &one.signature, &other.signature)?;
    }
    Ok(())
}
