//! INITIALIZE FOR LOAD: 80 50 00.

use tsm_iso7816::CommandApdu;

use super::{PURSE, data, expect, expect_parameters, in_data};
use crate::{
    Amount, CardRandom, CommandError, KeyIndex, KeyVersion, LayoutError, Mac, OnlineCounter, TerminalNumber,
    bytes::Fields,
};

/// INITIALIZE FOR LOAD.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct InitializeForLoad {
    /// Which load key.
    pub key_index: KeyIndex,
    /// How much.
    pub amount: Amount,
    /// The terminal's number; a fresh one for every attempt makes old answers useless.
    pub terminal: TerminalNumber,
}

impl InitializeForLoad {
    /// The command.
    pub fn to_apdu(&self) -> CommandApdu {
        let mut data = vec![self.key_index.0];
        data.extend(self.amount.to_bytes());
        data.extend(self.terminal.to_bytes());
        CommandApdu::new(0x80, 0x50, 0x00, PURSE)
            .with_data(data)
            .with_ne(InitializeForLoadResponse::LENGTH as u32)
    }
}

impl TryFrom<&CommandApdu> for InitializeForLoad {
    type Error = CommandError;

    fn try_from(apdu: &CommandApdu) -> Result<Self, CommandError> {
        expect(apdu, 0x80, 0x50)?;
        expect_parameters(apdu, 0x00, PURSE)?;
        let data = data::<11>(apdu)?;
        let mut fields = Fields::new("INITIALIZE FOR LOAD", &data);
        Ok(Self {
            key_index: KeyIndex(fields.byte().map_err(in_data)?),
            amount: Amount::from_bytes(fields.array().map_err(in_data)?),
            terminal: fields.array().map_err(in_data)?.into(),
        })
    }
}

/// The answer: 16 bytes, authenticated by MAC1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InitializeForLoadResponse {
    /// What can be spent before the load.
    pub balance: Amount,
    /// The online counter before the load.
    pub counter: OnlineCounter,
    /// Version of the load key.
    pub key_version: KeyVersion,
    /// The algorithm's identifier, see [`crate::Algorithm`].
    pub algorithm: u8,
    /// The card's random number.
    pub random: CardRandom,
    /// MAC1.
    pub mac1: Mac,
}

impl InitializeForLoadResponse {
    /// The answer's length.
    pub const LENGTH: usize = 16;

    /// As the card answers it.
    pub fn encode(&self) -> [u8; Self::LENGTH] {
        let mut out = [0; Self::LENGTH];
        out[..4].copy_from_slice(&self.balance.to_bytes());
        out[4..6].copy_from_slice(&self.counter.to_bytes());
        out[6] = self.key_version.0;
        out[7] = self.algorithm;
        out[8..12].copy_from_slice(&self.random.to_bytes());
        out[12..].copy_from_slice(&self.mac1.to_bytes());
        out
    }

    /// Reads the answer.
    pub fn decode(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut fields = Fields::exact("the answer to INITIALIZE FOR LOAD", bytes, Self::LENGTH)?;
        Ok(Self {
            balance: Amount::from_bytes(fields.array()?),
            counter: OnlineCounter::from_bytes(fields.array()?),
            key_version: KeyVersion(fields.byte()?),
            algorithm: fields.byte()?,
            random: fields.array()?.into(),
            mac1: fields.array()?.into(),
        })
    }
}
