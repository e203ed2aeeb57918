//! What every transaction goes through: shown, confirmed, signed, sent, waited for.

use lockstep_client::keystore::Keystore;
use lockstep_client::rpc::Included;
use lockstep_client::tx::message::Any;
use lockstep_client::tx::{Options, Sender, Sent};
use lockstep_client::wallet::{Wallet, test_index};
use lockstep_client::{Result, render};
use serde_json::{Value, json};

use super::client;
use crate::cli::{Globals, PassphraseFrom, Signing};
use crate::console;

/// A transaction that was sent, and where it stands, unless nobody wanted to wait.
pub(super) struct Submitted {
    pub(super) sent: Sent,
    pub(super) included: Option<Included>,
}

impl Submitted {
    /// Prints what became of it; `words` and `more` are said where it stands in a block.
    pub(super) fn report(&self, globals: &Globals, words: &str, more: Value) {
        let hash = hex::encode(self.sent.hash);
        let mut value = json!({ "hash": hash });
        let text = match &self.included {
            Some(included) => {
                value["height"] = included.height.into();
                value["gas_used"] = included.gas_used.into();
                format!("{words}\nblock {}, transaction {hash}", included.height)
            }
            None => format!("sent, transaction {hash}; `lockstep tx show {hash}` says more"),
        };
        if let (Value::Object(to), Value::Object(from)) = (&mut value, more) {
            to.extend(from);
        }
        console::say(globals.json, &value, &text);
    }
}

/// The key of `--from`.
pub(super) fn wallet(globals: &Globals, signing: &Signing) -> Result<Wallet> {
    wallet_of(globals, &signing.from, &signing.passphrase)
}

/// The key of a name.
pub(super) fn wallet_of(
    globals: &Globals,
    name: &str,
    passphrase: &PassphraseFrom,
) -> Result<Wallet> {
    let store = Keystore::new(&globals.home());
    // A key of one's own by that name comes first.
    if !store.has(name) && test_index(name).is_some() {
        return Wallet::test_account(name);
    }
    store.show(name)?;
    store.unlock(name, console::passphrase(passphrase.passphrase_file.as_deref(), false)?)
}

/// A sender for a key.
pub(super) async fn sender(globals: &Globals, signing: &Signing, from: &Wallet) -> Result<Sender> {
    let options = Options {
        chain_id: signing.chain_id.clone(),
        gas_limit: signing.gas,
        fee: signing.fee.map(|fee| fee.0),
        memo: signing.memo.clone(),
        timeout: signing.timeout(),
    };
    Sender::new(&client(globals)?, from, options).await
}

/// Shows, asks, signs, sends, and waits unless told otherwise.
pub(super) async fn submit(
    globals: &Globals,
    signing: &Signing,
    messages: impl FnOnce(&Wallet) -> Vec<Any>,
) -> Result<Submitted> {
    let from = wallet(globals, signing)?;
    let sender = sender(globals, signing, &from).await?;
    send(&sender, signing, messages(&from)).await
}

/// [`submit`] with a sender that is there already.
pub(super) async fn send(
    sender: &Sender,
    signing: &Signing,
    messages: Vec<Any>,
) -> Result<Submitted> {
    let unsigned = sender.prepare(messages).await?;
    console::note(&render::transaction(&unsigned, &sender.wallet().address_text())?);
    if !signing.yes {
        console::confirm("sign and send?")?;
    }
    let sent = sender.broadcast(unsigned).await?;
    let included = if signing.no_wait { None } else { Some(sender.wait(&sent).await?) };
    Ok(Submitted { sent, included })
}
