//! INITIALIZE FOR UPDATE (of the overdraft limit): 80 50 04.

use tsm_iso7816::CommandApdu;

use super::{PURSE, data, expect, expect_parameters, in_data};
use crate::{
    Amount, CardRandom, CommandError, KeyIndex, KeyVersion, LayoutError, Mac, OnlineCounter, OverdraftLimit,
    TerminalNumber, bytes::Fields,
};

/// INITIALIZE FOR UPDATE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct InitializeForOverdraft {
    /// Which overdraft key.
    pub key_index: KeyIndex,
    /// The terminal's number.
    pub terminal: TerminalNumber,
}

impl InitializeForOverdraft {
    /// The command.
    pub fn to_apdu(&self) -> CommandApdu {
        let mut data = vec![self.key_index.0];
        data.extend(self.terminal.to_bytes());
        CommandApdu::new(0x80, 0x50, 0x04, PURSE)
            .with_data(data)
            .with_ne(InitializeForOverdraftResponse::LENGTH as u32)
    }
}

impl TryFrom<&CommandApdu> for InitializeForOverdraft {
    type Error = CommandError;

    fn try_from(apdu: &CommandApdu) -> Result<Self, CommandError> {
        expect(apdu, 0x80, 0x50)?;
        expect_parameters(apdu, 0x04, PURSE)?;
        let data = data::<7>(apdu)?;
        let mut fields = Fields::new("INITIALIZE FOR UPDATE", &data);
        Ok(Self {
            key_index: KeyIndex(fields.byte().map_err(in_data)?),
            terminal: fields.array().map_err(in_data)?.into(),
        })
    }
}

/// The answer: 19 bytes, authenticated by MAC1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InitializeForOverdraftResponse {
    /// What can be spent before the change.
    pub balance: Amount,
    /// The online counter before the change.
    pub counter: OnlineCounter,
    /// The limit before the change.
    pub old_limit: OverdraftLimit,
    /// Version of the overdraft key.
    pub key_version: KeyVersion,
    /// The algorithm's identifier, see [`crate::Algorithm`].
    pub algorithm: u8,
    /// The card's random number.
    pub random: CardRandom,
    /// MAC1.
    pub mac1: Mac,
}

impl InitializeForOverdraftResponse {
    /// The answer's length.
    pub const LENGTH: usize = 19;

    /// As the card answers it.
    pub fn encode(&self) -> [u8; Self::LENGTH] {
        let mut out = [0; Self::LENGTH];
        out[..4].copy_from_slice(&self.balance.to_bytes());
        out[4..6].copy_from_slice(&self.counter.to_bytes());
        out[6..9].copy_from_slice(&self.old_limit.to_bytes());
        out[9] = self.key_version.0;
        out[10] = self.algorithm;
        out[11..15].copy_from_slice(&self.random.to_bytes());
        out[15..].copy_from_slice(&self.mac1.to_bytes());
        out
    }

    /// Reads the answer.
    pub fn decode(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut fields = Fields::exact("the answer to INITIALIZE FOR UPDATE", bytes, Self::LENGTH)?;
        Ok(Self {
            balance: Amount::from_bytes(fields.array()?),
            counter: OnlineCounter::from_bytes(fields.array()?),
            old_limit: OverdraftLimit::from_bytes(fields.array()?),
            key_version: KeyVersion(fields.byte()?),
            algorithm: fields.byte()?,
            random: fields.array()?.into(),
            mac1: fields.array()?.into(),
        })
    }
}
