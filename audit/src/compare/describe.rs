//! A key of the state and its value, in words and as JSON.

use lockstep_chain::address;
use lockstep_chain::state::tables::{
    ACCOUNTS, ALIASES, ARTEFACTS, COMMITMENTS, CONSENSUS_KEYS, DELEGATIONS, DUTIES, EVIDENCE, JOBS,
    JOBS_DUE, MANIFESTS, MODEL_NAMES, MODELS, PARAMS, POSSESSIONS, POSSESSIONS_DUE, SLASHES,
    SLASHES_DUE, TIP, TOTALS, TRACE_NODES, TRACE_STEPS, TRIALS, UNBONDINGS, UNBONDINGS_DUE,
    UNBONDINGS_OF, UNORDERED, VALIDATOR_SETS, VALIDATORS, VERIFIED, VERSION_NUMBERS, VERSIONS,
    WAVE, schema,
};
use lockstep_chain::state::{Key, Table, Value};
use serde::Serialize;

/// A key as `table/part/part`; in hex where it is of no table.
#[must_use]
pub fn key(bytes: &[u8]) -> String {
    described(bytes, &[]).map_or_else(
        || {
            let table = schema().into_iter().find(|(prefix, _)| bytes.first() == Some(prefix));
            let name = table.map_or("state", |(_, name)| name);
            format!("{name}/0x{}", hex::encode(bytes.get(1..).unwrap_or_default()))
        },
        |(key, _)| key,
    )
}

/// A value as JSON; in hex where it does not decode, null where there is none.
#[must_use]
pub fn value(key: &[u8], bytes: Option<&[u8]>) -> serde_json::Value {
    let Some(bytes) = bytes else { return serde_json::Value::Null };
    let decoded = described(key, bytes).and_then(|(_, value)| value);
    decoded.unwrap_or_else(|| hex::encode(bytes).into())
}

/// How the 20 bytes of an address are written.
#[derive(Clone, Copy)]
enum Addresses {
    Account,
    Operator,
    Consensus,
}

/// A part of a key in words.
trait Words: Key {
    fn words(&self, addresses: Addresses) -> String;
}

impl Words for u64 {
    fn words(&self, _: Addresses) -> String {
        self.to_string()
    }
}

impl Words for u32 {
    fn words(&self, _: Addresses) -> String {
        self.to_string()
    }
}

impl Words for u8 {
    fn words(&self, _: Addresses) -> String {
        self.to_string()
    }
}

impl Words for [u8; 32] {
    fn words(&self, _: Addresses) -> String {
        hex::encode(self)
    }
}

impl Words for [u8; 20] {
    fn words(&self, addresses: Addresses) -> String {
        match addresses {
            Addresses::Account => address::account(self),
            Addresses::Operator => address::operator(self),
            Addresses::Consensus => hex::encode(self),
        }
    }
}

impl Words for () {
    fn words(&self, _: Addresses) -> String {
        String::new()
    }
}

impl<A: Words, B: Words> Words for (A, B) {
    fn words(&self, addresses: Addresses) -> String {
        format!("{}/{}", self.0.words(addresses), self.1.words(addresses))
    }
}

impl<A: Words, B: Words, C: Words> Words for (A, B, C) {
    fn words(&self, addresses: Addresses) -> String {
        let [a, b] = [self.0.words(addresses), self.1.words(addresses)];
        format!("{a}/{b}/{}", self.2.words(addresses))
    }
}

impl<A: Words, B: Words, C: Words, D: Words> Words for (A, B, C, D) {
    fn words(&self, addresses: Addresses) -> String {
        let [a, b] = [self.0.words(addresses), self.1.words(addresses)];
        format!("{a}/{b}/{}/{}", self.2.words(addresses), self.3.words(addresses))
    }
}

type Described = (String, Option<serde_json::Value>);

fn of<K: Words, V: Value + Serialize>(
    table: &Table<K, V>,
    addresses: Addresses,
    key: &[u8],
    value: &[u8],
) -> Option<Described> {
    let (prefix, mut parts) = key.split_first()?;
    if *prefix != table.prefix {
        return None;
    }
    let parsed = K::read(&mut parts).filter(|_| parts.is_empty())?;
    let words = parsed.words(addresses);
    let words =
        if words.is_empty() { table.name.to_owned() } else { format!("{}/{words}", table.name) };
    let value = V::decode(value).ok().and_then(|value| serde_json::to_value(value).ok());
    Some((words, value))
}

fn described(key: &[u8], value: &[u8]) -> Option<Described> {
    use Addresses::{Account, Consensus, Operator};
    of(&PARAMS, Account, key, value)
        .or_else(|| of(&TIP, Account, key, value))
        .or_else(|| of(&TOTALS, Account, key, value))
        .or_else(|| of(&ACCOUNTS, Account, key, value))
        .or_else(|| of(&UNORDERED, Account, key, value))
        .or_else(|| staking(key, value))
        .or_else(|| of(&EVIDENCE, Consensus, key, value))
        .or_else(|| of(&CONSENSUS_KEYS, Consensus, key, value))
        .or_else(|| of(&MODELS, Account, key, value))
        .or_else(|| of(&MODEL_NAMES, Account, key, value))
        .or_else(|| of(&VERSIONS, Account, key, value))
        .or_else(|| of(&VERSION_NUMBERS, Account, key, value))
        .or_else(|| of(&ARTEFACTS, Account, key, value))
        .or_else(|| of(&MANIFESTS, Account, key, value))
        .or_else(|| of(&ALIASES, Account, key, value))
        .or_else(|| of(&POSSESSIONS, Operator, key, value))
        .or_else(|| of(&POSSESSIONS_DUE, Operator, key, value))
        .or_else(|| of(&JOBS, Account, key, value))
        .or_else(|| of(&JOBS_DUE, Account, key, value))
        .or_else(|| of(&DUTIES, Operator, key, value))
        .or_else(|| trials(key, value))
}

fn staking(key: &[u8], value: &[u8]) -> Option<Described> {
    use Addresses::Operator;
    of(&VALIDATORS, Operator, key, value)
        .or_else(|| of(&DELEGATIONS, Operator, key, value))
        .or_else(|| of(&UNBONDINGS, Operator, key, value))
        .or_else(|| of(&UNBONDINGS_OF, Operator, key, value))
        .or_else(|| of(&UNBONDINGS_DUE, Operator, key, value))
        .or_else(|| of(&VALIDATOR_SETS, Operator, key, value))
        .or_else(|| of(&SLASHES, Operator, key, value))
        .or_else(|| of(&SLASHES_DUE, Operator, key, value))
        .or_else(|| of(&COMMITMENTS, Operator, key, value))
        .or_else(|| of(&WAVE, Operator, key, value))
}

fn trials(key: &[u8], value: &[u8]) -> Option<Described> {
    use Addresses::Account;
    of(&TRIALS, Account, key, value)
        .or_else(|| of(&TRACE_NODES, Account, key, value))
        .or_else(|| of(&TRACE_STEPS, Account, key, value))
        .or_else(|| of(&VERIFIED, Account, key, value))
}

#[cfg(test)]
mod tests {
    use lockstep_proto::lockstep::member::v1::Account;
    use prost::Message as _;

    use super::*;

    #[test]
    fn a_key_is_named_by_its_table_and_parts_and_its_value_by_fields() {
        let bytes = ACCOUNTS.key(&[7; 20]);
        assert_eq!(key(&bytes), format!("accounts/{}", address::account(&[7; 20])));
        let account = Account { balance: 12, ..Account::default() };
        let shown = value(&bytes, Some(&account.encode_to_vec()));
        assert_eq!(shown["balance"], 12);
        assert_eq!(value(&bytes, None), serde_json::Value::Null);
        assert_eq!(value(&bytes, Some(&[0xff])), "ff");
        let pair = DELEGATIONS.key(&([1; 20], [2; 20]));
        assert!(key(&pair).starts_with("delegations/lockstepvaloper1"), "{}", key(&pair));
        assert_eq!(key(&PARAMS.key(&())), "params");
        assert_eq!(key(&[0xee, 1]), "state/0x01");
        assert_eq!(key(&bytes[..9]), "accounts/0x0707070707070707");
    }

    #[test]
    fn every_table_is_described() {
        for (prefix, name) in schema() {
            // No table's key is longer than three parts of 32 bytes.
            let known = (0..=96).any(|length| {
                let bytes = [vec![prefix], vec![1; length]].concat();
                described(&bytes, &[]).is_some_and(|(key, _)| key.starts_with(name))
            });
            assert!(known, "{name}");
        }
    }
}
