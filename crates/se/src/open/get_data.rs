//! GET DATA (GPC 2.3.1, 11.3; ETSI TS 102 226, 8.2.1.7; transit-card tags of the mobile operators).

use tsm_globalplatform::commands::GetData;
use tsm_globalplatform::extended_resources::ExtendedResources;
use tsm_globalplatform::key_information::KeyInformation;
use tsm_globalplatform::recognition::{CardRecognitionData, SecureChannelProtocol};
use tsm_iso7816::{CommandApdu, ResponseApdu, StatusWord, tlv};

use super::Open;
use super::registry::EntryId;
use crate::applet::Answer;
use crate::domain::{DomainData, Extradition};

/// Card capability information.
const CARD_CAPABILITY: u16 = 0x0067;
/// Extended card resources as one vendor numbers them; answered as FF21 (decision D-37).
const EXTENDED_RESOURCES_FF20: u16 = 0xFF20;

impl Open {
    pub(super) fn get_data(&self, domain: EntryId, command: &CommandApdu) -> Answer {
        let tag = GetData::try_from(command).map_err(|error| error.status_word())?.tag;
        let is_issuer = domain == EntryId::ISSUER_DOMAIN;
        let data = self.domain_data(domain);
        let object = match tag {
            0x00E0 => Some(key_information(data)),
            0x00C1 => Some(sequence_counter(data)),
            0x00C2 => Some(tlv::encode(0xC2, &(data.confirmation_counter as u16).to_be_bytes())),
            0x0066 if is_issuer => Some(self.recognition_data()),
            CARD_CAPABILITY if is_issuer => Some(self.capability_information()),
            0x9F7F if is_issuer => Some(tlv::encode(0x9F7F, self.production_life_cycle())),
            0xFF21 => Some(self.extended_resources(domain)),
            EXTENDED_RESOURCES_FF20 => {
                let mut resources = self.extended_resources(domain);
                resources[1] = 0x20;
                Some(resources)
            }
            0x2F00 => Some(self.domain_information(domain)),
            stored => data.objects.get(&stored).map(|value| stored_object(stored, value)),
        };
        let object = object.ok_or(StatusWord::REFERENCED_DATA_NOT_FOUND)?;
        match command.ne {
            // Le is exact or open; a host that asks for too little learns how much there is.
            Some(ne) if (ne as usize) < object.len() && object.len() <= 256 => {
                Err(StatusWord::wrong_le(object.len() as u8))
            }
            _ => Ok(ResponseApdu::success(object)),
        }
    }

    // GPC 2.3.1 H.2 and H.3.
    fn recognition_data(&self) -> Vec<u8> {
        let protocols = [(0x02, self.settings.scp02_i), (0x03, self.settings.scp03_i)];
        let keys = &self.domain_data(EntryId::ISSUER_DOMAIN).keys;
        let offered =
            protocols.into_iter().filter(|(number, _)| super::secure_channel::offers(keys, *number));
        let recognition = CardRecognitionData {
            version: vec![2, 3, 1],
            protocols: offered
                .map(|(number, implementation)| SecureChannelProtocol { number, implementation })
                .collect(),
        };
        recognition.to_object()
    }

    // GPC 2.3.1 H.4: protocols with options and key lengths, privileges that domains and
    // applications may have, hash algorithms, and the algorithms of tokens, receipts and DAPs.
    fn capability_information(&self) -> Vec<u8> {
        let keys = &self.domain_data(EntryId::ISSUER_DOMAIN).keys;
        let mut value = Vec::new();
        for (number, i) in [(0x02, self.settings.scp02_i), (0x03, self.settings.scp03_i)] {
            if super::secure_channel::offers(keys, number) {
                let mut protocol = tlv::encode(0x80, &[number]);
                tlv::write(&mut protocol, 0x81, &[i]);
                if number == 0x03 {
                    // AES-128, AES-192 and AES-256.
                    tlv::write(&mut protocol, 0x82, &[0x07]);
                }
                tlv::write(&mut value, 0xA0, &protocol);
            }
        }
        tlv::write(&mut value, 0x81, &[0xFF, 0x7F, 0x80]);
        tlv::write(&mut value, 0x82, &[0x1E, 0x1B, 0x00]);
        // SHA-1, SHA-256, SHA-384, SHA-512.
        tlv::write(&mut value, 0x83, &[0x01, 0x02, 0x03, 0x04]);
        tlv::encode(u32::from(CARD_CAPABILITY), &value)
    }

    fn extended_resources(&self, domain: EntryId) -> Vec<u8> {
        let usage = self.usage_seen_by(domain);
        let resources = ExtendedResources {
            applications: u32::from(usage.applications),
            free_non_volatile: usage.non_volatile_free(),
            free_volatile: usage.volatile_free(),
        };
        resources.to_object()
    }

    // The operators' domain information {82: type, security attribute, channel, RAM, NVM}, then
    // each application that belongs to the domain (GPC 2.3.1, 11.3.3.2: 61 {4F}).
    fn domain_information(&self, domain: EntryId) -> Vec<u8> {
        const FIXED_SPACE: u8 = 0x80;
        const NO_EXTRADITION: u8 = 0x02;
        let data = self.domain_data(domain);
        let mut kind = 0;
        if data.fixed_space.is_some() {
            kind |= FIXED_SPACE;
        }
        if data.extradition == Extradition::Refused {
            kind |= NO_EXTRADITION;
        }
        let usage = self.usage_seen_by(domain);
        let mut information = vec![kind, self.registry.entry(domain).privileges().to_bytes()[0], 0x03];
        information.extend(u16::try_from(usage.volatile_free()).unwrap_or(u16::MAX).to_be_bytes());
        information.extend(usage.non_volatile_free().to_be_bytes());
        let mut value = tlv::encode(0x82, &information);
        for (_, entry) in
            self.registry.associated_with(domain).filter(|(_, entry)| entry.as_application().is_some())
        {
            tlv::write(&mut value, 0x61, &tlv::encode(0x4F, entry.aid.as_bytes()));
        }
        tlv::encode(0x2F00, &value)
    }
}

// GPC 2.3.1 11.3.3.1.
fn key_information(data: &DomainData) -> Vec<u8> {
    let keys: Vec<KeyInformation> = data
        .keys
        .iter()
        .map(|key| KeyInformation {
            identifier: key.id,
            version: key.version,
            components: key
                .components
                .iter()
                .map(|component| {
                    (component.key_type, u16::try_from(component.value.len()).unwrap_or(u16::MAX))
                })
                .collect(),
        })
        .collect();
    KeyInformation::template(&keys)
}

// GPC 2.3.1 E.4.3 (two bytes in SCP02) and amendment D 7.1.1.6 (three bytes).
fn sequence_counter(data: &DomainData) -> Vec<u8> {
    let counter = super::secure_channel::default_counter(&data.keys).to_be_bytes();
    let bytes =
        if super::secure_channel::defaults_to_scp03(&data.keys) { &counter[1..] } else { &counter[2..] };
    tlv::encode(0xC1, bytes)
}

/// A stored object as it is answered: tag, length, value. The operators' two-byte tags (1047,
/// 2F14) have the same form as data groups (decision D-10).
fn stored_object(tag: u16, value: &[u8]) -> Vec<u8> {
    tlv::encode(u32::from(tag), value)
}
