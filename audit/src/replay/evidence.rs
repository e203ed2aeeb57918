//! Evidence of misbehaviour: whoever is slashed for it must have done it. The validators of a chain
//! could agree to make some up.

use std::collections::VecDeque;

use lockstep_chain::staking::power;
use lockstep_chain::state::StateRead;
use prost::Message as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tendermint_proto::google::protobuf::Timestamp;
use tendermint_proto::v0_38::types::{
    Block, DuplicateVoteEvidence, SignedMsgType, Vote, evidence::Sum,
};

use super::{Position, fault};
use crate::comet::{EvidenceAge, Signatures as _, Zip215, block_id, vote_sign_bytes};
use crate::report::Difference;
use crate::{Result, Stop};

/// CometBFT forgets evidence a block and a second after it expired.
const SLACK_BLOCKS: u64 = 1;
const SLACK_NANOS: i128 = 1_000_000_000;

/// The times of the blocks that evidence may still be about, in seconds and nanoseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Times {
    age: EvidenceAge,
    first: u64,
    since: VecDeque<(i64, i32)>,
}

impl Times {
    /// No block yet; `first` comes next.
    #[must_use]
    pub const fn new(age: EvidenceAge, first: u64) -> Self {
        Self { age, first, since: VecDeque::new() }
    }

    /// Adds the time of the next block, and forgets those that are too old.
    pub fn push(&mut self, time: &Timestamp) {
        self.since.push_back((time.seconds, time.nanos));
        let nanos = |(seconds, nanos)| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
        let now = nanos((time.seconds, time.nanos));
        while let Some(oldest) = self.since.front().copied()
            && self.since.len() as u64 > self.age.blocks.saturating_add(SLACK_BLOCKS + 1)
            && now - nanos(oldest) > i128::from(self.age.nanos) + SLACK_NANOS
        {
            self.since.pop_front();
            self.first += 1;
        }
    }

    /// The time of a block that evidence may be about.
    #[must_use]
    pub fn of(&self, height: u64) -> Option<Timestamp> {
        let place = usize::try_from(height.checked_sub(self.first)?).ok()?;
        self.since.get(place).map(|(seconds, nanos)| Timestamp { seconds: *seconds, nanos: *nanos })
    }
}

/// Checks the evidence in a block that follows `position`, as CometBFT 0.38 does; `state` is that
/// before the block.
///
/// # Errors
/// [`Stop::Difference`] where it shows nothing; [`Stop::Incomplete`] where it cannot be checked here.
pub(super) fn check(position: &Position, state: &dyn StateRead, block: &Block) -> Result<()> {
    let list = block.evidence.as_ref().map(|list| list.evidence.as_slice()).unwrap_or_default();
    let height = position.height + 1;
    for (place, one) in list.iter().enumerate() {
        match &one.sum {
            Some(Sum::DuplicateVoteEvidence(votes)) => {
                let name = format!("block.evidence[{place}]");
                duplicate(&name, position, state, votes).map_err(|stop| match stop {
                    Stop::Difference(found) => found.at(height).into(),
                    stop => stop,
                })?;
            }
            // It names nobody, so nobody is slashed.
            Some(Sum::LightClientAttackEvidence(it)) if it.byzantine_validators.is_empty() => {}
            Some(Sum::LightClientAttackEvidence(_)) => {
                let what = format!("block {height} punishes an attack on light clients");
                let hint = "this program cannot check evidence of that kind: compare it by hand \
                            with the header and commit of its height; --to ends before";
                return Err(Stop::incomplete(what, hint));
            }
            None => {
                let what = format!("block.evidence[{place}]");
                let found = Difference::new(what, "a kind that CometBFT knows", Value::Null);
                return Err(found.at(height).into());
            }
        }
    }
    Ok(())
}

/// Somebody who might vote at a height signed two votes that exclude each other.
fn duplicate(
    name: &str,
    position: &Position,
    state: &dyn StateRead,
    evidence: &DuplicateVoteEvidence,
) -> Result<()> {
    let wrong = |field: &str, expected: &str, found: Value| -> Result<()> {
        Err(Difference::new(format!("{name}.{field}"), expected, found).into())
    };
    let (Some(a), Some(b)) = (&evidence.vote_a, &evidence.vote_b) else {
        return wrong("votes", "two", Value::Null);
    };
    let place = |vote: &Vote| (vote.height, vote.round, vote.r#type);
    if place(a) != place(b) {
        let found = format!("{:?} and {:?}", place(a), place(b));
        return wrong("votes", "of one height, round and type", found.into());
    }
    if !matches!(a.r#type(), SignedMsgType::Prevote | SignedMsgType::Precommit) || a.round < 0 {
        return wrong("votes", "prevotes or precommits", a.r#type.into());
    }
    if a.validator_address != b.validator_address {
        return wrong("votes", "of one validator", hex::encode(&b.validator_address).into());
    }
    // In this order, so that there is one evidence of one offence.
    let key = |vote: &Vote| {
        let id = block_id(vote.block_id.as_ref());
        [id.hash, id.part_set_header.unwrap_or_default().encode_to_vec()].concat()
    };
    if key(a) >= key(b) {
        return wrong("votes", "for two blocks, in order", hex::encode(key(b)).into());
    }
    let height = u64::try_from(a.height).unwrap_or(0);
    let Some(time) = position.times.of(height) else {
        return wrong("height", "a block before, not too old for evidence", a.height.into());
    };
    if evidence.timestamp != Some(time) {
        let found = evidence.timestamp.map_or(Value::Null, |it| format!("{it:?}").into());
        return wrong("timestamp", &format!("{time:?}"), found);
    }
    let set = power::signers(state, height).map_err(fault)?.validators;
    let signer = set.iter().find(|it| it.consensus_address == a.validator_address);
    let Some(signer) = signer else {
        let found = hex::encode(&a.validator_address);
        return wrong("validator_address", "somebody who might vote at its height", found.into());
    };
    let total = set.iter().fold(0, |sum: u64, it| sum.saturating_add(it.power));
    for (field, must, is) in [
        ("validator_power", signer.power, evidence.validator_power),
        ("total_voting_power", total, evidence.total_voting_power),
    ] {
        if u64::try_from(is) != Ok(must) {
            return wrong(field, &must.to_string(), is.into());
        }
    }
    let key = signer.consensus_key.as_slice().try_into().unwrap_or_default();
    for (field, vote) in [("vote_a", a), ("vote_b", b)] {
        if !Zip215.verify(&key, &vote_sign_bytes(&position.chain_id, vote), &vote.signature) {
            let must = format!("a signature of {}", hex::encode(&a.validator_address));
            let found = hex::encode(&vote.signature).into();
            return wrong(&format!("{field}.signature"), &must, found);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_forgotten_once_both_bounds_have_passed() {
        let mut times = Times::new(EvidenceAge { blocks: 3, nanos: 10_000_000_000 }, 7);
        let push = |times: &mut Times, seconds| times.push(&Timestamp { seconds, nanos: 0 });
        (0..9).for_each(|seconds| push(&mut times, seconds));
        assert_eq!(times.of(6), None);
        assert_eq!(times.of(7), Some(Timestamp::default()), "old in blocks, but not in time");
        push(&mut times, 13);
        assert_eq!((times.of(8), times.of(9).map(|it| it.seconds)), (None, Some(2)));
        push(&mut times, 1_000);
        // Four blocks before the last: a block later than CometBFT's bound.
        assert_eq!((times.of(12), times.of(13).map(|it| it.seconds)), (None, Some(6)));
        assert_eq!((times.of(17).map(|it| it.seconds), times.of(18)), (Some(1_000), None));
    }
}
