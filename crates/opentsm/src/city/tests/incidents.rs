//! What happens to a phone in the midst of an operation: a call comes in, the secure element is gone, NFC is switched
//! off, a permission is taken back, the storage is full, the clock jumps.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use tsm_domain::environment::Clock;
use tsm_iso7816::{CommandApdu, LogicalChannel, ResponseApdu};
use tsm_wallet::interaction::{Screen, Visibility};
use tsm_wallet::service::{Wallet, WalletError};
use tsm_wallet::storage::{StorageError, WalletRecord, WalletStorage};
use tsm_wallet::{AccessError, OpenedChannel, SecureElementAccess};

use super::leaving::{aid, with_money};
use super::*;
use crate::commands::wallet::Spoken;
use crate::environment;
use crate::handset::Handset;
use crate::phone::{self, FileStorage};

/// A call comes in when the operation has shown something for the first time.
struct CallComesIn {
    screen: Screen<Noted>,
    visibility: Visibility,
}

impl Interaction for CallComesIn {
    fn progress(&mut self, progress: Shown) {
        self.screen.progress(progress);
        self.visibility.to_background();
    }
}

/// A top-up goes on in the background, and what it had to show is shown when the wallet comes back.
///
/// req: W-9.3.a
#[tokio::test]
async fn a_call_in_the_midst_stops_nothing_and_hides_nothing() {
    let town = Town::new("call").await;
    let mut phone = with_money(&town, "phone-80", 80, &town.element(80), 1_000).await;
    let (order, payment) = phone.wallet.order_top_up(&aid(), 500).await.unwrap();
    let paid = phone.wallet.pay(&aid(), order, payment).await.unwrap();
    let visibility = Visibility::default();
    let screen = Screen::new(Noted::default(), visibility.clone());
    let mut shown = CallComesIn { screen, visibility: visibility.clone() };
    let result = phone.wallet.top_up(&paid, &mut shown).await.unwrap();
    assert!(matches!(result, TopUpResult::Credited { balance_fen: 1_500, .. }), "{result:?}");
    assert_eq!(shown.screen.shown().0.len(), 1, "nothing is shown behind a call");
    shown.screen.catch_up();
    assert_eq!(shown.screen.shown().0.len(), 1, "nor before the rider is back");
    visibility.to_foreground();
    shown.screen.catch_up();
    let seen = &shown.screen.shown().0;
    assert_eq!(seen.len(), 2, "then he sees how far it has come");
    assert!(seen[0].percent < seen[1].percent, "{seen:?}");
    shown.screen.catch_up();
    assert_eq!(shown.screen.shown().0.len(), 2, "once");
}

/// What happens, and at which call of the phone's own programming interfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Incident {
    /// The secure element was taken out, or NFC was switched off.
    Gone(usize),
    /// The permission to reach it was taken back.
    Denied(usize),
    /// The storage is full.
    Full(usize),
    /// The clock jumps by so many days.
    ClockJumps(i64),
}

/// The calls so far, and what is to happen.
struct Troubles {
    incident: Mutex<Option<Incident>>,
    calls: AtomicUsize,
    saves: AtomicUsize,
    days: AtomicI64,
}

impl Troubles {
    fn set(&self, incident: Option<Incident>) {
        *self.incident.lock().unwrap() = incident;
        self.calls.store(0, Ordering::SeqCst);
        self.saves.store(0, Ordering::SeqCst);
        let days = if let Some(Incident::ClockJumps(days)) = incident { days } else { 0 };
        self.days.store(days, Ordering::SeqCst);
    }

    fn called(&self) -> Result<(), AccessError> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        match *self.incident.lock().unwrap() {
            Some(Incident::Gone(from)) if call >= from => Err(AccessError::Lost),
            Some(Incident::Denied(from)) if call >= from => Err(AccessError::Denied),
            _ => Ok(()),
        }
    }
}

struct TroubledElement(Handset, Arc<Troubles>);

#[async_trait]
impl SecureElementAccess for TroubledElement {
    async fn open_logical_channel(&mut self, aid: &Aid) -> Result<OpenedChannel, AccessError> {
        self.1.called()?;
        self.0.open_logical_channel(aid).await
    }

    async fn transmit(
        &mut self,
        channel: LogicalChannel,
        command: &CommandApdu,
    ) -> Result<ResponseApdu, AccessError> {
        self.1.called()?;
        self.0.transmit(channel, command).await
    }

    async fn close_channel(&mut self, channel: LogicalChannel) -> Result<(), AccessError> {
        self.1.called()?;
        self.0.close_channel(channel).await
    }
}

struct TroubledStorage(FileStorage, Arc<Troubles>);

#[async_trait]
impl WalletStorage for TroubledStorage {
    async fn load(&self) -> Result<WalletRecord, StorageError> {
        self.0.load().await
    }

    async fn save(&self, record: &WalletRecord) -> Result<(), StorageError> {
        let save = self.1.saves.fetch_add(1, Ordering::SeqCst);
        let incident = *self.1.incident.lock().unwrap();
        match incident {
            Some(Incident::Full(from)) if save >= from => {
                Err(StorageError::Unavailable("no space is left".into()))
            }
            _ => self.0.save(record).await,
        }
    }

    async fn erase(&self) -> Result<(), StorageError> {
        self.0.erase().await
    }
}

struct JumpingClock(Arc<dyn Clock>, Arc<Troubles>);

impl Clock for JumpingClock {
    fn now(&self) -> Timestamp {
        let days = self.1.days.load(Ordering::SeqCst);
        self.0.now().saturating_add(SignedDuration::from_hours(days * 24)).unwrap()
    }
}

type TroubledWallet = Wallet<TroubledElement, TroubledStorage>;

async fn switched_on(
    town: &Town,
    home: &str,
    element: &SharedElement,
    troubles: &Arc<Troubles>,
) -> TroubledWallet {
    element.lock().unwrap().reset(Interface::Contact);
    let link = CardLink::here(element.clone(), Interface::Contact, Meter::new(Watched::No));
    let network = phone::network(&town.city.plan.servers(), &Arc::default()).unwrap();
    let (clock, entropy) = environment::real();
    let storage = TroubledStorage(FileStorage::new(&town.folder.join(home)), troubles.clone());
    let clock = Arc::new(JumpingClock(clock, troubles.clone()));
    Wallet::start(TroubledElement(Handset::new(link), troubles.clone()), network, storage, clock, entropy)
        .await
        .unwrap()
}

/// Orders, pays and carries a top-up; or as far as it comes.
async fn topped_up(wallet: &mut TroubledWallet) -> Result<(), WalletError> {
    wallet.login(&mut Quiet).await?;
    let (order, payment) = wallet.order_top_up(&aid(), 100).await?;
    let paid = wallet.pay(&aid(), order, payment).await?;
    wallet.top_up(&paid, &mut Quiet).await.map(drop)
}

/// Each incident at each call: no crash, a sentence in both languages, and when it is over the rider's money is
/// on his card, once.
///
/// req: W-9.3.e
#[tokio::test]
async fn every_incident_of_the_phone_ends_in_a_sentence_and_costs_nothing() {
    let town = Town::new("incidents").await;
    let element = town.element(81);
    let home = "phone-81";
    drop(with_money(&town, home, 81, &element, 1_000).await);
    let troubles = Arc::new(Troubles {
        incident: Mutex::default(),
        calls: AtomicUsize::default(),
        saves: AtomicUsize::default(),
        days: AtomicI64::default(),
    });
    let calls = (0..12).flat_map(|call| [Incident::Gone(call), Incident::Denied(call)]);
    let saves = (0..6).map(Incident::Full);
    let jumps = [-4_000, -1, 1, 4_000].map(Incident::ClockJumps);
    let (mut sentences, mut incidents, mut before) = (0, 0, 1_000);
    for incident in calls.chain(saves).chain(jumps) {
        incidents += 1;
        let mut wallet = switched_on(&town, home, &element, &troubles).await;
        troubles.set(Some(incident));
        let ended = topped_up(&mut wallet).await;
        if let Err(error) = &ended {
            sentences += 1;
            let (english, chinese) = (error.to_string(), Spoken::Zh.wallet_trouble(error));
            assert!(english.len() > 20 && english.is_ascii(), "{incident:?}: {english}");
            assert!(!chinese.is_ascii(), "{incident:?}: {chinese}");
        }
        troubles.set(None);
        drop(wallet);
        let mut wallet = switched_on(&town, home, &element, &troubles).await;
        wallet.login(&mut Quiet).await.unwrap();
        // The issuer's own rows tell what was interrupted, whatever the phone could write down.
        for work in wallet.interrupted().await.unwrap() {
            wallet.continue_interrupted(&work, &mut Quiet).await.unwrap();
        }
        let held = wallet.view_card(&transit()).await.unwrap().balance_fen;
        assert!([before, before + 100].contains(&held), "{incident:?}: {before} became {held}, {ended:?}");
        before = held;
        let books = super::super::centre::Centre::of(&town.city.plan).unwrap().settled().await.unwrap();
        assert!(books.holds(), "{incident:?}: {books:?}");
        assert_eq!(books.purses, i64::from(held), "{incident:?}");
    }
    println!("{incidents} incidents, {sentences} of them told to the rider");
    assert!(sentences >= 8, "{sentences}");
}
