//! The commands of our Mifare card manager. Class 80 (84 under a secure channel), sent after SELECT
//! of [`super::CARD_MANAGER_AID`] and, for those that change something, inside a secure channel of its
//! security domain.
//!
//! | command | C-APDU | answer |
//! | --- | --- | --- |
//! | LIST APPLICATIONS | 80 A0 00 first | entries 61 { 4F id, 50 label, C5 state, C6 sectors }; 6310 when more follow |
//! | DOWNLOAD APPLICATION | 80 A2 00/80 block | the image in blocks; P1 80 marks the last, which makes the application |
//! | DELETE APPLICATION | 80 A4 00 00 id | sectors are wiped to the transport configuration and free |
//! | ACTIVATE APPLICATION | 80 A6 00/01 00 id | P1 01: readers see its sectors; 00: they do not |
//! | READ BLOCK | 80 A8 block 60/61 key | 16 bytes, as the access conditions allow that key |
//! | WRITE BLOCK | 80 AA block 60/61 key data | |
//! | VALUE OPERATION | 80 AC block 60/61 key C0/C1/C2 amount destination | decrement, increment or restore, then transfer |
//!
//! Status words: 6A80 image refused, 6A84 a sector is taken or missing, 6A88 no such application,
//! 6985 the access conditions forbid it, 6300 the key opens nothing.

use tsm_iso7816::{CommandApdu, tlv};

use super::{
    BLOCK_LENGTH,
    access::KeyUsed,
    image::MifareApplicationId,
    layout::{Block, Capacity},
    trailer::MifareKey,
};
use crate::{CommandError, LayoutError, bytes::Fields, commands::basic_class};

/// A command of the Mifare card manager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MifareCommand {
    /// LIST APPLICATIONS from the entry with this index on.
    List {
        /// The first entry wanted.
        first: u8,
    },
    /// DOWNLOAD APPLICATION: one block of the image.
    Download {
        /// The block's number, from 0.
        number: u8,
        /// Whether more follow.
        position: BlockPosition,
        /// The block.
        data: Vec<u8>,
    },
    /// DELETE APPLICATION.
    Delete {
        /// Which application.
        id: MifareApplicationId,
    },
    /// ACTIVATE APPLICATION.
    Activate {
        /// Which application.
        id: MifareApplicationId,
        /// Visible to readers or not.
        activation: Activation,
    },
    /// READ BLOCK.
    Read {
        /// Which block.
        block: Block,
        /// Which key is given.
        used: KeyUsed,
        /// The key.
        key: MifareKey,
    },
    /// WRITE BLOCK.
    Write {
        /// Which block.
        block: Block,
        /// Which key is given.
        used: KeyUsed,
        /// The key.
        key: MifareKey,
        /// What to write.
        data: [u8; BLOCK_LENGTH],
    },
    /// VALUE OPERATION.
    Value {
        /// Which block is read.
        block: Block,
        /// Which key is given.
        used: KeyUsed,
        /// The key.
        key: MifareKey,
        /// What happens to the value.
        operation: ValueOperation,
        /// Which block of the same sector is written.
        destination: Block,
    },
}

/// Whether a block of a download is the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BlockPosition {
    /// P1 00: more follow.
    More,
    /// P1 80: this is the last.
    Last,
}

/// Whether readers see an application's sectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Activation {
    /// Readers do not see them.
    Inactive,
    /// Readers see them.
    Active,
}

/// What happens to a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ValueOperation {
    /// C0: the amount is taken off.
    Decrement(u32),
    /// C1: the amount is added.
    Increment(u32),
    /// C2: the value is copied.
    Restore,
}

impl MifareCommand {
    /// The command.
    pub fn to_apdu(&self) -> CommandApdu {
        let manager = |ins, p1, p2| CommandApdu::new(0x80, ins, p1, p2);
        let with_key = |key: &MifareKey, rest: &[u8]| [&key.expose()[..], rest].concat();
        match self {
            Self::List { first } => manager(0xA0, 0x00, *first).with_any_response(),
            Self::Download { number, position, data } => {
                let p1 = match position {
                    BlockPosition::More => 0x00,
                    BlockPosition::Last => 0x80,
                };
                manager(0xA2, p1, *number).with_data(data.clone())
            }
            Self::Delete { id } => manager(0xA4, 0x00, 0x00).with_data(id.0.to_be_bytes()),
            Self::Activate { id, activation } => {
                let p1 = match activation {
                    Activation::Inactive => 0x00,
                    Activation::Active => 0x01,
                };
                manager(0xA6, p1, 0x00).with_data(id.0.to_be_bytes())
            }
            Self::Read { block, used, key } => manager(0xA8, block.number(), key_byte(*used))
                .with_data(with_key(key, &[]))
                .with_ne(BLOCK_LENGTH as u32),
            Self::Write { block, used, key, data } => {
                manager(0xAA, block.number(), key_byte(*used)).with_data(with_key(key, data))
            }
            Self::Value { block, used, key, operation, destination } => {
                let (code, amount) = match operation {
                    ValueOperation::Decrement(amount) => (0xC0, *amount),
                    ValueOperation::Increment(amount) => (0xC1, *amount),
                    ValueOperation::Restore => (0xC2, 0),
                };
                let mut rest = vec![code];
                rest.extend(amount.to_be_bytes());
                rest.push(destination.number());
                manager(0xAC, block.number(), key_byte(*used)).with_data(with_key(key, &rest))
            }
        }
    }

    /// Reads a command for a memory of `capacity`. A secure channel has been taken off already.
    pub fn parse(apdu: &CommandApdu, capacity: Capacity) -> Result<Self, CommandError> {
        if !matches!(basic_class(apdu.cla)?, 0x80 | 0x84) {
            return Err(CommandError::Class(apdu.cla));
        }
        let parameters = CommandError::Parameters(apdu.p1, apdu.p2);
        match (apdu.ins, apdu.p1, apdu.p2) {
            (0xA0, 0x00, first) => Ok(Self::List { first }),
            (0xA2, p1, number) => {
                let position = match p1 {
                    0x00 => BlockPosition::More,
                    0x80 => BlockPosition::Last,
                    _ => return Err(parameters),
                };
                Ok(Self::Download { number, position, data: apdu.data.clone() })
            }
            (0xA4, 0x00, 0x00) => Ok(Self::Delete { id: application_id(apdu)? }),
            (0xA6, 0x00, 0x00) => {
                Ok(Self::Activate { id: application_id(apdu)?, activation: Activation::Inactive })
            }
            (0xA6, 0x01, 0x00) => {
                Ok(Self::Activate { id: application_id(apdu)?, activation: Activation::Active })
            }
            (0xA8 | 0xAA | 0xAC, number, key_code) => {
                let block = Block::new(capacity, number).ok_or(parameters)?;
                let used = match key_code {
                    0x60 => KeyUsed::A,
                    0x61 => KeyUsed::B,
                    _ => return Err(parameters),
                };
                Self::parse_block(apdu, capacity, block, used)
            }
            (0xA0 | 0xA4 | 0xA6, ..) => Err(parameters),
            (ins, ..) => Err(CommandError::Instruction(ins)),
        }
    }

    fn parse_block(
        apdu: &CommandApdu,
        capacity: Capacity,
        block: Block,
        used: KeyUsed,
    ) -> Result<Self, CommandError> {
        let length = CommandError::Length { found: apdu.data.len() };
        let (key, rest) = apdu.data.split_first_chunk::<{ MifareKey::LENGTH }>().ok_or(length)?;
        let key = MifareKey::new(*key);
        match (apdu.ins, rest) {
            (0xA8, []) => Ok(Self::Read { block, used, key }),
            (0xAA, data) => Ok(Self::Write { block, used, key, data: data.try_into().map_err(|_| length)? }),
            (0xAC, [code, a, b, c, d, destination]) => {
                let amount = u32::from_be_bytes([*a, *b, *c, *d]);
                let operation = match code {
                    0xC0 => ValueOperation::Decrement(amount),
                    0xC1 => ValueOperation::Increment(amount),
                    0xC2 if amount == 0 => ValueOperation::Restore,
                    _ => return Err(CommandError::Data),
                };
                let destination = Block::new(capacity, *destination).ok_or(CommandError::Data)?;
                Ok(Self::Value { block, used, key, operation, destination })
            }
            _ => Err(length),
        }
    }

    /// An image cut into the commands that download it, each of at most `block_length` data bytes (at
    /// most 256 blocks; a 4 KiB card's largest image needs 17 of 250).
    pub fn download(image: &[u8], block_length: usize) -> Vec<Self> {
        let blocks: Vec<&[u8]> = image.chunks(block_length.clamp(16, 255)).collect();
        let last = blocks.len().saturating_sub(1);
        let position = |index| if index == last { BlockPosition::Last } else { BlockPosition::More };
        blocks
            .iter()
            .enumerate()
            .map(|(index, data)| Self::Download {
                number: index as u8,
                position: position(index),
                data: data.to_vec(),
            })
            .collect()
    }
}

const fn key_byte(used: KeyUsed) -> u8 {
    match used {
        KeyUsed::A => 0x60,
        KeyUsed::B => 0x61,
    }
}

fn application_id(apdu: &CommandApdu) -> Result<MifareApplicationId, CommandError> {
    let id = apdu.data.as_slice().try_into().map_err(|_| CommandError::Length { found: apdu.data.len() })?;
    Ok(MifareApplicationId(u16::from_be_bytes(id)))
}

/// One entry of LIST APPLICATIONS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListEntry {
    /// 4F: the application.
    pub id: MifareApplicationId,
    /// 50: its label.
    pub label: Vec<u8>,
    /// C5: 01 active, 00 not.
    pub activation: Activation,
    /// C6: the sectors it has taken, one byte each.
    pub sectors: Vec<u8>,
}

impl ListEntry {
    /// As the card answers it.
    pub fn encode(&self) -> Vec<u8> {
        let mut content = tlv::encode(0x4F, &self.id.0.to_be_bytes());
        tlv::write(&mut content, 0x50, &self.label);
        let state = match self.activation {
            Activation::Inactive => 0x00,
            Activation::Active => 0x01,
        };
        tlv::write(&mut content, 0xC5, &[state]);
        tlv::write(&mut content, 0xC6, &self.sectors);
        tlv::encode(0x61, &content)
    }

    /// Reads all entries of an answer.
    pub fn decode_all(bytes: &[u8]) -> Result<Vec<Self>, ListError> {
        tlv::Reader::new(bytes)
            .map(|object| {
                let object = object?;
                if object.tag.0 != 0x61 {
                    return Err(LayoutError::Value { what: "an entry's tag", value: object.tag.0 }.into());
                }
                Self::decode(object.value)
            })
            .collect()
    }

    fn decode(content: &[u8]) -> Result<Self, ListError> {
        let mut id = Fields::exact("a Mifare application's identifier", tlv::find_one(content, 0x4F)?, 2)?;
        let activation = match tlv::find_one(content, 0xC5)? {
            [0x00] => Activation::Inactive,
            [0x01] => Activation::Active,
            other => {
                let value = other.first().copied().unwrap_or_default().into();
                return Err(LayoutError::Value { what: "an application's state", value }.into());
            }
        };
        Ok(Self {
            id: MifareApplicationId(id.u16()?),
            label: tlv::find_one(content, 0x50)?.to_vec(),
            activation,
            sectors: tlv::find_one(content, 0xC6)?.to_vec(),
        })
    }
}

/// Why an answer to LIST APPLICATIONS is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// Not BER-TLV, or an object is missing.
    #[error("the list of Mifare applications is not made of data objects")]
    Template(#[from] tlv::TlvError),
    /// A value is impossible.
    #[error("the list of Mifare applications holds an impossible value")]
    Layout(#[from] LayoutError),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commands() -> Vec<MifareCommand> {
        let block = |number| Block::new(Capacity::OneK, number).unwrap();
        let (id, used, key) = (MifareApplicationId(0x4801), KeyUsed::B, MifareKey::new([1, 2, 3, 4, 5, 6]));
        vec![
            MifareCommand::List { first: 3 },
            MifareCommand::Download { number: 2, position: BlockPosition::Last, data: vec![7; 20] },
            MifareCommand::Delete { id },
            MifareCommand::Activate { id, activation: Activation::Active },
            MifareCommand::Activate { id, activation: Activation::Inactive },
            MifareCommand::Read { block: block(4), used: KeyUsed::A, key: key.clone() },
            MifareCommand::Write { block: block(5), used, key: key.clone(), data: [9; 16] },
            MifareCommand::Value {
                block: block(5),
                used,
                key: key.clone(),
                operation: ValueOperation::Decrement(100),
                destination: block(6),
            },
            MifareCommand::Value {
                block: block(5),
                used,
                key,
                operation: ValueOperation::Restore,
                destination: block(6),
            },
        ]
    }

    #[test]
    fn commands_read_back() {
        for command in commands() {
            let apdu = CommandApdu::parse(&command.to_apdu().to_bytes().unwrap()).unwrap();
            assert_eq!(MifareCommand::parse(&apdu, Capacity::OneK), Ok(command));
        }
        let read = commands()[5].to_apdu().to_bytes().unwrap();
        assert_eq!(hex::encode_upper(read), "80A804600601020304050610");
    }

    #[test]
    fn wrong_commands_are_refused() {
        let refused = |text: &str| {
            let apdu = CommandApdu::parse(&hex::decode(text).unwrap()).unwrap();
            MifareCommand::parse(&apdu, Capacity::OneK).unwrap_err()
        };
        assert_eq!(refused("80A840600601020304050610"), CommandError::Parameters(0x40, 0x60));
        assert_eq!(refused("80A804620601020304050610"), CommandError::Parameters(0x04, 0x62));
        assert_eq!(refused("80A80460050102030405"), CommandError::Length { found: 5 });
        assert_eq!(refused("80AC04600C010203040506C30000000105"), CommandError::Data);
        assert_eq!(refused("00A0000000"), CommandError::Class(0x00));
        assert_eq!(refused("80FF000000"), CommandError::Instruction(0xFF));
    }

    #[test]
    fn a_download_ends_with_its_last_block() {
        let blocks = MifareCommand::download(&[5; 600], 250);
        let last = |command: &MifareCommand| {
            matches!(command, MifareCommand::Download { position: BlockPosition::Last, .. })
        };
        assert_eq!(blocks.iter().map(last).collect::<Vec<_>>(), [false, false, true]);
    }

    #[test]
    fn lists_read_back() {
        let entry = |id, activation| ListEntry {
            id: MifareApplicationId(id),
            label: b"canteen".to_vec(),
            activation,
            sectors: vec![1, 2, 9],
        };
        let entries = vec![entry(0x4801, Activation::Active), entry(0x4802, Activation::Inactive)];
        let bytes: Vec<u8> = entries.iter().flat_map(ListEntry::encode).collect();
        assert_eq!(ListEntry::decode_all(&bytes), Ok(entries));
        assert!(ListEntry::decode_all(&bytes[1..]).is_err());
    }

    #[test]
    fn parsers_never_panic() {
        bolero::check!().for_each(|bytes| {
            if let Ok(apdu) = CommandApdu::parse(bytes) {
                let _ = MifareCommand::parse(&apdu, Capacity::FourK);
            }
            let _ = ListEntry::decode_all(bytes);
        });
    }
}
