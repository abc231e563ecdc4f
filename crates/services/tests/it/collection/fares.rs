//! Fare tables: published by two people of an operator, signed, learnt at the status call, and no other operator's.

use tsm_api::HexBytes;
use tsm_api::clearing::fares::{self as api, FareDecision, FareRecord, NewFares};
use tsm_api::clearing::lists::{Currency, Decision, TerminalStatus};
use tsm_api::client::{ClearingPeer, ClientError};
use tsm_api::endpoint::Nothing;
use tsm_api::problem::ProblemCode;
use tsm_api::signature::MessageVerifier;
use tsm_domain::Fen;
use tsm_domain::money::fare::{FareRule, FareTable};

use super::world::{FOREIGN, World};
use crate::purse_card::TERMINAL;

fn fares(version: u32, fen: u64, from: jiff::Timestamp) -> NewFares {
    let table = FareTable::new(version, FareRule::Flat(Fen::new(fen))).unwrap();
    NewFares { valid_from: from, valid_until: None, text: serde_json::to_string(&table).unwrap() }
}

fn code<T: std::fmt::Debug>(result: Result<T, ClientError>) -> ProblemCode {
    result.unwrap_err().code().unwrap()
}

async fn propose(peer: &ClearingPeer, new: &NewFares) -> Result<FareRecord, ClientError> {
    peer.client.call(&api::PROPOSE, &[], new).await
}

async fn decide(peer: &ClearingPeer, of: &FareRecord, decision: Decision) -> Result<FareRecord, ClientError> {
    let asked = FareDecision { digest: of.digest.clone(), decision };
    peer.client.call(&api::DECIDE, &[&of.version.to_string()], &asked).await
}

fn status(terminal: [u8; 6], uses: u32, held: u32) -> TerminalStatus {
    TerminalStatus {
        terminal: HexBytes(terminal.to_vec()),
        list_version: 0,
        fare_version: uses,
        fares_held: held,
        undelivered: 0,
    }
}

/// One person proposes, another publishes what was proposed, each logged in; and only what comes after the versions
/// that are published.
#[tokio::test]
async fn a_fare_table_needs_two_people() {
    let world = World::new().await;
    let now = world.environment.now();
    let later = now + jiff::SignedDuration::from_hours(24);
    let (an, bo) = (world.person("an").await, world.person("bo").await);
    let two = fares(2, 200, later);
    assert_eq!(code(propose(&world.peer, &two).await), ProblemCode::SessionRequired);
    let proposed = propose(&an, &two).await.unwrap();
    assert_eq!((proposed.proposed_by.as_str(), proposed.decision), ("an", None));
    assert_eq!(propose(&an, &two).await.unwrap(), proposed, "the same again");
    assert_eq!(code(propose(&an, &fares(2, 1, later)).await), ProblemCode::StateForbids);
    assert_eq!(code(world.peer.fares(2).await), ProblemCode::UnknownId, "it is not published");
    assert_eq!(code(decide(&an, &proposed, Decision::Approve).await), ProblemCode::FourEyes);
    let unread = FareRecord { digest: HexBytes(vec![0; 32]), ..proposed.clone() };
    assert_eq!(code(decide(&bo, &unread, Decision::Approve).await), ProblemCode::ValueRefused);
    for _ in 0..2 {
        let done = decide(&bo, &proposed, Decision::Approve).await.unwrap();
        assert_eq!((done.decision, done.decided_by.as_deref()), (Some(Decision::Approve), Some("bo")));
    }
    assert_eq!(code(decide(&bo, &proposed, Decision::Refuse).await), ProblemCode::StateForbids);

    assert_eq!(code(propose(&an, &fares(1, 100, later)).await), ProblemCode::StateForbids, "published is 2");
    assert_eq!(code(propose(&an, &fares(3, 300, now)).await), ProblemCode::ValueRefused, "before version 2");
    let nonsense = NewFares { text: "{\"version\":3}".into(), ..two.clone() };
    assert_eq!(code(propose(&an, &nonsense).await), ProblemCode::ValueRefused);
    let ended = NewFares { valid_until: Some(later), ..fares(3, 300, later) };
    assert_eq!(code(propose(&an, &ended).await), ProblemCode::ValueRefused, "it ends before it begins");
    let three = propose(&an, &fares(3, 300, later)).await.unwrap();
    decide(&bo, &three, Decision::Refuse).await.unwrap();
    let text = an.client.call(&api::PROPOSED, &["3"], &Nothing {}).await.unwrap().text;
    assert_eq!(text, fares(3, 300, later).text);
    let all = world.peer.client.call(&api::VERSIONS, &[], &Nothing {}).await.unwrap().fares;
    let decisions: Vec<_> = all.iter().map(|one| (one.version, one.decision)).collect();
    assert_eq!(decisions, [(2, Some(Decision::Approve)), (3, Some(Decision::Refuse))]);
    assert_eq!(world.other_peer().client.call(&api::VERSIONS, &[], &Nothing {}).await.unwrap().fares, []);
}

/// A terminal learns at its status call which versions there are, now and later; fetches one and finds it signed; and
/// stands as behind while it does not hold the one in force. Another operator's terminals learn nothing of it.
#[tokio::test]
async fn terminals_learn_of_the_versions_at_their_status_call() {
    let world = World::new().await;
    let now = world.environment.now();
    let (an, bo) = (world.person("an").await, world.person("bo").await);
    let told = world.peer.terminal_status(&status(TERMINAL, 0, 0)).await.unwrap();
    assert_eq!((told.fare_version, told.fares), (0, vec![]));
    let hours = |hours| now + jiff::SignedDuration::from_hours(hours);
    for (version, fen, from) in [(1, 100, hours(-48)), (2, 200, hours(-24)), (3, 300, hours(24))] {
        let proposed = propose(&an, &fares(version, fen, from)).await.unwrap();
        decide(&bo, &proposed, Decision::Approve).await.unwrap();
    }
    propose(&an, &fares(4, 400, hours(48))).await.unwrap();
    let told = world.peer.terminal_status(&status(TERMINAL, 0, 0)).await.unwrap();
    let versions: Vec<_> = told.fares.iter().map(|head| head.version).collect();
    assert_eq!(
        (told.fare_version, versions),
        (2, vec![2, 3]),
        "in force, to come; not what is only proposed"
    );

    let centre = MessageVerifier::from_point(world.peer.list_key().await.unwrap().point.as_bytes()).unwrap();
    for head in &told.fares {
        let known = head.verify("CITY", &centre).unwrap();
        let fetched = world.peer.fares(head.version).await.unwrap();
        let (fetched, table) = fetched.verify("CITY", &centre).unwrap();
        assert_eq!((fetched, table.version()), (known, head.version));
    }
    let currency = async || world.peer.terminals().await.unwrap().terminals[0].currency;
    world.peer.terminal_status(&status(TERMINAL, 1, 1)).await.unwrap();
    assert_eq!(currency().await, Currency::Behind);
    world.peer.terminal_status(&status(TERMINAL, 2, 3)).await.unwrap();
    assert_eq!(currency().await, Currency::Current);

    let other = world.other_peer();
    assert_eq!(other.terminal_status(&status(FOREIGN, 0, 0)).await.unwrap().fares, []);
    assert_eq!(code(other.fares(2).await), ProblemCode::UnknownId);
}
