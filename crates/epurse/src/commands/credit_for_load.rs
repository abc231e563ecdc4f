//! CREDIT FOR LOAD: 80 52.

use tsm_iso7816::CommandApdu;

use super::{data, expect, expect_parameters, in_data};
use crate::{CommandError, DateTime, LayoutError, Mac, Tac, bytes::Fields};

/// CREDIT FOR LOAD.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CreditForLoad {
    /// When, by the host's clock.
    pub at: DateTime,
    /// MAC2, which authorises the credit.
    pub mac2: Mac,
}

impl CreditForLoad {
    /// The command.
    pub fn to_apdu(&self) -> CommandApdu {
        let mut data = self.at.to_bytes().to_vec();
        data.extend(self.mac2.to_bytes());
        CommandApdu::new(0x80, 0x52, 0x00, 0x00).with_data(data).with_ne(4)
    }
}

impl TryFrom<&CommandApdu> for CreditForLoad {
    type Error = CommandError;

    fn try_from(apdu: &CommandApdu) -> Result<Self, CommandError> {
        expect(apdu, 0x80, 0x52)?;
        expect_parameters(apdu, 0x00, 0x00)?;
        let data = data::<11>(apdu)?;
        let mut fields = Fields::new("CREDIT FOR LOAD", &data);
        Ok(Self {
            at: DateTime::from_bytes(fields.array().map_err(in_data)?),
            mac2: fields.array().map_err(in_data)?.into(),
        })
    }
}

/// The answer: the card's proof that it credited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CreditForLoadResponse {
    /// TAC.
    pub tac: Tac,
}

impl CreditForLoadResponse {
    /// As the card answers it.
    pub fn encode(&self) -> [u8; 4] {
        self.tac.to_bytes()
    }

    /// Reads the answer.
    pub fn decode(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut fields = Fields::exact("the answer to CREDIT FOR LOAD", bytes, 4)?;
        Ok(Self { tac: fields.array()?.into() })
    }
}
