//! The closings of cards, with their accounts and books.

use tsm_domain::money::{
    AccountKind, CardAccountEvent, CardAccountState, Closing, ClosingMove, ClosingPurpose, Parking,
    ParkingProof, TransactionType, Transfer, TransferCode,
};
use tsm_domain::{Fen, OperationId, TransferId};
use tsm_storage::clearing::{Books, ClosingStep};
use tsm_storage::{ClearingStore, StorageError};

use crate::on_clearing;
use crate::sample::{at, card_number, se, transaction, uuid};

fn transfer(n: u128, code: TransferCode, fen: u64) -> Transfer {
    code.transfer(TransferId::from_uuid(uuid(n)), card_number(1), Fen::new(fen), at(n as i64))
}

fn step(before: Option<&Closing>, made: ClosingMove, number: u128) -> ClosingStep {
    let transfers = made.money.iter().map(|(code, amount)| transfer(number, *code, amount.get())).collect();
    let books = Books { transfers, ..Books::default() };
    ClosingStep { before: before.cloned(), after: made.closing, events: made.events, books }
}

async fn live_card(store: &dyn ClearingStore) {
    store.open_account(card_number(1), se(1), at(1), Books::default()).await.unwrap();
    let live = CardAccountEvent::Opened(se(1));
    store.apply_event(card_number(1), live, Books::default()).await.unwrap();
    let paid = [transfer(1, TransferCode::PaymentConfirmed, 50), transfer(2, TransferCode::Loaded, 50)];
    store.transfer(Books { transfers: paid.to_vec(), ..Books::default() }).await.unwrap();
}

fn parking(fen: u64) -> Parking {
    Parking {
        balance: Fen::new(fen),
        online: 4,
        offline: Some(9),
        proof: ParkingProof::Read,
        sealed_image: Some("0A".into()),
        at: at(9),
    }
}

/// Whoever judges a card's word sees its account, its closings, its transactions and its purse as of one moment: an
/// honest card that contradicts rows of two moments would be frozen.
#[tokio::test]
async fn the_books_of_a_card_are_of_one_moment() {
    on_clearing(async |store| {
        assert_eq!(store.card_books(card_number(1)).await.unwrap(), None);
        store.open_account(card_number(1), se(1), at(1), Books::default()).await.unwrap();
        let live = CardAccountEvent::Opened(se(1));
        store.apply_event(card_number(1), live, Books::default()).await.unwrap();
        let is_over = std::cell::Cell::new(false);
        let top_up = async {
            for counter in 1..200_u16 {
                let id = u128::from(counter) * 2;
                let paid = transfer(id, TransferCode::PaymentConfirmed, 1);
                let loaded = transfer(id + 1, TransferCode::Loaded, 1);
                let books = Books { transfers: vec![paid, loaded], ..Books::default() };
                let load = transaction(1, counter, TransactionType::Load, 1);
                store.record_transaction(load, books).await.unwrap();
            }
            is_over.set(true);
        };
        let look = async {
            while !is_over.get() {
                let books = store.card_books(card_number(1)).await.unwrap().unwrap();
                assert_eq!(books.purse.get(), books.transactions.len() as u64);
                tokio::task::yield_now().await;
            }
        };
        futures_util::future::join(top_up, look).await;

        let operation = OperationId::from_uuid(uuid(7));
        let begun = Closing::begin(card_number(1), operation, se(1), ClosingPurpose::Return, at(5));
        store.step_closing(step(None, begun.clone().begun(), 1_000)).await.unwrap();
        let books = store.card_books(card_number(1)).await.unwrap().unwrap();
        assert_eq!((books.blocked_after(), books.closings.len()), (None, 1));
        let parked = begun.park(parking(30)).unwrap().unwrap();
        store.step_closing(step(Some(&begun), parked, 1_001)).await.unwrap();
        let books = store.card_books(card_number(1)).await.unwrap().unwrap();
        assert_eq!((books.blocked_after(), books.purse), (Some(9), Fen::new(169)));
    })
    .await;
}

/// req: B-7.6.1.c
#[tokio::test]
async fn a_closing_its_account_and_its_books_move_together() {
    on_clearing(async |store| {
        live_card(store).await;
        let operation = OperationId::from_uuid(uuid(7));
        let begun = Closing::begin(card_number(1), operation, se(1), ClosingPurpose::Return, at(5));
        let first = step(None, begun.clone().begun(), 10);
        let account = store.step_closing(first.clone()).await.unwrap();
        assert!(matches!(account.state, CardAccountState::Closing { .. }));
        assert_eq!(store.step_closing(first).await.unwrap(), account, "running it again changes nothing");

        // More than the books hold is not parked, and the closing stays as it was.
        let too_much = step(Some(&begun), begun.park(parking(51)).unwrap().unwrap(), 11);
        assert!(matches!(store.step_closing(too_much).await, Err(StorageError::Transfer(_))));
        assert_eq!(store.closing(card_number(1), operation).await.unwrap(), Some(begun.clone()));

        let parked = step(Some(&begun), begun.park(parking(30)).unwrap().unwrap(), 11);
        store.step_closing(parked.clone()).await.unwrap();
        let stale = step(Some(&begun), begun.undo().unwrap().unwrap(), 12);
        assert!(matches!(store.step_closing(stale).await, Err(StorageError::Conflict { .. })));
        let held = async |kind| store.balance(card_number(1), kind).await.unwrap().posted.get();
        assert_eq!((held(AccountKind::Purse).await, held(AccountKind::Parked).await), (20, 30));
        assert_eq!(store.closings_of(card_number(1)).await.unwrap(), [parked.after]);
        assert_eq!(store.closings_of(card_number(2)).await.unwrap(), []);
        assert!(store.totals().await.unwrap().check().is_ok());
    })
    .await;
}

#[tokio::test]
async fn a_step_of_an_unknown_card_is_refused() {
    on_clearing(async |store| {
        let operation = OperationId::from_uuid(uuid(7));
        let begun = Closing::begin(card_number(3), operation, se(1), ClosingPurpose::Return, at(5));
        let refused = store.step_closing(step(None, begun.begun(), 10)).await;
        assert!(matches!(refused, Err(StorageError::Unknown { .. })));
    })
    .await;
}

#[tokio::test]
async fn the_newest_closing_comes_first() {
    on_clearing(async |store| {
        live_card(store).await;
        for (n, seconds) in [(21, 5), (20, 6)] {
            let operation = OperationId::from_uuid(uuid(n));
            let begun = Closing::begin(card_number(1), operation, se(1), ClosingPurpose::Return, at(seconds));
            store.step_closing(step(None, begun.clone().begun(), 0)).await.unwrap();
            store.step_closing(step(Some(&begun), begun.undo().unwrap().unwrap(), 0)).await.unwrap();
        }
        let found = store.closings_of(card_number(1)).await.unwrap();
        let numbers: Vec<_> = found.iter().map(|closing| closing.operation.as_uuid()).collect();
        assert_eq!(numbers, [uuid(20), uuid(21)]);
    })
    .await;
}
