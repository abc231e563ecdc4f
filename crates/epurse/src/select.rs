//! What the purse and the contactless directory (PPSE) answer to SELECT.
//!
//! JT/T 978 purse FCI as real cards give it: `6F { 84 DF name, A5 { 9F08 version, 9F0C EF15 } }`.
//! PPSE FCI (EMV contactless book B, 3.3): `6F { 84 name, A5 { BF0C { 61 { 4F, 50, 87 }.. } } }`.

use tsm_iso7816::{Aid, AidError, CommandApdu, tlv};

use crate::{LayoutError, file::PublicInformation};

/// The T-Union electronic purse.
pub const PURSE_AID: Aid = Aid::constant(&[0xA0, 0x00, 0x00, 0x06, 0x32, 0x01, 0x01, 0x05]);
/// The T-Union electronic cash.
pub const CASH_AID: Aid = Aid::constant(&[0xA0, 0x00, 0x00, 0x06, 0x32, 0x01, 0x01, 0x06]);
/// The contactless directory, "2PAY.SYS.DDF01".
pub const PPSE_AID: Aid = Aid::constant(b"2PAY.SYS.DDF01");
/// The purse's label in the directory.
pub const PURSE_LABEL: &str = "MOT_T_EP";
/// The version that the purse's FCI states in 9F08.
pub const PURSE_VERSION: u8 = 0x02;

/// Why bytes are not the FCI that they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// Not BER-TLV, or an object is missing.
    #[error("the select response is not the template it should be")]
    Template(#[from] tlv::TlvError),
    /// An AID of impossible length.
    #[error("an application identifier in the select response is wrong")]
    Aid(#[from] AidError),
    /// A value of impossible length or content.
    #[error("a value in the select response is wrong")]
    Layout(#[from] LayoutError),
}

/// SELECT by name, first or only occurrence (ISO/IEC 7816-4, 11.2.2).
pub fn select(name: &Aid) -> CommandApdu {
    CommandApdu::new(0x00, 0xA4, 0x04, 0x00).with_data(name.as_bytes()).with_any_response()
}

/// The purse's file control information.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PurseFci {
    /// The DF name, which is the AID selected.
    pub name: Aid,
    /// 9F08: version of the application.
    pub version: u8,
    /// 9F0C: the content of EF15.
    pub public_information: PublicInformation,
}

impl PurseFci {
    /// As the card answers it.
    pub fn encode(&self) -> Vec<u8> {
        let mut proprietary = tlv::encode(0x9F08, &[self.version]);
        tlv::write(&mut proprietary, 0x9F0C, &self.public_information.encode());
        fci(&self.name, &proprietary)
    }

    /// Reads the answer; objects that other issuers add are passed over.
    pub fn decode(bytes: &[u8]) -> Result<Self, SelectError> {
        let template = tlv::find_one(bytes, 0x6F)?;
        let proprietary = tlv::find_one(template, 0xA5)?;
        let version = tlv::find_one(proprietary, 0x9F08)?;
        let [version] = *version else {
            return Err(LayoutError::Length { what: "9F08", expected: 1, found: version.len() }.into());
        };
        Ok(Self {
            name: Aid::new(tlv::find_one(template, 0x84)?)?,
            version,
            public_information: PublicInformation::decode(tlv::find_one(proprietary, 0x9F0C)?)?,
        })
    }
}

/// One application in the contactless directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// 4F: the application.
    pub aid: Aid,
    /// 50: its label, ISO 8859 or whatever the issuer wrote.
    pub label: Vec<u8>,
    /// 87: its priority, 1 the highest; 0 when the entry has none.
    pub priority: u8,
}

/// The contactless directory's file control information, entries in the order of the card.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Directory {
    /// The entries.
    pub entries: Vec<DirectoryEntry>,
}

impl Directory {
    /// As the card answers it.
    pub fn encode(&self) -> Vec<u8> {
        let entries = self.entries.iter().fold(Vec::new(), |mut out, entry| {
            tlv::write(&mut out, 0x61, &entry.encode());
            out
        });
        fci(&PPSE_AID, &tlv::encode(0xBF0C, &entries))
    }

    /// Reads the answer to SELECT PPSE.
    pub fn decode(bytes: &[u8]) -> Result<Self, SelectError> {
        Self::decode_proprietary(tlv::find_one(tlv::find_one(bytes, 0x6F)?, 0xA5)?)
    }

    /// The entries sorted by priority, 1 first and those without one last, as a reader tries them.
    pub fn by_priority(&self) -> Vec<&DirectoryEntry> {
        let mut sorted: Vec<_> = self.entries.iter().collect();
        sorted.sort_by_key(|entry| entry.priority.wrapping_sub(1) & 0x0F);
        sorted
    }

    /// `A5 { BF0C { .. } }` as the data grouping 0100 holds it.
    pub fn encode_grouping(&self) -> Vec<u8> {
        let entries = self.entries.iter().fold(Vec::new(), |mut out, entry| {
            tlv::write(&mut out, 0x61, &entry.encode());
            out
        });
        tlv::encode(0xA5, &tlv::encode(0xBF0C, &entries))
    }

    /// Reads the data grouping 0100.
    pub fn decode_grouping(bytes: &[u8]) -> Result<Self, SelectError> {
        Self::decode_proprietary(tlv::find_one(bytes, 0xA5)?)
    }

    fn decode_proprietary(proprietary: &[u8]) -> Result<Self, SelectError> {
        let mut entries = Vec::new();
        for object in tlv::Reader::new(tlv::find_one(proprietary, 0xBF0C)?) {
            let object = object?;
            if object.tag.0 == 0x61 {
                entries.push(DirectoryEntry::decode(object.value)?);
            }
        }
        Ok(Self { entries })
    }
}

impl DirectoryEntry {
    fn encode(&self) -> Vec<u8> {
        let mut out = tlv::encode(0x4F, self.aid.as_bytes());
        tlv::write(&mut out, 0x50, &self.label);
        tlv::write(&mut out, 0x87, &[self.priority]);
        out
    }

    fn decode(bytes: &[u8]) -> Result<Self, SelectError> {
        let priority = match tlv::find(bytes, 0x87)? {
            None => 0,
            Some([priority]) => *priority,
            Some(other) => {
                return Err(LayoutError::Length { what: "87", expected: 1, found: other.len() }.into());
            }
        };
        Ok(Self {
            aid: Aid::new(tlv::find_one(bytes, 0x4F)?)?,
            label: tlv::find(bytes, 0x50)?.unwrap_or_default().to_vec(),
            priority,
        })
    }
}

fn fci(name: &Aid, proprietary: &[u8]) -> Vec<u8> {
    let mut content = tlv::encode(0x84, name.as_bytes());
    tlv::write(&mut content, 0xA5, proprietary);
    tlv::encode(0x6F, &content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EF15: &str = "09990000FFFFFFFF02010310499900000001234520250101204512310000";

    fn purse(aid: Aid) -> DirectoryEntry {
        DirectoryEntry { aid, label: PURSE_LABEL.into(), priority: 2 }
    }

    /// Source: the FCI that all readers of T-Union cards agree on, with an invented EF15.
    #[test]
    fn the_purse_answers_as_real_cards_do() {
        let fci = PurseFci {
            name: PURSE_AID,
            version: PURSE_VERSION,
            public_information: PublicInformation::decode(&hex::decode(EF15).unwrap()).unwrap(),
        };
        let expected = format!("6F318408A000000632010105A5259F0801029F0C1E{EF15}");
        assert_eq!(hex::encode_upper(fci.encode()), expected);
        assert_eq!(PurseFci::decode(&fci.encode()), Ok(fci));
    }

    /// Source: data grouping 0100 of a published T-Union personalisation file.
    #[test]
    fn the_directory_grouping_is_the_published_one() {
        let cash = DirectoryEntry { aid: CASH_AID, label: "MOT_T_CASH".into(), priority: 1 };
        let directory = Directory { entries: vec![cash, purse(PURSE_AID)] };
        let grouping = directory.encode_grouping();
        let expected = "A537BF0C3461194F08A000000632010106500A4D4F545F545F4341534887010161174F08A00000063201010550084D4F545F545F4550870102";
        assert_eq!(hex::encode_upper(&grouping), expected);
        assert_eq!(Directory::decode_grouping(&grouping).unwrap(), directory);
        assert_eq!(Directory::decode(&directory.encode()).unwrap(), directory);
    }

    #[test]
    fn priority_one_comes_first_and_none_last() {
        let entry = |priority| DirectoryEntry { priority, ..purse(PURSE_AID) };
        let directory = Directory { entries: vec![entry(0), entry(3), entry(1), entry(2)] };
        let order: Vec<u8> = directory.by_priority().iter().map(|entry| entry.priority).collect();
        assert_eq!(order, [1, 2, 3, 0]);
    }

    #[test]
    fn parsers_never_panic() {
        bolero::check!().for_each(|bytes| {
            let _ = PurseFci::decode(bytes);
            let _ = Directory::decode(bytes);
            let _ = Directory::decode_grouping(bytes);
        });
    }

    proptest! {
        #[test]
        fn directories_read_back(
            entries in prop::collection::vec((prop::collection::vec(any::<u8>(), 5..=16), prop::collection::vec(any::<u8>(), 0..16), any::<u8>()), 0..6)
        ) {
            let entries = entries
                .into_iter()
                .map(|(aid, label, priority)| DirectoryEntry { aid: Aid::new(&aid).unwrap(), label, priority })
                .collect();
            let directory = Directory { entries };
            prop_assert_eq!(Directory::decode(&directory.encode()), Ok(directory));
        }
    }
}
