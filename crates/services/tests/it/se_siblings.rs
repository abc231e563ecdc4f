//! Two processes of the SE-TSM on one store: a conversation lives in one of them, and the other brings it what its
//! wallet says, a cancel too.

use std::sync::Arc;

use tsm_api::HexBytes;
use tsm_api::client::{Client, SeTsmWallet};
use tsm_api::conversation::{
    ConversationReply, IfBusy, OutcomeDetail, OutcomeResult, StartOptions, TurnRequest,
};
use tsm_api::ids::ConversationId;
use tsm_api::problem::ProblemCode;
use tsm_api::se_tsm::wallet::{Operation, StartRequest};
use tsm_api::signature::MessageVerifier;
use tsm_services::se_tsm;
use tsm_services::server::{InProcess, Peer};

use crate::neighbours::{Direct, Neighbours, Places};
use crate::phone::Phone;
use crate::world::World;

fn process(world: &World, here: &'static str, all: &Places) -> Client {
    let verifier = world.sp.1.signer().unwrap().public_key();
    let peer = Peer {
        institution: "SETSM".into(),
        name: "SETSM".into(),
        certificate: HexBytes(vec![7; 32]),
        verifier: MessageVerifier::from_point(verifier.as_bytes()).unwrap(),
    };
    let tsm = world.process(Arc::new(Neighbours { here, peer, all: all.clone() }));
    let client = Client::new(Arc::new(Direct(InProcess::new(se_tsm::routes(tsm).into_router()), None)));
    all.lock().unwrap().insert(here, client.clone());
    client
}

/// A registered phone at a process, and what it shows of its session.
async fn registered(client: &Client, number: u8, msisdn: &str) -> (Phone, String) {
    let mut phone = Phone::new(client.clone(), &[0x10, 0, 0, 0, 0, 0, 0, number]);
    let end = phone.register(msisdn).await;
    let ConversationReply::Outcome { outcome, .. } = end else { panic!("{end:?}") };
    let OutcomeDetail::Registered { session, .. } = outcome.detail else { panic!("{outcome:?}") };
    (phone, session)
}

fn synchronise() -> StartRequest {
    StartRequest {
        options: StartOptions { request: Phone::request_id(), if_busy: IfBusy::Ask },
        operation: Operation::Synchronise,
        aid: None,
        ticket: None,
        order: None,
    }
}

/// A cancel finds its conversation in whichever process that is; nobody else's wallet can stop it, and one that is
/// unknown everywhere is unknown.
#[tokio::test]
async fn a_cancel_reaches_the_process_that_holds_the_conversation() {
    let world = World::new().await;
    let all = Places::default();
    let (first, second) = (process(&world, "first", &all), process(&world, "second", &all));
    let (mut phone, session) = registered(&first, 1, "13800138001").await;
    let (_, strange) = registered(&second, 2, "13800138002").await;
    let wallet = |client: &Client, session: &str| SeTsmWallet::new(client.clone().with_bearer(session));

    let reply = wallet(&first, &session).start(&synchronise()).await.unwrap();
    let ConversationReply::Steps { conversation, turn, steps, .. } = reply else { panic!("{reply:?}") };
    let refused = wallet(&second, &strange).cancel(conversation).await.unwrap_err();
    assert_eq!(refused.code(), Some(ProblemCode::UnknownId), "another's conversation");
    let tasks = wallet(&first, &session).tasks().await.unwrap().tasks;
    assert_eq!(tasks.len(), 1, "it goes on");
    wallet(&second, &session).cancel(conversation).await.unwrap();
    let responses = phone.carry(&steps);
    let answer = TurnRequest { turn, responses, ..TurnRequest::default() };
    let reply = wallet(&second, &session).turn(conversation, &answer).await.unwrap();
    let ConversationReply::Outcome { outcome, .. } = reply else { panic!("{reply:?}") };
    assert_ne!(outcome.result, OutcomeResult::Done, "{outcome:?}");
    let gone = wallet(&second, &session).cancel(ConversationId(Phone::request_id().0)).await.unwrap_err();
    assert_eq!(gone.code(), Some(ProblemCode::UnknownId));

    // Turns are passed on as well, to the end.
    let reply = wallet(&second, &session).start(&synchronise()).await.unwrap();
    phone.wallet = wallet(&first, &session);
    let end = phone.converse(reply).await;
    let ConversationReply::Outcome { outcome, .. } = end else { panic!("{end:?}") };
    assert_eq!(outcome.result, OutcomeResult::Done, "{outcome:?}");
}
