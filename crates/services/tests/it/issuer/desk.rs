//! The issuer's halls and customer service: cash that is paid out, cards that are lost and unlocked, claims of
//! phones that are gone.

use tsm_api::HexBytes;
use tsm_api::clearing::evidence::ReceiptQuery;
use tsm_api::clearing::lists::{WireListKind, WireListReason, WireStanding};
use tsm_api::client::ClientError;
use tsm_api::conversation::{OutcomeDetail, OutcomeResult, RefundStanding};
use tsm_api::ids::OperationId;
use tsm_api::problem::ProblemCode;
use tsm_api::sp_tsm::desk::{CardMatter, CasesQuery, DeskMatterKind, DeskState, LostCard, PayoutState};
use tsm_api::sp_tsm::migration::MigrationState;
use tsm_api::sp_tsm::peer::{LossStanding, SeLoss};
use tsm_api::sp_tsm::wallet::{Operation, TopUpOrder};
use tsm_storage::SpTsmStore as _;
use tsm_storage::memory::Crash;

use crate::issuer::cash::{Field, Station, opened};
use crate::issuer::city::{City, PURSE};
use crate::issuer::migrating_in::{live, parked, state};
use crate::issuer::phone::{Lost, Phone, installed, request_id, uuid};
use crate::issuer::returning::books_where;

fn code<T: std::fmt::Debug>(result: Result<T, ClientError>) -> ProblemCode {
    result.unwrap_err().code().unwrap()
}

fn matter(card: &HexBytes) -> CardMatter {
    CardMatter { request: request_id(), card: card.clone(), reason: "as seen".into() }
}

/// A returned card with 1000 fen paid online and 4000 in cash.
pub async fn returned(city: &City) -> HexBytes {
    let mut phone = opened(city).await;
    let mut station = Station::new(city, 0x51);
    station.insert(&mut Field::of(&phone, Lost::Nothing), 4_000, None).await;
    phone.top_up(city, 1_000).await;
    city.settled(5_000).await;
    let card = city.card_number(&phone.card_number().await);
    let outcome = phone.operate(Operation::Return, None).await;
    let detail = OutcomeDetail::Returned {
        balance_fen: 5_000,
        to_payments_fen: 1_000,
        at_hall_fen: 4_000,
        standing: RefundStanding::OnItsWay,
    };
    assert_eq!((outcome.result, outcome.detail), (OutcomeResult::Done, detail));
    books_where(city, |books| books.refunded_fen == 1_000).await;
    card
}

/// Two people pay out what came in cash, once; the centre books it, and its receipt says so.
///
/// req: B-7.5.1.c
#[tokio::test]
async fn a_hall_pays_out_what_came_in_cash_once() {
    let city = City::new().await;
    let desk = city.at_desk();
    let card = returned(&city).await;
    for (name, expected) in [
        ("service-1", ProblemCode::NotAllowed),
        ("root-1", ProblemCode::NotAllowed),
        ("nobody", ProblemCode::SessionRequired),
    ] {
        assert_eq!(code(desk.by(name).propose_payout(&matter(&card)).await), expected, "{name}");
    }
    let unreasoned = CardMatter { reason: "  ".into(), ..matter(&card) };
    assert_eq!(code(desk.by("hall-1").propose_payout(&unreasoned).await), ProblemCode::ValueRefused);

    let proposed = desk.by("hall-1").propose_payout(&matter(&card)).await.unwrap();
    assert_eq!((proposed.amount_fen, proposed.state), (4_000, PayoutState::Proposed));
    assert!(proposed.card_number.contains('*'));
    let again = desk.by("hall-2").propose_payout(&matter(&card)).await.unwrap();
    assert_eq!(again, proposed, "one refund has one payout");
    let payout = proposed.payout;
    assert_eq!(code(desk.by("hall-1").approve_payout(payout).await), ProblemCode::FourEyes);
    assert_eq!(code(desk.by("service-1").approve_payout(payout).await), ProblemCode::NotAllowed);
    let unknown = OperationId(uuid());
    assert_eq!(code(desk.by("hall-2").approve_payout(unknown).await), ProblemCode::UnknownId);
    city.to_centre.leads_nowhere();
    let refused = desk.by("hall-2").approve_payout(payout).await;
    assert!(refused.is_err(), "nothing is paid out that the centre does not owe");
    city.restore_centre();
    assert_eq!(desk.by("hall-1").payout(payout).await.unwrap().state, PayoutState::Proposed);

    for _ in 0..2 {
        let paid = desk.by("hall-2").approve_payout(payout).await.unwrap();
        assert_eq!((paid.state, paid.amount_fen), (PayoutState::Booked, 4_000));
        assert_eq!((paid.proposed_by.as_str(), paid.decided_by.as_deref()), ("hall-1", Some("hall-2")));
    }
    let books = books_where(&city, |books| books.refunded_fen == 5_000).await;
    assert_eq!((books.refund_payable_fen, books.parked_fen, books.cash_in_fen), (0, 0, 4_000));
    assert_eq!(code(desk.by("hall-1").reject_payout(payout).await), ProblemCode::StateForbids);
    assert_eq!(desk.by("hall-1").propose_payout(&matter(&card)).await.unwrap().state, PayoutState::Booked);
    let query = ReceiptQuery { card: card.clone(), after: 0 };
    let receipts = city.centre_peer(&city.sp_tsm).receipts(&query).await.unwrap().receipts;
    assert!(!receipts.is_empty(), "the rider gets the centre's receipt");
    let cases = desk.by("hall-1").cases(&CasesQuery { card }).await.unwrap().cases;
    assert_eq!(cases.len(), 1);
    assert_eq!((cases[0].matter, cases[0].state), (DeskMatterKind::Payout, DeskState::Done));
}

/// A rejected payout pays nothing, and another may be proposed.
#[tokio::test]
async fn a_rejected_payout_pays_nothing() {
    let city = City::new().await;
    let desk = city.at_desk();
    let card = returned(&city).await;
    let first = desk.by("hall-1").propose_payout(&matter(&card)).await.unwrap();
    let rejected = desk.by("hall-2").reject_payout(first.payout).await.unwrap();
    assert_eq!(rejected.state, PayoutState::Rejected);
    assert_eq!(code(desk.by("hall-2").approve_payout(first.payout).await), ProblemCode::StateForbids);
    let second = desk.by("hall-2").propose_payout(&matter(&card)).await.unwrap();
    assert_ne!(second.payout, first.payout);
    assert_eq!(code(desk.by("hall-2").approve_payout(second.payout).await), ProblemCode::FourEyes);
    desk.by("hall-1").approve_payout(second.payout).await.unwrap();
    let books = books_where(&city, |books| books.refunded_fen == 5_000).await;
    assert_eq!(books.refund_payable_fen, 0);
    // A card that is in use owes nobody anything.
    let mut phone = Phone::new(&city, 2);
    assert!(installed(&phone.open(&city).await.unwrap()));
    let card = city.card_number(&phone.card_number().await);
    assert_eq!(code(desk.by("hall-1").propose_payout(&matter(&card)).await), ProblemCode::StateForbids);
}

/// The server dies at each commit of proposal and approval, before and after it: asked again, the payout is
/// paid once.
#[tokio::test]
async fn a_payout_survives_a_crash_at_every_commit() {
    let mut crashes = 0;
    for (commit, crash) in
        [1, 2, 3].into_iter().flat_map(|commit| [(commit, Crash::BeforeCommit), (commit, Crash::AfterCommit)])
    {
        let mut city = City::new().await;
        let card = returned(&city).await;
        let one = matter(&card);
        city.faults.crash_at(city.faults.commits() + commit, crash);
        let mut first = None;
        if let Ok(proposed) = city.at_desk().by("hall-1").propose_payout(&one).await {
            first = city.at_desk().by("hall-2").approve_payout(proposed.payout).await.ok();
        }
        if city.faults.is_down() {
            crashes += 1;
            city.restart_sp_tsm().await;
        } else {
            city.faults.restart();
            assert!(first.is_some(), "{commit} {crash:?}");
        }
        let desk = city.at_desk();
        let proposed = desk.by("hall-1").propose_payout(&one).await.unwrap();
        let paid = desk.by("hall-2").approve_payout(proposed.payout).await.unwrap();
        assert_eq!(paid.state, PayoutState::Booked, "{commit} {crash:?}");
        let books = books_where(&city, |books| books.refunded_fen == 5_000).await;
        assert_eq!((books.refund_payable_fen, books.cash_in_fen, books.paid_in_fen), (0, 4_000, 1_000));
    }
    println!("a payout: {crashes} crashes at commits");
    assert!(crashes >= 4, "{crashes}");
}

async fn listed(city: &City, card: &HexBytes) -> Option<WireStanding> {
    city.centre_peer(&city.sp_tsm).standing(card).await.unwrap().listed
}

/// The lists hear of it through the outbox.
async fn listed_as(city: &City, card: &HexBytes, expected: Option<WireListReason>) {
    for _ in 0..20_000 {
        if listed(city, card).await.map(|standing| standing.reason) == expected {
            return;
        }
    }
    panic!("the card is listed as {:?}", listed(city, card).await);
}

/// A card in use with money, its number, and another phone of its rider.
async fn in_use(city: &City) -> (Phone, HexBytes, Phone) {
    let mut phone = Phone::new(city, 1);
    assert!(installed(&phone.open(city).await.unwrap()));
    phone.top_up(city, 2_000).await;
    let card = city.card_number(&phone.card_number().await);
    city.settled(2_000).await;
    (phone, card, Phone::new(city, 2))
}

fn lost() -> LostCard {
    LostCard { request: request_id(), aid: PURSE.into(), card_number: None }
}

/// The rider reports his card lost from another phone: it is on the black list, and neither he nor customer
/// service unlocks it; a hall does, once, and it leaves the list.
///
/// req: P-5.8.4.3.1.b
#[tokio::test]
async fn a_lost_card_is_listed_and_unlocked_in_a_hall_only() {
    let city = City::new().await;
    let desk = city.at_desk();
    let (mut phone, card, other) = in_use(&city).await;
    assert_eq!(phone.operate(Operation::Lock, None).await.result, OutcomeResult::Done);
    let first = other.wallet.report_lost(&lost()).await.unwrap();
    assert_eq!((first.matter, first.state), (DeskMatterKind::Lost, DeskState::Open));
    let again = desk.by("service-1").report_lost(&matter(&card)).await.unwrap();
    assert_eq!(again, first, "a card is lost once");
    listed_as(&city, &card, Some(WireListReason::Lost)).await;
    assert_eq!(listed(&city, &card).await.unwrap().kind, WireListKind::Black);
    let order = TopUpOrder { request: request_id(), aid: PURSE.into(), amount_fen: 500 };
    let unpaid = phone.wallet.order_top_up(&order).await;
    assert_eq!(code(unpaid), ProblemCode::CardListed, "nobody pays for it");
    let kept = phone.operate(Operation::Return, None).await;
    assert_eq!(kept.problem.unwrap().code, ProblemCode::CardListed, "for what it is, not as a fraud");

    let refused = phone.operate(Operation::Unlock, None).await;
    assert_eq!(refused.problem.unwrap().code, ProblemCode::HallOnly);
    for name in ["service-1", "root-1"] {
        assert_eq!(code(desk.by(name).allow_unlock(&matter(&card)).await), ProblemCode::NotAllowed, "{name}");
    }
    let asked = matter(&card);
    let allowed = desk.by("hall-1").allow_unlock(&asked).await.unwrap();
    assert_eq!((allowed.matter, allowed.state), (DeskMatterKind::Unlock, DeskState::Open));
    assert_eq!(desk.by("hall-1").allow_unlock(&asked).await.unwrap(), allowed, "asked again");
    listed_as(&city, &card, None).await;
    let unlocked = phone.operate(Operation::Unlock, None).await;
    assert_eq!(unlocked.result, OutcomeResult::Done, "{unlocked:?}");
    let cases = desk.by("hall-1").cases(&CasesQuery { card: card.clone() }).await.unwrap().cases;
    assert!(cases.iter().all(|case| case.state == DeskState::Done), "the permission is used up: {cases:?}");
    assert_eq!(code(desk.by("hall-1").allow_unlock(&matter(&card)).await), ProblemCode::StateForbids);
    // It is an ordinary card again, and can be lost again.
    assert_eq!(phone.top_up(&city, 100).await.result, OutcomeResult::Done);
    let second = desk.by("hall-2").report_lost(&matter(&card)).await.unwrap();
    assert_ne!(second.case, first.case);
    listed_as(&city, &card, Some(WireListReason::Lost)).await;
}

/// The platform's loss list reaches the lists of terminals.
#[tokio::test]
async fn a_lost_phone_has_its_cards_listed() {
    let city = City::new().await;
    let (phone, card, _) = in_use(&city).await;
    let peer = city.sp_peer(&city.se_tsm);
    let loss = |standing, change| SeLoss { se_id: HexBytes(phone.se_id.clone()), standing, change };
    for _ in 0..2 {
        peer.loss(&loss(LossStanding::Lost, 1)).await.unwrap();
    }
    listed_as(&city, &card, Some(WireListReason::Lost)).await;
    peer.loss(&loss(LossStanding::Found, 2)).await.unwrap();
    listed_as(&city, &card, None).await;
    let cases =
        async || city.at_desk().by("hall-1").cases(&CasesQuery { card: card.clone() }).await.unwrap().cases;
    assert_eq!(cases().await.len(), 1);
    // The first word, again and late: it is acknowledged, and the card stays found.
    for change in [1, 2, 0] {
        peer.loss(&loss(LossStanding::Lost, change)).await.unwrap();
        assert_eq!(cases().await.len(), 1, "{change}");
        assert_eq!(listed(&city, &card).await, None, "{change}");
    }
    // Two words overtake each other; both were heard, and the later one stands.
    peer.loss(&loss(LossStanding::Found, 4)).await.unwrap();
    peer.loss(&loss(LossStanding::Lost, 3)).await.unwrap();
    assert_eq!(cases().await.len(), 1);
    peer.loss(&loss(LossStanding::Lost, 5)).await.unwrap();
    listed_as(&city, &card, Some(WireListReason::Lost)).await;
    assert_eq!(cases().await.len(), 2, "lost again");
}

/// The SP-TSM dies at each commit of a word about a loss, before and after it: said again, it is followed as a
/// whole and once, and the word before it changes nothing.
#[tokio::test]
async fn a_word_about_a_loss_survives_a_crash_at_every_commit() {
    let mut crashes = 0;
    for (commit, crash) in
        [1, 2].into_iter().flat_map(|commit| [(commit, Crash::BeforeCommit), (commit, Crash::AfterCommit)])
    {
        let mut city = City::new().await;
        let (phone, card, _) = in_use(&city).await;
        let word = |standing, change| SeLoss { se_id: HexBytes(phone.se_id.clone()), standing, change };
        city.faults.crash_at(city.faults.commits() + commit, crash);
        let first = city.sp_peer(&city.se_tsm).loss(&word(LossStanding::Lost, 1)).await;
        if city.faults.is_down() {
            crashes += 1;
            city.restart_sp_tsm().await;
        } else {
            city.faults.restart();
            assert!(first.is_ok(), "{commit} {crash:?}");
        }
        let peer = city.sp_peer(&city.se_tsm);
        peer.loss(&word(LossStanding::Lost, 1)).await.unwrap();
        listed_as(&city, &card, Some(WireListReason::Lost)).await;
        peer.loss(&word(LossStanding::Found, 2)).await.unwrap();
        listed_as(&city, &card, None).await;
        peer.loss(&word(LossStanding::Lost, 1)).await.unwrap();
        let cases = city.at_desk().by("hall-1").cases(&CasesQuery { card: card.clone() }).await.unwrap();
        assert_eq!(cases.cases.len(), 1, "{commit} {crash:?}");
        assert_eq!(listed(&city, &card).await, None, "{commit} {crash:?}");
    }
    assert!(crashes >= 3, "{crashes}");
}

/// A report that comes again, long after its card was found, is the same report.
#[tokio::test]
async fn a_report_that_comes_again_does_not_lose_a_card_twice() {
    let city = City::new().await;
    let desk = city.at_desk();
    let (_phone, card, other) = in_use(&city).await;
    let (own, at_desk) = (lost(), matter(&card));
    let first = other.wallet.report_lost(&own).await.unwrap();
    assert_eq!(desk.by("service-1").report_lost(&at_desk).await.unwrap(), first);
    listed_as(&city, &card, Some(WireListReason::Lost)).await;
    desk.by("hall-1").allow_unlock(&matter(&card)).await.unwrap();
    listed_as(&city, &card, None).await;
    for _ in 0..2 {
        let again = other.wallet.report_lost(&own).await.unwrap();
        assert_eq!((again.case, again.state), (first.case, DeskState::Done));
        let again = desk.by("service-1").report_lost(&at_desk).await.unwrap();
        assert_eq!((again.case, again.state), (first.case, DeskState::Done));
    }
    assert_eq!(listed(&city, &card).await, None);
    let second = other.wallet.report_lost(&lost()).await.unwrap();
    assert_ne!(second.case, first.case, "another report is another loss");
    listed_as(&city, &card, Some(WireListReason::Lost)).await;
}

/// While the centre cannot be reached nothing is lost: it learns the last word when it is back.
#[tokio::test]
async fn a_dead_centre_loses_no_report_of_a_loss() {
    let city = City::new().await;
    let desk = city.at_desk();
    let (_phone, card, other) = in_use(&city).await;
    city.to_centre.leads_nowhere();
    other.wallet.report_lost(&lost()).await.unwrap();
    desk.by("hall-1").allow_unlock(&matter(&card)).await.unwrap();
    desk.by("hall-1").report_lost(&matter(&card)).await.unwrap();
    assert_eq!(listed(&city, &card).await, None);
    city.restore_centre();
    listed_as(&city, &card, Some(WireListReason::Lost)).await;
    desk.by("hall-2").allow_unlock(&matter(&card)).await.unwrap();
    listed_as(&city, &card, None).await;
}

/// A phone that claimed a card and is gone: the desk gives the card back, and another phone takes it, the same to
/// the last byte.
///
/// req: P-5.5.4.e, B-7.6.1.i
#[tokio::test]
async fn a_dead_claim_is_released_when_nothing_was_sent() {
    let city = City::new().await;
    let desk = city.at_desk();
    let (_old, image, card) = parked(&city, 1).await;
    assert_eq!(code(desk.by("service-1").release_claim(&matter(&card)).await), ProblemCode::StateForbids);
    let dead = Phone::new(&city, 2);
    dead.order_migration().await;
    let mut next = Phone::new(&city, 3);
    assert_eq!(next.try_order_migration().await, Err(ProblemCode::StateForbids), "one phone at a time");
    assert_eq!(code(desk.by("root-1").release_claim(&matter(&card)).await), ProblemCode::NotAllowed);
    let released = desk.by("service-1").release_claim(&matter(&card)).await.unwrap();
    assert_eq!(released.state, MigrationState::Cancelled);
    next.order_migration().await;
    assert!(installed(&next.open(&city).await.unwrap()));
    live(&city, &card).await;
    assert_eq!(next.image(&city).await.encode(), image.encode());
    assert_eq!(code(desk.by("service-1").release_claim(&matter(&card)).await), ProblemCode::StateForbids);
}

/// Once the data were sent, no person may say that the phone does not hold the card: it is frozen and listed, and
/// nobody else gets it.
///
/// req: B-7.6.1.i
#[tokio::test]
async fn a_claim_that_may_be_live_is_not_released() {
    let city = City::new().await;
    let desk = city.at_desk();
    let (_old, _, card) = parked(&city, 1).await;
    let mut gone = Phone::new(&city, 2);
    gone.order_migration().await;
    gone.lost = Lost::Response(20);
    let broken = gone.open(&city).await.unwrap();
    assert_eq!(broken.result, OutcomeResult::Unknown, "{broken:?}");
    for name in ["service-1", "hall-1"] {
        assert_eq!(code(desk.by(name).release_claim(&matter(&card)).await), ProblemCode::SuspiciousCard);
    }
    let number = tsm_domain::CardNumber::try_from_wire(&card);
    let kept = city.store.card(number).await.unwrap().unwrap();
    assert!(kept.frozen.is_some(), "{kept:?}");
    listed_as(&city, &card, Some(WireListReason::Lost)).await;
    let other = Phone::new(&city, 3);
    assert!(other.try_order_migration().await.is_err());
    assert_ne!(state(&city, &card).await, tsm_api::clearing::AccountState::Live);
    assert_eq!(city.settled(0).await.parked_fen, 4_300, "the money stays where it is");
}

/// A card number out of the wire's form.
trait FromWire {
    fn try_from_wire(card: &HexBytes) -> Self;
}

impl FromWire for tsm_domain::CardNumber {
    fn try_from_wire(card: &HexBytes) -> Self {
        card.to_string()[1..].parse().unwrap()
    }
}
