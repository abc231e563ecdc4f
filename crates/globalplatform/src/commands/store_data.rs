//! STORE DATA (GPC 2.3.1, 11.11).

use tsm_iso7816::CommandApdu;

use super::{CLA, CommandError, expect_instruction, fields::Fields, parameters_error};

/// STORE DATA: one block of data for the security domain, or for the application that INSTALL
/// [for personalization] named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreData {
    /// Whether more blocks follow.
    pub position: super::load::BlockPosition,
    /// Whether the data is encrypted under the data encryption key.
    pub encryption: DataEncryption,
    /// How the data is written.
    pub structure: DataStructure,
    /// Whether the application answers with data.
    pub answer: DataAnswer,
    /// The block's number, from 00.
    pub number: u8,
    /// The block.
    pub data: Vec<u8>,
}

/// Whether the data is encrypted (P1 bits 7 and 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum DataEncryption {
    /// 00: no general information.
    #[default]
    NoInformation,
    /// 20: what is encrypted depends on the application.
    ApplicationDependent,
    /// 60: encrypted under the data encryption key.
    Encrypted,
}

/// How the data is written (P1 bits 5 and 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum DataStructure {
    /// 00: no general information.
    #[default]
    NoInformation,
    /// 08: data groups with two-byte identifiers.
    Dgi,
    /// 10: BER-TLV.
    BerTlv,
}

/// Whether data is expected in the answer (P1 bit 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum DataAnswer {
    /// 00: a status word only.
    #[default]
    None,
    /// 01: response data may come (ISO case 4).
    Expected,
}

/// One data group: identifier and value (EMV Card Personalization Specification 1.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataGroup {
    /// The data grouping identifier.
    pub identifier: u16,
    /// The value.
    pub value: Vec<u8>,
}

impl StoreData {
    /// The instruction byte.
    pub const INS: u8 = 0xE2;

    /// The command.
    pub fn to_apdu(&self) -> CommandApdu {
        use super::load::BlockPosition;
        let position = match self.position {
            BlockPosition::More => 0x00,
            BlockPosition::Last => 0x80,
        };
        let encryption = match self.encryption {
            DataEncryption::NoInformation => 0x00,
            DataEncryption::ApplicationDependent => 0x20,
            DataEncryption::Encrypted => 0x60,
        };
        let structure = match self.structure {
            DataStructure::NoInformation => 0x00,
            DataStructure::Dgi => 0x08,
            DataStructure::BerTlv => 0x10,
        };
        let answer = match self.answer {
            DataAnswer::None => 0x00,
            DataAnswer::Expected => 0x01,
        };
        CommandApdu::new(CLA, Self::INS, position | encryption | structure | answer, self.number)
            .with_data(self.data.clone())
            .with_any_response()
    }

    /// One command per piece of data, numbered, the last one marked.
    ///
    /// `None` for no pieces, or more than 256.
    pub fn sequence(
        pieces: impl IntoIterator<Item = Vec<u8>>,
        encryption: DataEncryption,
        structure: DataStructure,
    ) -> Option<Vec<Self>> {
        use super::load::BlockPosition;
        let mut commands = pieces
            .into_iter()
            .enumerate()
            .map(|(number, data)| {
                let number = u8::try_from(number).ok()?;
                let (position, answer) = (BlockPosition::More, DataAnswer::None);
                Some(Self { position, encryption, structure, answer, number, data })
            })
            .collect::<Option<Vec<_>>>()?;
        commands.last_mut()?.position = BlockPosition::Last;
        Some(commands)
    }
}

impl TryFrom<&CommandApdu> for StoreData {
    type Error = CommandError;

    fn try_from(command: &CommandApdu) -> Result<Self, CommandError> {
        use super::load::BlockPosition;
        expect_instruction(command, Self::INS)?;
        let position = if command.p1 & 0x80 == 0 { BlockPosition::More } else { BlockPosition::Last };
        let encryption = match command.p1 & 0x60 {
            0x00 => DataEncryption::NoInformation,
            0x20 => DataEncryption::ApplicationDependent,
            0x60 => DataEncryption::Encrypted,
            _ => return Err(parameters_error(command)),
        };
        let structure = match command.p1 & 0x18 {
            0x00 => DataStructure::NoInformation,
            0x08 => DataStructure::Dgi,
            0x10 => DataStructure::BerTlv,
            _ => return Err(parameters_error(command)),
        };
        let answer = if command.p1 & 0x01 == 0 { DataAnswer::None } else { DataAnswer::Expected };
        if command.p1 & 0x06 != 0 {
            return Err(parameters_error(command));
        }
        let (number, data) = (command.p2, command.data.clone());
        Ok(Self { position, encryption, structure, answer, number, data })
    }
}

impl DataGroup {
    /// Appends the group: identifier, length (FF and two bytes beyond 254), value.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.identifier.to_be_bytes());
        match self.value.len() {
            length @ 0..=0xFE => out.push(length as u8),
            length => {
                out.push(0xFF);
                out.extend((length as u16).to_be_bytes());
            }
        }
        out.extend(&self.value);
    }

    /// The group as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.value.len() + 5);
        self.write(&mut out);
        out
    }

    /// Reads all groups of `data`.
    pub fn parse_all(data: &[u8]) -> Result<Vec<Self>, CommandError> {
        const FIELD: &str = "data grouping";
        let mut fields = Fields::new(data);
        let mut groups = Vec::new();
        while !fields.is_empty() {
            let identifier = u16::from_be_bytes([fields.byte(FIELD)?, fields.byte(FIELD)?]);
            let length = match fields.byte(FIELD)? {
                0xFF => usize::from(u16::from_be_bytes([fields.byte(FIELD)?, fields.byte(FIELD)?])),
                length => usize::from(length),
            };
            groups.push(Self { identifier, value: fields.bytes(FIELD, length)?.to_vec() });
        }
        Ok(groups)
    }
}
