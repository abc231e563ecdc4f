//! Closing cards at the centre: late taps, contradictions, refunds in parts, one claim.

use tsm_api::HexBytes;
use tsm_api::clearing::closing::{
    BeginClosing, ClaimParked, ClosingPurpose, ClosingQuery, ClosingStage, ParkedCard, ParkingProof,
    RefundPayment, RefundRequest, RefundWay, ReleaseClaim, UndoClosing, UndoEvidence,
};
use tsm_api::clearing::{AccountState, ConsumptionVerdict as Verdict, NewAccount};
use tsm_api::ids::{OperationId, PaymentId};
use tsm_api::problem::ProblemCode;
use tsm_domain::money::{ListAction, ListKind, ListReason};
use tsm_epurse::commands::PurchaseKind;
use tsm_storage::ClearingStore;
use tsm_storage::clearing::{Books, Lists as _};
use tsm_storage::memory::MemoryClearing;
use uuid::Uuid;

use crate::clearing::{Centre, SE, order};
use crate::purse_card::PurseCard;

const ANOTHER_SE: [u8; 8] = [0x10, 0, 0, 0, 0, 0, 0, 2];
const A_THIRD: [u8; 8] = [0x10, 0, 0, 0, 0, 0, 0, 3];

pub fn operation(number: u128) -> OperationId {
    OperationId(Uuid::from_u128(number))
}

pub fn begin(card: &PurseCard, number: u128, purpose: ClosingPurpose) -> BeginClosing {
    let se_id = HexBytes(SE.to_vec());
    BeginClosing { card: card.wire(), se_id, purpose, operation: operation(number) }
}

pub fn parked(card: &PurseCard, number: u128, purpose: ClosingPurpose) -> ParkedCard {
    let image = card.image();
    let state = *image.state();
    ParkedCard {
        card: card.wire(),
        se_id: HexBytes(SE.to_vec()),
        purpose,
        operation: operation(number),
        balance_fen: state.purse().fen(),
        online_counter: state.online().value(),
        offline_counter: Some(state.offline().value()),
        proof: ParkingProof::Read,
        image: Some(HexBytes(image.encode())),
    }
}

pub fn claim(card: &PurseCard, se: [u8; 8], number: u128) -> ClaimParked {
    ClaimParked { card: card.wire(), se_id: HexBytes(se.to_vec()), operation: operation(number) }
}

fn refund(card: &PurseCard, number: u128) -> RefundRequest {
    RefundRequest { card: card.wire(), operation: operation(number) }
}

fn part(card: &PurseCard, of: u128, number: u128, amount_fen: u32) -> RefundPayment {
    RefundPayment {
        card: card.wire(),
        operation: operation(of),
        refund: operation(number),
        amount_fen,
        way: RefundWay::Payment { payment: PaymentId(Uuid::from_u128(1)) },
    }
}

/// A live card with `fen` in it, all of it reported.
async fn loaded<S: ClearingStore + 'static>(centre: &Centre<S>, own: u64, fen: u32) -> PurseCard {
    let mut card = centre.card(own).await;
    centre.peer.payment(&order(own.into(), &card, fen)).await.unwrap();
    centre.peer.credit(&card.load(own.into(), fen)).await.unwrap();
    card
}

/// Two taps are on their way when the card is parked: what they spent stays on the purse until they come.
///
/// req: B-7.5.1.b
#[tokio::test]
async fn taps_that_were_under_way_find_their_money() {
    let centre = Centre::on(MemoryClearing::new()).await;
    let mut card = loaded(&centre, 1, 5000).await;
    let taps = [card.pay(PurchaseKind::Composite, 300), card.pay(PurchaseKind::Simple, 200)];
    centre.peer.begin_closing(&begin(&card, 7, ClosingPurpose::Return)).await.unwrap();
    for _ in 0..2 {
        let record = centre.peer.park(&parked(&card, 7, ClosingPurpose::Return)).await.unwrap();
        assert_eq!((record.stage, record.balance_fen), (ClosingStage::Parked, Some(4500)));
        let books = centre.peer.books().await.unwrap();
        assert_eq!((books.parked_fen, books.purses_fen), (4500, 500), "500 are on their way");
    }
    for _ in 0..2 {
        let record = centre.peer.order_refund(&refund(&card, 7)).await.unwrap();
        assert_eq!(record.state, AccountState::RefundPayable);
    }
    assert_eq!(centre.consume(&taps).await, [Verdict::Recorded; 2]);
    let books = centre.peer.books().await.unwrap();
    assert_eq!((books.purses_fen, books.spent_fen, books.refund_payable_fen), (0, 500, 4500));
    for (number, fen, stage) in [(20, 4000, ClosingStage::RefundOrdered), (21, 500, ClosingStage::Refunded)] {
        for _ in 0..2 {
            let record = centre.peer.refund_paid(&part(&card, 7, number, fen)).await.unwrap();
            assert_eq!(record.stage, stage);
        }
    }
    let books = centre.peer.books().await.unwrap();
    assert_eq!((books.refund_payable_fen, books.refunded_fen), (0, 4500));
    assert_eq!(centre.peer.account(&card.wire()).await.unwrap().state, AccountState::Refunded);
    let more = centre.peer.refund_paid(&part(&card, 7, 22, 1)).await.unwrap_err();
    assert_eq!(more.code(), Some(ProblemCode::AmountRefused), "what was refunded is not refunded again");
    assert_eq!(centre.incidents().await, Vec::<String>::new());
}

/// Reports overtake each other: each finds what the row says.
#[tokio::test]
async fn reports_that_come_in_another_order() {
    let centre = Centre::on(MemoryClearing::new()).await;
    let card = loaded(&centre, 1, 5000).await;
    let early = centre.peer.order_refund(&refund(&card, 7)).await.unwrap_err();
    assert_eq!(early.code(), Some(ProblemCode::StateForbids));
    let parked = parked(&card, 7, ClosingPurpose::Return);
    assert_eq!(centre.peer.park(&parked).await.unwrap().stage, ClosingStage::Parked);
    let late = centre.peer.begin_closing(&begin(&card, 7, ClosingPurpose::Return)).await.unwrap();
    assert_eq!(late.stage, ClosingStage::Parked, "the card is not closed twice");

    let other = loaded(&centre, 2, 100).await;
    let undo = UndoClosing { card: other.wire(), operation: operation(9), evidence: UndoEvidence::NeverSent };
    assert_eq!(centre.peer.undo_closing(&undo).await.unwrap().stage, ClosingStage::Undone);
    let late = centre.peer.begin_closing(&begin(&other, 9, ClosingPurpose::Return)).await.unwrap();
    assert_eq!((late.stage, late.state), (ClosingStage::Undone, AccountState::Live));
}

#[tokio::test]
async fn an_undone_closing_leaves_the_card_in_use() {
    let centre = Centre::on(MemoryClearing::new()).await;
    let mut card = loaded(&centre, 1, 5000).await;
    centre.peer.begin_closing(&begin(&card, 7, ClosingPurpose::Return)).await.unwrap();
    assert_eq!(centre.peer.account(&card.wire()).await.unwrap().state, AccountState::Closing);
    let evidence = UndoEvidence::NotBlocked { balance_fen: 5000, online_counter: 1 };
    let undo = UndoClosing { card: card.wire(), operation: operation(7), evidence };
    for _ in 0..2 {
        assert_eq!(centre.peer.undo_closing(&undo).await.unwrap().state, AccountState::Live);
    }
    let late = parked(&card, 7, ClosingPurpose::Return);
    assert_eq!(centre.peer.park(&late).await.unwrap_err().code(), Some(ProblemCode::StateForbids));
    assert_eq!(centre.consume(&[card.pay(PurchaseKind::Simple, 100)]).await, [Verdict::Recorded]);
    centre.peer.begin_closing(&begin(&card, 8, ClosingPurpose::Return)).await.unwrap();
    let named = ClosingQuery { card: card.wire(), operation: Some(operation(7)) };
    assert_eq!(centre.peer.closing(&named).await.unwrap().stage, ClosingStage::Undone);
    let newest = ClosingQuery { operation: None, ..named };
    assert_eq!(centre.peer.closing(&newest).await.unwrap().operation, operation(8));
}

/// A load whose report is slower than the parking: the parking waits for it and moves nothing.
#[tokio::test]
async fn a_parking_waits_for_the_loads_before_it() {
    let centre = Centre::on(MemoryClearing::new()).await;
    let mut card = centre.card(1).await;
    centre.peer.payment(&order(1, &card, 5000)).await.unwrap();
    let credit = card.load(1, 5000);
    let parking = parked(&card, 7, ClosingPurpose::Return);
    for _ in 0..2 {
        let refused = centre.peer.park(&parking).await.unwrap_err();
        assert_eq!(refused.code(), Some(ProblemCode::StateForbids));
    }
    assert_eq!(centre.incidents().await, ["parking-awaits-credit"], "so that it is not forgotten");
    centre.peer.credit(&credit).await.unwrap();
    assert_eq!(centre.peer.park(&parking).await.unwrap().stage, ClosingStage::Parked);
    assert_eq!(centre.incidents().await, Vec::<String>::new());
}

/// The same with a payment that nobody has reported either, as for cash: only the card's counter tells that
/// a load is missing, and it is not held against the card.
#[tokio::test]
async fn a_parking_waits_for_loads_whose_payment_is_not_known() {
    let centre = Centre::on(MemoryClearing::new()).await;
    let mut card = loaded(&centre, 1, 5000).await;
    let credit = card.load(2, 700);
    let parking = parked(&card, 7, ClosingPurpose::Migration);
    assert_eq!(centre.peer.park(&parking).await.unwrap_err().code(), Some(ProblemCode::StateForbids));
    assert_eq!(centre.incidents().await, ["parking-awaits-credit"]);
    centre.peer.credit(&credit).await.unwrap();
    for _ in 0..2 {
        assert_eq!(centre.peer.park(&parking).await.unwrap().balance_fen, Some(5700));
    }
    assert_eq!(centre.incidents().await, Vec::<String>::new());
}

/// A gate says that it debited after the block, and the card proved that it did not: no money moves.
#[tokio::test]
async fn a_tap_after_the_block_is_kept_aside() {
    let centre = Centre::on(MemoryClearing::new()).await;
    let mut card = loaded(&centre, 1, 5000).await;
    let parking = parked(&card, 7, ClosingPurpose::Return);
    let tap = card.pay(PurchaseKind::Simple, 100);
    centre.peer.park(&parking).await.unwrap();
    let before = centre.peer.books().await.unwrap();
    assert_eq!(centre.consume(&[tap]).await, [Verdict::Contradicts]);
    assert_eq!(centre.peer.books().await.unwrap(), before);
    assert_eq!(centre.incidents().await, ["purchase-after-block"]);
}

/// The same tap, reported before the parking: the card's word contradicts it, and the card is frozen.
#[tokio::test]
async fn a_reading_that_is_older_than_a_tap_freezes_the_card() {
    let centre = Centre::on(MemoryClearing::new()).await;
    let mut card = loaded(&centre, 1, 5000).await;
    let stale = parked(&card, 7, ClosingPurpose::Return);
    let tap = card.pay(PurchaseKind::Simple, 100);
    assert_eq!(centre.consume(&[tap]).await, [Verdict::Recorded]);
    let before = centre.peer.books().await.unwrap();
    for _ in 0..2 {
        let refused = centre.peer.park(&stale).await.unwrap_err();
        assert_eq!(refused.code(), Some(ProblemCode::SuspiciousCard));
    }
    assert_eq!(centre.peer.books().await.unwrap(), before);
    assert_eq!(centre.incidents().await, ["suspicious-card"]);
    let begun = centre.peer.begin_closing(&begin(&card, 8, ClosingPurpose::Return)).await.unwrap_err();
    assert_eq!(begun.code(), Some(ProblemCode::SuspiciousCard), "a frozen card is not returned");
}

/// Every tap has come, and less was on the card than they left: someone must look before money moves.
#[tokio::test]
async fn a_card_that_lost_money_is_frozen() {
    let centre = Centre::on(MemoryClearing::new()).await;
    let card = loaded(&centre, 1, 5000).await;
    let mut poorer = PurseCard::new(1);
    poorer.load(9, 4999);
    centre.peer.park(&parked(&poorer, 7, ClosingPurpose::Return)).await.unwrap();
    assert_eq!(centre.incidents().await, ["suspicious-card"]);
    let refused = centre.peer.order_refund(&refund(&card, 7)).await.unwrap_err();
    assert_eq!(refused.code(), Some(ProblemCode::SuspiciousCard));
    let books = centre.peer.books().await.unwrap();
    assert_eq!((books.parked_fen, books.purses_fen), (4999, 1));
}

#[tokio::test]
async fn a_card_that_holds_more_than_was_paid_is_frozen() {
    let centre = Centre::on(MemoryClearing::new()).await;
    let card = loaded(&centre, 1, 5000).await;
    // Another payment that is on its way explains nothing: the card took in no more than one load.
    centre.peer.payment(&order(2, &card, 700)).await.unwrap();
    let mut richer = PurseCard::new(1);
    richer.load(9, 5001);
    let refused = centre.peer.park(&parked(&richer, 7, ClosingPurpose::Return)).await.unwrap_err();
    assert_eq!(refused.code(), Some(ProblemCode::SuspiciousCard));
    assert_eq!(centre.incidents().await, ["suspicious-card"]);
    assert_eq!(centre.peer.books().await.unwrap().parked_fen, 0);
}

/// Two phones claim one parked card; one gets it, and its data are those that were parked.
///
/// req: B-7.6.1.c, B-7.6.1.f
#[tokio::test]
async fn one_phone_gets_a_parked_card() {
    let centre = Centre::on(MemoryClearing::new()).await;
    let mut card = loaded(&centre, 1, 5000).await;
    let late = card.pay(PurchaseKind::Composite, 300);
    centre.peer.park(&parked(&card, 7, ClosingPurpose::Migration)).await.unwrap();
    for _ in 0..2 {
        let claimed = centre.peer.claim_parked(&claim(&card, ANOTHER_SE, 8)).await.unwrap();
        assert_eq!(claimed.image.as_bytes(), card.image().encode());
        assert_eq!((claimed.balance_fen, claimed.online_counter, claimed.offline_counter), (4700, 1, 1));
    }
    let second = centre.peer.claim_parked(&claim(&card, A_THIRD, 9)).await.unwrap_err();
    assert_eq!(second.code(), Some(ProblemCode::BoundElsewhere));
    let refunded = centre.peer.order_refund(&refund(&card, 10)).await.unwrap_err();
    assert_eq!(refunded.code(), Some(ProblemCode::StateForbids), "a claimed card is not refunded");
    let release = |se: [u8; 8]| ReleaseClaim {
        card: card.wire(),
        se_id: HexBytes(se.to_vec()),
        operation: operation(8),
    };
    assert!(centre.peer.release_claim(&release(A_THIRD)).await.is_err());
    for _ in 0..2 {
        let released = centre.peer.release_claim(&release(ANOTHER_SE)).await.unwrap();
        assert_eq!(released.state, AccountState::Parked);
    }
    let after = centre.peer.claim_parked(&claim(&card, ANOTHER_SE, 8)).await.unwrap_err();
    assert_eq!(after.code(), Some(ProblemCode::StateForbids), "a claim that comes after its release");
    centre.peer.claim_parked(&claim(&card, A_THIRD, 9)).await.unwrap();
    let account =
        NewAccount { card: card.wire(), se_id: HexBytes(A_THIRD.to_vec()), aid: HexBytes(vec![0xA0; 8]) };
    for _ in 0..2 {
        assert_eq!(centre.peer.open_account(&account).await.unwrap().state, AccountState::Live);
        let books = centre.peer.books().await.unwrap();
        assert_eq!((books.parked_fen, books.purses_fen), (0, 5000), "the late tap finds its money");
    }
    let next = card.pay(PurchaseKind::Simple, 200);
    assert_eq!(centre.consume(&[late, next]).await, [Verdict::Recorded; 2]);
    assert_eq!(centre.peer.books().await.unwrap().purses_fen, 4500);
    assert_eq!(centre.incidents().await, Vec::<String>::new());
}

/// A copy of a parked card pays under a counter that the card has used: there were two of it, so that what the centre
/// keeps goes to nobody before somebody has looked. Taps that were under way prove nothing of the kind.
#[tokio::test]
async fn a_parked_card_of_which_there_was_a_copy_is_frozen() {
    let centre = Centre::on(MemoryClearing::new()).await;
    let mut card = loaded(&centre, 1, 5000).await;
    let mut copy = PurseCard::new(1);
    copy.load(1, 5000);
    let own = [card.pay(PurchaseKind::Composite, 300), card.pay(PurchaseKind::Simple, 200)];
    let late = own[1].clone();
    assert_eq!(centre.consume(&own[..1]).await, [Verdict::Recorded]);
    centre.peer.park(&parked(&card, 7, ClosingPurpose::Migration)).await.unwrap();
    assert_eq!(centre.consume(&[late]).await, [Verdict::Recorded]);
    centre.service.collect().await.unwrap();
    assert_eq!(centre.incidents().await, Vec::<String>::new());
    assert_eq!(centre.consume(&[copy.pay(PurchaseKind::Composite, 100)]).await, [Verdict::Contradicts]);
    for _ in 0..2 {
        centre.service.collect().await.unwrap();
    }
    assert!(centre.incidents().await.contains(&"suspicious-card".to_owned()));
    let refunded = centre.peer.order_refund(&refund(&card, 10)).await.unwrap_err();
    assert_eq!(refunded.code(), Some(ProblemCode::SuspiciousCard));
    let claimed = centre.peer.claim_parked(&claim(&card, ANOTHER_SE, 8)).await.unwrap_err();
    assert_eq!(claimed.code(), Some(ProblemCode::SuspiciousCard));
    let books = centre.peer.books().await.unwrap();
    assert_eq!((books.parked_fen, books.spent_fen), (4500, 500), "the money stays where it is");
}

/// A card that was parked to migrate may be returned instead.
#[tokio::test]
async fn a_parked_card_is_refunded() {
    let centre = Centre::on(MemoryClearing::new()).await;
    let card = loaded(&centre, 1, 5000).await;
    centre.peer.park(&parked(&card, 7, ClosingPurpose::Migration)).await.unwrap();
    for _ in 0..2 {
        let record = centre.peer.order_refund(&refund(&card, 30)).await.unwrap();
        assert_eq!((record.operation, record.state), (operation(7), AccountState::RefundPayable));
    }
    let claimed = centre.peer.claim_parked(&claim(&card, ANOTHER_SE, 8)).await.unwrap_err();
    assert_eq!(claimed.code(), Some(ProblemCode::StateForbids));
    let paid = centre.peer.refund_paid(&part(&card, 30, 31, 5000)).await.unwrap();
    assert_eq!(paid.stage, ClosingStage::Refunded);
}

#[tokio::test]
async fn an_image_must_be_the_cards_own() {
    let centre = Centre::on(MemoryClearing::new()).await;
    let card = loaded(&centre, 1, 5000).await;
    let good = parked(&card, 7, ClosingPurpose::Migration);
    let stranger = PurseCard::new(2);
    let wrong = [
        ParkedCard { image: None, ..good.clone() },
        ParkedCard { image: Some(HexBytes(vec![1, 2, 3])), ..good.clone() },
        ParkedCard { image: Some(HexBytes(stranger.image().encode())), ..good.clone() },
        ParkedCard { balance_fen: 4999, ..good.clone() },
        ParkedCard { offline_counter: Some(1), ..good },
    ];
    for report in wrong {
        assert_eq!(centre.peer.park(&report).await.unwrap_err().code(), Some(ProblemCode::ValueRefused));
    }
}

/// A card that is reported lost is neither returned nor migrated, and its holder is told of it.
#[tokio::test]
async fn a_listed_card_is_not_closed() {
    let centre = Centre::on(MemoryClearing::new()).await;
    let card = loaded(&centre, 1, 5000).await;
    let list = async |action| {
        let at = jiff::Timestamp::UNIX_EPOCH;
        centre.store.edit_list(card.number, action, at, Books::default()).await.unwrap();
    };
    list(ListAction::Put(ListKind::Black, ListReason::Lost)).await;
    let refused = centre.peer.begin_closing(&begin(&card, 7, ClosingPurpose::Return)).await.unwrap_err();
    assert_eq!(refused.code(), Some(ProblemCode::CardListed));
    let held = centre.peer.account(&card.wire()).await.unwrap().held;
    assert_eq!(held.as_deref(), Some("the card is on the black list"));
    list(ListAction::Remove).await;
    centre.peer.begin_closing(&begin(&card, 8, ClosingPurpose::Return)).await.unwrap();
}
