//! GET BALANCE: 80 5C.

use tsm_iso7816::CommandApdu;

use super::{PURSE, expect};
use crate::{Amount, CommandError, LayoutError, bytes::Fields};

/// P1: which of the purse's amounts (D-29).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BalanceKind {
    /// 00: what can be spent: the purse and the unused overdraft.
    Usable,
    /// 01: the overdraft limit.
    OverdraftLimit,
    /// 02: how much of the overdraft is used.
    UsedOverdraft,
    /// 03: what the purse truly holds.
    Purse,
}

/// GET BALANCE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GetBalance {
    /// Which amount.
    pub kind: BalanceKind,
}

impl GetBalance {
    /// The command.
    pub fn to_apdu(&self) -> CommandApdu {
        let p1 = match self.kind {
            BalanceKind::Usable => 0x00,
            BalanceKind::OverdraftLimit => 0x01,
            BalanceKind::UsedOverdraft => 0x02,
            BalanceKind::Purse => 0x03,
        };
        CommandApdu::new(0x80, 0x5C, p1, PURSE).with_ne(4)
    }
}

impl TryFrom<&CommandApdu> for GetBalance {
    type Error = CommandError;

    fn try_from(apdu: &CommandApdu) -> Result<Self, CommandError> {
        expect(apdu, 0x80, 0x5C)?;
        let kind = match (apdu.p1, apdu.p2) {
            (0x00, PURSE) => BalanceKind::Usable,
            (0x01, PURSE) => BalanceKind::OverdraftLimit,
            (0x02, PURSE) => BalanceKind::UsedOverdraft,
            (0x03, PURSE) => BalanceKind::Purse,
            (p1, p2) => return Err(CommandError::Parameters(p1, p2)),
        };
        if !apdu.data.is_empty() {
            return Err(CommandError::Length { found: apdu.data.len() });
        }
        Ok(Self { kind })
    }
}

/// The answer: four bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GetBalanceResponse {
    /// The amount asked for.
    pub amount: Amount,
}

impl GetBalanceResponse {
    /// As the card answers it.
    pub fn encode(&self) -> [u8; 4] {
        self.amount.to_bytes()
    }

    /// Reads the answer.
    pub fn decode(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut fields = Fields::exact("the answer to GET BALANCE", bytes, 4)?;
        Ok(Self { amount: Amount::from_bytes(fields.array()?) })
    }
}
