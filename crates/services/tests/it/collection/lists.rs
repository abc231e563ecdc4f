//! The black and grey lists between the centre and its terminals.

use tsm_api::HexBytes;
use tsm_api::clearing::collection::{FileContentQuery, RowVerdict};
use tsm_api::clearing::evidence::CardQuery;
use tsm_api::clearing::lists::{
    ChangesQuery, Currency, Decision, ListContent, ListProposal, LockedCard, LostCard, ProposalDecision,
    TerminalStatus, UpdateError, WireListKind, WireListReason,
};
use tsm_api::clearing_files::{ListedRecord, read_file};
use tsm_api::problem::ProblemCode;
use tsm_api::signature::MessageVerifier;
use tsm_domain::money::{CardList, ListKind, ListVersion};
use tsm_storage::ClearingStore as _;
use tsm_storage::clearing::Books;
use tsm_storage::shared::{ChainKey, Chains as _, Entry};
use uuid::Uuid;

use super::world::{FOREIGN, World, batch, code, lock};
use crate::purse_card::{PurseCard, TERMINAL};

fn lost(card: &PurseCard) -> LostCard {
    LostCard { card: card.wire(), change: 1 }
}

fn found(card: &PurseCard) -> LostCard {
    LostCard { change: 2, ..lost(card) }
}

/// A terminal that was away fetches what changed, verifies it offline and says what it has; the centre sees
/// who is behind.
#[tokio::test]
async fn terminals_follow_the_list_by_its_changes() {
    let world = World::new().await;
    let key = world.peer.list_key().await.unwrap();
    let centre = MessageVerifier::from_point(key.point.as_bytes()).unwrap();
    let mut held = CardList::default();
    let changes = async |since| world.peer.list_changes(&ChangesQuery { since }).await.unwrap();
    held = changes(0).await.apply(&held, &centre).unwrap();
    assert_eq!(held, CardList::default());

    let (first, second) = (world.card(1, 100).await, world.card(2, 100).await);
    for _ in 0..2 {
        let standing = world.peer.report_lost(&lost(&first)).await.unwrap();
        assert_eq!(standing.listed.unwrap().kind, WireListKind::Black);
        assert_eq!(standing.list_version, 1, "again changes nothing");
    }
    world.store.set_frozen(second.number, Some("odd".into()), Books::default()).await.unwrap();
    let update = changes(held.version().0).await;
    assert!(matches!(&update.content, ListContent::Changes(changes) if changes.len() == 2));
    held = update.apply(&held, &centre).unwrap();
    assert_eq!(held.standing(first.number).unwrap().0, ListKind::Black);
    assert_eq!(held.standing(second.number).unwrap().0, ListKind::Grey);

    let status = |list_version| TerminalStatus {
        terminal: HexBytes(TERMINAL.to_vec()),
        list_version,
        fare_version: 3,
        fares_held: 3,
        undelivered: 7,
    };
    let parameters = world.peer.terminal_status(&status(held.version().0)).await.unwrap();
    assert_eq!((parameters.list_version, parameters.batch_sequence), (2, 0));
    let terminals = async || world.peer.terminals().await.unwrap().terminals;
    let told = terminals().await;
    assert_eq!((told[0].currency, told[1].currency), (Currency::Current, Currency::Silent));
    assert_eq!((told[0].undelivered, told[0].fare_version), (7, 3));
    world.store.set_frozen(second.number, None, Books::default()).await.unwrap();
    assert_eq!(terminals().await[0].currency, Currency::Behind);
    assert_eq!(code(world.peer.terminal_status(&status(9)).await), ProblemCode::ValueRefused);
    let foreign = TerminalStatus { terminal: HexBytes(FOREIGN.to_vec()), ..status(2) };
    assert_eq!(code(world.peer.terminal_status(&foreign).await), ProblemCode::UnknownId);

    let old = held.clone();
    held = changes(2).await.apply(&held, &centre).unwrap();
    assert_eq!((held.version(), held.standing(second.number)), (ListVersion(3), None));
    let whole = world.peer.whole_list().await.unwrap();
    assert_eq!(whole.apply(&CardList::default(), &centre).unwrap(), held);
    assert_eq!(whole.apply(&old, &centre).unwrap(), held, "whatever it had");
    let mut forged = whole;
    forged.head.version = 4;
    assert!(matches!(forged.apply(&old, &centre), Err(UpdateError::Signature(_))));

    for word in [found(&first), found(&first)] {
        let standing = world.peer.report_found(&word).await.unwrap();
        assert_eq!((standing.listed, standing.list_version), (None, 4));
    }
    // A word of the loss that was long on its way is heard, and changes nothing.
    let late = world.peer.report_lost(&lost(&first)).await.unwrap();
    assert_eq!((late.listed, late.list_version), (None, 4));
    let journal = world.store.chain(ChainKey::Card(first.number), 0, 100).await.unwrap();
    assert_eq!(Entry::check_chain(None, &journal), Ok(()));
    let events: Vec<_> = journal.iter().map(|entry| entry.note.event.as_str()).collect();
    assert_eq!(events[events.len() - 2..], ["reported-lost", "reported-found"]);
    assert_eq!(code(world.peer.report_lost(&lost(&PurseCard::new(9))).await), ProblemCode::UnknownId);
}

/// A word that overtook the one before it stands, whichever of the two is about the loss.
#[tokio::test]
async fn the_last_word_about_a_loss_stands() {
    let world = World::new().await;
    let card = world.card(1, 100).await;
    let listed = async || world.peer.standing(&card.wire()).await.unwrap().listed.map(|listed| listed.reason);
    let word = |change| LostCard { card: card.wire(), change };
    world.peer.report_found(&word(2)).await.unwrap();
    world.peer.report_lost(&word(1)).await.unwrap();
    assert_eq!(listed().await, None, "it was found before the word of its loss came");
    world.peer.report_lost(&word(5)).await.unwrap();
    world.peer.report_found(&word(4)).await.unwrap();
    assert_eq!(listed().await, Some(WireListReason::Lost), "it is lost again");
    // A word is followed also where it does nothing.
    world.store.set_frozen(card.number, Some("odd".into()), Books::default()).await.unwrap();
    world.peer.report_found(&word(6)).await.unwrap();
    world.peer.report_lost(&word(5)).await.unwrap();
    assert_eq!(listed().await, Some(WireListReason::Frozen), "found, and frozen as before");
}

/// A card that a terminal locked is known to be locked, whichever way the report comes.
#[tokio::test]
async fn a_lock_by_a_terminal_closes_the_matter() {
    let world = World::new().await;
    let (first, second) = (world.card(1, 100).await, world.card(2, 100).await);
    for card in [&first, &second] {
        world.peer.report_lost(&lost(card)).await.unwrap();
    }
    let receipt = world.peer.batch(&batch(1, &[lock(1, &first)])).await.unwrap();
    assert_eq!(receipt.verdicts, [RowVerdict::LockRecorded]);
    let report = LockedCard {
        card: second.wire(),
        terminal: HexBytes(TERMINAL.to_vec()),
        number: 2,
        list_version: 2,
        date: HexBytes(vec![0x20, 0x26, 0x11, 0x20]),
        time: HexBytes(vec![0x09, 0x30, 0]),
    };
    for _ in 0..2 {
        world.peer.report_locked(&report).await.unwrap();
    }
    for card in [&first, &second] {
        let standing = world.peer.standing(&card.wire()).await.unwrap();
        assert_eq!(standing.locked_by, Some(HexBytes(TERMINAL.to_vec())));
        assert!(standing.listed.is_some(), "copies of it stay refused");
        assert_eq!(standing.list_version, 2);
        let facts = world.peer.explanation(&CardQuery { card: card.wire() }).await.unwrap();
        assert_eq!(facts.locked.unwrap().terminal, hex::encode(TERMINAL));
    }
    let foreign = LockedCard { terminal: HexBytes(FOREIGN.to_vec()), ..report.clone() };
    assert_eq!(code(world.peer.report_locked(&foreign).await), ProblemCode::UnknownId);
    let undated = LockedCard { date: HexBytes(vec![0x20, 0x26, 0x13, 0x20]), ..report };
    assert_eq!(code(world.peer.report_locked(&undated).await), ProblemCode::ValueRefused);
}

/// The list is there as a file, too (UC): one for each version at which somebody asks.
#[tokio::test]
async fn the_list_comes_as_a_file_too() {
    let world = World::new().await;
    let (first, second) = (world.card(1, 100).await, world.card(2, 100).await);
    let names = async || -> Vec<String> {
        let files = world.peer.results().await.unwrap().files;
        files.into_iter().map(|file| file.name).collect()
    };
    assert_eq!(names().await, [""; 0], "an empty list is no file");
    world.peer.report_lost(&lost(&first)).await.unwrap();
    for _ in 0..2 {
        assert_eq!(names().await, ["UC000000000001"]);
    }
    world.peer.report_lost(&lost(&second)).await.unwrap();
    assert_eq!(names().await, ["UC000000000001", "UC000000000002"]);
    let content = world.peer.file_content("UC000000000002", &FileContentQuery { offset: 0 }).await.unwrap();
    let (header, cards) = read_file::<ListedRecord>(&content.content.0).unwrap();
    assert_eq!((header.records, header.receiver.trim_end()), (2, "CITY"));
    let cards: Vec<_> = cards.into_iter().map(|record| record.listed.card).collect();
    assert_eq!(cards, [first.number, second.number]);
}

/// Nobody changes the list alone, and nobody of another institution decides.
#[tokio::test]
async fn an_operator_needs_another_pair_of_eyes() {
    let world = World::new().await;
    let card = world.card(1, 100).await;
    let proposal = |n| ListProposal {
        proposal: Uuid::from_u128(n),
        card: card.wire(),
        listed: Some(WireListKind::Black),
        why: "police report".into(),
    };
    let decide = async |n, by: &str, decision| {
        world.person(by).await.decide(Uuid::from_u128(n), &ProposalDecision { decision }).await
    };
    let (an, bo) = (world.person("an").await, world.person("bo").await);
    for n in [1, 2] {
        assert_eq!(an.propose(&proposal(n)).await.unwrap().proposed_by, "an");
    }
    assert_eq!(code(world.peer.propose(&proposal(3)).await), ProblemCode::SessionRequired);
    assert_eq!(code(bo.propose(&proposal(1)).await), ProblemCode::StateForbids);
    assert_eq!(code(decide(1, "an", Decision::Approve).await), ProblemCode::StateForbids);
    let yes = ProposalDecision { decision: Decision::Approve };
    assert_eq!(code(world.peer.decide(Uuid::from_u128(1), &yes).await), ProblemCode::SessionRequired);
    let others = world.other_person("bo").await.decide(Uuid::from_u128(1), &yes).await;
    assert_eq!(code(others), ProblemCode::UnknownId);
    assert_eq!(world.peer.standing(&card.wire()).await.unwrap().listed, None);
    for _ in 0..2 {
        let decided = decide(1, "bo", Decision::Approve).await.unwrap();
        assert_eq!((decided.decided, decided.decided_by.as_deref()), (Some(yes.clone()), Some("bo")));
    }
    let standing = world.peer.standing(&card.wire()).await.unwrap();
    assert_eq!((standing.listed.unwrap().reason, standing.list_version), (WireListReason::Decided, 1));
    decide(2, "bo", Decision::Refuse).await.unwrap();
    assert_eq!(code(decide(2, "bo", Decision::Approve).await), ProblemCode::StateForbids);
    assert_eq!(world.peer.proposals().await.unwrap().proposals, []);
    assert_eq!(code(decide(9, "bo", Decision::Approve).await), ProblemCode::UnknownId);
    // What two people decided a loss report does not undo.
    world.peer.report_found(&found(&card)).await.unwrap();
    assert!(world.peer.standing(&card.wire()).await.unwrap().listed.is_some());
}
