//! The built-in applications; the AID of a module chooses one.
//!
//! | module | package | application |
//! | --- | --- | --- |
//! | F04F54534D010101 | F04F54534D0101 | transit purse |
//! | F04F54534D010201 | F04F54534D0102 | contactless directory (PPSE) |
//! | F04F54534D010301 | F04F54534D0103 | login password of the wallet |
//! | F04F54534D010401 | F04F54534D0104 | Mifare card manager |
//! | F04F54534D010501 | F04F54534D0105 | greeting card, without value |

mod greeting;
mod grouping;
mod inert;
mod login_password;
mod messaging;
mod mifare;
mod ppse;
pub(crate) mod purse;
#[cfg(test)]
mod test_card;

pub use greeting::GreetingCard;
pub use inert::Inert;
pub use login_password::LoginPassword;
pub use mifare::MifareManager;
pub use ppse::Ppse;
pub use purse::TransitPurse;

use tsm_iso7816::Aid;

use crate::applet::Applet;

/// The module of the transit purse.
pub const TRANSIT_PURSE: Aid = Aid::constant(&[0xF0, 0x4F, 0x54, 0x53, 0x4D, 0x01, 0x01, 0x01]);
/// The module of the contactless directory.
pub const PPSE: Aid = Aid::constant(&[0xF0, 0x4F, 0x54, 0x53, 0x4D, 0x01, 0x02, 0x01]);
/// The module of the login password.
pub const LOGIN_PASSWORD: Aid = Aid::constant(&[0xF0, 0x4F, 0x54, 0x53, 0x4D, 0x01, 0x03, 0x01]);
/// The module of the Mifare card manager.
pub const MIFARE_MANAGER: Aid = Aid::constant(&[0xF0, 0x4F, 0x54, 0x53, 0x4D, 0x01, 0x04, 0x01]);
/// The module of the greeting card.
pub const GREETING_CARD: Aid = Aid::constant(&[0xF0, 0x4F, 0x54, 0x53, 0x4D, 0x01, 0x05, 0x01]);

/// The behaviour of the module `module`; one that cannot run is inert.
pub fn create(module: &Aid) -> Box<dyn Applet> {
    if *module == TRANSIT_PURSE {
        Box::new(TransitPurse)
    } else if *module == PPSE {
        Box::new(Ppse)
    } else if *module == LOGIN_PASSWORD {
        Box::new(LoginPassword)
    } else if *module == MIFARE_MANAGER {
        Box::new(MifareManager)
    } else if *module == GREETING_CARD {
        Box::new(GreetingCard)
    } else {
        Box::new(Inert)
    }
}
