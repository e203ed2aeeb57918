//! What the books find. That they agree with the chain, in every block of every scenario, is asserted by
//! the simulation (`tests/src/cluster.rs`).

use lockstep_chain::address;
use lockstep_chain::block::{Event, Header, TxOutcome, init_chain};
use lockstep_chain::envelope::Unsigned;
use lockstep_chain::genesis::{GenesisAccount, GenesisValidator, default_params};
use lockstep_chain::state::MemoryState;
use lockstep_chain::state::tables::{ACCOUNTS, TOTALS};
use lockstep_chain::wire::{any, coin};
use lockstep_proto::cosmos::bank::v1beta1::MsgSend;
use lockstep_proto::cosmos::staking::v1beta1::MsgUndelegate;
use lockstep_proto::lockstep::member::v1::Account;
use prost::Message as _;
use prost_types::Any;

use super::statement::Kind;
use super::*;

const OPERATOR: Address = [1; 20];
const TREASURY: Address = [3; 20];

fn genesis() -> Genesis {
    let account = |address: &Address, roles: &[&str]| GenesisAccount {
        address: address::account(address),
        balance: 1_000_000,
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
    };
    Genesis {
        params: default_params(&TREASURY),
        accounts: vec![
            account(&OPERATOR, &["validator", "council"]),
            account(&[2; 20], &["executor"]),
            account(&TREASURY, &["observer"]),
            account(&payer().1, &["developer"]),
        ],
        validators: vec![GenesisValidator {
            operator: address::operator(&OPERATOR),
            consensus_key: "07".repeat(32),
            moniker: "one".into(),
            stake: 50_000_000,
            executor: address::account(&[2; 20]),
        }],
    }
}

fn payer() -> (k256::ecdsa::SigningKey, Address) {
    let key = k256::ecdsa::SigningKey::from_slice(&[9; 32]).unwrap();
    let address = address::from_public_key(&lockstep_chain::envelope::public_key_of(&key));
    (key, address)
}

fn state() -> MemoryState {
    let mut state = MemoryState::default();
    state.apply(init_chain(&genesis(), "net", 1, 0).unwrap().0);
    state
}

fn tx(message: Any) -> Vec<u8> {
    Unsigned { chain_id: "net".into(), fee: 100, messages: vec![message], ..Unsigned::default() }
        .sign(&payer().0)
}

fn send(amount: u64) -> Any {
    any(&MsgSend {
        from_address: address::account(&payer().1),
        to_address: address::account(&OPERATOR),
        amount: vec![coin(amount)],
    })
}

/// Books that hold 700 of the payer for job 1.
fn held() -> Books {
    let mut books = Books::open(&genesis()).unwrap();
    let job = Job {
        poster: payer().1,
        version: 1,
        fee: 300,
        deposit: 300,
        posting_charge: 100,
        paid_out: false,
    };
    books.jobs.insert(1, job);
    books.ledger.transfer(Pot::Account(payer().1), Pot::Escrow(1), 700);
    books.models = models::tests::with_one_version(&OPERATOR);
    books
}

/// What says that it goes back.
fn refund() -> Event {
    let event = Event::new("job_paid_out").with("job", 1).with("state", "JOB_STATE_FAILED");
    let event = event.with("kind", "PAYOUT_KIND_REFUND");
    event.with("account", address::account(&payer().1)).with("amount", 700)
}

/// Enters a transfer with these events.
fn spend(books: &mut Books, amount: u64, events: Vec<Event>) -> Compared {
    let result = TxOutcome { gas_used: 1, events, ..TxOutcome::default() };
    books.transaction(&tx(send(amount)), &result)
}

/// Enters a block of one transaction that ended with `code`, and events.
fn enter(books: &mut Books, message: Option<(Any, u32)>, events: Vec<Event>) -> Compared {
    let (mut txs, mut outcome) = (vec![Vec::new()], Outcome { events, ..Outcome::default() });
    outcome.txs.push(TxOutcome::default());
    if let Some((message, code)) = message {
        txs.push(tx(message));
        let result = TxOutcome { code, gas_used: 1, ..Default::default() };
        outcome.txs.push(result);
    }
    let header = Header { height: books.height() + 1, time_ms: 0, hash: [0; 32] };
    books.block(&Block { header, txs: &txs, evidence: Vec::new() }, &outcome)
}

fn balance(books: &Books, account: Address) -> u64 {
    books.ledger().of(&Pot::Account(account))
}

#[test]
fn a_transaction_that_failed_has_paid_its_fee_and_moved_nothing_else() {
    let mut books = Books::open(&genesis()).unwrap();
    enter(&mut books, Some((send(5), 14)), Vec::new()).unwrap();
    assert_eq!(balance(&books, payer().1), 999_900);
    assert_eq!(balance(&books, TREASURY), 1_000_100);
    enter(&mut books, Some((send(5), 0)), Vec::new()).unwrap();
    assert_eq!(balance(&books, payer().1), 999_795);
    assert_eq!(balance(&books, OPERATOR), 1_000_005);
}

/// As after `[MsgCancelJob, MsgSend]`: the refund stands in the events, the transfer in a message.
#[test]
fn a_transaction_may_spend_what_it_gave_back() {
    let (mut books, refund) = (held(), refund());
    let event = |event: &Event| vec![event.clone()];
    // 999,300 free and 700 in the escrow.
    let mut whole = books.clone();
    spend(&mut whole, 999_900, event(&refund)).unwrap();
    assert_eq!((balance(&whole, payer().1), balance(&whole, OPERATOR)), (0, 1_999_900));
    let found = spend(&mut books.clone(), 999_901, event(&refund)).unwrap_err();
    assert!(found.what.starts_with("the balance of lockstep1"), "{found}");
    assert!(spend(&mut books, 999_900, Vec::new()).is_err());
}

#[test]
fn what_nobody_had_is_named_with_height_and_transaction() {
    let mut books = Books::open(&genesis()).unwrap();
    let found = enter(&mut books, Some((send(2_000_000), 0)), Vec::new()).unwrap_err();
    assert_eq!((found.height, found.tx.as_ref().unwrap().index), (Some(1), 1));
    assert!(found.what.starts_with("the balance of lockstep1"), "{found}");
}

#[test]
fn a_state_that_has_one_ulock_more_is_found_and_the_account_named() {
    let books = Books::open(&genesis()).unwrap();
    let mut state = state();
    for kind in [Kind::Supply, Kind::Escrow, Kind::Royalties, Kind::Stake] {
        assert_eq!(books.statement(kind, &state).unwrap().difference(), None);
    }
    let mut account: Account = ACCOUNTS.must(&state, &TREASURY).unwrap();
    account.balance += 1;
    state.0.insert(ACCOUNTS.key(&TREASURY), account.encode_to_vec());
    let mut totals = TOTALS.must(&state, &()).unwrap();
    totals.supply += 1;
    state.0.insert(TOTALS.key(&()), totals.encode_to_vec());
    let statement = books.statement(Kind::Supply, &state).unwrap();
    assert_eq!(statement.difference().unwrap().what, "in the genesis");
    let named =
        statement.lines.iter().filter(|line| line.detail && line.state != Some(line.booked));
    let named: Vec<_> = named.map(|line| line.what.as_str()).collect();
    assert_eq!(named, [format!("the balance of {}", address::account(&TREASURY))]);
    assert!(statement.table().contains("<- differs"));
}

fn slash(events: &mut Vec<Event>, id: u64, bps: u32, taken: u64) {
    events.push(
        Event::new("slash_recorded")
            .with("slash", id)
            .with("validator", address::operator(&OPERATOR))
            .with("offence", "OFFENCE_WRONG_RESULT")
            .with("infraction_height", 1)
            .with("fraction_bps", bps)
            .with("least", 0),
    );
    events.push(Event::new("slash_executed").with("slash", id).with("amount", taken));
}

#[test]
fn a_slash_takes_its_part_of_stake_and_of_what_was_unbonded_since() {
    let mut books = Books::open(&genesis()).unwrap();
    let back = any(&MsgUndelegate {
        delegator_address: address::account(&payer().1),
        validator_address: address::operator(&OPERATOR),
        amount: Some(coin(10_000_001)),
    });
    let mut events = Vec::new();
    // Half of 39,999,999 and of 10,000,001, each rounded down; then everything.
    slash(&mut events, 1, 5_000, 19_999_999 + 5_000_000);
    slash(&mut events, 2, 10_000, 20_000_000 + 5_000_001);
    enter(&mut books, Some((back, 0)), events).unwrap();
    assert_eq!(books.ledger().of(&Pot::Burned), 50_000_000);
    assert_eq!(books.ledger().of(&Pot::Bonded(OPERATOR)), 0);

    for (bps, taken) in [(5_000, 25_000_001), (4_999, 24_995_000)] {
        let mut events = Vec::new();
        slash(&mut events, 1, bps, taken);
        let mut books = Books::open(&genesis()).unwrap();
        assert!(enter(&mut books, None, events).is_err(), "{bps} {taken}");
    }
}

#[test]
fn a_slash_after_one_that_was_cancelled_is_the_first() {
    // The second is recorded before the first is cancelled, or after.
    for (recorded_bps, order) in [(10_000, [0, 2, 4, 3]), (5_000, [0, 4, 2, 3])] {
        for (taken, right) in [(25_000_000, true), (50_000_000, false)] {
            let mut events = Vec::new();
            slash(&mut events, 1, 5_000, 25_000_000);
            slash(&mut events, 2, recorded_bps, taken);
            events.push(Event::new("verdict_cancelled").with("slash", 1));
            let events = order.map(|at: usize| events[at].clone()).into();
            let entered = enter(&mut Books::open(&genesis()).unwrap(), None, events);
            assert_eq!(entered.is_ok(), right, "{entered:?}");
        }
    }
}

#[test]
fn a_second_exit_and_a_payout_of_no_job_are_refused() {
    let mut books = Books::open(&genesis()).unwrap();
    let found = enter(&mut books, None, vec![refund()]).unwrap_err();
    assert_eq!(found.what, "job 1");
    let mut books = held();
    enter(&mut books, None, vec![refund()]).unwrap();
    assert_eq!(balance(&books, payer().1), 1_000_000);
    let found = enter(&mut books, None, vec![refund()]).unwrap_err();
    assert_eq!(found.to_string(), "height 2: the escrow of job 1 must be one exit, is a second");
    // Not what a failed job gives back, whatever it adds up to.
    let short = refund().with("kind", "PAYOUT_KIND_BURN").with("amount", 0);
    assert!(enter(&mut held(), None, vec![short]).is_err());
}
