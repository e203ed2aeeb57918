//! What CometBFT does with votes and validator sets.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_chain::block::ValidatorUpdate;
use lockstep_chain::{extension, staking};
use lockstep_proto::lockstep::block::v1::{CanonicalVoteExtension, ExtendedCommit, ExtendedVote};
use prost::Message as _;

use super::{Cluster, Plan};
use crate::executor;
use crate::keys::Validator;

impl Cluster {
    /// Extends, verifies and signs the votes of a height; gives its extended commit.
    pub(super) fn vote(&self, height: u64, plan: &Plan) -> ExtendedCommit {
        let set = &self.sets[&height];
        let total: u64 = set.values().sum();
        let mut left = total;
        let mut votes = Vec::new();
        for round in 0..=plan.failed_rounds {
            votes.clear();
            left = total;
            for (number, me) in self.validators.iter().enumerate() {
                let Some(power) = set.get(&me.consensus_key()) else { continue };
                if plan.absent.contains(&number) && 3 * (left - power) > 2 * total {
                    left -= power;
                    continue;
                }
                let own = &self.replicas[number % self.replicas.len()].state;
                let behaviour = self.behaviours[number];
                let offers = executor::offers(own, &self.validators, me, behaviour, round);
                let honest = extension::extend(own, &me.operator.address, &offers).unwrap();
                assert!(extension::verify(&honest), "height {height}: an own extension is refused");
                let payload = plan.late.get(&number).unwrap_or(&honest).clone();
                votes.push(self.signed_vote(me, height, round, payload));
            }
        }
        assert!(3 * left > 2 * total);
        // CometBFT's order is another than the chain's.
        votes.reverse();
        let round = i32::try_from(plan.failed_rounds).unwrap();
        ExtendedCommit { empty: false, round, votes }
    }

    /// A precommit's extension as its validator signs it.
    ///
    /// # Panics
    /// Where the height does not fit.
    #[must_use]
    pub fn signed_vote(
        &self,
        me: &Validator,
        height: u64,
        round: u32,
        extension: Vec<u8>,
    ) -> ExtendedVote {
        let document = CanonicalVoteExtension {
            extension: extension.clone(),
            height: i64::try_from(height).unwrap(),
            round: round.into(),
            chain_id: self.chain_id.clone(),
        };
        let signature = me.consensus.sign(&document.encode_length_delimited_to_vec());
        ExtendedVote {
            validator_address: me.consensus_address().to_vec(),
            extension,
            signature: signature.to_bytes().to_vec(),
        }
    }

    /// Applies validator updates by CometBFT's rule, and compares with what the chain believes.
    pub(super) fn follow(&mut self, updates: &[ValidatorUpdate]) {
        let mut next = self.sets[&(self.height + 1)].clone();
        let keys: BTreeSet<_> = updates.iter().map(|update| update.key).collect();
        assert_eq!(keys.len(), updates.len(), "a validator is updated twice");
        for update in updates {
            if update.power == 0 {
                assert!(
                    next.remove(&update.key).is_some(),
                    "CometBFT refuses to remove a stranger"
                );
            } else {
                next.insert(update.key, update.power);
            }
        }
        assert!(!next.is_empty(), "CometBFT refuses an empty set");
        self.sets.insert(self.height + 2, next);
        for height in [self.height + 1, self.height + 2] {
            let known = staking::power::signers(self.state(), height).unwrap().validators;
            let known: BTreeMap<[u8; 32], u64> =
                known.into_iter().map(|v| (v.consensus_key.try_into().unwrap(), v.power)).collect();
            assert_eq!(known, self.sets[&height], "the validator sets of height {height} differ");
        }
    }
}
