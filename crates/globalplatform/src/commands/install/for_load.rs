//! INSTALL [for load] (GPC 2.3.1, 11.5.2.3.1).

use tsm_iso7816::{Aid, CommandApdu};

use super::{CombinedProcess, P1_COMBINED, install};
use crate::commands::{
    CommandError,
    fields::{Fields, write_aid, write_value},
};

/// INSTALL [for load]: announces a load file and the domain it will belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstallForLoad {
    /// Whether this begins a combined load, install and make selectable process.
    pub process: CombinedProcess,
    /// The load file's AID.
    pub load_file: Aid,
    /// The domain it will belong to; none for the domain that gets the command.
    pub security_domain: Option<Aid>,
    /// The load file data block hash; empty where neither a DAP nor a token needs it.
    pub hash: Vec<u8>,
    /// The load parameters as data objects (see [`super::InstallParameters`]); often empty.
    pub parameters: Vec<u8>,
    /// The load token; empty without delegated management.
    pub token: Vec<u8>,
}

impl InstallForLoad {
    /// Announces `load_file` for `security_domain`, with neither hash, parameters nor token.
    pub const fn new(load_file: Aid, security_domain: Option<Aid>) -> Self {
        Self {
            process: CombinedProcess::None,
            load_file,
            security_domain,
            hash: Vec::new(),
            parameters: Vec::new(),
            token: Vec::new(),
        }
    }

    /// P1 and P2.
    pub const fn p1_p2(&self) -> (u8, u8) {
        match self.process {
            CombinedProcess::None => (0x02, 0x00),
            CombinedProcess::Combined => (P1_COMBINED, 0x01),
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
        write_aid(&mut out, Some(&self.load_file));
        write_aid(&mut out, self.security_domain.as_ref());
        write_value(&mut out, &self.hash);
        write_value(&mut out, &self.parameters);
        out
    }

    pub(super) fn parse(process: CombinedProcess, data: &[u8]) -> Result<Self, CommandError> {
        let mut fields = Fields::new(data);
        let form = Self {
            process,
            load_file: fields.aid("load file AID")?,
            security_domain: fields.optional_aid("security domain AID")?,
            hash: fields.value_or_empty("load file data block hash")?.to_vec(),
            parameters: fields.value_or_empty("load parameters")?.to_vec(),
            token: fields.value_or_empty("load token")?.to_vec(),
        };
        fields.end()?;
        Ok(form)
    }
}
