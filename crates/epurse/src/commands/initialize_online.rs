//! INITIALIZE FOR LOAD, 80 50 00, and INITIALIZE FOR UNLOAD, 80 50 05: one layout for both, and one of their
//! answers.

use tsm_iso7816::CommandApdu;

use super::{PURSE, data, expect, expect_parameters, in_data};
use crate::{
    Amount, CardRandom, CommandError, KeyIndex, KeyVersion, LayoutError, Mac, OnlineCounter, TerminalNumber,
    bytes::Fields,
};

/// The transaction type of a load.
pub const LOAD: u8 = 0x02;
/// The transaction type of an unload.
pub const UNLOAD: u8 = 0x03;

/// The answer's length.
const ANSWER: usize = 16;

/// INITIALIZE FOR LOAD.
pub type InitializeForLoad = InitializeOnline<LOAD>;
/// The answer to INITIALIZE FOR LOAD.
pub type InitializeForLoadResponse = InitializeOnlineResponse<LOAD>;
/// INITIALIZE FOR UNLOAD.
pub type InitializeForUnload = InitializeOnline<UNLOAD>;
/// The answer to INITIALIZE FOR UNLOAD.
pub type InitializeForUnloadResponse = InitializeOnlineResponse<UNLOAD>;

/// The beginning of a load or unload, by its transaction type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct InitializeOnline<const KIND: u8> {
    /// Which key of the transaction.
    pub key_index: KeyIndex,
    /// How much.
    pub amount: Amount,
    /// The terminal's number; a fresh one for every attempt makes old answers useless.
    pub terminal: TerminalNumber,
}

impl<const KIND: u8> InitializeOnline<KIND> {
    const P1: u8 = match KIND {
        LOAD => 0x00,
        UNLOAD => 0x05,
        _ => panic!("only loads and unloads begin so"),
    };
    const NAME: &str = if KIND == LOAD { "INITIALIZE FOR LOAD" } else { "INITIALIZE FOR UNLOAD" };

    /// The command.
    pub fn to_apdu(&self) -> CommandApdu {
        let mut data = vec![self.key_index.0];
        data.extend(self.amount.to_bytes());
        data.extend(self.terminal.to_bytes());
        CommandApdu::new(0x80, 0x50, Self::P1, PURSE)
            .with_data(data)
            .with_ne(InitializeOnlineResponse::<KIND>::LENGTH as u32)
    }
}

impl<const KIND: u8> TryFrom<&CommandApdu> for InitializeOnline<KIND> {
    type Error = CommandError;

    fn try_from(apdu: &CommandApdu) -> Result<Self, CommandError> {
        expect(apdu, 0x80, 0x50)?;
        expect_parameters(apdu, Self::P1, PURSE)?;
        let data = data::<11>(apdu)?;
        let mut fields = Fields::new(Self::NAME, &data);
        Ok(Self {
            key_index: KeyIndex(fields.byte().map_err(in_data)?),
            amount: Amount::from_bytes(fields.array().map_err(in_data)?),
            terminal: fields.array().map_err(in_data)?.into(),
        })
    }
}

/// The answer: 16 bytes, authenticated by MAC1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InitializeOnlineResponse<const KIND: u8> {
    /// What can be spent before the transaction.
    pub balance: Amount,
    /// The online counter before the transaction.
    pub counter: OnlineCounter,
    /// Version of the transaction's key.
    pub key_version: KeyVersion,
    /// The algorithm's identifier, see [`crate::Algorithm`].
    pub algorithm: u8,
    /// The card's random number.
    pub random: CardRandom,
    /// MAC1.
    pub mac1: Mac,
}

impl<const KIND: u8> InitializeOnlineResponse<KIND> {
    /// The answer's length.
    pub const LENGTH: usize = ANSWER;
    const NAME: &str = if KIND == LOAD {
        "the answer to INITIALIZE FOR LOAD"
    } else {
        "the answer to INITIALIZE FOR UNLOAD"
    };

    /// As the card answers it.
    pub fn encode(&self) -> [u8; ANSWER] {
        let mut out = [0; ANSWER];
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
        let mut fields = Fields::exact(Self::NAME, bytes, Self::LENGTH)?;
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
