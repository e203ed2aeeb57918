//! Each signature is checked once: verdicts of `CheckTx` are remembered until the block comes.

use lockstep_audit::signatures::Libsecp256k1;
use lockstep_chain::context;
use lockstep_chain::envelope::{Envelope, Verifier};
use lockstep_chain::error::Fault;
use lockstep_chain::state::StateRead;
use lockstep_chain::state::tables::{ACCOUNTS, Hash};
use quick_cache::sync::Cache;
use rayon::iter::{IntoParallelRefIterator as _, ParallelIterator as _};

/// Signatures that are remembered, about 64 bytes each: more than a mempool holds.
const REMEMBERED_MAX: usize = 65_536;

/// Below this many transactions, threads cost more than they save.
const PARALLEL_TXS_MIN: usize = 8;

/// A verifier that remembers the signatures that were right, at most 65,536 of them.
#[derive(Debug)]
pub struct Verdicts {
    right: Cache<Hash, ()>,
}

impl Default for Verdicts {
    fn default() -> Self {
        Self { right: Cache::new(REMEMBERED_MAX) }
    }
}

impl Verifier for Verdicts {
    fn verify(&self, key: &[u8; 33], digest: &[u8; 32], signature: &[u8; 64]) -> bool {
        let id = lockstep_vm::hash::hash("lockstep/verdict/v1", &[key, digest, signature]);
        if self.right.get(&id).is_some() {
            metrics::counter!(crate::metrics::SIGNATURES, "from" => "memory").increment(1);
            return true;
        }
        metrics::counter!(crate::metrics::SIGNATURES, "from" => "check").increment(1);
        let right = Libsecp256k1.verify(key, digest, signature);
        if right {
            self.right.insert(id, ());
        }
        right
    }
}

impl Verdicts {
    /// Checks the signatures of a block's transactions on all cores, so that execution finds them.
    /// A transaction whose signature cannot be told yet is left to execution.
    ///
    /// # Errors
    /// Only a failing store.
    pub fn warm(&self, state: &(dyn StateRead + Sync), txs: &[Vec<u8>]) -> Result<(), Fault> {
        if txs.len() < PARALLEL_TXS_MIN {
            return Ok(());
        }
        let chain_id = context::tip(state)?.chain_id;
        txs.par_iter().try_for_each(|tx| {
            let Ok(envelope) = Envelope::decode(tx) else { return Ok(()) };
            if let Some(account) = ACCOUNTS.get(state, &envelope.signer)? {
                let digest = envelope.digest(&chain_id, account.number);
                // Execution asks again and decides.
                let _ = envelope.verify(&digest, self);
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use k256::ecdsa::signature::hazmat::PrehashSigner as _;

    use super::*;

    #[test]
    fn a_wrong_signature_is_never_remembered_as_right() {
        let verdicts = Verdicts::default();
        let key = k256::ecdsa::SigningKey::from_slice(&[7; 32]).unwrap();
        let public = lockstep_chain::envelope::public_key_of(&key);
        let digest = [9; 32];
        let signature: k256::ecdsa::Signature = key.sign_prehash(&digest).unwrap();
        let right: [u8; 64] = signature.normalize_s().to_bytes().into();
        for _ in 0..2 {
            assert!(verdicts.verify(&public, &digest, &right));
            for at in 0..64 {
                let mut wrong = right;
                wrong[at] ^= 1;
                assert!(!verdicts.verify(&public, &digest, &wrong));
            }
            assert!(!verdicts.verify(&public, &[8; 32], &right));
        }
        assert_eq!(verdicts.right.len(), 1);
    }
}
