//! What blocks move of themselves, and what only they can know.

use lockstep_chain::address::{Address, parse_account, parse_operator};
use lockstep_chain::block::Event;
use lockstep_chain::limits::YEAR_MS;
use lockstep_proto::lockstep::job::v1::{JobState, PayoutKind};
use lockstep_proto::lockstep::staking::v1::Offence;

use super::{Books, Pot, Slash};
use crate::Compared;
use crate::amounts::{self, Settled, share};
use crate::report::Difference;

/// The first attribute of a name, read.
fn get<T>(event: &Event, name: &str, read: impl Fn(&str) -> Option<T>) -> Compared<T> {
    let text = event.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value);
    text.and_then(|text| read(text)).ok_or_else(|| {
        let found = text.map_or("nothing", String::as_str);
        Difference::new(format!("{name} of the event {}", event.kind), "a value", found).into()
    })
}

fn number(event: &Event, name: &str) -> Compared<u64> {
    get(event, name, |text| text.parse().ok())
}

fn account(event: &Event, name: &str) -> Compared<Address> {
    get(event, name, |text| parse_account(text).ok())
}

fn operator(event: &Event, name: &str) -> Compared<Address> {
    get(event, name, |text| parse_operator(text).ok())
}

impl Books {
    pub(super) fn event(&mut self, event: &Event) -> Compared {
        match event.kind.as_str() {
            "post_job" => {
                let job = number(event, "job")?;
                let booked = self.jobs.get(&job).map_or(0, |job| job.fee);
                equal(&format!("the fee of job {job}"), booked, number(event, "fee")?)
            }
            "job_paid_out" => self.paid_out(event),
            "unbonding_matured" => self.matured(event),
            "slash_recorded" => self.slash_recorded(event),
            "slash_executed" => self.slash_executed(event),
            "verdict_cancelled" => self.verdict_cancelled(event),
            "bond_posted" => self.bond_posted(event),
            "bond_returned" => self.bond_returned(event),
            "bond_forfeited" => self.bond_forfeited(event),
            _ => Ok(()),
        }
    }

    fn paid_out(&mut self, event: &Event) -> Compared {
        let id = number(event, "job")?;
        let state = get(event, "state", JobState::from_str_name)?;
        let paid = payouts(event)?;
        let unknown =
            || Box::new(Difference::new(format!("job {id}"), "a job", "none that was posted"));
        let job = self.jobs.get_mut(&id).ok_or_else(unknown)?;
        if std::mem::replace(&mut job.paid_out, true) {
            return Err(
                Difference::new(format!("the escrow of job {id}"), "one exit", "a second").into()
            );
        }
        let executors = paid.iter().filter(|(kind, ..)| *kind == PayoutKind::Executor);
        let settled = Settled {
            state,
            fee: job.fee,
            deposit: job.deposit,
            posting_charge: job.posting_charge,
            poster: job.poster.to_vec(),
            right: executors.filter_map(|(_, account, _)| account.map(Vec::from)).collect(),
        };
        let version = self.models.version(job.version).ok_or_else(unknown)?;
        let expected = settled.payouts(&version.recipients, &self.params);
        let same = expected.len() == paid.len()
            && expected.iter().zip(&paid).all(|(must, (kind, account, amount))| {
                let account = account.map(Vec::from).unwrap_or_default();
                must.kind() == *kind && must.account == account && must.amount == *amount
            });
        if !same {
            let found = event.attributes.iter().map(|(key, value)| format!("{key} {value}"));
            let found = found.collect::<Vec<_>>().join(", ");
            let must = amounts::payouts(&expected);
            return Err(Difference::new(format!("the payouts of job {id}"), must, found).into());
        }
        for (kind, account, amount) in paid {
            let to = account.map_or(Pot::Burned, Pot::Account);
            self.ledger.transfer(Pot::Escrow(id), to, amount);
            *self.payouts.entry(kind).or_default() += u128::from(amount);
            if let (PayoutKind::Author, Some(account)) = (kind, account) {
                let royalties = self.royalties.entry(account).or_default();
                royalties.jobs = royalties.jobs.saturating_add(amount);
            }
        }
        equal(
            &format!("what is left in the escrow of job {id}"),
            0,
            self.ledger.of(&Pot::Escrow(id)),
        )
    }

    fn matured(&mut self, event: &Event) -> Compared {
        let id = number(event, "unbonding")?;
        let delegator = account(event, "delegator")?;
        let Some(entry) = self.unbondings.remove(&id) else {
            return Err(
                Difference::new(format!("unbonding {id}"), "one that was begun", "none").into()
            );
        };
        if entry.delegator != delegator {
            let must = lockstep_chain::address::account(&entry.delegator);
            let found = lockstep_chain::address::account(&delegator);
            return Err(
                Difference::new(format!("the delegator of unbonding {id}"), must, found).into()
            );
        }
        let amount = self.ledger.of(&Pot::Unbonding(id));
        equal(&format!("the amount of unbonding {id}"), amount, number(event, "amount")?)?;
        self.ledger.transfer(Pot::Unbonding(id), Pot::Account(delegator), amount);
        Ok(())
    }

    fn slash_recorded(&mut self, event: &Event) -> Compared {
        let id = number(event, "slash")?;
        let operator = operator(event, "validator")?;
        let offence = get(event, "offence", Offence::from_str_name)?;
        let must = self.fraction(&operator, offence, id, self.time_ms);
        let found = number(event, "fraction_bps")?;
        equal(&format!("basis points of slash {id}"), must.into(), found)?;
        let slash = Slash {
            operator,
            offence,
            infraction_height: number(event, "infraction_height")?,
            fraction_bps: must,
            least: number(event, "least")?,
            cancelled: false,
            time_ms: self.time_ms,
            amount: None,
        };
        self.slashes.insert(id, slash);
        Ok(())
    }

    /// What an offence costs, by what the validator has done before.
    fn fraction(&self, operator: &Address, offence: Offence, id: u64, time_ms: u64) -> u32 {
        let params = &self.params;
        let before = |since_ms: u64| {
            let own = self.slashes.range(..id).map(|(_, it)| it);
            let own = own.filter(|it| it.operator == *operator && it.offence == offence);
            own.filter(|it| !it.cancelled && it.time_ms >= since_ms).count()
        };
        match offence {
            Offence::WrongResult if before(0) > 0 => 10_000,
            Offence::WrongResult => params.slash_wrong_bps,
            Offence::NoReveal => params.slash_no_reveal_bps,
            Offence::Equivocation => params.slash_equivocation_bps,
            Offence::NoShow | Offence::Unspecified => params.slash_no_show_bps,
            Offence::Conceded => match before(time_ms.saturating_sub(YEAR_MS).saturating_add(1)) {
                0 => params.slash_concede_bps,
                1 => params.slash_concede_again_bps,
                _ => params.slash_concede_often_bps,
            },
        }
    }

    fn verdict_cancelled(&mut self, event: &Event) -> Compared {
        let id = number(event, "slash")?;
        let pending = self.slashes.get_mut(&id).filter(|it| it.amount.is_none() && !it.cancelled);
        let missing = || Difference::new(format!("slash {id}"), "one that waits", "none");
        let cancelled = pending.ok_or_else(missing)?;
        cancelled.cancelled = true;
        // Those that wait are each one offence fewer.
        let (operator, offence) = (cancelled.operator, cancelled.offence);
        let later = self.slashes.range(id..).filter(|(_, it)| {
            it.operator == operator && it.offence == offence && it.amount.is_none()
        });
        let later = later.map(|(id, it)| (*id, self.fraction(&operator, offence, *id, it.time_ms)));
        for (id, fraction_bps) in later.collect::<Vec<_>>() {
            if let Some(slash) = self.slashes.get_mut(&id) {
                slash.fraction_bps = fraction_bps;
            }
        }
        Ok(())
    }

    /// Takes the fraction from the bonded stake and from everything unbonded since the infraction, or
    /// the least that the verdict names. Winners of a trial get a part, the rest burns.
    fn slash_executed(&mut self, event: &Event) -> Compared {
        let id = number(event, "slash")?;
        let pending = self.slashes.get_mut(&id).filter(|it| it.amount.is_none() && !it.cancelled);
        let Some(slash) = pending else {
            return Err(Difference::new(format!("slash {id}"), "one that waits", "none").into());
        };
        let liable = self.unbondings.iter().filter(|(_, it)| {
            it.operator == slash.operator && it.created_height >= slash.infraction_height
        });
        let pots = liable.map(|(id, _)| Pot::Unbonding(*id));
        let pots: Vec<Pot> = std::iter::once(Pot::Bonded(slash.operator)).chain(pots).collect();
        let part = |held: u64| share(held, slash.fraction_bps.into(), 10_000);
        let fraction =
            pots.iter().map(|pot| part(self.ledger.of(pot))).fold(0, u64::saturating_add);
        let mut short = slash.least.saturating_sub(fraction);
        let mut parts = Vec::new();
        for pot in pots {
            let held = self.ledger.of(&pot);
            let more = short.min(held.saturating_sub(part(held)));
            short = short.saturating_sub(more);
            parts.push((pot, part(held).saturating_add(more)));
        }
        let taken = parts.iter().map(|(_, amount)| *amount).fold(0, u64::saturating_add);
        slash.amount = Some(taken);
        equal(&format!("what slash {id} took"), taken, number(event, "amount")?)?;
        self.distribute(parts, &rewards(event)?)
    }

    fn bond_posted(&mut self, event: &Event) -> Compared {
        let (job, amount) = (number(event, "job")?, number(event, "amount")?);
        equal(&format!("a bond for job {job}"), self.params.trial_bond, amount)?;
        let account = account(event, "account")?;
        self.ledger.transfer(Pot::Account(account), Pot::Bonds(job), amount);
        Ok(())
    }

    fn bond_returned(&mut self, event: &Event) -> Compared {
        let (job, amount) = (number(event, "job")?, number(event, "amount")?);
        let account = account(event, "account")?;
        self.ledger.transfer(Pot::Bonds(job), Pot::Account(account), amount);
        Ok(())
    }

    fn bond_forfeited(&mut self, event: &Event) -> Compared {
        let (job, amount) = (number(event, "job")?, number(event, "amount")?);
        self.distribute(vec![(Pot::Bonds(job), amount)], &rewards(event)?)
    }

    /// Pays rewards out of what was taken, from the first pot on, and burns the rest.
    fn distribute(&mut self, taken: Vec<(Pot, u64)>, rewards: &[(Address, u64)]) -> Compared {
        let mut rewards = rewards.iter().copied();
        let mut owed = rewards.next();
        for (pot, mut left) in taken {
            while let Some((account, amount)) = owed {
                let now = amount.min(left);
                self.ledger.transfer(pot, Pot::Account(account), now);
                left = left.saturating_sub(now);
                owed = match amount.saturating_sub(now) {
                    0 => rewards.next(),
                    more => Some((account, more)),
                };
                if left == 0 {
                    break;
                }
            }
            self.ledger.transfer(pot, Pot::Burned, left);
        }
        match owed {
            Some((_, amount)) if amount > 0 => {
                Err(Difference::new("rewards", "at most what was taken", amount).into())
            }
            _ => Ok(()),
        }
    }
}

/// Who is paid from a penalty.
fn rewards(event: &Event) -> Compared<Vec<(Address, u64)>> {
    let values = |name: &'static str| {
        event.attributes.iter().filter(move |(key, _)| key == name).map(|(_, value)| value)
    };
    let wrong = || Box::new(Difference::new("a reward", "account and amount", "something else"));
    let pair = |(account, amount): (&String, &String)| {
        let account = parse_account(account).map_err(|_| wrong())?;
        Ok((account, amount.parse().map_err(|_| wrong())?))
    };
    values("rewarded").zip(values("reward")).map(pair).collect()
}

fn equal(what: &str, must: u64, found: u64) -> Compared {
    if must == found { Ok(()) } else { Err(Difference::new(what, must, found).into()) }
}

/// Kind, account and amount of each payout in a `job_paid_out`.
fn payouts(event: &Event) -> Compared<Vec<(PayoutKind, Option<Address>, u64)>> {
    let mut payouts = Vec::new();
    let wrong =
        || Box::new(Difference::new("a payout", "kind, account and amount", "something else"));
    for (key, value) in &event.attributes {
        match key.as_str() {
            "kind" => {
                let kind = PayoutKind::from_str_name(value).ok_or_else(wrong)?;
                payouts.push((kind, None, 0));
            }
            "account" => {
                let account = parse_account(value).map_err(|_| wrong())?;
                payouts.last_mut().ok_or_else(wrong)?.1 = Some(account);
            }
            "amount" => {
                payouts.last_mut().ok_or_else(wrong)?.2 = value.parse().map_err(|_| wrong())?;
            }
            _ => {}
        }
    }
    Ok(payouts)
}
