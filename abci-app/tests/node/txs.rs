//! Transactions and queries through real CometBFT, and the socket of the executor.

use crate::support::{Network, eventually};
use k256::ecdsa::SigningKey;
use lockstep_chain::address;
use lockstep_chain::envelope::Unsigned;
use lockstep_chain::state::tables::ACCOUNTS;
use lockstep_chain::tree::verify_ics23;
use lockstep_chain::wire::{any, coin};
use lockstep_node::commands::accounts::{self, Named};
use lockstep_node::query::PROOF_TYPE;
use lockstep_proto::cosmos::bank::v1beta1::MsgSend;
use lockstep_proto::lockstep::block::v1::{Commitment, VoteExtension};
use lockstep_proto::lockstep::job::v1::QueryDutiesResponse;
use lockstep_proto::lockstep::member::v1::{Account, QueryAccountRequest};
use lockstep_proto::lockstep::model::v1::QueryModelRequest;
use prost::Message as _;
use serde_json::{Value, json};

const CHAIN: &str = "lockstep-devnet";
const ACCOUNT: &str = "/lockstep.member.v1.Query/Account";

fn account(network: &Network, of: &Named) -> Account {
    let ask = QueryAccountRequest { address: of.address.clone() };
    Account::decode(network.query(ACCOUNT, &ask.encode_to_vec()).as_slice()).unwrap()
}

fn send(from: &Named, to: &Named, amount: u64, chain_id: &str, state: &Account) -> Vec<u8> {
    let message = MsgSend {
        from_address: from.address.clone(),
        to_address: to.address.clone(),
        amount: vec![coin(amount)],
    };
    let key = SigningKey::from_slice(&hex::decode(&from.private_key).unwrap()).unwrap();
    let unsigned = Unsigned {
        chain_id: chain_id.to_owned(),
        account_number: state.number,
        sequence: state.sequence,
        fee: 2_000,
        gas_limit: 1_000_000,
        messages: vec![any(&message)],
        ..Unsigned::default()
    };
    unsigned.sign(&key)
}

#[test]
fn tokens_move_once_and_the_balance_is_proved_under_a_header() {
    let folder = tempfile::tempdir().unwrap();
    let network = Network::new(folder.path());
    let mut node = network.start();
    network.wait_for(&mut node, 2);
    let people = accounts::people().unwrap();
    let (from, to) = (&people[0], &people[1]);
    let (mine, theirs) = (account(&network, from), account(&network, to));

    let foreign = network.broadcast(&send(from, to, 1, "another-chain", &mine));
    assert_ne!(foreign.code, 0, "a transaction of another chain was taken");
    let tx = send(from, to, 1_234_567, CHAIN, &mine);
    let sent = network.broadcast(&tx);
    assert_eq!(sent.code, 0, "{}", sent.log);
    eventually("the transfer is in a block", || {
        account(&network, to).balance == theirs.balance + 1_234_567
    });
    let after = account(&network, from);
    assert_eq!(after.balance, mine.balance - 1_234_567 - 2_000);
    assert_eq!(after.sequence, mine.sequence + 1);
    // The same transaction with other bytes around it cannot exist; the same bytes are known.
    let again = send(from, to, 7, CHAIN, &mine);
    assert_ne!(network.broadcast(&again).code, 0, "an old sequence was taken");

    let info = network.call("abci_info", json!({})).unwrap();
    let height: u64 = info["response"]["last_block_height"].as_str().unwrap().parse().unwrap();
    network.wait_for(&mut node, height + 1);
    prove(&network, to, height, theirs.balance + 1_234_567);
    prove(&network, to, 1, theirs.balance);
}

/// Asks for an account at a height with a proof, and checks it against the next header.
fn prove(network: &Network, of: &Named, height: u64, balance: u64) {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    let ask = QueryAccountRequest { address: of.address.clone() }.encode_to_vec();
    let params = json!({
        "path": ACCOUNT, "data": hex::encode(ask), "height": height.to_string(), "prove": true,
    });
    let answer = network.call("abci_query", params).unwrap();
    let answer = &answer["response"];
    let bytes = |value: &Value| STANDARD.decode(value.as_str().unwrap()).unwrap();
    let value = bytes(&answer["value"]);
    assert_eq!(Account::decode(value.as_slice()).unwrap().balance, balance);
    let key = bytes(&answer["key"]);
    assert_eq!(key, ACCOUNTS.key(&of.bytes));
    let operation = &answer["proofOps"]["ops"][0];
    assert_eq!(operation["type"], PROOF_TYPE);
    let root = hex::decode(network.app_hash_in_header(height + 1)).unwrap();
    let root = root.try_into().unwrap();
    let proof = bytes(&operation["data"]);
    verify_ics23(&proof, &root, &key, Some(&value)).unwrap();
    assert!(verify_ics23(&proof, &root, &key, Some(b"more")).is_err());
}

#[test]
fn the_executors_socket_answers_as_documented_and_refuses_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let network = Network::new(folder.path());
    let mut node = network.start();
    network.wait_for(&mut node, 2);
    let socket = network.home.join("executor.sock");
    let client = reqwest::Client::builder().unix_socket(socket).build().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let get = |path: &str| {
        runtime.block_on(async {
            let answer = client.get(format!("http://node{path}")).send().await.unwrap();
            (answer.status().as_u16(), answer.bytes().await.unwrap().to_vec())
        })
    };
    let post = |path: &str, body: Vec<u8>| {
        runtime.block_on(async {
            let request = client.post(format!("http://node{path}")).body(body);
            let answer = request.send().await.unwrap();
            (answer.status().as_u16(), answer.bytes().await.unwrap().to_vec())
        })
    };

    let (status, body) = get("/v1/self");
    let me: Value = serde_json::from_slice(&body).unwrap();
    let operator = address::operator(&accounts::operator(0).unwrap().bytes);
    let executor = accounts::executor(0).unwrap().address;
    assert_eq!((status, &me["chain_id"]), (200, &json!(CHAIN)));
    assert_eq!((&me["operator"], &me["executor"]), (&json!(operator), &json!(executor)));

    let (status, body) = get("/v1/duties?after=0");
    let duties = QueryDutiesResponse::decode(body.as_slice()).unwrap();
    assert_eq!(status, 200);
    let (_, body) = get(&format!("/v1/duties?after={}", duties.height + 1));
    let later = QueryDutiesResponse::decode(body.as_slice()).unwrap();
    assert!(later.height > duties.height + 1, "{} after {}", later.height, duties.height);

    assert_eq!(post("/v1/offers", vec![0xff; 9]).0, 400);
    // Offers that nobody asked for are taken and never voted.
    let stray = Commitment { job: 99, attempt: 1, commitment: vec![1; 32] };
    let offers = VoteExtension { commitments: vec![stray; 200], ..Default::default() };
    assert_eq!(post("/v1/offers", offers.encode_to_vec()).0, 204);
    let height = network.height();
    network.wait_for(&mut node, height + 2);

    let ask = hex::encode(QueryModelRequest { name: "none".to_owned() }.encode_to_vec());
    let (status, body) = get(&format!("/v1/query?path=/lockstep.model.v1.Query/Model&data={ask}"));
    assert_eq!(status, 404, "{}", String::from_utf8_lossy(&body));
    assert_eq!(get("/v1/query?path=/lockstep.trial.v1.Query/Trial").0, 404);
    assert_eq!(get("/v1/query?path=/nothing").0, 400);
    let (status, body) = get("/v1/query?path=/lockstep.chain.v1.Query/Totals");
    assert_eq!((status, body.is_empty()), (200, false));

    let (status, body) = post("/v1/txs", b"junk".to_vec());
    let sent: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(status, 200);
    assert_ne!(sent["code"], 0, "{sent}");
    let people = accounts::people().unwrap();
    let tx = send(&people[2], &people[3], 5, CHAIN, &account(&network, &people[2]));
    for _ in 0..2 {
        let (_, body) = post("/v1/txs", tx.clone());
        let sent: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(sent["code"], 0, "{sent}");
    }
}
