//! DEBIT FOR UNLOAD: 80 54 03.

use tsm_iso7816::CommandApdu;

use super::{data, expect, expect_parameters, in_data};
use crate::{CommandError, DateTime, LayoutError, Mac, bytes::Fields};

/// DEBIT FOR UNLOAD.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DebitForUnload {
    /// When, by the host's clock.
    pub at: DateTime,
    /// MAC2, which authorises the debit.
    pub mac2: Mac,
}

impl DebitForUnload {
    /// The command.
    pub fn to_apdu(&self) -> CommandApdu {
        let mut data = self.at.to_bytes().to_vec();
        data.extend(self.mac2.to_bytes());
        CommandApdu::new(0x80, 0x54, 0x03, 0x00).with_data(data).with_ne(4)
    }
}

impl TryFrom<&CommandApdu> for DebitForUnload {
    type Error = CommandError;

    fn try_from(apdu: &CommandApdu) -> Result<Self, CommandError> {
        expect(apdu, 0x80, 0x54)?;
        expect_parameters(apdu, 0x03, 0x00)?;
        let data = data::<11>(apdu)?;
        let mut fields = Fields::new("DEBIT FOR UNLOAD", &data);
        Ok(Self {
            at: DateTime::from_bytes(fields.array().map_err(in_data)?),
            mac2: fields.array().map_err(in_data)?.into(),
        })
    }
}

/// The answer: MAC3, the card's proof that it debited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DebitForUnloadResponse {
    /// MAC3.
    pub mac3: Mac,
}

impl DebitForUnloadResponse {
    /// As the card answers it.
    pub fn encode(&self) -> [u8; 4] {
        self.mac3.to_bytes()
    }

    /// Reads the answer.
    pub fn decode(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut fields = Fields::exact("the answer to DEBIT FOR UNLOAD", bytes, 4)?;
        Ok(Self { mac3: fields.array()?.into() })
    }
}
