//! `lockstep keys`.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Read as _};

use clap::Subcommand;
use lockstep_client::keystore::{Keystore, Public};
use lockstep_client::wallet::{Mnemonic, Wallet, path, test_index};
use lockstep_client::{Error, Result};
use serde_json::json;
use zeroize::Zeroizing;

use crate::cli::{Globals, PassphraseFrom};
use crate::console::{self, note, say};

#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// Makes a key from 24 new words and shows them once; or recovers one from its words.
    Add {
        /// What to call it here.
        name: String,
        /// Asks for the words (or reads them from standard input) instead of making new ones.
        #[arg(long)]
        recover: bool,
        /// Which key of the words: the last part of m/44'/118'/0'/0/INDEX.
        #[arg(long, default_value_t = 0)]
        index: u32,
        #[command(flatten)]
        passphrase: PassphraseFrom,
    },
    /// Lists names and addresses; needs no passphrase.
    List,
    /// Shows a key's address, path and public key; needs no passphrase.
    Show {
        /// Its name, or a devnet's account.
        name: String,
        /// Prints the address alone, for scripts.
        #[arg(long)]
        address: bool,
    },
    /// Prints a key's address alone, for scripts.
    Address {
        /// Its name, or a devnet's account.
        name: String,
        /// Prints the operator address (lockstepvaloper1…) instead.
        #[arg(long)]
        operator: bool,
    },
    /// Shows a key's words, to write them down.
    Words {
        /// Its name.
        name: String,
        #[command(flatten)]
        passphrase: PassphraseFrom,
    },
}

pub(super) fn run(globals: &Globals, command: &Keys) -> Result<()> {
    let store = Keystore::new(&globals.home());
    match command {
        Keys::Add { name, recover, index, passphrase } => {
            let file = passphrase.passphrase_file.as_deref();
            if store.has(name) {
                let what = format!("a key `{name}` is here already");
                return Err(Error::usage(what, "keys are never overwritten: choose another name"));
            }
            let words = if *recover { recovered()? } else { Mnemonic::generate()? };
            let secret = console::passphrase(file, true)?;
            let public = store.add(name, &words, *index, secret)?;
            added(globals, &public, (!recover).then(|| words.words()));
        }
        Keys::List => {
            let keys = store.list()?;
            let mut text = String::new();
            for key in &keys {
                let _ = writeln!(text, "{:<20} {}", key.name, key.address);
            }
            if keys.is_empty() {
                text.push_str("no keys; `lockstep keys add NAME` makes one");
            }
            say(globals.json, &console::to_json(&keys), &text);
        }
        Keys::Show { name, address } => {
            let key = find(&store, name)?;
            let text = if *address { key.address.clone() } else { described(&key) };
            say(globals.json, &console::to_json(&key), &text);
        }
        Keys::Address { name, operator } => {
            let key = find(&store, name)?;
            let address = if *operator { operator_of(&key.address)? } else { key.address };
            say(globals.json, &json!({ "address": address }), &address);
        }
        Keys::Words { name, passphrase } => {
            let file = passphrase.passphrase_file.as_deref();
            store.show(name)?;
            let words = store.words(name, console::passphrase(file, false)?)?;
            say(globals.json, &json!({ "mnemonic": *words }), &words);
        }
    }
    Ok(())
}

fn added(globals: &Globals, public: &Public, new_words: Option<Zeroizing<String>>) {
    let mut value = console::to_json(public);
    let mut text = described(public);
    if let Some(words) = new_words {
        value["mnemonic"] = words.as_str().into();
        note("write these words down; whoever has them has the key, and they are not shown again:");
        let _ = write!(text, "\n{}", words.as_str());
    }
    say(globals.json, &value, &text);
}

fn recovered() -> Result<Mnemonic> {
    let mut text = Zeroizing::new(String::new());
    if std::io::stdin().is_terminal() {
        *text = console::prompt("words: ")?;
    } else {
        let read = std::io::stdin().take(4096).read_to_string(&mut text);
        read.map_err(|cause| {
            Error::usage(format!("no words: {cause}"), "give them on standard input")
        })?;
    }
    Mnemonic::parse(&text)
}

fn find(store: &Keystore, name: &str) -> Result<Public> {
    match test_index(name) {
        Some(index) if !store.has(name) => {
            let wallet = Wallet::test_account(name)?;
            Ok(Public {
                name: name.into(),
                address: wallet.address_text(),
                path: path(index),
                public_key: hex::encode(wallet.public_key()),
            })
        }
        _ => store.show(name),
    }
}

/// The operator address of the same key.
fn operator_of(address: &str) -> Result<String> {
    lockstep_chain::address::parse_account(address)
        .map(|bytes| lockstep_chain::address::operator(&bytes))
        .map_err(|reject| {
            Error::usage(format!("`{address}`: {reject}"), "is the key's file damaged?")
        })
}

fn described(key: &Public) -> String {
    let operator = operator_of(&key.address).unwrap_or_default();
    format!(
        "name       {}\naddress    {}\noperator   {operator}\npath       {}\npublic key {}\n",
        key.name, key.address, key.path, key.public_key
    )
}
