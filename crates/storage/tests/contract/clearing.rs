//! The clearing centre's steps.

use tsm_domain::money::ledger::Balance;
use tsm_domain::money::{
    AccountKind, CardAccountEvent, CardAccountState, CardTransaction, ClosingPurpose, LoadProof, Tac,
    TransactionKey, TransactionType, Transfer, TransferCode, TransferRefusal,
};
use tsm_domain::{Fen, TerminalNumber, TransferId};
use tsm_storage::clearing::{Books, Recorded};
use tsm_storage::shared::{ChainKey, Note};
use tsm_storage::{ClearingStore, StorageError};

use crate::on_clearing;
use crate::sample::{at, card_number, delivery, order_id, se, uuid};

fn moved(n: u128, code: TransferCode, fen: u64) -> Transfer {
    let id = TransferId::from_uuid(uuid(n));
    code.transfer(id, card_number(1), Fen::new(fen), at(n as i64)).for_order(order_id(1))
}

fn books(transfers: &[Transfer]) -> Books {
    Books { transfers: transfers.to_vec(), ..Books::default() }
}

async fn holds(store: &dyn ClearingStore, kind: AccountKind) -> u64 {
    store.balance(card_number(1), kind).await.unwrap().posted.get()
}

#[tokio::test]
async fn an_account_is_opened_once() {
    on_clearing(async |store| {
        let note = Note {
            chain: ChainKey::Card(card_number(1)),
            at: at(1),
            actor: "sp-tsm".into(),
            event: "card-opened".into(),
            detail: "{}".into(),
        };
        let with = Books { notes: vec![note], ..Books::default() };
        let opened = store.open_account(card_number(1), se(1), at(1), with.clone()).await.unwrap();
        assert_eq!(store.open_account(card_number(1), se(1), at(2), with.clone()).await, Ok(opened.clone()));
        let elsewhere = store.open_account(card_number(1), se(2), at(2), with).await;
        assert!(matches!(elsewhere, Err(StorageError::Conflict { .. })), "one card, one SE");
        assert_eq!(store.chain(ChainKey::Card(card_number(1)), 0, 10).await.unwrap().len(), 1);
        store.open_account(card_number(2), se(2), at(3), Books::default()).await.unwrap();
        assert_eq!(store.accounts(None, 1).await.unwrap(), std::slice::from_ref(&opened));
        assert_eq!(store.accounts(Some(card_number(1)), 10).await.unwrap().len(), 1);
        assert_eq!(store.account(card_number(1)).await.unwrap(), Some(opened));
        assert_eq!(store.account(card_number(9)).await, Ok(None));
    })
    .await;
}

#[tokio::test]
async fn an_account_and_its_books_move_together() {
    on_clearing(async |store| {
        store.open_account(card_number(1), se(1), at(1), Books::default()).await.unwrap();
        let apply = async |event, transfers: &[Transfer]| {
            store.apply_event(card_number(1), event, books(transfers)).await
        };
        let opened = CardAccountEvent::Opened(se(1));
        apply(opened, &[]).await.unwrap();
        store
            .transfer(books(&[
                moved(1, TransferCode::PaymentConfirmed, 100),
                moved(2, TransferCode::Loaded, 100),
            ]))
            .await
            .unwrap();
        apply(CardAccountEvent::ClosingBegun(ClosingPurpose::Return), &[]).await.unwrap();
        let parked = CardAccountEvent::Parked(Fen::new(100));
        let too_much = apply(parked, &[moved(3, TransferCode::Parked, 101)]).await;
        assert!(matches!(too_much, Err(StorageError::Transfer(TransferRefusal::ExceedsBalance { .. }))));
        let state = store.account(card_number(1)).await.unwrap().unwrap().account.state;
        assert!(matches!(state, CardAccountState::Closing { .. }), "refused books leave the account alone");
        for _ in 0..2 {
            let account = apply(parked, &[moved(4, TransferCode::Parked, 100)]).await.unwrap();
            assert_eq!(account.state, CardAccountState::Parked { balance: Fen::new(100) });
            assert_eq!(
                (holds(store, AccountKind::Purse).await, holds(store, AccountKind::Parked).await),
                (0, 100)
            );
        }
        let refused = apply(opened, &[moved(5, TransferCode::Unparked, 100)]).await;
        assert!(matches!(refused, Err(StorageError::CardAccount(_))));
        assert_eq!(holds(store, AccountKind::Parked).await, 100, "a refused event leaves the books alone");
        let frozen = store.set_frozen(card_number(1), Some("odd".into()), Books::default()).await.unwrap();
        assert!(frozen.freeze.is_some());
        assert!(matches!(
            apply(CardAccountEvent::RefundOrdered, &[]).await,
            Err(StorageError::CardAccount(_))
        ));
        store.set_frozen(card_number(1), None, Books::default()).await.unwrap();
        apply(CardAccountEvent::RefundOrdered, &[moved(6, TransferCode::RefundOrdered, 100)]).await.unwrap();
        apply(CardAccountEvent::RefundPaid, &[moved(7, TransferCode::RefundPaid, 100)]).await.unwrap();
        let totals = store.totals().await.unwrap();
        assert_eq!((totals.paid_in, totals.refunded), (100, 100));
        assert_eq!(totals.check(), Ok(()));
    })
    .await;
}

#[tokio::test]
async fn transfers_are_made_in_order_all_or_none_and_once() {
    on_clearing(async |store| {
        let paid = moved(1, TransferCode::PaymentConfirmed, 100);
        let reserve = moved(2, TransferCode::Loaded, 60).pending();
        store.transfer(books(&[paid.clone(), reserve.clone()])).await.unwrap();
        store.transfer(books(&[paid.clone(), reserve.clone()])).await.unwrap();
        let balance = store.balance(card_number(1), AccountKind::InFlight).await.unwrap();
        assert_eq!(balance, Balance { posted: Fen::new(100), reserved: Fen::new(60) });
        let post = reserve.post(TransferId::from_uuid(uuid(3)), Fen::new(60), at(3));
        let half = [post.clone(), moved(4, TransferCode::Spent, 70)];
        let refused = store.transfer(Books { deliveries: vec![delivery(1, 0)], ..books(&half) }).await;
        assert!(matches!(refused, Err(StorageError::Transfer(TransferRefusal::ExceedsBalance { .. }))));
        assert_eq!(holds(store, AccountKind::Purse).await, 0);
        assert_eq!(store.due_deliveries(at(9), 10).await.unwrap(), []);
        store.transfer(books(&[post.clone(), moved(4, TransferCode::Spent, 60)])).await.unwrap();
        let void = reserve.void(TransferId::from_uuid(uuid(5)), at(5));
        let posted = store.transfer(books(&[void])).await;
        assert_eq!(posted, Err(StorageError::Transfer(TransferRefusal::PendingPosted(reserve.id))));
        let different = moved(1, TransferCode::PaymentConfirmed, 99);
        assert!(matches!(
            store.transfer(books(&[different])).await,
            Err(StorageError::Transfer(TransferRefusal::ExistsWithDifferences(_)))
        ));
        let made = store.transfers_of(card_number(1)).await.unwrap();
        assert_eq!(made, [paid, reserve, post, moved(4, TransferCode::Spent, 60)]);
        assert_eq!(store.transfers_of(card_number(2)).await.unwrap(), []);
        let totals = store.totals().await.unwrap();
        assert_eq!((totals.paid_in, totals.in_flight, totals.spent), (100, 40, 60));
        assert_eq!(totals.check(), Ok(()));
    })
    .await;
}

#[tokio::test]
async fn a_card_transaction_is_recorded_once() {
    on_clearing(async |store| {
        store.transfer(books(&[moved(1, TransferCode::PaymentConfirmed, 100)])).await.unwrap();
        let transaction = CardTransaction {
            key: TransactionKey { card: card_number(1), counter: 10, kind: TransactionType::Load },
            amount: Fen::new(100),
            balance_after: Some(Fen::new(100)),
            terminal: TerminalNumber::for_attempt(3001, 1).unwrap(),
            at: at(5),
            proof: LoadProof::Tac(Tac([1, 2, 3, 4])),
        };
        let load = books(&[moved(2, TransferCode::Loaded, 100)]);
        assert_eq!(store.record_transaction(transaction.clone(), load.clone()).await, Ok(Recorded::New));
        assert_eq!(store.record_transaction(transaction.clone(), load).await, Ok(Recorded::Before));
        let again = books(&[moved(3, TransferCode::Loaded, 100)]);
        let later = CardTransaction { at: at(6), proof: LoadProof::TacUnavailable, ..transaction.clone() };
        assert_eq!(
            store.record_transaction(later, again.clone()).await,
            Ok(Recorded::Before),
            "by another way"
        );
        let other = CardTransaction { amount: Fen::new(99), ..transaction.clone() };
        assert_eq!(
            store.record_transaction(other, again).await,
            Ok(Recorded::Different(transaction.clone()))
        );
        assert_eq!(holds(store, AccountKind::Purse).await, 100, "credited once");
        let unload = TransactionKey { kind: TransactionType::Unload, ..transaction.key };
        let unproven = CardTransaction {
            key: unload,
            at: at(7),
            proof: LoadProof::TacUnavailable,
            balance_after: None,
            ..transaction.clone()
        };
        assert_eq!(store.record_transaction(unproven.clone(), Books::default()).await, Ok(Recorded::New));
        let purchase = CardTransaction {
            key: TransactionKey { kind: TransactionType::Purchase, ..transaction.key },
            ..transaction.clone()
        };
        let composite = CardTransaction {
            key: TransactionKey { kind: TransactionType::CompositePurchase, ..transaction.key },
            ..transaction.clone()
        };
        let copied = CardTransaction { proof: LoadProof::Tac(Tac([4, 3, 2, 1])), ..purchase.clone() };
        for (one, expected) in [
            (&purchase, Recorded::New),
            (&copied, Recorded::Different(purchase.clone())),
            (&composite, Recorded::Different(purchase.clone())),
            (&purchase, Recorded::Before),
        ] {
            assert_eq!(store.record_transaction(one.clone(), Books::default()).await, Ok(expected));
        }
        assert_eq!(store.transaction(unload).await, Ok(Some(unproven.clone())));
        assert_eq!(store.transaction(transaction.key).await, Ok(Some(transaction.clone())));
        assert_eq!(store.transaction(composite.key).await, Ok(Some(purchase.clone())), "the same place");
        let next = TransactionKey { counter: transaction.key.counter + 1, ..transaction.key };
        assert_eq!(store.transaction(next).await, Ok(None));
        let elsewhere = TransactionKey { card: card_number(2), ..transaction.key };
        assert_eq!(store.transaction(elsewhere).await, Ok(None));
        let recorded = store.transactions_of(card_number(1), 10).await.unwrap();
        assert_eq!(recorded, [unproven.clone(), purchase, transaction], "one of the two kinds for a counter");
        assert_eq!(store.transactions_of(card_number(1), 1).await.unwrap(), [unproven]);
    })
    .await;
}

#[tokio::test]
async fn a_refused_transaction_leaves_no_trace() {
    on_clearing(async |store| {
        let transaction = CardTransaction {
            key: TransactionKey { card: card_number(1), counter: 1, kind: TransactionType::Load },
            amount: Fen::new(100),
            balance_after: None,
            terminal: TerminalNumber::for_attempt(3001, 1).unwrap(),
            at: at(5),
            proof: LoadProof::TacUnavailable,
        };
        let unpaid = books(&[moved(2, TransferCode::Loaded, 100)]);
        let refused = store.record_transaction(transaction.clone(), unpaid.clone()).await;
        assert!(matches!(refused, Err(StorageError::Transfer(_))));
        assert_eq!(store.transactions_of(card_number(1), 10).await.unwrap(), []);
        store.transfer(books(&[moved(1, TransferCode::PaymentConfirmed, 100)])).await.unwrap();
        assert_eq!(store.record_transaction(transaction, unpaid).await, Ok(Recorded::New));
    })
    .await;
}
