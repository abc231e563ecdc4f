//! INSTALL [for install], with or without [make selectable] (GPC 2.3.1, 11.5.2.3.2).

use tsm_iso7816::{Aid, CommandApdu};

use super::{InstallParameters, P1_COMBINED, install};
use crate::commands::{
    CommandError,
    fields::{Fields, to_aid, write_aid, write_value},
};
use crate::privileges::Privileges;

/// INSTALL [for install]: creates an application from a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstallForInstall {
    /// Whether the application becomes selectable at once.
    pub selectability: Selectability,
    /// The load file's AID; none lets the card find the module itself.
    pub load_file: Option<Aid>,
    /// The module's AID; none lets the card take the only one.
    pub module: Option<Aid>,
    /// The application's AID; none in the command means the module's.
    pub application: Aid,
    /// The application's privileges.
    pub privileges: Privileges,
    /// The install parameters as data objects (see [`InstallParameters`]).
    pub parameters: Vec<u8>,
    /// The install token; empty without delegated management.
    pub token: Vec<u8>,
    /// How the privileges are written, which the signature of a token depends on.
    pub privileges_form: PrivilegesForm,
}

/// How privileges are written in a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum PrivilegesForm {
    /// An empty field, which means no privilege.
    Empty,
    /// One byte.
    One,
    /// Three bytes.
    #[default]
    Three,
}

/// When a new application becomes selectable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Selectability {
    /// P1 04: by a later INSTALL [for make selectable].
    Later,
    /// P1 0C: at once.
    Now,
    /// P1 0E, P2 03: at once, which ends a combined process.
    NowEndingCombined,
}

impl PrivilegesForm {
    /// Appends `privileges` as a length-value field in this form.
    pub(super) fn write(self, privileges: Privileges, out: &mut Vec<u8>) {
        let bytes = privileges.to_bytes();
        match self {
            Self::Empty => write_value(out, &[]),
            Self::One => write_value(out, &bytes[..1]),
            Self::Three => write_value(out, &bytes),
        }
    }

    pub(super) fn read(fields: &mut Fields<'_>) -> Result<(Self, Privileges), CommandError> {
        match fields.value_or_empty("privileges")? {
            [] => Ok((Self::Empty, Privileges::NONE)),
            bytes => {
                let form = if bytes.len() == 1 { Self::One } else { Self::Three };
                Ok((form, Privileges::parse(bytes)?))
            }
        }
    }

    /// One byte where that says everything, three otherwise.
    pub(super) const fn shortest(privileges: Privileges) -> Self {
        match privileges.to_bytes() {
            [_, 0, 0] => Self::One,
            _ => Self::Three,
        }
    }
}

impl InstallForInstall {
    /// Creates `application` from `module` of `load_file` and makes it selectable at once.
    pub fn new(load_file: Aid, module: Aid, application: Aid, privileges: Privileges) -> Self {
        Self {
            selectability: Selectability::Now,
            load_file: Some(load_file),
            module: Some(module),
            application,
            privileges,
            parameters: InstallParameters::application([]).to_bytes(),
            token: Vec::new(),
            privileges_form: PrivilegesForm::shortest(privileges),
        }
    }

    /// P1 and P2.
    pub const fn p1_p2(&self) -> (u8, u8) {
        match self.selectability {
            Selectability::Later => (0x04, 0x00),
            Selectability::Now => (0x0C, 0x00),
            Selectability::NowEndingCombined => (P1_COMBINED, 0x03),
        }
    }

    /// The command.
    pub fn to_apdu(&self) -> CommandApdu {
        let (p1, p2) = self.p1_p2();
        install(p1, p2, self.signed_data(), &self.token)
    }

    /// The data field without the token: what a token signs.
    pub fn signed_data(&self) -> Vec<u8> {
        let mut out = Vec::new();
        write_aid(&mut out, self.load_file.as_ref());
        write_aid(&mut out, self.module.as_ref());
        write_aid(&mut out, Some(&self.application));
        self.privileges_form.write(self.privileges, &mut out);
        write_value(&mut out, &self.parameters);
        out
    }

    pub(super) fn parse(selectability: Selectability, data: &[u8]) -> Result<Self, CommandError> {
        let mut fields = Fields::new(data);
        let load_file = fields.optional_aid("load file AID")?;
        let module = fields.optional_aid("module AID")?;
        let application = match (fields.value_or_empty("application AID")?, module) {
            ([], Some(module)) => module,
            (bytes, _) => to_aid("application AID", bytes)?,
        };
        let (privileges_form, privileges) = PrivilegesForm::read(&mut fields)?;
        let parameters = fields.value_or_empty("install parameters")?.to_vec();
        let token = fields.value_or_empty("install token")?.to_vec();
        fields.end()?;
        Ok(Self {
            selectability,
            load_file,
            module,
            application,
            privileges,
            parameters,
            token,
            privileges_form,
        })
    }
}
