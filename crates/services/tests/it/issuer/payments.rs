//! The payment platform's word: signed, taken once, refused with its reason where it contradicts the order.

use tsm_api::client::ClientError;
use tsm_api::ids::{OrderId, PaymentId};
use tsm_api::payment::{
    NewPayment, Pay, PayChoice, PaymentNotification, PaymentRecord, PaymentState, Refund,
};
use tsm_api::problem::ProblemCode;
use tsm_api::sp_tsm::wallet::{OrderState, TopUpOrder};

use crate::issuer::city::{City, PURSE};
use crate::issuer::phone::{Phone, request_id, uuid};
use crate::issuer::top_up::opened;

fn code(error: ClientError) -> ProblemCode {
    error.code().unwrap_or_else(|| panic!("{error}"))
}

async fn unpaid(phone: &Phone) -> PaymentNotification {
    let order = TopUpOrder { request: request_id(), aid: PURSE.into(), amount_fen: 5000 };
    let record = phone.wallet.order_top_up(&order).await.unwrap();
    PaymentNotification {
        payment: PaymentRecord {
            payment: record.payment.unwrap(),
            order: record.order,
            amount_fen: 5000,
            subject: "Transit card top-up".into(),
            state: PaymentState::Paid,
            changed_at: jiff::Timestamp::now(),
        },
    }
}

/// Forged, contradicting and misdirected notifications are refused with a reason and change nothing.
///
/// req: B-7.4.1.b
#[tokio::test]
async fn forged_notifications_are_refused_and_change_nothing() {
    let city = City::new().await;
    let phone = opened(&city).await;
    let notification = unpaid(&phone).await;
    let order = notification.payment.order;

    // A partner's certificate and key are not the platform's.
    let refused = city.sp_peer(&city.se_tsm).payment_notification(&notification).await;
    assert_eq!(code(refused.unwrap_err()), ProblemCode::NotAllowed);
    // A stranger's certificate is nobody's.
    let refused = city.sp_peer(&city.gate_operator).payment_notification(&notification).await;
    assert_eq!(code(refused.unwrap_err()), ProblemCode::PeerCertificateRequired);

    let platform = city.sp_peer(&city.payment);
    let changed = |change: &dyn Fn(&mut PaymentRecord)| {
        let mut changed = notification.clone();
        change(&mut changed.payment);
        changed
    };
    let cases = [
        (changed(&|payment| payment.amount_fen = 4999), Some(ProblemCode::AmountRefused)),
        (changed(&|payment| payment.order = OrderId(uuid())), Some(ProblemCode::UnknownId)),
        (changed(&|payment| payment.state = PaymentState::Declined), None),
        (changed(&|payment| payment.state = PaymentState::Open), None),
    ];
    for (index, (notification, expected)) in cases.into_iter().enumerate() {
        let reply = platform.payment_notification(&notification).await;
        assert_eq!(reply.err().map(code), expected, "case {index}");
        assert_eq!(phone.wallet.order(order).await.unwrap().state, OrderState::Unpaid, "case {index}");
    }

    platform.payment_notification(&notification).await.unwrap();
    assert_eq!(phone.wallet.order(order).await.unwrap().state, OrderState::Paid);
    platform.payment_notification(&notification).await.unwrap();
    let another = changed(&|payment| payment.payment = PaymentId(uuid()));
    assert_eq!(code(platform.payment_notification(&another).await.unwrap_err()), ProblemCode::OrderUsed);
    for _ in 0..20_000 {
        let books = city.centre_peer(&city.sp_tsm).books().await.unwrap();
        assert!(books.paid_in_fen <= 5000, "paid once");
        if books.in_flight_fen == 5000 {
            return;
        }
    }
    panic!("the payment never reached the centre");
}

/// A payment for an order that was closed meanwhile goes back.
#[tokio::test]
async fn a_payment_that_comes_too_late_goes_back() {
    let city = City::new().await;
    let phone = opened(&city).await;
    let order = TopUpOrder { request: request_id(), aid: PURSE.into(), amount_fen: 5000 };
    let record = phone.wallet.order_top_up(&order).await.unwrap();
    phone.wallet.cancel_order(record.order).await.unwrap();
    let payment = record.payment.unwrap();
    city.payer().pay(payment, &Pay { choice: PayChoice::Pay }).await.unwrap();
    for _ in 0..20_000 {
        if city.payer().show(payment).await.unwrap().state == PaymentState::Refunded {
            assert_eq!(phone.wallet.order(record.order).await.unwrap().state, OrderState::Cancelled);
            return;
        }
    }
    panic!("the payment never went back");
}

#[tokio::test]
async fn payments_are_created_paid_declined_and_refunded_once() {
    let city = City::new().await;
    let merchant = city.payment_peer(&city.sp_tsm);
    let new = NewPayment { order: OrderId(uuid()), amount_fen: 700, subject: "A test".into() };
    let created = merchant.create(&new).await.unwrap();
    assert_eq!(merchant.create(&new).await.unwrap(), created, "the same order, the same payment");
    let other_amount = NewPayment { amount_fen: 701, ..new.clone() };
    assert_eq!(code(merchant.create(&other_amount).await.unwrap_err()), ProblemCode::StateForbids);
    let nothing = NewPayment { order: OrderId(uuid()), amount_fen: 0, subject: String::new() };
    assert_eq!(code(merchant.create(&nothing).await.unwrap_err()), ProblemCode::ValueRefused);

    let refund = Refund { amount_fen: 700, reason: "a test".into() };
    let refused = merchant.refund(created.payment, &refund).await.unwrap_err();
    assert_eq!(code(refused), ProblemCode::StateForbids, "nothing was paid");
    let pay = Pay { choice: PayChoice::Pay };
    assert_eq!(city.payer().pay(created.payment, &pay).await.unwrap().state, PaymentState::Paid);
    assert_eq!(city.payer().pay(created.payment, &pay).await.unwrap().state, PaymentState::Paid);
    let decline = Pay { choice: PayChoice::Decline };
    let late = city.payer().pay(created.payment, &decline).await.unwrap_err();
    assert_eq!(code(late), ProblemCode::StateForbids);
    assert_eq!(merchant.query(created.payment).await.unwrap().state, PaymentState::Paid);
    for _ in 0..2 {
        let refunded = merchant.refund(created.payment, &refund).await.unwrap();
        assert_eq!(refunded.state, PaymentState::Refunded);
    }
    let more = Refund { amount_fen: 1, reason: "more".into() };
    let again = merchant.refund(created.payment, &more).await;
    assert!(again.is_err() || again.unwrap().state == PaymentState::Refunded, "one refund for one payment");

    let other = merchant.create(&NewPayment { order: OrderId(uuid()), ..new }).await.unwrap();
    assert_eq!(city.payer().pay(other.payment, &decline).await.unwrap().state, PaymentState::Declined);
    let refused = city.payer().pay(other.payment, &pay).await.unwrap_err();
    assert_eq!(code(refused), ProblemCode::StateForbids);
}
