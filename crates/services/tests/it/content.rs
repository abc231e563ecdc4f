//! What comes onto a card and goes from it: both deletion modes, failures of the card, terminated tasks,
//! and what a phone can do alone (nothing).

use std::sync::{Arc, Mutex};

use tsm_api::HexBytes;
use tsm_api::conversation::{
    ApplicationState, ConversationReply, OutcomeDetail, OutcomeResult, Step, TurnRequest,
};
use tsm_api::problem::ProblemCode;
use tsm_api::se_tsm::operator::{
    ApplicationDefinition, ApplicationRecord, DeletionMode, ElementRecord, ManagingDomain, Publication,
};
use tsm_api::se_tsm::wallet::{CatalogueQuery, Operation};
use tsm_domain::SeId;
use tsm_domain::subscription::Subscribed;
use tsm_iso7816::{Aid, CommandApdu};
use tsm_se::open::registry::CodeMemory;
use tsm_se::profile::PresetLoadFile;
use tsm_se::{Interface, SecureElement};
use tsm_storage::se_tsm::SeTsmStore as _;

use crate::phone::Phone;
use crate::se_tsm::{done, outcome};
use crate::world::{World, definition, upload_of};

const INSTALL: u8 = 0xE6;
const LOAD: u8 = 0xE8;
const DELETE: u8 = 0xE4;

async fn publish(world: &World, number: u8, deletion_mode: DeletionMode) -> ApplicationRecord {
    let person = world.operator_desk().await;
    publish_by(world, &person, number, deletion_mode).await
}

async fn publish_by(
    world: &World,
    person: &tsm_api::client::SeTsmStaff,
    number: u8,
    deletion_mode: DeletionMode,
) -> ApplicationRecord {
    let package = Aid::new(&[0xF0, 1, 2, 3, 4, 5, number]).unwrap();
    let module = Aid::new(&[0xF0, 1, 2, 3, 4, 5, number, 1]).unwrap();
    let definition = ApplicationDefinition { deletion_mode, ..definition(None, ManagingDomain::Issuer) };
    let upload = upload_of(&format!("Application {number}"), package, module);
    world
        .publish_package(
            person,
            &upload,
            &definition,
            &Publication { recommendation: Some(u32::from(number)), ..Publication::default() },
        )
        .await
}

async fn registered(world: &World, number: u8) -> Phone {
    let mut phone = world.phone(number);
    done(phone.register(&format!("138001380{number:02}")).await);
    phone
}

async fn ticket(phone: &Phone, aid: &HexBytes) -> String {
    let page = phone.wallet.applications(&CatalogueQuery::default()).await.unwrap();
    let entry = page.entries.into_iter().find(|entry| entry.aid == *aid).unwrap();
    entry.ticket.unwrap_or_else(|| panic!("{:?}", entry.condition))
}

async fn download(phone: &mut Phone, aid: &HexBytes) {
    let ticket = ticket(phone, aid).await;
    done(phone.operate(Operation::Download, aid, &ticket).await);
}

async fn delete(phone: &mut Phone, aid: &HexBytes) {
    let lists = phone.wallet.lists().await.unwrap();
    let ticket = lists.delete.iter().find(|entry| entry.aid == *aid).unwrap().ticket.clone();
    done(phone.operate(Operation::Delete, aid, &ticket).await);
}

async fn record(world: &World, phone: &Phone) -> ElementRecord {
    world.people.auditor.element(&HexBytes(phone.se_id.clone())).await.unwrap()
}

/// Full deletion: code and instance go, card and record have the space again, the subscription ends, and
/// another application of the same code under its own AIDs stays.
///
/// req: P-5.4.1.g, P-5.4.6.a, P-5.8.4.2.1.b, P-5.8.4.2.1.d
#[tokio::test]
async fn full_deletion_gives_everything_back() {
    let world = World::new().await;
    let person = world.operator_desk().await;
    let aid = publish_by(&world, &person, 1, DeletionMode::Full).await.aid.unwrap();
    let twin = publish_by(&world, &person, 2, DeletionMode::Full).await.aid.unwrap();
    let mut phone = registered(&world, 1).await;
    download(&mut phone, &twin).await;
    let (free, recorded) = (phone.card.usage().non_volatile_free(), record(&world, &phone).await);
    download(&mut phone, &aid).await;
    assert!(phone.card.usage().non_volatile_free() < free);
    assert!(record(&world, &phone).await.free_bytes < recorded.free_bytes);
    let se = SeId::new(&phone.se_id).unwrap();
    let what = Subscribed::Application(aid.to_aid().unwrap());
    let subscribed = async || {
        let all = world.store.subscriptions_of(se).await.unwrap();
        all.iter().any(|subscription| subscription.what == what && subscription.is_active())
    };
    assert!(subscribed().await);

    delete(&mut phone, &aid).await;
    assert_eq!(phone.card.usage().non_volatile_free(), free);
    let after = record(&world, &phone).await;
    assert_eq!((after.free_bytes, after.load_files), (recorded.free_bytes, recorded.load_files));
    let left: Vec<_> = after
        .applications
        .iter()
        .filter(|entry| entry.state != ApplicationState::Ready)
        .map(|entry| entry.aid.clone())
        .collect();
    assert_eq!(left, [twin]);
    assert!(!subscribed().await);
}

/// Deletion of the instance alone keeps the code: the next download sends no LOAD.
///
/// req: P-5.4.6.b, P-5.8.4.2.1.b
#[tokio::test]
async fn instance_deletion_keeps_the_code() {
    let world = World::new().await;
    let aid = publish(&world, 1, DeletionMode::InstanceOnly).await.aid.unwrap();
    let mut phone = registered(&world, 1).await;
    phone.seen.clear();
    download(&mut phone, &aid).await;
    assert!(phone.seen.contains(&LOAD));
    delete(&mut phone, &aid).await;
    let after = record(&world, &phone).await;
    assert_eq!(after.applications[0].state, ApplicationState::Loaded);
    assert!(after.load_files.contains(&HexBytes(vec![0xF0, 1, 2, 3, 4, 5, 1])), "{after:?}");
    phone.seen.clear();
    download(&mut phone, &aid).await;
    assert!(phone.seen.contains(&INSTALL) && !phone.seen.contains(&LOAD), "{:02X?}", phone.seen);
}

/// Where the load file is on the card from its making, only the instance is made.
///
/// req: P-5.4.5.a
#[tokio::test]
async fn a_preset_application_is_not_loaded() {
    let world = World::new().await;
    let aid = publish(&world, 1, DeletionMode::InstanceOnly).await.aid.unwrap();
    for preset in [false, true] {
        let mut phone = world.phone(1 + u8::from(preset));
        if preset {
            let mut profile = tsm_se::Profile::development(&phone.se_id);
            profile.load_files.push(PresetLoadFile {
                aid: Aid::constant(&[0xF0, 1, 2, 3, 4, 5, 1]),
                version: [1, 0],
                modules: vec![Aid::constant(&[0xF0, 1, 2, 3, 4, 5, 1, 1])],
                code_bytes: 500,
                memory: CodeMemory::Rom,
            });
            let randomness = |bytes: &mut [u8]| getrandom::fill(bytes).unwrap();
            phone.card = SecureElement::create(&profile, Box::new(randomness)).unwrap();
        }
        done(phone.register(&format!("1380013801{}", u8::from(preset))).await);
        phone.seen.clear();
        download(&mut phone, &aid).await;
        assert_eq!(phone.seen.contains(&LOAD), !preset, "{:02X?}", phone.seen);
        assert_eq!(phone.login().await.installed[0].state, ApplicationState::Useable);
    }
}

/// Download and deletion name the application, and one that nobody knows is refused.
///
/// req: P-5.8.4.1.1.a, P-5.8.4.2.1.a
#[tokio::test]
async fn an_operation_names_a_known_application() {
    let world = World::new().await;
    let aid = publish(&world, 1, DeletionMode::Full).await.aid.unwrap();
    let mut phone = registered(&world, 1).await;
    let for_download = ticket(&phone, &aid).await;
    download(&mut phone, &aid).await;
    let for_deletion = phone.wallet.lists().await.unwrap().delete[0].ticket.clone();
    phone.seen.clear();
    for (operation, ticket) in [(Operation::Download, for_download), (Operation::Delete, for_deletion)] {
        let unknown = Phone::start_request(operation, &HexBytes(vec![0xA0; 7]), &ticket);
        let refused = phone.wallet.start(&unknown).await.unwrap_err();
        assert_eq!(refused.code(), Some(ProblemCode::TicketWrong), "there is no ticket for it");
        let unnamed = tsm_api::se_tsm::wallet::StartRequest { aid: None, ..unknown };
        let refused = phone.wallet.start(&unnamed).await.unwrap_err();
        assert_eq!(refused.code(), Some(ProblemCode::ValueRefused));
    }
    let unknown = phone.wallet.application(&HexBytes(vec![0xA0; 7])).await.unwrap_err();
    assert_eq!(unknown.code(), Some(ProblemCode::UnknownId));
    assert!(phone.seen.is_empty());
}

/// A status word of failure goes back at once, ends the flow, and the wallet is told command and word.
#[tokio::test]
async fn a_failure_of_the_card_ends_the_flow() {
    let world = World::new().await;
    let aid = publish(&world, 1, DeletionMode::Full).await.aid.unwrap();
    let mut phone = registered(&world, 1).await;
    let ticket = ticket(&phone, &aid).await;
    phone.tamper = Some(Box::new(|steps: &[Step], responses: &mut Vec<HexBytes>| {
        let is_load = |step: &Step| matches!(step, Step::Transmit { apdu, .. } if apdu.0[1] == LOAD);
        if let Some(index) = steps.iter().position(is_load) {
            responses.truncate(index);
            responses.push(HexBytes(vec![0x6A, 0x84]));
        }
    }));
    let before = phone.round_trips();
    let ended = outcome(phone.operate(Operation::Download, &aid, &ticket).await);
    assert_eq!(phone.round_trips() - before, 4, "nothing follows the failure");
    assert_eq!(ended.result, OutcomeResult::Failed, "{ended:?}");
    let card = ended.card_error.unwrap();
    assert_eq!((card.command.as_str(), card.status), ("LOAD (80E88000)", HexBytes(vec![0x6A, 0x84])));
}

/// A download that is terminated before any of its lists comes back is taken up again.
///
/// req: P-5.8.8.f
#[tokio::test]
async fn a_task_terminated_at_any_step_is_taken_up_again() {
    let world = World::new().await;
    let aid = publish(&world, 1, DeletionMode::Full).await.aid.unwrap();
    for last in 1..=3 {
        let mut phone = registered(&world, last).await;
        let start = Phone::start_request(Operation::Download, &aid, &ticket(&phone, &aid).await);
        let mut reply = phone.wallet.start(&start).await.unwrap();
        for list in 1..=last {
            let ConversationReply::Steps { conversation, turn, steps, .. } = reply else {
                panic!("list {list}: {reply:?}")
            };
            let responses = phone.carry(&steps);
            if list == last {
                let se = HexBytes(phone.se_id.clone());
                let tasks = world.people.admin.element_tasks(&se).await.unwrap().tasks;
                let running = tasks.iter().find(|task| task.state == "running").unwrap();
                world.people.admin.terminate(running.task).await.unwrap();
            }
            let request = TurnRequest { turn, responses, ..TurnRequest::default() };
            reply = phone.wallet.turn(conversation, &request).await.unwrap();
        }
        assert_ne!(outcome(reply).result, OutcomeResult::Done, "terminated at list {last}");
        let again = ticket(&phone, &aid).await;
        let detail = done(phone.operate(Operation::Download, &aid, &again).await);
        let state = ApplicationState::Useable;
        assert_eq!(detail, OutcomeDetail::Installed { aid: aid.clone(), state }, "list {last}");
        assert_eq!(phone.login().await.installed.len(), 1, "terminated at list {last}");
    }
}

/// What manages a card is made by the platform: a phone that repeats a whole download to its card, or
/// sends commands of its own, changes nothing; and a list that is not carried reaches no card.
///
/// req: P-5.8.2.b, P-5.8.2.1.b
#[tokio::test]
async fn a_phone_alone_manages_nothing() {
    let world = World::new().await;
    let aid = publish(&world, 1, DeletionMode::Full).await.aid.unwrap();
    let mut phone = registered(&world, 1).await;
    let carried: Arc<Mutex<Vec<Step>>> = Arc::default();
    let keeper = carried.clone();
    phone.tamper = Some(Box::new(move |steps: &[Step], _: &mut Vec<HexBytes>| {
        keeper.lock().unwrap().extend_from_slice(steps);
    }));
    download(&mut phone, &aid).await;
    phone.tamper = None;
    delete(&mut phone, &aid).await;
    let (usage, recorded) = (phone.card.usage().non_volatile_free(), record(&world, &phone).await);

    let repeated: Vec<Step> = carried.lock().unwrap().clone();
    assert!(repeated.len() > 5);
    for step in repeated {
        let Step::Transmit { apdu, .. } = &step else {
            phone.carry(std::slice::from_ref(&step));
            continue;
        };
        let changes = [INSTALL, LOAD, DELETE].contains(&apdu.0[1]);
        let answer = phone.card.transmit(Interface::Contact, &apdu.0);
        assert!(!changes || !answer.ends_with(&[0x90, 0x00]), "{apdu}");
    }
    for ins in [INSTALL, LOAD, DELETE, 0xF0, 0xD8, 0xE2] {
        let own = CommandApdu::new(0x80, ins, 0, 0).with_data([0x4F, 0x05, 1, 2, 3, 4, 5]);
        let answer = phone.card.transmit(Interface::Contact, &own.to_bytes().unwrap());
        assert!(!answer.ends_with(&[0x90, 0x00]), "{ins:02X}");
    }
    assert_eq!(phone.card.usage().non_volatile_free(), usage);

    phone.seen.clear();
    let start = Phone::start_request(Operation::Download, &aid, &ticket(&phone, &aid).await);
    phone.wallet.start(&start).await.unwrap();
    assert!(phone.seen.is_empty());
    assert_eq!(record(&world, &phone).await.applications, recorded.applications);
}
