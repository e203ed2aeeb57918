//! Who lies about which job: worked out from the rule for committees, before the network starts.

use std::collections::BTreeMap;

use anyhow::Context as _;
use lockstep_chain::address;
use lockstep_client::query;
use lockstep_client::rpc::Client;
use lockstep_client::wallet::Wallet;
use lockstep_proto::lockstep::chain::v1::Params;

use crate::figures::SlashRow;

/// The place of the validator whose executor is honest.
pub(crate) const HONEST: usize = 0;
const VALIDATORS: usize = 4;

/// Which jobs are lied about, and by whom.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Places and operators by job.
    liars: BTreeMap<u64, Vec<(usize, String)>>,
}

/// The bech32 operator address of a devnet's validator.
pub(crate) fn operator(place: usize) -> anyhow::Result<String> {
    let wallet = Wallet::test_account(&format!("validator{place}"))?;
    Ok(address::operator(&wallet.address()))
}

/// The stake of each validator, by operator.
pub(crate) async fn stakes(client: &Client) -> anyhow::Result<BTreeMap<String, u64>> {
    let mut stakes = BTreeMap::new();
    for place in 0..VALIDATORS {
        let operator = operator(place)?;
        let tokens = query::validator(client, &operator).await?.tokens;
        stakes.insert(operator, tokens);
    }
    Ok(stakes)
}

impl Plan {
    /// With equal stakes the committee of job `j` is the `j`th validator in order of address,
    /// counted round, and the one after it.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let mut order = Vec::new();
        for place in 0..VALIDATORS {
            let wallet = Wallet::test_account(&format!("validator{place}"))?;
            order.push((wallet.address(), place));
        }
        order.sort_unstable();
        let honest =
            order.iter().position(|(_, place)| *place == HONEST).context("the honest one")?;
        // Job ids count from 1.
        let job = |turn: usize| {
            let turn = (honest + turn) % VALIDATORS;
            u64::try_from(if turn == 0 { VALIDATORS } else { turn })
        };
        let liar = |turn: usize| {
            let (address, place) = order[(honest + turn) % VALIDATORS];
            (place, address::operator(&address))
        };
        // Both members of the first lie; of the second the one beside the honest executor.
        let lies = [(job(1)?, vec![liar(1), liar(2)]), (job(3)?, vec![liar(3)])];
        Ok(Self { liars: lies.into_iter().collect() })
    }

    /// What `lockstepd devnet` is told.
    pub(crate) fn faults(&self) -> Vec<String> {
        let lies = self.liars.iter().flat_map(|(job, liars)| liars.iter().map(move |l| (job, l)));
        lies.map(|(job, (place, _))| format!("{place}:wrong-output:{job}")).collect()
    }

    /// Jobs and the operators who lie about them.
    pub(crate) fn lies(&self) -> impl Iterator<Item = (u64, Vec<&str>)> {
        self.liars.iter().map(|(job, liars)| {
            (*job, liars.iter().map(|(_, operator)| operator.as_str()).collect())
        })
    }

    /// What each liar has to lose: its first lie costs the share of its stake that the rules say.
    pub(crate) fn expected(
        &self,
        stakes: &BTreeMap<String, u64>,
        params: &Params,
    ) -> Vec<SlashRow> {
        let row = |(job, liar): (u64, &str)| SlashRow {
            validator: liar.to_owned(),
            job,
            reason: "wrong result".to_owned(),
            amount: stakes.get(liar).map_or(0, |stake| {
                lockstep_chain::context::basis_points(*stake, params.slash_wrong_bps)
            }),
        };
        let each = self.lies().flat_map(|(job, liars)| {
            liars.into_iter().map(move |liar| (job, liar)).collect::<Vec<_>>()
        });
        each.map(row).collect()
    }
}
