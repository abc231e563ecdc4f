//! INSTALL [for registry update] (GPC 2.3.1, 11.5.2.3.5).

use tsm_iso7816::{Aid, CommandApdu};

use super::{for_install::PrivilegesForm, install};
use crate::commands::{
    CommandError,
    fields::{Fields, write_aid, write_value},
};
use crate::privileges::Privileges;

/// INSTALL [for registry update]: changes what the registry says of an application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstallForRegistryUpdate {
    /// The domain it shall belong to; none leaves it where it is.
    pub security_domain: Option<Aid>,
    /// The application; none means the issuer security domain's card-wide settings.
    pub application: Option<Aid>,
    /// The privileges it shall have; none leaves them as they are.
    pub privileges: Option<Privileges>,
    /// Parameters as data objects; often empty.
    pub parameters: Vec<u8>,
    /// The token; empty without delegated management.
    pub token: Vec<u8>,
}

impl InstallForRegistryUpdate {
    /// P1 and P2.
    pub const fn p1_p2(&self) -> (u8, u8) {
        (0x40, 0x00)
    }

    /// The command.
    pub fn to_apdu(&self) -> CommandApdu {
        install(0x40, 0x00, self.signed_data(), &self.token)
    }

    /// The data field without the token: what a token signs.
    pub fn signed_data(&self) -> Vec<u8> {
        let mut out = Vec::new();
        write_aid(&mut out, self.security_domain.as_ref());
        out.push(0x00);
        write_aid(&mut out, self.application.as_ref());
        match self.privileges {
            None => out.push(0x00),
            Some(privileges) => PrivilegesForm::Three.write(privileges, &mut out),
        }
        write_value(&mut out, &self.parameters);
        out
    }

    pub(super) fn parse(data: &[u8]) -> Result<Self, CommandError> {
        let mut fields = Fields::new(data);
        let security_domain = fields.optional_aid("security domain AID")?;
        fields.empty("reserved")?;
        let application = fields.optional_aid("application AID")?;
        let privileges = match PrivilegesForm::read(&mut fields)? {
            (PrivilegesForm::Empty, _) => None,
            (PrivilegesForm::One | PrivilegesForm::Three, privileges) => Some(privileges),
        };
        let form = Self {
            security_domain,
            application,
            privileges,
            parameters: fields.value_or_empty("registry update parameters")?.to_vec(),
            token: fields.value_or_empty("registry update token")?.to_vec(),
        };
        fields.end()?;
        Ok(form)
    }
}
