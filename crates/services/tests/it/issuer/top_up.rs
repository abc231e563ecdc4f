//! Topping up: three requests, and every break there can be.

use tsm_api::conversation::{ConversationReply, OutcomeDetail, OutcomeResult, StartOptions, TurnRequest};
use tsm_api::payment::{Pay, PayChoice};
use tsm_api::problem::ProblemCode;
use tsm_api::sp_tsm::wallet::{Operation, OrderState, StartRequest, TopUpOrder};
use tsm_services::payment_sandbox::Faults;
use tsm_storage::memory::Crash;

use crate::issuer::city::{City, PURSE};
use crate::issuer::phone::{Lost, Phone, request_id};

pub async fn opened(city: &City) -> Phone {
    let mut phone = Phone::new(city, 1);
    assert!(crate::issuer::phone::installed(&phone.open(city).await.unwrap()));
    phone.sent = 0;
    phone
}

/// req: B-7.4.1.a, B-7.4.1.b, B-7.4.1.c
#[tokio::test]
async fn a_top_up_takes_three_requests_and_is_recorded_once() {
    let city = City::failing(Faults::doubled()).await;
    let mut phone = opened(&city).await;
    let order = phone.paid_order(&city, 5000).await;
    let before = phone.wallet.client.counters().read().requests;
    let outcome = phone.operate(Operation::TopUp, Some(order)).await;
    assert_eq!(phone.wallet.client.counters().read().requests - before, 3);
    let expected = OutcomeDetail::ToppedUp { amount_fen: 5000, balance_fen: 5000, counter: 1 };
    assert_eq!((outcome.result, outcome.detail), (OutcomeResult::Done, expected.clone()));
    assert_eq!(phone.balance().await, 5000);

    let again = phone.operate(Operation::TopUp, Some(order)).await;
    assert_eq!(again.detail, expected, "the order is used, and its outcome is told again");
    assert_eq!(phone.balance().await, 5000);
    let books = city.settled(5000).await;
    assert_eq!((books.paid_in_fen, books.spent_fen, books.refunded_fen), (5000, 0, 0));
    let number = city.card_number(&phone.card_number().await);
    let account = city.centre_peer(&city.sp_tsm).account(&number).await.unwrap();
    assert_eq!((account.credited_fen, account.online_counter), (5000, 1));
    let card = phone.wallet.card(&PURSE.into()).await.unwrap();
    assert_eq!((card.proven_balance_fen, card.credits.len()), (5000, 1));
    assert_eq!((card.credits[0].state, card.credits[0].counter), (OrderState::Done, 1));
    assert!(card.card_number.contains('*'));
}

/// req: B-7.4.1.b
#[tokio::test]
async fn no_script_goes_out_before_the_payment_is_confirmed() {
    let city = City::new().await;
    let mut phone = opened(&city).await;
    let order = TopUpOrder { request: request_id(), aid: PURSE.into(), amount_fen: 5000 };
    let record = phone.wallet.order_top_up(&order).await.unwrap();
    assert_eq!(phone.wallet.order_top_up(&order).await.unwrap(), record, "the same request, the same order");
    let refused = phone.operate(Operation::TopUp, Some(record.order)).await;
    assert_eq!(refused.problem.unwrap().code, ProblemCode::PaymentNotConfirmed);
    assert_eq!(phone.sent, 0);
    city.payer().pay(record.payment.unwrap(), &Pay { choice: PayChoice::Decline }).await.unwrap();
    let refused = phone.operate(Operation::TopUp, Some(record.order)).await;
    assert_eq!(refused.problem.unwrap().code, ProblemCode::PaymentNotConfirmed);
    let cancelled = phone.wallet.cancel_order(record.order).await.unwrap();
    assert_eq!(cancelled.state, OrderState::Cancelled);
    let refused = phone.operate(Operation::TopUp, Some(record.order)).await;
    assert_eq!(refused.problem.unwrap().code, ProblemCode::OrderUsed);
}

/// A wallet that goes to the card straight from paying is not turned away.
#[tokio::test]
async fn a_wallet_that_is_faster_than_the_notification_waits_for_it() {
    let city = City::new().await;
    let mut phone = opened(&city).await;
    for round in 1..=5 {
        let order = TopUpOrder { request: request_id(), aid: PURSE.into(), amount_fen: 100 };
        let record = phone.wallet.order_top_up(&order).await.unwrap();
        city.payer().pay(record.payment.unwrap(), &Pay { choice: PayChoice::Pay }).await.unwrap();
        let outcome = phone.operate(Operation::TopUp, Some(record.order)).await;
        assert_eq!(outcome.result, OutcomeResult::Done, "round {round}: {outcome:?}");
    }
    assert_eq!(phone.balance().await, 500);
}

#[tokio::test]
async fn amounts_outside_the_limits_are_refused() {
    let city = City::new().await;
    let mut phone = opened(&city).await;
    for amount_fen in [0, 99, 50_001, u32::MAX] {
        let order = TopUpOrder { request: request_id(), aid: PURSE.into(), amount_fen };
        let refused = phone.wallet.order_top_up(&order).await.unwrap_err();
        assert_eq!(refused.code(), Some(ProblemCode::AmountRefused), "{amount_fen}");
    }
    for _ in 0..2 {
        assert_eq!(phone.top_up(&city, 50_000).await.result, OutcomeResult::Done);
    }
    let order = TopUpOrder { request: request_id(), aid: PURSE.into(), amount_fen: 100 };
    let refused = phone.wallet.order_top_up(&order).await.unwrap_err();
    assert_eq!(refused.code(), Some(ProblemCode::AmountRefused), "the purse is full");
}

/// The power is cut, or the way to the card breaks, at every APDU, before and after the card acted: the next
/// contact finds out, and each payment credits once.
///
/// req: B-7.4.1.c
#[tokio::test]
async fn a_top_up_torn_at_every_apdu_credits_once() {
    let city = City::new().await;
    let mut phone = opened(&city).await;
    let mut sum = 0;
    for at in 0..3 {
        for lost in [Lost::Command(at), Lost::Response(at)] {
            let order = phone.paid_order(&city, 100).await;
            (phone.lost, phone.sent) = (lost, 0);
            let broken = phone.operate(Operation::TopUp, Some(order)).await;
            assert_eq!(broken.result, OutcomeResult::Unknown, "{lost:?}");
            // Cancelling gives nothing back while nobody knows.
            if at == 2 {
                let refused = phone.wallet.cancel_order(order).await.unwrap_err();
                assert_eq!(refused.code(), Some(ProblemCode::OutcomeUnknown), "{lost:?}");
            }
            // The recovery itself is torn too.
            for torn in [Lost::Command(1), Lost::Response(2), Lost::Nothing] {
                (phone.lost, phone.sent) = (torn, 0);
                let next = phone.operate(Operation::TopUp, Some(order)).await;
                if torn == Lost::Nothing {
                    assert_eq!(next.result, OutcomeResult::Done, "{lost:?}: {next:?}");
                }
            }
            sum += 100;
            assert_eq!(phone.balance().await, sum, "{lost:?}");
        }
    }
    city.settled(sum.into()).await;
    let number = city.card_number(&phone.card_number().await);
    let account = city.centre_peer(&city.sp_tsm).account(&number).await.unwrap();
    assert_eq!(account.credited_fen, u64::from(sum));
}

/// Each of the three messages is lost on its way there or back, and the wallet repeats it, or dies and begins
/// anew.
///
/// req: B-7.4.1.c
#[tokio::test]
async fn a_top_up_with_every_message_lost_or_repeated_credits_once() {
    let city = City::new().await;
    let mut phone = opened(&city).await;
    let mut sum = 0;
    for message in 0..3 {
        for death in [Death::None, Death::BeforeSending, Death::AfterSending] {
            let order = phone.paid_order(&city, 100).await;
            let outcome = match carry_until(&mut phone, order, message, death).await {
                Some(outcome) => outcome,
                None => phone.operate(Operation::TopUp, Some(order)).await,
            };
            sum += 100;
            assert_eq!(outcome.result, OutcomeResult::Done, "message {message}, {death:?}: {outcome:?}");
            assert_eq!(phone.balance().await, sum, "message {message}, {death:?}");
        }
    }
    let books = city.settled(sum.into()).await;
    assert_eq!(books.paid_in_fen, u64::from(sum));
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Death {
    /// The reply is lost and the wallet repeats the request.
    None,
    /// The wallet dies before the request.
    BeforeSending,
    /// The wallet dies after the request.
    AfterSending,
}

async fn carry_until(
    phone: &mut Phone,
    order: tsm_api::ids::OrderId,
    message: usize,
    death: Death,
) -> Option<tsm_api::conversation::Outcome> {
    let start = Phone::start_request(Operation::TopUp, Some(order));
    if message == 0 && death == Death::BeforeSending {
        return None;
    }
    let mut reply = phone.wallet.start(&start).await.unwrap();
    if message == 0 {
        if death == Death::AfterSending {
            return None;
        }
        assert_eq!(phone.wallet.start(&start).await.unwrap(), reply);
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
        if turn_number == message && death == Death::BeforeSending {
            return None;
        }
        reply = phone.wallet.turn(conversation, &request).await.unwrap();
        if turn_number == message {
            if death == Death::AfterSending {
                return None;
            }
            assert_eq!(phone.wallet.turn(conversation, &request).await.unwrap(), reply);
        }
    }
    None
}

/// The server dies before and after each commit of a top-up and is started again over its store.
///
/// req: B-7.4.1.b, B-7.4.1.c
#[tokio::test]
async fn a_server_that_crashes_at_any_commit_of_a_top_up_credits_once() {
    let mut city = City::new().await;
    let mut phone = opened(&city).await;
    let (mut sum, mut crashes) = (0, 0);
    for commit in 1..=8 {
        for crash in [Crash::BeforeCommit, Crash::AfterCommit] {
            let order = phone.paid_order(&city, 100).await;
            city.faults.crash_at(city.faults.commits() + commit, crash);
            let first = phone.operate(Operation::TopUp, Some(order)).await;
            if city.faults.is_down() {
                crashes += 1;
                city.restart_sp_tsm().await;
                phone.reconnect(&city);
                let next = phone.operate(Operation::TopUp, Some(order)).await;
                assert_eq!(next.result, OutcomeResult::Done, "commit {commit}, {crash:?}: {next:?}");
            } else {
                city.faults.restart();
                assert_eq!(first.result, OutcomeResult::Done, "commit {commit}, {crash:?}: {first:?}");
            }
            sum += 100;
            assert_eq!(phone.balance().await, sum, "commit {commit}, {crash:?}");
        }
    }
    assert!(crashes >= 8, "a top-up has four commits at least, and only {crashes} crashes happened");
    let books = city.settled(sum.into()).await;
    assert_eq!(books.paid_in_fen, u64::from(sum));
}

/// A conversation of a server that was started again is answered with restart, and the wallet begins anew.
#[tokio::test]
async fn a_conversation_that_the_server_forgot_is_begun_anew() {
    let mut city = City::new().await;
    let mut phone = opened(&city).await;
    let order = phone.paid_order(&city, 100).await;
    let start = Phone::start_request(Operation::TopUp, Some(order));
    let reply = phone.wallet.start(&start).await.unwrap();
    let ConversationReply::Steps { conversation, turn, steps, .. } = reply else { panic!("{reply:?}") };
    let request = phone.carry(turn, &steps, None);
    city.restart_sp_tsm().await;
    phone.reconnect(&city);
    let reply = phone.wallet.turn(conversation, &request).await.unwrap();
    assert!(matches!(reply, ConversationReply::Restart { .. }), "{reply:?}");
    assert_eq!(phone.operate(Operation::TopUp, Some(order)).await.result, OutcomeResult::Done);
}

/// An order that was paid and never carried to the card is cancelled, and its money goes back once.
#[tokio::test]
async fn a_cancelled_order_gives_its_payment_back_once() {
    let city = City::new().await;
    let mut phone = opened(&city).await;
    let order = phone.paid_order(&city, 5000).await;
    phone.wallet.cancel_order(order).await.unwrap();
    assert_eq!(phone.wallet.cancel_order(order).await.unwrap().state, OrderState::Refunding);
    let refused = phone.operate(Operation::TopUp, Some(order)).await;
    assert_eq!(refused.problem.unwrap().code, ProblemCode::OrderUsed);
    for _ in 0..20_000 {
        let books = city.centre_peer(&city.sp_tsm).books().await.unwrap();
        if books.refunded_fen == 5000 {
            assert_eq!((books.paid_in_fen, books.in_flight_fen, books.refund_payable_fen), (5000, 0, 0));
            return;
        }
    }
    panic!("the money never went back");
}

/// A phone that is locked cannot be topped up; unlocked, it can (B-8.5.4).
///
/// req: B-8.5.4.a, B-8.5.4.b, P-5.8.4.3.1.d
#[tokio::test]
async fn a_locked_purse_moves_no_value_until_it_is_unlocked() {
    let city = City::new().await;
    let mut phone = opened(&city).await;
    phone.top_up(&city, 500).await;
    let before = phone.read().await;
    phone.reset();
    let locked = phone.operate(Operation::Lock, None).await;
    assert_eq!(locked.result, OutcomeResult::Done, "{locked:?}");
    let order = TopUpOrder { request: request_id(), aid: PURSE.into(), amount_fen: 100 };
    let refused = phone.wallet.order_top_up(&order).await.unwrap_err();
    assert_eq!(refused.code(), Some(ProblemCode::CardLocked));
    let reading = phone.read().await;
    assert_eq!(reading.select_status.0, 0x6283, "a blocked purse says so");
    phone.reset();
    let unlocked = phone.operate(Operation::Unlock, None).await;
    assert_eq!(unlocked.result, OutcomeResult::Done, "{unlocked:?}");
    assert_eq!(phone.read().await, before, "balance and records are what they were");
    assert_eq!(phone.top_up(&city, 100).await.result, OutcomeResult::Done);
    let kinds: Vec<_> = city.told.results.lock().unwrap().iter().map(|result| result.kind).collect();
    use tsm_api::se_tsm::peer::OperationKind as Kind;
    assert_eq!(kinds, [Kind::Download, Kind::Lock, Kind::Unlock]);
}

/// Synchronisation settles what was unknown, and keeps what the purse proves.
#[tokio::test]
async fn synchronisation_settles_an_unknown_top_up() {
    let city = City::new().await;
    let mut phone = opened(&city).await;
    let quiet = phone.operate(Operation::Synchronise, None).await;
    let expected = OutcomeDetail::PurseSynchronised { balance_fen: 0, counter: 0, corrected: 0 };
    assert_eq!(quiet.detail, expected);
    let order = phone.paid_order(&city, 300).await;
    (phone.lost, phone.sent) = (Lost::Response(2), 0);
    assert_eq!(phone.operate(Operation::TopUp, Some(order)).await.result, OutcomeResult::Unknown);
    phone.lost = Lost::Nothing;
    let settled = phone.operate(Operation::Synchronise, None).await;
    let expected = OutcomeDetail::PurseSynchronised { balance_fen: 300, counter: 1, corrected: 1 };
    assert_eq!(settled.detail, expected);
    city.settled(300).await;
    let told = phone.operate(Operation::TopUp, Some(order)).await;
    assert!(matches!(told.detail, OutcomeDetail::ToppedUp { .. }), "{told:?}");
    assert_eq!(phone.balance().await, 300);
}

/// Another operation holds the card: the person is asked, as the wallet wished.
#[tokio::test]
async fn a_second_operation_on_the_card_is_told_that_it_is_busy() {
    let city = City::new().await;
    let phone = opened(&city).await;
    let order = phone.paid_order(&city, 100).await;
    let first = Phone::start_request(Operation::TopUp, Some(order));
    phone.wallet.start(&first).await.unwrap();
    let second = StartRequest {
        options: StartOptions { request: request_id(), if_busy: tsm_api::conversation::IfBusy::Ask },
        ..first
    };
    assert_eq!(phone.wallet.start(&second).await.unwrap_err().code(), Some(ProblemCode::Busy));
}
