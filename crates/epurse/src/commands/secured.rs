//! A command together with the MAC of secure messaging (PBOC 2.0 part 2, secure messaging).

use tsm_iso7816::CommandApdu;

use super::basic_class;
use crate::{CommandError, Mac};

/// A command that the card received with a MAC: readable before the MAC is verified, because the
/// command decides under which key it is.
///
/// Made by parsing only; [`crate::card::secure_messaging`] verifies it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secured<C> {
    command: C,
    pub(crate) header: [u8; 4],
    pub(crate) data: Vec<u8>,
    pub(crate) mac: Mac,
}

impl<C> Secured<C> {
    /// The command, which nothing vouches for yet.
    pub const fn unverified(&self) -> &C {
        &self.command
    }

    /// The command, for whoever has verified its MAC.
    pub(crate) fn into_command(self) -> C {
        self.command
    }
}

impl<C> TryFrom<&CommandApdu> for Secured<C>
where
    C: for<'a> TryFrom<&'a CommandApdu, Error = CommandError>,
{
    type Error = CommandError;

    fn try_from(apdu: &CommandApdu) -> Result<Self, CommandError> {
        let cla = basic_class(apdu.cla)?;
        let length = CommandError::Length { found: apdu.data.len() };
        if apdu.data.len() > 255 {
            return Err(length);
        }
        let (data, mac) = apdu.data.split_last_chunk::<4>().ok_or(length)?;
        let plain = CommandApdu { cla, data: data.to_vec(), ..apdu.clone() };
        let command = C::try_from(&plain)?;
        Ok(Self { command, header: [cla, apdu.ins, apdu.p1, apdu.p2], data: plain.data, mac: Mac::new(*mac) })
    }
}
