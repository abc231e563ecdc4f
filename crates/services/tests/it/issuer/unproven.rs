//! A shop's order whose end nobody saw: its rider does not come back, or a till has charged the card since, so that it
//! cannot prove the debit any more. After a day the centre hears of it without a TAC; the till's report, the card's
//! issuer or two people decide, and the platform follows.

use tsm_api::HexBytes;
use tsm_api::clearing::settlement::{self as api, ActionKind, DifferenceRecord};
use tsm_api::clearing::{Consumption, ConsumptionReport, ConsumptionVerdict};
use tsm_api::conversation::{ConversationReply, OutcomeResult};
use tsm_api::endpoint::Nothing;
use tsm_api::ids::PaymentId;
use tsm_api::payment::PaymentState;
use tsm_api::payment::purse::{CardChoice, CardOffer};
use tsm_api::problem::ProblemCode;
use tsm_api::sp_tsm::wallet::Operation;
use tsm_domain::money::PurseStage;
use tsm_storage::PaymentStore as _;
use tsm_storage::shared::{Delivery, IncidentFilter, Incidents as _, Outbox as _};

use crate::issuer::city::{City, GATE};
use crate::issuer::freezes::person;
use crate::issuer::online::{
    PRICE, booked, bought_elsewhere, chosen, loaded, order_of, ordered, paid, pays, request, to_the_debit,
};
use crate::issuer::phone::{Lost, Phone, command_of};

const FULL: u32 = 5_000;
const INITIALIZE: u8 = 0x50;
const GET_TRANSACTION_PROOF: u8 = 0x5A;

async fn stage(city: &City, payment: PaymentId) -> PurseStage {
    let row = city.payment_store.order(order_of(payment)).await.unwrap().unwrap();
    row.purse.unwrap().attempts().first().unwrap().stage
}

/// The card is debited, and the platform dies before it has stored the answer.
async fn debited_and_forgotten(city: &mut City, phone: &mut Phone, payment: PaymentId) {
    let platform = city.payer();
    let reply = platform.pay_from_card(payment, &request(CardChoice::Pay)).await.unwrap();
    let (conversation, turn, debit) = to_the_debit(phone, &platform, reply).await;
    let answer = phone.carry(turn, &debit, None);
    city.restart_payment().await;
    let reply = city.payer().turn(conversation, &answer).await.unwrap();
    assert!(matches!(reply, ConversationReply::Restart { .. }), "{reply:?}");
    phone.reset();
}

/// A till charges the card, and the rider comes back to the shop's order: its proof is gone.
async fn charged_and_back(city: &City, phone: &mut Phone, payment: PaymentId) -> Consumption {
    let tap = bought_elsewhere(city, phone, 300).await;
    for choice in [CardChoice::Pay, CardChoice::GiveUp] {
        phone.reset();
        let outcome = chosen(phone, city, payment, choice).await;
        assert_eq!(outcome.result, OutcomeResult::Unknown, "{outcome:?}");
        assert_eq!(outcome.problem.unwrap().code, ProblemCode::OutcomeUnknown);
    }
    phone.reset();
    assert_eq!(city.payer().show(payment).await.unwrap().card, Some(CardOffer::Unknown));
    tap
}

async fn till_reports(city: &City, tap: Consumption) {
    let report = ConsumptionReport { terminal: HexBytes(GATE.to_vec()), transactions: vec![tap] };
    let receipt = city.centre_peer(&city.gate_operator).consumption(&report).await.unwrap();
    assert_eq!(receipt.verdicts, [ConsumptionVerdict::Recorded]);
}

async fn listed(city: &City, state: &str) -> Vec<DifferenceRecord> {
    city.centre().work().await;
    let query = api::DifferenceQuery {
        state: Some(state.into()),
        cause: Some("unproven".into()),
        ..Default::default()
    };
    person(city, "ann").await.call(&api::DIFFERENCES, &[], &query).await.unwrap().differences
}

/// The one that is listed, once a day has passed and the centre has heard of it.
async fn the_unproven(city: &mut City) -> DifferenceRecord {
    assert!(listed(city, "open").await.is_empty(), "nobody is told before");
    a_day_passes(city).await;
    for _ in 0..20_000 {
        if let Some(one) = listed(city, "open").await.pop() {
            return one;
        }
    }
    panic!("the centre never heard of the purchase");
}

async fn resolve(city: &City, one: &DifferenceRecord, action: ActionKind) {
    let id = one.difference.to_string();
    let note = "the shop has shown its receipt".to_owned();
    let proposal = api::NewProposal { action, card: None, note };
    person(city, "ann").await.call(&api::PROPOSE, &[&id], &proposal).await.unwrap();
    person(city, "bob").await.call(&api::APPROVE, &[&id], &Nothing {}).await.unwrap();
}

/// The attempts that are watched.
async fn watched(city: &City) -> Vec<Delivery> {
    let due = city.payment_store.due_deliveries(jiff::Timestamp::MAX, 9).await.unwrap();
    due.into_iter().filter(|delivery| delivery.kind == "purchase-watch").collect()
}

/// What is watched is due.
async fn a_day_passes(city: &mut City) {
    for watch in watched(city).await {
        city.payment_store.postpone_delivery(watch.id, jiff::Timestamp::UNIX_EPOCH).await.unwrap();
    }
    city.restart_payment().await;
}

/// Time passes, and the platform asks the centre again until it has followed it.
async fn follows(city: &mut City) {
    for _ in 0..1_000 {
        if watched(city).await.is_empty() {
            return;
        }
        a_day_passes(city).await;
    }
    panic!("the platform never followed the centre");
}

/// Two people book it: the merchant is paid, the money moves once, and the rider hears it, whether he comes to the shop
/// first or the platform asks first. Nothing is closed or paid otherwise before.
///
/// req: B-7.3.1.a
#[tokio::test]
async fn two_people_book_it_and_the_shop_is_paid() {
    for rider_comes_first in [false, true] {
        let mut city = City::new().await;
        let mut phone = loaded(&city, FULL).await;
        let payment = ordered(&city, PRICE).await;
        debited_and_forgotten(&mut city, &mut phone, payment).await;
        let tap = charged_and_back(&city, &mut phone, payment).await;
        till_reports(&city, tap).await;
        let one = the_unproven(&mut city).await;
        assert_eq!((one.theirs_fen, one.ours_fen), (Some(PRICE.into()), None));
        booked(&city, (FULL - 300).into(), 300).await;
        assert_eq!(stage(&city, payment).await, PurseStage::Unproven, "unknown stays unknown");

        resolve(&city, &one, ActionKind::Book).await;
        if !rider_comes_first {
            follows(&mut city).await;
            assert_eq!(city.payer().show(payment).await.unwrap().state, PaymentState::Paid);
        }
        assert_eq!(pays(&mut phone, &city, payment).await.detail, paid(PRICE, FULL - PRICE, 1));
        assert_eq!(stage(&city, payment).await, PurseStage::Booked);
        follows(&mut city).await;
        let left = FULL - 300 - PRICE;
        booked(&city, left.into(), (300 + PRICE).into()).await;
        // The card is free for the next order, and what it holds is what the books say.
        phone.reset();
        let next = ordered(&city, 100).await;
        assert_eq!(pays(&mut phone, &city, next).await.detail, paid(100, left - 100, 3));
        booked(&city, (left - 100).into(), (400 + PRICE).into()).await;
        assert!(listed(&city, "open").await.is_empty());
    }
}

/// Two people dismiss it: the order is open again and can be given up; nothing moves.
///
/// req: B-7.3.1.a
#[tokio::test]
async fn two_people_dismiss_it_and_the_order_is_free() {
    let mut city = City::new().await;
    let mut phone = loaded(&city, FULL).await;
    let payment = ordered(&city, PRICE).await;
    debited_and_forgotten(&mut city, &mut phone, payment).await;
    let tap = charged_and_back(&city, &mut phone, payment).await;
    till_reports(&city, tap).await;
    let one = the_unproven(&mut city).await;
    resolve(&city, &one, ActionKind::Ignore).await;
    follows(&mut city).await;
    assert_eq!(stage(&city, payment).await, PurseStage::NotDebited);
    phone.reset();
    assert_eq!(chosen(&mut phone, &city, payment, CardChoice::GiveUp).await.result, OutcomeResult::Done);
    assert_eq!(city.payer().show(payment).await.unwrap().state, PaymentState::Closed);
    booked(&city, (FULL - 300).into(), 300).await;
}

/// MAC1 never reached the card, and the purchase that the card counts is the till's: its report ends what was listed,
/// and the order is paid anew.
///
/// req: B-7.3.1.a
#[tokio::test]
async fn the_tills_report_ends_it() {
    let mut city = City::new().await;
    let mut phone = loaded(&city, FULL).await;
    let payment = ordered(&city, PRICE).await;
    (phone.lost, phone.sent) = (Lost::Command(2), 0);
    assert_eq!(pays(&mut phone, &city, payment).await.result, OutcomeResult::Unknown);
    phone.lost = Lost::Nothing;
    let tap = charged_and_back(&city, &mut phone, payment).await;
    assert_eq!(the_unproven(&mut city).await.theirs_fen, Some(PRICE.into()));
    till_reports(&city, tap).await;
    assert!(listed(&city, "open").await.is_empty());
    assert_eq!(listed(&city, "explained").await.len(), 1);
    follows(&mut city).await;
    assert_eq!(stage(&city, payment).await, PurseStage::NotDebited);
    assert_eq!(pays(&mut phone, &city, payment).await.detail, paid(PRICE, FULL - 300 - PRICE, 2));
    booked(&city, (FULL - 300 - PRICE).into(), (300 + PRICE).into()).await;
}

/// The rider does not come back to the shop, and has dealings with his card's issuer: it asks the card for the proof
/// that the centre misses, and the shop is paid.
///
/// req: B-7.3.1.a
#[tokio::test]
async fn the_cards_issuer_finds_the_proof() {
    let mut city = City::new().await;
    let mut phone = loaded(&city, FULL).await;
    let payment = ordered(&city, PRICE).await;
    debited_and_forgotten(&mut city, &mut phone, payment).await;
    assert_eq!(phone.operate(Operation::Synchronise, None).await.result, OutcomeResult::Done);
    booked(&city, FULL.into(), 0).await;
    the_unproven(&mut city).await;
    phone.reset();
    assert_eq!(phone.operate(Operation::Synchronise, None).await.result, OutcomeResult::Done);
    booked(&city, (FULL - PRICE).into(), PRICE.into()).await;
    assert!(listed(&city, "open").await.is_empty());
    follows(&mut city).await;
    assert_eq!(stage(&city, payment).await, PurseStage::Booked);
    assert_eq!(city.payer().show(payment).await.unwrap().state, PaymentState::Paid);
}

/// An attempt that a contact settles is not watched any more, and the centre hears nothing of it but the debit.
#[tokio::test]
async fn what_the_card_settles_is_watched_no_more() {
    let mut city = City::new().await;
    let mut phone = loaded(&city, FULL).await;
    let payment = ordered(&city, PRICE).await;
    (phone.lost, phone.sent) = (Lost::Command(2), 0);
    assert_eq!(pays(&mut phone, &city, payment).await.result, OutcomeResult::Unknown);
    phone.lost = Lost::Nothing;
    assert_eq!(watched(&city).await.len(), 1);
    phone.reset();
    assert_eq!(chosen(&mut phone, &city, payment, CardChoice::GiveUp).await.result, OutcomeResult::Done);
    assert_eq!(watched(&city).await, []);
    let next = ordered(&city, PRICE).await;
    phone.reset();
    assert_eq!(pays(&mut phone, &city, next).await.detail, paid(PRICE, FULL - PRICE, 1));
    assert_eq!(watched(&city).await, []);
    city.restart_payment().await;
    booked(&city, (FULL - PRICE).into(), PRICE.into()).await;
    assert!(listed(&city, "open").await.is_empty() && listed(&city, "explained").await.is_empty());
}

/// A day later the phone hides the proof and says that the card stands where it stood. Nothing proves that, so that the
/// platform gives the attempt up, lets the rider close the order, and still hears what the card's issuer finds: the
/// money is spent, and somebody has to see to it.
///
/// req: B-7.3.1.a
#[tokio::test]
async fn what_a_phone_said_does_not_end_the_watch() {
    let mut city = City::new().await;
    let mut phone = loaded(&city, FULL).await;
    let payment = ordered(&city, PRICE).await;
    debited_and_forgotten(&mut city, &mut phone, payment).await;
    the_unproven(&mut city).await;
    let platform = city.payer();
    let mut reply = platform.pay_from_card(payment, &request(CardChoice::GiveUp)).await.unwrap();
    let outcome = loop {
        let (conversation, turn, steps) = match reply {
            ConversationReply::Outcome { outcome, .. } => break outcome,
            ConversationReply::Steps { conversation, turn, steps, .. } => (conversation, turn, steps),
            other => panic!("{other:?}"),
        };
        let mut lied = phone.carry(turn, &steps, None);
        for (step, response) in steps.iter().zip(&mut lied.responses) {
            match command_of(step).0.ins {
                GET_TRANSACTION_PROOF => *response = HexBytes(vec![0x94, 0x06]),
                INITIALIZE => response.0[4..6].fill(0),
                _ => {}
            }
        }
        reply = platform.turn(conversation, &lied).await.unwrap();
    };
    assert_eq!(outcome.result, OutcomeResult::Done, "{outcome:?}");
    assert_eq!(stage(&city, payment).await, PurseStage::NotDebited);
    assert_eq!(watched(&city).await.len(), 1, "the centre may still find it");
    phone.reset();
    assert_eq!(phone.operate(Operation::Synchronise, None).await.result, OutcomeResult::Done);
    booked(&city, (FULL - PRICE).into(), PRICE.into()).await;
    follows(&mut city).await;
    assert_eq!(stage(&city, payment).await, PurseStage::Booked);
    assert_eq!(city.payer().show(payment).await.unwrap().state, PaymentState::Closed);
    let open = city.payment_store.incidents(IncidentFilter::Open, 9).await.unwrap();
    assert_eq!(open.iter().map(|one| one.kind.as_str()).collect::<Vec<_>>(), ["debited-for-nothing"]);
}
