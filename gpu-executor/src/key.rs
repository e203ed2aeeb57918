//! The executor's key, and what is derived from it.

use std::fmt;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use k256::ecdsa::SigningKey;
use lockstep_chain::address::{self, Address};
use lockstep_chain::envelope::public_key_of;

/// Names the use of the key in [`Key::salt`], so that no other use of it can give the same bytes.
const SALT_CONTEXT: &str = "lockstep 2026 executor salt of a commitment v1";

/// Why the key could not be read.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// There is no such file, or it cannot be read.
    #[error("cannot read the key {path}: {source}; hint: `lockstepd init` writes one")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others may read it.
    #[error(
        "the key {path} has mode {mode:o}, so others can read it; hint: chmod 600 {path}, and \
         change the key if anybody may have read it"
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It holds no secp256k1 key.
    #[error("the key {path} is not a secp256k1 key in 64 hex digits")]
    Malformed {
        /// The file.
        path: PathBuf,
    },
}

/// The secp256k1 key that an executor signs its transactions with.
#[derive(Clone)]
pub struct Key {
    signing: SigningKey,
    salts: [u8; 32],
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", address::account(&self.address()))
    }
}

impl Key {
    /// Reads a key of 64 hex digits from a file that only its owner can read.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let failed = |source| KeyError::Read { path: path.to_owned(), source };
        let mode = std::fs::metadata(path).map_err(failed)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(KeyError::Open { path: path.to_owned(), mode });
        }
        let text = std::fs::read_to_string(path).map_err(failed)?;
        let malformed = || KeyError::Malformed { path: path.to_owned() };
        let bytes = hex::decode(text.trim()).map_err(|_| malformed())?;
        Self::from_bytes(&bytes).ok_or_else(malformed)
    }

    /// The key of 32 bytes; `None` where they are none.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        // `from_slice` alone would take a shorter one.
        let bytes: &[u8; 32] = bytes.try_into().ok()?;
        let signing = SigningKey::from_slice(bytes).ok()?;
        Some(Self { salts: blake3::derive_key(SALT_CONTEXT, bytes), signing })
    }

    /// What signs transactions.
    #[must_use]
    pub fn signing(&self) -> &SigningKey {
        &self.signing
    }

    /// The account.
    #[must_use]
    pub fn address(&self) -> Address {
        address::from_public_key(&public_key_of(&self.signing))
    }

    /// The salt of a commitment: a keyed hash, so that nobody can guess it and that it is the same
    /// after a restart, when a commitment already stands on the chain.
    #[must_use]
    pub fn salt(&self, chain_id: &str, job: u64, attempt: u32) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_keyed(&self.salts);
        hasher.update(&(chain_id.len() as u64).to_le_bytes());
        hasher.update(chain_id.as_bytes());
        hasher.update(&job.to_le_bytes());
        hasher.update(&attempt.to_le_bytes());
        hasher.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(mode: u32, text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("executor.key");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        (folder, path)
    }

    #[test]
    fn a_key_that_others_can_read_is_refused_with_the_way_out() {
        let (_folder, path) = write(0o640, &"11".repeat(32));
        let error = Key::read(&path).unwrap_err();
        assert!(matches!(error, KeyError::Open { mode: 0o640, .. }));
        assert!(error.to_string().contains("hint: chmod 600"), "{error}");
    }

    #[test]
    fn a_private_key_file_is_read_with_or_without_its_newline() {
        let (_folder, path) = write(0o600, &format!("{}\n", "11".repeat(32)));
        let key = Key::read(&path).unwrap();
        assert_eq!(key.address(), Key::from_bytes(&[0x11; 32]).unwrap().address());
    }

    #[test]
    fn a_file_without_a_key_is_refused() {
        for text in ["", "zz", &"00".repeat(32), &"11".repeat(31)] {
            let (_folder, path) = write(0o600, text);
            assert!(matches!(Key::read(&path), Err(KeyError::Malformed { .. })), "{text:?}");
        }
    }

    #[test]
    fn salts_are_stable_over_a_restart_and_differ_in_everything_they_are_made_of() {
        let salt = |key: u8, chain: &str, job, attempt| {
            Key::from_bytes(&[key; 32]).unwrap().salt(chain, job, attempt)
        };
        let first = salt(1, "a-test-1", 7, 1);
        assert_eq!(first, salt(1, "a-test-1", 7, 1));
        for other in [
            salt(2, "a-test-1", 7, 1),
            salt(1, "a-test-2", 7, 1),
            salt(1, "a-test-1", 8, 1),
            salt(1, "a-test-1", 7, 2),
        ] {
            assert_ne!(first, other);
        }
    }
}
