//! GET STATUS (GPC 2.3.1, 11.4).

use tsm_iso7816::{CommandApdu, tlv};

use super::{CLA, CommandError, expect_instruction, parameters_error};

/// GET STATUS: reads registry entries, as many as a response holds.
///
/// The answer 6310 means that more entries follow; the same command with [`Page::Next`] reads them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GetStatus {
    /// Which part of the registry.
    pub scope: RegistryScope,
    /// The form of the answer.
    pub form: StatusForm,
    /// First or next entries.
    pub page: Page,
    /// The AID searched, or its beginning; empty finds all.
    pub aid_prefix: Vec<u8>,
    /// The tags wanted in the TLV form (5C); empty asks for the default.
    pub tag_list: Vec<u8>,
}

/// A part of the registry (P1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RegistryScope {
    /// 80: the issuer security domain.
    IssuerSecurityDomain,
    /// 40: applications, supplementary security domains included.
    Applications,
    /// 20: executable load files.
    LoadFiles,
    /// 10: executable load files and their modules.
    LoadFilesAndModules,
}

/// How entries are written (P2 bit 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum StatusForm {
    /// P2 00: length-value fields; deprecated by the standard, still asked for.
    LengthValue,
    /// P2 02: data objects E3.
    #[default]
    Tlv,
}

/// First or next entries (P2 bit 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Page {
    /// The first, or all.
    #[default]
    First,
    /// Those behind the ones answered before.
    Next,
}

impl RegistryScope {
    /// Every scope, in the order in which a host reads the whole registry.
    pub const ALL: [Self; 4] =
        [Self::IssuerSecurityDomain, Self::Applications, Self::LoadFiles, Self::LoadFilesAndModules];

    /// P1.
    pub const fn value(self) -> u8 {
        match self {
            Self::IssuerSecurityDomain => 0x80,
            Self::Applications => 0x40,
            Self::LoadFiles => 0x20,
            Self::LoadFilesAndModules => 0x10,
        }
    }
}

impl GetStatus {
    /// The instruction byte.
    pub const INS: u8 = 0xF2;

    /// All entries of `scope` in the TLV form.
    pub const fn all(scope: RegistryScope) -> Self {
        Self { scope, form: StatusForm::Tlv, page: Page::First, aid_prefix: Vec::new(), tag_list: Vec::new() }
    }

    /// The same question, for the entries behind those answered.
    #[must_use]
    pub fn next(&self) -> Self {
        Self { page: Page::Next, ..self.clone() }
    }

    /// The command.
    pub fn to_apdu(&self) -> CommandApdu {
        let form = match self.form {
            StatusForm::LengthValue => 0x00,
            StatusForm::Tlv => 0x02,
        };
        let page = match self.page {
            Page::First => 0x00,
            Page::Next => 0x01,
        };
        let mut data = tlv::encode(0x4F, &self.aid_prefix);
        if !self.tag_list.is_empty() {
            tlv::write(&mut data, 0x5C, &self.tag_list);
        }
        CommandApdu::new(CLA, Self::INS, self.scope.value(), form | page).with_data(data).with_any_response()
    }
}

impl TryFrom<&CommandApdu> for GetStatus {
    type Error = CommandError;

    fn try_from(command: &CommandApdu) -> Result<Self, CommandError> {
        expect_instruction(command, Self::INS)?;
        let scope = RegistryScope::ALL
            .into_iter()
            .find(|scope| scope.value() == command.p1)
            .ok_or_else(|| parameters_error(command))?;
        let (form, page) = match command.p2 {
            0x00 => (StatusForm::LengthValue, Page::First),
            0x01 => (StatusForm::LengthValue, Page::Next),
            0x02 => (StatusForm::Tlv, Page::First),
            0x03 => (StatusForm::Tlv, Page::Next),
            _ => return Err(parameters_error(command)),
        };
        // Some hosts send no search criterion at all, which finds everything.
        let aid_prefix = tlv::find(&command.data, 0x4F)?.unwrap_or_default().to_vec();
        if aid_prefix.len() > 16 {
            return Err(CommandError::Value { field: "AID" });
        }
        let tag_list = tlv::find(&command.data, 0x5C)?.unwrap_or_default().to_vec();
        Ok(Self { scope, form, page, aid_prefix, tag_list })
    }
}
