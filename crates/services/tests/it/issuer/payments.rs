//! The payment platform's word at the SP-TSM: signed, taken once, refused with its reason and an incident where
//! it contradicts the order; late, early, doubled and lost words move the money once.

use serde_json::json;
use tsm_api::clearing::evidence::CardQuery;
use tsm_api::client::Transport as _;
use tsm_api::conversation::OutcomeResult;
use tsm_api::ids::{OrderId as WireOrder, PaymentId};
use tsm_api::payment::{Pay, PayChoice, PaymentNotification, PaymentRecord, PaymentSignature, PaymentState};
use tsm_api::problem::{Problem, ProblemCode};
use tsm_api::sp_tsm::wallet::{Operation, OrderRecord, OrderState, TopUpOrder};
use tsm_domain::{DeliveryId, OrderId};
use tsm_services::payment::PlatformState;
use tsm_services::payment_sandbox::Faults;
use tsm_services::payment_sandbox::faults::{Heard, Raced};
use tsm_storage::shared::{Delivery, IncidentFilter, Incidents as _, Outbox as _};

use crate::issuer::city::{City, PURSE};
use crate::issuer::phone::{Phone, request_id, uuid};
use crate::issuer::top_up::opened;
use crate::merchants::{Signer, stamp};

const PAYS: Pay = Pay { choice: PayChoice::Pay };

async fn ordered(phone: &Phone) -> OrderRecord {
    let order = TopUpOrder { request: request_id(), aid: PURSE.into(), amount_fen: 5000 };
    phone.wallet.order_top_up(&order).await.unwrap()
}

fn paid(order: &OrderRecord) -> PaymentNotification {
    PaymentNotification {
        payment: PaymentRecord {
            payment: order.payment.unwrap(),
            order: order.order,
            merchant: "SP-TSM".into(),
            amount_fen: 5000,
            refunded_fen: 0,
            subject: "Transit card top-up".into(),
            state: PaymentState::Paid,
            changed_at: jiff::Timestamp::now(),
            card: None,
        },
    }
}

/// What the SP-TSM says to a notification that `signer` signed.
async fn said(city: &City, signer: &Signer, word: &PaymentNotification) -> Option<ProblemCode> {
    let request = signer.notification("SP-TSM", word, stamp(jiff::Timestamp::now()));
    let reply = city.to_sp.send(request).await.unwrap();
    if reply.status == 200 {
        return None;
    }
    Some(serde_json::from_slice::<Problem>(&reply.body).unwrap().code)
}

/// The kinds of the incidents that the centre was told of, once it has been told of `count`.
async fn incidents_at_the_centre(city: &City, count: usize) -> Vec<String> {
    for _ in 0..20_000 {
        let found = city.centre_store.incidents(IncidentFilter::Open, 100).await.unwrap();
        if found.len() >= count {
            let mut kinds: Vec<_> = found.into_iter().map(|incident| incident.kind).collect();
            kinds.sort_unstable();
            return kinds;
        }
        city.centre_peer(&city.sp_tsm).books().await.unwrap();
    }
    panic!("the centre was not told of {count} incidents");
}

async fn state(phone: &Phone, order: WireOrder) -> OrderState {
    phone.wallet.order(order).await.unwrap().state
}

async fn platform_state(city: &City, payment: PaymentId) -> PaymentState {
    city.payer().show(payment).await.unwrap().state
}

/// Waits until the order has come back.
async fn comes_back(city: &City, payment: PaymentId) {
    for _ in 0..20_000 {
        if platform_state(city, payment).await == PaymentState::Refunded {
            return;
        }
    }
    panic!("the payment never went back");
}

/// Waits until the centre has booked one payment that nobody could use, and its refund.
async fn booked_both_ways(city: &City) {
    for _ in 0..20_000 {
        let books = city.centre_peer(&city.sp_tsm).books().await.unwrap();
        if books.refunded_fen > 0 {
            let kept = (books.in_flight_fen, books.refund_payable_fen, books.purses_fen);
            assert_eq!((books.paid_in_fen, books.refunded_fen, kept), (5000, 5000, (0, 0, 0)));
            return;
        }
    }
    panic!("the centre was never told of the payment and its refund");
}

/// Forged, contradicting and misdirected notifications are refused with a reason, appear among the centre's
/// incidents, and change nothing; the platform's own word counts once.
///
/// req: B-7.4.1.b
#[tokio::test]
async fn forged_and_contradicting_notifications_change_nothing() {
    let city = City::new().await;
    let phone = opened(&city).await;
    let (order, other) = (ordered(&phone).await, ordered(&phone).await);
    let word = paid(&order);
    let platform = city.platform.clone();

    let stranger = Signer::platform(PaymentSignature::Sm2Sm3);
    assert_eq!(said(&city, &stranger, &word).await, Some(ProblemCode::SignatureWrong));
    let replayed = platform.notification("SP-TSM", &paid(&other), stamp(jiff::Timestamp::now()));
    let old = jiff::Timestamp::now() - jiff::SignedDuration::from_secs(600);
    let stale = platform.notification("SP-TSM", &word, stamp(old));
    assert_eq!(city.to_sp.send(stale).await.unwrap().status, 401);
    let changed = |change: &dyn Fn(&mut PaymentRecord)| {
        let mut changed = word.clone();
        change(&mut changed.payment);
        changed
    };
    let cases = [
        (changed(&|payment| payment.merchant = "CINEMA".into()), Some(ProblemCode::NotAllowed)),
        (changed(&|payment| payment.amount_fen = 4999), Some(ProblemCode::AmountRefused)),
        // The platform, which is asked, does not know this order either.
        (changed(&|payment| payment.order = WireOrder(uuid())), Some(ProblemCode::UnknownId)),
        (changed(&|payment| payment.state = PaymentState::Open), None),
        (changed(&|payment| payment.state = PaymentState::PartlyRefunded), None),
    ];
    for (index, (word, expected)) in cases.into_iter().enumerate() {
        assert_eq!(said(&city, &platform, &word).await, expected, "case {index}");
        assert_eq!(state(&phone, order.order).await, OrderState::Unpaid, "case {index}");
    }
    city.to_sp.send(replayed.clone()).await.unwrap();
    assert_eq!(state(&phone, other.order).await, OrderState::Paid);
    assert_eq!(city.to_sp.send(replayed).await.unwrap().status, 401);

    assert_eq!(said(&city, &platform, &word).await, None);
    assert_eq!(state(&phone, order.order).await, OrderState::Paid);
    assert_eq!(said(&city, &platform, &word).await, None, "again");
    // The platform, which is asked, does not know this payment.
    let another = changed(&|payment| payment.payment = PaymentId(uuid()));
    assert_eq!(said(&city, &platform, &another).await, Some(ProblemCode::UnknownId));
    // The header is not signed; it must name the merchant all the same.
    let elsewhere = platform.notification("CINEMA", &word, stamp(jiff::Timestamp::now()));
    assert_eq!(city.to_sp.send(elsewhere).await.unwrap().status, 403);
    let kinds = incidents_at_the_centre(&city, 7).await;
    let card = phone.card_number().await.parse().unwrap();
    for incident in city.centre_store.incidents(IncidentFilter::Open, 100).await.unwrap() {
        let expected = (incident.kind != "payment-unknown-order").then_some(card);
        assert_eq!(incident.card, expected, "{incident:?}");
    }
    let query = CardQuery { card: city.card_number(&phone.card_number().await) };
    let facts = city.centre_peer(&city.sp_tsm).explanation(&query).await.unwrap();
    assert_eq!(facts.incidents.len(), 6, "the card's explanation shows them");
    let expected = [
        "payment-forged",
        "payment-misdirected",
        "payment-replayed",
        "payment-stale",
        "payment-unknown",
        "payment-unknown-order",
        "payment-wrong-amount",
    ];
    assert_eq!(kinds, expected);
    for _ in 0..20_000 {
        let books = city.centre_peer(&city.sp_tsm).books().await.unwrap();
        assert!(books.paid_in_fen <= 10_000, "each order is paid once");
        if books.in_flight_fen == 10_000 {
            return;
        }
    }
    panic!("the payments never reached the centre");
}

/// Puts a message into the SP-TSM's outbox as the release before this one left them there: it asks that a payment
/// go back.
async fn ask_back(city: &City, order: WireOrder, payment: PaymentId) {
    let body = json!({
        "order": order, "payment": payment.to_string(), "refund": uuid(), "amount": 5000,
        "reason": "the order was closed", "report": null,
    });
    let now = jiff::Timestamp::now();
    let delivery = Delivery {
        id: DeliveryId::from_uuid(uuid()),
        to: "payment".into(),
        kind: "refund".into(),
        body: body.to_string(),
        created_at: now,
        due_at: now,
        attempts: 0,
    };
    city.store.put_delivery(delivery).await.unwrap();
}

/// A payment that another order has, on a card or not heard of yet, pays no second order and never goes back
/// because a second order was named with it, wherever that one stands; nor does one that the platform does not
/// know. Each time there is an incident with the card, and nothing is tried again.
///
/// req: B-7.4.1.b
#[tokio::test]
async fn a_payment_of_another_order_neither_pays_nor_goes_back() {
    let hour = 3_600_000;
    let city = City::failing(Faults { notification_delay_ms: hour, ..Faults::default() }).await;
    let mut phone = opened(&city).await;
    let credited = ordered(&phone).await;
    city.payer().pay(credited.payment.unwrap(), &PAYS).await.unwrap();
    assert_eq!(said(&city, &city.platform, &paid(&credited)).await, None);
    let outcome = phone.operate(Operation::TopUp, Some(credited.order)).await;
    assert_eq!(outcome.result, OutcomeResult::Done, "{outcome:?}");
    // Paid, and nobody was told.
    let unheard = ordered(&phone).await;
    city.payer().pay(unheard.payment.unwrap(), &PAYS).await.unwrap();
    let (unpaid, closed, own) = (ordered(&phone).await, ordered(&phone).await, ordered(&phone).await);
    phone.wallet.cancel_order(closed.order).await.unwrap();
    city.payer().pay(own.payment.unwrap(), &PAYS).await.unwrap();
    assert_eq!(said(&city, &city.platform, &paid(&own)).await, None);
    ask_back(&city, closed.order, credited.payment.unwrap()).await;
    ask_back(&city, own.order, unheard.payment.unwrap()).await;
    ask_back(&city, closed.order, PaymentId(uuid())).await;
    for named in [&unpaid, &closed, &own] {
        for payment in [&credited, &unheard] {
            let mut word = paid(named);
            word.payment.payment = payment.payment.unwrap();
            let refused = said(&city, &city.platform, &word).await;
            assert_eq!(refused, Some(ProblemCode::OrderUsed), "{named:?} {payment:?}");
        }
    }
    let kinds = incidents_at_the_centre(&city, 7).await;
    assert_eq!(kinds.iter().filter(|kind| *kind == "payment-of-another-order").count(), 6, "{kinds:?}");
    assert_eq!(kinds.last().map(String::as_str), Some("payment-unknown"));
    let card = phone.card_number().await.parse().unwrap();
    let found = city.centre_store.incidents(IncidentFilter::Open, 100).await.unwrap();
    assert!(found.iter().all(|incident| incident.card == Some(card)), "{found:?}");
    // Nothing waits to be tried again, and nothing went back.
    let later = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
    for _ in 0..20_000 {
        if city.store.due_deliveries(later, 100).await.unwrap().is_empty() {
            break;
        }
        city.centre_peer(&city.sp_tsm).books().await.unwrap();
    }
    assert_eq!(city.store.due_deliveries(later, 100).await.unwrap(), []);
    for payment in [&credited, &unheard, &own] {
        assert_eq!(platform_state(&city, payment.payment.unwrap()).await, PaymentState::Paid);
    }
    assert_eq!(state(&phone, unpaid.order).await, OrderState::Unpaid);
    assert_eq!(phone.balance().await, 5000);
    let books = city.centre_peer(&city.sp_tsm).books().await.unwrap();
    assert_eq!((books.paid_in_fen, books.purses_fen, books.in_flight_fen), (10_000, 5_000, 5_000));
}

/// A cancelled order is closed at the platform too: who pays then is refused, or, where the bank was faster, gets
/// the money back from the platform.
#[tokio::test]
async fn nobody_pays_for_a_cancelled_order() {
    let city = City::new().await;
    let phone = opened(&city).await;
    let order = ordered(&phone).await;
    phone.wallet.cancel_order(order.order).await.unwrap();
    let payment = order.payment.unwrap();
    while platform_state(&city, payment).await == PaymentState::Open {}
    let refused = city.payer().pay(payment, &PAYS).await.unwrap_err();
    assert_eq!(refused.code(), Some(ProblemCode::StateForbids));
    city.sandbox().set_faults(Faults { raced: Raced::TakenAndGivenBack, ..Faults::default() });
    city.payer().pay(payment, &PAYS).await.unwrap();
    comes_back(&city, payment).await;
    assert_eq!(state(&phone, order.order).await, OrderState::Cancelled);
    // The centre books what the platform took and gave back, as the platform's statement will have it.
    booked_both_ways(&city).await;
}

/// A payment that was made before the order was cancelled, and of which nobody had heard, goes back.
#[tokio::test]
async fn a_payment_that_nobody_heard_of_goes_back_when_the_order_is_cancelled() {
    let hour = 3_600_000;
    let city = City::failing(Faults { notification_delay_ms: hour, ..Faults::default() }).await;
    let phone = opened(&city).await;
    let order = ordered(&phone).await;
    let payment = order.payment.unwrap();
    city.payer().pay(payment, &PAYS).await.unwrap();
    assert_eq!(phone.wallet.cancel_order(order.order).await.unwrap().state, OrderState::Cancelled);
    comes_back(&city, payment).await;
    // The word comes at last, and more than once.
    for _ in 0..2 {
        assert_eq!(said(&city, &city.platform, &paid(&order)).await, Some(ProblemCode::OrderUsed));
    }
    assert_eq!(state(&phone, order.order).await, OrderState::Cancelled);
    let queried = city.payment_platform().query(OrderId::from_uuid(order.order.0)).await.unwrap();
    assert_eq!(queried.state, PlatformState::Refunded, "given back once");
    booked_both_ways(&city).await;
}

/// Whatever goes wrong at the platform, one payment is one credit.
///
/// req: B-7.4.1.b
#[tokio::test]
async fn late_early_doubled_and_lost_words_credit_once() {
    let hour = 3_600_000;
    let worlds = [
        Faults { notification_delay_ms: hour, ..Faults::default() },
        Faults { heard: Heard::BeforePayReply, notification_copies: 3, ..Faults::default() },
        Faults { heard: Heard::BeforeCreateReply, notification_copies: 2, ..Faults::default() },
        Faults { lose_every: 2, notification_copies: 2, ..Faults::default() },
        Faults { unknown_for_ms: 10_000, ..Faults::default() },
    ];
    for faults in worlds {
        let city = City::failing(faults.clone()).await;
        let mut phone = opened(&city).await;
        let order = ordered(&phone).await;
        city.payer().pay(order.payment.unwrap(), &PAYS).await.unwrap();
        let operation = tsm_api::sp_tsm::wallet::Operation::TopUp;
        let mut outcome = phone.operate(operation, Some(order.order)).await;
        // A query whose answer was lost is asked again by the next attempt.
        while outcome.problem.as_ref().is_some_and(|said| said.code == ProblemCode::PaymentNotConfirmed) {
            outcome = phone.operate(operation, Some(order.order)).await;
        }
        assert_eq!(outcome.result, tsm_api::conversation::OutcomeResult::Done, "{faults:?}: {outcome:?}");
        assert_eq!(phone.balance().await, 5000, "{faults:?}");
        assert_eq!(city.settled(5000).await.paid_in_fen, 5000, "{faults:?}");
    }
}

/// A cancelled order's payment goes back once, also when the platform's replies are lost.
#[tokio::test]
async fn a_cancelled_payment_goes_back_once() {
    let city = City::failing(Faults { lose_every: 3, ..Faults::default() }).await;
    let phone = opened(&city).await;
    let order = phone.paid_order(&city, 5000).await;
    for _ in 0..20_000 {
        if state(&phone, order).await == OrderState::Paid {
            break;
        }
    }
    phone.wallet.cancel_order(order).await.unwrap();
    comes_back(&city, PaymentId(order.0)).await;
    for _ in 0..20_000 {
        let books = city.centre_peer(&city.sp_tsm).books().await.unwrap();
        if books.refunded_fen == 5000 {
            assert_eq!((books.in_flight_fen, books.refund_payable_fen), (0, 0));
            return;
        }
    }
    panic!("the centre was never told of the refund");
}
