//! `lockstep audit replay` of blocks of 10,000 transfers: headers, votes, signatures, execution and
//! roots, with nothing known before. Beside it, in turns, the same threads with as many signatures of
//! libsecp256k1 and nothing else: no replay is faster. And the two verifiers of signatures.

use std::time::Instant;

use k256::ecdsa::signature::hazmat::PrehashSigner as _;
use k256::ecdsa::{Signature, SigningKey};
use lockstep_audit::replay::{self, Options};
use lockstep_audit::report::Verdict;
use lockstep_audit::sample::{Blocks, Sample};
use lockstep_audit::signatures::Libsecp256k1;
use lockstep_chain::envelope::{K256, Verifier, public_key_of};
use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};
use serde_json::json;

const VALIDATORS: usize = 4;
const ACCOUNTS: usize = 100_000;
const TRANSFERS: usize = 10_000;
const BLOCKS: usize = 20;
const COUNT: f64 = 200_000.0;
const ROUNDS: usize = 5;
const SIGNATURES: u8 = 200;

type Case = ([u8; 33], [u8; 32], [u8; 64]);

fn main() {
    let cases = cases();
    verifiers(&cases);
    assert_eq!(BLOCKS * TRANSFERS, 200_000, "the count");
    let mut chain = Sample::new(VALIDATORS, ACCOUNTS).expect("a genesis");
    for _ in 0..BLOCKS {
        let txs = chain.transfers(TRANSFERS);
        chain.block(txs).expect("a block");
    }
    let (mut rates, mut cpu, mut bounds) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        bounds.push(signatures_alone(&cases));
        let mut blocks = Blocks(chain.entries.clone());
        let (start, cpu_before) = (Instant::now(), cpu_seconds());
        let options = Options::default();
        let ended = replay::run(chain.file(), &mut blocks, &options, &mut [], &mut |_| {});
        let seconds = start.elapsed().as_secs_f64();
        cpu.push((cpu_seconds() - cpu_before) * 1e6 / COUNT);
        let ended = ended.expect("a genesis");
        assert_eq!(ended.report.verdict, Verdict::Pass, "{:?}", ended.report.difference);
        assert_eq!(ended.report.facts["txs_failed"], 0);
        rates.push(COUNT / seconds);
    }
    let mut shares: Vec<f64> =
        rates.iter().zip(&bounds).map(|(rate, bound)| rate / bound).collect();
    for figures in [&mut rates, &mut cpu, &mut bounds, &mut shares] {
        figures.sort_by(f64::total_cmp);
    }
    println!(
        "{}",
        json!({
            "figure": "audit_replay_tx_per_s",
            "accounts": ACCOUNTS,
            "transactions": COUNT,
            "validators": VALIDATORS,
            "threads": rayon::current_num_threads(),
            "median": rates[ROUNDS / 2].round(),
            "min": rates[0].round(),
            "max": rates[ROUNDS - 1].round(),
            // Of all threads: what a busy machine does not change.
            "cpu_us_per_tx": (cpu[ROUNDS / 2] * 10.0).round() / 10.0,
            "signatures_alone_per_s": bounds[ROUNDS / 2].round(),
            "share_of_signatures_alone": (shares[ROUNDS / 2] * 100.0).round() / 100.0,
        })
    );
}

/// Time that this process has had on all cores.
fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let nanos = i32::try_from(time.tv_nsec).unwrap_or(0);
    let seconds = i32::try_from(time.tv_sec).unwrap_or(i32::MAX);
    f64::from(seconds) + f64::from(nanos) / 1e9
}

/// Signatures a second on all threads.
fn signatures_alone(cases: &[Case]) -> f64 {
    let start = Instant::now();
    let right = (0..BLOCKS * TRANSFERS).into_par_iter().filter(|turn| {
        let (key, digest, signature) = &cases[turn % cases.len()];
        Libsecp256k1.verify(key, digest, signature)
    });
    assert_eq!(right.count(), BLOCKS * TRANSFERS);
    COUNT / start.elapsed().as_secs_f64()
}

fn cases() -> Vec<Case> {
    let case = |seed: u8| {
        let key = SigningKey::from_slice(&[seed; 32]).expect("a key");
        let digest = [seed; 32];
        let signature: Signature = key.sign_prehash(&digest).expect("a signature");
        (public_key_of(&key), digest, signature.normalize_s().to_bytes().into())
    };
    (1..=SIGNATURES).map(case).collect()
}

/// Signatures a second on one core, in turns so that both meet the same machine.
fn verifiers(cases: &[Case]) {
    let rate = |verifier: &dyn Verifier| {
        let start = Instant::now();
        assert!(cases.iter().all(|(key, digest, of)| verifier.verify(key, digest, of)));
        f64::from(SIGNATURES) / start.elapsed().as_secs_f64()
    };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..25 {
        ours.push(rate(&Libsecp256k1));
        theirs.push(rate(&K256));
    }
    for (name, rates) in [("libsecp256k1", &mut ours), ("k256", &mut theirs)] {
        rates.sort_by(f64::total_cmp);
        println!(
            "{}",
            json!({
                "figure": "secp256k1_verify_per_s_and_core",
                "verifier": name,
                "median": rates[12].round(),
                "min": rates[0].round(),
                "max": rates[24].round(),
            })
        );
    }
}
