//! What a job's end must pay to whom, from the rules in `docs/protocol.md` and nothing else: an
//! implementation of its own, beside the chain's.

use lockstep_proto::lockstep::chain::v1::Params;
use lockstep_proto::lockstep::job::v1::{Job, JobState, MemberState, Payout, PayoutKind};
use lockstep_proto::lockstep::model::v1::Recipient;
use serde_json::{Value, json};

/// Weights of recipients are parts of this.
pub(crate) const WEIGHTS: u64 = 1_000_000_000;

/// Whether nothing more happens to a job in this state.
#[must_use]
pub fn is_terminal(state: JobState) -> bool {
    use JobState::{Cancelled, Expired, Failed, Final, Unavailable};
    matches!(state, Final | Expired | Unavailable | Failed | Cancelled)
}

/// `amount * part / whole`, rounded down.
pub(crate) fn share(amount: u64, part: u64, whole: u64) -> u64 {
    let quotient = (u128::from(amount) * u128::from(part)).checked_div(whole.into()).unwrap_or(0);
    u64::try_from(quotient).unwrap_or(u64::MAX)
}

/// What a lineage gets of `amount`, in order; rounding leaves the rest.
pub(crate) fn lineage(recipients: &[Recipient], amount: u64) -> Vec<(Vec<u8>, u64)> {
    let part = |it: &Recipient| (it.account.clone(), share(amount, it.weight.into(), WEIGHTS));
    recipients.iter().map(part).filter(|(_, part)| *part > 0).collect()
}

/// A job that has ended, as far as its payouts follow from it.
#[derive(Debug, Clone)]
pub struct Settled {
    /// How it ended.
    pub state: JobState,
    /// What was held for it, in ulock.
    pub fee: u64,
    /// Comes back where nothing says otherwise.
    pub deposit: u64,
    /// Burned in every case but `failed` and `expired`.
    pub posting_charge: u64,
    /// Who posted it.
    pub poster: Vec<u8>,
    /// The operators that revealed the answer that stands, in order of joining, and whoever brought it
    /// into a trial.
    pub right: Vec<Vec<u8>>,
}

impl From<&Job> for Settled {
    fn from(job: &Job) -> Self {
        let of_attempt = job.members.iter().filter(|member| member.attempt == job.attempt);
        let revealed = of_attempt.filter(|member| member.state() == MemberState::Revealed);
        let right = revealed.filter(|member| member.result_root == job.result_root);
        Self {
            state: job.state(),
            fee: job.fee,
            deposit: job.deposit,
            posting_charge: job.posting_charge,
            poster: job.poster.clone(),
            right: right
                .map(|member| member.validator.clone())
                .chain(job.earners.iter().map(|earner| earner.account.clone()))
                .collect(),
        }
    }
}

impl Settled {
    /// Everything that leaves the escrow, in order; nothing while the job is open.
    #[must_use]
    pub fn payouts(&self, recipients: &[Recipient], params: &Params) -> Vec<Payout> {
        let mut payouts = Payouts::default();
        let charge = self.posting_charge;
        match self.state {
            JobState::Final => self.pay(recipients, params, &mut payouts),
            JobState::Expired | JobState::Failed => {
                let all = self.fee.saturating_add(self.deposit).saturating_add(charge);
                payouts.add(PayoutKind::Refund, &self.poster, all);
            }
            JobState::Unavailable | JobState::Cancelled => {
                payouts.add(PayoutKind::Burn, &[], charge);
                let rest = self.fee.saturating_add(self.deposit);
                payouts.add(PayoutKind::Refund, &self.poster, rest);
            }
            _ => {}
        }
        payouts.0
    }

    fn pay(&self, recipients: &[Recipient], params: &Params, payouts: &mut Payouts) {
        let part = |bps: u32| share(self.fee, bps.into(), 10_000);
        let mut left = self.fee;
        let heads = u64::try_from(self.right.len()).unwrap_or(u64::MAX);
        let each = share(part(params.share_executors_bps), 1, heads);
        for operator in &self.right {
            left = left.saturating_sub(payouts.add(PayoutKind::Executor, operator, each));
        }
        for (account, amount) in lineage(recipients, part(params.share_model_bps)) {
            left = left.saturating_sub(payouts.add(PayoutKind::Author, &account, amount));
        }
        let burned = part(params.share_burn_bps);
        // The treasury's share, and what rounding left over.
        payouts.add(PayoutKind::Treasury, &params.treasury, left.saturating_sub(burned));
        payouts.add(PayoutKind::Burn, &[], burned.saturating_add(self.posting_charge));
        payouts.add(PayoutKind::Refund, &self.poster, self.deposit);
    }
}

#[derive(Default)]
struct Payouts(Vec<Payout>);

impl Payouts {
    /// Nobody is paid nothing.
    fn add(&mut self, kind: PayoutKind, account: &[u8], amount: u64) -> u64 {
        if amount > 0 {
            self.0.push(Payout { kind: kind.into(), account: account.to_vec(), amount });
        }
        amount
    }
}

/// Payouts for people and reports.
#[must_use]
pub fn payouts(all: &[Payout]) -> Value {
    let one = |payout: &Payout| {
        let account = payout.account.as_slice().try_into();
        let account = account.map(|account| lockstep_chain::address::account(&account)).ok();
        let kind = payout.kind().as_str_name().trim_start_matches("PAYOUT_KIND_").to_lowercase();
        json!({ "kind": kind, "account": account, "amount": payout.amount })
    };
    all.iter().map(one).collect()
}
