//! A number that changes: ordered by the staff, written at the hall or at the next login, cut everywhere.

use tsm_api::HexBytes;
use tsm_api::conversation::{ConversationReply, IfBusy, OutcomeDetail, OutcomeResult, StartOptions};
use tsm_api::problem::ProblemCode;
use tsm_api::se_tsm::operator::{ElementRecord, NumberChange};
use tsm_api::se_tsm::wallet::{LoginReply, LoginRequest, Operation, SessionRights};
use tsm_card::registration::parse_msisdn;
use tsm_domain::SeId;
use tsm_globalplatform::commands::GetData;
use tsm_iso7816::CommandApdu;
use tsm_se::Interface;
use tsm_storage::memory::Crash;
use tsm_storage::se_tsm::SeTsmStore as _;

use crate::opening::Opening;
use crate::phone::{Lost, Phone};
use crate::se_tsm::{done, outcome};
use crate::world::World;

const OLD: &str = "13800138000";
const NEW: &str = "13900139000";
const ISSUER_DOMAIN: [u8; 8] = [0xA0, 0, 0, 1, 0x51, 0, 0, 0];
const STORE_DATA: u8 = 0xE2;

fn change() -> NumberChange {
    NumberChange { old: OLD.into(), new: NEW.into() }
}

fn start() -> StartOptions {
    StartOptions { request: Phone::request_id(), if_busy: IfBusy::Replace }
}

fn se_id(phone: &Phone) -> HexBytes {
    HexBytes(phone.se_id.clone())
}

fn stored_id(phone: &Phone) -> SeId {
    SeId::new(&phone.se_id).unwrap()
}

/// What the card itself shows under tag 2F14.
fn on_card(phone: &mut Phone) -> String {
    phone.card.reset(Interface::Contact);
    let select = CommandApdu::new(0, 0xA4, 4, 0).with_data(ISSUER_DOMAIN.to_vec()).with_any_response();
    phone.card.exchange(Interface::Contact, &select).unwrap();
    let answer = phone.card.exchange(Interface::Contact, &GetData::MSISDN.to_apdu()).unwrap();
    parse_msisdn(&answer.data).unwrap().as_str().to_owned()
}

async fn record(world: &World, phone: &Phone) -> ElementRecord {
    world.people.auditor.element(&se_id(phone)).await.unwrap()
}

/// Whom the platform has as the user, as the store knows it.
async fn bound(world: &World, phone: &Phone) -> (String, bool) {
    let record = world.store.se(stored_id(phone)).await.unwrap().unwrap();
    (record.binding.unwrap().number.as_str().to_owned(), record.number_change.is_some())
}

async fn login(phone: &mut Phone, number: Option<&str>) -> LoginReply {
    let request = LoginRequest { msisdn: number.map(str::to_owned), ..phone.login_request() };
    phone.wallet.login(&request).await.unwrap()
}

/// The hall orders it and writes it at its own terminal: card, binding and subscription follow together, the
/// provider is told, and whoever had a session under the old number has none any more.
///
/// req: P-5.5.5.a
#[tokio::test]
async fn the_hall_changes_the_number_of_card_and_binding() {
    let opening = Opening::new().await;
    let world = &opening.world;
    let mut phone = opening.phone(1).await;
    let ticket = opening.ticket(&phone).await;
    done(phone.operate(Operation::Download, &opening.aid(), &ticket).await);
    phone.login().await;
    let (hall, se) = (&world.people.auditor, se_id(&phone));

    let wrong = NumberChange { old: "13700137000".into(), ..change() };
    let refused = hall.change_number(&se, &wrong).await.unwrap_err();
    assert_eq!(refused.code(), Some(ProblemCode::BoundElsewhere));
    let refused = hall.write_number(&se, &start()).await.unwrap_err();
    assert_eq!(refused.code(), Some(ProblemCode::StateForbids), "nothing is under way");
    hall.change_number(&se, &change()).await.unwrap();
    hall.change_number(&se, &change()).await.unwrap();
    assert!(record(world, &phone).await.changing_to.is_some());
    assert_eq!(bound(world, &phone).await, (OLD.into(), true), "the card has not shown it");
    assert_eq!(on_card(&mut phone), OLD);

    let reply = hall.write_number(&se, &start()).await.unwrap();
    let detail = done(phone.converse(reply).await);
    assert!(matches!(detail, OutcomeDetail::NumberChanged { .. }), "{detail:?}");
    assert_eq!(on_card(&mut phone), NEW);
    assert_eq!(bound(world, &phone).await, (NEW.into(), false));
    let subscriptions = world.store.subscriptions_of(stored_id(&phone)).await.unwrap();
    assert!(!subscriptions.is_empty());
    assert!(subscriptions.iter().all(|subscription| subscription.number.as_str() == NEW));
    assert!(world.store.open_intentions(stored_id(&phone)).await.unwrap().is_empty());
    let refused = phone.wallet.lists().await.unwrap_err();
    assert_eq!(refused.code(), Some(ProblemCode::SessionExpired), "{refused}");

    // Said again after it was done, it is done.
    let again = hall.change_number(&se, &change()).await.unwrap();
    assert_eq!(again.changing_to, None);
    let reply = login(&mut phone, Some(NEW)).await;
    assert_eq!((reply.rights, reply.first), (SessionRights::Full, None));
    assert_eq!(login(&mut phone, Some(OLD)).await.rights, SessionRights::QueryOnly);

    for _ in 0..20_000 {
        if !opening.served.provider.numbers.lock().unwrap().is_empty() {
            break;
        }
        login(&mut phone, None).await;
    }
    let told = opening.served.provider.numbers.lock().unwrap().clone();
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].msisdn.as_str(), told[0].formerly.as_slice()), (NEW, &[OLD.to_owned()][..]));
}

/// Without a visit to the hall, the next login writes it; with the new number the phone is let in meanwhile.
///
/// req: P-5.5.5.a
#[tokio::test]
async fn the_next_login_writes_the_number() {
    let world = World::new().await;
    let mut phone = world.phone(1);
    done(phone.register(OLD).await);
    world.people.auditor.change_number(&se_id(&phone), &change()).await.unwrap();
    let reply = login(&mut phone, Some(NEW)).await;
    assert_eq!(reply.rights, SessionRights::Full);
    done(phone.converse(*reply.first.unwrap()).await);
    assert_eq!((on_card(&mut phone), bound(&world, &phone).await), (NEW.into(), (NEW.into(), false)));
    assert_eq!(login(&mut phone, Some(NEW)).await.first, None);

    // And back again: the number before is an ordinary one.
    let back = NumberChange { old: NEW.into(), new: OLD.into() };
    world.people.auditor.change_number(&se_id(&phone), &back).await.unwrap();
    let reply = login(&mut phone, None).await;
    done(phone.converse(*reply.first.unwrap()).await);
    assert_eq!((on_card(&mut phone), bound(&world, &phone).await), (OLD.into(), (OLD.into(), false)));
}

/// A wallet that lost its TOKEN registers under the new number while the change is under way, although the carrier
/// may have given up the old one: card and binding follow together, and what the user ordered stays the user's.
///
/// req: P-5.5.5.a
#[tokio::test]
async fn a_wallet_without_its_token_registers_under_the_new_number() {
    let opening = Opening::new().await;
    let world = &opening.world;
    let mut phone = opening.phone(1).await;
    let ticket = opening.ticket(&phone).await;
    done(phone.operate(Operation::Download, &opening.aid(), &ticket).await);
    world.people.auditor.change_number(&se_id(&phone), &change()).await.unwrap();
    phone.token = HexBytes::default();
    let other = phone.registration(Some("13700137000"));
    let refused = phone.wallet.register(&other).await.unwrap_err();
    assert_eq!(refused.code(), Some(ProblemCode::BoundElsewhere));
    done(phone.register(NEW).await);
    assert_eq!((on_card(&mut phone), bound(world, &phone).await), (NEW.into(), (NEW.into(), false)));
    let subscriptions = world.store.subscriptions_of(stored_id(&phone)).await.unwrap();
    assert!(!subscriptions.is_empty());
    assert!(subscriptions.iter().all(|subscription| subscription.number.as_str() == NEW));
    assert_eq!(login(&mut phone, Some(NEW)).await.first, None, "nothing is left to write");
}

/// The power goes before any command, or after it with its answer: the binding never follows a card that has
/// not shown the new number, and the next login settles it.
///
/// req: P-5.5.5.a
#[tokio::test]
async fn a_change_cut_at_any_command_is_settled_at_the_next_login() {
    let world = World::new().await;
    let (mut cuts, mut phones) = (0, 0);
    for lost in [Lost::Command, Lost::Answer] {
        for command in 0.. {
            phones += 1;
            let mut phone = world.phone(phones);
            done(phone.register(OLD).await);
            world.people.auditor.change_number(&se_id(&phone), &change()).await.unwrap();
            let first = *login(&mut phone, None).await.first.unwrap();
            let broken = outcome(phone.converse_torn(first, lost, command).await);
            let reached = phone.seen.len();
            if broken.result == OutcomeResult::Done {
                assert!(reached <= command, "the cut was never reached");
                break;
            }
            cuts += 1;
            assert_eq!(bound(&world, &phone).await, (OLD.into(), true), "{lost:?} {command}");
            let written = on_card(&mut phone) == NEW;
            phone.seen.clear();
            let first = *login(&mut phone, None).await.first.unwrap();
            done(phone.converse(first).await);
            assert_eq!(
                phone.seen.contains(&STORE_DATA),
                !written,
                "the card is asked first: {lost:?} {command}"
            );
            assert_eq!((on_card(&mut phone), bound(&world, &phone).await), (NEW.into(), (NEW.into(), false)));
            let open = world.store.open_intentions(stored_id(&phone)).await.unwrap();
            assert!(open.is_empty(), "{lost:?} {command}: {open:?}");
        }
    }
    println!("a change of number: {cuts} cuts between phone and card");
    assert!(cuts >= 12, "only {cuts} cuts");
}

/// The platform crashes before or after any commit: the next login settles it.
///
/// req: P-5.5.5.a
#[tokio::test]
async fn a_change_crashed_at_any_commit_is_settled_at_the_next_login() {
    let world = World::new().await;
    let faults = world.store.faults().clone();
    let mut crashes = 0;
    for commit in 1.. {
        let mut down = false;
        for crash in [Crash::BeforeCommit, Crash::AfterCommit] {
            let number = u8::try_from(commit * 2).unwrap() + u8::from(crash == Crash::AfterCommit);
            let mut phone = world.phone(number);
            done(phone.register(OLD).await);
            world.people.auditor.change_number(&se_id(&phone), &change()).await.unwrap();
            faults.crash_at(faults.commits() + commit, crash);
            let reply = phone.wallet.login(&phone.login_request()).await;
            if let Ok(LoginReply { first: Some(first), .. }) = reply {
                let _: ConversationReply = phone.converse(*first).await;
            }
            let crashed = faults.is_down();
            faults.restart();
            phone.restore_power();
            down |= crashed;
            crashes += u32::from(crashed);
            if let Some(first) = login(&mut phone, None).await.first {
                done(phone.converse(*first).await);
            }
            let at = format!("commit {commit}, {crash:?}");
            let state = (on_card(&mut phone), bound(&world, &phone).await);
            assert_eq!(state, (NEW.into(), (NEW.into(), false)), "{at}");
            assert!(world.store.open_intentions(stored_id(&phone)).await.unwrap().is_empty(), "{at}");
        }
        if !down {
            break;
        }
    }
    println!("a change of number: {crashes} crashes at commits");
    assert!(crashes >= 8, "only {crashes} crashes");
}

/// A phone that invents the card's success gets no binding.
#[tokio::test]
async fn a_withheld_writing_binds_nothing() {
    let world = World::new().await;
    let mut phone = world.phone(1);
    done(phone.register(OLD).await);
    world.people.auditor.change_number(&se_id(&phone), &change()).await.unwrap();
    let first = *login(&mut phone, None).await.first.unwrap();
    phone.withheld = Some(STORE_DATA);
    assert_ne!(outcome(phone.converse(first).await).result, OutcomeResult::Done);
    phone.withheld = None;
    assert_eq!((on_card(&mut phone), bound(&world, &phone).await), (OLD.into(), (OLD.into(), true)));
}
