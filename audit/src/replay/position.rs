//! Where a replay stands: everything that the next block is checked against.

use lockstep_chain::block::ValidatorUpdate;
use serde::{Deserialize, Serialize};
use tendermint_proto::google::protobuf::Timestamp;
use tendermint_proto::v0_38::types::{BlockId, Commit};

use super::evidence::Times;
use crate::comet::{GenesisFile, Hash, ValidatorSet, merkle_root};

/// Where a replay stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// The network.
    pub chain_id: String,
    /// [`GenesisFile::id`].
    pub genesis: Hash,
    /// The first height of the chain.
    pub initial_height: u64,
    /// The last height that was recomputed; the one before the first at the beginning.
    pub height: u64,
    /// The root of the state after it.
    pub app_hash: Hash,
    /// What its results hash to.
    pub results_hash: Hash,
    /// It, as the next header has to name it; none before the first.
    pub block_id: Option<BlockId>,
    /// The votes for it that were checked, so that the next block may carry them unchecked.
    #[serde(skip)]
    pub commit: Option<Commit>,
    /// The time of the first block.
    pub genesis_time: Timestamp,
    /// Its time; none before the first.
    pub time: Option<Timestamp>,
    /// What every header says of the consensus parameters.
    pub consensus_hash: Hash,
    /// The times of blocks that evidence may be about.
    pub times: Times,
    /// Who signed it.
    pub signed: ValidatorSet,
    /// Who signs the next one.
    pub signing: ValidatorSet,
    /// Who signs the one after that.
    pub to_sign: ValidatorSet,
    /// What was counted.
    pub counts: Counts,
}

/// What was counted since genesis.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Blocks.
    pub blocks: u64,
    /// Transactions, without the extended commits.
    pub txs: u64,
    /// Those of them with another code than 0.
    pub txs_failed: u64,
    /// Votes that blocks carry, each for the block before.
    pub votes: u64,
    /// Bytes of state that the blocks wrote.
    pub bytes_written: u64,
}

impl Position {
    /// Before the first block.
    ///
    /// # Errors
    /// Where CometBFT would refuse the first validators.
    pub fn first(
        genesis: &GenesisFile,
        app_hash: Hash,
        validators: &[ValidatorUpdate],
    ) -> Result<Self, &'static str> {
        let set = ValidatorSet::default().updated(validators)?;
        Ok(Self {
            chain_id: genesis.chain_id.clone(),
            genesis: genesis.id,
            initial_height: genesis.initial_height,
            height: genesis.initial_height - 1,
            app_hash,
            results_hash: merkle_root::<Vec<u8>>(&[]),
            block_id: None,
            commit: None,
            genesis_time: genesis.time,
            time: None,
            consensus_hash: genesis.consensus_hash,
            times: Times::new(genesis.evidence_age, genesis.initial_height),
            signed: ValidatorSet::default(),
            signing: set.clone(),
            to_sign: set,
            counts: Counts::default(),
        })
    }

    /// Moves the validator sets on by a block, after which these sign.
    pub fn follow(&mut self, next: ValidatorSet) {
        let signing = std::mem::replace(&mut self.to_sign, next);
        self.signed = std::mem::replace(&mut self.signing, signing);
    }
}
