//! The black and grey lists.

use tsm_domain::money::{CardList, ListAction, ListKind, ListReason, ListVersion};
use tsm_domain::{InstitutionId, OperatorId, ProposalId, TerminalNumber};
use tsm_storage::clearing::lists::*;
use tsm_storage::clearing::{Books, event_of};
use tsm_storage::shared::ChainKey;
use tsm_storage::{ClearingStore, StorageError};

use crate::on_clearing;
use crate::sample::{at, card_number, se, uuid};

const LOST: ListAction = ListAction::Put(ListKind::Black, ListReason::Lost);

fn city() -> InstitutionId {
    "CITY".parse().unwrap()
}

fn person(name: &str) -> OperatorId {
    name.parse().unwrap()
}

async fn edit(store: &dyn ClearingStore, card: u64, action: ListAction) -> Option<Listing> {
    store.edit_list(card_number(card), action, at(5), Books::default()).await.unwrap()
}

#[tokio::test]
async fn changes_make_versions_and_nothing_makes_none() {
    on_clearing(async |store| {
        assert_eq!(store.list_version().await, Ok(ListVersion::NONE));
        assert_eq!(edit(store, 1, ListAction::Remove).await, None);
        assert_eq!(store.list_version().await, Ok(ListVersion::NONE), "there was nothing to take off");
        let listed = edit(store, 1, LOST).await.unwrap();
        assert_eq!((listed.version, listed.listed.kind), (ListVersion(1), ListKind::Black));
        assert_eq!(edit(store, 1, LOST).await, Some(listed), "again");
        edit(store, 2, ListAction::Put(ListKind::Grey, ListReason::Decided)).await;
        edit(store, 1, ListAction::Remove).await;
        assert_eq!(store.list_version().await, Ok(ListVersion(3)));
        let changes = store.list_changes(ListVersion::NONE, 10).await.unwrap();
        assert_eq!(store.list_changes(ListVersion(1), 1).await.unwrap(), changes[1..2]);
        let folded = CardList::default().after(changes).unwrap();
        let listings = store.listings(None, 10).await.unwrap();
        let whole = CardList::new(ListVersion(3), listings.iter().map(|listing| listing.listed)).unwrap();
        assert_eq!(folded, whole, "the listings are what the changes add up to");
        assert_eq!(store.listings(Some(card_number(2)), 10).await.unwrap(), []);
        assert_eq!(store.listing(card_number(1)).await, Ok(None));
    })
    .await;
}

#[tokio::test]
async fn who_is_frozen_is_grey_and_who_is_lost_stays_black() {
    on_clearing(async |store| {
        for card in [1, 2] {
            store.open_account(card_number(card), se(card as u8), at(1), Books::default()).await.unwrap();
        }
        let freeze = async |card, reason: Option<&str>| {
            store.set_frozen(card_number(card), reason.map(str::to_owned), Books::default()).await.unwrap();
            store.listing(card_number(card)).await.unwrap().map(|listing| listing.listed)
        };
        let grey = freeze(1, Some("odd")).await.unwrap();
        assert_eq!((grey.kind, grey.reason), (ListKind::Grey, ListReason::Frozen));
        assert_eq!(freeze(1, Some("odd")).await, Some(grey));
        assert_eq!(store.list_version().await, Ok(ListVersion(1)));
        let copied = freeze(1, Some("copied: counter 7")).await.unwrap();
        assert_eq!(copied.reason, ListReason::Copied);
        assert_eq!(freeze(1, None).await, None, "released");
        let journal = store.chain(ChainKey::Card(card_number(1)), 0, 10).await.unwrap();
        let changes: Vec<_> = journal
            .iter()
            .flat_map(|entry| event_of(entry).unwrap().changes)
            .map(|change| change.word())
            .collect();
        let expected = ["account-opened", "frozen", "listed", "frozen", "listed", "released", "unlisted"];
        assert_eq!(changes, expected, "one entry tells the freeze and the list");

        edit(store, 2, LOST).await;
        let black = freeze(2, Some("odd")).await.unwrap();
        assert_eq!(black.kind, ListKind::Black);
        assert_eq!(freeze(2, None).await, Some(black), "a release does not find a lost card");
    })
    .await;
}

#[tokio::test]
async fn a_lock_is_recorded_once() {
    on_clearing(async |store| {
        let terminal = |text: &str| text.parse::<TerminalNumber>().unwrap();
        let lock = |number, by: &str| LockRow {
            card: card_number(1),
            terminal: terminal(by),
            number,
            institution: city(),
            list_version: ListVersion(1),
            at: at(9),
        };
        assert_eq!(store.record_lock(lock(1, "099900000042")).await, Ok(None), "it is not listed");
        edit(store, 1, LOST).await;
        let first = store.record_lock(lock(2, "099900000042")).await.unwrap().unwrap();
        assert_eq!(first.locked.unwrap().terminal, terminal("099900000042"));
        let second = store.record_lock(lock(1, "099900000043")).await.unwrap().unwrap();
        assert_eq!(second.locked, first.locked, "the first lock stays");
        assert_eq!(store.list_version().await, Ok(ListVersion(1)));
    })
    .await;
}

#[tokio::test]
async fn two_people_change_the_list() {
    on_clearing(async |store| {
        let proposal = |n| ProposalRow {
            id: ProposalId::from_uuid(uuid(n)),
            institution: city(),
            by: person("an"),
            card: card_number(1),
            action: ListAction::Put(ListKind::Black, ListReason::Decided),
            why: "seen twice".into(),
            at: at(n as i64),
            decided: None,
        };
        let by = |name: &str, verdict| ProposalDecided { by: person(name), verdict, at: at(9) };
        let decide =
            async |n, decided| store.decide(ProposalId::from_uuid(uuid(n)), decided, Books::default()).await;
        for n in [1, 2] {
            assert_eq!(store.propose(proposal(n)).await, Ok(proposal(n)));
        }
        assert_eq!(store.propose(proposal(1)).await, Ok(proposal(1)));
        let other = ProposalRow { card: card_number(2), ..proposal(1) };
        assert!(matches!(store.propose(other).await, Err(StorageError::Conflict { .. })));
        let alone = decide(1, by("an", ProposalVerdict::Approved)).await;
        assert!(matches!(alone, Err(StorageError::Conflict { .. })), "two eyes are not four");
        assert_eq!(store.listing(card_number(1)).await, Ok(None));
        for _ in 0..2 {
            let row = decide(1, by("bo", ProposalVerdict::Approved)).await.unwrap();
            assert_eq!(row.decided.unwrap().by, person("bo"));
        }
        assert_eq!(store.list_version().await, Ok(ListVersion(1)));
        assert!(store.listing(card_number(1)).await.unwrap().is_some());
        let turned = decide(1, by("bo", ProposalVerdict::Refused)).await;
        assert!(matches!(turned, Err(StorageError::Conflict { .. })));
        assert_eq!(store.proposals(10).await.unwrap(), [proposal(2)]);
        decide(2, by("bo", ProposalVerdict::Refused)).await.unwrap();
        assert_eq!(store.proposals(10).await.unwrap(), []);
        assert!(store.proposal(proposal(2).id).await.unwrap().unwrap().decided.is_some());
        assert!(matches!(
            decide(7, by("bo", ProposalVerdict::Refused)).await,
            Err(StorageError::Unknown { .. })
        ));
    })
    .await;
}

#[tokio::test]
async fn what_a_terminal_told_last_is_kept() {
    on_clearing(async |store| {
        let status = |terminal: &str, institution: InstitutionId, version, seen| TerminalStatusRow {
            terminal: terminal.parse().unwrap(),
            institution,
            list_version: ListVersion(version),
            fare_version: 1,
            fares_held: 2,
            held_since: Some(at(seen)),
            undelivered: 0,
            seen_at: at(seen),
        };
        let other: InstitutionId = "OTHER".parse().unwrap();
        let rows = [
            status("099900000043", city(), 2, 7),
            status("099900000042", city(), 1, 5),
            status("099900000044", other.clone(), 9, 5),
            status("099900000042", city(), 0, 4),
        ];
        for row in &rows {
            store.put_terminal_status(row.clone()).await.unwrap();
        }
        let found = store.terminal_statuses(&city()).await.unwrap();
        assert_eq!(found, [rows[1].clone(), rows[0].clone()], "what it told earlier replaces nothing");
        let held = |status: &TerminalStatusRow| (status.fares_held, status.held_since, status.seen_at);
        let again = TerminalStatusRow { held_since: Some(at(9)), seen_at: at(9), ..rows[0].clone() };
        store.put_terminal_status(again.clone()).await.unwrap();
        let found = store.terminal_statuses(&city()).await.unwrap();
        assert_eq!(held(&found[1]), (2, Some(at(7)), at(9)), "it holds the version since it first said so");
        store.put_terminal_status(TerminalStatusRow { fares_held: 3, ..again }).await.unwrap();
        let found = store.terminal_statuses(&city()).await.unwrap();
        assert_eq!(held(&found[1]), (3, Some(at(9)), at(9)));
        assert_eq!(store.terminal_statuses(&other).await.unwrap(), rows[2..3]);
    })
    .await;
}

/// The issuer's last word about a loss stands, whatever else is said of the card.
#[tokio::test]
async fn an_older_word_about_a_lost_card_changes_nothing() {
    on_clearing(async |store| {
        let card = card_number(1);
        store.open_account(card, se(1), at(1), Books::default()).await.unwrap();
        let follow = async |standing, change| {
            let word = LossWord { card, standing, change, at: at(5) };
            let listing = store.follow_loss(word, Books::default()).await.unwrap();
            assert_eq!(store.listing(card).await, Ok(listing));
            listing.map(|listing| (listing.listed.kind, listing.listed.reason))
        };
        let (lost, found) = (LossStanding::Lost, LossStanding::Found);
        let black = Some((ListKind::Black, ListReason::Lost));
        for change in [1, 1] {
            assert_eq!(follow(lost, change).await, black);
        }
        assert_eq!(follow(found, 2).await, None);
        assert_eq!(follow(lost, 1).await, None, "late");
        assert_eq!(follow(lost, 2).await, None, "no newer than the last");
        assert_eq!(follow(found, 4).await, None);
        assert_eq!(follow(lost, 3).await, None, "overtaken");
        assert_eq!(store.list_version().await, Ok(ListVersion(2)));
        assert_eq!(follow(lost, 5).await, black);
        store.set_frozen(card, Some("odd".into()), Books::default()).await.unwrap();
        assert_eq!(follow(found, 4).await, black);
        assert_eq!(follow(found, 6).await, Some((ListKind::Grey, ListReason::Frozen)), "frozen as well");
        let decided = ListAction::Put(ListKind::Black, ListReason::Decided);
        edit(store, 1, decided).await;
        let stays = Some((ListKind::Black, ListReason::Decided));
        assert_eq!(follow(lost, 7).await, stays);
        assert_eq!(follow(found, 8).await, stays, "what two people decided stays");
        let word = LossWord { card: card_number(9), standing: lost, change: 1, at: at(5) };
        let unknown = store.follow_loss(word, Books::default()).await;
        assert!(matches!(unknown, Err(StorageError::Unknown { .. })), "{unknown:?}");
    })
    .await;
}
