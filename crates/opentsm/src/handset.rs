//! The phone around the wallet: its access API to the secure element, with a meter on it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tsm_iso7816::{Aid, CommandApdu, LogicalChannel, ResponseApdu};
use tsm_se::readers::RemoteCard;
use tsm_se::{Interface, SecureElement};
use tsm_wallet::{AccessError, OpenedChannel, SecureElementAccess};

use crate::apdu_words;
use crate::report::Cost;

/// A secure element that several parts of this process use: the wallet, a gate, a reader.
pub type SharedElement = Arc<Mutex<SecureElement>>;

/// Counts what passes over a card's interfaces, and shows it in words when asked to.
#[derive(Debug, Default)]
pub struct Meter {
    passed: Mutex<Passed>,
    watched: Watched,
}

/// What has passed. Time is summed exactly: many commands take less than a microsecond.
#[derive(Debug, Default)]
struct Passed {
    cost: Cost,
    busy: Duration,
}

/// Whether APDUs are shown as they pass (development only; data fields never are).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Watched {
    /// Nothing is shown.
    #[default]
    No,
    /// One line an APDU.
    InWords,
}

impl Meter {
    /// A meter that starts at nothing.
    pub fn new(watched: Watched) -> Arc<Self> {
        Arc::new(Self { passed: Mutex::default(), watched })
    }

    /// What has passed so far.
    pub fn read(&self) -> Cost {
        let passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
        Cost { card_us: u64::try_from(passed.busy.as_micros()).unwrap_or(u64::MAX), ..passed.cost }
    }

    fn note(&self, command: &[u8], response: &[u8], started: Instant) {
        let busy = started.elapsed();
        let mut passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
        passed.cost.apdus += 1;
        passed.cost.bytes += (command.len() + response.len()) as u64;
        passed.busy += busy;
        drop(passed);
        if self.watched == Watched::InWords {
            say!("      {}", apdu_words::describe(command, response));
        }
    }
}

/// A battery that can be taken out: the card gets no power from the next command on, or after some more.
#[derive(Debug, Default)]
pub struct Battery(Mutex<Option<u64>>);

impl Battery {
    /// Takes the battery out after `commands` more commands.
    pub fn fail_after(&self, commands: u64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(commands);
    }

    /// Puts the battery back.
    pub fn restore(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Uses power for one command; there may be none.
    fn spend(&self) -> Option<()> {
        let mut left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match left.as_mut() {
            None => Some(()),
            Some(0) => None,
            Some(commands) => {
                *commands -= 1;
                Some(())
            }
        }
    }
}

/// Where the card is.
enum Place {
    /// In this process.
    Here(SharedElement),
    /// In another process, behind the frames of a virtual reader.
    Remote(Box<RemoteCard>),
}

/// One interface of a card, metered.
pub struct CardLink {
    place: Place,
    interface: Interface,
    meter: Arc<Meter>,
    battery: Arc<Battery>,
}

impl CardLink {
    /// An interface of a card in this process.
    pub fn here(element: SharedElement, interface: Interface, meter: Arc<Meter>) -> Self {
        Self { place: Place::Here(element), interface, meter, battery: Arc::default() }
    }

    /// The same link on this battery.
    #[must_use]
    pub fn on(mut self, battery: Arc<Battery>) -> Self {
        self.battery = battery;
        self
    }

    /// An interface of a card in another process; the connection decides which interface.
    pub fn remote(card: RemoteCard, interface: Interface, meter: Arc<Meter>) -> Self {
        Self { place: Place::Remote(Box::new(card)), interface, meter, battery: Arc::default() }
    }

    /// What has passed over the card's metered interfaces so far.
    pub fn spent(&self) -> Cost {
        self.meter.read()
    }

    /// The meter on this interface.
    pub fn meter(&self) -> Arc<Meter> {
        self.meter.clone()
    }

    /// Takes the phone out of the reader's field: the interface starts anew the next time. A card that is
    /// gone has left it already.
    pub fn leave_field(&mut self) {
        match &mut self.place {
            Place::Here(element) => {
                element.lock().unwrap_or_else(PoisonError::into_inner).reset(self.interface);
            }
            Place::Remote(card) => drop(card.reset()),
        }
    }

    /// Sends a command and waits for the answer; `None` when the card is gone.
    pub fn exchange(&mut self, command: &CommandApdu) -> Option<ResponseApdu> {
        self.battery.spend()?;
        let bytes = command.to_bytes().ok()?;
        let started = Instant::now();
        let response = match &mut self.place {
            Place::Here(element) => {
                element.lock().unwrap_or_else(PoisonError::into_inner).transmit(self.interface, &bytes)
            }
            Place::Remote(card) => card.transmit(&bytes).ok()?,
        };
        let parsed = ResponseApdu::parse(&response).ok()?;
        self.meter.note(&bytes, &response, started);
        Some(parsed)
    }
}

/// The phone's access API over one interface.
pub struct Handset {
    link: CardLink,
}

impl Handset {
    /// The access API over `link`.
    pub const fn new(link: CardLink) -> Self {
        Self { link }
    }

    fn send(&mut self, channel: LogicalChannel, command: &CommandApdu) -> Result<ResponseApdu, AccessError> {
        let cla = channel.apply(command.cla).map_err(|_| AccessError::Forbidden)?;
        let command = CommandApdu { cla, ..command.clone() };
        self.link.exchange(&command).ok_or(AccessError::Lost)
    }

    /// MANAGE CHANNEL, open: the card chooses the number (ISO/IEC 7816-4, 11.1.2).
    fn open(&mut self) -> Result<LogicalChannel, AccessError> {
        let command = CommandApdu::new(0x00, 0x70, 0x00, 0x00).with_ne(1);
        let response = self.send(LogicalChannel::BASIC, &command)?;
        match response.data.as_slice() {
            [number] if response.status.is_success() => {
                LogicalChannel::new(*number).map_err(|_| AccessError::Denied)
            }
            _ => Err(AccessError::Denied),
        }
    }

    fn close(&mut self, channel: LogicalChannel) -> Result<(), AccessError> {
        let command = CommandApdu::new(0x00, 0x70, 0x80, channel.number());
        self.send(LogicalChannel::BASIC, &command).map(|_| ())
    }
}

#[async_trait]
impl SecureElementAccess for Handset {
    async fn open_logical_channel(&mut self, aid: &Aid) -> Result<OpenedChannel, AccessError> {
        let channel = self.open()?;
        let select = CommandApdu::new(0x00, 0xA4, 0x04, 0x00).with_data(aid.as_bytes()).with_any_response();
        let response = self.send(channel, &select)?;
        if response.status.is_success() || response.status.is_warning() {
            return Ok(OpenedChannel { channel, response });
        }
        self.close(channel)?;
        Ok(OpenedChannel { channel: LogicalChannel::BASIC, response })
    }

    async fn transmit(
        &mut self,
        channel: LogicalChannel,
        command: &CommandApdu,
    ) -> Result<ResponseApdu, AccessError> {
        self.send(channel, command)
    }

    async fn close_channel(&mut self, channel: LogicalChannel) -> Result<(), AccessError> {
        self.close(channel)
    }
}
