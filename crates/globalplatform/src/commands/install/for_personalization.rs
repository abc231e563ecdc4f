//! INSTALL [for personalization] (GPC 2.3.1, 11.5.2.3.6).

use tsm_iso7816::{Aid, CommandApdu};

use super::install;
use crate::commands::{
    CommandError,
    fields::{Fields, write_aid},
};

/// INSTALL [for personalization]: the STORE DATA commands that follow are for this application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct InstallForPersonalization {
    /// The application's AID.
    pub application: Aid,
}

impl InstallForPersonalization {
    /// The command.
    pub fn to_apdu(&self) -> CommandApdu {
        let mut fields = vec![0x00, 0x00];
        write_aid(&mut fields, Some(&self.application));
        fields.extend([0x00, 0x00]);
        install(0x20, 0x00, fields, &[])
    }

    pub(super) fn parse(data: &[u8]) -> Result<Self, CommandError> {
        let mut fields = Fields::new(data);
        fields.empty("reserved")?;
        fields.empty("reserved")?;
        let application = fields.aid("application AID")?;
        for _ in 0..3 {
            fields.empty("reserved")?;
        }
        fields.end()?;
        Ok(Self { application })
    }
}
