//! What a proposer puts into a block, and what the others accept.
//!
//! `process(prepare(any commit, any mempool))` accepts. Powers are the chain's own, never taken from
//! a proposal.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use ed25519_consensus::{Signature, VerificationKey};
use lockstep_proto::lockstep::block::v1::{CanonicalVoteExtension, ExtendedCommit, ExtendedVote};
use prost::Message as _;

use crate::address::Address;
use crate::context;
use crate::error::Fault;
use crate::limits::{BLOCK_BYTES_MAX, TRIAL_MOVES_PER_BLOCK_MAX, TX_BYTES_MAX};
use crate::mempool::{self, Place};
use crate::staking::power;
use crate::state::StateRead;
use crate::wire::canonical;

/// Bytes that CometBFT adds to each transaction of a block.
const TX_OVERHEAD_BYTES: u64 = 8;
/// Gas of a block, in transactions of the greatest gas.
const BLOCK_GAS_FACTOR: u64 = 20;

/// Why a proposal is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no first transaction, or it is no extended commit in its one encoding.
    #[error("the first transaction is not a canonical extended commit")]
    Malformed,
    /// An empty commit with votes, or votes where there can be none.
    #[error("an extended commit that is marked empty has votes, or the first block has votes")]
    NotEmpty,
    /// Votes are not in order of address, or one address stands twice.
    #[error("votes are not in order of address")]
    Unordered,
    /// A vote of somebody who does not sign at that height.
    #[error("a vote of somebody who is not in the validator set")]
    Stranger,
    /// A signature over an extension is wrong.
    #[error("the signature of a vote extension is wrong")]
    BadSignature,
    /// The votes hold no more than two thirds of the power.
    #[error("the votes hold no more than two thirds of the power")]
    NoQuorum,
    /// A transaction that can never be valid, or more than a block takes.
    #[error("a transaction or all of them together are too large")]
    TooLarge,
}

/// Makes the transactions of a block: the extended commit first, then moves of trials in turns, then
/// what else the mempool has in its order, as far as it fits and could be executed.
///
/// # Errors
/// Only a failing store.
pub fn prepare(
    state: &dyn StateRead,
    height: u64,
    bytes_max: u64,
    commit: Option<ExtendedCommit>,
    txs: &[Vec<u8>],
) -> Result<Vec<Vec<u8>>, Fault> {
    let bytes_max = bytes_max.min(BLOCK_BYTES_MAX);
    let injected = injected(state, height, bytes_max, commit)?;
    let params = context::params(state)?;
    let mut room = Room {
        bytes: bytes_max.saturating_sub(size(&injected)),
        gas: params.tx_gas_max.saturating_mul(BLOCK_GAS_FACTOR),
        moves: TRIAL_MOVES_PER_BLOCK_MAX,
        next: BTreeMap::new(),
        block: alloc::vec![injected],
    };
    let (mut moves, mut others, mut refused) = (Vec::new(), Vec::new(), Vec::new());
    let mut sent: BTreeMap<Address, u32> = BTreeMap::new();
    for (place, bytes) in txs.iter().enumerate() {
        let Some(its) = mempool::place(state, bytes)? else { continue };
        if its.sequence.is_some_and(|sequence| sequence < its.next) {
            refused.push(bytes);
        } else if let Some(cost) = its.moves {
            let turn = sent.entry(its.signer).or_default();
            *turn = turn.saturating_add(cost.max(1));
            moves.push((*turn, place, bytes, its));
        } else {
            others.push((place, bytes, its));
        }
    }
    // Moves of trials come first, so that nobody can starve a game by filling blocks; and in turns,
    // every sender's first before anybody's second, so that nobody can by a flood of moves. Whoever is
    // left out finds the budget used up, so that the height does not count.
    moves.sort_by_key(|(turn, place, ..)| (*turn, *place));
    for (_, place, bytes, its) in moves {
        if !room.take(bytes, &its) {
            // Perhaps what its sender sent before has to come first.
            others.push((place, bytes, its));
        }
    }
    others.sort_by_key(|(place, ..)| *place);
    for (_, bytes, its) in others {
        room.take(bytes, &its);
    }
    // Mempools drop nothing that no block has carried: what can only be refused, for nothing, is.
    for bytes in refused {
        room.carry(bytes);
    }
    Ok(room.block)
}

/// A block that is being filled, and what it still takes.
struct Room {
    bytes: u64,
    gas: u64,
    moves: u32,
    /// The sequence that comes next, by signer.
    next: BTreeMap<Address, u64>,
    block: Vec<Vec<u8>>,
}

impl Room {
    /// Adds a transaction where it fits and its turn has come; returns whether it did.
    fn take(&mut self, bytes: &[u8], its: &Place) -> bool {
        let next = self.next.get(&its.signer).copied().unwrap_or(its.next);
        let cost = its.moves.unwrap_or(0);
        // Moves have a budget of their own: what gas they sign must not keep out anybody's.
        let within = if cost > 0 { cost <= self.moves } else { its.gas <= self.gas };
        let in_turn = its.sequence.is_none_or(|sequence| sequence == next);
        if !within || !in_turn || !self.carry(bytes) {
            return false;
        }
        self.next.insert(its.signer, next.saturating_add(u64::from(its.sequence.is_some())));
        if cost > 0 {
            self.moves = self.moves.saturating_sub(cost);
        } else {
            self.gas = self.gas.saturating_sub(its.gas);
        }
        true
    }

    /// Adds what there is room for.
    fn carry(&mut self, bytes: &[u8]) -> bool {
        let Some(left) = self.bytes.checked_sub(size(bytes)) else { return false };
        self.bytes = left;
        self.block.push(bytes.to_vec());
        true
    }
}

fn size(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX).saturating_add(TX_OVERHEAD_BYTES)
}

/// The extended commit as it goes into the block: every vote whose signature is right, in order of
/// address; explicitly empty where there is none that others would accept.
fn injected(
    state: &dyn StateRead,
    height: u64,
    bytes_max: u64,
    commit: Option<ExtendedCommit>,
) -> Result<Vec<u8>, Fault> {
    if let Some(mut commit) = commit {
        let chain = Signed::of(state, height, commit.round)?;
        commit.votes.retain(|vote| chain.check(vote).is_ok());
        commit.votes.sort_by(|a, b| a.validator_address.cmp(&b.validator_address));
        commit.votes.dedup_by(|a, b| a.validator_address == b.validator_address);
        commit.empty = false;
        let bytes = commit.encode_to_vec();
        if size(&bytes) <= bytes_max && check(state, height, &commit)?.is_ok() {
            return Ok(bytes);
        }
    }
    Ok(ExtendedCommit { empty: true, ..ExtendedCommit::default() }.encode_to_vec())
}

/// Whether a proposed block may be voted for.
///
/// # Errors
/// Only a failing store.
pub fn process(
    state: &dyn StateRead,
    height: u64,
    txs: &[Vec<u8>],
) -> Result<Result<(), Refusal>, Fault> {
    let Some((first, rest)) = txs.split_first() else { return Ok(Err(Refusal::Malformed)) };
    let Ok(commit) = canonical::<ExtendedCommit>(first) else {
        return Ok(Err(Refusal::Malformed));
    };
    let all = txs.iter().fold(0_u64, |sum, tx| sum.saturating_add(size(tx)));
    if all > BLOCK_BYTES_MAX || rest.iter().any(|tx| tx.len() > TX_BYTES_MAX) {
        return Ok(Err(Refusal::TooLarge));
    }
    check(state, height, &commit)
}

fn check(
    state: &dyn StateRead,
    height: u64,
    commit: &ExtendedCommit,
) -> Result<Result<(), Refusal>, Fault> {
    if commit.empty {
        let bare = commit.votes.is_empty() && commit.round == 0;
        return Ok(if bare { Ok(()) } else { Err(Refusal::NotEmpty) });
    }
    if height <= context::tip(state)?.initial_height {
        return Ok(Err(Refusal::NotEmpty));
    }
    let signed = Signed::of(state, height, commit.round)?;
    let mut power = 0_u64;
    let mut last: Option<&[u8]> = None;
    for vote in &commit.votes {
        if last.is_some_and(|last| last >= vote.validator_address.as_slice()) {
            return Ok(Err(Refusal::Unordered));
        }
        last = Some(&vote.validator_address);
        match signed.check(vote) {
            Ok(more) => power = power.saturating_add(more),
            Err(refusal) => return Ok(Err(refusal)),
        }
    }
    let quorum = power::exceeds(power, signed.total, 2, 3);
    Ok(if quorum { Ok(()) } else { Err(Refusal::NoQuorum) })
}

/// What the votes of the height before were signed over, and by whom.
struct Signed {
    keys: BTreeMap<Vec<u8>, (Vec<u8>, u64)>,
    total: u64,
    height: u64,
    round: i32,
    chain_id: alloc::string::String,
}

impl Signed {
    fn of(state: &dyn StateRead, height: u64, round: i32) -> Result<Self, Fault> {
        let tip = context::tip(state)?;
        let height = height.saturating_sub(1).max(tip.initial_height);
        let set = power::signers(state, height)?;
        let total = set.validators.iter().fold(0_u64, |sum, v| sum.saturating_add(v.power));
        let keys = set
            .validators
            .into_iter()
            .map(|v| (v.consensus_address, (v.consensus_key, v.power)))
            .collect();
        Ok(Self { keys, total, height, round, chain_id: tip.chain_id })
    }

    /// The power behind a vote. Signatures follow ZIP-215, as CometBFT's do.
    fn check(&self, vote: &ExtendedVote) -> Result<u64, Refusal> {
        let (key, power) = self.keys.get(&vote.validator_address).ok_or(Refusal::Stranger)?;
        let message = CanonicalVoteExtension {
            extension: vote.extension.clone(),
            height: i64::try_from(self.height).map_err(|_| Refusal::BadSignature)?,
            round: i64::from(self.round),
            chain_id: self.chain_id.clone(),
        }
        .encode_length_delimited_to_vec();
        let key = VerificationKey::try_from(key.as_slice()).map_err(|_| Refusal::BadSignature)?;
        let signature =
            Signature::try_from(vote.signature.as_slice()).map_err(|_| Refusal::BadSignature)?;
        key.verify(&signature, &message).map_err(|_| Refusal::BadSignature)?;
        Ok(*power)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString as _;

    use k256::ecdsa::SigningKey;
    use lockstep_proto::lockstep::chain::v1::Totals;
    use lockstep_proto::lockstep::job::v1::MsgDeliverOutput;
    use lockstep_proto::lockstep::member::v1::Account;
    use prost_types::Any;

    use super::*;
    use crate::address::{account, from_public_key};
    use crate::envelope::Unsigned;
    use crate::model::artefact;
    use crate::state::tables::ACCOUNTS;
    use crate::trial::testing::{World, params};
    use crate::tx;

    /// Somebody who sends transactions.
    struct Sender {
        key: SigningKey,
        sequence: u64,
        gas: u64,
    }

    impl Sender {
        fn new(world: &mut World, number: u8) -> Self {
            let key = SigningKey::from_slice(&[number; 32]).unwrap();
            let point = key.verifying_key().to_sec1_point(true);
            let address = from_public_key(point.as_bytes().try_into().unwrap());
            world
                .act(|ctx| {
                    ACCOUNTS.put(ctx.state, &address, &Account::default());
                    Ok(())
                })
                .unwrap();
            Self { key, sequence: 0, gas: 1_000 }
        }

        /// The example of an action, which the sender signs though it is in another's name.
        fn send(&mut self, name: &str) -> Vec<u8> {
            let kind = tx::KINDS.iter().find(|kind| kind.name == name).unwrap();
            let unsigned = Unsigned {
                chain_id: "trial-1".to_string(),
                sequence: self.sequence,
                fee: 1_000,
                gas_limit: self.gas,
                messages: [self.in_own_name((kind.example)())].to_vec(),
                ..Unsigned::default()
            };
            self.sequence += 1;
            unsigned.sign(&self.key)
        }

        fn in_own_name(&self, any: Any) -> Any {
            let point = self.key.verifying_key().to_sec1_point(true);
            let own = account(&from_public_key(point.as_bytes().try_into().unwrap()));
            let example = account(&[1; 20]);
            // The example's signer stands first, and both addresses are of one length.
            let at = any.value.windows(example.len()).position(|part| part == example.as_bytes());
            let mut value = any.value.clone();
            value[at.unwrap()..][..own.len()].copy_from_slice(own.as_bytes());
            if let Ok(long) = any.to_msg::<MsgDeliverOutput>() {
                let long =
                    MsgDeliverOutput { executor: own, output: [1; 16 << 10].to_vec(), ..long };
                return crate::wire::any(&long);
            }
            Any { value, ..any }
        }
    }

    #[test]
    fn moves_of_trials_go_first_and_everything_keeps_its_order() {
        let mut world = World::new(2, params(), &artefact::example());
        let (mut a, mut b) = (Sender::new(&mut world, 7), Sender::new(&mut world, 8));
        let waiting = [
            a.send("post_job"),
            b.send("call_node"),
            a.send("cancel_job"),
            b.send("prove_step"),
            // Its turn comes after what its sender sent before.
            a.send("open_node"),
        ];
        let block = prepare(&world.state, 2, 1 << 20, None, &waiting).unwrap();
        let order: Vec<_> = block[1..]
            .iter()
            .map(|made| waiting.iter().position(|waits| waits == made).unwrap())
            .collect();
        assert_eq!(order, [1, 3, 0, 2, 4]);
    }

    #[test]
    fn whoever_floods_the_block_with_moves_does_not_keep_out_another() {
        let mut world = World::new(2, params(), &artefact::example());
        let (mut a, mut b) = (Sender::new(&mut world, 7), Sender::new(&mut world, 8));
        let mut waiting: Vec<_> = (0..100).map(|_| a.send("prove_step")).collect();
        waiting.extend([b.send("open_node"), b.send("prove_step")]);
        let block = prepare(&world.state, 2, 1 << 20, None, &waiting).unwrap();
        let order: Vec<_> = block[1..5]
            .iter()
            .map(|made| waiting.iter().position(|waits| waits == made).unwrap())
            .collect();
        // By what they cost so far: an opened node costs one, a proof four.
        assert_eq!(order, [100, 0, 101, 1]);
    }

    #[test]
    fn whoever_is_left_out_finds_the_budget_used_up() {
        let mut world = World::new(2, params(), &artefact::example());
        let mut waiting = Vec::new();
        for number in 0..40 {
            let mut sender = Sender::new(&mut world, 7 + number);
            let names = ["call_node", "prove_step", "open_node"];
            waiting.extend(names[..=usize::from(number % 3)].iter().map(|name| sender.send(name)));
        }
        let block = prepare(&world.state, 2, 1 << 20, None, &waiting).unwrap();
        assert!(block.len() <= waiting.len(), "some are left out");
        let costs = block[1..].iter().map(|tx| mempool::place(&world.state, tx).unwrap().unwrap());
        let moves: u32 = costs.map(|place| place.moves.unwrap()).sum();
        let totals = Totals { moves_height: 2, moves, ..Totals::default() };
        assert!(crate::trial::is_full(&totals, 2), "{moves}");
    }

    #[test]
    fn what_can_only_be_refused_is_carried_last_and_what_is_ahead_waits() {
        let mut world = World::new(2, params(), &artefact::example());
        let (mut a, mut b) = (Sender::new(&mut world, 7), Sender::new(&mut world, 8));
        let stale = a.send("post_job");
        let next = a.send("post_job");
        let signer = mempool::place(&world.state, &stale).unwrap().unwrap().signer;
        let stored = Account { sequence: 1, ..Account::default() };
        world
            .act(|ctx| {
                ACCOUNTS.put(ctx.state, &signer, &stored);
                Ok(())
            })
            .unwrap();
        b.sequence = 3;
        let ahead = b.send("post_job");
        let waiting = [stale.clone(), ahead, next.clone()];
        let block = prepare(&world.state, 2, 1 << 20, None, &waiting).unwrap();
        assert_eq!(block[1..], [next, stale]);
    }

    #[test]
    fn a_block_holds_no_more_than_its_bytes_however_many_cometbft_would_take() {
        let mut world = World::new(2, params(), &artefact::example());
        let mut a = Sender::new(&mut world, 7);
        let txs: Vec<_> = (0..300).map(|_| a.send("deliver_output")).collect();
        let block = prepare(&world.state, 2, u64::MAX, None, &txs).unwrap();
        assert!((240..260).contains(&block.len()), "{}", block.len());
        assert_eq!(process(&world.state, 2, &block).unwrap(), Ok(()));
        let more = [&block[..], &txs[..1]].concat();
        assert_eq!(process(&world.state, 2, &more).unwrap(), Err(Refusal::TooLarge));
    }

    #[test]
    fn the_gas_that_moves_sign_keeps_out_neither_moves_nor_anything_else() {
        let mut world = World::new(2, params(), &artefact::example());
        let (mut a, mut b) = (Sender::new(&mut world, 7), Sender::new(&mut world, 8));
        a.gas = params().tx_gas_max;
        let mut waiting: Vec<_> = (0..40).map(|_| a.send("call_node")).collect();
        waiting.push(b.send("post_job"));
        let block = prepare(&world.state, 2, 1 << 20, None, &waiting).unwrap();
        assert_eq!(block[1..], waiting);
    }

    #[test]
    fn a_block_takes_no_more_moves_than_its_budget_and_then_other_things() {
        let mut world = World::new(2, params(), &artefact::example());
        let (mut a, mut b) = (Sender::new(&mut world, 7), Sender::new(&mut world, 8));
        let mut waiting: Vec<_> = (0..100).map(|_| a.send("call_node")).collect();
        waiting.push(b.send("post_job"));
        let block = prepare(&world.state, 2, 1 << 20, None, &waiting).unwrap();
        let moves = usize::try_from(TRIAL_MOVES_PER_BLOCK_MAX).unwrap();
        assert_eq!(block.len(), 1 + moves + 1);
        assert_eq!(block.last(), waiting.last());
    }
}
