//! Orders paid from a transit card: one attempt open, one debit, and neither a close nor another payment in
//! between.

use tsm_domain::money::online_purchase::PurseOffer;
use tsm_domain::money::{
    CentreWord, PayerToken, PaymentOrder, PaymentRefusal, PaymentState, PurchaseBegun, PurseStage, Tac,
};
use tsm_domain::{CardNumber, Fen, IncidentId, OfflineCounter};
use tsm_storage::payment::{DebitProof, PaymentRow, ProvenDebit};
use tsm_storage::shared::{Delivery, Incident, IncidentFilter};
use tsm_storage::{PaymentStore, StorageError};

use crate::on_payment;
use crate::sample::{at, delivery, order_id, uuid};

const TAC: Tac = Tac([1, 2, 3, 4]);

fn row(n: u128) -> PaymentRow {
    PaymentRow {
        order: PaymentOrder::create(order_id(n), Fen::new(1_200)),
        merchant: "SHOP".into(),
        subject: "umbrella".into(),
        payer: None,
        notify_url: "SHOP".into(),
        created_at: at(1),
        expires_at: at(100),
        paid_at: None,
        closed_at: None,
        purse: Some(PurseOffer::default()),
        addressed_to: Some(PayerToken::new([7; 16])),
    }
}

fn begun(counter: u16, random: u8) -> PurchaseBegun {
    PurchaseBegun {
        card: CardNumber::compose("31049990", 1).unwrap(),
        terminal: "099900000091".parse().unwrap(),
        counter: OfflineCounter(counter),
        random: [random; 4],
        balance: Fen::new(5_000),
    }
}

fn proven(order: u128, number: u32) -> ProvenDebit {
    ProvenDebit {
        order: order_id(order),
        number,
        proof: DebitProof::Card(TAC, delivery(2, 0)),
        watch: watch().id,
        payment: "P1".parse().unwrap(),
        at: at(9),
        notifications: vec![delivery(1, 0)],
        for_nothing: Incident {
            id: IncidentId::from_uuid(uuid(1)),
            se: None,
            card: Some(begun(0, 0).card),
            kind: "debited-for-nothing".into(),
            text: "the order was closed".into(),
            at: at(9),
            closed: None,
        },
    }
}

/// What is due should nobody settle an attempt.
fn watch() -> Delivery {
    delivery(9, 50)
}

fn refused<T>(refusal: PaymentRefusal) -> Result<T, StorageError> {
    Err(StorageError::Payment(refusal))
}

async fn pay(store: &dyn PaymentStore, order: u128) -> Result<PaymentRow, StorageError> {
    let (payer, payment) = ("rider".parse().unwrap(), "P1".parse().unwrap());
    store.pay(order_id(order), payer, payment, Fen::new(1_200), at(9), vec![]).await
}

#[tokio::test]
async fn an_order_is_debited_once_and_nothing_decides_meanwhile() {
    on_payment(async |store| {
        store.create_order(row(1)).await.unwrap();
        store.create_order(row(2)).await.unwrap();
        let plain = PaymentRow { purse: None, addressed_to: None, ..row(3) };
        store.create_order(plain).await.unwrap();
        let not_offered = store.intend_purchase(order_id(3), begun(7, 1), at(2), watch()).await;
        assert_eq!(not_offered, refused(PaymentRefusal::PurseNotOffered));
        let late = store.intend_purchase(order_id(1), begun(7, 1), at(100), watch()).await;
        assert_eq!(late, refused(PaymentRefusal::Closed), "its time is over");

        let first = store.intend_purchase(order_id(1), begun(7, 1), at(2), watch()).await.unwrap();
        assert_eq!(store.intend_purchase(order_id(1), begun(7, 1), at(3), watch()).await, Ok(first));
        assert_eq!(
            store.intend_purchase(order_id(2), begun(7, 2), at(3), watch()).await,
            refused(PaymentRefusal::CardHasOpenAttempt)
        );
        assert_eq!(store.close_order(order_id(1), at(4)).await, refused(PaymentRefusal::AttemptOpen));
        assert_eq!(pay(store, 1).await, refused(PaymentRefusal::AttemptOpen));
        assert_eq!(store.expired_orders(at(200), 9).await.unwrap(), [order_id(2), order_id(3)]);
        store.give_attempt_up(order_id(1), 1, watch().id).await.unwrap();
        assert_eq!(store.expired_orders(at(200), 9).await.unwrap().len(), 3, "its time counts again");
        let second = store.intend_purchase(order_id(1), begun(7, 3), at(5), watch()).await.unwrap();
        assert_eq!((second.number, second.sequence), (2, 2));

        for _ in 0..2 {
            let paid = store.prove_debit(proven(1, 2)).await.unwrap();
            assert_eq!(
                (&paid.order.state, paid.paid_at),
                (&PaymentState::Paid("P1".parse().unwrap()), Some(at(9)))
            );
        }
        let sent = store.due_deliveries(at(9), 9).await.unwrap();
        assert_eq!(sent, [delivery(1, 0), delivery(2, 0)], "the merchant and the centre are told once");
        assert_eq!(store.incidents(IncidentFilter::All, 9).await.unwrap(), []);
        let card = store.purse_card(begun(0, 0).card).await.unwrap();
        assert_eq!((card.open, card.proven, card.sequence), (None, Some(OfflineCounter(8)), 2));
        let again = store.intend_purchase(order_id(2), begun(7, 4), at(6), watch()).await;
        assert!(matches!(again, Err(StorageError::Payment(PaymentRefusal::CounterWentBack { .. }))));
        assert_eq!(
            store.intend_purchase(order_id(1), begun(8, 4), at(6), watch()).await,
            refused(PaymentRefusal::AlreadyPaid)
        );
        let refund = tsm_storage::payment::Refund {
            id: tsm_domain::TransferId::from_uuid(uuid(5)),
            order: order_id(1),
            amount: Fen::new(1),
            at: at(9),
        };
        assert_eq!(store.refund(refund, vec![]).await, refused(PaymentRefusal::PaidFromPurse));
        store.debit_was_told(order_id(1), 2, CentreWord::Refused, None).await.unwrap();
        assert_eq!(store.purse_card(begun(0, 0).card).await.unwrap().disputed, [order_id(1)]);
        store.debit_was_told(order_id(1), 2, CentreWord::TakenWith(TAC), None).await.unwrap();
        assert_eq!(store.purse_card(begun(0, 0).card).await.unwrap().disputed, []);
        let stored = store.order(order_id(1)).await.unwrap().unwrap();
        assert_eq!(stored.debited().unwrap().stage, PurseStage::Told(TAC));
    })
    .await;
}

/// What is due should nobody settle an attempt is stored with it, once, and is over with it, however it ends.
#[tokio::test]
async fn an_attempt_is_watched_until_it_is_settled() {
    on_payment(async |store| {
        let due = async |when| store.due_deliveries(at(when), 9).await.unwrap();
        store.create_order(row(1)).await.unwrap();
        for _ in 0..2 {
            store.intend_purchase(order_id(1), begun(7, 1), at(2), watch()).await.unwrap();
            assert_eq!((due(49).await, due(50).await), (vec![], vec![watch()]));
        }
        for _ in 0..2 {
            store.give_attempt_up(order_id(1), 1, watch().id).await.unwrap();
            assert_eq!(due(50).await, []);
        }
        let other = delivery(8, 50);
        store.intend_purchase(order_id(1), begun(7, 2), at(3), other.clone()).await.unwrap();
        assert_eq!(due(50).await, std::slice::from_ref(&other));
        let proven = ProvenDebit { watch: other.id, ..proven(1, 2) };
        store.prove_debit(proven).await.unwrap();
        assert_eq!(due(50).await, [delivery(1, 0), delivery(2, 0)], "only what the debit says");
    })
    .await;
}

/// What the centre has booked without a proof is paid: the merchant hears of it, once, and the card is free.
///
/// req: B-7.3.1.a
#[tokio::test]
async fn what_the_centre_has_booked_is_paid_and_nobody_tells_it_again() {
    on_payment(async |store| {
        store.create_order(row(1)).await.unwrap();
        store.create_order(row(2)).await.unwrap();
        store.intend_purchase(order_id(1), begun(7, 1), at(2), watch()).await.unwrap();
        let booked = ProvenDebit { proof: DebitProof::Centre, ..proven(1, 1) };
        for _ in 0..2 {
            let paid = store.prove_debit(booked.clone()).await.unwrap();
            assert_eq!(paid.order.state, PaymentState::Paid("P1".parse().unwrap()));
            assert_eq!(paid.debited().unwrap().stage, PurseStage::Booked);
        }
        let sent = store.due_deliveries(at(9), 9).await.unwrap();
        assert_eq!(sent, [delivery(1, 0)], "the merchant is told, the centre knows");
        let card = store.purse_card(begun(0, 0).card).await.unwrap();
        assert_eq!((card.open, card.proven), (None, None), "nothing was proven here");
        store.intend_purchase(order_id(2), begun(8, 2), at(3), watch()).await.unwrap();
        assert_eq!(
            store.give_attempt_up(order_id(1), 1, watch().id).await,
            refused(PaymentRefusal::AlreadyPaid)
        );
    })
    .await;
}

#[tokio::test]
async fn a_debit_that_is_proven_after_the_close_reaches_the_centre_and_somebody_looks() {
    on_payment(async |store| {
        store.create_order(row(1)).await.unwrap();
        store.intend_purchase(order_id(1), begun(7, 1), at(2), watch()).await.unwrap();
        store.give_attempt_up(order_id(1), 1, watch().id).await.unwrap();
        store.close_order(order_id(1), at(3)).await.unwrap();
        for _ in 0..2 {
            let late = store.prove_debit(proven(1, 1)).await.unwrap();
            assert_eq!(late.order.state, PaymentState::Closed);
        }
        assert_eq!(store.due_deliveries(at(9), 9).await.unwrap(), [delivery(2, 0)], "only the centre");
        let seen = store.incidents(IncidentFilter::Open, 9).await.unwrap();
        assert_eq!(seen, [proven(1, 1).for_nothing]);
    })
    .await;
}

#[tokio::test]
async fn a_payer_sees_what_is_addressed_to_it_and_waits() {
    on_payment(async |store| {
        let mine = PayerToken::new([7; 16]);
        for n in [1, 2, 3] {
            store.create_order(row(n)).await.unwrap();
        }
        let others = PaymentRow { addressed_to: Some(PayerToken::new([8; 16])), ..row(4) };
        store.create_order(others).await.unwrap();
        let numbers = async || {
            let found = store.orders_addressed_to(mine, 9).await.unwrap();
            found.into_iter().map(|row| row.order.order).collect::<Vec<_>>()
        };
        assert_eq!(numbers().await, [order_id(1), order_id(2), order_id(3)]);
        store.close_order(order_id(1), at(2)).await.unwrap();
        store.intend_purchase(order_id(2), begun(7, 1), at(2), watch()).await.unwrap();
        assert_eq!(numbers().await, [order_id(2), order_id(3)], "what is unknown is listed");
        store.prove_debit(proven(2, 1)).await.unwrap();
        assert_eq!(numbers().await, [order_id(3)]);
        let elsewhere = PaymentRow { addressed_to: None, ..row(3) };
        assert!(matches!(store.create_order(elsewhere).await, Err(StorageError::Conflict { .. })));
    })
    .await;
}
