//! What transactions move.

use lockstep_chain::address::{Address, from_public_key, parse_account, parse_operator};
use lockstep_chain::block::TxOutcome;
use lockstep_proto::cosmos::bank::v1beta1::MsgSend;
use lockstep_proto::cosmos::base::v1beta1::Coin;
use lockstep_proto::cosmos::crypto::secp256k1::PubKey;
use lockstep_proto::cosmos::staking::v1beta1::{MsgCreateValidator, MsgDelegate, MsgUndelegate};
use lockstep_proto::cosmos::tx::v1beta1::{AuthInfo, TxBody, TxRaw};
use lockstep_proto::lockstep::job::v1::MsgPostJob;
use lockstep_proto::lockstep::model::v1::{
    MsgPayRoyalty, MsgPublishVersion, MsgRegisterModel, MsgSetAlias,
};
use prost::{Message, Name};
use prost_types::Any;

use super::{Books, Job, Pot, Unbonding};
use crate::Compared;
use crate::amounts::{lineage, share};
use crate::report::Difference;

/// A transaction that passed the chain's checks is what these books can read.
fn unread(what: &str) -> Box<Difference> {
    Difference::new(what, "something that a block can hold", "something else").into()
}

fn read<M: Message + Default>(bytes: &[u8], what: &str) -> Compared<M> {
    M::decode(bytes).map_err(|_| unread(what))
}

fn account(text: &str) -> Compared<Address> {
    parse_account(text).map_err(|_| unread("an account's address"))
}

fn operator(text: &str) -> Compared<Address> {
    parse_operator(text).map_err(|_| unread("an operator's address"))
}

fn amount(coin: Option<&Coin>) -> Compared<u64> {
    coin.and_then(|coin| coin.amount.parse().ok()).ok_or_else(|| unread("an amount"))
}

impl Books {
    /// Enters a transaction that was accepted; its messages may have failed. What a message gave
    /// back stands in the events, which come after all messages: so pots are settled at the end.
    pub(super) fn transaction(&mut self, bytes: &[u8], result: &TxOutcome) -> Compared {
        let raw: TxRaw = read(bytes, "a transaction")?;
        let auth: AuthInfo = read(&raw.auth_info_bytes, "a transaction's signer")?;
        let key = auth.signer_infos.first().and_then(|info| info.public_key.as_ref());
        let key: PubKey = read(&key.ok_or_else(|| unread("a key"))?.value, "a key")?;
        let key = key.key.as_slice().try_into().map_err(|_| unread("a key"))?;
        let coins = auth.fee.map(|fee| fee.amount).unwrap_or_default();
        if let Some(coin) = coins.first() {
            let (from, to) = (Pot::Account(from_public_key(&key)), Pot::Account(self.treasury));
            self.ledger.transfer(from, to, amount(Some(coin))?);
            self.ledger.settle()?;
        }
        if result.code != 0 {
            return Ok(());
        }
        let body: TxBody = read(&raw.body_bytes, "a transaction's messages")?;
        for message in &body.messages {
            self.message(message)?;
        }
        result.events.iter().try_for_each(|event| self.event(event))?;
        self.ledger.settle()
    }

    fn message(&mut self, any: &Any) -> Compared {
        let is = |url: String| any.type_url == url;
        if is(MsgSend::type_url()) {
            self.send(&read(&any.value, "MsgSend")?)
        } else if is(MsgCreateValidator::type_url()) {
            let message: MsgCreateValidator = read(&any.value, "MsgCreateValidator")?;
            let operator = operator(&message.validator_address)?;
            let stake = amount(message.value.as_ref())?;
            self.ledger.transfer(Pot::Account(operator), Pot::Bonded(operator), stake);
            Ok(())
        } else if is(MsgDelegate::type_url()) {
            let message: MsgDelegate = read(&any.value, "MsgDelegate")?;
            let from = Pot::Account(account(&message.delegator_address)?);
            let to = Pot::Bonded(operator(&message.validator_address)?);
            self.ledger.transfer(from, to, amount(message.amount.as_ref())?);
            Ok(())
        } else if is(MsgUndelegate::type_url()) {
            self.undelegate(&read(&any.value, "MsgUndelegate")?)
        } else if is(MsgRegisterModel::type_url()) {
            let message: MsgRegisterModel = read(&any.value, "MsgRegisterModel")?;
            let owner = account(&message.owner)?;
            self.models.register(&owner, &message).ok_or_else(|| unread("a model"))
        } else if is(MsgPublishVersion::type_url()) {
            let message = read(&any.value, "MsgPublishVersion")?;
            self.models.publish(&message).ok_or_else(|| unread("a version"))
        } else if is(MsgSetAlias::type_url()) {
            let message = read(&any.value, "MsgSetAlias")?;
            self.models.set_alias(&message).ok_or_else(|| unread("an alias"))
        } else if is(MsgPayRoyalty::type_url()) {
            self.pay_royalty(&read(&any.value, "MsgPayRoyalty")?)
        } else if is(MsgPostJob::type_url()) {
            self.post_job(&read(&any.value, "MsgPostJob")?)
        } else {
            // Every other message moves nothing, or what its events say.
            Ok(())
        }
    }

    fn send(&mut self, message: &MsgSend) -> Compared {
        let from = Pot::Account(account(&message.from_address)?);
        let to = Pot::Account(account(&message.to_address)?);
        for coin in &message.amount {
            self.ledger.transfer(from, to, amount(Some(coin))?);
        }
        Ok(())
    }

    fn undelegate(&mut self, message: &MsgUndelegate) -> Compared {
        let delegator = account(&message.delegator_address)?;
        let operator = operator(&message.validator_address)?;
        self.unbonded += 1;
        let id = self.unbonded;
        let entry = Unbonding { delegator, operator, created_height: self.height };
        self.unbondings.insert(id, entry);
        let amount = amount(message.amount.as_ref())?;
        self.ledger.transfer(Pot::Bonded(operator), Pot::Unbonding(id), amount);
        Ok(())
    }

    fn pay_royalty(&mut self, message: &MsgPayRoyalty) -> Compared {
        let payer = Pot::Account(account(&message.payer)?);
        let (_, version) = self.models.resolve(&message.model).ok_or_else(|| unread("a model"))?;
        let mut left = message.amount;
        for (recipient, part) in lineage(&version.recipients, message.amount) {
            let recipient = recipient.as_slice().try_into().map_err(|_| unread("a recipient"))?;
            self.ledger.transfer(payer, Pot::Account(recipient), part);
            let royalties = self.royalties.entry(recipient).or_default();
            royalties.direct = royalties.direct.saturating_add(part);
            left = left.saturating_sub(part);
        }
        self.ledger.transfer(payer, Pot::Account(self.treasury), left);
        Ok(())
    }

    fn post_job(&mut self, message: &MsgPostJob) -> Compared {
        let poster = account(&message.poster)?;
        let (id, version) = self.models.resolve(&message.model).ok_or_else(|| unread("a model"))?;
        let bytes = match u64::try_from(message.input.len()) {
            Ok(length) if length > 0 => length,
            _ => message.input_bytes,
        };
        let tokens = u32::try_from(bytes / 4).map_err(|_| unread("an input"))?;
        let fee = version.fee(tokens, self.params.compute_price);
        let deposit = share(fee, self.params.deposit_bps.into(), 10_000);
        let posting_charge = self.params.posting_charge;
        let job = Job { poster, version: id, fee, deposit, posting_charge, paid_out: false };
        let number = u64::try_from(self.jobs.len()).unwrap_or(u64::MAX).saturating_add(1);
        self.jobs.insert(number, job);
        let held = fee.saturating_add(deposit).saturating_add(posting_charge);
        self.ledger.transfer(Pot::Account(poster), Pot::Escrow(number), held);
        Ok(())
    }
}
