//! INITIALIZE FOR PURCHASE (80 50 01) and INITIALIZE FOR CAPP PURCHASE (80 50 03).

use tsm_iso7816::CommandApdu;

use super::{PURSE, data, expect, in_data};
use crate::{
    Amount, CardRandom, CommandError, KeyIndex, KeyVersion, LayoutError, OfflineCounter, OverdraftLimit,
    TerminalNumber, TransactionType, bytes::Fields,
};

/// P1: simple or composite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PurchaseKind {
    /// A purchase only: type 06.
    Simple,
    /// A purchase that also writes transit records (CAPP): type 09.
    Composite,
}

impl PurchaseKind {
    /// The type in MACs, TAC and records.
    pub const fn transaction_type(self) -> TransactionType {
        match self {
            Self::Simple => TransactionType::Purchase,
            Self::Composite => TransactionType::CompositePurchase,
        }
    }
}

/// INITIALIZE FOR PURCHASE, or FOR CAPP PURCHASE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct InitializeForPurchase {
    /// Simple or composite.
    pub kind: PurchaseKind,
    /// Which purchase key.
    pub key_index: KeyIndex,
    /// How much; a composite purchase of nothing is an entry or a refresh.
    pub amount: Amount,
    /// The terminal's number.
    pub terminal: TerminalNumber,
}

impl InitializeForPurchase {
    /// The command.
    pub fn to_apdu(&self) -> CommandApdu {
        let p1 = match self.kind {
            PurchaseKind::Simple => 0x01,
            PurchaseKind::Composite => 0x03,
        };
        let mut data = vec![self.key_index.0];
        data.extend(self.amount.to_bytes());
        data.extend(self.terminal.to_bytes());
        CommandApdu::new(0x80, 0x50, p1, PURSE)
            .with_data(data)
            .with_ne(InitializeForPurchaseResponse::LENGTH as u32)
    }
}

impl TryFrom<&CommandApdu> for InitializeForPurchase {
    type Error = CommandError;

    fn try_from(apdu: &CommandApdu) -> Result<Self, CommandError> {
        expect(apdu, 0x80, 0x50)?;
        let kind = match (apdu.p1, apdu.p2) {
            (0x01, PURSE) => PurchaseKind::Simple,
            (0x03, PURSE) => PurchaseKind::Composite,
            (p1, p2) => return Err(CommandError::Parameters(p1, p2)),
        };
        let data = data::<11>(apdu)?;
        let mut fields = Fields::new("INITIALIZE FOR PURCHASE", &data);
        Ok(Self {
            kind,
            key_index: KeyIndex(fields.byte().map_err(in_data)?),
            amount: Amount::from_bytes(fields.array().map_err(in_data)?),
            terminal: fields.array().map_err(in_data)?.into(),
        })
    }
}

/// The answer: 15 bytes. It has no MAC; the card proves itself with MAC2 afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct InitializeForPurchaseResponse {
    /// What can be spent before the purchase.
    pub balance: Amount,
    /// The offline counter before the purchase.
    pub counter: OfflineCounter,
    /// The overdraft limit.
    pub overdraft_limit: OverdraftLimit,
    /// Version of the purchase key.
    pub key_version: KeyVersion,
    /// The algorithm's identifier, see [`crate::Algorithm`].
    pub algorithm: u8,
    /// The card's random number.
    pub random: CardRandom,
}

impl InitializeForPurchaseResponse {
    /// The answer's length.
    pub const LENGTH: usize = 15;

    /// As the card answers it.
    pub fn encode(&self) -> [u8; Self::LENGTH] {
        let mut out = [0; Self::LENGTH];
        out[..4].copy_from_slice(&self.balance.to_bytes());
        out[4..6].copy_from_slice(&self.counter.to_bytes());
        out[6..9].copy_from_slice(&self.overdraft_limit.to_bytes());
        out[9] = self.key_version.0;
        out[10] = self.algorithm;
        out[11..].copy_from_slice(&self.random.to_bytes());
        out
    }

    /// Reads the answer.
    pub fn decode(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut fields = Fields::exact("the answer to INITIALIZE FOR PURCHASE", bytes, Self::LENGTH)?;
        Ok(Self {
            balance: Amount::from_bytes(fields.array()?),
            counter: OfflineCounter::from_bytes(fields.array()?),
            overdraft_limit: OverdraftLimit::from_bytes(fields.array()?),
            key_version: KeyVersion(fields.byte()?),
            algorithm: fields.byte()?,
            random: fields.array()?.into(),
        })
    }
}
