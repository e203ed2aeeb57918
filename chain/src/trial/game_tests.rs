//! Single games with real traces, move by move.

use lockstep_proto::lockstep::trial::v1::GameState;
use lockstep_vm::merkle;

use super::game::{self, Node};
use super::moves::{BOGUS, Game, HONEST, LIAR, Move};
use super::testing::{BALANCE, World, auditor, executor, operator, params};
use super::traces::TOKENS;
use crate::context::Context;
use crate::error::OUT_OF_GAS;
use crate::limits::GAS_PER_STEP;

fn at(trace: u32, level: u32, position: u64) -> Node {
    Node { job: 1, trace, level, position }
}

/// On trial since the block before; both sides have posted their traces in this one.
fn both_defended(game: &Game) -> World {
    let mut world = World::new(2, params(), &game.model.manifest);
    world.run_job(&TOKENS, &[]);
    let outputs = [(0, HONEST), (1, LIAR)].map(|(n, kind)| (n, game.traces[kind].output.clone()));
    world.commit_and_reveal(&outputs);
    world.next();
    game.play(&mut world, &executor(0), Move::Defend(HONEST)).unwrap();
    game.play(&mut world, &executor(1), Move::Defend(LIAR)).unwrap();
    world
}

#[test]
fn a_game_of_600_leaves_is_won_in_the_fourth_block_and_of_5_in_the_second() {
    for (doublings, blocks) in [(0, 2), (600, 4)] {
        let game = Game::new(doublings, 0, 1);
        let mut world = both_defended(&game);
        let started = world.trial().started_height;
        let (honest, liar, leaf) = (executor(0), executor(1), game.traces[LIAR].wrong.unwrap());
        let leaves = game.traces[LIAR].leaves();
        world.next();
        if blocks > 2 {
            game.play(&mut world, &honest, Move::Call { trace: 1, leaf }).unwrap();
            assert_eq!(world.games(), [GameState::Open]);
            world.next();
            let level = merkle::below(merkle::height(leaves));
            let position = leaf >> level;
            game.play(&mut world, &liar, Move::Open { trace: 1, level, position }).unwrap();
            assert_eq!(world.games(), [GameState::Call]);
            world.next();
        }
        game.play(&mut world, &honest, Move::Prove { trace: 1, leaf }).unwrap();
        assert!(world.trial().traces[1].fallen);
        assert_eq!(world.games(), [GameState::Won]);
        assert_eq!(world.tip().height, started + blocks, "{leaves} leaves");
    }
}

#[test]
fn a_leaf_that_is_right_ends_the_game_and_is_proved_once() {
    let game = Game::new(0, 0, 1);
    let mut world = both_defended(&game);
    let (honest, liar) = (executor(0), executor(1));
    game.play(&mut world, &liar, Move::Call { trace: 0, leaf: 1 }).unwrap();
    let again = game.play(&mut world, &liar, Move::Call { trace: 0, leaf: 1 });
    assert_eq!(again, Err(game::NOT_YOUR_MOVE));
    game.play(&mut world, &honest, Move::Prove { trace: 0, leaf: 1 }).unwrap();
    assert_eq!(world.games(), [GameState::Lost]);
    assert!(!world.trial().traces[0].fallen);
    let twice = game.play(&mut world, &honest, Move::Prove { trace: 0, leaf: 1 });
    assert_eq!(twice, Err(game::PROVED_ALREADY));
    let over = game.play(&mut world, &liar, Move::Call { trace: 0, leaf: 0 });
    assert_eq!(over, Err(game::NOT_YOUR_MOVE));
}

#[test]
fn whoever_has_no_part_or_no_good_witness_proves_nothing() {
    let game = Game::new(0, 0, 1);
    let mut world = both_defended(&game);
    let stranger = game.play(&mut world, &auditor(1), Move::Prove { trace: 0, leaf: 1 });
    assert_eq!(stranger, Err(game::NO_STAKE));
    let mut witness = game.witnesses[&(HONEST, 1)].clone();
    witness.push(0);
    let node = at(0, 0, 1);
    let refused = world.act(|ctx| game::prove(ctx, &executor(1), &node, &witness));
    assert_eq!(refused, Err(game::WITNESS_REFUSED));
    let beyond = at(0, 0, 10_000);
    let refused = world.act(|ctx| game::prove(ctx, &executor(1), &beyond, &witness));
    assert_eq!(refused, Err(game::NOT_OPENED));
    let missing = at(7, 0, 1);
    let refused = world.act(|ctx| game::prove(ctx, &executor(1), &missing, &witness));
    assert_eq!(refused, Err(game::NO_SUCH_TRACE));
}

#[test]
fn a_proof_that_waits_in_a_mempool_is_not_recomputed_and_pays_for_it_all_the_same() {
    let game = Game::new(0, 0, 1);
    let mut world = both_defended(&game);
    game.play(&mut world, &executor(1), Move::Call { trace: 0, leaf: 1 }).unwrap();
    let node = at(0, 0, 1);
    let waiting = |gas_max: u64| {
        move |ctx: &mut Context<'_, '_>| {
            (ctx.waits, ctx.gas_max) = (true, gas_max);
            game::prove(ctx, &executor(0), &node, b"no witness")
        }
    };
    assert_eq!(world.act(waiting(2 * GAS_PER_STEP)), Ok(true));
    assert_eq!(world.act(waiting(GAS_PER_STEP - 1)), Err(OUT_OF_GAS));
    assert_eq!(world.games(), [GameState::Open], "nothing was proved");
    // Whoever has no part is refused before.
    let stranger = |ctx: &mut Context<'_, '_>| {
        ctx.waits = true;
        game::prove(ctx, &auditor(1), &node, b"no witness")
    };
    assert_eq!(world.act(stranger), Err(game::NO_STAKE));
}

#[test]
fn a_node_is_opened_only_where_it_was_called_and_by_those_behind_the_answer() {
    let game = Game::new(600, 0, 1);
    let mut world = both_defended(&game);
    let (honest, liar) = (executor(0), executor(1));
    let leaves = game.traces[LIAR].leaves();
    let level = merkle::below(merkle::height(leaves));
    let uncalled = Move::Open { trace: 1, level, position: 0 };
    assert_eq!(game.play(&mut world, &liar, uncalled), Err(game::NOT_CALLED));
    let deeper = at(1, 0, 5);
    let skipped = world.act(|ctx| game::call(ctx, &honest, &deeper));
    assert_eq!(skipped, Err(game::WRONG_NODE));
    game.play(&mut world, &honest, Move::Call { trace: 1, leaf: 0 }).unwrap();
    assert_eq!(game.play(&mut world, &honest, uncalled), Err(game::NOT_A_SUPPORTER));
    let mut nodes = game.traces[LIAR].open(level, 0);
    nodes[0][0] ^= 1;
    let node = at(1, level, 0);
    let wrong = world.act(|ctx| game::open(ctx, &liar, &node, &nodes));
    assert_eq!(wrong, Err(game::WRONG_NODES));
    game.play(&mut world, &liar, uncalled).unwrap();
    let aside = at(1, 0, 1 << level);
    let elsewhere = world.act(|ctx| game::call(ctx, &honest, &aside));
    assert_eq!(elsewhere, Err(game::WRONG_NODE));
    // What was opened for one serves the next.
    let challenge = Move::Challenge { answer: LIAR, own: None };
    game.play(&mut world, &auditor(0), challenge).unwrap();
    game.play(&mut world, &auditor(0), Move::Call { trace: 1, leaf: 0 }).unwrap();
    assert_eq!(world.games(), [GameState::Call, GameState::Call]);
}

#[test]
fn a_bogus_trace_of_the_right_answer_costs_its_author_and_nobody_else() {
    let game = Game::new(0, 0, 1);
    let mut world = both_defended(&game);
    game.play(&mut world, &auditor(0), Move::Defend(BOGUS)).unwrap();
    game.play(&mut world, &executor(1), Move::Call { trace: 2, leaf: 0 }).unwrap();
    game.play(&mut world, &executor(1), Move::Prove { trace: 2, leaf: 0 }).unwrap();
    let trial = world.trial();
    assert!(trial.traces[2].fallen && !trial.traces[0].fallen && !trial.answers[0].fallen);
    let bond = world.act(|ctx| Ok(ctx.params.trial_bond)).unwrap();
    assert_eq!(world.balance(&auditor(0)), BALANCE - bond);
    // Two moves, and ten fees, which are less than half of the bond.
    let won = world.balance(&operator(1));
    assert_eq!(won, BALANCE + 200 + 100_000);
    assert!(world.slashes().is_empty());
}

#[test]
fn a_challenger_that_falls_silent_loses_its_game_alone() {
    let game = Game::new(600, 0, 1);
    let mut world = both_defended(&game);
    let (honest, liar) = (executor(0), executor(1));
    let leaf = game.traces[LIAR].wrong.unwrap();
    let level = merkle::below(merkle::height(game.traces[LIAR].leaves()));
    game.play(&mut world, &honest, Move::Call { trace: 1, leaf }).unwrap();
    game.play(&mut world, &liar, Move::Open { trace: 1, level, position: leaf >> level }).unwrap();
    assert_eq!(world.games(), [GameState::Call]);
    world.pass(params().trial_move_blocks + 1);
    assert_eq!(world.games(), [GameState::Lost]);
    assert!(world.trial().traces.iter().all(|trace| !trace.fallen));
}

#[test]
fn a_right_leaf_that_nobody_called_is_not_proved() {
    let game = Game::new(0, 0, 1);
    let mut world = both_defended(&game);
    let unasked = game.play(&mut world, &executor(0), Move::Prove { trace: 0, leaf: 1 });
    assert_eq!(unasked, Err(game::NOT_CALLED));
    assert_eq!(world.trial().traces[0].moves, 1);
}

#[test]
fn false_challengers_lose_their_bonds_though_a_bogus_trace_of_the_answer_fell() {
    let game = Game::new(0, 0, 1);
    let mut world = both_defended(&game);
    game.play(&mut world, &auditor(0), Move::Defend(BOGUS)).unwrap();
    let challenge = Move::Challenge { answer: HONEST, own: None };
    game.play(&mut world, &auditor(1), challenge).unwrap();
    game.play(&mut world, &auditor(1), Move::Call { trace: 2, leaf: 0 }).unwrap();
    game.play(&mut world, &auditor(1), Move::Prove { trace: 2, leaf: 0 }).unwrap();
    game.play(
        &mut world,
        &executor(0),
        Move::Call { trace: 1, leaf: game.traces[LIAR].wrong.unwrap() },
    )
    .unwrap();
    let leaf = game.traces[LIAR].wrong.unwrap();
    game.play(&mut world, &executor(0), Move::Prove { trace: 1, leaf }).unwrap();
    world.pass(20);
    assert!(!world.is_on_trial());
    let bond = world.act(|ctx| Ok(ctx.params.trial_bond)).unwrap();
    // What it won with the bogus trace: two moves, and a premium of ten fees.
    assert_eq!(world.balance(&auditor(1)), BALANCE - bond + 200 + 100_000);
}
