//! Every way in which a small trial can go: at each block each party does any one of its moves, false
//! ones too, or nothing. From every state that can be reached the job ends, within a bound, with the
//! books right; and one party that plays honestly wins against all others, whatever they do.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;

use lockstep_proto::lockstep::chain::v1::Params;
use lockstep_proto::lockstep::job::v1::JobState;
use lockstep_proto::lockstep::trial::v1::GameState;
use lockstep_vm::hash::{Hash, hash};
use lockstep_vm::merkle;
use prost::Message as _;

use super::moves::{Game, HONEST, Kind, LIAR};
use super::testing::{World, auditor, executor, params};
use super::traces::TOKENS;
use crate::address::Address;
use crate::job::is_terminal;
use crate::state::tables::{ACCOUNTS, SLASHES, TOTALS, TRACE_NODES, TRACE_STEPS, VALIDATORS, WAVE};

/// The state but for absolute heights.
fn digest(world: &World) -> Hash {
    let (state, tip) = (&world.state, world.tip());
    let mut job = world.job();
    for height in [&mut job.posted_height, &mut job.deadline_height, &mut job.verified_height] {
        *height = 0;
    }
    job.delivered_height = job.delivered_height.min(1);
    job.window_counter = job.window_counter.saturating_sub(tip.counter);
    job.challenge_counter = job.challenge_counter.saturating_sub(tip.counter);
    for member in &mut job.members {
        (member.committed_height, member.revealed_height) = (0, 0);
    }
    let mut parts = vec![job.encode_to_vec()];
    if world.is_on_trial() {
        let mut trial = world.trial();
        trial.started_height = 0;
        let clock = |counter: &mut u64| *counter = counter.saturating_sub(tip.trial_clock);
        clock(&mut trial.defend_counter);
        clock(&mut trial.call_counter);
        trial.traces.iter_mut().for_each(|trace| trace.posted_height = 0);
        for game in &mut trial.games {
            match game.state() {
                GameState::Open | GameState::Call => clock(&mut game.move_counter),
                _ => game.move_counter = 0,
            }
        }
        parts.push(trial.encode_to_vec());
    }
    for (_, mut slash) in SLASHES.scan(state, &(), 100).unwrap() {
        slash.execute_height = slash.execute_height.saturating_sub(tip.height);
        (slash.decided_height, slash.infraction_height) = (0, 0);
        parts.push(slash.encode_to_vec());
    }
    for (_, account) in ACCOUNTS.scan(state, &(), 100).unwrap() {
        parts.push(account.balance.to_le_bytes().to_vec());
    }
    for (_, validator) in VALIDATORS.scan(state, &(), 100).unwrap() {
        parts.push(validator.encode_to_vec());
    }
    let mut totals = TOTALS.must(state, &()).unwrap();
    if totals.moves_height != tip.height {
        totals.moves = 0;
    }
    totals.moves_height = 0;
    parts.push(totals.encode_to_vec());
    let mut wave = WAVE.get(state, &()).unwrap().unwrap_or_default();
    if wave.seen_height > 0 {
        wave.seen_height = (1_000 + wave.seen_height).saturating_sub(tip.height);
    }
    parts.push(wave.encode_to_vec());
    for ((_, trace, level, position), _) in TRACE_NODES.scan(state, &(), 1000).unwrap() {
        parts.push([trace.into(), level.into(), position].map(u64::to_le_bytes).concat());
    }
    for ((_, trace, position), _) in TRACE_STEPS.scan(state, &(), 1000).unwrap() {
        parts.push([trace.into(), position].map(u64::to_le_bytes).concat());
    }
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    hash("lockstep/test-state", &parts)
}

/// Everything that was seen.
#[derive(Debug, Default)]
struct Seen {
    /// Between blocks.
    states: usize,
    /// What a block can lead to.
    steps: usize,
    ends: BTreeMap<&'static str, usize>,
    /// The longest way to an end, in blocks.
    longest: usize,
}

struct Explorer<'a> {
    game: &'a Game,
    /// In the order in which they act in a block.
    parties: Vec<Address>,
    /// One of them, that does not choose.
    honest: Option<Address>,
    /// Holds at every end.
    at_end: &'a dyn Fn(&World),
}

impl Explorer<'_> {
    /// What one block can make of a state.
    fn after(&self, world: &World) -> BTreeMap<Hash, World> {
        let mut now = BTreeMap::from([(digest(world), world.clone())]);
        for who in &self.parties {
            if self.honest == Some(*who) {
                let mut then = BTreeMap::new();
                for (_, mut world) in now {
                    self.game.honest(&mut world, who);
                    then.insert(digest(&world), world);
                }
                now = then;
                continue;
            }
            let mut then = now.clone();
            for world in now.values() {
                for step in self.game.moves(world, who) {
                    let mut next = world.clone();
                    if self.game.play(&mut next, who, step).is_ok() {
                        then.entry(digest(&next)).or_insert(next);
                    }
                }
            }
            now = then;
        }
        let mut after = BTreeMap::new();
        for (_, mut world) in now {
            world.next();
            after.insert(digest(&world), world);
        }
        after
    }

    fn explore(&self, start: World) -> Seen {
        let mut seen = Seen::default();
        let first = digest(&start);
        let mut next_of: BTreeMap<Hash, BTreeSet<Hash>> = BTreeMap::new();
        let mut layer = BTreeMap::from([(first, start)]);
        while !layer.is_empty() {
            let mut following = BTreeMap::new();
            for (key, world) in layer {
                let after = self.after(&world);
                seen.steps += after.len();
                next_of.insert(key, after.keys().copied().collect());
                for (key, world) in after {
                    if next_of.contains_key(&key) {
                        continue;
                    }
                    if is_terminal(world.job().state()) {
                        (self.at_end)(&world);
                        *seen.ends.entry(world.job().state().as_str_name()).or_default() += 1;
                        next_of.insert(key, BTreeSet::new());
                    } else {
                        following.insert(key, world);
                    }
                }
            }
            layer = following;
            if std::env::var_os("LOCKSTEP_PROGRESS").is_some() {
                std::println!("{} states, {} in the next block", next_of.len(), layer.len());
            }
        }
        seen.states = next_of.len();
        seen.longest = longest(&next_of, &first);
        seen
    }
}

/// The longest way from a state to an end.
fn longest(next_of: &BTreeMap<Hash, BTreeSet<Hash>>, first: &Hash) -> usize {
    /// `None` while the way to it is being walked: meeting it again would be a circle.
    fn walk(
        next_of: &BTreeMap<Hash, BTreeSet<Hash>>,
        known: &mut BTreeMap<Hash, Option<usize>>,
        at: &Hash,
    ) -> usize {
        match known.get(at) {
            Some(Some(length)) => return *length,
            Some(None) => panic!("a trial can go in a circle and never end"),
            None => {}
        }
        known.insert(*at, None);
        let ways = next_of[at].iter().map(|next| 1 + walk(next_of, known, next));
        let length = ways.max().unwrap_or(0);
        known.insert(*at, Some(length));
        length
    }
    walk(next_of, &mut BTreeMap::new(), first)
}

fn short() -> Params {
    Params {
        trial_defend_blocks: 1,
        trial_call_blocks: 1,
        trial_move_blocks: 1,
        challenge_window_blocks: 2,
        deliver_window_blocks: 2,
        attempts_max: 1,
        ..params()
    }
}

/// Two validators that are the committee, with auditors that can pay so many bonds.
fn start(game: &Game, bonds: u64, said: [Kind; 2]) -> World {
    let mut world = World::new(2, short(), &game.model.manifest);
    for number in 0..3 {
        world
            .act(|ctx| {
                let balance = ACCOUNTS.must(ctx.state, &auditor(number))?.balance;
                let keep = bonds * ctx.params.trial_bond;
                crate::bank::withdraw(ctx, &auditor(number), balance - keep)?;
                crate::bank::burn(ctx, balance - keep)
            })
            .unwrap();
    }
    for number in 0..2 {
        world
            .act(|ctx| {
                let balance = ACCOUNTS.must(ctx.state, &executor(number))?.balance;
                crate::bank::withdraw(ctx, &executor(number), balance)?;
                crate::bank::burn(ctx, balance)
            })
            .unwrap();
    }
    world.run_job(&TOKENS, &[]);
    let outputs = (0_u8..).zip(said).map(|(n, kind)| (n, game.traces[kind].output.clone()));
    world.commit_and_reveal(&outputs.collect::<Vec<_>>());
    world.next();
    world
}

/// Whatever the others did, the honest party's answer was paid for, and it lost nothing.
fn right_and_final(game: &Game, honest: u8) -> impl Fn(&World) {
    let operator = super::testing::operator(honest);
    let output = game.traces[HONEST].output.clone();
    move |world| {
        let job = world.job();
        assert_eq!(job.state(), JobState::Final, "{:#?}", job.members);
        assert_eq!(job.output, output);
        assert!(world.slashes().iter().all(|slash| slash.validator != operator));
    }
}

fn report(what: &str, seen: &Seen) {
    std::println!("{what}: {seen:?}");
}

/// Blocks from the reveal, or verification, to the end of the job under the short windows, at most.
const BLOCKS_MAX: usize = 24;

#[test]
fn whatever_two_members_do_it_ends_and_the_books_are_right() {
    let game = Game::new(0, 0, 1);
    let parties = vec![executor(0), executor(1)];
    let explorer = Explorer { game: &game, parties, honest: None, at_end: &|_| () };
    let seen = explorer.explore(start(&game, 1, [HONEST, LIAR]));
    report("a difference, two free members", &seen);
    assert!(seen.longest <= BLOCKS_MAX);
    assert!(seen.ends["JOB_STATE_FINAL"] > 0 && seen.ends["JOB_STATE_FAILED"] > 0);
}

#[test]
fn whatever_two_members_and_an_auditor_do_it_ends_and_the_books_are_right() {
    // `LOCKSTEP_EXHAUSTIVE=1` walks through more, in minutes.
    let foolish = std::env::var_os("LOCKSTEP_EXHAUSTIVE").is_some();
    let game = Game { foolish, ..Game::new(0, 0, 1) };
    for said in [[HONEST, LIAR], [LIAR, LIAR]] {
        let parties = vec![executor(0), executor(1), auditor(0)];
        let explorer = Explorer { game: &game, parties, honest: None, at_end: &|_| () };
        let seen = explorer.explore(start(&game, 1, said));
        report("two free members and a free auditor", &seen);
        assert!(seen.longest <= BLOCKS_MAX);
        assert!(seen.ends["JOB_STATE_FINAL"] > 0 && seen.ends["JOB_STATE_FAILED"] > 0);
    }
}

/// The honest party among others, acting before them in every block, or after them.
fn whatever_the_others_do(
    what: &str,
    game: &Game,
    start: &World,
    (honest, others): (Address, [Address; 2]),
    at_end: &dyn Fn(&World),
) {
    let [one, two] = others;
    for parties in [vec![honest, one, two], vec![two, one, honest]] {
        let explorer = Explorer { game, parties, honest: Some(honest), at_end };
        let seen = explorer.explore(start.clone());
        report(what, &seen);
        assert!(seen.longest <= BLOCKS_MAX);
        assert!(seen.ends["JOB_STATE_FINAL"] > 0);
    }
}

#[test]
fn an_honest_member_wins_whatever_a_lying_member_and_an_auditor_do() {
    let game = Game::new(0, 0, 1);
    let parties = (executor(0), [executor(1), auditor(0)]);
    let start = start(&game, 2, [HONEST, LIAR]);
    let at_end = right_and_final(&game, 0);
    whatever_the_others_do("a difference, one honest member", &game, &start, parties, &at_end);
}

#[test]
fn an_honest_auditor_overturns_what_a_whole_committee_agreed_on() {
    let game = Game::new(0, 0, 1);
    let output = game.traces[HONEST].output.clone();
    let at_end = |world: &World| {
        assert_eq!(world.job().state(), JobState::Final);
        assert_eq!(world.job().output, output);
        assert_eq!(world.slashes().len(), 2);
    };
    let parties = (auditor(0), [executor(0), executor(1)]);
    let start = start(&game, 2, [LIAR, LIAR]);
    whatever_the_others_do("all members lie, an honest auditor", &game, &start, parties, &at_end);
}

#[test]
fn a_false_challenge_changes_nothing_where_one_member_is_honest() {
    let game = Game::new(0, 0, 1);
    let parties = (executor(0), [executor(1), auditor(0)]);
    let start = start(&game, 2, [HONEST, HONEST]);
    let at_end = right_and_final(&game, 0);
    whatever_the_others_do("false challenges", &game, &start, parties, &at_end);
}

#[test]
fn an_honest_member_wins_over_two_levels_of_calls() {
    // More than 256 leaves: a node is called, opened, and then a leaf.
    let game = Game::new(300, 3, 7);
    assert!(merkle::height(game.traces[HONEST].leaves()) > merkle::OPEN_LEVELS);
    let parties = (executor(0), [executor(1), auditor(0)]);
    let start = start(&game, 0, [HONEST, LIAR]);
    let at_end = right_and_final(&game, 0);
    whatever_the_others_do("two levels, one honest member", &game, &start, parties, &at_end);
}
