//! Applications and what the card offers them.
//!
//! An [`Applet`] is the behaviour of one application instance. It keeps nothing itself that must
//! outlive a command: persistent data are named objects that it reads and writes through its
//! [`AppletContext`], and volatile data are one value per logical channel, kept by OPEN and lost
//! at deselection and reset. That lets OPEN make every command atomic: what an applet writes
//! during a command is committed together when the command returns `Ok`, and forgotten when it
//! returns `Err`.
//!
//! Applets never see secure-channel keys, other applets' objects, or the memory driver. A byte
//! code engine is one more implementation of the trait.

use std::any::Any;

use tsm_globalplatform::privileges::Privileges;
use tsm_globalplatform::security_level::SecurityLevel;
use tsm_iso7816::{Aid, CommandApdu, LogicalChannel, ResponseApdu, StatusWord};
use zeroize::Zeroizing;

use crate::card::Interface;
use crate::open::channels::Place;
use crate::open::registry::EntryId;
use crate::open::{Open, cvm};

/// What an applet answers.
///
/// `Ok` carries any status word and commits what the command wrote (so a wrong PIN is an `Ok` of
/// 63Cx, whose counter must stay). `Err` answers the status word alone and undoes every write.
/// Volatile state is never undone.
pub type Answer = Result<ResponseApdu, StatusWord>;

/// The behaviour of one application instance.
pub trait Applet: Send {
    /// Makes the instance: writes its first objects. `parameters` is the value of C9 in the
    /// install parameters (GPC 2.3.1, 11.5.2.3.7), empty when there is none.
    ///
    /// An error refuses the installation, which then leaves nothing behind.
    fn install(&mut self, context: &mut AppletContext<'_>, parameters: &[u8]) -> Result<(), StatusWord> {
        let _ = (context, parameters);
        Ok(())
    }

    /// The instance was selected on the context's channel. The answer is that of the SELECT: the
    /// file control information, and a status word, which may be a warning such as 6283.
    ///
    /// A status word of 6283 or another warning selects; an error (`Err`, or an `Ok` with an
    /// error status word such as 9303) is answered and leaves nothing selected on the channel.
    fn select(&mut self, context: &mut AppletContext<'_>) -> Answer {
        let _ = context;
        Ok(ResponseApdu::success([]))
    }

    /// Another application is selected on the context's channel, or the channel closes. Not
    /// called at a reset, which power may not survive.
    fn deselect(&mut self, context: &mut AppletContext<'_>) {
        let _ = context;
    }

    /// A command other than those OPEN handles itself (SELECT by name, MANAGE CHANNEL).
    ///
    /// The class byte is given as on the basic channel: 00, 04, 80 or 84 with the chaining bit,
    /// whichever channel carried it.
    fn process(&mut self, context: &mut AppletContext<'_>, command: &CommandApdu) -> Answer;

    /// A STORE DATA forwarded by the instance's security domain after INSTALL [for
    /// personalization] (GPC 2.3.1, 11.11.3.2): the secure messaging is removed already.
    fn store_data(&mut self, context: &mut AppletContext<'_>, block: &StoreDataBlock<'_>) -> Answer {
        let _ = (context, block);
        Err(StatusWord::CONDITIONS_NOT_SATISFIED)
    }

    /// Whether the instance may be selected on several channels and interfaces at once.
    fn is_multi_selectable(&self) -> bool {
        true
    }
}

/// Makes the behaviour of a module; the module's AID chooses it.
///
/// It never fails: an unknown module becomes an inert applet.
pub type AppletFactory = fn(module: &Aid) -> Box<dyn Applet>;

/// One STORE DATA block as forwarded to an application (GPC 2.3.1, 11.11.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreDataBlock<'a> {
    /// P1: last block (80), encryption (60), structure (18).
    pub parameters: u8,
    /// P2: the block number.
    pub number: u8,
    /// The data, with sensitive values still encrypted under the data encryption key.
    pub data: &'a [u8],
}

impl StoreDataBlock<'_> {
    /// Whether this is the last block of the personalisation.
    pub const fn is_last(&self) -> bool {
        self.parameters & 0x80 != 0
    }

    /// Whether P1 says that the data, or parts the application knows, are encrypted (bits 7-6
    /// of P1: 01 application dependent, 11 encrypted).
    pub const fn is_encrypted(&self) -> bool {
        self.parameters & 0x20 != 0
    }

    /// Whether the data are in DGI form (bits 5-4 of P1: 01).
    pub const fn is_dgi(&self) -> bool {
        self.parameters & 0x18 == 0x08
    }
}

/// The number of an object among those of one instance.
pub type ObjectId = u16;

/// How an application shows in the directory that a contactless reader selects from (PPSE).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// The application label (tag 50), at most 16 bytes.
    pub label: Vec<u8>,
    /// The application priority (tag 87): 1 is the first; 0 is without priority and comes last.
    pub priority: u8,
}

/// Where the cardholder verification method stands (GPC 2.3.1, 8.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CvmState {
    /// No PIN was ever set.
    Unset,
    /// A PIN is set and was not tried since power-on.
    Active,
    /// The last try was wrong.
    InvalidSubmission,
    /// The PIN was verified since power-on.
    Validated,
    /// No tries are left.
    Blocked,
}

/// The card, as the application whose turn it is sees it.
pub struct AppletContext<'a> {
    open: &'a mut Open,
    entry: EntryId,
    place: Place,
}

impl<'a> AppletContext<'a> {
    pub(crate) fn new(open: &'a mut Open, entry: EntryId, place: Place) -> Self {
        Self { open, entry, place }
    }

    /// The AID of this instance.
    pub fn aid(&self) -> Aid {
        self.open.registry.entry(self.entry).aid
    }

    /// The interface the command came over.
    pub fn interface(&self) -> Interface {
        self.place.interface
    }

    /// The logical channel the command came over.
    pub fn channel(&self) -> LogicalChannel {
        self.place.channel
    }

    /// The privileges of this instance.
    pub fn privileges(&self) -> Privileges {
        self.open.registry.entry(self.entry).privileges()
    }

    /// This instance's life-cycle state as the registry codes it (GPC 2.3.1, 11.1.1).
    pub fn life_cycle(&self) -> u8 {
        self.open.registry.entry(self.entry).state()
    }

    /// Moves this instance to a state of its own (07 to 7F with the low three bits set), or
    /// locks it (bit 80 set). Unlocking is the security domain's affair.
    pub fn set_life_cycle(&mut self, state: u8) -> Result<(), StatusWord> {
        self.open.set_own_state(self.entry, state)
    }

    /// Whether this instance is locked, or its card.
    pub fn is_locked(&self) -> bool {
        self.life_cycle() & 0x80 != 0 || self.open.registry.is_card_locked()
    }

    // --- Persistent objects -----------------------------------------------------------------

    /// An object of this instance, as this command sees it.
    pub fn read(&self, object: ObjectId) -> Option<&[u8]> {
        self.open.memory.read(data_key(self.entry, object))
    }

    /// Writes an object, creating it if need be; 6A84 when the memory of this instance's domain
    /// or of the card is full.
    pub fn write(&mut self, object: ObjectId, value: &[u8]) -> Result<(), StatusWord> {
        self.open.write_data(self.entry, object, value)
    }

    /// Removes an object, if it is there.
    pub fn remove(&mut self, object: ObjectId) {
        self.open.memory.remove(data_key(self.entry, object));
    }

    /// The numbers of all objects of this instance, in order.
    pub fn objects(&self) -> Vec<ObjectId> {
        let keys = self.open.memory.keys(self.entry.0).into_iter();
        keys.filter(|key| key.space == crate::memory::Space::Data).map(|key| key.object).collect()
    }

    // --- Volatile state ---------------------------------------------------------------------

    /// This instance's volatile value on this channel of this interface; made by `default` at
    /// first use, lost at deselection and reset. While the instance is personalised through its
    /// domain it has one too, from INSTALL [for personalization] to the last block.
    pub fn volatile<T: Any + Send + Default>(&mut self) -> &mut T {
        let owner = self.entry;
        self.open.channel_mut(self.place).volatile::<T>(owner)
    }

    /// Changes this instance's volatile values on all other channels of both interfaces, where it has any:
    /// for what may be going on at one place of the card only.
    pub fn elsewhere<T: Any + Send>(&mut self, mut change: impl FnMut(&mut T)) {
        for interface in Interface::ALL {
            for (channel, state) in self.open.channels_mut(interface).iter_mut() {
                if (Place { interface, channel }) != self.place
                    && let Some(value) = state.volatile_of::<T>(self.entry)
                {
                    change(value);
                }
            }
        }
    }

    /// Forgets the volatile value of this channel.
    pub fn clear_volatile(&mut self) {
        self.open.channel_mut(self.place).clear_volatile();
    }

    /// Fills `bytes` with the card's randomness.
    pub fn random(&mut self, bytes: &mut [u8]) {
        self.open.randomness.fill(bytes);
    }

    // --- Security domain services (run-time messaging, GPC 2.3.1, 7.3.2) ----------------------

    /// Has the instance's security domain process INITIALIZE UPDATE or EXTERNAL AUTHENTICATE.
    pub fn process_security(&mut self, command: &CommandApdu) -> Answer {
        self.open.process_security(self.entry, self.place, command)
    }

    /// The level of the secure channel session that the instance's security domain has on this
    /// channel, if there is one and the host is authenticated.
    pub fn security_level(&self) -> Option<SecurityLevel> {
        self.open.session_level(self.entry, self.place)
    }

    /// Has the security domain verify and decrypt a command of the session on this channel.
    /// The session's level decides what is required; 6982 ends the session.
    pub fn unwrap(&mut self, command: &CommandApdu) -> Result<CommandApdu, StatusWord> {
        self.open.unwrap_for(self.entry, self.place, command)
    }

    /// Has the security domain decrypt sensitive data (keys) with its data encryption key.
    pub fn decrypt_sensitive(&mut self, data: &[u8]) -> Result<Zeroizing<Vec<u8>>, StatusWord> {
        self.open.decrypt_for(self.entry, self.place, data)
    }

    // --- Card services ------------------------------------------------------------------------

    /// How this instance shows in the contactless directory; `None` hides it.
    pub fn set_directory_entry(&mut self, entry: Option<DirectoryEntry>) {
        self.open.set_directory_entry(self.entry, entry);
    }

    /// The applications that show in the contactless directory now, by priority: those
    /// selectable, and neither locked themselves nor on a locked card.
    pub fn directory(&self) -> Vec<(Aid, DirectoryEntry)> {
        self.open.registry.directory()
    }

    /// Locks the card (needs the card-lock privilege).
    pub fn lock_card(&mut self) -> Result<(), StatusWord> {
        self.open.lock_card_by(self.entry)
    }

    /// Terminates the card (needs the card-terminate privilege).
    pub fn terminate_card(&mut self) -> Result<(), StatusWord> {
        self.open.terminate_card_by(self.entry)
    }

    // --- Global cardholder verification (GPC 2.3.1, 8.2) ---------------------------------------

    /// The state of the card's cardholder verification method.
    pub fn cvm_state(&self) -> CvmState {
        cvm::state(self.open)
    }

    /// The tries left.
    pub fn cvm_tries_left(&self) -> u8 {
        cvm::tries_left(self.open)
    }

    /// Verifies the cardholder's PIN; true when right. A wrong one costs a try, which the
    /// command must commit by answering `Ok`.
    pub fn cvm_verify(&mut self, pin: &[u8]) -> bool {
        cvm::verify(self.open, pin)
    }

    /// Sets PIN and try limit (needs the CVM management privilege, else 6982).
    pub fn cvm_update(&mut self, pin: &[u8], try_limit: u8) -> Result<(), StatusWord> {
        cvm::update(self.open, self.entry, pin, try_limit)
    }

    /// Gives all tries back (needs the CVM management privilege, else 6982).
    pub fn cvm_reset(&mut self) -> Result<(), StatusWord> {
        cvm::reset_tries(self.open, self.entry)
    }
}

pub(crate) const fn data_key(entry: EntryId, object: ObjectId) -> crate::memory::ObjectKey {
    crate::memory::ObjectKey { owner: entry.0, space: crate::memory::Space::Data, object }
}
