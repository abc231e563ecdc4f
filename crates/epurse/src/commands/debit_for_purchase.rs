//! DEBIT FOR PURCHASE and DEBIT FOR CAPP PURCHASE: 80 54 01.

use tsm_iso7816::CommandApdu;

use super::{data, expect, expect_parameters, in_data};
use crate::{CommandError, DateTime, LayoutError, Mac, Tac, TerminalSequence, bytes::Fields};

/// DEBIT FOR PURCHASE; what was initialised decides between simple and composite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DebitForPurchase {
    /// The terminal's transaction number.
    pub terminal_sequence: TerminalSequence,
    /// When, by the terminal's clock.
    pub at: DateTime,
    /// MAC1, which authorises the debit.
    pub mac1: Mac,
}

impl DebitForPurchase {
    /// The command.
    pub fn to_apdu(&self) -> CommandApdu {
        let mut data = self.terminal_sequence.to_bytes().to_vec();
        data.extend(self.at.to_bytes());
        data.extend(self.mac1.to_bytes());
        CommandApdu::new(0x80, 0x54, 0x01, 0x00).with_data(data).with_ne(8)
    }
}

impl TryFrom<&CommandApdu> for DebitForPurchase {
    type Error = CommandError;

    fn try_from(apdu: &CommandApdu) -> Result<Self, CommandError> {
        expect(apdu, 0x80, 0x54)?;
        expect_parameters(apdu, 0x01, 0x00)?;
        let data = data::<15>(apdu)?;
        let mut fields = Fields::new("DEBIT FOR PURCHASE", &data);
        Ok(Self {
            terminal_sequence: TerminalSequence::from_bytes(fields.array().map_err(in_data)?),
            at: DateTime::from_bytes(fields.array().map_err(in_data)?),
            mac1: fields.array().map_err(in_data)?.into(),
        })
    }
}

/// The answer: TAC, then MAC2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DebitForPurchaseResponse {
    /// TAC, for the clearing centre.
    pub tac: Tac,
    /// MAC2, which proves the card to the terminal.
    pub mac2: Mac,
}

impl DebitForPurchaseResponse {
    /// As the card answers it.
    pub fn encode(&self) -> [u8; 8] {
        let ([a, b, c, d], [e, f, g, h]) = (self.tac.to_bytes(), self.mac2.to_bytes());
        [a, b, c, d, e, f, g, h]
    }

    /// Reads the answer.
    pub fn decode(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut fields = Fields::exact("the answer to DEBIT FOR PURCHASE", bytes, 8)?;
        Ok(Self { tac: fields.array()?.into(), mac2: fields.array()?.into() })
    }
}
