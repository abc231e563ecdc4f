//! Two processes of a role on one store: a conversation lives in one of them, and the other brings it what its
//! wallet says.

use std::sync::Arc;

use tsm_api::client::{Client, PaymentUser, SpTsmWallet};
use tsm_api::conversation::{ConversationReply, Outcome, OutcomeResult};
use tsm_api::payment::purse::CardChoice;
use tsm_api::problem::ProblemCode;
use tsm_api::sp_tsm::wallet::Operation;
use tsm_services::server::InProcess;
use tsm_services::{payment_sandbox, sp_tsm};

use crate::issuer::city::City;
use crate::issuer::online::{booked, converse, loaded, ordered, paid, request, to_the_debit};
use crate::issuer::phone::Phone;
use crate::issuer::top_up::opened;
use crate::neighbours::{Direct, Neighbours, Places};
use crate::support::environment;

fn process(city: &City, here: &'static str, all: &Places) -> Client {
    let peer = city.sp_tsm.peer();
    let neighbours = Neighbours { here, peer: peer.clone(), all: all.clone() };
    let tsm = city.sp_tsm_among(city.payment_platform(), environment(), Some(Arc::new(neighbours)));
    let app = InProcess::new(sp_tsm::routes(tsm).into_router());
    let client = Client::new(Arc::new(Direct(app, Some(peer.certificate.clone()))));
    all.lock().unwrap().insert(here, client.clone().signing(city.sp_tsm.signing()));
    client
}

/// A process of the payment platform.
fn payment_process(city: &City, here: &'static str, all: &Places) -> PaymentUser {
    let peer = city.payment.peer();
    let neighbours = Neighbours { here, peer: peer.clone(), all: all.clone() };
    let sandbox = city.sandbox_among(payment_sandbox::Faults::default(), Some(Arc::new(neighbours)));
    let app = InProcess::new(payment_sandbox::routes(sandbox).into_router());
    let client = Client::new(Arc::new(Direct(app, Some(peer.certificate.clone()))));
    all.lock().unwrap().insert(here, client.clone());
    PaymentUser::new(client)
}

/// Each turn of a payment reaches the process that holds it, whichever is asked; one that is gone has taken its
/// conversations with it, and the payment is begun anew and paid once.
#[tokio::test]
async fn a_payments_turns_reach_the_process_that_holds_it() {
    let city = City::new().await;
    let mut phone = loaded(&city, 5_000).await;
    let all = Places::default();
    let (first, second) = (payment_process(&city, "first", &all), payment_process(&city, "second", &all));
    let payment = ordered(&city, 1_200).await;
    let reply = first.pay_from_card(payment, &request(CardChoice::Pay)).await.unwrap();
    let outcome = converse(&mut phone, &second, reply).await.unwrap();
    assert_eq!(outcome.detail, paid(1_200, 3_800, 1));
    phone.reset();

    let next = ordered(&city, 300).await;
    let reply = first.pay_from_card(next, &request(CardChoice::Pay)).await.unwrap();
    let (conversation, turn, debit) = to_the_debit(&mut phone, &second, reply).await;
    let answer = phone.carry(turn, &debit, None);
    all.lock().unwrap().remove("first");
    let lost = second.turn(conversation, &answer).await;
    assert!(!matches!(lost, Ok(ConversationReply::Outcome { .. })), "{lost:?}");
    phone.reset();
    let reply = second.pay_from_card(next, &request(CardChoice::Pay)).await.unwrap();
    assert_eq!(converse(&mut phone, &second, reply).await.unwrap().detail, paid(300, 3_500, 2));
    booked(&city, 3_500, 1_500).await;
}

/// A cancel finds its conversation in whichever process that is; nobody else's wallet can stop it.
#[tokio::test]
async fn a_cancel_reaches_the_process_that_holds_the_conversation() {
    let city = City::new().await;
    let mut phone = opened(&city).await;
    let stranger = Phone::new(&city, 9);
    let all = Places::default();
    let (first, second) = (process(&city, "first", &all), process(&city, "second", &all));
    let wallet = |client: &Client, phone: &Phone| {
        SpTsmWallet::new(client.clone().with_bearer(city.assertion(&phone.se_id, phone.number)))
    };
    let start = Phone::start_request(Operation::Synchronise, None);
    let reply = wallet(&first, &phone).start(&start).await.unwrap();
    let ConversationReply::Steps { conversation, turn, steps, .. } = reply else { panic!("{reply:?}") };
    let refused = wallet(&second, &stranger).cancel(conversation).await.unwrap_err();
    assert_eq!(refused.code(), Some(ProblemCode::UnknownId));
    wallet(&second, &phone).cancel(conversation).await.unwrap();
    let answer = phone.carry(turn, &steps, None);
    let reply = wallet(&second, &phone).turn(conversation, &answer).await.unwrap();
    let ConversationReply::Outcome { outcome: Outcome { result, .. }, .. } = reply else {
        panic!("{reply:?}")
    };
    assert_eq!(result, OutcomeResult::Unknown, "it was stopped while a list was with the card");
    let gone =
        wallet(&second, &phone).cancel(tsm_api::ids::ConversationId(crate::issuer::phone::uuid())).await;
    assert_eq!(gone.unwrap_err().code(), Some(ProblemCode::UnknownId));
}
