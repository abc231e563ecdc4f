//! UPDATE OVERDRAW LIMIT: 80 58.

use tsm_iso7816::CommandApdu;

use super::{data, expect, expect_parameters, in_data};
use crate::{CommandError, DateTime, LayoutError, Mac, OverdraftLimit, Tac, bytes::Fields};

/// UPDATE OVERDRAW LIMIT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpdateOverdraftLimit {
    /// The limit from now on.
    pub new_limit: OverdraftLimit,
    /// When, by the host's clock.
    pub at: DateTime,
    /// MAC2, which authorises the change.
    pub mac2: Mac,
}

impl UpdateOverdraftLimit {
    /// The command.
    pub fn to_apdu(&self) -> CommandApdu {
        let mut data = self.new_limit.to_bytes().to_vec();
        data.extend(self.at.to_bytes());
        data.extend(self.mac2.to_bytes());
        CommandApdu::new(0x80, 0x58, 0x00, 0x00).with_data(data).with_ne(4)
    }
}

impl TryFrom<&CommandApdu> for UpdateOverdraftLimit {
    type Error = CommandError;

    fn try_from(apdu: &CommandApdu) -> Result<Self, CommandError> {
        expect(apdu, 0x80, 0x58)?;
        expect_parameters(apdu, 0x00, 0x00)?;
        let data = data::<14>(apdu)?;
        let mut fields = Fields::new("UPDATE OVERDRAW LIMIT", &data);
        Ok(Self {
            new_limit: OverdraftLimit::from_bytes(fields.array().map_err(in_data)?),
            at: DateTime::from_bytes(fields.array().map_err(in_data)?),
            mac2: fields.array().map_err(in_data)?.into(),
        })
    }
}

/// The answer: the card's proof of the change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpdateOverdraftLimitResponse {
    /// TAC.
    pub tac: Tac,
}

impl UpdateOverdraftLimitResponse {
    /// As the card answers it.
    pub fn encode(&self) -> [u8; 4] {
        self.tac.to_bytes()
    }

    /// Reads the answer.
    pub fn decode(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut fields = Fields::exact("the answer to UPDATE OVERDRAW LIMIT", bytes, 4)?;
        Ok(Self { tac: fields.array()?.into() })
    }
}
