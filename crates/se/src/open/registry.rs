//! The registry: what is on the card, whose it is, and in which state (GPC 2.3.1, 6.5).
//!
//! Entries are numbered; the number names the objects of an entry in the memory and is never
//! reused while anything refers to it. Entry 1 is the issuer security domain, whose life-cycle
//! state is that of the card. The registry in use is a copy of what the memory holds: a command
//! changes the copy, OPEN writes the entries that differ, and a command that fails gets the copy
//! from before back.

use std::collections::BTreeMap;
use std::sync::Arc;

use tsm_globalplatform::life_cycle::{
    ApplicationLifeCycle, CardLifeCycle, LifeCycle, LoadFileLifeCycle, SecurityDomainLifeCycle,
};
use tsm_globalplatform::privileges::Privileges;
use tsm_iso7816::Aid;

use crate::applet::DirectoryEntry;
use crate::domain::DomainData;

/// The number of a registry entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId(pub(crate) u16);

impl EntryId {
    /// The issuer security domain.
    pub const ISSUER_DOMAIN: Self = Self(1);
}

/// Everything on the card.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Registry {
    entries: BTreeMap<EntryId, Arc<Entry>>,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its AID, unique on the card.
    pub aid: Aid,
    /// The security domain it is associated with; the issuer security domain has itself.
    pub domain: EntryId,
    /// What it is.
    pub kind: Kind,
}

/// What a registry entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// An executable load file.
    LoadFile(LoadFileEntry),
    /// An application that is not a security domain.
    Application(ApplicationEntry),
    /// A security domain.
    SecurityDomain(ApplicationEntry, Box<DomainData>),
}

/// An executable load file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LoadFileEntry {
    /// Major and minor version.
    pub version: [u8; 2],
    /// The AIDs of its modules.
    pub modules: Vec<Aid>,
    /// The load files on this card that it imports from.
    pub imports: Vec<EntryId>,
    /// The non-volatile memory that its code takes.
    pub code_bytes: u32,
    /// Where it lies.
    pub memory: CodeMemory,
    /// Whether new instances may be made of it.
    pub usability: Usability,
}

/// The memory that a load file lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CodeMemory {
    /// Put there in production; it cannot be deleted.
    Rom,
    /// Loaded and deletable.
    #[default]
    Flash,
}

/// Whether a load file may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Usability {
    /// It may.
    #[default]
    Usable,
    /// The issuer disabled it: no new instances; existing ones go on.
    Disabled,
}

/// An application instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplicationEntry {
    /// The load file it was made from; none for the issuer security domain.
    pub load_file: Option<EntryId>,
    /// The module it was made from.
    pub module: Aid,
    /// Its privileges.
    pub privileges: Privileges,
    /// Its life-cycle state as the standard codes it; bit 8 is set while it is locked.
    pub state: u8,
    /// The non-volatile memory reserved for it, used or not.
    pub reserved_bytes: u32,
    /// The volatile memory reserved for it.
    pub volatile_bytes: u32,
    /// The implicit selection parameters (CF), one byte each.
    pub implicit_selection: Vec<u8>,
    /// How it shows in the contactless directory.
    pub directory: Option<DirectoryEntry>,
}

/// A life-cycle state that locks an application (bit 8).
pub const LOCKED: u8 = 0x80;

impl Registry {
    /// A registry of the entries given.
    pub fn new(entries: impl IntoIterator<Item = (EntryId, Entry)>) -> Self {
        Self { entries: entries.into_iter().map(|(id, entry)| (id, Arc::new(entry))).collect() }
    }

    /// The entry `id`.
    ///
    /// # Panics
    /// When there is none: callers hold ids they found here, in the same command.
    pub fn entry(&self, id: EntryId) -> &Entry {
        self.entries.get(&id).expect("an entry id comes from the registry")
    }

    /// The entry `id`, if it still exists.
    pub fn get(&self, id: EntryId) -> Option<&Entry> {
        self.entries.get(&id).map(|entry| &**entry)
    }

    /// The entry `id`, to be changed.
    ///
    /// # Panics
    /// As [`Registry::entry`].
    pub fn entry_mut(&mut self, id: EntryId) -> &mut Entry {
        Arc::make_mut(self.entries.get_mut(&id).expect("an entry id comes from the registry"))
    }

    /// The data of the security domain `id`.
    ///
    /// # Panics
    /// When the entry is no security domain: callers checked that it is.
    pub fn domain(&self, id: EntryId) -> &DomainData {
        self.entry(id).as_domain().expect("the caller checked that the entry is a security domain")
    }

    /// As [`Registry::domain`], to be changed.
    pub fn domain_mut(&mut self, id: EntryId) -> &mut DomainData {
        self.entry_mut(id).as_domain_mut().expect("the caller checked that the entry is a security domain")
    }

    /// All entries in the order they came to the card.
    pub fn iter(&self) -> impl Iterator<Item = (EntryId, &Entry)> {
        self.entries.iter().map(|(id, entry)| (*id, &**entry))
    }

    /// The entry with exactly this AID.
    pub fn find(&self, aid: &Aid) -> Option<(EntryId, &Entry)> {
        self.iter().find(|(_, entry)| entry.aid == *aid)
    }

    /// The load file whose AID this is.
    pub fn find_load_file(&self, aid: &Aid) -> Option<(EntryId, &LoadFileEntry)> {
        self.find(aid).and_then(|(id, entry)| Some((id, entry.as_load_file()?)))
    }

    /// The application or security domain whose AID this is.
    pub fn find_application(&self, aid: &Aid) -> Option<(EntryId, &Entry)> {
        self.find(aid).filter(|(_, entry)| entry.as_application().is_some())
    }

    /// The security domain whose AID this is.
    pub fn find_domain(&self, aid: &Aid) -> Option<EntryId> {
        self.find(aid).filter(|(_, entry)| entry.as_domain().is_some()).map(|(id, _)| id)
    }

    /// Whether an AID is taken, by an entry or by a module of a load file.
    pub fn is_taken(&self, aid: &Aid) -> bool {
        self.find(aid).is_some()
    }

    /// Adds an entry behind all others, while numbers last; `None` when the card can hold no more.
    pub fn add(&mut self, entry: Entry) -> Option<EntryId> {
        let last = self.entries.keys().next_back().map_or(1, |id| id.0);
        let id = (last.saturating_add(1)..u16::MAX)
            .chain(2..u16::MAX)
            .map(EntryId)
            .find(|id| !self.entries.contains_key(id))?;
        self.entries.insert(id, Arc::new(entry));
        Some(id)
    }

    /// Removes an entry.
    pub fn remove(&mut self, id: EntryId) {
        self.entries.remove(&id);
    }

    /// The entries that differ from those of `before`: `None` when the entry is gone.
    pub fn changes_since<'a>(&'a self, before: &'a Self) -> Vec<(EntryId, Option<&'a Entry>)> {
        let gone = before.entries.keys().filter(|id| !self.entries.contains_key(id)).map(|id| (*id, None));
        let changed = self.entries.iter().filter(|(id, entry)| {
            before.entries.get(id).is_none_or(|old| !Arc::ptr_eq(old, entry) && old != *entry)
        });
        gone.chain(changed.map(|(id, entry)| (*id, Some(&**entry)))).collect()
    }

    /// The applications made from load file `id`.
    pub fn instances_of(&self, id: EntryId) -> impl Iterator<Item = (EntryId, &Entry)> {
        self.iter().filter(move |(_, entry)| {
            entry.as_application().is_some_and(|application| application.load_file == Some(id))
        })
    }

    /// The load files that import from load file `id`.
    pub fn importers_of(&self, id: EntryId) -> impl Iterator<Item = (EntryId, &Entry)> {
        self.iter()
            .filter(move |(_, entry)| entry.as_load_file().is_some_and(|file| file.imports.contains(&id)))
    }

    /// What is associated with domain `id`, other than the domain itself.
    pub fn associated_with(&self, id: EntryId) -> impl Iterator<Item = (EntryId, &Entry)> {
        self.iter().filter(move |(other, entry)| entry.domain == id && *other != id)
    }

    /// Whether `id` is `ancestor`, or associated with it directly or through other domains.
    pub fn is_within(&self, id: EntryId, ancestor: EntryId) -> bool {
        let mut at = id;
        // A chain is at most as long as the registry; a domain extradited to itself ends it.
        for _ in 0..=self.entries.len() {
            if at == ancestor {
                return true;
            }
            match self.get(at) {
                Some(entry) if entry.domain != at => at = entry.domain,
                _ => return false,
            }
        }
        false
    }

    /// The life-cycle state of the card.
    pub fn card_state(&self) -> CardLifeCycle {
        let state = self.get(EntryId::ISSUER_DOMAIN).map_or(0x01, Entry::state);
        CardLifeCycle::try_from(state).unwrap_or(CardLifeCycle::Terminated)
    }

    /// Whether the card is locked or terminated.
    pub fn is_card_locked(&self) -> bool {
        matches!(self.card_state(), CardLifeCycle::CardLocked | CardLifeCycle::Terminated)
    }

    /// Sets the life-cycle state of the card.
    pub fn set_card_state(&mut self, state: CardLifeCycle) {
        if let Some(application) = self.entry_mut(EntryId::ISSUER_DOMAIN).as_application_mut() {
            application.state = state.value();
        }
    }

    /// The application with a privilege, the first if there are several.
    pub fn holder_of(&self, privilege: Privileges) -> Option<EntryId> {
        self.iter().find(|(_, entry)| entry.privileges().contains(privilege)).map(|(id, _)| id)
    }

    /// The contactless directory, by priority and then by age.
    pub fn directory(&self) -> Vec<(Aid, DirectoryEntry)> {
        if self.is_card_locked() {
            return Vec::new();
        }
        let shown = self.iter().filter(|(_, entry)| entry.is_selectable());
        let mut listed: Vec<_> = shown
            .filter_map(|(_, entry)| Some((entry.aid, entry.as_application()?.directory.clone()?)))
            .collect();
        // Priority 0 is none at all and comes after 15.
        listed.sort_by_key(|(_, entry)| if entry.priority == 0 { u8::MAX } else { entry.priority });
        listed
    }
}

impl Entry {
    /// The load file that this entry is, if it is one.
    pub fn as_load_file(&self) -> Option<&LoadFileEntry> {
        match &self.kind {
            Kind::LoadFile(load_file) => Some(load_file),
            Kind::Application(_) | Kind::SecurityDomain(..) => None,
        }
    }

    /// The load file that this entry is, to be changed.
    pub fn as_load_file_mut(&mut self) -> Option<&mut LoadFileEntry> {
        match &mut self.kind {
            Kind::LoadFile(load_file) => Some(load_file),
            Kind::Application(_) | Kind::SecurityDomain(..) => None,
        }
    }

    /// The application or security domain that this entry is.
    pub fn as_application(&self) -> Option<&ApplicationEntry> {
        match &self.kind {
            Kind::LoadFile(_) => None,
            Kind::Application(application) | Kind::SecurityDomain(application, _) => Some(application),
        }
    }

    /// The application or security domain that this entry is, to be changed.
    pub fn as_application_mut(&mut self) -> Option<&mut ApplicationEntry> {
        match &mut self.kind {
            Kind::LoadFile(_) => None,
            Kind::Application(application) | Kind::SecurityDomain(application, _) => Some(application),
        }
    }

    /// The data of the security domain that this entry is.
    pub fn as_domain(&self) -> Option<&DomainData> {
        match &self.kind {
            Kind::LoadFile(_) | Kind::Application(_) => None,
            Kind::SecurityDomain(_, domain) => Some(domain),
        }
    }

    /// The data of the security domain that this entry is, to be changed.
    pub fn as_domain_mut(&mut self) -> Option<&mut DomainData> {
        match &mut self.kind {
            Kind::LoadFile(_) | Kind::Application(_) => None,
            Kind::SecurityDomain(_, domain) => Some(domain),
        }
    }

    /// The privileges; a load file has none.
    pub fn privileges(&self) -> Privileges {
        self.as_application().map_or(Privileges::NONE, |application| application.privileges)
    }

    /// The life-cycle state as the standard codes it.
    pub fn state(&self) -> u8 {
        self.as_application().map_or(LoadFileLifeCycle::Loaded.value(), |application| application.state)
    }

    /// The life-cycle state of an entry that is not the issuer security domain.
    pub fn life_cycle(&self) -> Option<LifeCycle> {
        match &self.kind {
            Kind::LoadFile(_) => Some(LifeCycle::LoadFile(LoadFileLifeCycle::Loaded)),
            Kind::Application(application) => {
                ApplicationLifeCycle::try_from(application.state).ok().map(LifeCycle::Application)
            }
            Kind::SecurityDomain(application, _) => {
                SecurityDomainLifeCycle::try_from(application.state).ok().map(LifeCycle::SecurityDomain)
            }
        }
    }

    /// Whether SELECT may find it: an application past INSTALLED, and not locked.
    pub fn is_selectable(&self) -> bool {
        self.as_application().is_some_and(|application| {
            application.state & LOCKED == 0 && application.state & 0x07 == 0x07
                || application.load_file.is_none()
        })
    }
}
