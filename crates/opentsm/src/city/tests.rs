//! The wallet against a whole city: every role over TLS, the software SE in the phone.

mod incidents;
mod leaving;
mod online;
mod ordered;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tsm_api::HexBytes;
use tsm_api::conversation::{Progress as Shown, Stage};
use tsm_api::problem::ProblemCode;
use tsm_api::se_tsm::wallet::{CatalogueEntry, CatalogueList, InstallationCondition};
use tsm_iso7816::Aid;
use tsm_se::card::SystemRandomness;
use tsm_se::memory::LoadFileLibrary;
use tsm_se::{Interface, SecureElement};
use tsm_wallet::service::{Entrance, Rights, TopUpResult};
use tsm_wallet::storage::WorkKind;
use tsm_wallet::{Interaction, NetworkError, Quiet, WalletError};

use super::folder::CityFolder;
use super::{City, Place, Progress, TRANSIT_AID, ceremony, se_id};
use crate::handset::{Battery, CardLink, Meter, SharedElement, Watched};
use crate::phone::Phone;

struct Silent;

impl Progress for Silent {
    fn done(&mut self, _: &str) {}
}

/// Writes down the progress that the wallet reports.
#[derive(Default)]
struct Noted(Vec<Shown>);

impl Interaction for Noted {
    fn progress(&mut self, progress: Shown) {
        self.0.push(progress);
    }
}

/// A city in a folder that goes away with it, and its phones.
struct Town {
    city: City,
    folder: PathBuf,
}

impl Town {
    async fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("opentsm-city-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let home = CityFolder::new(&folder).unwrap();
        let city = City::bring_up(&home, Place::Together, None, &mut Silent).await.unwrap();
        Self { city, folder }
    }

    fn element(&self, number: u32) -> SharedElement {
        let profile = ceremony::profile(&self.city.maker, &se_id(number), LoadFileLibrary::new());
        Arc::new(Mutex::new(SecureElement::create(&profile, Box::new(SystemRandomness)).unwrap()))
    }

    /// A phone over this secure element; the same home is the same wallet after a restart.
    async fn phone(&self, home: &str, element: &SharedElement, battery: &Arc<Battery>) -> Phone {
        let link =
            CardLink::here(element.clone(), Interface::Contact, Meter::new(Watched::No)).on(battery.clone());
        Phone::start(&self.city.plan.servers(), &self.folder.join(home), link).await.unwrap()
    }

    async fn new_phone(&self, number: u32) -> Phone {
        self.phone(&format!("phone-{number}"), &self.element(number), &Arc::default()).await
    }

    /// A phone that has registered and logged in.
    async fn ready_phone(&self, number: u32) -> Phone {
        let mut phone = self.new_phone(number).await;
        register(&mut phone, number).await.unwrap();
        phone.wallet.login(&mut Quiet).await.unwrap();
        phone
    }
}

impl Drop for Town {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

async fn register(phone: &mut Phone, number: u32) -> Result<(), WalletError> {
    let agreement = phone.wallet.agreement().await?;
    let accepted = phone.wallet.accept(&agreement);
    phone.wallet.register(accepted, Some(format!("86139{number:08}")), &mut Quiet).await
}

async fn offer(phone: &Phone, name: &str) -> CatalogueEntry {
    let entries = phone.wallet.catalogue(CatalogueList::Recommendation).await.unwrap();
    entries.into_iter().find(|entry| entry.name == name).unwrap()
}

fn transit() -> Aid {
    Aid::constant(&TRANSIT_AID)
}

/// Before registration every function is refused; the text is shown and accepted first; the SE-ID is
/// the card's own; afterwards SE-ID and TOKEN are kept and the session is usable.
///
/// req: W-6.1.a, W-6.1.b, W-6.1.c, W-6.1.d, W-6.1.e
#[tokio::test]
async fn registration_comes_first() {
    let town = Town::new("registration").await;
    let mut phone = town.new_phone(1).await;
    assert_eq!(phone.wallet.login(&mut Quiet).await, Err(WalletError::NotRegistered));
    assert_eq!(phone.wallet.catalogue(CatalogueList::Latest).await.unwrap_err(), WalletError::NoSession);
    let aid = HexBytes::from(transit());
    assert_eq!(phone.wallet.order_top_up(&aid, 100).await.unwrap_err(), WalletError::NoSession);
    let agreement = phone.wallet.agreement().await.unwrap();
    assert!(!agreement.text_en.is_empty() && !agreement.text_zh.is_empty());
    assert_eq!(phone.wallet.record().registration, None, "nothing is kept before the acceptance");
    register(&mut phone, 1).await.unwrap();
    let registration = phone.wallet.record().registration.clone().unwrap();
    assert_eq!(registration.se_id.as_bytes(), se_id(1));
    assert_eq!(registration.accepted_terms, agreement.version);
    assert!(!registration.token.as_bytes().is_empty());
    let entrance = phone.wallet.login(&mut Quiet).await.unwrap();
    assert!(matches!(entrance, Entrance::Certified { rights: Rights::Full, .. }), "{entrance:?}");
}

/// A registration that fails leaves nothing behind: the next start registers again.
///
/// req: W-6.1.h
#[tokio::test]
async fn a_failed_registration_is_done_again() {
    let town = Town::new("registration-fails").await;
    let (element, battery) = (town.element(2), Arc::<Battery>::default());
    let mut phone = town.phone("phone-2", &element, &battery).await;
    // The SE-ID is read (open, SELECT, GET DATA, close); the power goes while the TOKEN is written.
    battery.fail_after(9);
    let failure = register(&mut phone, 2).await.unwrap_err();
    assert!(!failure.to_string().is_empty());
    assert_eq!(phone.wallet.record().registration, None);
    battery.restore();
    element.lock().unwrap().power_on().unwrap();
    let mut phone = town.phone("phone-2", &element, &battery).await;
    assert_eq!(phone.wallet.login(&mut Quiet).await, Err(WalletError::NotRegistered));
    register(&mut phone, 2).await.unwrap();
    assert!(phone.wallet.record().registration.is_some());
}

/// A wrong TOKEN or no network opens the stored list and nothing else.
///
/// req: W-6.2.a, W-6.2.f
#[tokio::test]
async fn without_certification_only_the_stored_list_is_open() {
    let town = Town::new("certification").await;
    let mut phone = town.ready_phone(3).await;
    let greeting = offer(&phone, "Greeting Card").await;
    phone.wallet.open_card(&greeting, &mut Quiet).await.unwrap();
    let file = town.folder.join("phone-3/wallet.json");
    let text = std::fs::read_to_string(&file).unwrap();
    let token = phone.wallet.record().registration.as_ref().unwrap().token.to_string();
    std::fs::write(&file, text.replace(&token, &"00".repeat(token.len() / 2))).unwrap();
    let mut phone = town.new_phone(3).await;
    let entrance = phone.wallet.login(&mut Quiet).await.unwrap();
    let Entrance::Restricted { reason: WalletError::Refused(problem) } = entrance else {
        panic!("{entrance:?}")
    };
    assert_eq!(problem.code, ProblemCode::WrongCredentials);
    let names: Vec<_> = phone.wallet.record().installed.iter().map(|known| known.name.clone()).collect();
    assert_eq!(names, ["Greeting Card"]);
    assert_eq!(phone.wallet.catalogue(CatalogueList::Latest).await.unwrap_err(), WalletError::NoSession);
    let mut servers = town.city.plan.servers();
    servers.se_tsm.set_port(9);
    let link = CardLink::here(town.element(3), Interface::Contact, Meter::new(Watched::No));
    let mut phone = Phone::start(&servers, &town.folder.join("phone-3"), link).await.unwrap();
    let entrance = phone.wallet.login(&mut Quiet).await.unwrap();
    let no_reply = |reason: &WalletError| matches!(reason, WalletError::Network(NetworkError::NoReply(_)));
    assert!(matches!(&entrance, Entrance::Restricted { reason } if no_reply(reason)), "{entrance:?}");
    assert_eq!(phone.wallet.record().installed.len(), 1);
}

/// The catalogue's entries carry the five basics, and the condition follows this secure element.
///
/// req: W-6.4.1.b, W-6.4.1.g
#[tokio::test]
async fn the_catalogue_knows_this_phone() {
    let town = Town::new("catalogue").await;
    let mut phone = town.ready_phone(4).await;
    let entries = phone.wallet.catalogue(CatalogueList::default()).await.unwrap();
    assert_eq!(
        entries.iter().map(|entry| entry.name.as_str()).collect::<Vec<_>>(),
        ["Harbour Transit Card", "Greeting Card"]
    );
    for entry in &entries {
        assert_eq!(entry.condition, InstallationCondition::NotInstalled);
        assert!(!entry.icon.is_empty() && !entry.charging.is_empty() && entry.ticket.is_some(), "{entry:?}");
    }
    let greeting = offer(&phone, "Greeting Card").await;
    phone.wallet.open_card(&greeting, &mut Quiet).await.unwrap();
    assert_eq!(offer(&phone, "Greeting Card").await.condition, InstallationCondition::Installed);
}

/// From an empty secure element to a card that answers with its own number: domain, download,
/// installation and personalisation, with progress that never falls, and in the list only at the end.
///
/// req: W-6.4.3.a, W-6.4.3.b, W-6.4.3.d, W-6.4.3.e, B-7.2.1.a, B-7.2.1.b, B-9.2.2.a, W-6.6.d, B-8.1.g
#[tokio::test]
async fn a_card_is_opened_from_nothing() {
    let town = Town::new("opening").await;
    let mut phone = town.ready_phone(5).await;
    let card = offer(&phone, "Harbour Transit Card").await;
    assert!(phone.wallet.view_card(&transit()).await.is_err(), "there is no card yet");
    let mut shown = Noted::default();
    phone.wallet.open_card(&card, &mut shown).await.unwrap();
    let stages: Vec<_> = shown.0.iter().map(|progress| progress.stage).collect();
    for stage in [Stage::Observing, Stage::CreatingDomain, Stage::ReplacingKeys] {
        assert!(stages.contains(&stage), "{stages:?}");
    }
    assert!(shown.0.windows(2).all(|pair| pair[0].percent <= pair[1].percent), "{:?}", shown.0);
    let view = phone.wallet.view_card(&transit()).await.unwrap();
    assert_eq!((view.balance_fen, view.number_ending.len()), (0, 4));
    let installed: Vec<_> = phone.wallet.record().installed.iter().map(|known| known.aid.clone()).collect();
    assert_eq!(installed, [HexBytes::from(transit())]);
}

/// The power goes at each of many commands of an opening; each time the wallet remembers, the card is
/// not in the list, and the next attempt goes on from what the card holds.
///
/// req: W-6.4.3.a
#[tokio::test]
async fn an_opening_goes_on_after_a_cut() {
    let town = Town::new("cut").await;
    for (number, cut) in [(10, 3), (11, 8), (12, 12), (13, 20), (14, 60), (15, 95)] {
        let (element, battery) = (town.element(number), Arc::<Battery>::default());
        let mut phone = town.phone(&format!("phone-{number}"), &element, &battery).await;
        register(&mut phone, number).await.unwrap();
        phone.wallet.login(&mut Quiet).await.unwrap();
        let card = offer(&phone, "Harbour Transit Card").await;
        battery.fail_after(cut);
        let failure = phone.wallet.open_card(&card, &mut Quiet).await.unwrap_err();
        assert!(phone.wallet.record().installed.is_empty(), "cut after {cut}: {failure}");
        let interrupted = phone.wallet.record().interrupted.clone().unwrap();
        assert_eq!(interrupted.kind, WorkKind::Open);
        battery.restore();
        element.lock().unwrap().power_on().unwrap();
        let mut phone = town.phone(&format!("phone-{number}"), &element, &battery).await;
        phone.wallet.login(&mut Quiet).await.unwrap();
        let card = offer(&phone, "Harbour Transit Card").await;
        phone
            .wallet
            .open_card(&card, &mut Quiet)
            .await
            .unwrap_or_else(|e| panic!("after a cut at {cut}: {e:?}"));
        assert_eq!(phone.wallet.record().interrupted, None);
        assert_eq!(phone.wallet.view_card(&transit()).await.unwrap().balance_fen, 0);
    }
}

/// A wallet that is killed before its `turn`th list is carried: nobody hears of it.
struct KilledAt {
    turn: usize,
    seen: usize,
}

impl Interaction for KilledAt {
    fn progress(&mut self, _: Shown) {
        self.seen += 1;
        assert!(self.seen < self.turn, "killed");
    }
}

/// The wallet's process is killed before each list of an opening and of a top-up. The next start goes on
/// at once: the dead conversation does not hold the card, and the order is credited once.
#[tokio::test]
async fn a_killed_wallet_goes_on_at_its_next_start() {
    let town = Town::new("killed").await;
    for turn in 1..=5 {
        let number = 30 + u32::try_from(turn).unwrap();
        let element = town.element(number);
        let home = format!("phone-{number}");
        let mut phone = town.phone(&home, &element, &Arc::default()).await;
        register(&mut phone, number).await.unwrap();
        phone.wallet.login(&mut Quiet).await.unwrap();
        let card = offer(&phone, "Harbour Transit Card").await;
        let offered = card.clone();
        let killed =
            tokio::spawn(
                async move { phone.wallet.open_card(&offered, &mut KilledAt { turn, seen: 0 }).await },
            );
        assert!(killed.await.is_err(), "the opening has at least {turn} lists");
        let mut phone = restarted(&town, &home, &element).await;
        let card = offer(&phone, &card.name).await;
        phone.wallet.open_card(&card, &mut Quiet).await.unwrap_or_else(|e| panic!("killed at {turn}: {e:?}"));
        if turn > 2 {
            continue;
        }
        let (order, payment) = phone.wallet.order_top_up(&card.aid, 1_000).await.unwrap();
        let paid = phone.wallet.pay(&card.aid, order, payment).await.unwrap();
        let again = paid.clone();
        let killed =
            tokio::spawn(async move { phone.wallet.top_up(&again, &mut KilledAt { turn, seen: 0 }).await });
        assert!(killed.await.is_err(), "the top-up has two lists");
        let mut phone = restarted(&town, &home, &element).await;
        let result = phone.wallet.top_up(&paid, &mut Quiet).await;
        assert!(matches!(result, Ok(TopUpResult::Credited { .. })), "killed at {turn}: {result:?}");
        assert_eq!(phone.wallet.view_card(&transit()).await.unwrap().balance_fen, 1_000);
    }
}

async fn restarted(town: &Town, home: &str, element: &SharedElement) -> Phone {
    element.lock().unwrap().reset(Interface::Contact);
    let mut phone = town.phone(home, element, &Arc::default()).await;
    phone.wallet.login(&mut Quiet).await.unwrap();
    phone
}

/// The power goes at each command of a top-up. Whatever happened, carrying the same order to the card
/// again credits it once.
///
/// req: B-7.4.1.a, B-9.2.4.a, B-5.2.2.d, B-8.1.g
#[tokio::test]
async fn a_top_up_credits_once_wherever_the_power_goes() {
    let town = Town::new("top-up").await;
    let (element, battery) = (town.element(20), Arc::<Battery>::default());
    let mut phone = town.phone("phone-20", &element, &battery).await;
    register(&mut phone, 20).await.unwrap();
    phone.wallet.login(&mut Quiet).await.unwrap();
    let card = offer(&phone, "Harbour Transit Card").await;
    phone.wallet.open_card(&card, &mut Quiet).await.unwrap();
    let mut expected = 0;
    for cut in 0..6 {
        let (order, payment) = phone.wallet.order_top_up(&card.aid, 1_000).await.unwrap();
        phone.wallet.pay(&card.aid, order, payment).await.unwrap();
        battery.fail_after(cut);
        let first = phone.wallet.interrupted_top_up().unwrap();
        let broken = phone.wallet.top_up(&first, &mut Quiet).await;
        battery.restore();
        element.lock().unwrap().power_on().unwrap();
        let mut again = town.phone("phone-20", &element, &battery).await;
        again.wallet.login(&mut Quiet).await.unwrap();
        if let Some(paid) = again.wallet.interrupted_top_up() {
            let result = again.wallet.top_up(&paid, &mut Quiet).await;
            assert!(
                matches!(result, Ok(TopUpResult::Credited { .. })),
                "cut after {cut}: {broken:?}, then {result:?}"
            );
        }
        expected += 1_000;
        let view = again.wallet.view_card(&transit()).await.unwrap();
        assert_eq!(view.balance_fen, expected, "cut after {cut}: {broken:?}");
        phone = again;
    }
}

/// An application without value is deleted and may come back; a card with money may not be deleted.
///
/// req: B-8.5.3.b, W-6.2.e
#[tokio::test]
async fn only_what_holds_no_value_is_deleted() {
    let town = Town::new("deletion").await;
    let mut phone = town.ready_phone(6).await;
    for _ in 0..2 {
        let greeting = offer(&phone, "Greeting Card").await;
        phone.wallet.open_card(&greeting, &mut Quiet).await.unwrap();
        let lists = phone.wallet.lists().await.unwrap();
        let listed = lists.delete.iter().find(|listed| listed.aid == greeting.aid).unwrap();
        phone.wallet.delete(&listed.aid, &listed.ticket, &mut Quiet).await.unwrap();
        assert!(phone.wallet.record().installed.is_empty());
        let aid = greeting.aid.to_aid().unwrap();
        assert!(phone.wallet.view_card(&aid).await.is_err());
    }
    let card = offer(&phone, "Harbour Transit Card").await;
    phone.wallet.open_card(&card, &mut Quiet).await.unwrap();
    let (order, payment) = phone.wallet.order_top_up(&card.aid, 1_000).await.unwrap();
    let paid = phone.wallet.pay(&card.aid, order, payment).await.unwrap();
    phone.wallet.top_up(&paid, &mut Quiet).await.unwrap();
    let lists = phone.wallet.lists().await.unwrap();
    let listed = lists.delete.iter().find(|listed| listed.aid == card.aid).unwrap();
    let refused = phone.wallet.delete(&listed.aid, &listed.ticket, &mut Quiet).await.unwrap_err();
    assert!(
        matches!(&refused, WalletError::Refused(problem) if problem.code == ProblemCode::ValueRemains),
        "{refused}"
    );
    assert_eq!(phone.wallet.view_card(&transit()).await.unwrap().balance_fen, 1_000);
}

/// What the wallet keeps holds no APDU, no full card number and no password.
///
/// req: W-9.2.c
#[tokio::test]
async fn nothing_secret_stays_on_the_phone() {
    let town = Town::new("storage").await;
    let mut phone = town.ready_phone(7).await;
    let card = offer(&phone, "Harbour Transit Card").await;
    phone.wallet.open_card(&card, &mut Quiet).await.unwrap();
    let kept = std::fs::read_to_string(town.folder.join("phone-7/wallet.json")).unwrap().to_uppercase();
    for apdu in ["8050", "8482", "84E8", "84E2", "84D8", "805C"] {
        assert!(!kept.contains(&format!("\"{apdu}")), "{apdu} was kept");
    }
    let digits = super::roles::CARD_NUMBER_PREFIX;
    assert!(!kept.contains(digits), "a card number was kept");
}
