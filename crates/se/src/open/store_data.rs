//! STORE DATA (GPC 2.3.1, 11.11): data for the selected security domain, or forwarded to the
//! application that INSTALL [for personalization] named.

use tsm_globalplatform::commands::StoreData;
use tsm_globalplatform::commands::load::BlockPosition;
use tsm_globalplatform::commands::store_data::{DataEncryption, DataGroup, DataStructure};
use tsm_globalplatform::key::{KeyComponent, KeyType};
use tsm_iso7816::{CommandApdu, ResponseApdu, StatusWord, tlv};

use super::Open;
use super::channels::Place;
use super::registry::{EntryId, Kind};
use crate::applet::{Answer, StoreDataBlock};
use crate::domain::Key;

/// The objects of its own that a domain takes: identification numbers, the registration token,
/// the telephone number, the card version, and the provider's name.
const STORABLE: [u16; 6] = [0x0042, 0x0045, 0x1047, 0x2F14, 0x2F10, 0x5F20];
/// The data group whose value is a list of data objects.
const BER_GROUP: u16 = 0x0070;
/// The data group that describes keys (B9 templates), and the one with the encrypted keys.
const KEY_DESCRIPTION: u16 = 0x00B9;
const KEY_VALUES: u16 = 0x8113;

impl Open {
    pub(super) fn store_data(&mut self, domain: EntryId, place: Place, command: &CommandApdu) -> Answer {
        self.require_management(domain, place)?;
        let request = StoreData::try_from(command).map_err(|error| error.status_word())?;
        // Block 00 begins anew; any other must follow the one before.
        let expected = self.channel(place).store_data_next;
        if request.number != 0 && request.number != expected {
            return Err(StatusWord::INCORRECT_P1_P2);
        }
        let target = self.channel(place).personalising.unwrap_or(domain);
        let answer = if target == domain {
            self.store_own_data(domain, place, &request)
        } else {
            self.forward_data(target, place, command)
        }?;
        let channel = self.channel_mut(place);
        channel.store_data_next = request.number.wrapping_add(1);
        if request.position == BlockPosition::Last {
            channel.end_personalisation();
        }
        Ok(answer)
    }

    // GPC 2.3.1 7.3.3: the domain forwards what it has unwrapped.
    fn forward_data(&mut self, target: EntryId, place: Place, command: &CommandApdu) -> Answer {
        let entry = self.registry.get(target).ok_or(StatusWord::CONDITIONS_NOT_SATISFIED)?;
        if let Kind::SecurityDomain(..) = entry.kind {
            let request = StoreData::try_from(command).map_err(|error| error.status_word())?;
            return self.store_for_domain(target, place, &request);
        }
        let block = StoreDataBlock { parameters: command.p1, number: command.p2, data: &command.data };
        let answer = self.with_applet(target, place, |applet, context| applet.store_data(context, &block));
        self.drop_idle_applets();
        answer
    }

    fn store_own_data(&mut self, domain: EntryId, place: Place, request: &StoreData) -> Answer {
        self.store_for_domain(domain, place, request)
    }

    /// Stores data in a domain: its own, or one below that it personalises.
    fn store_for_domain(&mut self, target: EntryId, place: Place, request: &StoreData) -> Answer {
        // Only keys come encrypted, and their data group says so by itself.
        if request.encryption == DataEncryption::Encrypted && request.structure != DataStructure::Dgi {
            return Err(StatusWord::CONDITIONS_NOT_SATISFIED);
        }
        let before = self.domain_data(target).size();
        match request.structure {
            DataStructure::BerTlv => self.store_objects(target, &request.data)?,
            DataStructure::Dgi => self.store_groups(target, place, &request.data)?,
            // Without a word about the structure, a first tag of two bytes that begins as a data
            // group does is one; identification numbers come as data objects.
            DataStructure::NoInformation => match request.data.first() {
                Some(0x42 | 0x45 | 0x5F) => self.store_objects(target, &request.data)?,
                _ => self.store_groups(target, place, &request.data)?,
            },
        }
        self.require_grown(target, before)?;
        Ok(ResponseApdu::success([]))
    }

    fn store_objects(&mut self, target: EntryId, data: &[u8]) -> Result<(), StatusWord> {
        for object in tlv::Reader::new(data) {
            let object = object.map_err(|_| StatusWord::WRONG_DATA)?;
            let tag = u16::try_from(object.tag.0).map_err(|_| StatusWord::REFERENCED_DATA_NOT_FOUND)?;
            self.store_object(target, tag, object.value)?;
        }
        Ok(())
    }

    fn store_groups(&mut self, target: EntryId, place: Place, data: &[u8]) -> Result<(), StatusWord> {
        let groups = DataGroup::parse_all(data).map_err(|error| error.status_word())?;
        if groups.is_empty() {
            return Err(StatusWord::WRONG_DATA);
        }
        let mut described = Vec::new();
        for group in groups {
            match group.identifier {
                BER_GROUP => self.store_objects(target, &group.value)?,
                KEY_DESCRIPTION => described = key_descriptions(&group.value)?,
                KEY_VALUES => self.store_keys(target, place, &described, &group.value)?,
                identifier => self.store_object(target, identifier, &group.value)?,
            }
        }
        Ok(())
    }

    fn store_object(&mut self, target: EntryId, tag: u16, value: &[u8]) -> Result<(), StatusWord> {
        if !STORABLE.contains(&tag) {
            return Err(StatusWord::REFERENCED_DATA_NOT_FOUND);
        }
        let objects = &mut self.registry_mut().domain_mut(target).objects;
        if value.is_empty() {
            objects.remove(&tag);
        } else {
            objects.insert(tag, value.to_vec());
        }
        Ok(())
    }

    /// Puts the keys that were described, whose values follow one another under the data
    /// encryption key of the session in use.
    fn store_keys(
        &mut self,
        target: EntryId,
        place: Place,
        described: &[KeyDescription],
        values: &[u8],
    ) -> Result<(), StatusWord> {
        let session = self.channel(place).selected.ok_or(StatusWord::CONDITIONS_NOT_SATISFIED)?;
        let clear = self.decrypt_sensitive(session, place, values)?;
        let wanted: usize = described.iter().map(|key| key.length).sum();
        if described.is_empty() || wanted > clear.len() || clear.len() - wanted >= 16 {
            return Err(StatusWord::WRONG_DATA);
        }
        let mut rest = &clear[..];
        let ring = &mut self.registry_mut().domain_mut(target).keys;
        for key in described {
            let (value, after) = rest.split_at(key.length);
            rest = after;
            let component = KeyComponent { key_type: key.key_type, value: value.to_vec() };
            ring.put(Key { version: key.version, id: key.id, components: vec![component] });
            ring.set_counter(key.version, 0);
            ring.default_version = key.version;
        }
        Ok(())
    }
}

/// A key that a B9 template describes.
struct KeyDescription {
    key_type: KeyType,
    length: usize,
    id: u8,
    version: u8,
}

// GPC 2.3.1 table 11-87 and the UICC configuration, 11: B9 {95 usage, 80 type, 81 length,
// 82 identifier, 83 version}. A template without identifier describes the three keys of a set.
fn key_descriptions(value: &[u8]) -> Result<Vec<KeyDescription>, StatusWord> {
    let mut described = Vec::new();
    for object in tlv::Reader::new(value) {
        let object = object.map_err(|_| StatusWord::WRONG_DATA)?;
        if object.tag.0 != 0xB9 {
            return Err(StatusWord::WRONG_DATA);
        }
        let byte = |tag| match tlv::find(object.value, tag) {
            Ok(Some([value])) => Ok(Some(*value)),
            Ok(None) => Ok(None),
            Ok(Some(_)) | Err(_) => Err(StatusWord::WRONG_DATA),
        };
        let key_type = KeyType(byte(0x80)?.ok_or(StatusWord::WRONG_DATA)?);
        let length = usize::from(byte(0x81)?.ok_or(StatusWord::WRONG_DATA)?);
        let version =
            byte(0x83)?.filter(|version| (0x01..=0x7F).contains(version)).ok_or(StatusWord::WRONG_DATA)?;
        let fits = match key_type {
            KeyType::DES => length == 16,
            KeyType::AES => matches!(length, 16 | 24 | 32),
            _ => false,
        };
        if !fits {
            return Err(StatusWord::ALGORITHM_NOT_SUPPORTED);
        }
        let ids = match byte(0x82)? {
            Some(id) => id..=id,
            None => 1..=3,
        };
        described.extend(ids.map(|id| KeyDescription { key_type, length, id, version }));
    }
    Ok(described)
}
