//! What executors and auditors send of themselves, and what becomes of it on its way.

use std::collections::BTreeMap;

use lockstep_chain::envelope::Unsigned;
use lockstep_chain::state::tables::VALIDATORS;

use super::{Cluster, FEE, GAS_LIMIT};
use crate::executor::{self, Behaviour};
use crate::party::Kind;
use crate::rng::Rng;

/// What moves of trials sign: one may have a step recomputed.
const PROOF_GAS_LIMIT: u64 = 5_000_000;
/// How long a move may wait, in block time.
const MOVE_MS: u64 = 120_000;
/// For so many heights after a move went astray, all of its sender arrive at once: within a window of
/// twelve, whoever sends again is heard.
const GRACE_BLOCKS: u64 = 6;

/// Something that was sent for a trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Played {
    /// The block that it came into.
    pub height: u64,
    /// The account.
    pub who: String,
    /// What it did.
    pub kind: Kind,
    /// 0, or why it was refused.
    pub code: u32,
}

/// A move on its way into a block.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    pub(super) played: Played,
    pub(super) tx: Vec<u8>,
    /// The height at which the proposer has it.
    arrives: u64,
}

/// A network that loses and delays moves, and players that forget what they did.
#[derive(Debug)]
pub struct Weather {
    rng: Rng,
    /// By account: the height at which a move of it went astray.
    astray: BTreeMap<String, u64>,
}

impl Weather {
    /// The weather that follows from a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { rng: Rng::new(seed), astray: BTreeMap::new() }
    }

    /// The height at which a move of an account that is sent for `height` arrives, if ever.
    fn arrival(&mut self, who: &str, height: u64) -> Option<u64> {
        let astray = self.astray.get(who).copied().unwrap_or(0);
        // What is sent together shares its fate or not.
        if astray != height && astray.saturating_add(GRACE_BLOCKS) > height {
            return Some(height);
        }
        let late = match self.rng.below(6) {
            0 => None,
            1 => Some(1 + self.rng.below(2)),
            _ => return Some(height),
        };
        self.astray.insert(who.to_owned(), height);
        late.map(|late| height + late)
    }
}

impl Cluster {
    /// What the executors send of themselves: deliveries and proofs of possession, free of fees.
    pub(super) fn duties(&mut self) -> Vec<Vec<u8>> {
        let mut txs = Vec::new();
        for number in 0..self.validators.len() {
            let me = self.validators[number].clone();
            let stored = VALIDATORS.get(self.state(), &me.operator.address).unwrap();
            if stored.is_none_or(|stored| stored.executor != me.executor.address) {
                continue;
            }
            for message in executor::messages(self.state(), &me, self.behaviours[number]) {
                let name = me.executor.name.clone();
                let unsigned = Unsigned { fee: 0, ..self.unsigned(&name, vec![message]) };
                txs.push(unsigned.sign(&me.executor.key));
            }
        }
        txs
    }

    /// Who may take part in trials: the executors that are alive, and everyone with a manner.
    fn parties(&self) -> Vec<(String, Behaviour)> {
        let mut parties = Vec::new();
        for (me, behaviour) in self.validators.iter().zip(&self.behaviours) {
            let stored = VALIDATORS.get(self.state(), &me.operator.address).unwrap();
            let works = stored.is_some_and(|stored| stored.executor == me.executor.address);
            if works && *behaviour != Behaviour::Dead {
                parties.push((me.executor.name.clone(), *behaviour));
            }
        }
        let outside = self.manners.keys().filter(|name| !name.starts_with("exec"));
        parties.extend(outside.map(|name| (name.clone(), Behaviour::Honest)));
        parties
    }

    /// What everybody sent for trials that has arrived.
    pub(super) fn moves(&mut self) -> Vec<Sent> {
        let height = self.height + 1;
        for (who, behaviour) in self.parties() {
            let (account, stored) = (self.keys(&who), self.account(&who));
            let manner = self.manners.get(&who).cloned().unwrap_or_default();
            let forgets = self.weather.as_mut().is_some_and(|weather| weather.rng.one_in(10));
            let chair = self.chairs.remove(&who).filter(|_| !forgets);
            let mut chair = chair.unwrap_or_default();
            let revealed = |job| behaviour.claim(job);
            for act in chair.acts(self.state(), &account, &manner, &revealed) {
                // A challenge is no duty.
                let paid = act.kind == Kind::Challenge;
                let unsigned = Unsigned {
                    chain_id: self.chain_id.clone(),
                    account_number: stored.number,
                    fee: if paid { FEE } else { 0 },
                    gas_limit: if paid { GAS_LIMIT } else { PROOF_GAS_LIMIT },
                    messages: act.messages,
                    unordered_until_ms: Some(self.time_ms + MOVE_MS),
                    ..Unsigned::default()
                };
                let weather = self.weather.as_mut();
                let arrives = weather.map_or(Some(height), |it| it.arrival(&who, height));
                let played = Played { height, who: who.clone(), kind: act.kind, code: 0 };
                let tx = unsigned.sign(&account.key);
                self.sent.extend(arrives.map(|arrives| Sent { played, tx, arrives }));
            }
            self.chairs.insert(who, chair);
        }
        let arrived;
        (arrived, self.sent) =
            std::mem::take(&mut self.sent).into_iter().partition(|it| it.arrives <= height);
        arrived
    }
}
