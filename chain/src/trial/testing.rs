//! A small world for the tests of trials: validators with executors, auditors, one model, one job, and
//! blocks without signatures. The invariants are checked after every block.

use alloc::string::ToString as _;
use alloc::vec::Vec;
use std::format;

use lockstep_proto::lockstep::block::v1::ExtendedCommit;
use lockstep_proto::lockstep::chain::v1::{Params, Tip};
use lockstep_proto::lockstep::job::v1::{Job, JobState, RunStatus};
use lockstep_proto::lockstep::model::v1::{Model, Possession, Recipient, Version};
use lockstep_proto::lockstep::staking::v1::{Slash, Validator};
use lockstep_proto::lockstep::trial::v1::{GameState, Trial};
use lockstep_vm::hash::Hex;

use crate::address::{self, Address};
use crate::block::{self, Header, init_chain};
use crate::commitment::Opening;
use crate::commitment::{commitment, output_root, result_root};
use crate::context::{self, Context};
use crate::error::{Reject, TxError};
use crate::genesis::{Genesis, GenesisAccount, GenesisValidator, default_params};
use crate::invariants;
use crate::job::phase;
use crate::job::posting;
use crate::limits::POWER_UNIT;
use crate::model::artefact;
use crate::model::lineage::WEIGHTS;
use crate::state::tables::{
    ACCOUNTS, Hash, JOBS, MANIFESTS, MODELS, POSSESSIONS, SLASHES, TRIALS, VALIDATORS, VERSIONS,
};
use crate::state::{MemoryState, Overlay};

/// What each account holds at first.
pub(crate) const BALANCE: u64 = 1_000_000_000;
/// What each validator has staked.
pub(crate) const STAKE: u64 = 100 * POWER_UNIT;
/// What the job costs.
pub(crate) const FEE: u64 = 10_000;

pub(crate) const POSTER: Address = [1; 20];
pub(crate) const TREASURY: Address = [2; 20];
pub(crate) const COUNCIL: Address = [3; 20];
pub(crate) const AUTHOR: Address = [4; 20];

/// The operator of a validator.
pub(crate) const fn operator(number: u8) -> Address {
    [0x10 + number; 20]
}

/// The executor of a validator.
pub(crate) const fn executor(number: u8) -> Address {
    [0x30 + number; 20]
}

/// An account that audits.
pub(crate) const fn auditor(number: u8) -> Address {
    [0x50 + number; 20]
}

/// Short windows, and no seconds, so that states of different heights can be compared.
pub(crate) fn params() -> Params {
    Params {
        unbonding_blocks: 1_000,
        unbonding_ms: 0,
        verdict_delay_blocks: 2,
        verdict_wave_delay_blocks: 10,
        epoch_blocks: 1_000,
        commit_window_blocks: 2,
        commit_window_ms: 0,
        reveal_window_blocks: 2,
        reveal_window_ms: 0,
        challenge_window_blocks: 3,
        challenge_window_ms: 0,
        deliver_window_blocks: 2,
        deliver_window_ms: 0,
        attempts_max: 2,
        trial_bond: 1_000_000,
        trial_defend_blocks: 3,
        trial_defend_ms: 0,
        trial_call_blocks: 3,
        trial_call_ms: 0,
        trial_move_blocks: 2,
        trial_move_ms: 0,
        trial_move_cost: 100,
        trial_us_per_leaf: 0,
        ..default_params(&TREASURY)
    }
}

fn genesis(validators: u8, params: Params) -> Genesis {
    let account = |account: Address, role: &str| GenesisAccount {
        address: address::account(&account),
        balance: BALANCE,
        roles: [role.to_string()].to_vec(),
    };
    let mut accounts = [
        account(POSTER, "developer"),
        account(TREASURY, "observer"),
        account(COUNCIL, "council"),
        account(AUTHOR, "publisher"),
    ]
    .to_vec();
    let mut stakers = Vec::new();
    for number in 0..validators {
        accounts.push(account(operator(number), "validator"));
        accounts.push(account(executor(number), "executor"));
        stakers.push(GenesisValidator {
            operator: address::operator(&operator(number)),
            consensus_key: Hex(&[number + 1; 32]).to_string(),
            moniker: format!("validator {number}"),
            stake: STAKE,
            executor: address::account(&executor(number)),
        });
    }
    accounts.extend((0..3).map(|number| account(auditor(number), "auditor")));
    Genesis { params, accounts, validators: stakers }
}

/// The chain between two blocks.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) state: MemoryState,
    /// The trial clock of the block before.
    clock_before: u64,
}

impl World {
    /// A chain with so many validators, all of which hold the model's one version.
    pub(crate) fn new(validators: u8, params: Params, manifest: &[u8]) -> Self {
        let (writes, _) = init_chain(&genesis(validators, params), "trial-1", 1, 1_000).unwrap();
        let mut world = Self { state: MemoryState::default(), clock_before: 0 };
        world.state.apply(writes);
        let manifest = manifest.to_vec();
        world
            .act(|ctx| {
                let facts = artefact::inspect(&manifest)?;
                let recipients = [Recipient { account: AUTHOR.to_vec(), weight: WEIGHTS }].to_vec();
                let model = Model {
                    id: 1,
                    owner: AUTHOR.to_vec(),
                    name: "model".to_string(),
                    price: FEE,
                    recipients: recipients.clone(),
                    ..Model::default()
                };
                let version = Version {
                    id: 1,
                    model: 1,
                    number: 1,
                    artefact_root: facts.root.to_vec(),
                    tokens_max: facts.tokens_max,
                    vocabulary: facts.vocabulary,
                    output_values: facts.output_values,
                    leaf_count: facts.leaf_count,
                    recipients,
                    callable: true,
                    ..Version::default()
                };
                MODELS.put(ctx.state, &1, &model);
                VERSIONS.put(ctx.state, &1, &version);
                MANIFESTS.put(ctx.state, &1, &manifest);
                for number in 0..validators {
                    POSSESSIONS.put(ctx.state, &(1, operator(number)), &Possession { height: 1 });
                }
                Ok(())
            })
            .unwrap();
        world
    }

    /// Does something within the present block; what is refused leaves nothing behind.
    pub(crate) fn act<T>(
        &mut self,
        act: impl FnOnce(&mut Context<'_, '_>) -> Result<T, TxError>,
    ) -> Result<T, Reject> {
        let (params, tip) = (context::params(&self.state).unwrap(), self.tip());
        let mut overlay = Overlay::new(&self.state);
        let mut ctx = Context::new(&mut overlay, &params, &tip);
        match act(&mut ctx) {
            Ok(done) => {
                let writes = overlay.into_writes();
                self.state.apply(writes);
                Ok(done)
            }
            Err(TxError::Reject(reject)) => Err(reject),
            Err(TxError::Fault(fault)) => panic!("{fault}"),
        }
    }

    /// Ends the present block and begins the next.
    pub(crate) fn next(&mut self) {
        self.end();
        self.begin(false);
    }

    /// Ends a block and begins one whose proposer had no votes.
    pub(crate) fn next_empty(&mut self) {
        self.end();
        self.begin(true);
    }

    pub(crate) fn pass(&mut self, blocks: u64) {
        for _ in 0..blocks {
            self.next();
        }
    }

    fn end(&mut self) {
        let (params, before) = (context::params(&self.state).unwrap(), self.tip());
        let mut overlay = Overlay::new(&self.state);
        let last = Tip { trial_clock: self.clock_before, ..before.clone() };
        let tip = block::without_full_height(before, &last, &mut overlay).unwrap();
        let mut ctx = Context::new(&mut overlay, &params, &tip);
        block::stop_on(block::end(&mut ctx)).unwrap();
        let writes = overlay.into_writes();
        self.state.apply(writes);
        let broken = invariants::broken(&self.state).unwrap();
        assert!(broken.is_empty(), "{broken:#?}");
    }

    fn begin(&mut self, empty: bool) {
        let before = self.tip();
        self.clock_before = before.trial_clock;
        let header = Header { height: before.height + 1, time_ms: before.time_ms, hash: [0; 32] };
        let commit = ExtendedCommit { empty, ..ExtendedCommit::default() };
        let tip = block::next_tip(&before, &header, &commit).unwrap();
        let mut overlay = Overlay::new(&self.state);
        crate::state::tables::TIP.put(&mut overlay, &(), &tip);
        let writes = overlay.into_writes();
        self.state.apply(writes);
    }

    pub(crate) fn tip(&self) -> Tip {
        context::tip(&self.state).unwrap()
    }

    pub(crate) fn job(&self) -> Job {
        JOBS.must(&self.state, &1).unwrap()
    }

    pub(crate) fn trial(&self) -> Trial {
        TRIALS.must(&self.state, &1).unwrap()
    }

    pub(crate) fn is_on_trial(&self) -> bool {
        self.job().state() == JobState::OnTrial
    }

    pub(crate) fn games(&self) -> Vec<GameState> {
        self.trial().games.iter().map(lockstep_proto::lockstep::trial::v1::Game::state).collect()
    }

    pub(crate) fn balance(&self, account: &Address) -> u64 {
        ACCOUNTS.must(&self.state, account).unwrap().balance
    }

    pub(crate) fn validator(&self, number: u8) -> Validator {
        VALIDATORS.must(&self.state, &operator(number)).unwrap()
    }

    pub(crate) fn slashes(&self) -> Vec<Slash> {
        let all = SLASHES.scan(&self.state, &(), 1000).unwrap();
        all.into_iter().map(|(_, slash)| slash).collect()
    }

    /// Posts the job, and has its members commit and reveal, each the result of an output.
    pub(crate) fn run_job(&mut self, tokens: &[u32], outputs: &[(u8, Vec<u8>)]) {
        let input = lockstep_vm::result::input_bytes(tokens);
        let job = Job {
            poster: POSTER.to_vec(),
            version: 1,
            input_root: lockstep_vm::result::input_root(&input).to_vec(),
            input_bytes: u64::try_from(input.len()).unwrap(),
            input,
            fee: FEE,
            deadline_height: self.tip().height + 100,
            ..Job::default()
        };
        self.act(|ctx| posting::open(ctx, job)).unwrap();
        self.commit_and_reveal(outputs);
    }

    /// The members' commitments in this block, their openings in the next.
    pub(crate) fn commit_and_reveal(&mut self, outputs: &[(u8, Vec<u8>)]) {
        let attempt = self.job().attempt;
        let salt = [9; 32];
        for (number, output) in outputs {
            let root = self.root_of(output);
            let operator = operator(*number);
            let opening = Opening { attempt, salt: &salt, result_root: &root };
            let sealed = commitment("trial-1", 1, &operator, &opening);
            self.act(|ctx| phase::commit(ctx, &operator, 1, attempt, &sealed)).unwrap();
        }
        self.next();
        for (number, output) in outputs {
            let root = self.root_of(output);
            let opening = Opening { attempt, salt: &salt, result_root: &root };
            self.act(|ctx| phase::reveal(ctx, &operator(*number), 1, &opening)).unwrap();
        }
    }

    /// The output root of an output; none is a FAULT.
    pub(crate) fn output_root(&self, output: &[u8]) -> (RunStatus, Hash) {
        let version = VERSIONS.must(&self.state, &1).unwrap();
        let status = if output.is_empty() { RunStatus::Fault } else { RunStatus::Halted };
        (status, output_root(&version, status, output).unwrap())
    }

    /// The answer that an output is.
    pub(crate) fn root_of(&self, output: &[u8]) -> Hash {
        let version = VERSIONS.must(&self.state, &1).unwrap();
        let (status, root) = self.output_root(output);
        result_root(&version, &self.job(), status, &root).unwrap()
    }
}
