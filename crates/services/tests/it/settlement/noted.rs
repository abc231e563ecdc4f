//! What is refused or settled without anybody stands in the view once, and ends by itself where the books tell how.

use tsm_api::HexBytes;
use tsm_api::clearing::card_incidents::{CardIncident, CardIncidentKind};
use tsm_api::clearing::closing::{ClosingPurpose, ReleaseClaim};
use tsm_api::clearing::settlement::{self as api, ActionKind, DifferenceRecord};
use tsm_api::clearing::{Consumption, ConsumptionReport};
use tsm_api::endpoint::Nothing;
use tsm_api::ids::OrderId;
use tsm_api::problem::ProblemCode;
use tsm_domain::environment::Clock as _;
use tsm_epurse::DateTime;
use tsm_epurse::commands::PurchaseKind;
use tsm_storage::ClearingStore as _;
use tsm_storage::memory::MemoryClearing;
use tsm_storage::shared::{IncidentFilter, Incidents as _};
use uuid::Uuid;

use super::suspicions::Looks as _;
use super::world::{World, report};
use crate::centre_closing::{begin, claim, operation, parked};
use crate::purse_card::{PurseCard, TERMINAL};

type Memory = World<MemoryClearing>;

const FIRST: [u8; 8] = [0x10, 0, 0, 0, 0, 0, 0, 2];
const SECOND: [u8; 8] = [0x10, 0, 0, 0, 0, 0, 0, 3];

async fn list(world: &Memory, state: Option<&str>) -> Vec<DifferenceRecord> {
    let query = api::DifferenceQuery { state: state.map(str::to_owned), ..Default::default() };
    world.client(&world.desk).call(&api::DIFFERENCES, &[], &query).await.unwrap().differences
}

fn lines(all: &[DifferenceRecord]) -> Vec<(&str, &str, Option<u64>)> {
    all.iter().map(|one| (one.cause.as_str(), one.state.as_str(), one.theirs_fen)).collect()
}

async fn consume(world: &Memory, taps: Vec<Consumption>) {
    let taps = ConsumptionReport { terminal: HexBytes(TERMINAL.to_vec()), transactions: taps };
    world.peer(&world.metro).consumption(&taps).await.unwrap();
}

/// The gate's clock, in Beijing; the world's begins at noon.
fn at(hour: u8, minute: u8) -> ([u8; 6], DateTime) {
    (TERMINAL, DateTime::from_calendar((2026, 11, 20), (hour, minute, 0)).unwrap())
}

/// Two secure elements claim one parked card: the second is refused and stands in the view with both, once, however
/// often it asks; the first that asks again is no second. When the claim has come to its end, so has the line.
#[tokio::test]
async fn the_second_claim_of_a_parked_card_is_in_the_view() {
    let world = World::on(MemoryClearing::new()).await;
    let mut card = world.card(1).await;
    world.top_up(&mut card, 1, 5_000).await;
    let issuer = world.peer(&world.city);
    issuer.park(&parked(&card, 7, ClosingPurpose::Migration)).await.unwrap();
    for _ in 0..2 {
        issuer.claim_parked(&claim(&card, FIRST, 8)).await.unwrap();
    }
    // The same phone, which has forgotten its claim.
    issuer.claim_parked(&claim(&card, FIRST, 9)).await.unwrap();
    world.centre.work().await;
    assert_eq!(list(&world, Some("waiting")).await, []);
    for number in [10, 10, 11] {
        let refused = issuer.claim_parked(&claim(&card, SECOND, number)).await.unwrap_err();
        assert_eq!(refused.code(), Some(ProblemCode::BoundElsewhere));
    }
    world.centre.work().await;
    let all = list(&world, Some("waiting")).await;
    assert_eq!(lines(&all), [("claimed_twice", "waiting", Some(5_000))]);
    let line = &all[0];
    assert_eq!(line.card, Some(card.wire()));
    for word in ["1000000000000003 claimed", "for 1000000000000002", "2026-11-20T04:00:00Z"] {
        assert!(line.text.contains(word), "{word}: {}", line.text);
    }
    assert!(!line.cause_zh.is_empty() && !line.proposal_en.is_empty());
    let books = issuer.books().await.unwrap();
    assert_eq!((books.parked_fen, books.purses_fen), (5_000, 0));

    let se_id = HexBytes(FIRST.to_vec());
    let release = ReleaseClaim { card: card.wire(), se_id, operation: operation(9) };
    issuer.release_claim(&release).await.unwrap();
    world.centre.work().await;
    assert_eq!(list(&world, Some("waiting")).await, []);
    assert_eq!(lines(&list(&world, None).await), [("claimed_twice", "explained", Some(5_000))]);
    // The claim of the second is good now.
    issuer.claim_parked(&claim(&card, SECOND, 12)).await.unwrap();
}

/// A gate takes money after the return has begun and before the block: the purchase is booked, and the view says so
/// with card, terminal, amount and return until the parking accounts for it. One from the very second in
/// which it begins, or from before, is any purchase.
#[tokio::test]
async fn a_tap_between_the_begin_and_the_reading_of_a_return_is_noted_once() {
    let world = World::on(MemoryClearing::new()).await;
    let mut card = world.card(1).await;
    world.top_up(&mut card, 1, 5_000).await;
    let issuer = world.peer(&world.city);
    let before = card.pay_at(PurchaseKind::Simple, 100, at(12, 0));
    issuer.begin_closing(&begin(&card, 7, ClosingPurpose::Return)).await.unwrap();
    let during = card.pay_at(PurchaseKind::Simple, 200, at(12, 1));
    let entry = card.pay_at(PurchaseKind::Composite, 0, at(12, 2));
    let late = card.pay_at(PurchaseKind::Simple, 300, at(12, 3));
    consume(&world, vec![before, during.clone()]).await;
    world.centre.work().await;
    let waiting = list(&world, Some("waiting")).await;
    assert_eq!(lines(&waiting), [("tap_during_return", "waiting", Some(200))]);
    assert_eq!(waiting[0].card, Some(card.wire()));
    let return_7 = operation(7).0.to_string();
    for word in ["099900000042", "2.00 yuan", return_7.as_str(), "2026-11-20T04:00:00Z"] {
        assert!(waiting[0].text.contains(word), "{word}: {}", waiting[0].text);
    }
    issuer.park(&parked(&card, 7, ClosingPurpose::Return)).await.unwrap();
    consume(&world, vec![during, entry, late.clone(), late]).await;
    world.centre.work().await;
    assert_eq!(list(&world, Some("waiting")).await, [], "nobody is asked to do anything");
    let mut all = list(&world, None).await;
    all.sort_by_key(|one| one.theirs_fen);
    let expected =
        [("tap_during_return", "explained", Some(200)), ("tap_during_return", "explained", Some(300))];
    assert_eq!(lines(&all), expected);
    let books = issuer.books().await.unwrap();
    assert_eq!((books.parked_fen, books.spent_fen, books.purses_fen), (4_400, 600, 0));
    world.store.compare().await;
}

fn told(number: u128, kind: CardIncidentKind, card: &PurseCard, world: &Memory) -> CardIncident {
    CardIncident {
        incident: Uuid::from_u128(number),
        kind,
        card: card.wire(),
        order: Some(OrderId(report(3, card, 1).order.0)),
        amount_fen: Some(700),
        text: "as it was said".into(),
        at: world.clock.now(),
    }
}

/// What the issuer refused stands in the view with card, order and amount, once, moves nothing and freezes nothing;
/// an order that was asked back in doubt ends with what the card turned out to have done, and the rest with two people.
#[tokio::test]
async fn the_issuers_word_of_what_a_phone_tried_is_in_the_view() {
    let world = World::on(MemoryClearing::new()).await;
    let mut card = world.card(1).await;
    let issuer = world.peer(&world.city);
    issuer.payment(&report(3, &card, 700)).await.unwrap();
    let kinds = [
        CardIncidentKind::ProofMissing,
        CardIncidentKind::CancelInDoubt,
        CardIncidentKind::CreditAfterCancel,
        CardIncidentKind::ClaimedTwice,
    ];
    for (number, kind) in (1..).zip(kinds) {
        let one = told(number, kind, &card, &world);
        for _ in 0..2 {
            issuer.card_incident(&one).await.unwrap();
        }
        let metro = world.peer(&world.metro).card_incident(&one).await.unwrap_err();
        assert!(metro.code().is_some(), "another institution says nothing of the issuer's cards");
        let long = CardIncident { text: "x".repeat(501), ..one };
        assert_eq!(issuer.card_incident(&long).await.unwrap_err().code(), Some(ProblemCode::ValueRefused));
    }
    world.centre.work().await;
    let mut open = list(&world, Some("open")).await;
    open.sort_by(|a, b| a.cause.cmp(&b.cause));
    let expected = [("credit_after_cancel", "open", Some(700)), ("proof_missing", "open", Some(700))];
    assert_eq!(lines(&open), expected);
    assert!(open.iter().all(|one| one.card == Some(card.wire()) && one.text == "CITY: as it was said"));
    let waiting = list(&world, Some("waiting")).await;
    assert_eq!(lines(&waiting), [("cancel_in_doubt", "waiting", Some(700))]);
    assert_eq!(waiting[0].reference, Some(report(3, &card, 1).order.0));
    let account = world.store.account(card.number).await.unwrap().unwrap();
    assert_eq!(account.account.freeze, None);
    assert_eq!(world.store.incidents(IncidentFilter::Open, 10).await.unwrap(), []);
    assert_eq!(issuer.books().await.unwrap().in_flight_fen, 700);

    // The card's next contact: it had the money.
    issuer.credit(&card.load(3, 700)).await.unwrap();
    world.centre.work().await;
    let explained = list(&world, Some("explained")).await;
    let ended = explained.iter().find(|one| one.cause == "cancel_in_doubt").unwrap();
    assert!(ended.text.ends_with("as it was said; the card had taken it in, and it was credited once"));
    let id = open[1].difference.to_string();
    let note = "the rider's phone was examined".to_owned();
    let proposal = api::NewProposal { action: ActionKind::Book, card: None, note };
    let (ann, bob) = (world.person(&world.desk, "ann").await, world.person(&world.desk, "bob").await);
    assert!(ann.call(&api::PROPOSE, &[&id], &proposal).await.is_err(), "there is nothing to book");
    let proposal = api::NewProposal { action: ActionKind::Ignore, ..proposal };
    ann.call(&api::PROPOSE, &[&id], &proposal).await.unwrap();
    assert_eq!(bob.call(&api::APPROVE, &[&id], &Nothing {}).await.unwrap().state, "resolved");
    world.store.compare().await;
}

/// The card proved that it had nothing, and the order was cancelled: that ends the doubt, too.
#[tokio::test]
async fn a_doubt_ends_with_the_cancellation() {
    let world = World::on(MemoryClearing::new()).await;
    let card = world.card(1).await;
    let issuer = world.peer(&world.city);
    issuer.payment(&report(3, &card, 700)).await.unwrap();
    issuer.card_incident(&told(1, CardIncidentKind::CancelInDoubt, &card, &world)).await.unwrap();
    issuer.cancellation(&report(3, &card, 700)).await.unwrap();
    world.centre.work().await;
    let explained = list(&world, Some("explained")).await;
    assert_eq!(lines(&explained), [("cancel_in_doubt", "explained", Some(700))]);
    assert!(explained[0].text.ends_with("the card had not taken it in, and it goes back"));
}
