//! Proofs as `cosmos.ics23.v1.CommitmentProof`, which light clients of other chains verify under
//! the specification in `docs/state.md`. There is one encoding of a proof: everything that does not
//! follow from its keys, values and siblings is fixed and checked.

use alloc::vec::Vec;

use lockstep_proto::cosmos::ics23::v1 as pb;
use pb::commitment_proof::Proof as Either;
use prost::Message;

use super::proof::{LeafProof, Proof, ProofError};
use super::rule::{Blake3Rule, EMPTY_VALUE, Hash, HashRule, INNER_TAG, LEAF_TAG, provable};
use super::shard::bit;

/// A proof is at most so long: two leaves of 256 steps, each with its key and value.
pub const PROOF_BYTES_MAX: usize = 1 << 20;

impl Proof {
    /// The protobuf message; `key` is the one that the proof is about.
    #[must_use]
    pub fn to_ics23(&self, key: &[u8]) -> pb::CommitmentProof {
        let proof = match self {
            Self::Present(leaf) => Either::Exist(existence(leaf)),
            Self::Absent { left, right } => Either::Nonexist(pb::NonExistenceProof {
                key: key.to_vec(),
                left: left.as_ref().map(existence),
                right: right.as_ref().map(existence),
            }),
        };
        pb::CommitmentProof { proof: Some(proof) }
    }

    /// The proof in a protobuf message, with the key that it is about. What it proves is not
    /// checked here; see [`Proof::verify`].
    ///
    /// # Errors
    /// Where the message is not one that [`Proof::to_ics23`] writes.
    pub fn from_ics23(message: &pb::CommitmentProof) -> Result<(Vec<u8>, Self), ProofError> {
        match &message.proof {
            Some(Either::Exist(proof)) => {
                let leaf = leaf_proof(proof)?;
                Ok((leaf.key.clone(), Self::Present(leaf)))
            }
            Some(Either::Nonexist(proof)) => {
                let left = proof.left.as_ref().map(leaf_proof).transpose()?;
                let right = proof.right.as_ref().map(leaf_proof).transpose()?;
                Ok((proof.key.clone(), Self::Absent { left, right }))
            }
            None => Err(ProofError::Malformed("neither a membership nor a non-membership proof")),
        }
    }
}

/// Checks encoded `CommitmentProof` bytes: under `root` the key has `value`, or has none.
///
/// # Errors
/// [`ProofError`] where that does not follow from the proof, or its bytes are not canonical.
pub fn verify_ics23(
    proof: &[u8],
    root: &Hash,
    key: &[u8],
    value: Option<&[u8]>,
) -> Result<(), ProofError> {
    if proof.len() > PROOF_BYTES_MAX {
        return Err(ProofError::Malformed("longer than 1 MiB"));
    }
    let message = pb::CommitmentProof::decode(proof)
        .map_err(|_| ProofError::Malformed("not a cosmos.ics23.v1.CommitmentProof"))?;
    if message.encode_to_vec() != proof {
        return Err(ProofError::Malformed("not in canonical bytes"));
    }
    let (proven, proof) = Proof::from_ics23(&message)?;
    if proven != key {
        return Err(ProofError::Claim);
    }
    proof.verify::<Blake3Rule>(root, key, value)
}

fn leaf_op() -> pb::LeafOp {
    pb::LeafOp {
        hash: pb::HashOp::Blake3.into(),
        prehash_key: pb::HashOp::Blake3.into(),
        prehash_value: pb::HashOp::Blake3.into(),
        length: pb::LengthOp::NoPrefix.into(),
        prefix: LEAF_TAG.to_vec(),
    }
}

fn existence(leaf: &LeafProof) -> pb::ExistenceProof {
    let path = Blake3Rule::bytes(&leaf.key);
    let steps = leaf.steps().map(|(depth, sibling)| {
        let (prefix, suffix) = if bit(&path, depth) {
            ([&INNER_TAG[..], sibling].concat(), Vec::new())
        } else {
            (INNER_TAG.to_vec(), sibling.to_vec())
        };
        pb::InnerOp { hash: pb::HashOp::Blake3.into(), prefix, suffix }
    });
    pb::ExistenceProof {
        key: leaf.key.clone(),
        value: provable(&leaf.value).to_vec(),
        leaf: Some(leaf_op()),
        path: steps.collect(),
    }
}

fn leaf_proof(proof: &pb::ExistenceProof) -> Result<LeafProof, ProofError> {
    let siblings = proof.path.iter().map(|step| {
        let sibling = match step.prefix.strip_prefix(INNER_TAG.as_slice()) {
            Some([]) => step.suffix.as_slice(),
            Some(left) => left,
            None => return Err(ProofError::Malformed("an inner node without its tag")),
        };
        Hash::try_from(sibling)
            .map_err(|_| ProofError::Malformed("a sibling of other than 32 bytes"))
    });
    let value = if proof.value == EMPTY_VALUE { Vec::new() } else { proof.value.clone() };
    let leaf =
        LeafProof { key: proof.key.clone(), value, siblings: siblings.collect::<Result<_, _>>()? };
    if existence(&leaf) == *proof {
        return Ok(leaf);
    }
    Err(ProofError::Malformed("operations other than this chain's"))
}
