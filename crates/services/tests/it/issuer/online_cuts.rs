//! A payment from a card, cut at every command, every message and every commit of platform and centre: each order
//! debits the card once, the merchant is paid by it once, and the books have it once.

use tsm_api::conversation::{ConversationReply, Outcome, OutcomeResult, TurnRequest};
use tsm_api::ids::PaymentId;
use tsm_api::payment::PaymentState;
use tsm_api::payment::purse::CardChoice;
use tsm_domain::money::PurseStage;
use tsm_storage::memory::Crash;
use tsm_storage::{OnlinePurchases as _, Outbox as _, PaymentStore as _};

use crate::issuer::city::City;
use crate::issuer::online::{booked, converse, loaded, order_of, ordered, pays, request};
use crate::issuer::phone::{Lost, Phone};
use crate::merchants::Tampering;

const FULL: u32 = 10_000;
const FARE: u32 = 100;

/// What the card holds, and that the order is paid.
async fn check(city: &City, phone: &Phone, payment: PaymentId, spent: u32, what: &str) {
    assert_eq!(phone.balance().await, FULL - spent, "{what}");
    phone.reset();
    assert_eq!(city.payer().show(payment).await.unwrap().state, PaymentState::Paid, "{what}");
}

/// The command or its answer is lost at every APDU, and so again in the recovery.
///
/// req: B-7.3.1.a, W-9.3.b
#[tokio::test]
async fn a_payment_torn_at_every_apdu_debits_once() {
    let city = City::new().await;
    let mut phone = loaded(&city, FULL).await;
    let (mut spent, mut cuts) = (0, 0);
    for at in 0..3 {
        for lost in [Lost::Command(at), Lost::Response(at)] {
            for again in 0..3 {
                for torn in [Lost::Command(again), Lost::Response(again)] {
                    cuts += 1;
                    let payment = ordered(&city, FARE).await;
                    (phone.lost, phone.sent) = (lost, 0);
                    let broken = pays(&mut phone, &city, payment).await;
                    assert_eq!(broken.result, OutcomeResult::Unknown, "{lost:?}");
                    (phone.lost, phone.sent) = (torn, 0);
                    let recovery = pays(&mut phone, &city, payment).await;
                    let what = format!("{lost:?}, then {torn:?}: {recovery:?}");
                    assert!(
                        matches!(recovery.result, OutcomeResult::Unknown | OutcomeResult::Done),
                        "{what}"
                    );
                    phone.lost = Lost::Nothing;
                    let done = pays(&mut phone, &city, payment).await;
                    assert_eq!(done.result, OutcomeResult::Done, "{what}: {done:?}");
                    spent += FARE;
                    check(&city, &phone, payment, spent, &what).await;
                }
            }
        }
    }
    booked(&city, (FULL - spent).into(), spent.into()).await;
    println!("{cuts} cut points at APDUs");
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Message {
    /// The reply is lost and the wallet repeats the request.
    Doubled,
    /// The wallet dies before the request.
    NeverSent,
    /// The wallet dies after the request.
    Unanswered,
}

/// Each of the three messages is lost on its way there or back: repeated, or begun anew by a wallet that died.
///
/// req: B-7.3.1.a, W-9.3.d
#[tokio::test]
async fn a_payment_with_every_message_lost_or_doubled_debits_once() {
    let city = City::new().await;
    let mut phone = loaded(&city, FULL).await;
    let (mut spent, mut cuts) = (0, 0);
    for number in 0..3 {
        for message in [Message::Doubled, Message::NeverSent, Message::Unanswered] {
            cuts += 1;
            let payment = ordered(&city, FARE).await;
            let outcome = match carry_until(&mut phone, &city, payment, number, message).await {
                Some(outcome) => outcome,
                None => {
                    phone.reset();
                    pays(&mut phone, &city, payment).await
                }
            };
            spent += FARE;
            let what = format!("message {number}, {message:?}");
            assert_eq!(outcome.result, OutcomeResult::Done, "{what}: {outcome:?}");
            check(&city, &phone, payment, spent, &what).await;
        }
    }
    booked(&city, (FULL - spent).into(), spent.into()).await;
    println!("{cuts} cut points at messages of the wallet");
}

async fn carry_until(
    phone: &mut Phone,
    city: &City,
    payment: PaymentId,
    number: usize,
    message: Message,
) -> Option<Outcome> {
    let platform = city.payer();
    let start = request(CardChoice::Pay);
    if (number, message) == (0, Message::NeverSent) {
        return None;
    }
    let mut reply = platform.pay_from_card(payment, &start).await.unwrap();
    match (number, message) {
        (0, Message::Unanswered) => return None,
        (0, _) => assert_eq!(platform.pay_from_card(payment, &start).await.unwrap(), reply),
        _ => {}
    }
    for turn_number in 1.. {
        let (conversation, request) = match reply {
            ConversationReply::Outcome { outcome, .. } => return Some(outcome),
            ConversationReply::Steps { conversation, turn, steps, .. } => {
                (conversation, phone.carry(turn, &steps, None))
            }
            ConversationReply::Queued { conversation, turn, .. } => {
                (conversation, TurnRequest { turn, ..TurnRequest::default() })
            }
            other => panic!("{other:?}"),
        };
        if turn_number == number && message == Message::NeverSent {
            return None;
        }
        reply = platform.turn(conversation, &request).await.unwrap();
        if turn_number == number {
            if message == Message::Unanswered {
                return None;
            }
            assert_eq!(platform.turn(conversation, &request).await.unwrap(), reply);
        }
    }
    None
}

/// Whether everything about an order has been told.
async fn is_told(city: &City, payment: PaymentId) -> bool {
    let Ok(Some(row)) = city.payment_store.order(order_of(payment)).await else { return false };
    let told = row.debited().is_some_and(|attempt| matches!(attempt.stage, PurseStage::Told(_)));
    told && city.payment_store.next_delivery_at().await == Ok(None)
}

/// The platform dies before and after each commit of a payment, and is started again over its store.
///
/// req: B-7.3.1.a
#[tokio::test]
async fn a_platform_that_dies_at_any_commit_debits_once() {
    let mut city = City::new().await;
    let mut phone = loaded(&city, FULL).await;
    let (mut spent, mut crashes) = (0, 0);
    for commit in 1..=6 {
        for crash in [Crash::BeforeCommit, Crash::AfterCommit] {
            let payment = ordered(&city, FARE).await;
            let faults = city.payment_store.faults().clone();
            faults.crash_at(faults.commits() + commit, crash);
            let platform = city.payer();
            let first = match platform.pay_from_card(payment, &request(CardChoice::Pay)).await {
                Ok(reply) => converse(&mut phone, &platform, reply).await,
                Err(_) => None,
            };
            while !faults.is_down() && !is_told(&city, payment).await {
                tokio::task::yield_now().await;
            }
            let what = format!("commit {commit}, {crash:?}: {first:?}");
            if faults.is_down() {
                crashes += 1;
                city.restart_payment().await;
            }
            faults.restart();
            phone.reset();
            let next = pays(&mut phone, &city, payment).await;
            assert_eq!(next.result, OutcomeResult::Done, "{what}: {next:?}");
            spent += FARE;
            check(&city, &phone, payment, spent, &what).await;
            while !is_told(&city, payment).await {
                tokio::task::yield_now().await;
            }
        }
    }
    assert!(crashes >= 8, "a payment has four commits at least, and only {crashes} crashes happened");
    let card = phone.card_number().await.parse().unwrap();
    assert_eq!(city.payment_store.purse_card(card).await.unwrap().open, None);
    booked(&city, (FULL - spent).into(), spent.into()).await;
    println!("{crashes} crashes at commits of the platform");
}

/// The centre dies before and after it books a notice, and the notice is lost or doubled on its way: it is repeated
/// until the centre has it, and booked once.
///
/// req: B-7.3.1.a
#[tokio::test]
async fn a_notice_reaches_the_books_once_whatever_happens_to_it() {
    let city = City::new().await;
    let mut phone = loaded(&city, FULL).await;
    let (mut spent, mut cuts) = (0, 0);
    let faults = city.centre_store.faults().clone();
    for crash in [Crash::BeforeCommit, Crash::AfterCommit] {
        cuts += 1;
        let payment = ordered(&city, FARE).await;
        faults.crash_at(faults.commits() + 1, crash);
        assert_eq!(pays(&mut phone, &city, payment).await.result, OutcomeResult::Done);
        while !faults.is_down() {
            tokio::task::yield_now().await;
        }
        faults.restart();
        spent += FARE;
        booked(&city, (FULL - spent).into(), spent.into()).await;
        phone.reset();
    }
    for tampering in [Tampering::Cut, Tampering::Status(503), Tampering::Replay] {
        cuts += 1;
        let payment = ordered(&city, FARE).await;
        city.payment_to_centre.tamper_at("/consumptions", tampering.clone());
        assert_eq!(pays(&mut phone, &city, payment).await.result, OutcomeResult::Done, "{tampering:?}");
        spent += FARE;
        booked(&city, (FULL - spent).into(), spent.into()).await;
        while !is_told(&city, payment).await {
            tokio::task::yield_now().await;
        }
        phone.reset();
    }
    assert_eq!(phone.balance().await, FULL - spent);
    println!("{cuts} cut points at the centre and on the way to it");
}
