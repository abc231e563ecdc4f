//! DELETE (GPC 2.3.1, 11.2).

use tsm_iso7816::{Aid, CommandApdu, tlv};

use super::{CLA, CommandError, expect_instruction, fields::to_aid, parameters_error};

/// DELETE: removes an application, a load file, or keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delete {
    /// Card content.
    Content(DeleteContent),
    /// Keys of the selected security domain.
    Keys(DeleteKeys),
}

/// An application or a load file to delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteContent {
    /// The AID of the application or load file.
    pub aid: Aid,
    /// Whether what depends on it goes too.
    pub extent: DeleteExtent,
    /// The value of B6, with the data by which a token names itself, in delegated management.
    pub token_data: Option<Vec<u8>>,
    /// The delete token (9E), in delegated management.
    pub token: Option<Vec<u8>>,
}

/// Whether related objects are deleted (P2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeleteExtent {
    /// 00: the object only.
    Object,
    /// 80: a load file and all its applications, or a domain and all that belongs to it.
    ObjectAndRelated,
}

/// Keys to delete: at least one of the fields is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeleteKeys {
    /// The key identifier (D0); none for all of the version.
    pub identifier: Option<u8>,
    /// The key version (D2); none for all of the identifier.
    pub version: Option<u8>,
}

impl DeleteContent {
    /// Deletes `aid` without a token.
    pub const fn new(aid: Aid, extent: DeleteExtent) -> Self {
        Self { aid, extent, token_data: None, token: None }
    }

    /// The data field without the token: what a token signs.
    pub fn signed_data(&self) -> Vec<u8> {
        let mut data = tlv::encode(0x4F, self.aid.as_bytes());
        if let Some(token_data) = &self.token_data {
            tlv::write(&mut data, 0xB6, token_data);
        }
        data
    }
}

impl Delete {
    /// The instruction byte.
    pub const INS: u8 = 0xE4;

    /// Deletes `aid` without a token.
    pub const fn content(aid: Aid, extent: DeleteExtent) -> Self {
        Self::Content(DeleteContent::new(aid, extent))
    }

    /// The command.
    pub fn to_apdu(&self) -> CommandApdu {
        let (p2, data) = match self {
            Self::Content(content) => {
                let mut data = content.signed_data();
                if let Some(token) = &content.token {
                    tlv::write(&mut data, 0x9E, token);
                }
                (content.extent.value(), data)
            }
            Self::Keys(keys) => (0x00, keys.data()),
        };
        CommandApdu::new(CLA, Self::INS, 0x00, p2).with_data(data).with_any_response()
    }
}

impl DeleteExtent {
    /// P2.
    pub const fn value(self) -> u8 {
        match self {
            Self::Object => 0x00,
            Self::ObjectAndRelated => 0x80,
        }
    }
}

impl DeleteKeys {
    fn data(&self) -> Vec<u8> {
        let mut data = Vec::with_capacity(6);
        if let Some(identifier) = self.identifier {
            tlv::write(&mut data, 0xD0, &[identifier]);
        }
        if let Some(version) = self.version {
            tlv::write(&mut data, 0xD2, &[version]);
        }
        data
    }

    fn parse(data: &[u8]) -> Result<Self, CommandError> {
        let byte = |tag, field| match tlv::find(data, tag)? {
            None => Ok(None),
            Some([value]) => Ok(Some(*value)),
            Some(_) => Err(CommandError::Value { field }),
        };
        Ok(Self { identifier: byte(0xD0, "key identifier")?, version: byte(0xD2, "key version number")? })
    }
}

impl TryFrom<&CommandApdu> for Delete {
    type Error = CommandError;

    fn try_from(command: &CommandApdu) -> Result<Self, CommandError> {
        expect_instruction(command, Self::INS)?;
        let extent = match (command.p1, command.p2) {
            (0x00, 0x00) => DeleteExtent::Object,
            (0x00, 0x80) => DeleteExtent::ObjectAndRelated,
            _ => return Err(parameters_error(command)),
        };
        let objects = tlv::parse_all(&command.data)?;
        match objects.first().map(|object| object.tag.0) {
            Some(0x4F) => {}
            Some(0xD0 | 0xD2) => return DeleteKeys::parse(&command.data).map(Self::Keys),
            _ => return Err(CommandError::Truncated { field: "AID" }),
        }
        let aid = to_aid("AID", tlv::find_one(&command.data, 0x4F)?)?;
        let token_data = tlv::find(&command.data, 0xB6)?.map(<[u8]>::to_vec);
        let token = tlv::find(&command.data, 0x9E)?.filter(|token| !token.is_empty()).map(<[u8]>::to_vec);
        Ok(Self::Content(DeleteContent { aid, extent, token_data, token }))
    }
}
