//! The CAP files of the built-in applets. A load file with one of these module AIDs behaves as the
//! software SE's built-in of that name; on a real card the provider's own CAP takes its place.

use tsm_capfile::{BuildError, CapBuilder};
use tsm_iso7816::Aid;

/// A package with one applet.
#[derive(Debug, Clone, Copy)]
pub struct Package {
    /// The package's AID, which becomes the load file's.
    pub aid: Aid,
    /// The module's AID.
    pub module: Aid,
    /// Bytes of code that the package is padded to hold, so that downloads take as long as real ones.
    pub code_bytes: usize,
}

/// The transit purse.
pub const TRANSIT_PURSE: Package = package(0x01, 14_000);
/// The contactless directory.
pub const PPSE: Package = package(0x02, 1_500);
/// The login password.
pub const LOGIN_PASSWORD: Package = package(0x03, 1_200);
/// The Mifare card manager.
pub const MIFARE_MANAGER: Package = package(0x04, 6_000);
/// An application without value.
pub const GREETING_CARD: Package = package(0x05, 2_000);

const fn package(number: u8, code_bytes: usize) -> Package {
    Package {
        aid: Aid::constant(&[0xF0, 0x4F, 0x54, 0x53, 0x4D, 0x01, number]),
        module: Aid::constant(&[0xF0, 0x4F, 0x54, 0x53, 0x4D, 0x01, number, 0x01]),
        code_bytes,
    }
}

impl Package {
    /// The CAP file.
    pub fn cap_file(&self) -> Result<Vec<u8>, BuildError> {
        CapBuilder::new(self.aid).version(1, 0).applet(self.module).padding(self.code_bytes).build()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tsm_capfile::{CapFile, verify};

    #[test]
    fn every_package_is_a_cap_file_with_its_module() {
        for package in [TRANSIT_PURSE, PPSE, LOGIN_PASSWORD, MIFARE_MANAGER, GREETING_CARD] {
            let cap = CapFile::parse(&package.cap_file().unwrap()).unwrap();
            assert_eq!(verify(&cap).unwrap(), []);
            assert_eq!(cap.package_aid(), package.aid);
            assert_eq!(cap.applets()[0].aid, package.module);
        }
    }

    #[test]
    fn the_modules_are_those_that_the_card_knows() {
        use tsm_se::applets;
        assert_eq!(TRANSIT_PURSE.module, applets::TRANSIT_PURSE);
        assert_eq!(PPSE.module, applets::PPSE);
        assert_eq!(LOGIN_PASSWORD.module, applets::LOGIN_PASSWORD);
        assert_eq!(MIFARE_MANAGER.module, applets::MIFARE_MANAGER);
        assert_eq!(GREETING_CARD.module, applets::GREETING_CARD);
    }
}
