//! What was interrupted, and what its holder may choose: either way ends in a legal state.

use tsm_api::conversation::{ApplicationState, ConversationReply, OutcomeDetail, OutcomeResult, TurnRequest};
use tsm_api::ids::OperationId;
use tsm_api::problem::ProblemCode;
use tsm_api::se_tsm::peer::OperationKind;
use tsm_api::sp_tsm::wallet::{Operation, OrderState, WorkKind};

use crate::issuer::city::{City, PURSE};
use crate::issuer::phone::{Lost, Phone, uuid};
use crate::issuer::returning::{another, books_where};
use crate::issuer::top_up::opened;

async fn works(phone: &Phone) -> Vec<(WorkKind, bool, bool, bool)> {
    let works = phone.wallet.interrupted().await.unwrap().works;
    works.iter().map(|work| (work.kind, work.may_continue, work.may_cancel, work.needs_card)).collect()
}

/// A return that was interrupted is offered; cancelled, the card is in use; continued, its money goes back.
///
/// req: W-9.3.b, W-9.3.d
#[tokio::test]
async fn an_interrupted_return_is_continued_or_cancelled() {
    let city = City::new().await;
    let mut phone = opened(&city).await;
    assert_eq!(works(&phone).await, []);
    phone.top_up(&city, 5000).await;
    city.settled(5000).await;
    for choice in [Operation::CancelClosing, Operation::Return] {
        (phone.lost, phone.sent) = (Lost::Response(2), 0);
        phone.operate(Operation::Return, None).await;
        phone.lost = Lost::Nothing;
        assert_eq!(works(&phone).await, [(WorkKind::Return, true, true, true)]);
        let refused = phone.operate(Operation::Lock, None).await;
        assert_eq!(refused.result, OutcomeResult::Failed, "a card that is being closed is not locked");
        assert_eq!(phone.operate(choice, None).await.result, OutcomeResult::Done);
        for _ in 0..20_000 {
            if works(&phone).await.is_empty() {
                break;
            }
        }
        assert_eq!(works(&phone).await, []);
    }
    books_where(&city, |books| books.refunded_fen == 5000).await;
}

/// A top-up whose outcome is unknown is not cancelled before the card has proved that nothing was credited.
///
/// req: W-9.3.b, W-9.3.d
#[tokio::test]
async fn an_interrupted_top_up_is_continued_or_cancelled_by_the_cards_proof() {
    let city = City::new().await;
    let mut phone = opened(&city).await;
    for (lost, credited) in [(Lost::Command(2), false), (Lost::Response(2), true)] {
        let order = phone.paid_order(&city, 100).await;
        (phone.lost, phone.sent) = (lost, 0);
        phone.operate(Operation::TopUp, Some(order)).await;
        phone.lost = Lost::Nothing;
        assert_eq!(works(&phone).await, [(WorkKind::TopUp, true, true, true)]);
        let refused = phone.wallet.cancel_order(order).await.unwrap_err();
        assert_eq!(refused.code(), Some(ProblemCode::OutcomeUnknown));
        let seen = phone.operate(Operation::Synchronise, None).await;
        assert_eq!(seen.result, OutcomeResult::Done);
        match phone.wallet.cancel_order(order).await {
            Ok(record) => assert!(!credited && record.state == OrderState::Refunding, "{record:?}"),
            Err(_) => assert!(credited),
        }
    }
    assert_eq!(phone.balance().await, 100);
    assert_eq!(works(&phone).await, []);
    let books = books_where(&city, |books| books.refunded_fen == 100).await;
    assert_eq!((books.purses_fen, books.in_flight_fen), (100, 0));
}

/// The network goes before or after each message of a return; after the reconnection the rider is told, and
/// continues or cancels. Work that the server never heard of is not offered, and nothing has happened.
///
/// req: W-9.3.d
#[tokio::test]
async fn the_network_is_cut_at_every_message_of_a_return() {
    let city = City::new().await;
    let cuts = [(0, true), (1, false), (1, true), (2, false), (2, true), (3, false), (3, true)];
    let (mut number, mut in_use, mut refunded) = (1, 0, 0);
    for (message, sent) in cuts {
        for choice in [Operation::CancelClosing, Operation::Return] {
            number += 1;
            let mut phone = another(&city, number).await;
            assert_eq!(phone.top_up(&city, 100).await.result, OutcomeResult::Done);
            until(&mut phone, message, sent).await;
            let is_parked = (message, sent) == (3, true);
            if !is_parked {
                assert_eq!(works(&phone).await, [(WorkKind::Return, true, true, true)], "{message} {sent}");
            }
            let chosen = phone.operate(choice, None).await;
            let is_legal = chosen.result == OutcomeResult::Done
                || is_parked && (choice, chosen.result) == (Operation::CancelClosing, OutcomeResult::Refused);
            assert!(is_legal, "message {message}, sent {sent}, {choice:?}: {chosen:?}");
            match choice {
                Operation::CancelClosing if !is_parked => in_use += 100,
                _ => refunded += 100,
            }
        }
    }
    println!("a return with the network cut: {} cut points", cuts.len() * 2);
    let books = books_where(&city, |books| books.refunded_fen == refunded).await;
    assert_eq!((books.purses_fen, books.parked_fen, books.in_flight_fen), (in_use, 0, 0));
}

/// Holds a return until this message: it is not sent, or its reply is lost.
async fn until(phone: &mut Phone, message: usize, sent: bool) {
    (phone.lost, phone.sent) = (Lost::Nothing, 0);
    let mut reply = phone.wallet.start(&Phone::start_request(Operation::Return, None)).await.unwrap();
    let mut number = 0;
    loop {
        if number == message && sent {
            return;
        }
        let (conversation, request) = match reply {
            ConversationReply::Steps { conversation, turn, steps, .. } => {
                number += 1;
                (conversation, phone.carry(turn, &steps, None))
            }
            ConversationReply::Queued { conversation, turn, .. } => {
                (conversation, TurnRequest { turn, ..TurnRequest::default() })
            }
            other => panic!("{other:?}"),
        };
        if number == message && !sent {
            return;
        }
        reply = phone.wallet.turn(conversation, &request).await.unwrap();
    }
}

/// An opening that was interrupted is offered before the phone has any card.
///
/// req: W-9.3.b
#[tokio::test]
async fn an_interrupted_opening_is_offered() {
    let city = City::new().await;
    let mut phone = Phone::new(&city, 1);
    let reply = phone.hand_over(&city, OperationId(uuid())).await.unwrap();
    (phone.lost, phone.sent) = (Lost::Command(1), 0);
    assert_ne!(phone.go_on(reply).await.result, OutcomeResult::Done);
    phone.lost = Lost::Nothing;
    assert_eq!(works(&phone).await, [(WorkKind::Opening, true, true, true)]);
    let opened = phone.open(&city).await.unwrap();
    assert!(matches!(opened.detail, OutcomeDetail::Installed { .. }));
    assert_eq!(works(&phone).await, []);
    assert_eq!(phone.wallet.card(&PURSE.into()).await.unwrap().proven_balance_fen, 0);
}

/// An opening is given up at once while nothing was sent, and afterwards only when the SE-TSM has seen that
/// nothing is on the secure element; then it is not offered any more, and a new one can begin.
///
/// req: W-9.3.b, W-9.3.d
#[tokio::test]
async fn an_interrupted_opening_is_cancelled_when_nothing_of_it_is_left() {
    let city = City::new().await;
    let order_of = async |phone: &Phone| {
        let works = phone.wallet.interrupted().await.unwrap().works;
        works.iter().find(|work| work.kind == WorkKind::Opening).and_then(|work| work.order).unwrap()
    };
    let phone = Phone::new(&city, 1);
    let asked = phone.pre_operation(OperationId(uuid()), OperationKind::Download, PURSE);
    city.sp_peer(&city.se_tsm).pre_operation(&asked).await.unwrap();
    let order = order_of(&phone).await;
    for again in ["once", "again"] {
        let cancelled = phone.wallet.cancel_order(order).await.unwrap();
        assert_eq!(cancelled.state, OrderState::Cancelled, "{again}");
    }
    assert_eq!(works(&phone).await, []);

    let mut phone = Phone::new(&city, 2);
    let reply = phone.hand_over(&city, OperationId(uuid())).await.unwrap();
    (phone.lost, phone.sent) = (Lost::Command(1), 0);
    assert_ne!(phone.go_on(reply).await.result, OutcomeResult::Done);
    phone.lost = Lost::Nothing;
    let order = order_of(&phone).await;
    for unsure in [None, Some(ApplicationState::Instantiated), Some(ApplicationState::Useable)] {
        *city.told.state.lock().unwrap() = unsure;
        let refused = phone.wallet.cancel_order(order).await.unwrap_err();
        assert_eq!(refused.code(), Some(ProblemCode::OutcomeUnknown), "{unsure:?}");
        assert_eq!(works(&phone).await, [(WorkKind::Opening, true, true, true)]);
    }
    *city.told.state.lock().unwrap() = Some(ApplicationState::Ready);
    assert_eq!(phone.wallet.cancel_order(order).await.unwrap().state, OrderState::Cancelled);
    assert_eq!(works(&phone).await, []);
    assert!(matches!(phone.open(&city).await.unwrap().detail, OutcomeDetail::Installed { .. }));
    let done = phone.wallet.cancel_order(order).await.unwrap();
    assert_eq!(done.state, OrderState::Cancelled, "the old order stays cancelled");
}
