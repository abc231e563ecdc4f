//! The parameter fields of INSTALL (GPC 2.3.1, 11.5.2.3.7).

use tsm_iso7816::{LogicalChannel, tlv};

use crate::commands::CommandError;

/// The data objects of a load or install parameters field. Others are ignored when reading.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InstallParameters {
    /// C9: the application's own parameters.
    pub application: Option<Vec<u8>>,
    /// EF C6: the least code space, in bytes.
    pub non_volatile_code: Option<u32>,
    /// EF C7: the quota (or least need) of volatile data, in bytes.
    pub volatile_data: Option<u32>,
    /// EF C8: the quota (or least need) of non-volatile data, in bytes.
    pub non_volatile_data: Option<u32>,
    /// EF CB: parameters of a global service, or those of the security domain's protocols.
    pub global_service: Option<Vec<u8>>,
    /// EF D7: volatile memory reserved, in bytes.
    pub volatile_reserved: Option<u32>,
    /// EF D8: non-volatile memory reserved, in bytes.
    pub non_volatile_reserved: Option<u32>,
    /// EF CF: implicit selection parameters, one for each interface or channel.
    pub implicit_selection: Vec<ImplicitSelection>,
    /// B6: the data by which a delegated-management token names itself.
    pub token: Option<TokenReference>,
}

/// When an application is selected without SELECT (CF).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ImplicitSelection {
    /// Bit 8: on the contactless interface.
    pub contactless: bool,
    /// Bit 7: on the contact interface.
    pub contact: bool,
    /// Bits 5 to 1: the logical channel.
    pub channel: LogicalChannel,
}

// GPC 2.3.1 table 11-47 and 11-54: control reference template for digital signature (token).
/// The data by which a token names itself (B6).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TokenReference {
    /// 42: identification number of the security domain with token verification.
    pub security_domain_identification: Option<Vec<u8>>,
    /// 45: image number of that domain.
    pub security_domain_image: Option<Vec<u8>>,
    /// 5F20: application provider identifier.
    pub application_provider: Option<Vec<u8>>,
    /// 93: token identifier.
    pub token_identifier: Option<Vec<u8>>,
}

impl ImplicitSelection {
    /// The byte.
    pub const fn value(self) -> u8 {
        (if self.contactless { 0x80 } else { 0 })
            | (if self.contact { 0x40 } else { 0 })
            | self.channel.number()
    }

    /// Reads the byte.
    pub fn parse(value: u8) -> Result<Self, CommandError> {
        let channel = LogicalChannel::new(value & 0x1F)
            .map_err(|_| CommandError::Value { field: "implicit selection parameter" })?;
        Ok(Self { contactless: value & 0x80 != 0, contact: value & 0x40 != 0, channel })
    }
}

impl TokenReference {
    /// The value of B6.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let fields = [
            (0x42, &self.security_domain_identification),
            (0x45, &self.security_domain_image),
            (0x5F20, &self.application_provider),
            (0x93, &self.token_identifier),
        ];
        for (tag, value) in fields {
            if let Some(value) = value {
                tlv::write(&mut out, tag, value);
            }
        }
        out
    }

    /// Reads the value of B6.
    pub fn parse(value: &[u8]) -> Result<Self, CommandError> {
        let field = |tag| tlv::find(value, tag).map(|found| found.map(<[u8]>::to_vec));
        Ok(Self {
            security_domain_identification: field(0x42)?,
            security_domain_image: field(0x45)?,
            application_provider: field(0x5F20)?,
            token_identifier: field(0x93)?,
        })
    }
}

impl InstallParameters {
    /// Parameters with C9 only, which INSTALL [for install] always has, empty if need be.
    pub fn application(parameters: impl Into<Vec<u8>>) -> Self {
        Self { application: Some(parameters.into()), ..Self::default() }
    }

    /// The field's value: C9 first, then EF, then B6.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if let Some(application) = &self.application {
            tlv::write(&mut out, 0xC9, application);
        }
        let system = self.system_parameters();
        if !system.is_empty() {
            tlv::write(&mut out, 0xEF, &system);
        }
        if let Some(token) = &self.token {
            tlv::write(&mut out, 0xB6, &token.to_bytes());
        }
        out
    }

    fn system_parameters(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let sizes =
            [(0xC6, self.non_volatile_code), (0xC7, self.volatile_data), (0xC8, self.non_volatile_data)];
        sizes.into_iter().for_each(|(tag, size)| write_size(&mut out, tag, size));
        if let Some(global_service) = &self.global_service {
            tlv::write(&mut out, 0xCB, global_service);
        }
        write_size(&mut out, 0xD7, self.volatile_reserved);
        write_size(&mut out, 0xD8, self.non_volatile_reserved);
        self.implicit_selection.iter().for_each(|selection| tlv::write(&mut out, 0xCF, &[selection.value()]));
        out
    }

    /// Reads the field's value.
    pub fn parse(value: &[u8]) -> Result<Self, CommandError> {
        let mut parameters = Self::default();
        for object in tlv::Reader::new(value) {
            let object = object?;
            match object.tag.0 {
                0xC9 => parameters.application = Some(object.value.to_vec()),
                0xEF => parameters.read_system_parameters(object.value)?,
                0xB6 => parameters.token = Some(TokenReference::parse(object.value)?),
                _ => {}
            }
        }
        Ok(parameters)
    }

    fn read_system_parameters(&mut self, value: &[u8]) -> Result<(), CommandError> {
        for object in tlv::Reader::new(value) {
            let object = object?;
            match object.tag.0 {
                0xC6 => self.non_volatile_code = Some(read_size(object.value)?),
                0xC7 => self.volatile_data = Some(read_size(object.value)?),
                0xC8 => self.non_volatile_data = Some(read_size(object.value)?),
                0xCB => self.global_service = Some(object.value.to_vec()),
                0xD7 => self.volatile_reserved = Some(read_size(object.value)?),
                0xD8 => self.non_volatile_reserved = Some(read_size(object.value)?),
                0xCF => {
                    let [selection] = object.value else {
                        return Err(CommandError::Value { field: "implicit selection parameter" });
                    };
                    self.implicit_selection.push(ImplicitSelection::parse(*selection)?);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Sizes are written in two bytes, or in four beyond 32,767 (GPC 2.3.1 table 11-49).
fn write_size(out: &mut Vec<u8>, tag: u32, size: Option<u32>) {
    match size {
        None => {}
        Some(size @ 0..=0x7FFF) => tlv::write(out, tag, &(size as u16).to_be_bytes()),
        Some(size) => tlv::write(out, tag, &size.to_be_bytes()),
    }
}

fn read_size(value: &[u8]) -> Result<u32, CommandError> {
    if !(1..=4).contains(&value.len()) {
        return Err(CommandError::Value { field: "memory size" });
    }
    Ok(value.iter().fold(0, |size, byte| size << 8 | u32::from(*byte)))
}
