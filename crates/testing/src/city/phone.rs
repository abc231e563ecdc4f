//! A phone: the wallet core with a simulated handset around it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tsm_api::client::Client;
use tsm_domain::environment::{Clock, Entropy};
use tsm_iso7816::{Aid, CommandApdu, LogicalChannel, ResponseApdu};
use tsm_se::Interface;
use tsm_storage::memory::Crash;
use tsm_wallet::network::Network as WalletNetwork;
use tsm_wallet::storage::{StorageError, WalletRecord, WalletStorage};
use tsm_wallet::{AccessError, OpenedChannel, SecureElementAccess, Wallet, WalletError};

use super::card::{Card, Exchange};
use super::executor::Executor;
use super::lock;
use super::network::{Network, Role};

/// The wallet of a simulated phone.
pub type SimWallet = Wallet<Handset, Drawer>;

/// What the phone keeps while it is off, and with whose power it is written.
#[derive(Clone)]
pub struct Drawer {
    card: Arc<Card>,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    record: WalletRecord,
    /// How often it was written.
    writes: u64,
    /// The phone dies at the write after so many.
    death: Option<(u64, Crash)>,
}

impl Drawer {
    fn of(card: &Arc<Card>) -> Self {
        Self { card: card.clone(), kept: Arc::default() }
    }

    /// Writes, unless the phone dies before; one that is dead waits for ever.
    async fn write(&self, record: WalletRecord) {
        let crash = {
            let mut kept = lock(&self.kept);
            let number = kept.writes;
            kept.writes += 1;
            let crash = kept.death.take_if(|(at, _)| *at == number).map(|(_, crash)| crash);
            if crash != Some(Crash::BeforeCommit) {
                kept.record = record;
            }
            crash
        };
        if crash.is_some() {
            self.card.lose_power("the phone dies while the wallet writes down what it knows");
            std::future::pending::<()>().await;
        }
    }
}

#[async_trait]
impl WalletStorage for Drawer {
    async fn load(&self) -> Result<WalletRecord, StorageError> {
        Ok(lock(&self.kept).record.clone())
    }

    async fn save(&self, record: &WalletRecord) -> Result<(), StorageError> {
        self.write(record.clone()).await;
        Ok(())
    }

    async fn erase(&self) -> Result<(), StorageError> {
        self.write(WalletRecord::default()).await;
        Ok(())
    }
}

/// What the phone does while its wallet talks to the card.
pub trait Distraction: Send + Sync {
    /// A command is about to go to the card.
    fn before_command(&self);
}

/// The phone's access API over its card.
pub struct Handset {
    executor: Executor,
    card: Arc<Card>,
    interface: Interface,
    distraction: Option<Arc<dyn Distraction>>,
    /// The wallet dies with the card's power.
    mortal: Arc<AtomicBool>,
}

impl Handset {
    /// A machine's access to the card in its field.
    pub fn contactless(executor: &Executor, card: &Arc<Card>) -> Self {
        card.reset(Interface::Contactless);
        let (executor, card) = (executor.clone(), card.clone());
        Self { executor, card, interface: Interface::Contactless, distraction: None, mortal: Arc::default() }
    }

    fn send(&mut self, channel: LogicalChannel, command: &CommandApdu) -> Result<ResponseApdu, AccessError> {
        if let Some(distraction) = &self.distraction {
            distraction.before_command();
        }
        let cla = channel.apply(command.cla).map_err(|_| AccessError::Forbidden)?;
        let command = CommandApdu { cla, ..command.clone() };
        match self.card.exchange(self.interface, &command) {
            Exchange::Answer(answer) => Ok(answer),
            Exchange::Dead => Err(AccessError::Lost),
        }
    }

    /// Sends a command; a wallet whose phone is dead waits for ever.
    async fn reach(
        &mut self,
        channel: LogicalChannel,
        command: &CommandApdu,
    ) -> Result<ResponseApdu, AccessError> {
        let answer = self.send(channel, command);
        if answer == Err(AccessError::Lost) && self.mortal.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        answer
    }
}

#[async_trait]
impl SecureElementAccess for Handset {
    async fn open_logical_channel(&mut self, aid: &Aid) -> Result<OpenedChannel, AccessError> {
        // A channel takes a moment, in which others go on.
        self.executor.sleep(Duration::from_millis(15)).await;
        let command = CommandApdu::new(0x00, 0x70, 0x00, 0x00).with_ne(1);
        let response = self.reach(LogicalChannel::BASIC, &command).await?;
        let channel = match response.data.as_slice() {
            [number] if response.status.is_success() => {
                LogicalChannel::new(*number).map_err(|_| AccessError::Denied)?
            }
            _ => return Err(AccessError::Denied),
        };
        let select = CommandApdu::new(0x00, 0xA4, 0x04, 0x00).with_data(aid.as_bytes()).with_any_response();
        let response = self.reach(channel, &select).await?;
        if response.status.is_success() || response.status.is_warning() {
            return Ok(OpenedChannel { channel, response });
        }
        self.close_channel(channel).await?;
        Ok(OpenedChannel { channel: LogicalChannel::BASIC, response })
    }

    async fn transmit(
        &mut self,
        channel: LogicalChannel,
        command: &CommandApdu,
    ) -> Result<ResponseApdu, AccessError> {
        self.reach(channel, command).await
    }

    async fn close_channel(&mut self, channel: LogicalChannel) -> Result<(), AccessError> {
        let command = CommandApdu::new(0x00, 0x70, 0x80, channel.number());
        self.reach(LogicalChannel::BASIC, &command).await.map(drop)
    }
}

/// A phone of the city.
pub struct Phone {
    /// Its secure element.
    pub card: Arc<Card>,
    executor: Executor,
    network: Arc<Network>,
    drawer: Drawer,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    distraction: Option<Arc<dyn Distraction>>,
    mortal: Arc<AtomicBool>,
}

impl Phone {
    /// A phone around a card.
    pub fn new(
        executor: &Executor,
        network: &Arc<Network>,
        card: Arc<Card>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self {
            drawer: Drawer::of(&card),
            card,
            executor: executor.clone(),
            network: network.clone(),
            clock,
            entropy,
            distraction: None,
            mortal: Arc::default(),
        }
    }

    /// A phone that knows what this one knows, with another card in it.
    pub(super) fn with_card(&self, card: Arc<Card>) -> Self {
        let kept = Kept { record: lock(&self.drawer.kept).record.clone(), ..Kept::default() };
        Self {
            drawer: Drawer { card: card.clone(), kept: Arc::new(Mutex::new(kept)) },
            card,
            executor: self.executor.clone(),
            network: self.network.clone(),
            clock: self.clock.clone(),
            entropy: self.entropy.clone(),
            distraction: None,
            mortal: Arc::default(),
        }
    }

    /// How often the wallet wrote down what it knows.
    pub fn wallet_writes(&self) -> u64 {
        lock(&self.drawer.kept).writes
    }

    /// Lets the phone die before or after the wallet writes down what it knows, at the write after the next
    /// `writes`.
    pub fn prepare_death(&self, writes: u64, crash: Crash) {
        let mut kept = lock(&self.drawer.kept);
        kept.death = Some((kept.writes + writes, crash));
    }

    /// The wallet writes whatever it likes from now on.
    pub fn cancel_death(&self) {
        lock(&self.drawer.kept).death = None;
    }

    /// Whether the wallet dies when the card loses its power, as it does in a phone with an empty battery; else
    /// only the card is gone, and the wallet says so.
    pub fn set_mortal(&self, mortal: bool) {
        self.mortal.store(mortal, Ordering::Relaxed);
    }

    /// The phone does something else between two commands.
    pub fn distract(&mut self, distraction: Arc<dyn Distraction>) {
        self.distraction = Some(distraction);
    }

    /// Starts the wallet, as after the phone was switched on.
    pub async fn start(&self) -> Result<SimWallet, WalletError> {
        let client = |role| Client::new(self.network.way(role, None));
        let network = WalletNetwork {
            se_tsm: client(Role::SeTsm),
            sp_tsm: client(Role::SpTsm),
            payment: client(Role::Payment),
        };
        let handset = Handset {
            executor: self.executor.clone(),
            card: self.card.clone(),
            interface: Interface::Contact,
            distraction: self.distraction.clone(),
            mortal: self.mortal.clone(),
        };
        Wallet::start(handset, network, self.drawer.clone(), self.clock.clone(), self.entropy.clone()).await
    }
}
