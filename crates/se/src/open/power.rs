//! Making a card, powering it on, and resetting its interfaces.

use std::collections::BTreeMap;
use std::sync::Arc;

use tsm_globalplatform::privileges::Privileges;
use tsm_iso7816::{Aid, LogicalChannel};

use super::channels::{Channel, Channels, Place};
use super::registry::{
    ApplicationEntry, CodeMemory, Entry, EntryId, Kind, LoadFileEntry, Registry, Usability,
};
use super::settings::Settings;
use super::{Open, card_key, codec, cvm};
use crate::applet::AppletFactory;
use crate::card::{CardError, Interface, Randomness};
use crate::domain::{DomainData, Key};
use crate::memory::{Driver, LoadFileLibrary, Memory, ObjectKey, Space};
use crate::profile::{DOMAIN_LOAD_FILE, DOMAIN_MODULE, PresetInstance, Profile, ProfileError};

/// The object that holds the settings.
const SETTINGS: u16 = 1;
/// The object that holds the production life cycle data.
const PRODUCTION: u16 = 3;

/// The states that preset content starts in.
const SELECTABLE: u8 = 0x07;
const PERSONALIZED: u8 = 0x0F;

impl Open {
    /// Makes a card in an empty memory; either all of it is committed or nothing.
    pub(crate) fn create(
        driver: Box<dyn Driver>,
        profile: &Profile,
        randomness: Box<dyn Randomness>,
    ) -> Result<Self, CardError> {
        let memory = Memory::format(driver, profile.library.clone())?;
        let mut open =
            Self::new(memory, Registry::default(), profile.settings.clone(), randomness, profile.factory);
        open.memory.write(card_key(SETTINGS), &profile.settings.to_bytes());
        open.memory.write(card_key(PRODUCTION), &profile.production_life_cycle);
        let empty = Arc::clone(&open.registry);
        open.registry = Arc::new(Registry::new([(EntryId::ISSUER_DOMAIN, issuer_domain(profile))]));
        open.put_load_files(profile)?;
        open.reset_all();
        for instance in &profile.instances {
            open.put_instance(instance)?;
        }
        open.commit(&empty)?;
        open.reset_all();
        Ok(open)
    }

    /// Reads the card that a memory holds.
    pub(crate) fn power_on(
        driver: Box<dyn Driver>,
        library: LoadFileLibrary,
        randomness: Box<dyn Randomness>,
    ) -> Result<Self, CardError> {
        let memory = Memory::open(driver, library)?;
        let (registry, settings) = read_card(&memory)?;
        let mut open = Self::new(memory, registry, settings, randomness, crate::applets::create);
        open.reset_all();
        Ok(open)
    }

    /// Returns power, or starts anew as if power had been cut just now.
    pub(crate) fn restart(&mut self) -> Result<(), CardError> {
        self.memory.power_on()?;
        let (registry, settings) = read_card(&self.memory)?;
        self.registry = Arc::new(registry);
        self.settings = settings;
        self.applets.clear();
        self.last_cvm_try = cvm::LastTry::None;
        self.reset_all();
        Ok(())
    }

    fn new(
        memory: Memory,
        registry: Registry,
        settings: Settings,
        randomness: Box<dyn Randomness>,
        factory: AppletFactory,
    ) -> Self {
        Self {
            memory,
            registry: Arc::new(registry),
            settings,
            randomness,
            last_cvm_try: cvm::LastTry::None,
            interfaces: [Channels::default(), Channels::default()],
            applets: BTreeMap::new(),
            factory,
        }
    }

    /// Makes the behaviour of applications in another way from now on.
    pub(crate) fn set_factory(&mut self, factory: AppletFactory) {
        self.factory = factory;
        self.applets.clear();
    }

    /// Closes the channels of one interface and opens its basic channel anew.
    pub(crate) fn reset(&mut self, interface: Interface) {
        let selected = self.default_application(interface, LogicalChannel::BASIC);
        let channels = self.channels_mut(interface);
        *channels = Channels::default();
        channels.set(LogicalChannel::BASIC, Channel::selecting(selected));
        self.drop_idle_applets();
    }

    fn reset_all(&mut self) {
        for interface in Interface::ALL {
            self.reset(interface);
        }
    }

    /// Forgets the behaviour of applications that no channel has selected: they keep nothing.
    pub(super) fn drop_idle_applets(&mut self) {
        let selected: Vec<_> = self.all_channels().filter_map(|(_, channel)| channel.selected).collect();
        self.applets.retain(|id, _| selected.contains(id));
    }

    fn put_load_files(&mut self, profile: &Profile) -> Result<(), ProfileError> {
        let domains = LoadFileEntry {
            version: [1, 0],
            modules: vec![DOMAIN_MODULE],
            imports: Vec::new(),
            code_bytes: 0,
            memory: CodeMemory::Rom,
            usability: Usability::Usable,
        };
        self.put_load_file(DOMAIN_LOAD_FILE, domains)?;
        for preset in &profile.load_files {
            let entry = LoadFileEntry {
                version: preset.version,
                modules: preset.modules.clone(),
                imports: Vec::new(),
                code_bytes: if preset.memory == CodeMemory::Rom { 0 } else { preset.code_bytes },
                memory: preset.memory,
                usability: Usability::Usable,
            };
            self.put_load_file(preset.aid, entry)?;
        }
        Ok(())
    }

    fn put_load_file(&mut self, aid: Aid, load_file: LoadFileEntry) -> Result<(), ProfileError> {
        let entry = Entry { aid, domain: EntryId::ISSUER_DOMAIN, kind: Kind::LoadFile(load_file) };
        self.put_entry(entry).map(|_| ())
    }

    fn put_entry(&mut self, entry: Entry) -> Result<EntryId, ProfileError> {
        let aid = entry.aid;
        if self.registry.is_taken(&aid) {
            return Err(ProfileError::Duplicate(aid));
        }
        self.registry_mut().add(entry).ok_or(ProfileError::Duplicate(aid))
    }

    fn put_instance(&mut self, preset: &PresetInstance) -> Result<(), ProfileError> {
        let missing = |missing| ProfileError::Missing { instance: preset.aid, missing };
        let (load_file, file) =
            self.registry.find_load_file(&preset.load_file).ok_or(missing(preset.load_file))?;
        if !file.modules.contains(&preset.module) {
            return Err(missing(preset.module));
        }
        let domain = match preset.domain {
            Some(aid) => self.registry.find_domain(&aid).ok_or(missing(aid))?,
            None => EntryId::ISSUER_DOMAIN,
        };
        let is_domain = preset.privileges.contains(Privileges::SECURITY_DOMAIN);
        let application = ApplicationEntry {
            load_file: Some(load_file),
            module: preset.module,
            privileges: preset.privileges,
            state: if is_domain && !preset.keys.is_empty() { PERSONALIZED } else { SELECTABLE },
            reserved_bytes: 0,
            volatile_bytes: 0,
            implicit_selection: Vec::new(),
            directory: None,
        };
        let kind = if is_domain {
            Kind::SecurityDomain(application, Box::new(with_keys(&preset.keys, 0)))
        } else {
            Kind::Application(application)
        };
        let id = self.put_entry(Entry { aid: preset.aid, domain, kind })?;
        if is_domain {
            return Ok(());
        }
        let place = Place { interface: Interface::Contact, channel: LogicalChannel::BASIC };
        self.with_applet(id, place, |applet, context| applet.install(context, &preset.parameters))
            .map_err(|_| ProfileError::Refused(preset.aid))
    }

    /// The production life cycle data.
    pub(crate) fn production_life_cycle(&self) -> &[u8] {
        self.memory.read(card_key(PRODUCTION)).unwrap_or(&[])
    }
}

fn issuer_domain(profile: &Profile) -> Entry {
    let mut data = with_keys(&profile.keys, profile.default_key_version);
    data.objects.insert(0x0042, profile.issuer_identification.clone());
    data.objects.insert(0x0044, profile.se_id.clone());
    data.objects.insert(0x0045, profile.card_image_number.clone());
    let application = ApplicationEntry {
        load_file: None,
        module: profile.issuer_domain,
        privileges: profile.issuer_privileges,
        state: profile.life_cycle.value(),
        reserved_bytes: 0,
        volatile_bytes: 0,
        implicit_selection: Vec::new(),
        directory: None,
    };
    Entry {
        aid: profile.issuer_domain,
        domain: EntryId::ISSUER_DOMAIN,
        kind: Kind::SecurityDomain(application, Box::new(data)),
    }
}

fn with_keys(keys: &[Key], default_version: u8) -> DomainData {
    let mut data = DomainData::default();
    for key in keys {
        data.keys.put(key.clone());
    }
    data.keys.default_version = default_version;
    data
}

fn read_card(memory: &Memory) -> Result<(Registry, Settings), CardError> {
    let settings = memory.read(card_key(SETTINGS)).and_then(Settings::from_bytes);
    let settings = settings.ok_or(CardError::NotACard("the card's settings are missing"))?;
    let mut entries = Vec::new();
    for owner in memory.owners() {
        let object = |space, object| memory.read(ObjectKey { owner, space, object });
        let Some(entry) = object(Space::Registry, 0) else { continue };
        let entry = codec::decode_entry(entry, object(Space::Domain, 0), object(Space::Domain, 1));
        entries.push((EntryId(owner), entry.ok_or(CardError::NotACard("a registry entry is malformed"))?));
    }
    let registry = Registry::new(entries);
    if registry.get(EntryId::ISSUER_DOMAIN).is_none_or(|entry| entry.as_domain().is_none()) {
        return Err(CardError::NotACard("there is no issuer security domain"));
    }
    if registry
        .iter()
        .any(|(_, entry)| registry.get(entry.domain).is_none_or(|domain| domain.as_domain().is_none()))
    {
        return Err(CardError::NotACard("an entry belongs to a security domain that is not there"));
    }
    let load_file_of = |entry: &Entry| entry.as_application().and_then(|application| application.load_file);
    if registry
        .iter()
        .filter_map(|(_, entry)| load_file_of(entry))
        .any(|id| registry.get(id).is_none_or(|entry| entry.as_load_file().is_none()))
    {
        return Err(CardError::NotACard("an application was made from a load file that is not there"));
    }
    Ok((registry, settings))
}
