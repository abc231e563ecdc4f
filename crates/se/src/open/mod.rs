//! OPEN: the GlobalPlatform environment. It dispatches commands, selects applications, runs the
//! logical channels, keeps the registry and manages the content of the card
//! (GPC 2.3.1, chapters 6 and 9). One module per command.

mod authority;
pub mod channels;
mod codec;
pub(crate) mod cvm;
mod delete;
mod dispatch;
mod domain_commands;
mod get_data;
mod get_response;
pub(crate) mod get_status;
mod install;
pub(crate) mod load;
mod manage_channel;
mod memory_accounting;
mod power;
mod put_key;
pub mod registry;
mod secure_channel;
mod select;
mod set_status;
pub mod settings;
mod store_data;

use std::collections::BTreeMap;
use std::sync::Arc;

use tsm_globalplatform::life_cycle::CardLifeCycle;
use tsm_globalplatform::privileges::Privileges;
use tsm_iso7816::channel::Class;
use tsm_iso7816::{CommandApdu, ResponseApdu, StatusWord};

use crate::applet::{Applet, AppletContext, AppletFactory, DirectoryEntry, ObjectId, data_key};
use crate::card::{Interface, Randomness};
use crate::domain::DomainData;
use crate::memory::{Memory, MemoryError, ObjectKey, Space};
use channels::{Channel, Channels, Place};
use registry::{EntryId, Kind, LOCKED, Registry};
use settings::Settings;

/// The card's operating system.
pub(crate) struct Open {
    pub(crate) memory: Memory,
    pub(crate) registry: Arc<Registry>,
    pub(crate) settings: Settings,
    pub(crate) randomness: Box<dyn Randomness>,
    pub(crate) last_cvm_try: cvm::LastTry,
    interfaces: [Channels; 2],
    applets: BTreeMap<EntryId, Box<dyn Applet>>,
    factory: AppletFactory,
}

/// The card's object `object`.
pub(crate) const fn card_key(object: u16) -> ObjectKey {
    ObjectKey { owner: 0, space: Space::Card, object }
}

impl Open {
    /// Serves one command; `None` when the card has no power, or loses it.
    pub(crate) fn serve(&mut self, interface: Interface, command: &CommandApdu) -> Option<ResponseApdu> {
        if !self.memory.is_powered() {
            return None;
        }
        if let Some(rest) = self.continue_response(interface, command) {
            return Some(rest);
        }
        let before = Arc::clone(&self.registry);
        let answer = self.dispatch(interface, command);
        let response = match answer {
            Ok(response) => match self.commit(&before) {
                Ok(()) => response,
                Err(MemoryError::PowerLost) => return None,
                Err(_) => {
                    self.undo(before);
                    ResponseApdu::from(StatusWord::MEMORY_FAILURE)
                }
            },
            Err(status) => {
                self.undo(before);
                ResponseApdu::from(status)
            }
        };
        let Ok(class) = Class::parse(command.cla) else {
            return Some(response);
        };
        let place = Place { interface, channel: class.channel };
        let response = self.protect_response(place, response);
        Some(self.fit_response(place, command, response))
    }

    /// Makes the command's changes durable: registry entries that differ, and all objects written.
    pub(crate) fn commit(&mut self, before: &Arc<Registry>) -> Result<(), MemoryError> {
        if !Arc::ptr_eq(before, &self.registry) {
            let registry = Arc::clone(&self.registry);
            for (id, entry) in registry.changes_since(before) {
                self.write_entry(id, entry);
            }
        }
        self.memory.commit()
    }

    fn undo(&mut self, before: Arc<Registry>) {
        self.memory.roll_back();
        self.registry = before;
    }

    fn write_entry(&mut self, id: EntryId, entry: Option<&registry::Entry>) {
        let object = |space| ObjectKey { owner: id.0, space, object: 0 };
        let Some(entry) = entry else {
            self.memory.remove_owner(id.0);
            self.applets.remove(&id);
            return;
        };
        self.memory.write(object(Space::Registry), &codec::encode_entry(entry));
        if let Some(domain) = entry.as_domain() {
            self.memory.write(object(Space::Domain), &codec::encode_domain(domain));
            let counters = ObjectKey { object: 1, ..object(Space::Domain) };
            self.memory.write(counters, &codec::encode_counters(domain));
        }
    }

    /// The data of a security domain.
    pub(crate) fn domain_data(&self, id: EntryId) -> &DomainData {
        self.registry.domain(id)
    }

    /// The registry, to be changed by the command in progress.
    pub(crate) fn registry_mut(&mut self) -> &mut Registry {
        Arc::make_mut(&mut self.registry)
    }

    pub(crate) fn channels(&self, interface: Interface) -> &Channels {
        &self.interfaces[interface.index()]
    }

    pub(crate) fn channels_mut(&mut self, interface: Interface) -> &mut Channels {
        &mut self.interfaces[interface.index()]
    }

    /// The channel that a command in progress came over.
    ///
    /// # Panics
    /// When it is not open: the dispatcher checked it.
    pub(crate) fn channel(&self, place: Place) -> &Channel {
        self.channels(place.interface)
            .get(place.channel)
            .expect("the dispatcher checked that the channel is open")
    }

    /// As [`Open::channel`], to be changed.
    pub(crate) fn channel_mut(&mut self, place: Place) -> &mut Channel {
        self.channels_mut(place.interface)
            .get_mut(place.channel)
            .expect("the dispatcher checked that the channel is open")
    }

    /// Every open channel of both interfaces.
    pub(crate) fn all_channels(&self) -> impl Iterator<Item = (Place, &Channel)> {
        Interface::ALL.into_iter().flat_map(|interface| {
            self.channels(interface).iter().map(move |(channel, state)| (Place { interface, channel }, state))
        })
    }

    /// Runs the behaviour of an application, which sees the card through its context.
    pub(crate) fn with_applet<R>(
        &mut self,
        id: EntryId,
        place: Place,
        run: impl FnOnce(&mut dyn Applet, &mut AppletContext<'_>) -> R,
    ) -> R {
        let mut applet = self.applets.remove(&id).unwrap_or_else(|| {
            let module = self.registry.entry(id).as_application().map(|application| application.module);
            (self.factory)(&module.unwrap_or(self.registry.entry(id).aid))
        });
        let result = run(&mut *applet, &mut AppletContext::new(self, id, place));
        self.applets.insert(id, applet);
        result
    }

    // --- What contexts ask for ----------------------------------------------------------------

    /// Writes a data object of an application, if its memory allows.
    pub(crate) fn write_data(
        &mut self,
        id: EntryId,
        object: ObjectId,
        value: &[u8],
    ) -> Result<(), StatusWord> {
        let key = data_key(id, object);
        let before = self.memory.read(key).map_or(0, <[u8]>::len);
        if value.len() > before {
            self.require_growth(id, (value.len() - before) as u32)?;
        }
        self.memory.write(key, value);
        Ok(())
    }

    // GPC 2.3.1 5.3.1: an application moves between its own states, or locks itself.
    pub(crate) fn set_own_state(&mut self, id: EntryId, state: u8) -> Result<(), StatusWord> {
        let current = self.registry.entry(id).state();
        let own = state & LOCKED == 0 && state & 0x07 == 0x07 && current & 0x07 == 0x07;
        let lock = state & LOCKED != 0;
        if current & LOCKED != 0 || !(own || lock) {
            return Err(StatusWord::CONDITIONS_NOT_SATISFIED);
        }
        if let Kind::Application(application) = &mut self.registry_mut().entry_mut(id).kind {
            application.state = if lock { current | LOCKED } else { state };
        }
        Ok(())
    }

    pub(crate) fn set_directory_entry(&mut self, id: EntryId, entry: Option<DirectoryEntry>) {
        let current =
            self.registry.entry(id).as_application().and_then(|application| application.directory.as_ref());
        if current == entry.as_ref() {
            return;
        }
        if let Some(application) = self.registry_mut().entry_mut(id).as_application_mut() {
            application.directory = entry;
        }
    }

    pub(crate) fn lock_card_by(&mut self, id: EntryId) -> Result<(), StatusWord> {
        self.require_privilege(id, Privileges::CARD_LOCK)?;
        if self.registry.card_state() != CardLifeCycle::Secured {
            return Err(StatusWord::CONDITIONS_NOT_SATISFIED);
        }
        self.registry_mut().set_card_state(CardLifeCycle::CardLocked);
        Ok(())
    }

    pub(crate) fn terminate_card_by(&mut self, id: EntryId) -> Result<(), StatusWord> {
        self.require_privilege(id, Privileges::CARD_TERMINATE)?;
        self.registry_mut().set_card_state(CardLifeCycle::Terminated);
        Ok(())
    }

    pub(crate) fn require_privilege(&self, id: EntryId, privilege: Privileges) -> Result<(), StatusWord> {
        if self.registry.entry(id).privileges().contains(privilege) {
            Ok(())
        } else {
            Err(StatusWord::CONDITIONS_NOT_SATISFIED)
        }
    }
}
