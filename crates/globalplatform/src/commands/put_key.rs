//! PUT KEY (GPC 2.3.1, 11.8).

use tsm_iso7816::{CommandApdu, tlv};

use super::{CLA, CommandError, expect_instruction, fields::Fields, parameters_error};
use crate::key::{KeyComponent, KeyType};

/// PUT KEY: adds or replaces keys of the selected security domain. All keys of one command have
/// consecutive identifiers and the same new version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutKey {
    /// The version to replace (P1): 00 adds keys.
    pub replaced_version: u8,
    /// The new version.
    pub new_version: u8,
    /// The identifier of the first key (P2 without its bit 8).
    pub first_identifier: u8,
    /// Whether further PUT KEY commands follow (P1 bit 8).
    pub position: super::load::BlockPosition,
    /// The keys.
    pub keys: Vec<KeyField>,
}

/// One key as PUT KEY carries it: components and check value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyField {
    /// The components: one for a symmetric key, several for the others.
    pub components: Vec<KeyComponent>,
    /// The check value; empty where there is none.
    pub check_value: Vec<u8>,
}

impl PutKey {
    /// The instruction byte.
    pub const INS: u8 = 0xD8;

    /// The command.
    pub fn to_apdu(&self) -> CommandApdu {
        use super::load::BlockPosition;
        let more = match self.position {
            BlockPosition::More => 0x80,
            BlockPosition::Last => 0x00,
        };
        let several = if self.keys.len() > 1 { 0x80 } else { 0x00 };
        let mut data = vec![self.new_version];
        self.keys.iter().for_each(|key| key.write(&mut data));
        CommandApdu::new(CLA, Self::INS, self.replaced_version | more, self.first_identifier | several)
            .with_data(data)
            .with_any_response()
    }

    /// The response data when the card has done it: the version, then the check values.
    // GPC 2.3.1 11.8.3.1: the host compares it with what it sent.
    pub fn response_data(&self) -> Vec<u8> {
        let mut out = vec![self.new_version];
        self.keys.iter().for_each(|key| out.extend(&key.check_value));
        out
    }
}

impl KeyField {
    /// A symmetric key: its type, its value encrypted under the DEK and its check value.
    ///
    /// AES and SM4 components begin with the length of the clear key (GPC 2.3.1 11.8.2.3.1 with
    /// amendment D 7.2), which is not so for DES.
    pub fn symmetric(key_type: KeyType, clear_length: usize, encrypted: &[u8], check_value: &[u8]) -> Self {
        let value = match key_type {
            KeyType::AES | KeyType::SM4 => {
                let mut value = Vec::with_capacity(1 + encrypted.len());
                value.push(clear_length as u8);
                value.extend(encrypted);
                value
            }
            _ => encrypted.to_vec(),
        };
        Self { components: vec![KeyComponent { key_type, value }], check_value: check_value.to_vec() }
    }

    /// The type and the encrypted value of a symmetric key, with the clear length where it stands.
    ///
    /// `None` for keys of several components, and for lengths that contradict each other. Some
    /// hosts leave the clear length out for AES; a value of whole blocks is read so.
    pub fn as_symmetric(&self) -> Option<SymmetricKeyValue<'_>> {
        let [component] = self.components.as_slice() else {
            return None;
        };
        let key_type = component.key_type;
        match (key_type, component.value.as_slice()) {
            (KeyType::AES | KeyType::SM4, [length, encrypted @ ..]) if encrypted.len() % 16 == 0 => {
                let clear_length = usize::from(*length);
                (clear_length <= encrypted.len()).then_some(SymmetricKeyValue {
                    key_type,
                    clear_length,
                    encrypted,
                })
            }
            (KeyType::AES | KeyType::SM4, encrypted)
                if encrypted.len() % 16 == 0 && !encrypted.is_empty() =>
            {
                Some(SymmetricKeyValue { key_type, clear_length: encrypted.len(), encrypted })
            }
            (KeyType::DES | KeyType::TRIPLE_DES_CBC, encrypted) => {
                Some(SymmetricKeyValue { key_type, clear_length: encrypted.len(), encrypted })
            }
            _ => None,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        for component in &self.components {
            out.push(component.key_type.0);
            tlv::write_length(out, component.value.len());
            out.extend(&component.value);
        }
        out.push(self.check_value.len() as u8);
        out.extend(&self.check_value);
    }

    // GPC 2.3.1 table 11-71: components, each with its type; then the check value. Types have
    // bit 8 set and check values are short, so that the next byte tells which of the two follows.
    fn read(fields: &mut Fields<'_>) -> Result<Self, CommandError> {
        let mut components = Vec::new();
        while fields.peek().is_some_and(|byte| byte & 0x80 != 0) {
            let key_type = KeyType(fields.byte("key type")?);
            if key_type == KeyType::EXTENDED {
                return Err(CommandError::Value { field: "key type" });
            }
            components.push(KeyComponent { key_type, value: fields.value("key component")?.to_vec() });
        }
        if components.is_empty() {
            return Err(CommandError::Truncated { field: "key component" });
        }
        let length = usize::from(fields.byte("key check value length")?);
        Ok(Self { components, check_value: fields.bytes("key check value", length)?.to_vec() })
    }
}

/// A symmetric key inside PUT KEY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SymmetricKeyValue<'a> {
    /// The type.
    pub key_type: KeyType,
    /// The length of the clear key.
    pub clear_length: usize,
    /// The key encrypted under the DEK, with what fills the last block.
    pub encrypted: &'a [u8],
}

impl TryFrom<&CommandApdu> for PutKey {
    type Error = CommandError;

    fn try_from(command: &CommandApdu) -> Result<Self, CommandError> {
        use super::load::BlockPosition;
        expect_instruction(command, Self::INS)?;
        let position = if command.p1 & 0x80 == 0 { BlockPosition::Last } else { BlockPosition::More };
        let mut fields = Fields::new(&command.data);
        let new_version = fields.byte("new key version number")?;
        if !(0x01..=0x7F).contains(&new_version) {
            return Err(CommandError::Value { field: "new key version number" });
        }
        let mut keys = Vec::new();
        while !fields.is_empty() {
            keys.push(KeyField::read(&mut fields)?);
        }
        let several = command.p2 & 0x80 != 0;
        let first_identifier = command.p2 & 0x7F;
        let last = usize::from(first_identifier) + keys.len();
        if keys.is_empty() {
            return Err(CommandError::Truncated { field: "key data" });
        }
        // One key with bit 8 set is what some hosts send; several without it is a contradiction.
        if keys.len() > 1 && !several || last > 0x80 {
            return Err(parameters_error(command));
        }
        let replaced_version = command.p1 & 0x7F;
        Ok(Self { replaced_version, new_version, first_identifier, position, keys })
    }
}
