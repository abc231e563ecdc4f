//! Readers: the ways in which a program outside this process reaches the card.
//!
//! A [`Slot`] joins one interface of a card to one TCP address. Its frames are those of the
//! virtual smart card architecture (`vpcd`): the two-byte length, then the data; a message of one
//! byte is a control (power off 00, power on 01, reset 02, answer to reset 04), anything longer is a
//! command APDU and gets a response APDU. Two arrangements exist:
//!
//! - [`Arrangement::Dial`]: `vpcd` inside `pcscd` listens (35963 for its first slot, 35964 for its
//!   second) and the card dials it, again and again while it is not there;
//! - [`Arrangement::Listen`]: the card listens, and `pcscd` (with a `reader.conf` that names an
//!   address) or any tool that speaks the frames dials it. One peer at a time holds a slot.
//!
//! ```text
//!   pcscd ── vpcd slot 0 (35963) ── Slot(Contact)     ─┐
//!         └─ vpcd slot 1 (35964) ── Slot(Contactless) ─┴─ one card behind one lock
//! ```
//!
//! The commands of the two slots take turns, as they do on a secure element's processor; a command
//! never sees another one half done. Nothing here looks into an APDU, and nothing is logged of it.

mod client;
mod connection;
mod frame;
mod slot;

pub use client::{ClientError, RemoteCard};
pub use frame::{Control, FrameError, Message, read_message, write_frame};
pub use slot::{Arrangement, ReaderError, Slot};

use std::sync::{Arc, Mutex};

use crate::{Interface, SecureElement};

/// The port on which `vpcd` expects the card of its first slot.
pub const VPCD_CONTACT_PORT: u16 = 35_963;
/// The port on which `vpcd` expects the card of its second slot.
pub const VPCD_CONTACTLESS_PORT: u16 = 35_964;

/// What a reader needs of a card: power and APDUs on an interface.
pub trait ReaderCard: Send {
    /// The answer to reset.
    fn answer_to_reset(&self) -> Vec<u8>;

    /// Powers the interface up, or resets it: its channels and sessions end, and those of the other
    /// interface go on.
    fn power_on(&mut self, interface: Interface);

    /// Takes the power of the interface away.
    fn power_off(&mut self, interface: Interface);

    /// Runs one command APDU and returns the response APDU. Bytes that are no command are answered
    /// with a status word too. A card without power is mute: the answer is empty.
    fn transmit(&mut self, interface: Interface, command: &[u8]) -> Vec<u8>;
}

impl ReaderCard for SecureElement {
    fn answer_to_reset(&self) -> Vec<u8> {
        self.atr().to_vec()
    }

    fn power_on(&mut self, interface: Interface) {
        if !self.is_powered()
            && let Err(error) = Self::power_on(self)
        {
            tracing::error!(%error, "the card does not power on");
        }
        self.reset(interface);
    }

    fn power_off(&mut self, interface: Interface) {
        self.reset(interface);
    }

    fn transmit(&mut self, interface: Interface, command: &[u8]) -> Vec<u8> {
        Self::transmit(self, interface, command)
    }
}

/// A card that several slots share.
pub type SharedCard = Arc<Mutex<dyn ReaderCard>>;
