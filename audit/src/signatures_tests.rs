//! Both verifiers of transactions accept exactly the same.

use k256::ecdsa::SigningKey;
use k256::ecdsa::signature::hazmat::PrehashSigner as _;
use k256::elliptic_curve::ff::PrimeField as _;
use k256::elliptic_curve::point::DecompressPoint as _;
use k256::elliptic_curve::subtle::Choice;
use k256::{AffinePoint, ProjectivePoint, Scalar};
use lockstep_chain::envelope::{K256, public_key_of};
use proptest::prelude::*;

use super::*;

/// The order of the group.
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe,
    0xba, 0xae, 0xdc, 0xe6, 0xaf, 0x48, 0xa0, 0x3b, 0xbf, 0xd2, 0x5e, 0x8c, 0xd0, 0x36, 0x41, 0x41,
];
/// The prime of the field.
const PRIME: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, 0xff, 0xff, 0xfc, 0x2f,
];

/// What both say, which has to be the same.
fn verdict(key: &[u8; 33], digest: &[u8; 32], signature: &[u8; 64]) -> bool {
    let one = K256.verify(key, digest, signature);
    let other = Libsecp256k1.verify(key, digest, signature);
    let all = [hex::encode(key), hex::encode(digest), hex::encode(signature)];
    assert_eq!(one, other, "k256 says {one}, libsecp256k1 {other}: {all:?}");
    one
}

fn signed(seed: [u8; 32], digest: &[u8; 32]) -> Option<([u8; 33], [u8; 64])> {
    let key = SigningKey::from_slice(&seed).ok()?;
    let signature: k256::ecdsa::Signature = key.sign_prehash(digest).ok()?;
    Some((public_key_of(&key), signature.normalize_s().to_bytes().into()))
}

/// The number that is `by` more; `by` may be negative.
fn moved(number: [u8; 32], by: i8) -> [u8; 32] {
    let mut out = number;
    let mut carry = i16::from(by);
    for byte in out.iter_mut().rev() {
        let sum = i16::from(*byte) + carry;
        *byte = u8::try_from(sum.rem_euclid(256)).unwrap();
        carry = sum.div_euclid(256);
    }
    out
}

fn halved(number: [u8; 32]) -> [u8; 32] {
    let mut carry = 0;
    number.map(|byte| {
        let out = (byte >> 1) | (carry << 7);
        carry = byte & 1;
        out
    })
}

fn joined(r: [u8; 32], s: [u8; 32]) -> [u8; 64] {
    [r, s].concat().try_into().unwrap()
}

/// Numbers at which implementations part.
fn edges() -> Vec<[u8; 32]> {
    let mut edges = vec![[0xff; 32]];
    for base in [[0; 32], ORDER, PRIME, halved(ORDER)] {
        edges.extend((-2..=2).map(|by| moved(base, by)));
    }
    edges
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn both_accept_what_was_signed_and_agree_on_what_was_changed(
        seed: [u8; 32],
        digest: [u8; 32],
        at in 0_usize..129,
        bits in 1_u8..,
    ) {
        let Some((key, signature)) = signed(seed, &digest) else { return Ok(()) };
        prop_assert!(verdict(&key, &digest, &signature));
        let (mut key, mut digest, mut signature) = (key, digest, signature);
        match at {
            0..33 => key[at] ^= bits,
            33..65 => digest[at - 33] ^= bits,
            _ => signature[at - 65] ^= bits,
        }
        prop_assert!(!verdict(&key, &digest, &signature));
    }

    #[test]
    fn both_agree_on_bytes_of_any_kind(key: [u8; 33], digest: [u8; 32], r: [u8; 32], s: [u8; 32]) {
        for tag in [2, 3] {
            let mut key = key;
            key[0] = tag;
            verdict(&key, &digest, &joined(r, s));
        }
    }
}

#[test]
fn both_refuse_every_tag_but_the_two_of_compressed_keys() {
    let digest = [9; 32];
    let (key, signature) = signed([5; 32], &digest).unwrap();
    let accepted: Vec<u8> = (0..=255)
        .filter(|tag| {
            let mut key = key;
            key[0] = *tag;
            verdict(&key, &digest, &signature)
        })
        .collect();
    assert_eq!(accepted, [key[0]]);
}

#[test]
fn both_refuse_the_high_half_of_s() {
    for seed in 1..50 {
        let digest = [seed; 32];
        let (key, low) = signed([seed; 32], &digest).unwrap();
        let s = Scalar::from_repr(<[u8; 32]>::try_from(&low[32..]).unwrap().into()).unwrap();
        let high: [u8; 32] = (-s).to_bytes().into();
        assert!(verdict(&key, &digest, &low));
        assert!(!verdict(&key, &digest, &joined(low[..32].try_into().unwrap(), high)));
    }
}

#[test]
fn both_agree_at_the_edges_of_every_number() {
    let (key, signature) = signed([5; 32], &[9; 32]).unwrap();
    let (r, s) = (signature[..32].try_into().unwrap(), signature[32..].try_into().unwrap());
    for one in edges() {
        // As a digest, also of a signature that is right over it.
        verdict(&key, &one, &signature);
        let (own, right) = signed([6; 32], &one).unwrap();
        assert!(verdict(&own, &one, &right), "digest {}", hex::encode(one));
        // As a key's x.
        for tag in [2, 3] {
            let mut odd = [tag; 33];
            odd[1..].copy_from_slice(&one);
            verdict(&odd, &[9; 32], &signature);
        }
        assert!(!verdict(&key, &[9; 32], &joined(one, s)));
        assert!(!verdict(&key, &[9; 32], &joined(r, one)));
        for other in edges() {
            verdict(&key, &[9; 32], &joined(one, other));
        }
    }
}

/// A right signature for chosen parts: the key follows from them.
fn made(point: AffinePoint, r: Scalar, s: Scalar, digest: Scalar) -> [u8; 33] {
    let sum = ProjectivePoint::from(point) * s - ProjectivePoint::GENERATOR * digest;
    let key = (sum * r.invert().unwrap()).to_affine();
    let key = k256::ecdsa::VerifyingKey::from_affine(key).unwrap();
    key.to_sec1_point(true).as_bytes().try_into().unwrap()
}

/// The x of the nonce's point may exceed the order; then r is x less the order.
#[test]
fn both_accept_an_r_that_was_reduced() {
    let mut found = 0;
    for more in 1..100_u8 {
        let x = moved(ORDER, i8::try_from(more).unwrap());
        let point = AffinePoint::decompress(&x.into(), Choice::from(0));
        let Some(point) = Option::<AffinePoint>::from(point) else { continue };
        let (r, s) = (Scalar::from(u64::from(more)), Scalar::from(77_u64));
        for digest in [Scalar::from(5_u64), Scalar::ZERO] {
            let key = made(point, r, s, digest);
            let bytes = joined(r.to_bytes().into(), s.to_bytes().into());
            assert!(verdict(&key, &digest.to_bytes().into(), &bytes), "x = order + {more}");
            found += 1;
        }
    }
    assert!(found > 20, "{found} points");
}

/// Sums that meet in one point, or in none.
#[test]
fn both_agree_where_the_two_products_are_equal_or_opposite() {
    for sign in [Scalar::ONE, -Scalar::ONE] {
        for number in 2..40_u64 {
            // Q = ±d·G with u1·G = ±u2·Q.
            let nonce = Scalar::from(number);
            let point = (ProjectivePoint::GENERATOR * nonce).to_affine();
            let x: [u8; 32] = k256::ecdsa::VerifyingKey::from_affine(point)
                .map(|key| key.to_sec1_point(true).as_bytes()[1..].try_into().unwrap())
                .unwrap();
            let r = Scalar::from_repr(x.into()).unwrap();
            let s = Scalar::from(3 * number);
            // digest = ±(nonce·s)/2, so that both products are half of the nonce's point.
            let half = nonce * s * Scalar::from(2_u64).invert().unwrap();
            let digest = half * sign;
            let key = made(point, r, s, digest);
            let bytes = joined(r.to_bytes().into(), s.to_bytes().into());
            assert!(verdict(&key, &digest.to_bytes().into(), &bytes));
            // And where their sum is the point at infinity: digest = -r·d.
            let d = (nonce * s - digest) * r.invert().unwrap();
            let opposite = -(r * d);
            assert!(!verdict(&key, &opposite.to_bytes().into(), &bytes));
        }
    }
}

fn vote(seed: u8, message: &[u8]) -> VoteSignature {
    let key = ed25519_consensus::SigningKey::from([seed; 32]);
    VoteSignature {
        key: key.verification_key().to_bytes(),
        message: message.to_vec(),
        signature: key.sign(message).to_bytes().to_vec(),
    }
}

#[test]
fn one_wrong_vote_does_not_spoil_the_others_of_its_batch() {
    let mut votes: Vec<_> = (0..200).map(|seed| vote(seed, &[seed, 1])).collect();
    votes[70].message = vec![9];
    let right = RightVotes::check(&votes);
    assert_eq!(right.0.len(), 199);
    for (at, vote) in votes.iter().enumerate() {
        let verdict = right.verify(&vote.key, &vote.message, &vote.signature);
        assert_eq!(verdict, at != 70);
        assert!(!right.verify(&vote.key, b"other", &vote.signature));
    }
}
