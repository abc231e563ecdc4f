//! The conversation engine: turns, repetition, the line at a secure element, stops, forgotten ones.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use tsm_api::HexBytes;
use tsm_api::conversation::{
    CardFault, ConversationReply, IfBusy, Outcome, OutcomeDetail, OutcomeResult, RestartReason, Stage,
    TurnRequest,
};
use tsm_api::ids::{ConversationId, RequestId, TaskId};
use tsm_api::problem::ProblemCode;
use tsm_card::channel::{CardChannel as _, ChannelError};
use tsm_card::step::Step;
use tsm_domain::SeId;
use tsm_iso7816::CommandApdu;
use tsm_services::conversation::{Ending, Engine, Flow, Limits, MemoryLeases, Start, StopReason};
use uuid::Uuid;

use crate::support::environment;

fn engine(limits: Limits) -> Engine {
    Engine::new(environment(), Arc::new(MemoryLeases::default()), limits)
}

fn se(number: u8) -> SeId {
    SeId::new(&[number; 8]).unwrap()
}

fn start(number: u8, request: u128, if_busy: IfBusy, flow: Flow) -> Start {
    Start {
        se: se(number),
        request: RequestId(Uuid::from_u128(request)),
        task: TaskId(Uuid::from_u128(request)),
        operation: "test",
        if_busy,
        flow,
    }
}

/// A flow of so many exchanges of one step each; ends with what the last exchange gave.
fn rounds(count: usize) -> Flow {
    Box::new(move |mut session| {
        async move {
            for round in 0..count {
                session.progress.say(Stage::Loading, (round * 100 / count) as u8);
                let step = Step::transmit(CommandApdu::new(0x80, 0xCA, 0, round as u8));
                match session.card.exchange(vec![step]).await {
                    Ok(_) => {}
                    Err(ChannelError::NotSent) => {
                        return Outcome::failed(ProblemCode::CardUnreachable.into()).into();
                    }
                    Err(_) => return Outcome::unknown(ProblemCode::OutcomeUnknown.into()).into(),
                }
            }
            Ending::from(Outcome::done(OutcomeDetail::Nothing))
        }
        .boxed()
    })
}

fn answer(turn: u32) -> TurnRequest {
    TurnRequest { turn, responses: vec![HexBytes(vec![0x90, 0x00])], ..TurnRequest::default() }
}

fn steps(reply: &ConversationReply) -> (ConversationId, u32) {
    match reply {
        ConversationReply::Steps { conversation, turn, .. } => (*conversation, *turn),
        other => panic!("not steps: {other:?}"),
    }
}

fn result(reply: &ConversationReply) -> OutcomeResult {
    match reply {
        ConversationReply::Outcome { outcome, .. } => outcome.result,
        other => panic!("no outcome: {other:?}"),
    }
}

/// A repeated request gets the same reply, at the start, in the middle and at the end, and nothing is
/// done twice.
#[tokio::test]
async fn repeated_requests_get_the_same_reply() {
    let engine = engine(Limits::default());
    let first = engine.start(start(1, 1, IfBusy::Ask, rounds(2))).await.unwrap();
    let again = engine.start(start(1, 1, IfBusy::Ask, rounds(2))).await.unwrap();
    assert_eq!(first, again);
    let (id, turn) = steps(&first);
    assert_eq!(turn, 1);
    let second = engine.turn(id, Some(&se(1)), answer(1)).await.unwrap();
    assert_eq!(engine.turn(id, Some(&se(1)), answer(1)).await.unwrap(), second);
    assert_eq!(steps(&second), (id, 2));
    let end = engine.turn(id, Some(&se(1)), answer(2)).await.unwrap();
    assert_eq!(result(&end), OutcomeResult::Done);
    assert_eq!(engine.turn(id, Some(&se(1)), answer(2)).await.unwrap(), end);
}

#[tokio::test]
async fn old_and_invented_turns_are_refused() {
    let engine = engine(Limits::default());
    let (id, _) = steps(&engine.start(start(1, 1, IfBusy::Ask, rounds(4))).await.unwrap());
    engine.turn(id, None, answer(1)).await.unwrap();
    engine.turn(id, None, answer(2)).await.unwrap();
    assert_eq!(engine.turn(id, None, answer(1)).await.unwrap_err().code, ProblemCode::StaleTurn);
    assert_eq!(engine.turn(id, None, answer(9)).await.unwrap_err().code, ProblemCode::MalformedRequest);
}

/// Responses that cannot be an answer to the list change nothing; the right ones are still taken.
#[tokio::test]
async fn impossible_responses_are_refused_and_the_conversation_goes_on() {
    let engine = engine(Limits::default());
    let (id, _) = steps(&engine.start(start(1, 1, IfBusy::Ask, rounds(1))).await.unwrap());
    let bytes = |list: &[&[u8]]| list.iter().map(|bytes| HexBytes(bytes.to_vec())).collect::<Vec<_>>();
    for responses in [bytes(&[]), bytes(&[&[0x90, 0], &[0x90, 0]]), bytes(&[&[0x90]]), bytes(&[&[]])] {
        let request = TurnRequest { turn: 1, responses, ..TurnRequest::default() };
        assert_eq!(engine.turn(id, None, request).await.unwrap_err().code, ProblemCode::MalformedRequest);
    }
    assert_eq!(result(&engine.turn(id, None, answer(1)).await.unwrap()), OutcomeResult::Done);
}

/// A request that is dropped half way leaves the flow running; its reply waits for the repetition.
#[tokio::test]
async fn a_dropped_request_cancels_nothing() {
    let engine = engine(Limits::default());
    let (id, _) = steps(&engine.start(start(1, 1, IfBusy::Ask, rounds(2))).await.unwrap());
    assert!(engine.turn(id, None, answer(1)).now_or_never().is_none(), "the task has not run yet");
    let second = engine.turn(id, None, answer(1)).await.unwrap();
    assert_eq!(steps(&second), (id, 2));
}

#[tokio::test]
async fn an_unknown_conversation_and_one_of_another_element_are_told_to_restart() {
    let engine = engine(Limits::default());
    let restart = ConversationReply::Restart { reason: RestartReason::UnknownConversation };
    let stranger = ConversationId(Uuid::from_u128(7));
    assert_eq!(engine.turn(stranger, None, answer(1)).await.unwrap(), restart);
    let (id, _) = steps(&engine.start(start(1, 1, IfBusy::Ask, rounds(1))).await.unwrap());
    assert_eq!(engine.turn(id, Some(&se(2)), answer(1)).await.unwrap(), restart);
    assert_eq!(
        engine.stop(id, Some(&se(2)), StopReason::Cancelled).unwrap_err().code,
        ProblemCode::UnknownId
    );
}

/// While one operation holds the card the person is asked, and may wait for it or take its place.
///
/// req: P-5.8.8.b, P-5.8.8.d
#[tokio::test]
async fn a_second_operation_asks_waits_or_replaces() {
    let engine = engine(Limits::default());
    let (first, _) = steps(&engine.start(start(1, 1, IfBusy::Ask, rounds(1))).await.unwrap());
    let busy = engine.start(start(1, 2, IfBusy::Ask, rounds(1))).await.unwrap_err();
    assert_eq!(busy.code, ProblemCode::Busy);

    let waiting = engine.start(start(1, 3, IfBusy::Queue, rounds(1))).await.unwrap();
    let ConversationReply::Queued { conversation, turn, ahead: 1 } = waiting else { panic!("{waiting:?}") };
    let ends_first = engine.turn(first, None, answer(1)).await.unwrap();
    assert_eq!(result(&ends_first), OutcomeResult::Done);
    let empty = TurnRequest { turn, ..TurnRequest::default() };
    let (third, turn) = steps(&engine.turn(conversation, None, empty).await.unwrap());

    let newest = engine.start(start(1, 4, IfBusy::Replace, rounds(1))).await.unwrap();
    let late = engine.turn(third, None, answer(turn)).await.unwrap();
    assert_eq!(result(&late), OutcomeResult::Cancelled, "late data of the replaced operation are not taken");
    let (newest, turn) = match newest {
        ConversationReply::Queued { conversation, turn, .. } => {
            let empty = TurnRequest { turn, ..TurnRequest::default() };
            steps(&engine.turn(conversation, None, empty).await.unwrap())
        }
        other => steps(&other),
    };
    assert_eq!(result(&engine.turn(newest, None, answer(turn)).await.unwrap()), OutcomeResult::Done);
}

/// Many operations asked for at one secure element at once: never two hold it, and they come in order.
///
/// req: P-5.8.8.a
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_link_at_a_time_in_the_order_of_asking() {
    const MANY: usize = 1000;
    let limits = Limits { waiting: MANY, ..Limits::default() };
    let engine = engine(limits);
    let (open, most, order) = (
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicUsize::new(0)),
        Arc::new(std::sync::Mutex::new(Vec::new())),
    );
    for number in 0..MANY {
        let (open, most, order) = (open.clone(), most.clone(), order.clone());
        let flow: Flow = Box::new(move |_| {
            async move {
                most.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                order.lock().unwrap().push(number);
                tokio::task::yield_now().await;
                open.fetch_sub(1, Ordering::SeqCst);
                Ending::from(Outcome::done(OutcomeDetail::Nothing))
            }
            .boxed()
        });
        engine.start_in_background(start(1, number as u128, IfBusy::Queue, flow)).unwrap();
    }
    let last = engine.start(start(1, MANY as u128, IfBusy::Queue, rounds(0))).await.unwrap();
    let last = match last {
        ConversationReply::Queued { conversation, turn, .. } => {
            engine.turn(conversation, None, TurnRequest { turn, ..TurnRequest::default() }).await.unwrap()
        }
        other => other,
    };
    assert_eq!(result(&last), OutcomeResult::Done);
    assert_eq!(most.load(Ordering::SeqCst), 1);
    assert_eq!(*order.lock().unwrap(), (0..MANY).collect::<Vec<_>>());
}

/// The running operation and those that wait can be asked for and stopped.
///
/// req: P-5.8.8.e
#[tokio::test]
async fn the_line_can_be_seen_and_its_tasks_terminated() {
    let engine = engine(Limits::default());
    let (running, _) = steps(&engine.start(start(1, 1, IfBusy::Ask, rounds(1))).await.unwrap());
    engine.start_in_background(start(1, 2, IfBusy::Queue, rounds(1))).unwrap();
    engine.start_in_background(start(1, 3, IfBusy::Queue, rounds(1))).unwrap();
    let tasks =
        |engine: &Engine| engine.tasks(&se(1)).iter().map(|task| task.task.0.as_u128()).collect::<Vec<_>>();
    assert_eq!(tasks(&engine), [1, 2, 3]);
    assert!(engine.tasks(&se(2)).is_empty());

    engine.stop_task(TaskId(Uuid::from_u128(1)), StopReason::Terminated).unwrap();
    let end = engine.turn(running, None, answer(1)).await.unwrap();
    assert_eq!(result(&end), OutcomeResult::Unknown, "its list was with the phone already");
    assert_eq!(tasks(&engine), [2, 3]);
    let unknown = engine.stop_task(TaskId(Uuid::from_u128(9)), StopReason::Terminated).unwrap_err();
    assert_eq!(unknown.code, ProblemCode::UnknownId);
}

#[tokio::test]
async fn a_lost_card_and_silence_leave_the_outcome_unknown() {
    let engine = engine(Limits { idle: Duration::from_millis(20), ..Limits::default() });
    let (id, _) = steps(&engine.start(start(1, 1, IfBusy::Ask, rounds(1))).await.unwrap());
    let lost = TurnRequest { turn: 1, fault: Some(CardFault::CardLost), ..TurnRequest::default() };
    assert_eq!(result(&engine.turn(id, None, lost).await.unwrap()), OutcomeResult::Unknown);

    engine.start(start(1, 2, IfBusy::Ask, rounds(1))).await.unwrap();
    let next = engine.start(start(1, 3, IfBusy::Queue, rounds(0))).await.unwrap();
    let ConversationReply::Queued { conversation, turn, .. } = next else { panic!("{next:?}") };
    let empty = TurnRequest { turn, ..TurnRequest::default() };
    let end = engine.turn(conversation, None, empty).await.unwrap();
    assert_eq!(result(&end), OutcomeResult::Done, "the silent one has made room");
}

#[tokio::test]
async fn a_flow_that_panics_ends_unknown_and_makes_room() {
    let engine = engine(Limits::default());
    let flow: Flow = Box::new(|_| async { panic!("a bug in a flow") }.boxed());
    let end = engine.start(start(1, 1, IfBusy::Ask, flow)).await.unwrap();
    assert_eq!(result(&end), OutcomeResult::Unknown);
    assert_eq!(
        result(&engine.start(start(1, 2, IfBusy::Queue, rounds(0))).await.unwrap()),
        OutcomeResult::Done
    );
}

#[tokio::test]
async fn ended_conversations_are_forgotten() {
    let engine = engine(Limits { kept: Duration::ZERO, ..Limits::default() });
    let end = engine.start(start(1, 1, IfBusy::Ask, rounds(0))).await.unwrap();
    let ConversationReply::Outcome { conversation, .. } = end else { panic!("{end:?}") };
    loop {
        tokio::task::yield_now().await;
        if matches!(
            engine.turn(conversation, None, answer(1)).await.unwrap(),
            ConversationReply::Restart { .. }
        ) {
            return;
        }
    }
}
