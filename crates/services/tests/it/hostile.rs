//! A hostile phone: whatever it invents, withholds or repeats, nothing changes at the server.

use tsm_api::HexBytes;
use tsm_api::conversation::{ConversationReply, OutcomeResult, Step, TurnRequest};
use tsm_api::problem::ProblemCode;
use tsm_api::se_tsm::operator::{ElementRecord, ManagingDomain};
use tsm_api::se_tsm::wallet::{CatalogueQuery, Operation};

use crate::phone::Phone;
use crate::se_tsm::{done, outcome};
use crate::world::{World, definition};

const NUMBER: &str = "13800138000";
type Lie = fn(&[Step], &mut Vec<HexBytes>);

const DELETE: u8 = 0xE4;
const GET_STATUS: u8 = 0xF2;

fn ins(step: &Step) -> u8 {
    match step {
        Step::Select { .. } => 0xA4,
        Step::Transmit { apdu, .. } => apdu.0[1],
    }
}

async fn record(world: &World, phone: &Phone) -> ElementRecord {
    world.people.auditor.element(&HexBytes(phone.se_id.clone())).await.unwrap()
}

/// A phone with an installed application.
async fn installed() -> (World, Phone, HexBytes) {
    let world = World::new().await;
    let person = world.operator_desk().await;
    let application = world.publish(&person, definition(None, ManagingDomain::Issuer)).await;
    let aid = application.aid.unwrap();
    let mut phone = world.phone(1);
    done(phone.register(NUMBER).await);
    let page = phone.wallet.applications(&CatalogueQuery::default()).await.unwrap();
    done(phone.operate(Operation::Download, &aid, page.entries[0].ticket.as_ref().unwrap()).await);
    (world, phone, aid)
}

/// Forged success, an invented registry, cut lists, swapped and repeated answers: a deletion that did not
/// happen is not recorded, and the next honest contact finds the application in its place.
#[tokio::test]
async fn a_deletion_that_did_not_happen_is_not_recorded() {
    let (world, mut phone, aid) = installed().await;
    let before = record(&world, &phone).await;
    let lies: [(&str, Lie); 5] = [
        ("forged 9000 to everything", |steps, responses| {
            *responses = steps.iter().map(|_| HexBytes(vec![0x90, 0x00])).collect();
        }),
        ("forged 9000 to DELETE alone", |steps, responses| {
            for (step, response) in steps.iter().zip(responses) {
                if ins(step) == DELETE {
                    *response = HexBytes(vec![0x90, 0x00]);
                }
            }
        }),
        ("an empty registry", |steps, responses| {
            for (step, response) in steps.iter().zip(responses) {
                if ins(step) == GET_STATUS {
                    *response = HexBytes(vec![0x6A, 0x88]);
                }
            }
        }),
        ("the registry before, twice", |steps, responses| {
            let first = steps.iter().position(|step| ins(step) == GET_STATUS);
            let Some(first) = first else { return };
            let copy = responses[first].clone();
            for (step, response) in steps.iter().zip(responses) {
                if ins(step) == GET_STATUS {
                    *response = copy.clone();
                }
            }
        }),
        ("one bit of one answer", |steps, responses| {
            let answered = (0..responses.len()).rev().find(|index| ins(&steps[*index]) == GET_STATUS);
            if let Some(last) = answered {
                responses[last].0[0] ^= 1;
            }
        }),
    ];
    for (lie, tamper) in lies {
        let lists = phone.wallet.lists().await.unwrap();
        let ticket = lists.delete[0].ticket.clone();
        phone.tamper = Some(Box::new(tamper));
        phone.withheld = Some(DELETE);
        let end = outcome(phone.operate(Operation::Delete, &aid, &ticket).await);
        phone.tamper = None;
        phone.withheld = None;
        assert_ne!(end.result, OutcomeResult::Done, "{lie}");
        let after = record(&world, &phone).await;
        assert_eq!(after.applications, before.applications, "{lie}");
        assert_eq!(after.load_files, before.load_files, "{lie}");
    }
}

/// A phone that invents a card for somebody else's SE-ID registers nothing.
#[tokio::test]
async fn an_invented_card_registers_nothing() {
    let world = World::new().await;
    let mut phone = world.phone(1);
    phone.tamper = Some(Box::new(|steps: &[Step], responses: &mut Vec<HexBytes>| {
        *responses = steps.iter().map(|_| HexBytes([vec![0x5A; 32], vec![0x90, 0x00]].concat())).collect();
    }));
    let end = outcome(phone.register(NUMBER).await);
    assert_eq!(end.problem.unwrap().code, ProblemCode::CardUnproven);
    let unknown = world.people.auditor.element(&HexBytes(phone.se_id.clone())).await.unwrap_err();
    assert_eq!(unknown.code(), Some(ProblemCode::UnknownId));

    // A true card that claims another SE-ID is not believed either.
    let mut phone = world.phone(2);
    phone.se_id = vec![0x10, 0, 0, 0, 0, 0, 0, 0x77];
    let end = outcome(phone.register(NUMBER).await);
    assert_eq!(end.problem.unwrap().code, ProblemCode::CardUnproven);
    assert!(world.people.auditor.element(&HexBytes(phone.se_id.clone())).await.is_err());
}

/// Answers of an earlier conversation are worthless in the next: each session has its own challenge.
///
/// req: P-5.8.9.1.a
#[tokio::test]
async fn a_replayed_session_proves_nothing() {
    let (world, mut phone, aid) = installed().await;
    let before = record(&world, &phone).await;
    let reply = phone.wallet.start(&phone_sync()).await.unwrap();
    let (mut reply, mut kept) = (reply, Vec::new());
    while let ConversationReply::Steps { conversation, turn, steps, .. } = reply {
        let responses = phone.carry(&steps);
        kept.push(responses.clone());
        reply = phone
            .wallet
            .turn(conversation, &TurnRequest { turn, responses, ..TurnRequest::default() })
            .await
            .unwrap();
    }
    done(reply);

    let mut again = phone.wallet.start(&phone_sync()).await.unwrap();
    let mut recorded = kept.into_iter();
    while let ConversationReply::Steps { conversation, turn, .. } = again {
        let responses = recorded.next().unwrap_or_default();
        again = phone
            .wallet
            .turn(conversation, &TurnRequest { turn, responses, ..TurnRequest::default() })
            .await
            .unwrap();
    }
    assert_eq!(outcome(again).problem.unwrap().code, ProblemCode::CardUnproven);
    assert_eq!(record(&world, &phone).await.applications, before.applications);
    let lists = phone.wallet.lists().await.unwrap();
    done(phone.operate(Operation::Delete, &aid, &lists.delete[0].ticket).await);
}

fn phone_sync() -> tsm_api::se_tsm::wallet::StartRequest {
    let request = Phone::start_request(Operation::Synchronise, &HexBytes::default(), "");
    tsm_api::se_tsm::wallet::StartRequest { aid: None, ticket: None, ..request }
}

/// A ticket is needed, and one of another application, operation or element does not serve.
///
/// req: B-8.5.2.a
#[tokio::test]
async fn no_operation_without_its_ticket() {
    let (world, mut phone, aid) = installed().await;
    let lists = phone.wallet.lists().await.unwrap();
    let mut other = world.phone(2);
    done(other.register("13900139000").await);
    let page = other.wallet.applications(&CatalogueQuery::default()).await.unwrap();
    let others = page.entries[0].ticket.clone().unwrap();
    for ticket in ["", "1.00", lists.lock[0].ticket.as_str(), others.as_str()] {
        let request = Phone::start_request(Operation::Delete, &aid, ticket);
        let refused = phone.wallet.start(&request).await.unwrap_err();
        assert_eq!(refused.code(), Some(ProblemCode::TicketWrong), "{ticket}");
    }
    done(phone.operate(Operation::Delete, &aid, &lists.delete[0].ticket).await);
}
