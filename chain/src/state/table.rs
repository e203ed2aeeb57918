//! A typed view of one region of the key space.

use alloc::vec;
use alloc::vec::Vec;

use core::marker::PhantomData;

use prost::Message;

use super::{Overlay, StateRead};
use crate::error::Fault;

/// A key part whose byte order is its logical order: fixed width, big endian.
pub trait Key: Sized {
    /// Appends the bytes.
    fn write(&self, out: &mut Vec<u8>);

    /// Takes the part off the front of `bytes`; `None` where they are too short.
    fn read(bytes: &mut &[u8]) -> Option<Self>;
}

macro_rules! integer_keys {
    ($($integer:ty),*) => {$(
        impl Key for $integer {
            fn write(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_be_bytes());
            }

            fn read(bytes: &mut &[u8]) -> Option<Self> {
                Key::read(bytes).map(Self::from_be_bytes)
            }
        }
    )*};
}

integer_keys!(u8, u32, u64);

impl<const N: usize> Key for [u8; N] {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }

    fn read(bytes: &mut &[u8]) -> Option<Self> {
        let (head, tail) = bytes.split_first_chunk::<N>()?;
        *bytes = tail;
        Some(*head)
    }
}

impl Key for () {
    fn write(&self, _: &mut Vec<u8>) {}

    fn read(_: &mut &[u8]) -> Option<Self> {
        Some(())
    }
}

impl<A: Key, B: Key> Key for (A, B) {
    fn write(&self, out: &mut Vec<u8>) {
        self.0.write(out);
        self.1.write(out);
    }

    fn read(bytes: &mut &[u8]) -> Option<Self> {
        Some((A::read(bytes)?, B::read(bytes)?))
    }
}

impl<A: Key, B: Key, C: Key> Key for (A, B, C) {
    fn write(&self, out: &mut Vec<u8>) {
        self.0.write(out);
        self.1.write(out);
        self.2.write(out);
    }

    fn read(bytes: &mut &[u8]) -> Option<Self> {
        Some((A::read(bytes)?, B::read(bytes)?, C::read(bytes)?))
    }
}

impl<A: Key, B: Key, C: Key, D: Key> Key for (A, B, C, D) {
    fn write(&self, out: &mut Vec<u8>) {
        self.0.write(out);
        self.1.write(out);
        self.2.write(out);
        self.3.write(out);
    }

    fn read(bytes: &mut &[u8]) -> Option<Self> {
        Some((A::read(bytes)?, B::read(bytes)?, C::read(bytes)?, D::read(bytes)?))
    }
}

/// A stored value: a protobuf message, so that a query can hand it out with its proof as it is.
pub trait Value: Message + Default {}
impl<T: Message + Default> Value for T {}

/// `prefix | key` → value.
#[derive(Debug)]
pub struct Table<K, V> {
    /// The first byte of every key.
    pub prefix: u8,
    /// The name in queries and messages; not part of a key.
    pub name: &'static str,
    types: PhantomData<fn(K) -> V>,
}

impl<K: Key, V: Value> Table<K, V> {
    /// A table under its permanent prefix.
    pub(super) const fn new(prefix: u8, name: &'static str) -> Self {
        Self { prefix, name, types: PhantomData }
    }

    /// The full key.
    pub fn key(&self, key: &K) -> Vec<u8> {
        self.start(key)
    }

    /// The value at `key`.
    ///
    /// # Errors
    /// Only when this node's store fails or holds bytes that do not decode.
    pub fn get(&self, state: &dyn StateRead, key: &K) -> Result<Option<V>, Fault> {
        let Some(bytes) = state.get_raw(&self.key(key))? else { return Ok(None) };
        self.decode(&bytes).map(Some)
    }

    /// The value at `key`, which the state machine guarantees to be there.
    ///
    /// # Errors
    /// As [`Table::get`], and when the value is missing.
    pub fn must(&self, state: &dyn StateRead, key: &K) -> Result<V, Fault> {
        self.get(state, key)?.ok_or(Fault::Corrupt(self.name))
    }

    /// Whether there is a value at `key`.
    ///
    /// # Errors
    /// Only when this node's store fails.
    pub fn has(&self, state: &dyn StateRead, key: &K) -> Result<bool, Fault> {
        Ok(state.get_raw(&self.key(key))?.is_some())
    }

    /// Writes `value` at `key`.
    pub fn put(&self, state: &mut Overlay<'_>, key: &K, value: &V) {
        state.put_raw(self.key(key), value.encode_to_vec());
    }

    /// Removes the value at `key`, if any.
    pub fn delete(&self, state: &mut Overlay<'_>, key: &K) {
        state.delete_raw(self.key(key));
    }

    /// The first `limit` entries whose keys begin with the parts `prefix`, in key order.
    ///
    /// # Errors
    /// As [`Table::get`].
    pub fn scan<P: Key>(
        &self,
        state: &dyn StateRead,
        prefix: &P,
        limit: usize,
    ) -> Result<Vec<(K, V)>, Fault> {
        let start = self.start(prefix);
        let end = after_prefix(&start);
        self.range(state, start, &end, limit)
    }

    /// The first `limit` entries of the table from a key on, in key order.
    ///
    /// # Errors
    /// As [`Table::get`].
    pub fn scan_from(
        &self,
        state: &dyn StateRead,
        first: &K,
        limit: usize,
    ) -> Result<Vec<(K, V)>, Fault> {
        self.range(state, self.start(first), &after_prefix(&[self.prefix]), limit)
    }

    fn range(
        &self,
        state: &dyn StateRead,
        mut start: Vec<u8>,
        end: &[u8],
        limit: usize,
    ) -> Result<Vec<(K, V)>, Fault> {
        let mut found = Vec::new();
        while found.len() < limit {
            let Some((key, value)) = state.next_raw(&start, end)? else { break };
            let mut parts = key.get(1..).unwrap_or_default();
            let parsed = K::read(&mut parts).filter(|_| parts.is_empty());
            found.push((parsed.ok_or(Fault::Corrupt(self.name))?, self.decode(&value)?));
            start = key;
            start.push(0);
        }
        Ok(found)
    }

    fn start<P: Key>(&self, parts: &P) -> Vec<u8> {
        let mut out = vec![self.prefix];
        parts.write(&mut out);
        out
    }

    fn decode(&self, bytes: &[u8]) -> Result<V, Fault> {
        V::decode(bytes).map_err(|_| Fault::Corrupt(self.name))
    }
}

/// The least byte string above every string that begins with `prefix`.
fn after_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if let Some(next) = last.checked_add(1) {
            end.push(next);
            return end;
        }
    }
    // Table prefixes stay below 0xff, so this is above every key.
    vec![0xff]
}
