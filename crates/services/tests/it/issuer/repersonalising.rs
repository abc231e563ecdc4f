//! After a change of number: cards that hold the number are personalised again, the others are left alone.

use tsm_api::HexBytes;
use tsm_api::conversation::{Outcome, OutcomeDetail, OutcomeResult};
use tsm_api::problem::ProblemCode;
use tsm_api::sp_tsm::peer::NumberChanged;
use tsm_api::sp_tsm::wallet::{Operation, WorkKind};
use tsm_epurse::CardImage;
use tsm_epurse::file::Holder;
use tsm_services::sp_tsm::HolderFile;
use tsm_storage::memory::Crash;
use tsm_storage::sp_tsm::{Arrivals as _, CardHolder, HolderData};

use crate::issuer::city::{City, PURSE};
use crate::issuer::migrating_in::{live, parked};
use crate::issuer::phone::{Lost, Phone, installed};
use crate::issuer::returning::another;

const OLD: &str = "13800138000";
const NEW: &str = "13900139000";
const UPDATE_BINARY: u8 = 0xD6;

/// A city whose cards hold their holder's number.
async fn naming_city() -> City {
    let mut city = City::new().await;
    city.holder_file = HolderFile::Number { document_type: 9 };
    city.restart_sp_tsm().await;
    city
}

fn named(number: &str) -> Holder {
    let mut document_number = [0; 32];
    document_number[..number.len()].copy_from_slice(number.as_bytes());
    Holder { document_number, document_type: 9, ..Holder::ANONYMOUS }
}

async fn tell(city: &City, phone: &Phone, to: &str, formerly: &[&str]) {
    let notice = NumberChanged {
        se_id: HexBytes(phone.se_id.clone()),
        msisdn: to.into(),
        formerly: formerly.iter().map(|&number| number.to_owned()).collect(),
    };
    city.sp_peer(&city.se_tsm).number_changed(&notice).await.unwrap();
}

async fn holder(city: &City, phone: &Phone) -> CardHolder {
    city.store.holder(phone.card_number().await.parse().unwrap()).await.unwrap().unwrap()
}

fn holds(number: &str, data: HolderData) -> CardHolder {
    CardHolder { number: number.parse().unwrap(), data }
}

async fn repersonalise(phone: &mut Phone) -> Outcome {
    phone.operate(Operation::Repersonalise, None).await
}

fn done() -> OutcomeDetail {
    OutcomeDetail::Repersonalised { aid: PURSE.into() }
}

async fn is_waiting(phone: &Phone) -> bool {
    let works = phone.wallet.interrupted().await.unwrap().works;
    works.iter().any(|work| work.kind == WorkKind::Repersonalisation)
}

/// EF16 alone differs.
fn assert_only_the_holder_changed(before: &CardImage, after: &CardImage, number: &str) {
    assert_eq!(after.holder, named(number));
    let mut same = after.clone();
    same.holder = before.holder;
    assert_eq!(same, *before);
}

/// The card that holds the number gets the new one, byte for byte nothing else; the notice may come twice; a
/// card that somebody else holds, and one that nobody told of, stay as they are.
///
/// req: P-5.5.5.b
#[tokio::test]
async fn a_card_that_holds_the_number_is_personalised_again() {
    let city = naming_city().await;
    let mut phone = another(&city, 1).await;
    let other = another(&city, 2).await;
    phone.top_up(&city, 700).await;
    let (before, others) = (phone.image(&city).await, other.image(&city).await);
    assert_eq!(before.holder, named(OLD), "it was personalised with the number");
    assert!(!is_waiting(&phone).await);
    for _ in 0..2 {
        tell(&city, &phone, NEW, &[OLD]).await;
    }
    tell(&city, &other, NEW, &["13700137000"]).await;
    assert_eq!(holder(&city, &phone).await, holds(NEW, HolderData::Due));
    assert_eq!(holder(&city, &other).await, holds(OLD, HolderData::Current), "it is not his");
    assert!(is_waiting(&phone).await);
    assert_eq!(phone.image(&city).await, before, "a notice touches no card");

    let outcome = repersonalise(&mut phone).await;
    assert_eq!((outcome.result, outcome.detail), (OutcomeResult::Done, done()));
    assert_only_the_holder_changed(&before, &phone.image(&city).await, NEW);
    assert_eq!(holder(&city, &phone).await, holds(NEW, HolderData::Current));
    assert!(!is_waiting(&phone).await);
    let sent = phone.sent;
    assert_eq!(repersonalise(&mut phone).await.detail, done());
    assert_eq!(phone.sent, sent, "what is done sends nothing to the card");
    tell(&city, &phone, NEW, &[OLD]).await;
    assert_eq!(holder(&city, &phone).await, holds(NEW, HolderData::Current), "a late notice changes nothing");
    assert_eq!(other.image(&city).await, others);
    phone.register_to(&city, Some(NEW));
    assert_eq!(phone.top_up(&city, 300).await.result, OutcomeResult::Done);
    assert_eq!(phone.balance().await, 1000);

    let refused = city.sp_peer(&city.gate_operator);
    let notice =
        NumberChanged { se_id: HexBytes(phone.se_id), msisdn: OLD.into(), formerly: vec![NEW.into()] };
    let refused = refused.number_changed(&notice).await.unwrap_err();
    assert_eq!(refused.code(), Some(ProblemCode::NotAllowed), "only the SE-TSM tells");
}

/// A product that is not flagged: its holder is known under the new number, and its card is not touched.
///
/// req: P-5.5.5.b
#[tokio::test]
async fn an_anonymous_card_is_left_alone() {
    let city = City::new().await;
    let mut phone = another(&city, 1).await;
    let before = phone.image(&city).await;
    tell(&city, &phone, NEW, &[OLD]).await;
    assert_eq!(holder(&city, &phone).await, holds(NEW, HolderData::Current));
    assert!(!is_waiting(&phone).await);
    let sent = phone.sent;
    assert_eq!(repersonalise(&mut phone).await.detail, done());
    assert_eq!((phone.sent, phone.image(&city).await), (sent, before));
}

/// The power goes at any command, before it or with its answer: the data stay due until the card proved them.
///
/// req: P-5.5.5.b
#[tokio::test]
async fn a_repersonalisation_cut_at_any_command_converges() {
    let city = naming_city().await;
    let mut phone = another(&city, 1).await;
    let image = phone.image(&city).await;
    let numbers = [OLD, NEW];
    let (mut turn, mut cuts) = (0, 0);
    for kind in [Lost::Command as fn(usize) -> Lost, Lost::Response] {
        for command in 0.. {
            let (from, to) = (numbers[turn % 2], numbers[(turn + 1) % 2]);
            turn += 1;
            tell(&city, &phone, to, &[from]).await;
            (phone.lost, phone.sent) = (kind(command), 0);
            let broken = repersonalise(&mut phone).await;
            phone.lost = Lost::Nothing;
            if broken.result == OutcomeResult::Done {
                break;
            }
            cuts += 1;
            assert_eq!(holder(&city, &phone).await, holds(to, HolderData::Due), "{command}");
            let outcome = repersonalise(&mut phone).await;
            assert_eq!(outcome.detail, done(), "{command}: {outcome:?}");
            assert_only_the_holder_changed(&image, &phone.image(&city).await, to);
            assert_eq!(holder(&city, &phone).await, holds(to, HolderData::Current), "{command}");
        }
    }
    println!("a repersonalisation: {cuts} cuts between phone and card");
    assert!(cuts >= 100, "only {cuts} cuts");
}

/// The server dies at any commit of the notice and of the flow.
///
/// req: P-5.5.5.b
#[tokio::test]
async fn a_repersonalisation_with_a_crashing_server_converges() {
    let mut city = naming_city().await;
    let mut phone = another(&city, 1).await;
    let image = phone.image(&city).await;
    let numbers = [OLD, NEW];
    let (mut turn, mut crashes) = (0, 0);
    for commit in 1..=4 {
        for crash in [Crash::BeforeCommit, Crash::AfterCommit] {
            let (from, to) = (numbers[turn % 2], numbers[(turn + 1) % 2]);
            turn += 1;
            city.faults.crash_at(city.faults.commits() + commit, crash);
            let se_id = HexBytes(phone.se_id.clone());
            let notice = NumberChanged { se_id, msisdn: to.into(), formerly: vec![from.into()] };
            let told = city.sp_peer(&city.se_tsm).number_changed(&notice).await;
            let start = Phone::start_request(Operation::Repersonalise, None);
            if let (Ok(_), Ok(reply)) = (told, phone.wallet.start(&start).await) {
                phone.converse(reply, None).await;
            }
            crashes += u32::from(city.faults.is_down());
            city.restart_sp_tsm().await;
            phone.reconnect(&city);
            tell(&city, &phone, to, &[from]).await;
            assert_eq!(repersonalise(&mut phone).await.detail, done(), "commit {commit}, {crash:?}");
            assert_only_the_holder_changed(&image, &phone.image(&city).await, to);
            assert_eq!(holder(&city, &phone).await, holds(to, HolderData::Current));
        }
    }
    println!("a repersonalisation with a crashing SP-TSM: {crashes} crashes");
    assert!(crashes >= 6, "only {crashes} crashes");
}

/// The number changes while the card is on its way: the phone that it comes to says so before the other does, and
/// the rider goes on under the new number.
///
/// req: P-5.5.5.b
#[tokio::test]
async fn a_card_that_is_on_its_way_follows_the_number() {
    let city = naming_city().await;
    let (old, image, card) = parked(&city, 1).await;
    let mut new = Phone::new(&city, 2);
    new.order_migration().await;
    (new.lost, new.sent) = (Lost::Command(8), 0);
    assert_ne!(new.open(&city).await.unwrap().result, OutcomeResult::Done);
    new.lost = Lost::Nothing;

    tell(&city, &new, NEW, &[OLD]).await;
    new.register_to(&city, Some(NEW));
    let outcome = new.open(&city).await.unwrap();
    assert!(installed(&outcome), "{outcome:?}");
    live(&city, &card).await;
    tell(&city, &old, NEW, &[OLD]).await;
    assert_eq!(holder(&city, &new).await, holds(NEW, HolderData::Due));
    assert_eq!(repersonalise(&mut new).await.detail, done());
    assert_only_the_holder_changed(&image, &new.image(&city).await, NEW);
}

/// A phone that keeps the command back and says 9000 leaves the data due.
#[tokio::test]
async fn a_withheld_update_is_not_believed() {
    let city = naming_city().await;
    let mut phone = another(&city, 1).await;
    let image = phone.image(&city).await;
    tell(&city, &phone, NEW, &[OLD]).await;
    let start = Phone::start_request(Operation::Repersonalise, None);
    let mut reply = phone.wallet.start(&start).await.unwrap();
    let outcome = loop {
        let (conversation, turn, steps) = match reply {
            tsm_api::conversation::ConversationReply::Outcome { outcome, .. } => break outcome,
            tsm_api::conversation::ConversationReply::Steps { conversation, turn, steps, .. } => {
                (conversation, turn, steps)
            }
            other => panic!("{other:?}"),
        };
        let withheld = steps.iter().any(|step| crate::issuer::phone::command_of(step).0.ins == UPDATE_BINARY);
        let mut answers = if withheld { Default::default() } else { phone.carry(turn, &steps, None) };
        if withheld {
            answers.turn = turn;
            answers.responses = vec![HexBytes(vec![0x90, 0x00])];
        }
        reply = phone.wallet.turn(conversation, &answers).await.unwrap();
    };
    assert_ne!(outcome.result, OutcomeResult::Done, "{outcome:?}");
    assert_eq!(phone.image(&city).await, image);
    assert_eq!(holder(&city, &phone).await, holds(NEW, HolderData::Due));
}
