//! A phone that lies: forged answers, replayed proofs, withheld commands. It may hurt nobody but itself, and
//! cannot make money.

use tsm_api::HexBytes;
use tsm_api::conversation::{ConversationReply, Outcome, OutcomeDetail, OutcomeResult, Step, TurnRequest};
use tsm_api::ids::{ConversationId, OrderId};
use tsm_api::problem::ProblemCode;
use tsm_api::sp_tsm::wallet::{Operation, OrderState, TopUpOrder};
use tsm_iso7816::{CommandApdu, ResponseApdu, StatusWord};
use tsm_storage::shared::{IncidentFilter, Incidents as _};

use crate::issuer::city::{City, PURSE};
use crate::issuer::phone::{Phone, command_of, forged, request_id};
use crate::issuer::top_up::opened;

pub struct List {
    pub conversation: ConversationId,
    pub turn: u32,
    pub steps: Vec<Step>,
}

pub fn list(reply: ConversationReply) -> List {
    match reply {
        ConversationReply::Steps { conversation, turn, steps, .. } => List { conversation, turn, steps },
        other => panic!("no steps: {other:?}"),
    }
}

pub fn outcome(reply: ConversationReply) -> Outcome {
    match reply {
        ConversationReply::Outcome { outcome, .. } => outcome,
        other => panic!("no outcome: {other:?}"),
    }
}

/// The first list of a top-up.
pub async fn begin(phone: &Phone, order: OrderId) -> List {
    let start = Phone::start_request(Operation::TopUp, Some(order));
    match phone.wallet.start(&start).await.unwrap() {
        // The conversation before was still open; it is taken over.
        ConversationReply::Queued { conversation, turn, .. } => {
            let empty = TurnRequest { turn, ..TurnRequest::default() };
            list(phone.wallet.turn(conversation, &empty).await.unwrap())
        }
        other => list(other),
    }
}

pub async fn answer(phone: &Phone, list: &List, responses: Vec<HexBytes>) -> ConversationReply {
    let request = TurnRequest { turn: list.turn, responses, ..TurnRequest::default() };
    phone.wallet.turn(list.conversation, &request).await.unwrap()
}

/// The list with CREDIT FOR LOAD, after an honest first answer.
pub async fn up_to_the_credit(phone: &mut Phone, order: OrderId) -> List {
    let first = begin(phone, order).await;
    let honest = phone.carry(first.turn, &first.steps, None);
    list(answer(phone, &first, honest.responses).await)
}

pub fn credit_command(list: &List) -> CommandApdu {
    assert_eq!(list.steps.len(), 1);
    command_of(&list.steps[0]).0
}

/// Forged 9000s for CREDIT FOR LOAD, without a TAC and with an invented one: the card is asked, and says no.
#[tokio::test]
async fn a_forged_success_of_the_credit_credits_nothing_and_refunds_nothing() {
    let city = City::new().await;
    let mut phone = opened(&city).await;
    let order = phone.paid_order(&city, 5000).await;
    for said in [forged(&[]), forged(&[1, 2, 3, 4]), forged(&[0; 64])] {
        let credit = up_to_the_credit(&mut phone, order).await;
        let asked = list(answer(&phone, &credit, vec![said]).await);
        let honest = phone.carry(asked.turn, &asked.steps, None);
        let ended = outcome(answer(&phone, &asked, honest.responses).await);
        assert_eq!(ended.detail, OutcomeDetail::NotToppedUp { balance_fen: 0 });
        assert_eq!(phone.wallet.order(order).await.unwrap().state, OrderState::Paid, "it can be used again");
    }
    assert_eq!(phone.balance().await, 0);
    let done = phone.operate(Operation::TopUp, Some(order)).await;
    assert_eq!(done.result, OutcomeResult::Done, "{done:?}");
    let books = city.settled(5000).await;
    assert_eq!((books.paid_in_fen, books.refunded_fen), (5000, 0));
}

/// The card credited, and the phone says that it refused: the card is asked, and says yes.
#[tokio::test]
async fn a_forged_refusal_of_the_credit_does_not_get_the_money_back() {
    let city = City::new().await;
    let mut phone = opened(&city).await;
    let order = phone.paid_order(&city, 5000).await;
    let credit = up_to_the_credit(&mut phone, order).await;
    assert!(phone.transmit(&credit_command(&credit)).status.is_success());
    let refused = HexBytes(ResponseApdu::from(StatusWord(0x9302)).to_bytes());
    let asked = list(answer(&phone, &credit, vec![refused.clone()]).await);
    // A phone that goes on lying learns nothing, and the order stays where it is.
    let ended = outcome(answer(&phone, &asked, vec![refused]).await);
    assert_eq!(ended.result, OutcomeResult::Unknown);
    let problem = phone.wallet.cancel_order(order).await.unwrap_err();
    assert_eq!(problem.code(), Some(ProblemCode::OutcomeUnknown));
    let found = phone.operate(Operation::TopUp, Some(order)).await;
    assert_eq!(found.detail, OutcomeDetail::ToppedUp { amount_fen: 5000, balance_fen: 5000, counter: 1 });
    let problem = phone.wallet.cancel_order(order).await.unwrap_err();
    assert_eq!(problem.code(), Some(ProblemCode::StateForbids));
    assert_eq!(phone.balance().await, 5000);
    city.settled(5000).await;
}

/// An answer to INITIALIZE FOR LOAD that is forged, or that the card gave to an earlier list.
#[tokio::test]
async fn forged_and_replayed_proofs_change_nothing() {
    let city = City::new().await;
    let mut phone = opened(&city).await;
    let order = phone.paid_order(&city, 5000).await;
    let first = begin(&phone, order).await;
    let honest = phone.carry(first.turn, &first.steps, None).responses;
    let mut wrong_balance = honest.clone();
    wrong_balance[1].0[3] ^= 1;
    let mut wrong_counter = honest.clone();
    wrong_counter[1].0[5] ^= 1;
    let ended = outcome(answer(&phone, &first, wrong_balance.clone()).await);
    assert_eq!(ended.problem.unwrap().code, ProblemCode::CardUnproven);
    // The very answer that the card gave to the list before, and others.
    for said in [honest, wrong_balance, wrong_counter] {
        let next = begin(&phone, order).await;
        let ended = outcome(answer(&phone, &next, said).await);
        assert_eq!(ended.problem.unwrap().code, ProblemCode::CardUnproven);
        assert_eq!(phone.wallet.order(order).await.unwrap().state, OrderState::Paid);
    }
    let short = begin(&phone, order).await;
    let ended = outcome(answer(&phone, &short, vec![forged(&[]), forged(&[0; 3])]).await);
    assert_eq!(ended.problem.unwrap().code, ProblemCode::CardUnproven);
    assert_eq!(phone.balance().await, 0);
    assert_eq!(phone.operate(Operation::TopUp, Some(order)).await.result, OutcomeResult::Done);
    city.settled(5000).await;
}

/// MAC2 is withheld, the order is asked back, and MAC2 is spent later: no refund, one credit.
#[tokio::test]
async fn a_withheld_credit_spent_later_is_credited_once_and_never_refunded() {
    let city = City::new().await;
    let mut phone = opened(&city).await;
    let order = phone.paid_order(&city, 5000).await;
    let credit = up_to_the_credit(&mut phone, order).await;
    let withheld = credit_command(&credit);
    phone.wallet.cancel(credit.conversation).await.unwrap();
    let problem = phone.wallet.cancel_order(order).await.unwrap_err();
    assert_eq!(problem.code(), Some(ProblemCode::OutcomeUnknown));
    // The card has not been touched since, so it takes the command.
    assert!(phone.transmit(&withheld).status.is_success());
    let problem = phone.wallet.cancel_order(order).await.unwrap_err();
    assert_eq!(problem.code(), Some(ProblemCode::OutcomeUnknown));
    let found = phone.operate(Operation::TopUp, Some(order)).await;
    assert_eq!(found.detail, OutcomeDetail::ToppedUp { amount_fen: 5000, balance_fen: 5000, counter: 1 });
    assert!(!phone.transmit(&withheld).status.is_success());
    let books = city.settled(5000).await;
    assert_eq!((books.paid_in_fen, books.refunded_fen), (5000, 0));
}

/// MAC2 is withheld, the card proves that nothing was credited, the order is cancelled and the money goes
/// back: the withheld MAC2 is worth nothing by then.
#[tokio::test]
async fn a_withheld_credit_is_worthless_once_the_card_was_asked() {
    let city = City::new().await;
    let mut phone = opened(&city).await;
    let order = phone.paid_order(&city, 5000).await;
    let withheld = credit_command(&up_to_the_credit(&mut phone, order).await);
    let synchronised = phone.operate(Operation::Synchronise, None).await;
    assert_eq!(synchronised.result, OutcomeResult::Done, "{synchronised:?}");
    assert_eq!(phone.wallet.cancel_order(order).await.unwrap().state, OrderState::Refunding);
    assert!(!phone.transmit(&withheld).status.is_success());
    assert_eq!(phone.balance().await, 0);
    let books = city.settled(0).await;
    assert_eq!(books.paid_in_fen, 5000);
}

/// A card whose counter moved behind the issuer's back is frozen, with an incident for a person.
#[tokio::test]
async fn a_card_that_contradicts_the_records_is_frozen() {
    let city = City::new().await;
    let mut phone = opened(&city).await;
    let order = phone.paid_order(&city, 5000).await;
    // A copy of the card from before the load: what a cloned or rolled-back card is.
    let image = phone.card.lock().unwrap().image();
    assert_eq!(phone.operate(Operation::TopUp, Some(order)).await.result, OutcomeResult::Done);
    let randomness = Box::new(|bytes: &mut [u8]| getrandom::fill(bytes).unwrap());
    let library = tsm_se::memory::LoadFileLibrary::default();
    let rolled_back = tsm_se::SecureElement::open(&image, library, randomness).unwrap();
    *phone.card.lock().unwrap() = rolled_back;
    let next = phone.paid_order(&city, 5000).await;
    let refused = phone.operate(Operation::TopUp, Some(next)).await;
    assert_eq!(refused.problem.unwrap().code, ProblemCode::SuspiciousCard);
    let order = TopUpOrder { request: request_id(), aid: PURSE.into(), amount_fen: 100 };
    let refused = phone.wallet.order_top_up(&order).await.unwrap_err();
    assert_eq!(refused.code(), Some(ProblemCode::SuspiciousCard));
    let incidents = city.store.incidents(IncidentFilter::Open, 10).await.unwrap();
    assert_eq!(incidents.len(), 1);
    assert_eq!(incidents[0].kind, "suspicious-card");
}

/// Another wallet's order and card do not exist for a stranger.
#[tokio::test]
async fn a_stranger_reaches_nothing_of_others() {
    let city = City::new().await;
    let phone = opened(&city).await;
    let order = phone.paid_order(&city, 5000).await;
    let mut stranger = Phone::new(&city, 9);
    let code = |error: tsm_api::client::ClientError| error.code().unwrap();
    assert_eq!(code(stranger.wallet.order(order).await.unwrap_err()), ProblemCode::UnknownId);
    assert_eq!(code(stranger.wallet.cancel_order(order).await.unwrap_err()), ProblemCode::UnknownId);
    assert_eq!(code(stranger.wallet.card(&PURSE.into()).await.unwrap_err()), ProblemCode::UnknownId);
    let refused = stranger.operate(Operation::TopUp, Some(order)).await;
    assert_eq!(refused.problem.unwrap().code, ProblemCode::UnknownId);
}
