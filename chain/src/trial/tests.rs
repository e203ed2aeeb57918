//! Silence, money and deadlines: rules of a trial that need no step to be recomputed. The traces here
//! are trees over leaves that nobody computed, but for the last.

use alloc::vec;
use alloc::vec::Vec;

use lockstep_proto::lockstep::chain::v1::Params;
use lockstep_proto::lockstep::job::v1::{JobState, MemberState, RunStatus};
use lockstep_proto::lockstep::staking::v1::Offence;
use lockstep_proto::lockstep::trial::v1::{Supporter, SupporterState, Trial};
use lockstep_vm::artefact::Manifest;
use lockstep_vm::merkle::{self, Tree};
use lockstep_vm::result::Status;
use lockstep_vm::trace::{Layout, last_leaf, leaf_hash};

use super::defend::{self, Claim, concede, defend};
use super::game::{self, Node};
use super::testing::{
    BALANCE, COUNCIL, FEE, POSTER, STAKE, World, auditor, executor, operator, params,
};
use super::{BOTH_SIDES, OUT, open};
use crate::address::Address;
use crate::error::{INSUFFICIENT_FUNDS, MOVES_FULL, Reject, TOO_LARGE};
use crate::job::phase;
use crate::limits::{TRIAL_MOVES_PER_BLOCK_MAX, TRIAL_OUTSIDERS_MAX, TRIAL_PROOF_MOVES};
use crate::model::artefact;
use crate::staking::wave;
use crate::state::tables::TRIALS;

const BOND: u64 = 1_000_000;

fn right() -> Vec<u8> {
    [1.0_f32; 4].iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn wrong(number: u8) -> Vec<u8> {
    [f32::from(number) + 2.0; 4].iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// A trace that ends as it must, and is made up before.
fn bogus(world: &World, output: &[u8]) -> (Tree, Claim) {
    let manifest = Manifest::decode(&artefact::example()).unwrap();
    let tokens = u32::try_from(world.job().input_bytes / 4).unwrap();
    let count = Layout::new(manifest.verified(), tokens).leaf_count();
    let (status, output_root) = world.output_root(output);
    let ended = if status == RunStatus::Halted { Status::Halted } else { Status::Fault };
    let mut leaves: Vec<_> =
        (0..count).map(|leaf| leaf_hash(leaf, Status::Run, &output_root)).collect();
    *leaves.last_mut().unwrap() = last_leaf(count, ended, &output_root);
    let tree = Tree::new(leaves);
    let height = merkle::height(count);
    let below = merkle::below(height);
    let nodes = (0..merkle::width(count, below)).map(|at| tree.node(below, at).unwrap()).collect();
    let claim = Claim {
        status,
        output_root,
        steps_root: tree.root(),
        last_path: tree.path(count - 1).unwrap(),
        nodes,
    };
    (tree, claim)
}

fn world() -> World {
    World::new(4, params(), &artefact::example())
}

/// The members of a job that revealed two answers: which validator said what.
fn at_odds(world: &mut World) -> (u8, u8) {
    let members = members(world);
    world.commit_and_reveal(&[(members[0], right()), (members[1], wrong(0))]);
    assert!(world.is_on_trial());
    (members[0], members[1])
}

fn members(world: &mut World) -> Vec<u8> {
    let committee = |world: &World| -> Vec<u8> {
        let job = world.job();
        crate::job::present(&job).map(|member| member.validator[0] - 0x10).collect()
    };
    if world.slashes().is_empty() && crate::job::get(&world.state, 1).is_err() {
        world.run_job(&[1, 2], &[]);
    }
    committee(world)
}

/// A job that both members agreed on.
fn agreed(world: &mut World, output: &[u8]) -> Vec<u8> {
    let members = members(world);
    let outputs: Vec<_> = members.iter().map(|member| (*member, output.to_vec())).collect();
    world.commit_and_reveal(&outputs);
    assert_eq!(world.job().state(), JobState::Verified);
    members
}

fn post(world: &mut World, who: Address, output: &[u8]) -> Result<u32, Reject> {
    let claim = bogus(world, output).1;
    world.act(|ctx| defend(ctx, &who, 1, &claim))
}

fn challenge(
    world: &mut World,
    who: Address,
    output: &[u8],
    own: Option<&[u8]>,
) -> Result<(), Reject> {
    let root = world.root_of(output);
    let own = own.map(|own| world.root_of(own));
    world.act(|ctx| open::challenge(ctx, &who, 1, &root, own.as_ref()))
}

/// Calls the first node below the root.
fn call(world: &mut World, who: Address, trace: u32) -> Result<(), Reject> {
    let leaves = world.trial().traces[usize::try_from(trace).unwrap()].leaves;
    let level = merkle::below(merkle::height(leaves));
    let node = Node { job: 1, trace, level, position: 0 };
    world.act(|ctx| game::call(ctx, &who, &node))
}

fn until_over(world: &mut World) {
    for _ in 0..20 {
        if !world.is_on_trial() {
            return;
        }
        world.next();
    }
    panic!("the trial does not end");
}

fn offences(world: &World) -> Vec<(Offence, u8)> {
    world.slashes().iter().map(|s| (s.offence(), s.validator[0] - 0x10)).collect()
}

#[test]
fn an_answer_that_nobody_defends_falls_and_the_other_stands() {
    let mut world = world();
    let (honest, liar) = at_odds(&mut world);
    post(&mut world, executor(honest), &right()).unwrap();
    until_over(&mut world);
    let job = world.job();
    assert_eq!(job.state(), JobState::Verified);
    assert_eq!(job.result_root, world.root_of(&right()));
    assert_eq!(offences(&world), [(Offence::WrongResult, liar)]);
    assert_eq!(job.members[1].state(), MemberState::Wrong);
    world.pass(3);
    assert_eq!(world.validator(liar).tokens, STAKE / 2);
    assert_eq!(world.validator(honest).tokens, STAKE);
}

#[test]
fn where_nobody_defends_anything_all_fall_and_others_try_again() {
    let mut world = world();
    let (first, second) = at_odds(&mut world);
    until_over(&mut world);
    let job = world.job();
    assert_eq!((job.state(), job.attempt), (JobState::Posted, 2));
    assert_eq!(world.slashes().len(), 2);
    let again: Vec<u8> =
        crate::job::present(&job).map(|member| member.validator[0] - 0x10).collect();
    assert!(!again.contains(&first) && !again.contains(&second));
}

#[test]
fn two_answers_that_nobody_calls_are_no_result_and_nobody_is_punished() {
    let mut world = world();
    let (honest, liar) = at_odds(&mut world);
    post(&mut world, executor(honest), &right()).unwrap();
    post(&mut world, executor(liar), &wrong(0)).unwrap();
    until_over(&mut world);
    assert_eq!((world.job().state(), world.job().attempt), (JobState::Posted, 2));
    assert!(world.slashes().is_empty());
}

#[test]
fn whoever_defends_and_then_falls_silent_loses_and_pays_the_moves_and_the_premium() {
    let mut world = world();
    let (honest, liar) = at_odds(&mut world);
    post(&mut world, executor(honest), &right()).unwrap();
    post(&mut world, executor(liar), &wrong(0)).unwrap();
    call(&mut world, executor(honest), 1).unwrap();
    until_over(&mut world);
    assert_eq!(world.job().result_root, world.root_of(&right()));
    assert_eq!(offences(&world), [(Offence::WrongResult, liar)]);
    world.pass(3);
    let slash = &world.slashes()[0];
    // Half of the slashed self-bond would be more.
    let premium = 10 * FEE;
    assert_eq!(slash.amount, STAKE / 2);
    assert_eq!(slash.rewards[0].amount, 100 + premium);
    assert_eq!(world.balance(&operator(honest)), BALANCE + 100 + premium);
}

#[test]
fn every_window_is_as_much_longer_as_tracing_the_job_may_take() {
    let mut world =
        World::new(4, Params { trial_us_per_leaf: 1_500, ..params() }, &artefact::example());
    at_odds(&mut world);
    let (trial, now) = (world.trial(), world.tip().time_ms);
    let leaves = bogus(&world, &right()).0.count();
    assert_eq!(trial.trace_ms, (leaves * 3).div_ceil(2));
    assert_eq!(trial.defend_time_ms, now + trial.trace_ms);
    assert_eq!(trial.call_time_ms, now + 2 * trial.trace_ms);
    // Block time stands still in this world: no deadline passes, however many heights do.
    world.pass(20);
    assert!(!world.trial().defend_over);
}

#[test]
fn a_trace_of_more_leaves_than_any_artefact_has_can_be_posted() {
    let count = (1 << 24) + 3;
    let output_root = [7; 32];
    // All below the nodes that a trace shows, but for the three leaves under the last of them.
    let (last, height) = (count - 1, merkle::height(count));
    let below = merkle::below(height);
    let mut leaves: Vec<_> = (1 << 24..count).map(|n| leaf_hash(n, Status::Run, b"")).collect();
    leaves[2] = last_leaf(count, Status::Halted, &output_root);
    let width = merkle::width(count, below);
    let mut nodes: Vec<_> =
        (0..width).map(|n| leaf_hash(n, Status::Run, b"any other node")).collect();
    *nodes.last_mut().unwrap() = merkle::fold_from(count, below, width - 1, 0, &leaves).unwrap();
    let node = |(level, position): (u32, u64)| {
        let (from, all) = if level < below { (0, &leaves) } else { (below, &nodes) };
        let range = merkle::under(count, level, position, from).unwrap();
        let first = if level < below { 1 << 24 } else { 0 };
        let at = |end: u64| usize::try_from(end - first).unwrap();
        let own = &all[at(range.start)..at(range.end)];
        merkle::fold_from(count, level, position, from, own).unwrap()
    };
    let mut claim = Claim {
        status: RunStatus::Halted,
        output_root,
        steps_root: merkle::root_of_top(count, &merkle::fold(count, height, 0, &nodes).unwrap()),
        last_path: merkle::siblings_of(count, &[last]).into_iter().map(node).collect(),
        nodes,
    };
    assert!(defend::holds(&claim, count));
    claim.status = RunStatus::Fault;
    assert!(!defend::holds(&claim, count));
}

#[test]
fn conceding_in_time_costs_the_least_and_the_fee_and_a_second_time_more() {
    let mut world = world();
    let (honest, liar) = at_odds(&mut world);
    post(&mut world, executor(honest), &right()).unwrap();
    world.act(|ctx| concede(ctx, &executor(liar), 1)).unwrap();
    let again = world.act(|ctx| concede(ctx, &executor(liar), 1));
    assert_eq!(again, Err(defend::NOTHING_TO_CONCEDE));
    assert_eq!(post(&mut world, executor(liar), &wrong(0)), Err(OUT));
    until_over(&mut world);
    assert_eq!(offences(&world), [(Offence::Conceded, liar)]);
    world.pass(3);
    // Ten fees and a thousandth of the stake are the same here.
    assert_eq!(world.validator(liar).tokens, STAKE - 10 * FEE);
    assert_eq!(world.validator(liar).conceded_ms.len(), 1);
    let paid: Vec<_> = crate::job::right_members(&world.job()).map(|m| m.validator[0]).collect();
    assert_eq!(paid, [0x10 + honest]);
}

#[test]
fn whoever_has_defended_cannot_concede() {
    let mut world = world();
    let (_, liar) = at_odds(&mut world);
    post(&mut world, executor(liar), &wrong(0)).unwrap();
    let refused = world.act(|ctx| concede(ctx, &executor(liar), 1));
    assert_eq!(refused, Err(defend::NOTHING_TO_CONCEDE));
}

#[test]
fn a_false_challenge_that_never_calls_loses_its_bond_and_the_window_goes_on() {
    let mut world = world();
    let members = agreed(&mut world, &right());
    world.next();
    challenge(&mut world, auditor(0), &right(), None).unwrap();
    assert_eq!(world.balance(&auditor(0)), BALANCE - BOND);
    for member in &members {
        post(&mut world, executor(*member), &right()).unwrap();
    }
    until_over(&mut world);
    let job = world.job();
    assert_eq!(job.state(), JobState::Verified);
    assert_eq!(world.balance(&auditor(0)), BALANCE - BOND);
    assert_eq!(job.challenge_counter, world.tip().counter - 1 + 2, "what was left of three");
    for member in members {
        assert_eq!(world.balance(&operator(member)), BALANCE + 100, "a move each");
    }
    assert!(world.slashes().is_empty());
}

#[test]
fn an_answer_that_a_challenger_brings_survives_alone_and_earns_the_executors_share() {
    let mut world = world();
    let liars = agreed(&mut world, &wrong(0));
    challenge(&mut world, auditor(0), &wrong(0), Some(&right())).unwrap();
    assert_eq!(world.balance(&auditor(0)), BALANCE - 2 * BOND);
    post(&mut world, auditor(0), &right()).unwrap();
    until_over(&mut world);
    let job = world.job();
    assert_eq!(job.result_root, world.root_of(&right()));
    assert_eq!(job.earners.len(), 1);
    assert_eq!(world.balance(&auditor(0)), BALANCE, "both bonds are back");
    let found = offences(&world);
    assert_eq!(found.len(), 2);
    assert!(liars.iter().all(|liar| found.contains(&(Offence::WrongResult, *liar))));
    // No member is left, so the author delivers at once.
    let (status, _) = world.output_root(&right());
    let output = right();
    let deliver = |world: &mut World, who: Address| {
        world.act(|ctx| crate::job::phase::deliver(ctx, &who, 1, status, &output))
    };
    assert!(deliver(&mut world, auditor(1)).is_err());
    assert!(deliver(&mut world, executor(liars[0])).is_err());
    deliver(&mut world, auditor(0)).unwrap();
    world.pass(12);
    assert_eq!(world.job().state(), JobState::Final);
    // A wave: both liars' verdicts wait, and then pay the one challenger.
    let premiums: u64 = world.slashes().iter().map(|slash| slash.rewards[0].amount).sum();
    assert_eq!(premiums, 2 * 10 * FEE);
    assert_eq!(world.balance(&auditor(0)), BALANCE + FEE * 7 / 10 + premiums);
}

#[test]
fn a_challenger_whose_own_answer_is_not_defended_loses_that_bond() {
    let mut world = world();
    let members = agreed(&mut world, &right());
    challenge(&mut world, auditor(0), &right(), Some(&wrong(1))).unwrap();
    post(&mut world, executor(members[0]), &right()).unwrap();
    until_over(&mut world);
    assert_eq!(world.job().state(), JobState::Verified);
    assert_eq!(world.balance(&auditor(0)), BALANCE - 2 * BOND);
    assert!(world.slashes().is_empty(), "the second member's answer stands, too");
}

#[test]
fn nobody_stands_on_both_sides_or_behind_two_answers() {
    let mut world = world();
    let (honest, liar) = at_odds(&mut world);
    assert_eq!(challenge(&mut world, executor(honest), &right(), None), Err(BOTH_SIDES));
    assert_eq!(post(&mut world, executor(honest), &wrong(0)), Err(BOTH_SIDES));
    challenge(&mut world, auditor(0), &wrong(0), None).unwrap();
    assert_eq!(post(&mut world, auditor(0), &wrong(0)), Err(BOTH_SIDES));
    let twice = challenge(&mut world, auditor(0), &wrong(0), None);
    assert_eq!(twice, Err(open::CHALLENGED_ALREADY));
    post(&mut world, auditor(1), &wrong(0)).unwrap();
    assert_eq!(challenge(&mut world, auditor(1), &wrong(0), None), Err(BOTH_SIDES));
    let _ = liar;
}

#[test]
fn only_the_standing_answer_can_be_challenged_and_only_in_its_window() {
    let mut world = world();
    agreed(&mut world, &right());
    assert_eq!(challenge(&mut world, auditor(0), &wrong(0), None), Err(open::NO_SUCH_ANSWER));
    world
        .act(|ctx| {
            crate::bank::withdraw(ctx, &auditor(1), BALANCE - BOND + 1)?;
            crate::bank::burn(ctx, BALANCE - BOND + 1)
        })
        .unwrap();
    assert_eq!(challenge(&mut world, auditor(1), &right(), None), Err(INSUFFICIENT_FUNDS));
    world.pass(3);
    assert_eq!(challenge(&mut world, auditor(0), &right(), None), Err(open::NO_WINDOW));
}

#[test]
fn a_bond_buys_a_place_for_a_trace_or_is_not_taken_and_members_have_their_own() {
    let mut world = world();
    let (honest, _) = at_odds(&mut world);
    // All but one of the places are taken by others.
    world
        .act(|ctx| {
            let mut trial = super::get(ctx.state, 1)?;
            let right = trial.supporters.iter().find(|s| s.account == executor(honest)).unwrap();
            let other = Supporter {
                validator: Vec::new(),
                state: SupporterState::Wrong.into(),
                ..right.clone()
            };
            for number in 1..TRIAL_OUTSIDERS_MAX {
                let account = vec![u8::try_from(0x80 + number).unwrap(); 20];
                trial.supporters.push(Supporter { account, ..other.clone() });
            }
            TRIALS.put(ctx.state, &1, &trial);
            Ok(())
        })
        .unwrap();
    post(&mut world, auditor(0), &right()).unwrap();
    assert_eq!(post(&mut world, auditor(0), &right()), Err(defend::DEFENDED_ALREADY));
    assert_eq!(post(&mut world, auditor(1), &right()), Err(open::TOO_MANY));
    let brought = challenge(&mut world, auditor(1), &wrong(0), Some(&right()));
    assert_eq!(brought, Err(open::TOO_MANY));
    assert_eq!(world.balance(&auditor(1)), BALANCE, "nothing was taken");
    post(&mut world, executor(honest), &right()).unwrap();
    assert_eq!(world.trial().traces.len(), 2);
    until_over(&mut world);
    assert_eq!(world.balance(&auditor(0)), BALANCE, "it stood");
}

#[test]
fn an_answer_brought_at_the_last_moment_can_still_be_called_by_whoever_stands_behind_another() {
    let mut world = world();
    agreed(&mut world, &wrong(0));
    challenge(&mut world, auditor(0), &wrong(0), Some(&right())).unwrap();
    post(&mut world, auditor(0), &right()).unwrap();
    world.pass(2);
    let deadline = world.trial().defend_counter;
    // The last block in which anything is taken.
    challenge(&mut world, auditor(1), &right(), Some(&wrong(1))).unwrap();
    let number = post(&mut world, auditor(1), &wrong(1)).unwrap();
    assert!(world.trial().defend_counter > deadline, "there is time for an answer to it");
    call(&mut world, auditor(0), number).unwrap();
    challenge(&mut world, auditor(2), &wrong(1), None).unwrap();
}

#[test]
fn a_trace_that_does_not_hold_together_is_refused() {
    let mut world = world();
    let (honest, _) = at_odds(&mut world);
    let claim = bogus(&world, &right()).1;
    let mut refused = |claim: &Claim, why: Reject| {
        assert_eq!(world.act(|ctx| defend(ctx, &executor(honest), 1, claim)), Err(why));
    };
    let mut other = claim.clone();
    other.nodes[0][0] ^= 1;
    refused(&other, defend::BAD_TRACE);
    let mut other = claim.clone();
    other.nodes.push([0; 32]);
    refused(&other, defend::BAD_TRACE);
    let mut other = claim.clone();
    other.steps_root[0] ^= 1;
    refused(&other, defend::BAD_TRACE);
    let mut other = claim.clone();
    other.last_path.push([0; 32]);
    refused(&other, defend::BAD_TRACE);
    let mut other = claim.clone();
    other.output_root[0] ^= 1;
    refused(&other, defend::NO_SUCH_RESULT);
    let mut other = claim.clone();
    other.status = RunStatus::Fault;
    refused(&other, defend::NO_SUCH_RESULT);
    world.act(|ctx| defend(ctx, &executor(honest), 1, &claim)).unwrap();
}

#[test]
fn heights_without_votes_and_heights_full_of_moves_do_not_count() {
    let mut world = world();
    at_odds(&mut world);
    let deadline = world.trial().defend_counter;
    for _ in 0..5 {
        world.next_empty();
    }
    for _ in 0..5 {
        world.next();
        // Too little is left for a proof: somebody may have been left out.
        for _ in TRIAL_PROOF_MOVES - 1..TRIAL_MOVES_PER_BLOCK_MAX {
            world.act(|ctx| super::spend(ctx, 1, true)).unwrap();
        }
        let proof = world.act(|ctx| super::spend(ctx, TRIAL_PROOF_MOVES, true));
        assert_eq!(proof, Err(MOVES_FULL));
        let more = TRIAL_MOVES_PER_BLOCK_MAX + 1;
        assert_eq!(world.act(|ctx| super::spend(ctx, more, false)), Err(TOO_LARGE));
    }
    assert!(!world.trial().defend_over);
    assert!(world.tip().trial_clock < deadline);
    world.pass(4);
    assert!(!world.is_on_trial());
}

#[test]
fn a_wave_of_verdicts_waits_and_the_council_without_the_accused_may_cancel_them() {
    let mut world = world();
    let (first, second) = at_odds(&mut world);
    until_over(&mut world);
    // Two of four validators.
    let decided = world.slashes()[0].decided_height;
    assert!(world.slashes().iter().all(|s| s.wave && s.execute_height == decided + 10));
    world.pass(5);
    assert_eq!(world.validator(first).tokens, STAKE);
    let cancel = |world: &mut World, who: Address, id: u64| {
        world.act(|ctx| wave::cancel(ctx, &who, id, "a driver"))
    };
    assert_eq!(cancel(&mut world, operator(second), 1), Err(wave::ACCUSED));
    assert_eq!(cancel(&mut world, executor(first), 2), Err(wave::ACCUSED));
    assert_eq!(cancel(&mut world, COUNCIL, 3), Err(wave::NO_SUCH_VERDICT));
    assert_eq!(world.validator(first).proven_wrong, 1);
    cancel(&mut world, COUNCIL, 1).unwrap();
    assert_eq!(cancel(&mut world, COUNCIL, 1), Err(wave::TOO_LATE));
    assert_eq!(world.validator(first).proven_wrong, 0);
    world.pass(10);
    assert_eq!(world.validator(first).tokens, STAKE);
    assert_eq!(world.validator(second).tokens, STAKE / 2);
    assert_eq!(cancel(&mut world, COUNCIL, 2), Err(wave::TOO_LATE));
}

#[test]
fn a_single_verdict_is_no_wave_and_cannot_be_cancelled() {
    let mut world = world();
    let (honest, _) = at_odds(&mut world);
    post(&mut world, executor(honest), &right()).unwrap();
    until_over(&mut world);
    assert_eq!(world.slashes().len(), 1);
    let refused = world.act(|ctx| wave::cancel(ctx, &COUNCIL, 1, "a favour"));
    assert_eq!(refused, Err(wave::NOT_A_WAVE));
}

#[test]
fn anybody_may_hand_in_the_output_once_the_window_of_those_who_are_paid_has_passed() {
    let mut world = world();
    agreed(&mut world, &right());
    let hand_in = |world: &mut World, output: &[u8]| {
        let (who, status) = (auditor(0), RunStatus::Halted);
        world.act(|ctx| phase::deliver(ctx, &who, 1, status, output))
    };
    assert_eq!(hand_in(&mut world, &right()), Err(phase::NOT_ASKED));
    while !world.job().delivery_open {
        assert_eq!(world.job().delivered_height, 0);
        world.next();
    }
    assert_eq!(hand_in(&mut world, &wrong(0)), Err(phase::WRONG_OUTPUT));
    hand_in(&mut world, &right()).unwrap();
    assert_eq!(world.job().output, right());
}

#[test]
fn a_trial_that_fails_twice_refunds_everything() {
    let mut world = world();
    at_odds(&mut world);
    until_over(&mut world);
    let again = members(&mut world);
    world.commit_and_reveal(&[(again[0], wrong(1)), (again[1], wrong(2))]);
    until_over(&mut world);
    assert_eq!(world.job().state(), JobState::Failed);
    assert_eq!(world.balance(&POSTER), BALANCE);
}

#[test]
fn an_executor_hears_of_its_trial_however_many_others_run() {
    let mut world = world();
    let (honest, _) = at_odds(&mut world);
    let own = world.trial();
    world
        .act(|ctx| {
            let others = Trial { supporters: Vec::new(), defend_over: true, ..own.clone() };
            (2..600).for_each(|job| TRIALS.put(ctx.state, &job, &Trial { job, ..others.clone() }));
            let last = Trial { job: 600, defend_over: true, ..own.clone() };
            TRIALS.put(ctx.state, &600, &last);
            Ok(())
        })
        .unwrap();
    let duties = crate::query::duties(&world.state, &operator(honest)).unwrap();
    assert_eq!(duties.trials, [1, 600]);
}
