//! The chain's types as CometBFT's, and back: one place for the node and for the audit, which must
//! do the same.

use lockstep_chain::address::Address;
use lockstep_chain::block::{self, Evidence, TxOutcome};
use tendermint_proto::google::protobuf::Timestamp;
use tendermint_proto::v0_38::abci::{
    Event, EventAttribute, ExecTxResult, Misbehavior, MisbehaviorType, Validator, ValidatorUpdate,
};
use tendermint_proto::v0_38::crypto::{PublicKey, public_key};
use tendermint_proto::v0_38::types::{EvidenceList, evidence};

/// The version of the rules that blocks are executed by; a block's header carries it.
pub const APP_VERSION: u64 = 1;

/// Whose codes the results carry.
const CODESPACE: &str = "lockstep";

/// The codespace of a result.
#[must_use]
pub fn codespace(code: u32) -> String {
    if code == 0 { String::new() } else { CODESPACE.to_owned() }
}

/// CometBFT's heights and amounts of gas are never negative.
#[must_use]
pub fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// As CometBFT writes it.
#[must_use]
pub fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Unix milliseconds; 0 before 1970.
#[must_use]
pub fn milliseconds(time: Option<&Timestamp>) -> u64 {
    let Some(time) = time else { return 0 };
    let nanos = u64::try_from(time.nanos).unwrap_or(0);
    unsigned(time.seconds).saturating_mul(1000).saturating_add(nanos / 1_000_000)
}

/// A change of voting power.
#[must_use]
pub fn validator_update(update: &block::ValidatorUpdate) -> ValidatorUpdate {
    let key = public_key::Sum::Ed25519(update.key.to_vec());
    ValidatorUpdate { pub_key: Some(PublicKey { sum: Some(key) }), power: signed(update.power) }
}

/// Misbehaviour as the chain takes it.
#[must_use]
pub fn evidence(misbehavior: &Misbehavior) -> Option<Evidence> {
    let offender = misbehavior.validator.as_ref()?;
    let address = Address::try_from(offender.address.as_ref()).ok()?;
    match misbehavior.r#type() {
        MisbehaviorType::Unknown => None,
        MisbehaviorType::DuplicateVote | MisbehaviorType::LightClientAttack => {
            Some(Evidence { address, height: unsigned(misbehavior.height) })
        }
    }
}

/// What CometBFT tells the application of a block's evidence. Times and powers are left out: the
/// chain does not use them.
#[must_use]
pub fn misbehavior(list: &EvidenceList) -> Vec<Misbehavior> {
    let of = |kind: MisbehaviorType, address: &[u8], height: i64| Misbehavior {
        r#type: kind.into(),
        validator: Some(Validator { address: address.to_vec().into(), power: 0 }),
        height,
        ..Misbehavior::default()
    };
    let one = |item: &tendermint_proto::v0_38::types::Evidence| match &item.sum {
        Some(evidence::Sum::DuplicateVoteEvidence(votes)) => votes
            .vote_a
            .iter()
            .map(|vote| of(MisbehaviorType::DuplicateVote, &vote.validator_address, vote.height))
            .collect(),
        Some(evidence::Sum::LightClientAttackEvidence(attack)) => attack
            .byzantine_validators
            .iter()
            .map(|who| of(MisbehaviorType::LightClientAttack, &who.address, attack.common_height))
            .collect(),
        None => Vec::new(),
    };
    list.evidence.iter().flat_map(one).collect()
}

/// What observers are told.
#[must_use]
pub fn event(event: block::Event) -> Event {
    let attribute = |(key, value)| EventAttribute { key, value, index: true };
    Event { r#type: event.kind, attributes: event.attributes.into_iter().map(attribute).collect() }
}

/// What became of a transaction.
#[must_use]
pub fn tx_result(outcome: TxOutcome) -> ExecTxResult {
    ExecTxResult {
        code: outcome.code,
        data: outcome.data.into(),
        log: outcome.log,
        info: String::new(),
        gas_wanted: signed(outcome.gas_wanted),
        gas_used: signed(outcome.gas_used),
        events: outcome.events.into_iter().map(event).collect(),
        codespace: codespace(outcome.code),
    }
}
