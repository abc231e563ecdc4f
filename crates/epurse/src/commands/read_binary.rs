//! READ BINARY by short file identifier: 00 B0.

use tsm_iso7816::CommandApdu;

use super::{data, expect};
use crate::{CommandError, Sfi};

/// READ BINARY.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReadBinary {
    /// The file.
    pub sfi: Sfi,
    /// Where to begin.
    pub offset: u8,
    /// How many bytes; `None` for as many as there are, up to 256 (Le = 00).
    pub length: Option<u8>,
}

impl ReadBinary {
    /// The command. A length of zero reads all that there is, as Le = 00 does.
    pub fn to_apdu(&self) -> CommandApdu {
        let apdu = CommandApdu::new(0x00, 0xB0, 0x80 | self.sfi.value(), self.offset);
        match self.length {
            None | Some(0) => apdu.with_any_response(),
            Some(length) => apdu.with_ne(u32::from(length)),
        }
    }
}

impl TryFrom<&CommandApdu> for ReadBinary {
    type Error = CommandError;

    fn try_from(apdu: &CommandApdu) -> Result<Self, CommandError> {
        expect(apdu, 0x00, 0xB0)?;
        let sfi = sfi(apdu)?;
        data::<0>(apdu)?;
        Ok(Self { sfi, offset: apdu.p2, length: apdu.ne.and_then(|ne| u8::try_from(ne).ok()) })
    }
}

/// P1 of the BINARY commands: 100 and the short file identifier.
pub(super) fn sfi(apdu: &CommandApdu) -> Result<Sfi, CommandError> {
    let bad = CommandError::Parameters(apdu.p1, apdu.p2);
    if apdu.p1 & 0xE0 != 0x80 {
        return Err(bad);
    }
    Sfi::new(apdu.p1 & 0x1F).ok_or(bad)
}
