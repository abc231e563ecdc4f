//! Returning a card whose domain has no R-MAC: its whole balance is debited online, and MAC3 is the proof.

use tsm_api::clearing::closing::{ClosingQuery, ClosingStage};
use tsm_api::conversation::{ConversationReply, OutcomeDetail, OutcomeResult, RefundStanding, TurnRequest};
use tsm_api::problem::ProblemCode;
use tsm_api::sp_tsm::wallet::{Operation, WorkKind};
use tsm_globalplatform::security_level::SecurityLevel;
use tsm_storage::memory::Crash;
use tsm_storage::shared::{IncidentFilter, Incidents as _};

use crate::issuer::centre::{purchase, report};
use crate::issuer::city::{City, PURSE};
use crate::issuer::phone::{Lost, Phone, command_of, forged, installed};
use crate::issuer::returning::books_where;

/// SELECT and INITIALIZE FOR LOAD, SELECT and INITIALIZE FOR UNLOAD, DEBIT FOR UNLOAD.
const APDUS: usize = 5;

async fn city() -> City {
    let mut city = City::new().await;
    city.level = SecurityLevel::C_DECRYPTION_C_MAC;
    city.restart_sp_tsm().await;
    city
}

async fn with_money(city: &City, number: u8, fen: u32) -> Phone {
    let mut phone = Phone::new(city, number);
    let opened = phone.open(city).await.unwrap();
    assert!(installed(&opened), "{opened:?}");
    assert_eq!(phone.top_up(city, fen).await.result, OutcomeResult::Done);
    (phone.lost, phone.sent) = (Lost::Nothing, 0);
    phone
}

fn returned(fen: u32) -> OutcomeDetail {
    OutcomeDetail::Returned {
        balance_fen: fen,
        to_payments_fen: fen,
        at_hall_fen: 0,
        standing: RefundStanding::OnItsWay,
    }
}

/// The balance goes back once; a tap under way finds its money; a migration is for a hall.
///
/// req: B-7.5.1.a, B-7.5.1.b
#[tokio::test]
async fn a_card_without_r_mac_is_returned_by_an_online_debit() {
    let city = city().await;
    let mut phone = with_money(&city, 1, 5_000).await;
    city.settled(5_000).await;
    let card = city.card_number(&phone.card_number().await);
    let late = purchase(&city, &phone, 200, 1).await;
    let migrating = phone.operate(Operation::MigrateOut, None).await;
    assert_eq!(migrating.problem.unwrap().code, ProblemCode::HallOnly);
    let outcome = phone.operate(Operation::Return, None).await;
    assert_eq!((outcome.result, outcome.detail), (OutcomeResult::Done, returned(4_800)));
    let books = books_where(&city, |books| books.refunded_fen == 4_800).await;
    assert_eq!((books.parked_fen, books.refund_payable_fen, books.purses_fen), (0, 0, 200));
    assert_eq!(phone.balance().await, 0);
    let gates = city.centre_peer(&city.gate_operator);
    gates.consumption(&report(vec![late])).await.unwrap();
    let books = city.centre_peer(&city.sp_tsm).books().await.unwrap();
    assert_eq!((books.purses_fen, books.spent_fen, books.paid_in_fen), (0, 200, 5_000));
    let again = phone.operate(Operation::Return, None).await;
    assert_eq!(again.detail, returned(4_800), "its outcome is told again, and nothing goes back again");
    let closing =
        city.centre_peer(&city.sp_tsm).closing(&ClosingQuery { card, operation: None }).await.unwrap();
    assert_eq!((closing.stage, closing.refunded_fen), (ClosingStage::Refunded, 4_800));
    assert_eq!(city.told.unsubscribed.lock().unwrap().len(), 1, "the phone is told to delete it");
    assert_eq!(city.centre_store.incidents(IncidentFilter::Open, 10).await.unwrap(), []);
    let after = phone.operate(Operation::Synchronise, None).await;
    assert_eq!(after.result, OutcomeResult::Refused, "nothing moves on a card that was returned");
}

/// The card is lost at every APDU, before and after it acted; the rider goes on, or gives up. Either way he has
/// all his money once.
///
/// req: B-7.5.1.b, W-9.3.b
#[tokio::test]
async fn a_debit_torn_at_every_apdu_moves_the_money_once() {
    let city = city().await;
    let (mut cuts, mut refunded, mut kept) = (0, 0, 0);
    let mut number = 0;
    for at in 0..APDUS {
        for lost in [Lost::Command(at), Lost::Response(at)] {
            for cancel in [false, true] {
                number += 1;
                let mut phone = with_money(&city, number, 1_000).await;
                phone.lost = lost;
                let torn = phone.operate(Operation::Return, None).await;
                assert_eq!(torn.result, OutcomeResult::Unknown, "{lost:?}: {torn:?}");
                (phone.lost, phone.sent) = (Lost::Nothing, 0);
                let works = phone.wallet.interrupted().await.unwrap().works;
                assert_eq!((works.len(), works[0].kind), (1, WorkKind::Return), "{lost:?}");
                let debited = phone.balance().await == 0;
                assert_eq!(debited, lost == Lost::Response(APDUS - 1), "{lost:?}");
                if cancel {
                    let ended = phone.operate(Operation::CancelClosing, None).await;
                    if debited {
                        assert_eq!(ended.result, OutcomeResult::Refused, "{lost:?}: {ended:?}");
                        refunded += 1_000;
                    } else {
                        let back = OutcomeDetail::BackInUse { aid: PURSE.into(), balance_fen: 1_000 };
                        assert_eq!((ended.result, ended.detail), (OutcomeResult::Done, back), "{lost:?}");
                        assert_eq!(
                            phone.top_up(&city, 100).await.result,
                            OutcomeResult::Done,
                            "in use again"
                        );
                        kept += 1_100;
                    }
                } else {
                    let ended = phone.operate(Operation::Return, None).await;
                    assert_eq!(
                        (ended.result, ended.detail),
                        (OutcomeResult::Done, returned(1_000)),
                        "{lost:?}"
                    );
                    refunded += 1_000;
                }
                cuts += 1;
            }
        }
    }
    println!("a return by debit: {cuts} cuts at {APDUS} APDUs");
    let books = books_where(&city, |books| books.refunded_fen == refunded).await;
    assert_eq!((books.purses_fen, books.parked_fen, books.refund_payable_fen), (kept, 0, 0));
}

/// The server dies at each commit, before and after it: the same money, once.
#[tokio::test]
async fn a_debit_survives_a_crash_at_every_commit() {
    let mut city = city().await;
    let (mut crashes, mut refunded, mut number) = (0, 0, 0);
    for commit in 1..=8 {
        for crash in [Crash::BeforeCommit, Crash::AfterCommit] {
            number += 1;
            let mut phone = with_money(&city, number, 1_000).await;
            books_where(&city, |books| books.in_flight_fen == 0).await;
            city.faults.crash_at(city.faults.commits() + commit, crash);
            let start = Phone::start_request(Operation::Return, None);
            let done = match phone.wallet.start(&start).await {
                Ok(reply) => phone.converse(reply, None).await.result == OutcomeResult::Done,
                Err(_) => false,
            };
            if city.faults.is_down() {
                crashes += 1;
                city.restart_sp_tsm().await;
                phone.reconnect(&city);
                let again = phone.operate(Operation::Return, None).await;
                assert_eq!(
                    (again.result, again.detail),
                    (OutcomeResult::Done, returned(1_000)),
                    "{commit} {crash:?}"
                );
            } else {
                city.faults.restart();
                assert!(done, "{commit} {crash:?}");
            }
            refunded += 1_000;
            let books = books_where(&city, |books| books.refunded_fen == refunded).await;
            assert_eq!((books.purses_fen, books.parked_fen, books.refund_payable_fen), (0, 0, 0));
        }
    }
    println!("a return by debit: {crashes} crashes at commits");
    assert!(crashes >= 10, "{crashes}");
}

/// A debit that never reached the card, and a tap before the rider goes on: what is left goes back.
#[tokio::test]
async fn a_card_that_is_used_before_it_is_emptied_gives_the_rest_back() {
    let city = city().await;
    let mut phone = with_money(&city, 1, 1_000).await;
    phone.lost = Lost::Command(APDUS - 1);
    let torn = phone.operate(Operation::Return, None).await;
    assert_eq!(torn.result, OutcomeResult::Unknown);
    let books = city.settled(1_000).await;
    assert_eq!((books.parked_fen, books.refunded_fen), (0, 0), "nothing is owed that MAC3 did not prove");
    phone.lost = Lost::Nothing;
    let spent = purchase(&city, &phone, 300, 1).await;
    let gates = city.centre_peer(&city.gate_operator);
    gates.consumption(&report(vec![spent])).await.unwrap();
    let outcome = phone.operate(Operation::Return, None).await;
    assert_eq!((outcome.result, outcome.detail), (OutcomeResult::Done, returned(700)), "what it holds now");
    let books = books_where(&city, |books| books.refunded_fen == 700).await;
    assert_eq!((books.spent_fen, books.purses_fen), (300, 0));
}

/// A phone that keeps DEBIT FOR UNLOAD back and says that the card debited: without MAC3 nothing is owed, and the
/// command is worth nothing later.
#[tokio::test]
async fn a_phone_that_invents_the_proof_gets_nothing() {
    let city = city().await;
    let mut phone = with_money(&city, 1, 1_000).await;
    city.settled(1_000).await;
    let start = Phone::start_request(Operation::Return, None);
    let mut reply = phone.wallet.start(&start).await.unwrap();
    let mut withheld = None;
    let outcome = loop {
        let (conversation, turn, steps) = match reply {
            ConversationReply::Outcome { outcome, .. } => break outcome,
            ConversationReply::Steps { conversation, turn, steps, .. } => (conversation, turn, steps),
            other => panic!("{other:?}"),
        };
        let debit = steps.iter().map(|step| command_of(step).0).find(|command| command.ins == 0x54);
        let request = match debit {
            Some(debit) => {
                withheld = Some(debit);
                TurnRequest { turn, responses: vec![forged(&[0; 4])], ..TurnRequest::default() }
            }
            None => phone.carry(turn, &steps, None),
        };
        reply = phone.wallet.turn(conversation, &request).await.unwrap();
    };
    assert_eq!(outcome.problem.unwrap().code, ProblemCode::CardUnproven);
    let status = phone.transmit(&withheld.unwrap()).status;
    assert!(!status.is_success(), "the card's new random has voided it: {status:?}");
    assert_eq!(phone.balance().await, 1_000);
    let books = city.settled(1_000).await;
    assert_eq!((books.parked_fen, books.refunded_fen), (0, 0));
    let again = phone.operate(Operation::Return, None).await;
    assert_eq!((again.result, again.detail), (OutcomeResult::Done, returned(1_000)));
}
