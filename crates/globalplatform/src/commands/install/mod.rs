//! INSTALL (GPC 2.3.1, 11.5): every form, each a module; the combined ones are forms of load and
//! install.

use tsm_iso7816::CommandApdu;

use super::{CLA, CommandError, expect_instruction, parameters_error};

mod for_extradition;
mod for_install;
mod for_load;
mod for_make_selectable;
mod for_personalization;
mod for_registry_update;
mod parameters;

pub use for_extradition::InstallForExtradition;
pub use for_install::{InstallForInstall, PrivilegesForm, Selectability};
pub use for_load::InstallForLoad;
pub use for_make_selectable::InstallForMakeSelectable;
pub use for_personalization::InstallForPersonalization;
pub use for_registry_update::InstallForRegistryUpdate;
pub use parameters::{ImplicitSelection, InstallParameters, TokenReference};

/// INSTALL in any of its forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Install {
    /// P1 02 (or 0E with P2 01): announces a load file.
    ForLoad(InstallForLoad),
    /// P1 04, 0C (or 0E with P2 03): creates an application.
    ForInstall(InstallForInstall),
    /// P1 08: makes an installed application selectable.
    ForMakeSelectable(InstallForMakeSelectable),
    /// P1 10: gives an application or load file to another security domain.
    ForExtradition(InstallForExtradition),
    /// P1 20: names the application that STORE DATA is for.
    ForPersonalization(InstallForPersonalization),
    /// P1 40: changes a registry entry.
    ForRegistryUpdate(InstallForRegistryUpdate),
}

/// Where a command stands in a combined load, install and make selectable process (P1 0E, P2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum CombinedProcess {
    /// P2 00: in none.
    #[default]
    None,
    /// P1 0E, P2 01 or 03: in one; loading begins it, installing ends it.
    Combined,
}

/// P1 of the combined process: load, install and make selectable.
const P1_COMBINED: u8 = 0x0E;

impl Install {
    /// The instruction byte.
    pub const INS: u8 = 0xE6;

    /// The command.
    pub fn to_apdu(&self) -> CommandApdu {
        match self {
            Self::ForLoad(form) => form.to_apdu(),
            Self::ForInstall(form) => form.to_apdu(),
            Self::ForMakeSelectable(form) => form.to_apdu(),
            Self::ForExtradition(form) => form.to_apdu(),
            Self::ForPersonalization(form) => form.to_apdu(),
            Self::ForRegistryUpdate(form) => form.to_apdu(),
        }
    }
}

impl TryFrom<&CommandApdu> for Install {
    type Error = CommandError;

    fn try_from(command: &CommandApdu) -> Result<Self, CommandError> {
        expect_instruction(command, Self::INS)?;
        let data = &command.data;
        match (command.p1, command.p2) {
            (0x02, 0x00) => InstallForLoad::parse(CombinedProcess::None, data).map(Self::ForLoad),
            (P1_COMBINED, 0x01) => InstallForLoad::parse(CombinedProcess::Combined, data).map(Self::ForLoad),
            (0x04, 0x00) => InstallForInstall::parse(Selectability::Later, data).map(Self::ForInstall),
            (0x0C, 0x00) => InstallForInstall::parse(Selectability::Now, data).map(Self::ForInstall),
            (P1_COMBINED, 0x03) => {
                InstallForInstall::parse(Selectability::NowEndingCombined, data).map(Self::ForInstall)
            }
            (0x08, 0x00) => InstallForMakeSelectable::parse(data).map(Self::ForMakeSelectable),
            (0x10, 0x00) => InstallForExtradition::parse(data).map(Self::ForExtradition),
            (0x20, 0x00) => InstallForPersonalization::parse(data).map(Self::ForPersonalization),
            (0x40, 0x00) => InstallForRegistryUpdate::parse(data).map(Self::ForRegistryUpdate),
            _ => Err(parameters_error(command)),
        }
    }
}

/// An INSTALL command with these parameters and fields; all answer at least one byte.
fn install(p1: u8, p2: u8, mut fields: Vec<u8>, token: &[u8]) -> CommandApdu {
    super::fields::write_value(&mut fields, token);
    CommandApdu::new(CLA, Install::INS, p1, p2).with_data(fields).with_any_response()
}
