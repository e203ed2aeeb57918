//! Whom a model pays: its owner, and through its parents everyone that it was derived from.
//!
//! Parents are older than the child, so the graph has no loop. What a model pays is flattened when
//! it is registered, from its parents' flattened lists, so that settlement is one bounded loop.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use lockstep_proto::lockstep::job::v1::{Payout, PayoutKind};
use lockstep_proto::lockstep::model::v1::{Model, Recipient};

use crate::address::Address;
use crate::bank::{address_of, deposit};
use crate::context::{Context, add, share, take};
use crate::error::{Fault, TxError};
use crate::limits::RECIPIENTS_MAX;

/// What the weights of a model's recipients add up to.
pub const WEIGHTS: u32 = 1_000_000_000;

/// The recipients of a model of `owner` with these parents and their shares in basis points;
/// `None` where they are too many.
///
/// # Errors
/// A fault where the state is corrupt.
pub fn flatten(owner: &Address, parents: &[(Model, u32)]) -> Result<Option<Vec<Recipient>>, Fault> {
    let mut weights: BTreeMap<Address, u32> = BTreeMap::new();
    let mut left = WEIGHTS;
    for (parent, bps) in parents {
        for recipient in &parent.recipients {
            let weight = share(recipient.weight.into(), u64::from(*bps), 10_000);
            let weight = u32::try_from(weight).unwrap_or(0).min(left);
            let entry = weights.entry(address_of(&recipient.account)?).or_default();
            *entry = entry.saturating_add(weight);
            left = left.saturating_sub(weight);
        }
    }
    // What rounding leaves is the owner's.
    let entry = weights.entry(*owner).or_default();
    *entry = entry.saturating_add(left);
    weights.retain(|_, weight| *weight > 0);
    if weights.len() > RECIPIENTS_MAX {
        return Ok(None);
    }
    let list = weights.into_iter();
    Ok(Some(
        list.map(|(account, weight)| Recipient { account: account.to_vec(), weight }).collect(),
    ))
}

/// Pays `amount` to the recipients by weight; returns who got what and the remainder of rounding,
/// which the caller owes to the treasury.
///
/// # Errors
/// A fault where the books are wrong.
pub fn pay(
    ctx: &mut Context<'_, '_>,
    recipients: &[Recipient],
    amount: u64,
) -> Result<(Vec<Payout>, u64), TxError> {
    let mut payouts = Vec::new();
    let mut left = amount;
    for recipient in recipients {
        let part = share(amount, recipient.weight.into(), WEIGHTS.into());
        if part == 0 {
            continue;
        }
        deposit(ctx, &address_of(&recipient.account)?, part)?;
        left = take(left, part)?;
        payouts.push(Payout {
            kind: PayoutKind::Author.into(),
            account: recipient.account.clone(),
            amount: part,
        });
    }
    Ok((payouts, add(left, 0)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(recipients: &[(u8, u32)]) -> Model {
        let recipient = |(account, weight): &(u8, u32)| Recipient {
            account: [*account; 20].to_vec(),
            weight: *weight,
        };
        Model { recipients: recipients.iter().map(recipient).collect(), ..Model::default() }
    }

    #[test]
    fn a_grandchild_pays_its_parents_and_grandparents_and_weights_add_up() {
        let first = model(&[(1, WEIGHTS)]);
        let second = flatten(&[2; 20], &[(first.clone(), 3_000)]).unwrap().unwrap();
        let second = Model { recipients: second, ..Model::default() };
        let third = flatten(&[3; 20], &[(second, 5_000), (first, 1_000)]).unwrap().unwrap();
        let weights: Vec<(u8, u32)> = third.iter().map(|r| (r.account[0], r.weight)).collect();
        assert_eq!(weights, [(1, 250_000_000), (2, 350_000_000), (3, 400_000_000)]);
        assert_eq!(weights.iter().map(|(_, weight)| weight).sum::<u32>(), WEIGHTS);
    }

    #[test]
    fn shares_that_do_not_divide_leave_the_rest_to_the_owner() {
        let parent = model(&[(1, 333_333_333), (2, 333_333_333), (3, 333_333_334)]);
        let child = flatten(&[9; 20], &[(parent, 3_333)]).unwrap().unwrap();
        assert_eq!(child.iter().map(|r| r.weight).sum::<u32>(), WEIGHTS);
    }
}
