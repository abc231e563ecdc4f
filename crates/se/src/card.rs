//! The assembled card.

use tsm_globalplatform::life_cycle::CardLifeCycle;
use tsm_iso7816::{CommandApdu, ResponseApdu, StatusWord};

use crate::applet::AppletFactory;
use crate::memory::{Driver, ImageDriver, LoadFileLibrary, MemoryError};
use crate::open::Open;
use crate::profile::{Profile, ProfileError};

/// The two ways into the card; both may be in use at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Interface {
    /// The host processor (contacts, or the wired path of an embedded SE).
    Contact,
    /// An external reader's field.
    Contactless,
}

impl Interface {
    /// Both interfaces.
    pub const ALL: [Self; 2] = [Self::Contact, Self::Contactless];

    pub(crate) const fn index(self) -> usize {
        match self {
            Self::Contact => 0,
            Self::Contactless => 1,
        }
    }
}

/// Where the card's randomness comes from.
pub trait Randomness: Send {
    /// Fills `bytes`.
    fn fill(&mut self, bytes: &mut [u8]);
}

/// The randomness of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemRandomness;

impl Randomness for SystemRandomness {
    fn fill(&mut self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the operating system has randomness");
    }
}

impl<F: FnMut(&mut [u8]) + Send> Randomness for F {
    fn fill(&mut self, bytes: &mut [u8]) {
        self(bytes);
    }
}

/// Why a card cannot be made or opened.
#[derive(Debug, thiserror::Error)]
pub enum CardError {
    /// The memory failed, or its image cannot be read.
    #[error("the card's memory failed")]
    Memory(#[from] MemoryError),
    /// The memory holds no card, or one that this build does not understand.
    #[error("the memory image does not hold a card: {0}")]
    NotACard(&'static str),
    /// The profile contradicts itself.
    #[error("the card profile is not usable")]
    Profile(#[from] ProfileError),
}

/// How much memory a card has, and how much is in use. Bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Applications and security domains, the issuer's left out.
    pub applications: u16,
    /// Non-volatile memory of the card.
    pub non_volatile_total: u32,
    /// Of it, what load files take: the immutable code space.
    pub code: u32,
    /// Of it, what instances take or have reserved: the immutable data space.
    pub data: u32,
    /// Volatile memory of the card.
    pub volatile_total: u32,
    /// Of it, what instances have reserved: the mutable data space.
    pub volatile: u32,
}

impl Usage {
    /// Non-volatile memory that is free.
    pub const fn non_volatile_free(&self) -> u32 {
        self.non_volatile_total.saturating_sub(self.code).saturating_sub(self.data)
    }

    /// Volatile memory that is free.
    pub const fn volatile_free(&self) -> u32 {
        self.volatile_total.saturating_sub(self.volatile)
    }
}

/// A T=1-only answer to reset, so that no reader splits responses for T=0.
const ATR: [u8; 4] = [0x3B, 0x80, 0x01, 0x81];

/// A secure element.
///
/// It is one state machine: commands of both interfaces are served one after another.
pub struct SecureElement {
    pub(crate) open: Open,
}

impl SecureElement {
    /// Makes a new card of `profile` with its memory in this process.
    pub fn create(profile: &Profile, randomness: Box<dyn Randomness>) -> Result<Self, CardError> {
        Self::create_on(Box::new(ImageDriver::new()), profile, randomness)
    }

    /// Makes a new card of `profile` in the memory of `driver`, whatever that held before.
    pub fn create_on(
        driver: Box<dyn Driver>,
        profile: &Profile,
        randomness: Box<dyn Randomness>,
    ) -> Result<Self, CardError> {
        Ok(Self { open: Open::create(driver, profile, randomness)? })
    }

    /// Powers on the card that `image` holds, with its memory in this process.
    pub fn open(
        image: &[u8],
        library: LoadFileLibrary,
        randomness: Box<dyn Randomness>,
    ) -> Result<Self, CardError> {
        Self::open_on(Box::new(ImageDriver::from_image(image)), library, randomness)
    }

    /// Powers on the card in the memory of `driver`.
    pub fn open_on(
        driver: Box<dyn Driver>,
        library: LoadFileLibrary,
        randomness: Box<dyn Randomness>,
    ) -> Result<Self, CardError> {
        Ok(Self { open: Open::power_on(driver, library, randomness)? })
    }

    /// The same card with another way to make the behaviour of its applications, as after
    /// [`SecureElement::open`] for a card that was created with one.
    #[must_use]
    pub fn with_factory(mut self, factory: AppletFactory) -> Self {
        self.open.set_factory(factory);
        self
    }

    /// Serves one command, given and answered as bytes.
    ///
    /// A card without power is mute: the answer is empty.
    pub fn transmit(&mut self, interface: Interface, command: &[u8]) -> Vec<u8> {
        let answer = match CommandApdu::parse(command) {
            Ok(command) => self.open.serve(interface, &command),
            Err(_) if self.is_powered() => Some(ResponseApdu::from(StatusWord::WRONG_LENGTH)),
            Err(_) => None,
        };
        answer.map_or_else(Vec::new, |response| response.to_bytes())
    }

    /// Serves one command; `None` is a card without power.
    pub fn exchange(&mut self, interface: Interface, command: &CommandApdu) -> Option<ResponseApdu> {
        self.open.serve(interface, command)
    }

    /// Resets one interface and returns its answer to reset: its channels close, its sessions end
    /// and its volatile state is lost. The other interface goes on undisturbed.
    ///
    /// A card without power stays mute; see [`SecureElement::power_on`].
    pub fn reset(&mut self, interface: Interface) -> &'static [u8] {
        self.open.reset(interface);
        self.atr()
    }

    /// The answer to reset.
    pub fn atr(&self) -> &'static [u8] {
        &ATR
    }

    /// Returns power after it failed: repairs the memory and starts on both interfaces anew.
    pub fn power_on(&mut self) -> Result<(), CardError> {
        self.open.restart()
    }

    /// Whether the card has power.
    pub fn is_powered(&self) -> bool {
        self.open.memory.is_powered()
    }

    /// Lets the power fail at the memory write that follows the next `writes` writes.
    pub fn power_cut_after(&mut self, writes: u64) {
        self.open.memory.cut_power_after(writes);
    }

    /// Takes back [`SecureElement::power_cut_after`], if it has not happened.
    pub fn cancel_power_cut(&mut self) {
        self.open.memory.cancel_power_cut();
    }

    /// The memory writes since the card was made or opened.
    pub fn writes(&self) -> u64 {
        self.open.memory.writes()
    }

    /// The image of the card's memory, which [`SecureElement::open`] reads. It holds the card's
    /// keys in the clear: keep it as such.
    pub fn image(&self) -> Vec<u8> {
        self.open.memory.image()
    }

    /// The memory in use.
    pub fn usage(&self) -> Usage {
        self.open.usage()
    }

    /// The life-cycle state of the card.
    pub fn life_cycle(&self) -> CardLifeCycle {
        self.open.registry.card_state()
    }
}
