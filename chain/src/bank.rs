//! Balances of accounts.

use lockstep_proto::lockstep::member::v1::Account;

use crate::context::{Context, add, take};
use crate::error::{Fault, INSUFFICIENT_FUNDS, NO_SUCH_MEMBER, TxError};
use crate::state::tables::{ACCOUNTS, Address};

/// An address that a state value holds.
///
/// # Errors
/// A fault where it is not 20 bytes.
pub fn address_of(bytes: &[u8]) -> Result<Address, Fault> {
    bytes.try_into().map_err(|_| Fault::Invariant("an address in the state is not 20 bytes"))
}

/// Takes `amount` from an account.
///
/// # Errors
/// [`NO_SUCH_MEMBER`] or [`INSUFFICIENT_FUNDS`].
pub fn withdraw(ctx: &mut Context<'_, '_>, from: &Address, amount: u64) -> Result<(), TxError> {
    let mut account = ACCOUNTS.get(ctx.state, from)?.ok_or(NO_SUCH_MEMBER)?;
    account.balance = account.balance.checked_sub(amount).ok_or(INSUFFICIENT_FUNDS)?;
    ACCOUNTS.put(ctx.state, from, &account);
    Ok(())
}

/// Gives `amount` to an account that exists.
///
/// # Errors
/// [`NO_SUCH_MEMBER`].
pub fn deposit(ctx: &mut Context<'_, '_>, to: &Address, amount: u64) -> Result<(), TxError> {
    let mut account = ACCOUNTS.get(ctx.state, to)?.ok_or(NO_SUCH_MEMBER)?;
    account.balance = add(account.balance, amount)?;
    ACCOUNTS.put(ctx.state, to, &account);
    Ok(())
}

/// Destroys `amount` that the caller has taken from wherever it was.
///
/// # Errors
/// A fault where the books are wrong.
pub fn burn(ctx: &mut Context<'_, '_>, amount: u64) -> Result<(), TxError> {
    ctx.totals(|totals| {
        totals.supply = take(totals.supply, amount)?;
        totals.burned = add(totals.burned, amount)?;
        Ok(())
    })
}

/// Opens an account, if there is none yet, and returns it.
///
/// # Errors
/// Only a failing store.
pub fn open(ctx: &mut Context<'_, '_>, address: &Address) -> Result<Account, TxError> {
    if let Some(account) = ACCOUNTS.get(ctx.state, address)? {
        return Ok(account);
    }
    let number = ctx.totals(|totals| {
        let number = totals.accounts;
        totals.accounts = add(totals.accounts, 1)?;
        Ok(number)
    })?;
    let account = Account { number, ..Account::default() };
    ACCOUNTS.put(ctx.state, address, &account);
    Ok(account)
}
