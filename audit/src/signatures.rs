//! Signatures, checked on all cores ahead of the execution that asks for them.

use std::collections::HashMap;

use lockstep_chain::envelope::Verifier;
use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};
use rayon::slice::ParallelSlice as _;
use secp256k1::{Message, PublicKey, ecdsa};

use crate::comet::{Signatures, Zip215};

/// Votes that are checked together: more gain little.
const BATCH_VOTES: usize = 64;

/// The verifier of libsecp256k1, over twice as fast as `k256`. Accepts exactly what
/// [`lockstep_chain::envelope::K256`] does, as a test shows.
#[derive(Debug, Clone, Copy, Default)]
pub struct Libsecp256k1;

impl Verifier for Libsecp256k1 {
    fn verify(&self, key: &[u8; 33], digest: &[u8; 32], signature: &[u8; 64]) -> bool {
        let Ok(key) = PublicKey::from_byte_array_compressed(*key) else { return false };
        let Ok(signature) = ecdsa::Signature::from_compact(signature) else { return false };
        // Refuses a high s by itself.
        ecdsa::verify(&signature, Message::from_digest(*digest), &key).is_ok()
    }
}

/// A signature of a transaction, as its verifier is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TxSignature {
    /// Compressed.
    pub key: [u8; 33],
    /// What was signed.
    pub digest: [u8; 32],
    /// r ‖ s.
    pub signature: [u8; 64],
}

/// Remembers which signatures of transactions are right; checks what it was not told.
#[derive(Debug, Default)]
pub struct RightTxs(HashMap<[u8; 64], ([u8; 33], [u8; 32])>);

impl FromIterator<TxSignature> for RightTxs {
    fn from_iter<I: IntoIterator<Item = TxSignature>>(right: I) -> Self {
        Self(right.into_iter().map(|one| (one.signature, (one.key, one.digest))).collect())
    }
}

impl Verifier for RightTxs {
    fn verify(&self, key: &[u8; 33], digest: &[u8; 32], signature: &[u8; 64]) -> bool {
        let known = self.0.get(signature);
        known.is_some_and(|(of, over)| of == key && over == digest)
            || Libsecp256k1.verify(key, digest, signature)
    }
}

/// A signature of a vote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VoteSignature {
    /// ed25519.
    pub key: [u8; 32],
    /// What was signed.
    pub message: Vec<u8>,
    /// The signature.
    pub signature: Vec<u8>,
}

/// Remembers which signatures of votes are right; checks what it was not told.
#[derive(Debug, Default)]
pub struct RightVotes(HashMap<Vec<u8>, ([u8; 32], Vec<u8>)>);

impl RightVotes {
    /// Checks signatures in batches, on all cores.
    #[must_use]
    pub fn check(votes: &[VoteSignature]) -> Self {
        let right = votes.par_chunks(BATCH_VOTES).flat_map_iter(|chunk| {
            let all = together(chunk);
            chunk
                .iter()
                .filter(move |one| all || Zip215.verify(&one.key, &one.message, &one.signature))
        });
        let entry = |one: &VoteSignature| (one.signature.clone(), (one.key, one.message.clone()));
        Self(right.map(entry).collect::<Vec<_>>().into_par_iter().collect())
    }
}

/// Whether all are right, by one equation with random factors.
fn together(votes: &[VoteSignature]) -> bool {
    let mut batch = ed25519_consensus::batch::Verifier::new();
    for vote in votes {
        let key = ed25519_consensus::VerificationKeyBytes::from(vote.key);
        let Ok(signature) = ed25519_consensus::Signature::try_from(vote.signature.as_slice())
        else {
            return false;
        };
        batch.queue((key, signature, &vote.message));
    }
    batch.verify(rand_core::OsRng).is_ok()
}

impl Signatures for RightVotes {
    fn verify(&self, key: &[u8; 32], message: &[u8], signature: &[u8]) -> bool {
        let known = self.0.get(signature);
        known.is_some_and(|(of, over)| of == key && over == message)
            || Zip215.verify(key, message, signature)
    }
}

#[cfg(test)]
#[path = "signatures_tests.rs"]
mod tests;
