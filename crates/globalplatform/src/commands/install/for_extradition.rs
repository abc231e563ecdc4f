//! INSTALL [for extradition] (GPC 2.3.1, 11.5.2.3.4).

use tsm_iso7816::{Aid, CommandApdu};

use super::install;
use crate::commands::{
    CommandError,
    fields::{Fields, write_aid, write_value},
};

/// INSTALL [for extradition]: gives an application or load file to another security domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstallForExtradition {
    /// The domain that gets it.
    pub security_domain: Aid,
    /// The application or load file.
    pub object: Aid,
    /// Parameters as data objects; often empty.
    pub parameters: Vec<u8>,
    /// The extradition token; empty without delegated management.
    pub token: Vec<u8>,
}

impl InstallForExtradition {
    /// Gives `object` to `security_domain`, without parameters or token.
    pub const fn new(security_domain: Aid, object: Aid) -> Self {
        Self { security_domain, object, parameters: Vec::new(), token: Vec::new() }
    }

    /// P1 and P2.
    pub const fn p1_p2(&self) -> (u8, u8) {
        (0x10, 0x00)
    }

    /// The command.
    pub fn to_apdu(&self) -> CommandApdu {
        install(0x10, 0x00, self.signed_data(), &self.token)
    }

    /// The data field without the token: what a token signs.
    pub fn signed_data(&self) -> Vec<u8> {
        let mut out = Vec::new();
        write_aid(&mut out, Some(&self.security_domain));
        out.push(0x00);
        write_aid(&mut out, Some(&self.object));
        out.push(0x00);
        write_value(&mut out, &self.parameters);
        out
    }

    pub(super) fn parse(data: &[u8]) -> Result<Self, CommandError> {
        let mut fields = Fields::new(data);
        let security_domain = fields.aid("security domain AID")?;
        fields.empty("reserved")?;
        let object = fields.aid("application or load file AID")?;
        fields.empty("reserved")?;
        let form = Self {
            security_domain,
            object,
            parameters: fields.value_or_empty("extradition parameters")?.to_vec(),
            token: fields.value_or_empty("extradition token")?.to_vec(),
        };
        fields.end()?;
        Ok(form)
    }
}
