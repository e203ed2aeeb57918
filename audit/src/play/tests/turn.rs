//! Turns against a node that does not answer, lies, or refuses what is sent.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lockstep_proto::lockstep::job::v1::Job;
use lockstep_proto::lockstep::trial::v1::Trial;

use super::court::{Court, Made, lie, truth};
use super::{HONEST, LIAR, OTHER};
use crate::play::{
    self, Evidence, Intent, Move, Node, Now, PlayError, Player, Seat, Shared, accuse, turn,
};

/// A node that fails as it is told.
struct Office {
    court: Court,
    /// What becomes of a request for a list.
    lists: Lists,
    /// Refuses challenges with an own answer.
    poor: bool,
    /// Takes nothing.
    deaf: bool,
    sent: Mutex<Vec<Move>>,
    asked: Mutex<Vec<Node>>,
}

#[derive(Clone, Copy, PartialEq)]
enum Lists {
    Right,
    Failing,
    False,
}

#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Play(#[from] PlayError),
    #[error("the node fails")]
    Node,
    #[error("the chain refuses it")]
    Refused,
}

impl Office {
    fn new(court: Court) -> Self {
        let (sent, asked) = Default::default();
        Self { court, lists: Lists::Right, poor: false, deaf: false, sent, asked }
    }

    fn now(&self) -> Now {
        self.court.now()
    }

    /// What was sent since this was last asked.
    fn sent(&self) -> Vec<Move> {
        std::mem::take(&mut self.sent.lock().unwrap())
    }
}

impl play::Court for Office {
    type Error = Failed;

    async fn trial(&self, _: u64) -> Result<Option<Trial>, Failed> {
        Ok(Some(self.court.trial.clone()))
    }

    async fn nodes(&self, _: u64, node: Node) -> Result<Vec<u8>, Failed> {
        self.asked.lock().unwrap().push(node);
        let mut list = self.court.list(&node);
        match self.lists {
            Lists::Failing => return Err(Failed::Node),
            Lists::False => list.iter_mut().for_each(|byte| *byte ^= 1),
            Lists::Right => {}
        }
        Ok(list)
    }

    async fn send(&self, _: u64, it: Move) -> Result<(), Failed> {
        let brings = matches!(it, Move::Challenge { own: Some(_), .. });
        self.sent.lock().unwrap().push(it);
        match self {
            Self { deaf: true, .. } => Err(Failed::Node),
            Self { poor: true, .. } if brings => Err(Failed::Refused),
            _ => Ok(()),
        }
    }

    fn refuses(error: &Failed) -> bool {
        matches!(error, Failed::Refused)
    }
}

fn seat(name: u8, evidence: Made, bonds: bool) -> Shared<Made> {
    let player = Player { account: [name; 20], operator: None, bonds, stubborn: false };
    Arc::new(Mutex::new(Seat::new(player, evidence)))
}

fn right() -> Made {
    Made::new(truth(1000))
}

fn wrong() -> Made {
    Made::new(lie(1000, &[500], "wrong"))
}

/// A liar has posted its trace, the honest member nothing.
fn defended_lie() -> Office {
    let mut court = Court::open(&[([HONEST; 20], &right()), ([LIAR; 20], &wrong())]);
    let claim = play::Claim::of(&wrong()).unwrap();
    court.block(vec![([LIAR; 20], Move::Defend(claim))]);
    Office::new(court)
}

fn bare(it: &Move) -> bool {
    matches!(it, Move::Challenge { own: None, .. })
}

/// A job whose wrong answer can be challenged for so long.
fn verified(left_ms: u64) -> Job {
    let result_root = wrong().answer().result_root.to_vec();
    Job { id: 1, result_root, challenge_time_ms: left_ms, ..Job::default() }
}

#[tokio::test]
async fn what_needs_no_list_is_sent_though_the_node_gives_none() {
    for lists in [Lists::Failing, Lists::False] {
        let mut office = defended_lie();
        office.lists = lists;
        let seat = seat(HONEST, right(), false);
        let done = turn(&office, &seat, 1, office.now()).await.unwrap();
        assert!(matches!(office.sent()[..], [Move::Defend(_)]));
        let failed: Vec<_> = done.iter().filter(|(_, result)| result.is_err()).collect();
        assert!(matches!(failed[..], [(Intent::Call(_), Err(_))]), "{failed:?}");
        // The next height has the list, and the move that was made is not made again.
        office.lists = Lists::Right;
        office.court.block(Vec::new());
        turn(&office, &seat, 1, office.now()).await.unwrap();
        assert!(matches!(office.sent()[..], [Move::Call(_)]));
    }
}

#[tokio::test]
async fn a_list_that_was_verified_is_not_asked_for_again() {
    let mut office = defended_lie();
    let seat = seat(HONEST, right(), false);
    for _ in 0..3 {
        turn(&office, &seat, 1, office.now()).await.unwrap();
        office.court.block(Vec::new());
    }
    let asked = office.asked.lock().unwrap().clone();
    let top: Vec<_> = asked.iter().filter(|node| node.position == 0).collect();
    assert_eq!(top.len(), 1, "{asked:?}");
    assert_eq!(asked.iter().collect::<BTreeSet<_>>().len(), 2, "and what is not opened");
}

#[tokio::test]
async fn a_move_that_could_not_be_sent_is_sent_at_the_next_height() {
    let mut office = defended_lie();
    office.deaf = true;
    let seat = seat(HONEST, right(), false);
    let done = turn(&office, &seat, 1, office.now()).await.unwrap();
    assert!(done.iter().all(|(_, result)| result.is_err()), "{done:?}");
    let first = office.sent();
    office.deaf = false;
    office.court.block(Vec::new());
    turn(&office, &seat, 1, office.now()).await.unwrap();
    assert_eq!(office.sent(), first);
}

#[tokio::test]
async fn a_challenge_that_is_refused_with_an_own_answer_is_made_without() {
    let court = Court::open(&[([LIAR; 20], &wrong()), ([OTHER; 20], &wrong())]);
    let mut office = Office::new(court);
    office.poor = true;
    let place = seat(HONEST, right(), true);
    turn(&office, &place, 1, office.now()).await.unwrap();
    let sent = office.sent();
    assert!(sent.len() == 2 && !bare(&sent[0]) && bare(&sent[1]), "{sent:?}");
    accuse(&office, &place, &verified(60_000), 0).await.unwrap();
    let sent = office.sent();
    assert!(sent.len() == 2 && !bare(&sent[0]) && bare(&sent[1]), "{sent:?}");
    // One that was not heard is no poorer: it is made again as it was.
    office.deaf = true;
    accuse(&office, &place, &verified(60_000), 0).await.unwrap_err();
    let sent = office.sent();
    assert!(sent.len() == 1 && !bare(&sent[0]), "{sent:?}");
}

#[tokio::test]
async fn an_own_answer_is_brought_with_its_trace_in_one_transaction_or_not_at_all() {
    let office = defended_lie();
    accuse(&office, &seat(OTHER, right(), true), &verified(60_000), 0).await.unwrap();
    let [it] = &office.sent()[..] else { panic!("one move") };
    let messages = it.clone().messages(&[OTHER; 20], 1).into_iter();
    let urls: Vec<_> = messages.map(|it| it.type_url).collect();
    assert_eq!(urls, ["/lockstep.trial.v1.MsgChallenge", "/lockstep.trial.v1.MsgDefend"]);
    // Tracing takes longer than half of what is left of the window.
    let slow = Made { tracing: Duration::from_millis(500), ..right() };
    accuse(&office, &seat(OTHER, slow, true), &verified(700), 100).await.unwrap();
    let sent = office.sent();
    assert!(sent.len() == 1 && bare(&sent[0]), "{sent:?}");
}

#[tokio::test]
async fn what_one_of_two_runs_says_is_neither_conceded_nor_challenged() {
    let flipped = || Made { steady: false, ..wrong() };
    let member = seat(HONEST, flipped(), false);
    let office = Office::new(Court::open(&[([HONEST; 20], &right()), ([LIAR; 20], &wrong())]));
    let done = turn(&office, &member, 1, office.now()).await.unwrap();
    let [(Intent::Concede, Err(Failed::Play(error)))] = &done[..] else { panic!("{done:?}") };
    assert!(error.retake());
    let auditor = seat(OTHER, flipped(), true);
    let found = Job { result_root: right().answer().result_root.to_vec(), ..verified(60_000) };
    let error = accuse(&office, &auditor, &found, 0).await.unwrap_err();
    assert!(matches!(error, Failed::Play(PlayError::Unstable)), "{error}");
    assert_eq!(office.sent(), []);
}
