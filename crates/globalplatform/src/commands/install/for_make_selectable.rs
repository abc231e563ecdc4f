//! INSTALL [for make selectable] (GPC 2.3.1, 11.5.2.3.3).

use tsm_iso7816::{Aid, CommandApdu};

use super::{for_install::PrivilegesForm, install};
use crate::commands::{
    CommandError,
    fields::{Fields, write_aid, write_value},
};
use crate::privileges::Privileges;

/// INSTALL [for make selectable]: makes an installed application selectable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstallForMakeSelectable {
    /// The application's AID.
    pub application: Aid,
    /// Privileges to give it now (the default selection); none keeps those it has.
    pub privileges: Option<Privileges>,
    /// Parameters as data objects; often empty.
    pub parameters: Vec<u8>,
    /// The token; empty without delegated management.
    pub token: Vec<u8>,
}

impl InstallForMakeSelectable {
    /// Makes `application` selectable with the privileges it has.
    pub const fn new(application: Aid) -> Self {
        Self { application, privileges: None, parameters: Vec::new(), token: Vec::new() }
    }

    /// P1 and P2.
    pub const fn p1_p2(&self) -> (u8, u8) {
        (0x08, 0x00)
    }

    /// The command.
    pub fn to_apdu(&self) -> CommandApdu {
        install(0x08, 0x00, self.signed_data(), &self.token)
    }

    /// The data field without the token: what a token signs.
    pub fn signed_data(&self) -> Vec<u8> {
        let mut out = vec![0x00, 0x00];
        write_aid(&mut out, Some(&self.application));
        match self.privileges {
            // One byte is always there, which says nothing when it is zero.
            None => out.extend([0x01, 0x00]),
            Some(privileges) => PrivilegesForm::shortest(privileges).write(privileges, &mut out),
        }
        write_value(&mut out, &self.parameters);
        out
    }

    pub(super) fn parse(data: &[u8]) -> Result<Self, CommandError> {
        let mut fields = Fields::new(data);
        // Hosts put zero here; some repeat the load file and the module.
        fields.value("load file AID")?;
        fields.value("module AID")?;
        let application = fields.aid("application AID")?;
        let (_, privileges) = PrivilegesForm::read(&mut fields)?;
        let form = Self {
            application,
            privileges: Some(privileges).filter(|privileges| *privileges != Privileges::NONE),
            parameters: fields.value_or_empty("make selectable parameters")?.to_vec(),
            token: fields.value_or_empty("make selectable token")?.to_vec(),
        };
        fields.end()?;
        Ok(form)
    }
}
