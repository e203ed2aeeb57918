//! From messages to a block: gas, fee, signature, broadcast and waiting.

pub mod message;

use std::time::{Duration, Instant};

use lockstep_chain::envelope::{Unsigned, tx_hash};
use lockstep_chain::error::WRONG_SEQUENCE;
use lockstep_proto::cosmos::base::abci::v1beta1::TxMsgData;
use lockstep_proto::cosmos::tx::v1beta1::{SimulateRequest, SimulateResponse};
use prost::{Message, Name};
use prost_types::Any;
use tokio::sync::Mutex;

use crate::codes::Refusal;
use crate::rpc::{Client, Included};
use crate::wallet::Wallet;
use crate::{Error, Result, query};

/// How often a node is asked whether a transaction is in a block.
const POLL: Duration = Duration::from_millis(100);

/// How to send.
#[derive(Debug, Clone)]
pub struct Options {
    /// The network that it must be; any where none.
    pub chain_id: Option<String>,
    /// Gas to sign; simulated where none.
    pub gas_limit: Option<u64>,
    /// Fee to sign, in ulock; gas times price where none.
    pub fee: Option<u64>,
    /// A public note.
    pub memo: String,
    /// How long to wait for inclusion.
    pub timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        let timeout = Duration::from_mins(1);
        Self { chain_id: None, gas_limit: None, fee: None, memo: String::new(), timeout }
    }
}

/// A transaction on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// By which it is known.
    pub hash: [u8; 32],
    /// The node's height when it was handed in; it stands in a later block.
    pub after_height: u64,
}

/// Sends for one account, in order, also many at once.
///
/// It counts the account's sequence itself, so the next transaction need not wait until the last
/// one is in a block.
#[derive(Debug)]
pub struct Sender {
    client: Client,
    wallet: Wallet,
    options: Options,
    chain_id: String,
    account_number: u64,
    gas_price: u64,
    next_sequence: Mutex<u64>,
}

impl Sender {
    /// Asks the node for network, account and gas price.
    ///
    /// # Errors
    /// Where it is another network than the options say, the key is a test account's and the
    /// network is not one for tests, or the account is no member.
    pub async fn new(client: &Client, wallet: &Wallet, options: Options) -> Result<Self> {
        let chain_id = client.status().await?.chain_id;
        if let Some(expected) = options.chain_id.as_ref().filter(|it| **it != chain_id) {
            let what = format!("{} is on network {chain_id}, not {expected}", client.url());
            return Err(Error::usage(what, "check --node and --chain-id"));
        }
        wallet.allow_on(&chain_id)?;
        let account = query::account(client, &wallet.address_text()).await?;
        let gas_price = query::params(client).await?.gas_price;
        Ok(Self {
            client: client.clone(),
            wallet: wallet.clone(),
            options,
            chain_id,
            account_number: account.number,
            gas_price,
            next_sequence: Mutex::new(account.sequence),
        })
    }

    /// Who signs.
    #[must_use]
    pub fn wallet(&self) -> &Wallet {
        &self.wallet
    }

    /// The node.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Puts gas and fee around messages. The sequence shown may be overtaken until it is sent.
    ///
    /// # Errors
    /// [`Error::Rejected`] where a simulation says that it would fail.
    pub async fn prepare(&self, messages: Vec<Any>) -> Result<Unsigned> {
        let mut unsigned = Unsigned {
            chain_id: self.chain_id.clone(),
            account_number: self.account_number,
            sequence: *self.next_sequence.lock().await,
            messages,
            memo: self.options.memo.clone(),
            ..Unsigned::default()
        };
        unsigned.gas_limit = match self.options.gas_limit {
            Some(gas) => gas,
            None => self.simulate(&unsigned).await?,
        };
        unsigned.fee = self.options.fee.unwrap_or_else(|| fee(unsigned.gas_limit, self.gas_price));
        Ok(unsigned)
    }

    /// The gas to sign for: what it takes now, and a third more, since the state moves on.
    async fn simulate(&self, unsigned: &Unsigned) -> Result<u64> {
        // With transactions in flight the local sequence is ahead of the state's.
        let account = query::account(&self.client, &self.wallet.address_text()).await?;
        let now = Unsigned { sequence: account.sequence, ..unsigned.clone() };
        let tx_bytes = now.unsigned(&self.wallet.public_key());
        let path = "/cosmos.tx.v1beta1.Service/Simulate";
        let answer: SimulateResponse =
            query::ask(&self.client, path, &SimulateRequest { tx_bytes }).await?;
        let used = answer.gas_info.map_or(0, |gas| gas.gas_used);
        Ok(used.saturating_add(used / 3).saturating_add(1000))
    }

    /// Signs with the next sequence and hands in. Nothing is counted where it is refused.
    ///
    /// # Errors
    /// [`Error::Rejected`]; [`Error::Unknown`] where the connection broke while it was handed in.
    pub async fn broadcast(&self, mut unsigned: Unsigned) -> Result<Sent> {
        let mut next = self.next_sequence.lock().await;
        let after_height = self.client.status().await?.height;
        for second_time in [false, true] {
            unsigned.sequence = *next;
            let bytes = unsigned.sign(self.wallet.key());
            let hash = tx_hash(&bytes);
            match self.client.broadcast(&bytes).await {
                Ok(()) => {
                    *next += 1;
                    return Ok(Sent { hash, after_height });
                }
                // Somebody else signed with this key meanwhile: count anew, once.
                Err(Error::Rejected(refusal))
                    if refusal.code == WRONG_SEQUENCE.code && !second_time =>
                {
                    let address = self.wallet.address_text();
                    *next = query::account(&self.client, &address).await?.sequence;
                }
                Err(Error::Unreachable { .. }) => {
                    let what = format!("transaction {}", hex::encode(hash));
                    return Err(Error::Unknown { what, seconds: 0 });
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::Rejected(Refusal { code: WRONG_SEQUENCE.code, log: String::new() }))
    }

    /// Waits until it stands in a block and has succeeded there.
    ///
    /// # Errors
    /// [`Error::Failed`], or [`Error::Unknown`] after the timeout.
    pub async fn wait(&self, sent: &Sent) -> Result<Included> {
        wait(&self.client, sent, self.options.timeout).await
    }
}

/// Prepares, signs, hands in and waits: one transaction of one account.
///
/// # Errors
/// As [`Sender::new`], [`Sender::prepare`], [`Sender::broadcast`] and [`Sender::wait`].
pub async fn send(
    client: &Client,
    wallet: &Wallet,
    messages: Vec<Any>,
    options: &Options,
) -> Result<Included> {
    let sender = Sender::new(client, wallet, options.clone()).await?;
    let unsigned = sender.prepare(messages).await?;
    let sent = sender.broadcast(unsigned).await?;
    sender.wait(&sent).await
}

/// Waits until a transaction stands in a block and has succeeded there.
///
/// # Errors
/// [`Error::Failed`], or [`Error::Unknown`] after the timeout.
pub async fn wait(client: &Client, sent: &Sent, timeout: Duration) -> Result<Included> {
    let start = Instant::now();
    let mut scan_from = sent.after_height + 1;
    let mut indexed = true;
    while start.elapsed() < timeout {
        let found = if indexed {
            client.tx(&sent.hash).await
        } else {
            scan(client, &sent.hash, &mut scan_from).await
        };
        match found {
            Ok(Some(included)) => return succeeded(included),
            // Without an index the blocks themselves are read.
            Err(Error::Protocol { what, .. }) if what.contains("indexing is disabled") => {
                indexed = false;
            }
            // The transaction is out: a node that restarts must not look like a failure.
            Ok(None) | Err(Error::Unreachable { .. } | Error::Protocol { .. }) => {}
            Err(error) => return Err(error),
        }
        tokio::time::sleep(POLL).await;
    }
    let what = format!("transaction {}", hex::encode(sent.hash));
    Err(Error::Unknown { what, seconds: timeout.as_secs() })
}

async fn scan(client: &Client, hash: &[u8; 32], from: &mut u64) -> Result<Option<Included>> {
    while *from <= client.status().await?.height {
        let found = client.tx_in_block(hash, *from).await?;
        if found.is_some() {
            return Ok(found);
        }
        *from += 1;
    }
    Ok(None)
}

/// Turns a failure in a block into an error.
///
/// # Errors
/// [`Error::Failed`].
pub fn succeeded(included: Included) -> Result<Included> {
    if included.code == 0 {
        return Ok(included);
    }
    let refusal = Refusal { code: included.code, log: included.log };
    Err(Error::Failed { refusal, hash: included.hash, height: included.height })
}

/// What one message of a transaction answered.
///
/// # Errors
/// Where the answer is of another kind.
pub fn response<M: Message + Name + Default>(included: &Included, index: usize) -> Result<M> {
    let read = || {
        let data = TxMsgData::decode(included.data.as_slice()).ok()?;
        let any = data.msg_responses.into_iter().nth(index)?;
        if any.type_url == M::type_url() { M::decode(any.value.as_slice()).ok() } else { None }
    };
    read().ok_or_else(|| Error::protocol("the node", format!("no {} in the result", M::NAME)))
}

/// The fee that a gas limit needs: at a price per million gas, rounded up, at least 1 ulock.
#[must_use]
pub fn fee(gas_limit: u64, gas_price: u64) -> u64 {
    let exact = u128::from(gas_limit) * u128::from(gas_price);
    u64::try_from(exact.div_ceil(1_000_000)).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fee_is_rounded_up_and_never_nothing() {
        assert_eq!(fee(100_000, 25_000), 2500);
        assert_eq!(fee(100_001, 25_000), 2501);
        assert_eq!(fee(5, 0), 1);
        assert_eq!(fee(u64::MAX, u64::MAX), u64::MAX);
    }

    #[test]
    fn a_failure_in_a_block_is_no_success() {
        let included = Included {
            hash: "ab".into(),
            height: 9,
            code: 14,
            log: String::new(),
            data: vec![],
            gas_wanted: 1,
            gas_used: 1,
            events: vec![],
        };
        let error = succeeded(included).unwrap_err();
        assert_eq!((error.exit_code(), error.code()), (3, Some(14)));
    }
}
