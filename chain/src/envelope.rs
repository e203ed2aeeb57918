//! The envelope around messages: `cosmos.tx.v1beta1.TxRaw`, signed in `SIGN_MODE_DIRECT`.
//!
//! Reading checks everything that needs no state. Writing is here too, so that wallets, executors
//! and tests make exactly what this file accepts.

use alloc::string::{String, ToString as _};
use alloc::vec;
use alloc::vec::Vec;

use k256::ecdsa::signature::hazmat::{PrehashSigner as _, PrehashVerifier as _};
use k256::ecdsa::{Signature, SigningKey, VerifyingKey};
use lockstep_proto::cosmos::crypto::secp256k1::PubKey;
use lockstep_proto::cosmos::tx::signing::v1beta1::SignMode;
use lockstep_proto::cosmos::tx::v1beta1::mode_info::{Single, Sum};
use lockstep_proto::cosmos::tx::v1beta1::{
    AuthInfo, Fee, ModeInfo, SignDoc, SignerInfo, TxBody, TxRaw,
};
use prost::{Message as _, Name as _};
use prost_types::Any;
use sha2::{Digest as _, Sha256};

use crate::address::{self, Address};
use crate::error::{
    BAD_AMOUNT, BAD_FIELD, BAD_SIGNATURE, Reject, TOO_LARGE, UNKNOWN_MESSAGE, UNSUPPORTED_SIGNER,
    WRONG_SIGNER,
};
use crate::limits::{MEMO_BYTES_MAX, TX_BYTES_MAX, TX_MESSAGES_MAX};
use crate::tx::AnyAction;
use crate::wire::{amount, any, canonical, coin};

/// Checks ECDSA signatures over secp256k1. A node may put a cache in front.
pub trait Verifier: Sync {
    /// Whether `signature` (r ‖ s, low s) over `digest` was made by the compressed `key`.
    fn verify(&self, key: &[u8; 33], digest: &[u8; 32], signature: &[u8; 64]) -> bool;
}

/// The verifier of the `k256` crate; refuses high s.
#[derive(Debug, Clone, Copy, Default)]
pub struct K256;

impl Verifier for K256 {
    fn verify(&self, key: &[u8; 33], digest: &[u8; 32], signature: &[u8; 64]) -> bool {
        let Ok(key) = VerifyingKey::from_sec1_bytes(key) else { return false };
        let Ok(signature) = Signature::from_slice(signature) else { return false };
        if signature.normalize_s() != signature {
            return false;
        }
        key.verify_prehash(digest, &signature).is_ok()
    }
}

/// A transaction whose form is right. Nothing is known about its signature yet.
#[derive(Debug)]
pub struct Envelope {
    /// Who signed, by the key.
    pub signer: Address,
    /// Compressed secp256k1.
    pub public_key: [u8; 33],
    /// The account's sequence that was signed; 0 where unordered.
    pub sequence: u64,
    /// In ulock.
    pub fee: u64,
    /// The most gas that the signer pays for.
    pub gas_limit: u64,
    /// The last height for inclusion; 0 means no bound.
    pub timeout_height: u64,
    /// For an unordered transaction: the block time, in Unix milliseconds, at which it expires.
    pub unordered_until_ms: Option<u64>,
    /// What is to be done, at least one.
    pub actions: Vec<AnyAction>,
    /// Length of the encoded transaction.
    pub bytes: usize,
    body_bytes: Vec<u8>,
    auth_info_bytes: Vec<u8>,
    signature: Vec<u8>,
}

impl Envelope {
    /// Decodes, and runs every check that needs no state and no signature.
    ///
    /// # Errors
    /// When the bytes can never be a valid transaction.
    pub fn decode(bytes: &[u8]) -> Result<Self, Reject> {
        Self::read(bytes, SignMode::Direct)
    }

    /// As [`Envelope::decode`], for a simulation: wallets leave the sign mode open there.
    ///
    /// # Errors
    /// When the bytes can never become a valid transaction.
    pub fn decode_unsigned(bytes: &[u8]) -> Result<Self, Reject> {
        Self::read(bytes, SignMode::Unspecified).or_else(|_| Self::decode(bytes))
    }

    fn read(bytes: &[u8], mode: SignMode) -> Result<Self, Reject> {
        if bytes.len() > TX_BYTES_MAX {
            return Err(TOO_LARGE);
        }
        let raw: TxRaw = canonical(bytes)?;
        let body: TxBody = canonical(&raw.body_bytes)?;
        let auth: AuthInfo = canonical(&raw.auth_info_bytes)?;
        let [signature] = raw.signatures.as_slice() else { return Err(UNSUPPORTED_SIGNER) };
        let [info] = auth.signer_infos.as_slice() else { return Err(UNSUPPORTED_SIGNER) };
        let public_key = public_key(info, mode)?;
        let signer = address::from_public_key(&public_key);
        if body.memo.len() > MEMO_BYTES_MAX || body.messages.len() > TX_MESSAGES_MAX {
            return Err(TOO_LARGE);
        }
        if !body.extension_options.is_empty() || !body.non_critical_extension_options.is_empty() {
            return Err(BAD_FIELD);
        }
        let fee = auth.fee.ok_or(BAD_FIELD)?;
        let envelope = Self {
            signer,
            public_key,
            sequence: info.sequence,
            fee: fee_amount(&fee, &signer)?,
            gas_limit: fee.gas_limit,
            timeout_height: body.timeout_height,
            unordered_until_ms: unordered_until(&body, info.sequence)?,
            actions: actions(&body.messages, &signer)?,
            bytes: bytes.len(),
            signature: signature.clone(),
            body_bytes: raw.body_bytes,
            auth_info_bytes: raw.auth_info_bytes,
        };
        Ok(envelope)
    }

    /// As it came: r ‖ s, if it is one.
    #[must_use]
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// What was signed: SHA-256 of the sign document.
    #[must_use]
    pub fn digest(&self, chain_id: &str, account_number: u64) -> [u8; 32] {
        let document = SignDoc {
            body_bytes: self.body_bytes.clone(),
            auth_info_bytes: self.auth_info_bytes.clone(),
            chain_id: chain_id.to_string(),
            account_number,
        };
        Sha256::digest(document.encode_to_vec()).into()
    }

    /// Checks the signature over [`Envelope::digest`].
    ///
    /// # Errors
    /// [`BAD_SIGNATURE`].
    pub fn verify(&self, digest: &[u8; 32], verifier: &dyn Verifier) -> Result<(), Reject> {
        let signature = self.signature.as_slice().try_into().map_err(|_| BAD_SIGNATURE)?;
        if verifier.verify(&self.public_key, digest, signature) {
            Ok(())
        } else {
            Err(BAD_SIGNATURE)
        }
    }

    /// Whether it is nothing but moves of trials.
    #[must_use]
    pub fn only_moves(&self) -> bool {
        self.actions.iter().all(|action| action.kind.moves.is_some())
    }

    /// What its moves take of a block's budget.
    #[must_use]
    pub fn moves(&self) -> u32 {
        let costs = self.actions.iter().map(|action| action.kind.moves.unwrap_or(0));
        costs.fold(0, u32::saturating_add)
    }
}

/// The hash by which clients know a transaction.
#[must_use]
pub fn tx_hash(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

fn public_key(info: &SignerInfo, mode: SignMode) -> Result<[u8; 33], Reject> {
    let single = Some(Sum::Single(Single { mode: mode.into() }));
    if info.mode_info.as_ref().map(|mode| mode.sum) != Some(single) {
        return Err(UNSUPPORTED_SIGNER);
    }
    let any = info.public_key.as_ref().ok_or(UNSUPPORTED_SIGNER)?;
    if any.type_url != PubKey::type_url() {
        return Err(UNSUPPORTED_SIGNER);
    }
    let key: PubKey = canonical(&any.value)?;
    key.key.try_into().map_err(|_| UNSUPPORTED_SIGNER)
}

fn fee_amount(fee: &Fee, signer: &Address) -> Result<u64, Reject> {
    if !fee.granter.is_empty() || !(fee.payer.is_empty() || fee.payer == address::account(signer)) {
        return Err(BAD_FIELD);
    }
    match fee.amount.as_slice() {
        [] => Ok(0),
        [coin] => amount(coin),
        _ => Err(BAD_AMOUNT),
    }
}

fn unordered_until(body: &TxBody, sequence: u64) -> Result<Option<u64>, Reject> {
    let Some(at) = body.timeout_timestamp else {
        return if body.unordered { Err(BAD_FIELD) } else { Ok(None) };
    };
    if !body.unordered || sequence != 0 {
        return Err(BAD_FIELD);
    }
    let seconds = u64::try_from(at.seconds).map_err(|_| BAD_FIELD)?;
    let nanos = u64::try_from(at.nanos).map_err(|_| BAD_FIELD)?;
    let millis = seconds.checked_mul(1000).ok_or(BAD_FIELD)?;
    Ok(Some(millis.checked_add(nanos / 1_000_000).ok_or(BAD_FIELD)?))
}

fn actions(messages: &[Any], signer: &Address) -> Result<Vec<AnyAction>, Reject> {
    if messages.is_empty() {
        return Err(UNKNOWN_MESSAGE);
    }
    let mut actions = Vec::with_capacity(messages.len());
    for message in messages {
        let action = AnyAction::decode(message)?;
        if action.signer() != *signer {
            return Err(WRONG_SIGNER);
        }
        action.check()?;
        actions.push(action);
    }
    Ok(actions)
}

/// What to put around messages.
#[derive(Debug, Clone, Default)]
pub struct Unsigned {
    /// The network that it is for.
    pub chain_id: String,
    /// The account's number.
    pub account_number: u64,
    /// The account's sequence.
    pub sequence: u64,
    /// In ulock.
    pub fee: u64,
    /// The most gas that is paid for.
    pub gas_limit: u64,
    /// What is to be done.
    pub messages: Vec<Any>,
    /// A note; public.
    pub memo: String,
    /// The last height for inclusion; 0 means no bound.
    pub timeout_height: u64,
    /// Makes it unordered and valid until this block time, in Unix milliseconds; the sequence must
    /// then be 0.
    pub unordered_until_ms: Option<u64>,
}

impl Unsigned {
    /// The encoded transaction without a signature, for simulation.
    #[must_use]
    pub fn unsigned(&self, key: &[u8; 33]) -> Vec<u8> {
        let (body_bytes, auth_info_bytes) = self.parts(key);
        TxRaw { body_bytes, auth_info_bytes, signatures: vec![Vec::new()] }.encode_to_vec()
    }

    /// The signed, encoded transaction. Deterministic (RFC 6979).
    #[must_use]
    pub fn sign(&self, key: &SigningKey) -> Vec<u8> {
        let (body_bytes, auth_info_bytes) = self.parts(&public_key_of(key));
        let document = SignDoc {
            body_bytes,
            auth_info_bytes,
            chain_id: self.chain_id.clone(),
            account_number: self.account_number,
        };
        let digest: [u8; 32] = Sha256::digest(document.encode_to_vec()).into();
        // Signing a 32-byte digest with a valid key cannot fail; an empty signature is refused.
        let signature: Option<Signature> = key.sign_prehash(&digest).ok();
        let signature = signature.map(|s| s.normalize_s().to_bytes().to_vec());
        TxRaw {
            body_bytes: document.body_bytes,
            auth_info_bytes: document.auth_info_bytes,
            signatures: vec![signature.unwrap_or_default()],
        }
        .encode_to_vec()
    }

    fn parts(&self, key: &[u8; 33]) -> (Vec<u8>, Vec<u8>) {
        let timeout_timestamp = self.unordered_until_ms.map(|ms| prost_types::Timestamp {
            seconds: i64::try_from(ms / 1000).unwrap_or(i64::MAX),
            nanos: i32::try_from(ms % 1000).unwrap_or(0).saturating_mul(1_000_000),
        });
        let body = TxBody {
            messages: self.messages.clone(),
            memo: self.memo.clone(),
            timeout_height: self.timeout_height,
            unordered: timeout_timestamp.is_some(),
            timeout_timestamp,
            ..TxBody::default()
        };
        let mode = ModeInfo { sum: Some(Sum::Single(Single { mode: SignMode::Direct.into() })) };
        let auth = AuthInfo {
            signer_infos: vec![SignerInfo {
                public_key: Some(any(&PubKey { key: key.to_vec() })),
                mode_info: Some(mode),
                sequence: self.sequence,
            }],
            fee: Some(Fee {
                amount: if self.fee == 0 { Vec::new() } else { vec![coin(self.fee)] },
                gas_limit: self.gas_limit,
                ..Fee::default()
            }),
        };
        (body.encode_to_vec(), auth.encode_to_vec())
    }
}

/// The compressed public key.
#[must_use]
pub fn public_key_of(key: &SigningKey) -> [u8; 33] {
    let point = key.verifying_key().to_sec1_point(true);
    let mut bytes = [0; 33];
    bytes.iter_mut().zip(point.as_bytes()).for_each(|(to, from)| *to = *from);
    bytes
}
