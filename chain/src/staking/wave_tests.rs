//! What verdicts of one validator cost one after another, and what is left where one is cancelled.

use alloc::vec;
use alloc::vec::Vec;

use lockstep_proto::lockstep::staking::v1::{Offence, Slash};

use crate::address::Address;
use crate::context::Context;
use crate::limits::{POWER_UNIT, YEAR_MS};
use crate::model::artefact;
use crate::staking::slashing::{self, Finding};
use crate::staking::wave;
use crate::state::tables::SLASHES;
use crate::trial::testing::{COUNCIL, STAKE, World, operator, params};

#[test]
fn concessions_of_a_year_cost_a_thousandth_then_a_tenth_then_half() {
    let mut world = World::new(4, params(), &artefact::example());
    let finding = |operator: Address| Finding {
        least: 7 * POWER_UNIT,
        ..Finding::new(operator, Offence::Conceded, 1, 1)
    };
    for _ in 0..4 {
        world.act(|ctx| slashing::record(ctx, finding(operator(0)))).unwrap();
    }
    let found: Vec<_> = world.slashes().iter().map(|s| (s.fraction_bps, s.least)).collect();
    let least = 7 * POWER_UNIT;
    assert_eq!(found, [(10, least), (1_000, least), (5_000, least), (5_000, least)]);
    // Cancelling one of four leaves three.
    world
        .act(|ctx| {
            let mut slash = SLASHES.must(ctx.state, &4)?;
            slash.wave = true;
            SLASHES.put(ctx.state, &4, &slash);
            wave::cancel(ctx, &COUNCIL, 4, "for the test")?;
            slashing::record(ctx, finding(operator(0)))
        })
        .unwrap();
    assert_eq!(world.slashes()[4].fraction_bps, 5_000);
    world
        .act(|ctx| {
            let mut validator = crate::staking::validator(ctx, &operator(1))?;
            validator.conceded_ms = vec![0];
            crate::state::tables::VALIDATORS.put(ctx.state, &operator(1), &validator);
            let tip = lockstep_proto::lockstep::chain::v1::Tip {
                time_ms: YEAR_MS + 1,
                ..ctx.tip.clone()
            };
            let mut later = crate::context::Context::new(ctx.state, ctx.params, &tip);
            slashing::record(&mut later, finding(operator(1)))
        })
        .unwrap();
    assert_eq!(world.slashes()[5].fraction_bps, 10, "a year has passed");
}

#[test]
fn a_verdict_that_is_cancelled_makes_each_later_one_of_its_kind_a_lesser_offence() {
    let mut world = World::new(4, params(), &artefact::example());
    let found = |offence, job| {
        let finding = Finding::new(operator(0), offence, job, 1);
        move |ctx: &mut Context<'_, '_>| slashing::record(ctx, finding)
    };
    for job in 1..=3 {
        world.act(found(Offence::Conceded, job)).unwrap();
        world.act(found(Offence::WrongResult, job)).unwrap();
    }
    let penalties = |world: &World, first: usize| -> Vec<(u32, bool)> {
        let slashes = world.slashes().into_iter().skip(first).step_by(2);
        slashes.map(|slash| (slash.fraction_bps, slash.removal)).collect()
    };
    assert_eq!(penalties(&world, 0), [(10, false), (1_000, false), (5_000, false)]);
    assert_eq!(penalties(&world, 1), [(5_000, false), (10_000, true), (10_000, true)]);
    world
        .act(|ctx| {
            for id in 1..=6 {
                let slash = SLASHES.must(ctx.state, &id)?;
                SLASHES.put(ctx.state, &id, &Slash { wave: true, ..slash });
            }
            wave::cancel(ctx, &COUNCIL, 3, "a driver")?;
            wave::cancel(ctx, &COUNCIL, 2, "a driver")
        })
        .unwrap();
    assert_eq!(penalties(&world, 0), [(10, false), (1_000, false), (1_000, false)]);
    assert_eq!(penalties(&world, 1), [(5_000, false), (5_000, false), (10_000, true)]);
    world.act(|ctx| wave::cancel(ctx, &COUNCIL, 4, "a driver")).unwrap();
    assert_eq!(penalties(&world, 1)[2], (5_000, false));
    world.pass(10);
    assert_eq!(world.validator(0).tokens, penalised(STAKE, &[10, 1_000, 5_000]));
}

/// What is left of a stake after fractions were taken from it, one after the other.
fn penalised(stake: u64, fractions_bps: &[u64]) -> u64 {
    fractions_bps.iter().fold(stake, |left, bps| left - left * bps / 10_000)
}
