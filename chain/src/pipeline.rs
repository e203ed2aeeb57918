//! From bytes to writes: the checks that every transaction passes, once and in this order.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use lockstep_proto::cosmos::base::abci::v1beta1::TxMsgData;
use lockstep_proto::lockstep::chain::v1::{Params, Tip};
use lockstep_proto::lockstep::member::v1::Account;
use prost::Message as _;

use crate::bank::{address_of, deposit};
use crate::context::{Context, share_up};
use crate::envelope::{Envelope, Verifier};
use crate::error::{
    DUTY_QUOTA, EXPIRED, FEE_TOO_LOW, Fault, GAS_LIMIT_TOO_HIGH, INSUFFICIENT_FUNDS, NOT_A_MEMBER,
    OUT_OF_GAS, OVERFLOW, REPLAYED, Reject, TxError, UNAUTHORIZED, WRONG_SEQUENCE,
};
use crate::event::Event;
use crate::limits::{
    FREE_FAILURE_TXS, GAS_PER_BYTE, GAS_PER_SIGNATURE, MOVE_GAS_MAX, SEQUENCE_AHEAD_MAX,
    UNORDERED_MS_MAX,
};
use crate::state::tables::{ACCOUNTS, UNORDERED};
use crate::state::{Overlay, Writes};
use crate::trial;
use crate::tx::role_bit;

/// What became of a transaction. Code, data and gas are part of consensus.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TxOutcome {
    /// Zero, or [`crate::error::Reject`].
    pub code: u32,
    /// For people.
    pub log: String,
    /// Encoded `TxMsgData`.
    pub data: Vec<u8>,
    /// The limit that was signed.
    pub gas_wanted: u64,
    /// What was used.
    pub gas_used: u64,
    /// What observers are told.
    pub events: Vec<Event>,
}

/// What the transaction is executed for.
#[derive(Clone, Copy)]
pub enum Mode<'a> {
    /// It waits in the mempool: later sequences are fine.
    Check(&'a dyn Verifier),
    /// It stands in a block.
    Deliver(&'a dyn Verifier),
    /// A wallet asks for the gas: neither signature nor fee count.
    Simulate,
}

impl core::fmt::Debug for Mode<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Check(_) => "Check",
            Self::Deliver(_) => "Deliver",
            Self::Simulate => "Simulate",
        })
    }
}

/// Executes a transaction on top of `base`.
///
/// A refused one leaves no writes. One that was accepted but whose messages fail leaves its fee and
/// its sequence: the block carried it, and it must not come again.
///
/// # Errors
/// Only a [`Fault`]: the caller must stop the node.
pub fn execute(
    base: &Overlay<'_>,
    params: &Params,
    tip: &Tip,
    bytes: &[u8],
    mode: Mode<'_>,
) -> Result<(TxOutcome, Writes), Fault> {
    let decoded = match mode {
        Mode::Simulate => Envelope::decode_unsigned(bytes),
        Mode::Check(_) | Mode::Deliver(_) => Envelope::decode(bytes),
    };
    let envelope = match decoded {
        Ok(envelope) => envelope,
        Err(reject) => return Ok((TxOutcome::refused(reject), Writes::new())),
    };
    let mut pending = Overlay::new(base);
    let mut ctx = Context::new(&mut pending, params, tip);
    match ante(&mut ctx, &envelope, mode) {
        Ok(()) => {}
        Err(TxError::Reject(reject)) => {
            return Ok((TxOutcome::refused(reject), Writes::new()));
        }
        Err(TxError::Fault(fault)) => return Err(fault),
    }
    let entry = entry_gas(&envelope);
    let spent = entry.saturating_add(pending.gas());

    let mut effects = Overlay::new(&pending);
    let mut ctx = Context::new(&mut effects, params, tip);
    ctx.waits = matches!(mode, Mode::Check(_));
    let allowed = match mode {
        Mode::Simulate => Some(u64::MAX),
        _ if envelope.only_moves() => MOVE_GAS_MAX.checked_sub(spent),
        Mode::Check(_) | Mode::Deliver(_) => envelope.gas_limit.checked_sub(spent),
    };
    let result = match allowed {
        Some(allowed) => messages(&mut ctx, &envelope, allowed),
        None => Err(OUT_OF_GAS.into()),
    };
    let events = core::mem::take(&mut ctx.events);
    let gas_used = spent.saturating_add(effects.gas());
    let mut outcome =
        TxOutcome { gas_wanted: envelope.gas_limit, gas_used, ..TxOutcome::default() };
    match result {
        Ok(data) => {
            outcome.data = data;
            outcome.events = events;
            let writes = effects.into_writes();
            pending.absorb(writes);
        }
        Err(TxError::Reject(reject)) => {
            outcome.code = reject.code;
            outcome.log = String::from(reject.reason);
            drop(effects);
            if envelope.fee == 0 {
                charge_quota(&mut pending, &envelope)?;
            }
        }
        Err(TxError::Fault(fault)) => return Err(fault),
    }
    Ok((outcome, pending.into_writes()))
}

fn entry_gas(envelope: &Envelope) -> u64 {
    let bytes = u64::try_from(envelope.bytes).unwrap_or(u64::MAX);
    bytes.saturating_mul(GAS_PER_BYTE).saturating_add(GAS_PER_SIGNATURE)
}

/// Everything before the messages: account, replay, fee and signature. Cheap checks come first.
fn ante(ctx: &mut Context<'_, '_>, envelope: &Envelope, mode: Mode<'_>) -> Result<(), TxError> {
    let signer = &envelope.signer;
    let mut account = ACCOUNTS.get(ctx.state, signer)?.ok_or(NOT_A_MEMBER)?;
    if account.roles == 0 {
        return Err(NOT_A_MEMBER.into());
    }
    roles(envelope, account.roles)?;
    // Here, so that moves that fail count as well: whoever left another's move out for them has filled
    // the block's budget.
    trial::spend(ctx, envelope.moves(), matches!(mode, Mode::Deliver(_)))?;
    if envelope.timeout_height != 0 && envelope.timeout_height < ctx.tip.height {
        return Err(EXPIRED.into());
    }
    fee(ctx, envelope, &mut account, mode)?;
    let digest = envelope.digest(&ctx.tip.chain_id, account.number);
    match envelope.unordered_until_ms {
        Some(until_ms) => once(ctx, until_ms, digest)?,
        None => in_order(envelope, &mut account, mode)?,
    }
    if let Mode::Check(verifier) | Mode::Deliver(verifier) = mode {
        envelope.verify(&digest, verifier)?;
    }
    if account.public_key.is_empty() {
        account.public_key = envelope.public_key.to_vec();
    }
    ACCOUNTS.put(ctx.state, signer, &account);
    if envelope.fee > 0 && !matches!(mode, Mode::Simulate) {
        let treasury = address_of(&ctx.params.treasury)?;
        deposit(ctx, &treasury, envelope.fee)?;
    }
    Ok(())
}

/// The role of each message's signer. It comes before the fee, so that nobody pays for a refusal.
fn roles(envelope: &Envelope, held: u32) -> Result<(), Reject> {
    for action in &envelope.actions {
        let needed = action.kind.roles.iter().fold(0, |set, role| set | role_bit(*role));
        if needed != 0 && needed & held == 0 {
            return Err(UNAUTHORIZED);
        }
    }
    Ok(())
}

fn fee(
    ctx: &Context<'_, '_>,
    envelope: &Envelope,
    account: &mut Account,
    mode: Mode<'_>,
) -> Result<(), TxError> {
    if matches!(mode, Mode::Simulate) {
        return Ok(());
    }
    if envelope.gas_limit > ctx.params.tx_gas_max {
        return Err(GAS_LIMIT_TOO_HIGH.into());
    }
    let duty = envelope.actions.iter().all(|action| action.kind.duty);
    if duty && envelope.fee == 0 {
        return duty_quota(ctx, account);
    }
    let needed = share_up(envelope.gas_limit, ctx.params.gas_price, 1_000_000);
    if envelope.fee < needed.max(1) {
        return Err(FEE_TOO_LOW.into());
    }
    account.balance = account.balance.checked_sub(envelope.fee).ok_or(INSUFFICIENT_FUNDS)?;
    Ok(())
}

/// Counts a free transaction of an executor against its epoch's quota.
fn duty_quota(ctx: &Context<'_, '_>, account: &mut Account) -> Result<(), TxError> {
    let epoch = ctx.tip.height.checked_div(ctx.params.epoch_blocks).unwrap_or(0);
    if account.free_epoch != epoch {
        account.free_epoch = epoch;
        account.free_used = 0;
    }
    if account.free_used >= ctx.params.free_txs_epoch_max {
        return Err(DUTY_QUOTA.into());
    }
    account.free_used = account.free_used.saturating_add(1);
    Ok(())
}

/// A free transaction that fails takes more of the quota: nobody fills blocks with them for long.
fn charge_quota(state: &mut Overlay<'_>, envelope: &Envelope) -> Result<(), Fault> {
    let mut account = ACCOUNTS.must(state, &envelope.signer)?;
    account.free_used = account.free_used.saturating_add(FREE_FAILURE_TXS);
    ACCOUNTS.put(state, &envelope.signer, &account);
    Ok(())
}

fn in_order(envelope: &Envelope, account: &mut Account, mode: Mode<'_>) -> Result<(), Reject> {
    let ahead = envelope.sequence.checked_sub(account.sequence).ok_or(WRONG_SEQUENCE)?;
    let allowed = match mode {
        Mode::Check(_) | Mode::Simulate => SEQUENCE_AHEAD_MAX,
        Mode::Deliver(_) => 0,
    };
    if ahead > allowed {
        return Err(WRONG_SEQUENCE);
    }
    account.sequence = account.sequence.checked_add(1).ok_or(OVERFLOW)?;
    Ok(())
}

/// Remembers an unordered transaction until it expires.
fn once(ctx: &mut Context<'_, '_>, until_ms: u64, digest: [u8; 32]) -> Result<(), TxError> {
    let now_ms = ctx.tip.time_ms;
    if until_ms <= now_ms || until_ms > now_ms.saturating_add(UNORDERED_MS_MAX) {
        return Err(EXPIRED.into());
    }
    if UNORDERED.has(ctx.state, &(until_ms, digest))? {
        return Err(REPLAYED.into());
    }
    UNORDERED.put(ctx.state, &(until_ms, digest), &ctx.tip.height);
    Ok(())
}

/// Applies every message, as long as there is gas; returns the encoded answers.
fn messages(
    ctx: &mut Context<'_, '_>,
    envelope: &Envelope,
    gas_max: u64,
) -> Result<Vec<u8>, TxError> {
    let mut data = TxMsgData::default();
    ctx.gas_max = gas_max;
    for action in &envelope.actions {
        action.apply(ctx)?;
        if ctx.state.gas() > gas_max {
            return Err(OUT_OF_GAS.into());
        }
        data.msg_responses.extend(ctx.response.take());
    }
    Ok(data.encode_to_vec())
}

impl TxOutcome {
    /// Refused before anything was done.
    #[must_use]
    pub fn refused(reject: Reject) -> Self {
        Self { code: reject.code, log: reject.reason.to_string(), ..Self::default() }
    }
}
