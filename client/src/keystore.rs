//! Keys on disk: age files that a passphrase opens, mode 0600, readable by stock `age -d`.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use age::secrecy::SecretString;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::wallet::{self, Mnemonic, Wallet};
use crate::{Error, Result};

/// What is known of a key without its passphrase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Public {
    /// What it is called here.
    pub name: String,
    /// `lockstep1…`.
    pub address: String,
    /// The BIP-44 path.
    pub path: String,
    /// Compressed secp256k1, in hex.
    pub public_key: String,
}

/// What the age file holds.
#[derive(Serialize, Deserialize)]
struct Secret {
    mnemonic: String,
    index: u32,
}

/// A folder of keys.
#[derive(Debug, Clone)]
pub struct Keystore {
    folder: PathBuf,
    work_factor: Option<u8>,
}

impl Keystore {
    /// The keys below `home`.
    #[must_use]
    pub fn new(home: &Path) -> Self {
        Self { folder: home.join("keys"), work_factor: None }
    }

    /// Makes opening a key cheaper or dearer: 2^n scrypt rounds instead of about a second.
    #[must_use]
    pub fn with_work_factor(self, log_n: u8) -> Self {
        Self { work_factor: Some(log_n), ..self }
    }

    /// Writes a new key. Never replaces one.
    ///
    /// # Errors
    /// Where the name is taken or no name, or the disk refuses.
    pub fn add(
        &self,
        name: &str,
        mnemonic: &Mnemonic,
        index: u32,
        passphrase: SecretString,
    ) -> Result<Public> {
        check_name(name)?;
        let wallet = Wallet::from_mnemonic(mnemonic, index)?;
        let public = Public {
            name: name.into(),
            address: wallet.address_text(),
            path: wallet::path(index),
            public_key: hex::encode(wallet.public_key()),
        };
        let secret = Secret { mnemonic: mnemonic.words().to_string(), index };
        let sealed = self.seal(&secret, passphrase)?;
        let folder = &self.folder;
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|cause| Error::file("make the folder", folder, cause))?;
        write_new(&self.file(name, "age"), &sealed)?;
        let shown = serde_json::to_vec_pretty(&public).map_err(|cause| corrupt(name, cause))?;
        write_new(&self.file(name, "json"), &shown)?;
        Ok(public)
    }

    /// All keys in order of name.
    ///
    /// # Errors
    /// Where the folder or a file in it cannot be read.
    pub fn list(&self) -> Result<Vec<Public>> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(cause) => return Err(Error::file("read", &self.folder, cause)),
        };
        let mut keys = Vec::new();
        for entry in entries {
            let path = entry.map_err(|cause| Error::file("read", &self.folder, cause))?.path();
            if path.extension().is_some_and(|it| it == "age")
                && let Some(name) = path.file_stem().and_then(|it| it.to_str())
            {
                keys.push(self.show(name)?);
            }
        }
        keys.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(keys)
    }

    /// Whether a key of this name is here.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        check_name(name).is_ok() && self.file(name, "age").exists()
    }

    /// What is known of a key without its passphrase.
    ///
    /// # Errors
    /// Where there is no such key.
    pub fn show(&self, name: &str) -> Result<Public> {
        check_name(name)?;
        let path = self.file(name, "json");
        let bytes = fs::read(&path).map_err(|cause| match cause.kind() {
            io::ErrorKind::NotFound => no_such_key(name, &self.folder),
            _ => Error::file("read", &path, cause),
        })?;
        serde_json::from_slice(&bytes).map_err(|cause| corrupt(name, cause))
    }

    /// Opens a key.
    ///
    /// # Errors
    /// Where there is no such key, others may read its file, or the passphrase is wrong.
    pub fn unlock(&self, name: &str, passphrase: SecretString) -> Result<Wallet> {
        let secret = self.open(name, passphrase)?;
        Wallet::from_mnemonic(&Mnemonic::parse(&secret.mnemonic)?, secret.index)
    }

    /// The words of a key, to write down.
    ///
    /// # Errors
    /// As [`Keystore::unlock`].
    pub fn words(&self, name: &str, passphrase: SecretString) -> Result<Zeroizing<String>> {
        self.open(name, passphrase).map(|secret| Zeroizing::new(secret.mnemonic.clone()))
    }

    fn open(&self, name: &str, passphrase: SecretString) -> Result<Secret> {
        check_name(name)?;
        let path = self.file(name, "age");
        let meta = fs::metadata(&path).map_err(|_| no_such_key(name, &self.folder))?;
        let mode = meta.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            let what = format!("{} has mode {mode:03o}: others can read it", path.display());
            return Err(Error::usage(what, format!("chmod 600 {}", path.display())));
        }
        let sealed = fs::read(&path).map_err(|cause| Error::file("read", &path, cause))?;
        let identity = age::scrypt::Identity::new(passphrase);
        let opened = age::decrypt(&identity, &sealed).map_err(|cause| {
            let wrong = matches!(cause, age::DecryptError::DecryptionFailed);
            let what = if wrong { "wrong passphrase".to_owned() } else { cause.to_string() };
            let hint = "the passphrase given when the key was added; its words can make it anew";
            Error::usage(format!("cannot open the key `{name}`: {what}"), hint)
        })?;
        serde_json::from_slice(&Zeroizing::new(opened)).map_err(|cause| corrupt(name, cause))
    }

    fn seal(&self, secret: &Secret, passphrase: SecretString) -> Result<Vec<u8>> {
        let failed =
            |cause: String| Error::usage(format!("cannot seal the key: {cause}"), "try again");
        let plain = serde_json::to_vec(secret).map_err(|cause| failed(cause.to_string()))?;
        let plain = Zeroizing::new(plain);
        let mut recipient = age::scrypt::Recipient::new(passphrase);
        if let Some(log_n) = self.work_factor {
            recipient.set_work_factor(log_n);
        }
        age::encrypt(&recipient, &plain).map_err(|cause| failed(cause.to_string()))
    }

    fn file(&self, name: &str, extension: &str) -> PathBuf {
        self.folder.join(format!("{name}.{extension}"))
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.mnemonic);
    }
}

/// A name becomes a file name, so it holds no dots and no slashes.
fn check_name(name: &str) -> Result<()> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if name.is_empty() || name.len() > 64 || !name.bytes().all(allowed) {
        let what = format!("`{name}` cannot be the name of a key");
        return Err(Error::usage(what, "1 to 64 letters, digits, - and _"));
    }
    Ok(())
}

fn write_new(path: &Path, bytes: &[u8]) -> Result<()> {
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
    written.map_err(|cause| match cause.kind() {
        io::ErrorKind::AlreadyExists => Error::usage(
            format!("{} exists already", path.display()),
            "keys are never overwritten: choose another name, or move the file away",
        ),
        _ => Error::file("write", path, cause),
    })
}

fn no_such_key(name: &str, folder: &Path) -> Error {
    let what = format!("no key is called `{name}` in {}", folder.display());
    Error::usage(what, "`lockstep keys list` shows them, `lockstep keys add NAME` makes one")
}

fn corrupt(name: &str, cause: impl std::fmt::Display) -> Error {
    let what = format!("the key `{name}` is corrupt: {cause}");
    Error::usage(what, "move its files away and recover it: `lockstep keys add NAME --recover`")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Keystore) {
        let home = tempfile::tempdir().unwrap();
        let store = Keystore::new(home.path()).with_work_factor(2);
        (home, store)
    }

    fn passphrase(text: &str) -> SecretString {
        SecretString::from(text.to_owned())
    }

    #[test]
    fn a_key_opens_with_its_passphrase_and_with_no_other() {
        let (_home, store) = store();
        let words = Mnemonic::generate().unwrap();
        let public = store.add("mine", &words, 3, passphrase("correct horse")).unwrap();
        let wallet = store.unlock("mine", passphrase("correct horse")).unwrap();
        assert_eq!(wallet.address_text(), public.address);
        assert_eq!(*store.words("mine", passphrase("correct horse")).unwrap(), *words.words());
        let refused = store.unlock("mine", passphrase("battery staple")).unwrap_err();
        assert!(refused.to_string().contains("wrong passphrase"), "{refused}");
        assert_eq!(store.list().unwrap(), [public]);
    }

    #[test]
    fn a_key_is_never_overwritten() {
        let (_home, store) = store();
        let words = Mnemonic::generate().unwrap();
        store.add("mine", &words, 0, passphrase("a")).unwrap();
        let error = store.add("mine", &Mnemonic::generate().unwrap(), 0, passphrase("b"));
        assert!(error.unwrap_err().to_string().contains("exists already"));
        store.unlock("mine", passphrase("a")).unwrap();
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let (home, store) = store();
        store.add("mine", &Mnemonic::generate().unwrap(), 0, passphrase("a")).unwrap();
        let path = home.path().join("keys/mine.age");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let error = store.unlock("mine", passphrase("a")).unwrap_err();
        assert!(error.to_string().contains("mode 644"), "{error}");
    }

    #[test]
    fn neither_words_nor_passphrase_stand_in_the_files() {
        let (home, store) = store();
        let words = Mnemonic::generate().unwrap();
        store.add("mine", &words, 0, passphrase("correct horse")).unwrap();
        let first = words.words().split(' ').take(2).collect::<Vec<_>>().join(" ");
        for entry in fs::read_dir(home.path().join("keys")).unwrap() {
            let bytes = fs::read(entry.unwrap().path()).unwrap();
            let text = String::from_utf8_lossy(&bytes);
            assert!(!text.contains(&first) && !text.contains("horse"));
        }
    }

    #[test]
    fn a_name_cannot_lead_out_of_the_folder() {
        let (_home, store) = store();
        for name in ["../x", "a/b", "", ".hidden", "a b"] {
            let added = store.add(name, &Mnemonic::generate().unwrap(), 0, passphrase("a"));
            assert!(added.is_err(), "{name}");
        }
    }
}
