//! Returning a card: blocked, read, refunded, deleted, in this order, whatever breaks on the way.

use tsm_api::HexBytes;
use tsm_api::clearing::closing::{ClosingQuery, ClosingStage};
use tsm_api::clearing::{Books, ConsumptionVerdict as Verdict};
use tsm_api::conversation::{
    ConversationReply, Outcome, OutcomeDetail, OutcomeResult, RefundStanding, TurnRequest,
};
use tsm_api::ids::OperationId;
use tsm_api::problem::ProblemCode;
use tsm_api::se_tsm::peer::OperationKind;
use tsm_api::sp_tsm::peer::PreOperationReply;
use tsm_api::sp_tsm::wallet::Operation;
use tsm_iso7816::StatusWord;
use tsm_storage::clearing::Collection as _;
use tsm_storage::clearing::collection::Counted;
use tsm_storage::memory::Crash;
use tsm_storage::shared::{IncidentFilter, Incidents as _};
use tsm_storage::{ClearingStore as _, OnlinePurchases as _};

use crate::issuer::centre::{purchase, report};
use crate::issuer::city::{City, PURSE};
use crate::issuer::online::{PRICE, loaded, order_of, ordered, pays};
use crate::issuer::phone::{Lost, Phone, command_of, forged, uuid};
use crate::issuer::top_up::opened;

/// APDUs of a return: SELECT and GET CHALLENGE, the block, SELECT and INITIALIZE UPDATE, EXTERNAL
/// AUTHENTICATE, challenge, status, three files, ten, thirty and eighteen records.
const APDUS: usize = 69;
/// The APDU with which the card blocks itself.
const BLOCK: usize = 2;

/// Waits until the books say so. Every round is a request, so nothing sleeps here.
pub async fn books_where(city: &City, holds: impl Fn(&Books) -> bool) -> Books {
    let centre = city.centre_peer(&city.sp_tsm);
    let mut last = None;
    for _ in 0..20_000 {
        let books = centre.books().await.unwrap();
        if holds(&books) {
            return books;
        }
        last = Some(books);
    }
    panic!("the books stay at {last:?}");
}

/// Another opened phone of the same city.
pub async fn another(city: &City, number: u8) -> Phone {
    let mut phone = Phone::new(city, number);
    assert!(crate::issuer::phone::installed(&phone.open(city).await.unwrap()));
    phone.sent = 0;
    phone
}

async fn with_money(city: &City, number: u8, fen: u32) -> Phone {
    let mut phone = another(city, number).await;
    assert_eq!(phone.top_up(city, fen).await.result, OutcomeResult::Done);
    (phone.lost, phone.sent) = (Lost::Nothing, 0);
    phone
}

async fn may_delete(city: &City, phone: &Phone) -> Result<(), ProblemCode> {
    let request = phone.pre_operation(OperationId(uuid()), OperationKind::Delete, PURSE);
    match city.sp_peer(&city.se_tsm).pre_operation(&request).await.unwrap() {
        PreOperationReply::Allowed { .. } => Ok(()),
        PreOperationReply::Refused { problem } => Err(problem.code),
    }
}

fn returned(fen: u32) -> OutcomeDetail {
    OutcomeDetail::Returned {
        balance_fen: fen,
        to_payments_fen: fen,
        at_hall_fen: 0,
        standing: RefundStanding::OnItsWay,
    }
}

/// The script, then the centre, then the deletion; a tap under way finds its money; nothing goes back twice.
///
/// req: B-7.5.1.a, B-7.5.1.b, B-7.5.1.c
#[tokio::test]
async fn a_return_gives_the_balance_back_once() {
    let city = City::new().await;
    let mut phone = opened(&city).await;
    assert_eq!(may_delete(&city, &phone).await, Err(ProblemCode::ValueRemains));
    phone.top_up(&city, 5000).await;
    phone.top_up(&city, 1000).await;
    city.settled(6000).await;
    let number = city.card_number(&phone.card_number().await);
    let gates = city.centre_peer(&city.gate_operator);
    let (first, late) = (purchase(&city, &phone, 300, 1).await, purchase(&city, &phone, 200, 2).await);
    assert_eq!(gates.consumption(&report(vec![first])).await.unwrap().verdicts, [Verdict::Recorded]);
    assert_eq!(may_delete(&city, &phone).await, Err(ProblemCode::ValueRemains));

    let before = phone.wallet.client.counters().read().requests;
    let outcome = phone.operate(Operation::Return, None).await;
    assert_eq!((outcome.result, outcome.detail), (OutcomeResult::Done, returned(5500)));
    assert_eq!(phone.wallet.client.counters().read().requests - before, 4, "three lists");
    let books = books_where(&city, |books| books.refunded_fen == 5500).await;
    assert_eq!((books.parked_fen, books.refund_payable_fen, books.purses_fen), (0, 0, 200));
    assert_eq!(phone.read().await.select_status, StatusWord::SELECTED_FILE_INVALIDATED);
    assert_eq!(gates.consumption(&report(vec![late])).await.unwrap().verdicts, [Verdict::Recorded]);
    let books = city.centre_peer(&city.sp_tsm).books().await.unwrap();
    assert_eq!((books.purses_fen, books.spent_fen, books.paid_in_fen), (0, 500, 6000));

    assert_eq!(may_delete(&city, &phone).await, Ok(()));
    let told = city.told.unsubscribed.lock().unwrap().clone();
    assert_eq!(told.len(), 1, "the phone is told to delete it");
    assert_eq!(told[0].se_id, HexBytes(phone.se_id.clone()));
    let again = phone.operate(Operation::Return, None).await;
    assert_eq!(again.detail, returned(5500), "its outcome is told again, and nothing goes back again");
    let query = ClosingQuery { card: number, operation: None };
    let closing = city.centre_peer(&city.sp_tsm).closing(&query).await.unwrap();
    assert_eq!((closing.stage, closing.refunded_fen), (ClosingStage::Refunded, 5500));
    let refused = phone.operate(Operation::CancelClosing, None).await;
    assert_eq!(refused.result, OutcomeResult::Refused, "a card that was returned stays returned");
    assert_eq!(city.centre_store.incidents(IncidentFilter::Open, 10).await.unwrap(), []);
}

/// Nobody heard the end of a payment over the network, and its card was returned: no card can prove it any more. What
/// it took stays on the purse for two people to decide, the centre says which purchase it misses, and nobody guesses
/// whether the shop was paid.
///
/// req: B-7.5.1.b, B-7.3.1.a
#[tokio::test]
async fn a_payment_whose_end_nobody_heard_is_missed_when_its_card_is_returned() {
    let city = City::new().await;
    let mut phone = loaded(&city, 5_000).await;
    let card = phone.card_number().await.parse().unwrap();
    phone.reset();
    let payment = ordered(&city, PRICE).await;
    (phone.lost, phone.sent) = (Lost::Response(2), 0);
    let torn = pays(&mut phone, &city, payment).await;
    assert_eq!(torn.result, OutcomeResult::Unknown, "{torn:?}");
    (phone.lost, phone.sent) = (Lost::Nothing, 0);
    let left = 5_000 - PRICE;
    let outcome = phone.operate(Operation::Return, None).await;
    assert_eq!((outcome.result, outcome.detail), (OutcomeResult::Done, returned(left)));
    let books = books_where(&city, |books| books.refunded_fen == u64::from(left)).await;
    assert_eq!((books.purses_fen, books.spent_fen), (u64::from(PRICE), 0));
    let gaps = city.centre_store.gaps(None, 9).await.unwrap();
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    let missing: Vec<_> = gaps[0].1.missing().iter().map(|gap| (gap.from, gap.to)).collect();
    assert_eq!((gaps[0].0, missing), (Counted::Card(card), vec![(1, 1)]));
    assert_eq!(city.payment_store.purse_card(card).await.unwrap().open, Some(order_of(payment)));
}

/// The card is lost at every APDU, before and after it acted; each time the rider cancels, and it works as
/// before with all its money.
///
/// req: W-9.3.b
#[tokio::test]
async fn a_return_torn_at_every_apdu_can_be_cancelled() {
    let city = City::new().await;
    let mut phone = with_money(&city, 1, 5000).await;
    city.settled(5000).await;
    let mut cuts = 0;
    for at in 0..APDUS {
        for lost in [Lost::Command(at), Lost::Response(at)] {
            (phone.lost, phone.sent) = (lost, 0);
            let torn = phone.operate(Operation::Return, None).await;
            assert_eq!(torn.result, OutcomeResult::Unknown, "{lost:?}: {torn:?}");
            (phone.lost, phone.sent) = (Lost::Nothing, 0);
            let cancelled = phone.operate(Operation::CancelClosing, None).await;
            let back = OutcomeDetail::BackInUse { aid: PURSE.into(), balance_fen: 5000 };
            assert_eq!((cancelled.result, cancelled.detail), (OutcomeResult::Done, back), "{lost:?}");
            assert_eq!(phone.read().await.select_status, StatusWord::SUCCESS, "{lost:?}");
            cuts += 1;
        }
    }
    println!("a return that is cancelled: {cuts} cut points");
    let books = city.settled(5000).await;
    assert_eq!((books.parked_fen, books.refunded_fen), (0, 0));
    assert_eq!(phone.top_up(&city, 100).await.result, OutcomeResult::Done, "the card is in use");
}

/// The same, and the rider continues, or the next contact does it: parked once, refunded once.
///
/// req: W-9.3.b, B-7.5.1.b
#[tokio::test]
async fn a_return_torn_at_every_kind_of_apdu_is_continued() {
    let city = City::new().await;
    let kinds = (0..=10).chain([20, 40, APDUS - 1]);
    let cuts: Vec<Lost> = kinds.flat_map(|at| [Lost::Command(at), Lost::Response(at)]).collect();
    let mut refunded = 0;
    for (number, lost) in (1..).zip(&cuts) {
        let mut phone = with_money(&city, number, 100).await;
        phone.lost = *lost;
        let torn = phone.operate(Operation::Return, None).await;
        assert_eq!(torn.result, OutcomeResult::Unknown, "{lost:?}: {torn:?}");
        (phone.lost, phone.sent) = (Lost::Nothing, 0);
        if number % 2 == 0 {
            // The next contact looks first: what is blocked is parked, what is not is in use again.
            let seen = phone.operate(Operation::Synchronise, None).await;
            assert_eq!(seen.result, OutcomeResult::Done, "{lost:?}: {seen:?}");
        }
        let outcome = phone.operate(Operation::Return, None).await;
        assert_eq!((outcome.result, outcome.detail), (OutcomeResult::Done, returned(100)), "{lost:?}");
        refunded += 100;
    }
    println!("a return that is continued: {} cut points", cuts.len());
    let books = books_where(&city, |books| books.refunded_fen == refunded).await;
    assert_eq!((books.paid_in_fen, books.parked_fen, books.purses_fen), (refunded, 0, 0));
    assert_eq!(city.told.unsubscribed.lock().unwrap().len(), cuts.len());
}

/// The SP-TSM dies before and after each commit of a return, and is started again over its store.
///
/// req: B-7.5.1.b
#[tokio::test]
async fn an_sp_tsm_that_crashes_at_any_commit_of_a_return_refunds_once() {
    let mut city = City::new().await;
    let (mut refunded, mut crashes) = (0, 0);
    for commit in 1..=14 {
        for crash in [Crash::BeforeCommit, Crash::AfterCommit] {
            let number = u8::try_from(commit * 2).unwrap() + u8::from(crash == Crash::AfterCommit);
            let mut phone = with_money(&city, number, 100).await;
            city.settled(100).await;
            city.faults.crash_at(city.faults.commits() + commit, crash);
            let start = Phone::start_request(Operation::Return, None);
            let first = match phone.wallet.start(&start).await {
                Ok(reply) => Some(phone.converse(reply, None).await),
                Err(_) => None,
            };
            if city.faults.is_down() || commit > 8 {
                // The outbox may reach the commit after the outcome.
                crashes += u32::from(city.faults.is_down());
                city.restart_sp_tsm().await;
                phone.reconnect(&city);
            } else {
                city.faults.restart();
                assert_eq!(first.unwrap().result, OutcomeResult::Done, "commit {commit}, {crash:?}");
            }
            let next = phone.operate(Operation::Return, None).await;
            assert_eq!(next.detail, returned(100), "commit {commit}, {crash:?}: {next:?}");
            refunded += 100;
            let books = books_where(&city, |books| books.refunded_fen == refunded).await;
            assert_eq!((books.parked_fen, books.purses_fen), (0, 0), "commit {commit}, {crash:?}");
        }
    }
    println!("a return with a crashing SP-TSM: {crashes} crashes");
    assert!(crashes >= 10, "only {crashes} crashes happened");
}

/// The centre dies before and after each commit that a return makes there: a request lost, an answer lost.
///
/// req: B-7.5.1.b
#[tokio::test]
async fn a_centre_that_crashes_at_any_commit_of_a_return_books_once() {
    let city = City::new().await;
    let (mut refunded, mut crashes) = (0, 0);
    for commit in 1..=4 {
        for crash in [Crash::BeforeCommit, Crash::AfterCommit] {
            let number = u8::try_from(commit * 2).unwrap() + u8::from(crash == Crash::AfterCommit);
            let mut phone = with_money(&city, number, 100).await;
            city.settled(100).await;
            let faults = city.centre_store.faults();
            faults.crash_at(faults.commits() + commit, crash);
            let first = phone.operate(Operation::Return, None).await;
            if commit == 1 {
                assert_ne!(
                    first.result,
                    OutcomeResult::Done,
                    "the centre is asked before the card is touched"
                );
                assert!(phone.sent <= BLOCK, "{crash:?}");
            } else {
                assert_eq!(first.detail, returned(100), "commit {commit}, {crash:?}: {first:?}");
            }
            if commit == 2 {
                assert_eq!(may_delete(&city, &phone).await, Err(ProblemCode::ValueRemains));
            }
            for _ in 0..20_000 {
                if faults.is_down() {
                    break;
                }
                let _ = phone.wallet.card(&PURSE.into()).await;
            }
            crashes += u32::from(faults.is_down());
            faults.restart();
            let next = phone.operate(Operation::Return, None).await;
            assert_eq!(next.detail, returned(100), "commit {commit}, {crash:?}: {next:?}");
            refunded += 100;
            let books = books_where(&city, |books| books.refunded_fen == refunded).await;
            assert_eq!((books.parked_fen, books.purses_fen), (0, 0), "commit {commit}, {crash:?}");
            assert_eq!(may_delete(&city, &phone).await, Ok(()));
        }
    }
    println!("a return with a crashing centre: {crashes} crashes");
    assert_eq!(crashes, 8);
}

/// Goes on with a return until the list that has been reached answers what `change` makes of it.
async fn answering(
    phone: &mut Phone,
    change: impl Fn(usize, &mut TurnRequest, &mut Phone, &[tsm_api::conversation::Step]),
) -> Outcome {
    let mut reply = phone.wallet.start(&Phone::start_request(Operation::Return, None)).await.unwrap();
    let mut list = 0;
    loop {
        let (conversation, request) = match reply {
            ConversationReply::Outcome { outcome, .. } => return outcome,
            ConversationReply::Steps { conversation, turn, steps, .. } => {
                let mut request = TurnRequest { turn, ..TurnRequest::default() };
                change(list, &mut request, phone, &steps);
                if request.responses.is_empty() && request.fault.is_none() {
                    request = phone.carry(turn, &steps, None);
                    change(list + 100, &mut request, phone, &steps);
                }
                list += 1;
                (conversation, request)
            }
            ConversationReply::Queued { conversation, turn, .. } => {
                (conversation, TurnRequest { turn, ..TurnRequest::default() })
            }
            other => panic!("{other:?}"),
        };
        reply = phone.wallet.turn(conversation, &request).await.unwrap();
    }
}

/// A phone that keeps the block to itself and says that the card took it: the card's own word tells.
#[tokio::test]
async fn a_phone_that_swallows_the_block_gets_nothing() {
    let city = City::new().await;
    let mut phone = with_money(&city, 1, 5000).await;
    city.settled(5000).await;
    let ended = answering(&mut phone, |list, request, phone, steps| {
        if list == 1 {
            request.responses.push(forged(&[]));
            for step in &steps[1..] {
                let response = phone.transmit(&command_of(step).0);
                request.responses.push(HexBytes(response.to_bytes()));
            }
        }
    })
    .await;
    assert_eq!(ended.problem.unwrap().code, ProblemCode::CardUnproven);
    let books = city.settled(5000).await;
    assert_eq!((books.parked_fen, books.refunded_fen), (0, 0));
    let cancelled = phone.operate(Operation::CancelClosing, None).await;
    assert_eq!(cancelled.result, OutcomeResult::Done, "the card proves that it works");
    assert_eq!(phone.operate(Operation::Return, None).await.detail, returned(5000));
    books_where(&city, |books| books.refunded_fen == 5000).await;
}

/// Changed, exchanged and left-out answers of the reading: nothing is parked by them.
#[tokio::test]
async fn forged_answers_of_the_reading_move_no_money() {
    let city = City::new().await;
    let mut phone = with_money(&city, 1, 5000).await;
    city.settled(5000).await;
    type Forgery = fn(&mut TurnRequest);
    let forgeries: [Forgery; 5] = [
        |request| request.responses[2].0[3] ^= 1,
        |request| request.responses.swap(2, 3),
        |request| request.responses[6] = HexBytes(vec![0x6A, 0x83]),
        |request| request.responses[2] = forged(&[0; 22]),
        |request| request.responses.iter_mut().for_each(|response| *response = forged(&[])),
    ];
    for forgery in forgeries {
        let ended = answering(&mut phone, |list, request, _, _| {
            if list == 102 {
                forgery(request);
            }
        })
        .await;
        assert_ne!(ended.result, OutcomeResult::Done, "{ended:?}");
        let books = city.settled(5000).await;
        assert_eq!((books.parked_fen, books.refunded_fen), (0, 0));
    }
    assert_eq!(phone.operate(Operation::Return, None).await.detail, returned(5000));
    books_where(&city, |books| books.refunded_fen == 5000).await;
}

/// A gate taps while the card is blocked and not read yet: the card refuses, so nothing is spent twice.
#[tokio::test]
async fn a_tap_between_the_block_and_the_reading_is_refused_by_the_card() {
    let city = City::new().await;
    let mut phone = with_money(&city, 1, 5000).await;
    city.settled(5000).await;
    let ended = answering(&mut phone, |list, _, phone, _| {
        if list == 101 {
            use tsm_epurse::commands::{InitializeForPurchase, PurchaseKind};
            let command = InitializeForPurchase {
                kind: PurchaseKind::Simple,
                key_index: tsm_epurse::KeyIndex::FIRST,
                amount: tsm_epurse::Amount::from_fen(100),
                terminal: crate::issuer::city::GATE.into(),
            };
            let mut card = phone.card.lock().unwrap();
            let select = tsm_iso7816::CommandApdu::new(0x00, 0xA4, 0x04, 0x00).with_data(PURSE.as_bytes());
            card.transmit(tsm_se::Interface::Contactless, &select.to_bytes().unwrap());
            let tap = command.to_apdu().to_bytes().unwrap();
            let refused = card.transmit(tsm_se::Interface::Contactless, &tap);
            assert_eq!(refused, StatusWord::CONDITIONS_NOT_SATISFIED.0.to_be_bytes());
        }
    })
    .await;
    assert_eq!(ended.detail, returned(5000));
    books_where(&city, |books| books.refunded_fen == 5000 && books.purses_fen == 0).await;
}

/// A phone withholds the proof of a block, cancels, spends, and plays the block again: it hurts nobody.
#[tokio::test]
async fn a_phone_that_spends_after_a_cancel_spends_once() {
    let city = City::new().await;
    let mut phone = with_money(&city, 1, 5000).await;
    city.settled(5000).await;
    let block = std::sync::Mutex::new(None);
    let withheld = answering(&mut phone, |list, request, phone, steps| {
        if list == 1 {
            let command = command_of(&steps[0]).0;
            assert!(phone.transmit(&command).status.is_success(), "the card is blocked");
            *block.lock().unwrap() = Some(command);
            request.fault = Some(tsm_api::conversation::CardFault::CardLost);
        }
    })
    .await;
    assert_eq!(withheld.result, OutcomeResult::Unknown);
    assert_eq!(phone.operate(Operation::CancelClosing, None).await.result, OutcomeResult::Done);
    let tap = purchase(&city, &phone, 300, 1).await;
    phone.reset();
    let block = block.into_inner().unwrap().unwrap();
    let select = tsm_iso7816::CommandApdu::new(0x00, 0xA4, 0x04, 0x00).with_data(PURSE.as_bytes());
    phone.transmit(&select.with_any_response());
    assert!(!phone.transmit(&block).status.is_success(), "an old block blocks nothing");
    assert_eq!(phone.operate(Operation::Return, None).await.detail, returned(4700));
    let gates = city.centre_peer(&city.gate_operator);
    assert_eq!(gates.consumption(&report(vec![tap])).await.unwrap().verdicts, [Verdict::Recorded]);
    let books = books_where(&city, |books| books.refunded_fen == 4700).await;
    assert_eq!((books.purses_fen, books.spent_fen), (0, 300));
}

/// A paid top-up is carried out or cancelled before the card goes; a lock of the holder's does not matter.
///
/// req: B-7.5.1.a
#[tokio::test]
async fn an_open_top_up_comes_first_and_a_locked_card_is_returned() {
    let city = City::new().await;
    let mut phone = with_money(&city, 1, 5000).await;
    city.settled(5000).await;
    let order = phone.paid_order(&city, 700).await;
    let refused = phone.operate(Operation::Return, None).await;
    assert_eq!((refused.result, phone.sent), (OutcomeResult::Refused, 0));
    phone.wallet.cancel_order(order).await.unwrap();
    assert_eq!(phone.operate(Operation::Lock, None).await.result, OutcomeResult::Done);
    assert_eq!(phone.operate(Operation::Return, None).await.detail, returned(5000));
    books_where(&city, |books| books.refunded_fen == 5700).await;
}

/// A card that is in use needs no unlock, and one that the centre holds is not unlocked: a gate may have blocked it.
///
/// req: B-8.5.4.a
#[tokio::test]
async fn only_the_holders_own_lock_is_the_holders_to_lift() {
    let city = City::new().await;
    let mut phone = with_money(&city, 1, 5000).await;
    city.settled(5000).await;
    assert_eq!(phone.operate(Operation::Unlock, None).await.result, OutcomeResult::Done);
    assert_eq!(phone.operate(Operation::Lock, None).await.result, OutcomeResult::Done);
    let number: tsm_domain::CardNumber = phone.card_number().await.parse().unwrap();
    let held = |reason: Option<&str>| {
        let reason = reason.map(str::to_owned);
        city.centre_store.set_frozen(number, reason, Default::default())
    };
    held(Some("reported stolen")).await.unwrap();
    let refused = phone.operate(Operation::Unlock, None).await;
    assert_eq!(refused.problem.unwrap().code, ProblemCode::SuspiciousCard);
    assert_eq!(phone.read().await.select_status, StatusWord::SELECTED_FILE_INVALIDATED);
    let refused = phone.operate(Operation::Return, None).await;
    assert_eq!(refused.problem.unwrap().code, ProblemCode::SuspiciousCard, "frozen cards are not returned");
    held(None).await.unwrap();
    assert_eq!(phone.operate(Operation::Unlock, None).await.result, OutcomeResult::Done);
    assert_eq!(phone.balance().await, 5000);
}

/// A phone cancels a return, keeps the unblock back on a channel of its own, returns the card and plays the
/// unblock afterwards: the card stays blocked.
#[tokio::test]
async fn an_unblock_that_was_kept_back_is_void_when_the_card_is_returned() {
    let city = City::new().await;
    let mut phone = with_money(&city, 1, 5000).await;
    city.settled(5000).await;
    phone.lost = Lost::Response(BLOCK);
    assert_eq!(phone.operate(Operation::Return, None).await.result, OutcomeResult::Unknown);
    (phone.lost, phone.sent) = (Lost::Nothing, 0);
    let on_channel_1 = |phone: &Phone, mut command: tsm_iso7816::CommandApdu| {
        command.cla |= 0x01;
        phone.transmit(&command)
    };
    let open = tsm_iso7816::CommandApdu::new(0x00, 0x70, 0x00, 0x00).with_ne(1);
    assert!(phone.transmit(&open).status.is_success());
    let start = Phone::start_request(Operation::CancelClosing, None);
    let mut reply = phone.wallet.start(&start).await.unwrap();
    let kept = loop {
        let ConversationReply::Steps { conversation, turn, steps, .. } = reply else { panic!("{reply:?}") };
        let first = command_of(&steps[0]).0;
        if first.ins == 0x18 {
            let fault = Some(tsm_api::conversation::CardFault::CardLost);
            let request = TurnRequest { turn, fault, ..TurnRequest::default() };
            phone.wallet.turn(conversation, &request).await.unwrap();
            break first;
        }
        let responses = steps.iter().map(|step| on_channel_1(&phone, command_of(step).0));
        let responses = responses.map(|response| HexBytes(response.to_bytes())).collect();
        let request = TurnRequest { turn, responses, ..TurnRequest::default() };
        reply = phone.wallet.turn(conversation, &request).await.unwrap();
    };
    assert_eq!(phone.operate(Operation::Return, None).await.detail, returned(5000));
    assert!(!on_channel_1(&phone, kept).status.is_success(), "the unblock is void");
    assert_eq!(phone.read().await.select_status, StatusWord::SELECTED_FILE_INVALIDATED);
    books_where(&city, |books| books.refunded_fen == 5000).await;
}
