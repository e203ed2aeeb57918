//! CometBFT's calls and ours. No other file but the transport names CometBFT's types; what an audit
//! needs of them too is in `lockstep_audit::abci`.

use lockstep_audit::abci::{
    APP_VERSION, codespace, event, evidence, milliseconds, signed, tx_result, unsigned,
    validator_update,
};
use lockstep_chain::block::{Block, Header};
use lockstep_chain::error::Fault;
use lockstep_proto::lockstep::block::v1::{ExtendedCommit, ExtendedVote};
use tendermint_abci::Application;
use tendermint_proto::v0_38::abci::{
    ExtendedCommitInfo, RequestCheckTx, RequestExtendVote, RequestFinalizeBlock, RequestInfo,
    RequestInitChain, RequestPrepareProposal, RequestProcessProposal, RequestQuery,
    RequestVerifyVoteExtension, ResponseApplySnapshotChunk, ResponseCheckTx, ResponseCommit,
    ResponseExtendVote, ResponseFinalizeBlock, ResponseInfo, ResponseInitChain,
    ResponseListSnapshots, ResponseLoadSnapshotChunk, ResponseOfferSnapshot,
    ResponsePrepareProposal, ResponseProcessProposal, ResponseQuery, ResponseVerifyVoteExtension,
    response_apply_snapshot_chunk, response_offer_snapshot, response_process_proposal,
    response_verify_vote_extension,
};
use tendermint_proto::v0_38::crypto::{ProofOp, ProofOps};
use tendermint_proto::v0_38::types::BlockIdFlag;

use crate::app::App;
use crate::exit;
use crate::query::{self, NoAnswer, PROOF_TYPE};

impl Application for App {
    fn info(&self, _: RequestInfo) -> ResponseInfo {
        let last = App::info(self);
        ResponseInfo {
            data: "lockstep".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            app_version: APP_VERSION,
            last_block_height: signed(last.height),
            last_block_app_hash: last.app_hash.map_or_else(Vec::new, Vec::from).into(),
        }
    }

    fn init_chain(&self, request: RequestInitChain) -> ResponseInitChain {
        let initial = unsigned(request.initial_height).max(1);
        let time_ms = milliseconds(request.time.as_ref());
        let app_state = &request.app_state_bytes;
        match App::init_chain(self, app_state, &request.chain_id, initial, time_ms) {
            Ok((app_hash, validators)) => ResponseInitChain {
                consensus_params: None,
                validators: validators.iter().map(validator_update).collect(),
                app_hash: app_hash.to_vec().into(),
            },
            Err(error) => exit::with(exit::CONFIG, &error.to_string()),
        }
    }

    fn query(&self, request: RequestQuery) -> ResponseQuery {
        let height = (request.height > 0).then(|| unsigned(request.height));
        match query::answer(self.store(), &request.path, &request.data, height, request.prove) {
            Ok(answer) => ResponseQuery {
                height: signed(answer.height),
                proof_ops: answer.proof.map(|proof| ProofOps {
                    ops: vec![ProofOp {
                        r#type: PROOF_TYPE.to_owned(),
                        key: answer.key.clone(),
                        data: proof,
                    }],
                }),
                key: answer.key.into(),
                value: answer.value.into(),
                ..ResponseQuery::default()
            },
            Err(NoAnswer::Refused { code, log }) => {
                ResponseQuery { code, log, codespace: codespace(code), ..ResponseQuery::default() }
            }
            Err(NoAnswer::Fault(fault)) => exit::fault(&fault),
        }
    }

    fn check_tx(&self, request: RequestCheckTx) -> ResponseCheckTx {
        let outcome = or_exit(App::check_tx(self, &request.tx));
        ResponseCheckTx {
            code: outcome.code,
            // Always empty, as in every Cosmos chain: CometBFT answers a broadcast with it in hex, and
            // cosmjs reads base64, which fails for about every second length.
            data: Vec::new().into(),
            log: outcome.log,
            info: String::new(),
            gas_wanted: signed(outcome.gas_wanted),
            gas_used: signed(outcome.gas_used),
            events: Vec::new(),
            codespace: codespace(outcome.code),
        }
    }

    fn prepare_proposal(&self, request: RequestPrepareProposal) -> ResponsePrepareProposal {
        let commit = request.local_last_commit.and_then(extended_commit);
        let txs: Vec<Vec<u8>> = request.txs.into_iter().map(Vec::from).collect();
        let bytes_max = unsigned(request.max_tx_bytes);
        let txs = or_exit(self.prepare(unsigned(request.height), bytes_max, commit, &txs));
        ResponsePrepareProposal { txs: txs.into_iter().map(Into::into).collect() }
    }

    fn process_proposal(&self, request: RequestProcessProposal) -> ResponseProcessProposal {
        use response_process_proposal::ProposalStatus;
        let txs: Vec<Vec<u8>> = request.txs.into_iter().map(Vec::from).collect();
        let status = match or_exit(self.process(unsigned(request.height), &txs)) {
            Ok(()) => ProposalStatus::Accept,
            Err(_) => ProposalStatus::Reject,
        };
        ResponseProcessProposal { status: status.into() }
    }

    fn extend_vote(&self, _: RequestExtendVote) -> ResponseExtendVote {
        ResponseExtendVote { vote_extension: or_exit(self.extend()).into() }
    }

    fn verify_vote_extension(
        &self,
        request: RequestVerifyVoteExtension,
    ) -> ResponseVerifyVoteExtension {
        use response_verify_vote_extension::VerifyStatus;
        let fine = lockstep_chain::extension::verify(&request.vote_extension);
        let status = if fine { VerifyStatus::Accept } else { VerifyStatus::Reject };
        ResponseVerifyVoteExtension { status: status.into() }
    }

    fn finalize_block(&self, request: RequestFinalizeBlock) -> ResponseFinalizeBlock {
        let txs: Vec<Vec<u8>> = request.txs.into_iter().map(Vec::from).collect();
        let Ok(hash) = <[u8; 32]>::try_from(request.hash.as_ref()) else {
            exit::fault(&Fault::Invariant("CometBFT decided a block without a hash"))
        };
        let header = Header {
            height: unsigned(request.height),
            time_ms: milliseconds(request.time.as_ref()),
            hash,
        };
        let evidence = request.misbehavior.iter().filter_map(evidence).collect();
        let (outcome, app_hash) = or_exit(self.finalize(&Block { header, txs: &txs, evidence }));
        ResponseFinalizeBlock {
            events: outcome.events.into_iter().map(event).collect(),
            tx_results: outcome.txs.into_iter().map(tx_result).collect(),
            validator_updates: outcome.validator_updates.iter().map(validator_update).collect(),
            consensus_param_updates: None,
            app_hash: app_hash.to_vec().into(),
        }
    }

    fn commit(&self) -> ResponseCommit {
        ResponseCommit { retain_height: signed(or_exit(App::commit(self))) }
    }

    // Snapshots are not made yet: a new node joins by replaying blocks.

    fn list_snapshots(&self) -> ResponseListSnapshots {
        ResponseListSnapshots { snapshots: Vec::new() }
    }

    fn offer_snapshot(
        &self,
        _: tendermint_proto::v0_38::abci::RequestOfferSnapshot,
    ) -> ResponseOfferSnapshot {
        tracing::error!("state sync is not supported yet; hint: set statesync.enable = false");
        ResponseOfferSnapshot { result: response_offer_snapshot::Result::Abort.into() }
    }

    fn load_snapshot_chunk(
        &self,
        _: tendermint_proto::v0_38::abci::RequestLoadSnapshotChunk,
    ) -> ResponseLoadSnapshotChunk {
        ResponseLoadSnapshotChunk::default()
    }

    fn apply_snapshot_chunk(
        &self,
        _: tendermint_proto::v0_38::abci::RequestApplySnapshotChunk,
    ) -> ResponseApplySnapshotChunk {
        let result = response_apply_snapshot_chunk::Result::Abort.into();
        ResponseApplySnapshotChunk { result, ..ResponseApplySnapshotChunk::default() }
    }
}

/// A fault ends the process; it never becomes a result.
fn or_exit<T>(result: Result<T, Fault>) -> T {
    result.unwrap_or_else(|fault| exit::fault(&fault))
}

/// The votes for the block with their extensions; none where a proposer has no extensions.
fn extended_commit(info: ExtendedCommitInfo) -> Option<ExtendedCommit> {
    let for_block = |flag: i32| flag == i32::from(BlockIdFlag::Commit);
    let votes: Vec<_> = info
        .votes
        .into_iter()
        .filter(|vote| for_block(vote.block_id_flag) && !vote.extension_signature.is_empty())
        .filter_map(|vote| {
            Some(ExtendedVote {
                validator_address: vote.validator?.address.to_vec(),
                extension: vote.vote_extension.to_vec(),
                signature: vote.extension_signature.to_vec(),
            })
        })
        .collect();
    let commit = ExtendedCommit { empty: false, round: info.round, votes };
    (!commit.votes.is_empty()).then_some(commit)
}
