//! How registry entries lie in the memory.
//!
//! Each entry is a list of data objects with numbers of its own as tags. A reader skips numbers
//! it does not know and takes defaults for those that are absent, so that later builds can add
//! some. The keys and data of a security domain are one object, and what changes at every
//! authentication another, so that a session writes little.

use std::collections::BTreeMap;

use tsm_globalplatform::key::{KeyComponent, KeyType};
use tsm_globalplatform::privileges::Privileges;
use tsm_iso7816::{Aid, tlv};

use super::registry::{ApplicationEntry, CodeMemory, Entry, EntryId, Kind, LoadFileEntry, Usability};
use crate::applet::DirectoryEntry;
use crate::domain::{DomainData, Extradition, FixedSpace, Key};

const KIND: u32 = 0x01;
const AID: u32 = 0x02;
const DOMAIN: u32 = 0x03;
const VERSION: u32 = 0x04;
const MODULE: u32 = 0x05;
const CODE_BYTES: u32 = 0x06;
const ROM: u32 = 0x07;
const DISABLED: u32 = 0x08;
const LOAD_FILE: u32 = 0x09;
const PRIVILEGES: u32 = 0x0A;
const STATE: u32 = 0x0B;
const RESERVED: u32 = 0x0C;
const VOLATILE: u32 = 0x0D;
const IMPLICIT: u32 = 0x0E;
const DIRECTORY: u32 = 0x0F;
const IMPORT: u32 = 0x10;

const KEY: u32 = 0x01;
const DEFAULT_VERSION: u32 = 0x02;
const OBJECT: u32 = 0x03;
const FIXED_SPACE: u32 = 0x04;
const NO_EXTRADITION: u32 = 0x05;

const COUNTER: u32 = 0x01;
const FAILURES: u32 = 0x02;
const CONFIRMATION: u32 = 0x03;

const KIND_LOAD_FILE: u8 = 1;
const KIND_APPLICATION: u8 = 2;
const KIND_DOMAIN: u8 = 3;

/// The entry without a domain's data.
pub(super) fn encode_entry(entry: &Entry) -> Vec<u8> {
    let mut out = Vec::with_capacity(80);
    let kind = match &entry.kind {
        Kind::LoadFile(_) => KIND_LOAD_FILE,
        Kind::Application(_) => KIND_APPLICATION,
        Kind::SecurityDomain(..) => KIND_DOMAIN,
    };
    tlv::write(&mut out, KIND, &[kind]);
    tlv::write(&mut out, AID, entry.aid.as_bytes());
    tlv::write(&mut out, DOMAIN, &entry.domain.0.to_be_bytes());
    match &entry.kind {
        Kind::LoadFile(load_file) => encode_load_file(&mut out, load_file),
        Kind::Application(application) | Kind::SecurityDomain(application, _) => {
            encode_application(&mut out, application);
        }
    }
    out
}

fn encode_load_file(out: &mut Vec<u8>, load_file: &LoadFileEntry) {
    tlv::write(out, VERSION, &load_file.version);
    for module in &load_file.modules {
        tlv::write(out, MODULE, module.as_bytes());
    }
    for import in &load_file.imports {
        tlv::write(out, IMPORT, &import.0.to_be_bytes());
    }
    tlv::write(out, CODE_BYTES, &load_file.code_bytes.to_be_bytes());
    if load_file.memory == CodeMemory::Rom {
        tlv::write(out, ROM, &[]);
    }
    if load_file.usability == Usability::Disabled {
        tlv::write(out, DISABLED, &[]);
    }
}

fn encode_application(out: &mut Vec<u8>, application: &ApplicationEntry) {
    if let Some(load_file) = application.load_file {
        tlv::write(out, LOAD_FILE, &load_file.0.to_be_bytes());
    }
    tlv::write(out, MODULE, application.module.as_bytes());
    tlv::write(out, PRIVILEGES, &application.privileges.to_bytes());
    tlv::write(out, STATE, &[application.state]);
    tlv::write(out, RESERVED, &application.reserved_bytes.to_be_bytes());
    tlv::write(out, VOLATILE, &application.volatile_bytes.to_be_bytes());
    if !application.implicit_selection.is_empty() {
        tlv::write(out, IMPLICIT, &application.implicit_selection);
    }
    if let Some(directory) = &application.directory {
        let mut value = vec![directory.priority];
        value.extend(&directory.label);
        tlv::write(out, DIRECTORY, &value);
    }
}

/// Reads an entry; a security domain gets its data from `domain` and `counters`.
pub(super) fn decode_entry(bytes: &[u8], domain: Option<&[u8]>, counters: Option<&[u8]>) -> Option<Entry> {
    let mut kind = None;
    let mut aid = None;
    let mut associated = EntryId::ISSUER_DOMAIN;
    let mut load_file = LoadFileEntry::default();
    let mut made_from = None;
    let mut application = (Privileges::NONE, 0, 0, 0, Vec::new(), None);
    for object in tlv::Reader::new(bytes) {
        let object = object.ok()?;
        match (object.tag.0, object.value) {
            (KIND, [value]) => kind = Some(*value),
            (AID, value) => aid = Some(Aid::new(value).ok()?),
            (DOMAIN, value) => associated = entry_id(value)?,
            (VERSION, value) => load_file.version = value.try_into().ok()?,
            (MODULE, value) => load_file.modules.push(Aid::new(value).ok()?),
            (IMPORT, value) => load_file.imports.push(entry_id(value)?),
            (CODE_BYTES, value) => load_file.code_bytes = number(value)?,
            (ROM, _) => load_file.memory = CodeMemory::Rom,
            (DISABLED, _) => load_file.usability = Usability::Disabled,
            (LOAD_FILE, value) => made_from = Some(entry_id(value)?),
            (PRIVILEGES, value) => application.0 = Privileges::parse(value).ok()?,
            (STATE, [value]) => application.1 = *value,
            (RESERVED, value) => application.2 = number(value)?,
            (VOLATILE, value) => application.3 = number(value)?,
            (IMPLICIT, value) => application.4 = value.to_vec(),
            (DIRECTORY, [priority, label @ ..]) => {
                application.5 = Some(DirectoryEntry { label: label.to_vec(), priority: *priority });
            }
            _ => {}
        }
    }
    let module = load_file.modules.first().copied();
    let application = |module| {
        let (privileges, state, reserved_bytes, volatile_bytes, implicit_selection, directory) = application;
        let load_file = made_from;
        ApplicationEntry {
            load_file,
            module,
            privileges,
            state,
            reserved_bytes,
            volatile_bytes,
            implicit_selection,
            directory,
        }
    };
    let kind = match kind? {
        KIND_LOAD_FILE => Kind::LoadFile(load_file),
        KIND_APPLICATION => Kind::Application(application(module?)),
        KIND_DOMAIN => Kind::SecurityDomain(
            application(module?),
            Box::new(decode_domain(domain?, counters.unwrap_or(&[]))?),
        ),
        _ => return None,
    };
    Some(Entry { aid: aid?, domain: associated, kind })
}

/// The keys and data of a domain.
pub(super) fn encode_domain(domain: &DomainData) -> Vec<u8> {
    let mut out = Vec::with_capacity(160);
    for key in domain.keys.iter() {
        let mut value = vec![key.version, key.id];
        for component in &key.components {
            value.push(component.key_type.0);
            value.extend((component.value.len() as u16).to_be_bytes());
            value.extend(&component.value);
        }
        tlv::write(&mut out, KEY, &value);
    }
    tlv::write(&mut out, DEFAULT_VERSION, &[domain.keys.default_version]);
    for (tag, object) in &domain.objects {
        let mut value = tag.to_be_bytes().to_vec();
        value.extend(object);
        tlv::write(&mut out, OBJECT, &value);
    }
    if let Some(space) = domain.fixed_space {
        let value = [space.non_volatile.to_be_bytes(), space.volatile.to_be_bytes()].concat();
        tlv::write(&mut out, FIXED_SPACE, &value);
    }
    if domain.extradition == Extradition::Refused {
        tlv::write(&mut out, NO_EXTRADITION, &[]);
    }
    out
}

/// What changes when a domain authenticates or confirms.
pub(super) fn encode_counters(domain: &DomainData) -> Vec<u8> {
    let mut out = Vec::with_capacity(24);
    for (version, counter) in domain.keys.counters() {
        let [a, b, c, d] = counter.to_be_bytes();
        tlv::write(&mut out, COUNTER, &[version, a, b, c, d]);
    }
    tlv::write(&mut out, FAILURES, &[domain.failures]);
    tlv::write(&mut out, CONFIRMATION, &domain.confirmation_counter.to_be_bytes());
    out
}

fn decode_domain(bytes: &[u8], counters: &[u8]) -> Option<DomainData> {
    let mut domain = DomainData { objects: BTreeMap::new(), ..DomainData::default() };
    let mut default_version = 0;
    for object in tlv::Reader::new(bytes) {
        let object = object.ok()?;
        match (object.tag.0, object.value) {
            (KEY, value) => domain.keys.put(decode_key(value)?),
            (DEFAULT_VERSION, [version]) => default_version = *version,
            (OBJECT, [high, low, value @ ..]) => {
                domain.objects.insert(u16::from_be_bytes([*high, *low]), value.to_vec());
            }
            (FIXED_SPACE, value) => {
                let (non_volatile, volatile) = value.split_at_checked(4)?;
                domain.fixed_space =
                    Some(FixedSpace { non_volatile: number(non_volatile)?, volatile: number(volatile)? });
            }
            (NO_EXTRADITION, _) => domain.extradition = Extradition::Refused,
            _ => {}
        }
    }
    domain.keys.default_version = default_version;
    for object in tlv::Reader::new(counters) {
        let object = object.ok()?;
        match (object.tag.0, object.value) {
            (COUNTER, [version, value @ ..]) => domain.keys.set_counter(*version, number(value)?),
            (FAILURES, [failures]) => domain.failures = *failures,
            (CONFIRMATION, value) => domain.confirmation_counter = number(value)?,
            _ => {}
        }
    }
    Some(domain)
}

fn decode_key(value: &[u8]) -> Option<Key> {
    let (&[version, id], mut rest) = value.split_first_chunk::<2>()?;
    let mut components = Vec::new();
    while let Some((&[key_type, high, low], after)) = rest.split_first_chunk::<3>() {
        let (value, after) = after.split_at_checked(usize::from(u16::from_be_bytes([high, low])))?;
        components.push(KeyComponent { key_type: KeyType(key_type), value: value.to_vec() });
        rest = after;
    }
    rest.is_empty().then_some(Key { version, id, components })
}

fn entry_id(value: &[u8]) -> Option<EntryId> {
    Some(EntryId(u16::from_be_bytes(value.try_into().ok()?)))
}

fn number(value: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(value.try_into().ok()?))
}
