//! The payment sandbox's steps.

use tsm_domain::money::{PaymentOrder, PaymentRefusal};
use tsm_domain::{Fen, TransferId};
use tsm_storage::StorageError;
use tsm_storage::payment::{PaymentRow, Refund};

use crate::on_payment;
use crate::sample::{at, delivery, order_id, uuid};

fn row(n: u128) -> PaymentRow {
    PaymentRow {
        order: PaymentOrder::create(order_id(n), Fen::new(500)),
        merchant: "CITY".into(),
        subject: "top-up".into(),
        payer: None,
        notify_url: "https://localhost/payments/v1/notifications".into(),
        created_at: at(1),
        expires_at: at(100),
        paid_at: None,
        closed_at: None,
        purse: None,
        addressed_to: None,
    }
}

#[tokio::test]
async fn an_order_is_made_paid_and_closed_once() {
    on_payment(async |store| {
        assert_eq!(store.create_order(row(1)).await, Ok(row(1)));
        let later = PaymentRow { created_at: at(9), ..row(1) };
        assert_eq!(store.create_order(later).await, Ok(row(1)), "the same order again");
        let mut dearer = row(1);
        dearer.order.amount = Fen::new(501);
        assert!(matches!(store.create_order(dearer).await, Err(StorageError::Conflict { .. })));
        let pay = async |n, reference: &str, fen, message| {
            let (payer, payment) = ("rider".parse().unwrap(), reference.parse().unwrap());
            store.pay(order_id(n), payer, payment, Fen::new(fen), at(5), vec![delivery(message, 0)]).await
        };
        assert!(matches!(
            pay(1, "P1", 499, 1).await,
            Err(StorageError::Payment(PaymentRefusal::WrongAmount { .. }))
        ));
        let paid = pay(1, "P1", 500, 2).await.unwrap();
        assert_eq!((paid.order.held(), paid.paid_at), (Fen::new(500), Some(at(5))));
        assert_eq!(pay(1, "P1", 500, 3).await, Ok(paid.clone()));
        assert_eq!(pay(1, "P2", 500, 4).await, Err(StorageError::Payment(PaymentRefusal::AlreadyPaid)));
        let sent = store.due_deliveries(at(9), 10).await.unwrap();
        assert_eq!(sent, [delivery(2, 0)], "one notification");
        assert!(matches!(store.close_order(order_id(1), at(6)).await, Err(StorageError::Payment(_))));
        store.create_order(row(2)).await.unwrap();
        for again in [6, 7] {
            let closed = store.close_order(order_id(2), at(again)).await.unwrap();
            assert_eq!(closed.closed_at, Some(at(6)), "closed once");
        }
        assert_eq!(pay(2, "P3", 500, 5).await, Err(StorageError::Payment(PaymentRefusal::Closed)));
        assert!(matches!(pay(9, "P4", 500, 6).await, Err(StorageError::Unknown { .. })));
        assert_eq!(store.order(order_id(1)).await.unwrap(), Some(paid.clone()));
        assert_eq!(store.paid_between(at(5), at(6)).await.unwrap(), [paid]);
        assert_eq!(store.paid_between(at(6), at(9)).await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn a_refund_is_paid_once_and_never_exceeds_the_payment() {
    on_payment(async |store| {
        store.create_order(row(1)).await.unwrap();
        let (payer, payment) = ("rider".parse().unwrap(), "P1".parse().unwrap());
        store.pay(order_id(1), payer, payment, Fen::new(500), at(5), vec![]).await.unwrap();
        let refund = |n, fen| Refund {
            id: TransferId::from_uuid(uuid(n)),
            order: order_id(1),
            amount: Fen::new(fen),
            at: at(n as i64),
        };
        for _ in 0..2 {
            let after = store.refund(refund(1, 300), vec![delivery(1, 0)]).await.unwrap();
            assert_eq!(after.order.held(), Fen::new(200));
        }
        assert!(matches!(store.refund(refund(1, 200), vec![]).await, Err(StorageError::Conflict { .. })));
        let too_much = store.refund(refund(2, 201), vec![delivery(2, 0)]).await;
        assert!(matches!(too_much, Err(StorageError::Payment(PaymentRefusal::ExceedsPaid { .. }))));
        store.refund(refund(3, 200), vec![]).await.unwrap();
        assert_eq!(store.refunds_of(order_id(1)).await.unwrap(), [refund(1, 300), refund(3, 200)]);
        assert_eq!(store.due_deliveries(at(9), 10).await.unwrap(), [delivery(1, 0)]);
    })
    .await;
}

#[tokio::test]
async fn a_payment_under_way_at_the_close_is_taken_and_given_back_at_once() {
    on_payment(async |store| {
        store.create_order(row(1)).await.unwrap();
        let refund = |fen| Refund {
            id: TransferId::from_uuid(uuid(1)),
            order: order_id(1),
            amount: Fen::new(fen),
            at: at(7),
        };
        let race = async |fen| {
            let (payer, payment) = ("rider".parse().unwrap(), "P1".parse().unwrap());
            store.pay_after_close(payer, payment, refund(fen), vec![delivery(1, 0)]).await
        };
        assert_eq!(race(500).await, Err(StorageError::Payment(PaymentRefusal::NotPaid)), "it is open");
        store.close_order(order_id(1), at(6)).await.unwrap();
        for _ in 0..2 {
            let back = race(500).await.unwrap();
            assert_eq!(
                (back.order.held(), back.paid_at, back.closed_at),
                (Fen::ZERO, Some(at(7)), Some(at(6)))
            );
        }
        assert!(matches!(race(499).await, Err(StorageError::Conflict { .. })));
        let found = store.refunds_between(at(7), at(8)).await.unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((&found[0].0, found[0].1.order.order), (&refund(500), order_id(1)));
        assert_eq!(store.refunds_between(at(8), at(9)).await.unwrap(), []);
        assert_eq!(store.refunds_between(at(0), at(7)).await.unwrap(), []);
        assert_eq!(store.paid_between(at(7), at(8)).await.unwrap().len(), 1, "both lines of the statement");
        assert_eq!(store.due_deliveries(at(9), 10).await.unwrap(), [delivery(1, 0)], "told once");
    })
    .await;
}

#[tokio::test]
async fn open_orders_are_found_when_their_time_is_over() {
    on_payment(async |store| {
        assert_eq!(store.next_expiry().await, Ok(None));
        for (number, until) in [(1, 30), (2, 10), (3, 20), (4, 40)] {
            store.create_order(PaymentRow { expires_at: at(until), ..row(number) }).await.unwrap();
        }
        let (payer, payment) = ("rider".parse().unwrap(), "P3".parse().unwrap());
        store.pay(order_id(3), payer, payment, Fen::new(500), at(5), vec![]).await.unwrap();
        assert_eq!(store.next_expiry().await, Ok(Some(at(10))));
        assert_eq!(store.expired_orders(at(9), 9).await.unwrap(), []);
        assert_eq!(store.expired_orders(at(30), 9).await.unwrap(), [order_id(2), order_id(1)]);
        assert_eq!(store.expired_orders(at(30), 1).await.unwrap(), [order_id(2)]);
        store.close_order(order_id(2), at(10)).await.unwrap();
        assert_eq!(store.expired_orders(at(30), 9).await.unwrap(), [order_id(1)]);
        assert_eq!(store.next_expiry().await, Ok(Some(at(30))));
    })
    .await;
}
