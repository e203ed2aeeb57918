//! The state machine under CometBFT's call grammar, over replicas in one process.
//!
//! `LOCKSTEP_SEEDS=1000` and `LOCKSTEP_HEIGHTS=200` play more; `LOCKSTEP_SEED=7` plays one.

mod disputes;
mod rules;
mod scenarios;
mod workload;

use workload::{Done, play};

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| {
        text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number"))
    })
}

#[test]
fn whatever_happens_replicas_agree_and_the_books_are_right() {
    let heights = setting("LOCKSTEP_HEIGHTS", 60);
    let seeds = match std::env::var("LOCKSTEP_SEED") {
        Ok(_) => {
            let seed = setting("LOCKSTEP_SEED", 0);
            seed..seed + 1
        }
        Err(_) => 0..setting("LOCKSTEP_SEEDS", 40),
    };
    let mut all = Done::default();
    for seed in seeds.clone() {
        let played = std::panic::catch_unwind(|| play(seed, heights));
        let Ok((done, _)) = played else { panic!("seed {seed} fails: LOCKSTEP_SEED={seed}") };
        all.merge(&done);
    }
    println!("{all:#?}");
    let wanted = [
        ("JOB_STATE_FINAL", 200),
        ("JOB_STATE_EXPIRED", 5),
        ("JOB_STATE_FAILED", 5),
        ("JOB_STATE_UNAVAILABLE", 5),
        ("JOB_STATE_CANCELLED", 10),
        ("OFFENCE_WRONG_RESULT", 5),
        ("OFFENCE_NO_REVEAL", 5),
        ("OFFENCE_NO_SHOW", 5),
        ("OFFENCE_EQUIVOCATION", 5),
        ("OFFENCE_CONCEDED", 5),
        ("trials ended", 100),
        ("challenges", 100),
        ("traces fallen by proof", 50),
        ("traces fallen by silence", 50),
        ("games lost", 50),
        ("concessions", 20),
        ("lies paid for", 20),
        ("premiums paid", 20),
        ("answers of challengers", 5),
        ("waves", 5),
        ("cancelled verdicts", 2),
        ("new attempts", 5),
        ("late deliveries", 5),
        ("validator updates", 200),
        ("heights empty", 100),
        ("code 0", 4000),
        // Refused before their messages: none of them may leave a trace.
        ("code 9", 20),
        ("code 12", 20),
        ("code 13", 20),
    ];
    if seeds.end - seeds.start >= 40 && heights >= 60 {
        for (what, least) in wanted {
            assert!(all.of(what) >= least, "{what}: {} of {least}", all.of(what));
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    for seed in [1, 2] {
        let first = play(seed, 30);
        assert_eq!(first, play(seed, 30));
        assert_ne!(first.1, play(seed + 100, 30).1);
        assert!(first.0.of("code 0") > 30);
    }
}
