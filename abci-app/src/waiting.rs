//! What waits in this node's mempool, so that what can stand in no block cannot fill it.
//!
//! CometBFT's mempool drops nothing before a block has carried it. A transaction whose sequence is ahead
//! of what the account has waiting may wait for ever and costs its sender nothing; so do all that come
//! when blocks are full. Both get a share. The rest is kept for moves of trials, whose senders lose where
//! they cannot be heard.

use std::collections::{BTreeMap, HashMap};

use lockstep_chain::address::Address;
use lockstep_chain::error::{MEMPOOL_BUSY, Reject};
use lockstep_chain::mempool::Place;
use sha2::{Digest as _, Sha256};

/// Bytes that CometBFT's mempool holds; an ABCI frame has room for all of them.
pub const MEMPOOL_BYTES_MAX: u64 = 24 << 20;
/// Transactions that it holds.
pub const MEMPOOL_TXS_MAX: usize = 20_000;
/// What others than moves may fill of it, in percent.
const OTHERS_PERCENT: u64 = 75;
/// What may wait out of order, in bytes.
const GAPS_BYTES_MAX: u64 = 4 << 20;
/// What one account may have waiting out of order, in bytes.
const GAPS_OF_ACCOUNT_BYTES_MAX: u64 = 256 << 10;

#[derive(Debug)]
struct Entry {
    bytes: u64,
    /// The account, where something of it must come first that was not seen.
    gap: Option<Address>,
}

/// What waits.
#[derive(Debug, Default)]
pub struct Waiting {
    txs: HashMap<[u8; 32], Entry>,
    bytes: u64,
    gaps: BTreeMap<Address, u64>,
    gaps_bytes: u64,
    /// The sequence after the last that waits in order, by account.
    next: HashMap<Address, u64>,
}

impl Waiting {
    /// Takes in a transaction that could stand in a block.
    ///
    /// # Errors
    /// [`MEMPOOL_BUSY`].
    pub fn admit(&mut self, tx: &[u8], place: &Place) -> Result<(), Reject> {
        let hash = Sha256::digest(tx).into();
        let bytes = u64::try_from(tx.len()).unwrap_or(u64::MAX);
        if self.txs.contains_key(&hash) {
            return Ok(());
        }
        let next = self.next.get(&place.signer).map_or(place.next, |next| place.next.max(*next));
        let gap = place.sequence.is_some_and(|sequence| sequence > next);
        let own = self.gaps.get(&place.signer).copied().unwrap_or(0);
        let gaps_full =
            self.gaps_bytes + bytes > GAPS_BYTES_MAX || own + bytes > GAPS_OF_ACCOUNT_BYTES_MAX;
        let count = u64::try_from(self.txs.len()).unwrap_or(u64::MAX);
        let txs_max = u64::try_from(MEMPOOL_TXS_MAX).unwrap_or(0) * OTHERS_PERCENT / 100;
        let full =
            self.bytes + bytes > MEMPOOL_BYTES_MAX * OTHERS_PERCENT / 100 || count >= txs_max;
        if (gap && gaps_full) || (full && place.moves.is_none()) {
            return Err(MEMPOOL_BUSY);
        }
        if gap {
            *self.gaps.entry(place.signer).or_default() += bytes;
            self.gaps_bytes += bytes;
        } else if place.sequence == Some(next) {
            self.next.insert(place.signer, next + 1);
        }
        self.bytes += bytes;
        self.txs.insert(hash, Entry { bytes, gap: gap.then_some(place.signer) });
        Ok(())
    }

    /// Forgets what a block has carried.
    pub fn remove(&mut self, txs: &[Vec<u8>]) {
        for tx in txs {
            let hash: [u8; 32] = Sha256::digest(tx).into();
            let Some(entry) = self.txs.remove(&hash) else { continue };
            self.bytes -= entry.bytes;
            if let Some(account) = entry.gap {
                self.gaps_bytes -= entry.bytes;
                let own = self.gaps.entry(account).or_default();
                *own -= entry.bytes;
                if *own == 0 {
                    self.gaps.remove(&account);
                }
            }
        }
        if self.txs.is_empty() {
            self.next.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(account: u8, sequence: Option<u64>, moves: Option<u32>) -> Place {
        Place { signer: [account; 20], sequence, next: 5, gas: 1, moves }
    }

    fn tx(number: u64, kilobytes: usize) -> Vec<u8> {
        let mut bytes = vec![0; kilobytes << 10];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        bytes
    }

    #[test]
    fn what_waits_out_of_order_fills_its_share_and_no_more() {
        let mut waiting = Waiting::default();
        assert_eq!(waiting.admit(&tx(0, 200), &place(1, Some(7), None)), Ok(()));
        assert_eq!(waiting.admit(&tx(1, 200), &place(1, Some(8), None)), Err(MEMPOOL_BUSY));
        // In order, there is room.
        for sequence in 5..25 {
            assert_eq!(waiting.admit(&tx(sequence, 200), &place(1, Some(sequence), None)), Ok(()));
        }
        for account in 2..21 {
            let number = 100 + u64::from(account);
            assert_eq!(waiting.admit(&tx(number, 204), &place(account, Some(9), None)), Ok(()));
        }
        assert_eq!(waiting.admit(&tx(200, 204), &place(30, Some(9), None)), Err(MEMPOOL_BUSY));
        waiting.remove(&[tx(102, 204), tx(102, 204)]);
        assert_eq!(waiting.admit(&tx(200, 204), &place(30, Some(9), None)), Ok(()));
        let all: Vec<_> = waiting.txs.values().map(|entry| entry.bytes).collect();
        assert_eq!(all.iter().sum::<u64>(), waiting.bytes);
    }

    #[test]
    fn a_mempool_full_of_other_things_takes_moves() {
        let mut waiting = Waiting::default();
        let mut number = 0;
        while waiting.admit(&tx(number, 300), &place(1, None, None)).is_ok() {
            number += 1;
        }
        assert_eq!(number, 18 * 1024 / 300);
        assert_eq!(waiting.admit(&tx(number, 140), &place(2, None, Some(4))), Ok(()));
        waiting.remove(&(0..=number).map(|n| tx(n, 300)).collect::<Vec<_>>());
        waiting.remove(&[tx(number, 140)]);
        assert!(waiting.txs.is_empty() && waiting.bytes == 0 && waiting.gaps.is_empty());
    }
}
