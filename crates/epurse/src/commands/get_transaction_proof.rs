//! GET TRANSACTION PROOF: 80 5A.

use tsm_iso7816::CommandApdu;

use super::{data, expect};
use crate::{CommandError, LayoutError, Mac, Tac, TransactionSequence, TransactionType, bytes::Fields};

/// GET TRANSACTION PROOF: the MAC and TAC of the last transaction of a type, when it has this number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GetTransactionProof {
    /// P2: the type.
    pub transaction_type: TransactionType,
    /// The counter after the transaction: one more than INITIALIZE answered.
    pub sequence: TransactionSequence,
}

impl GetTransactionProof {
    /// The command.
    pub fn to_apdu(&self) -> CommandApdu {
        CommandApdu::new(0x80, 0x5A, 0x00, self.transaction_type.into())
            .with_data(self.sequence.to_bytes())
            .with_ne(TransactionProof::LENGTH as u32)
    }
}

impl TryFrom<&CommandApdu> for GetTransactionProof {
    type Error = CommandError;

    fn try_from(apdu: &CommandApdu) -> Result<Self, CommandError> {
        expect(apdu, 0x80, 0x5A)?;
        if apdu.p1 != 0x00 {
            return Err(CommandError::Parameters(apdu.p1, apdu.p2));
        }
        Ok(Self { transaction_type: apdu.p2.into(), sequence: TransactionSequence::from_bytes(data(apdu)?) })
    }
}

/// The answer: MAC2, then TAC (D-34) — the other way round than DEBIT FOR PURCHASE answers them.
///
/// For a load the MAC2 is the one that the card accepted, for an unload it is MAC3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransactionProof {
    /// MAC2 of the transaction.
    pub mac2: Mac,
    /// TAC of the transaction.
    pub tac: Tac,
}

impl TransactionProof {
    /// The answer's length.
    pub const LENGTH: usize = 8;

    /// As the card answers it.
    pub fn encode(&self) -> [u8; Self::LENGTH] {
        let ([a, b, c, d], [e, f, g, h]) = (self.mac2.to_bytes(), self.tac.to_bytes());
        [a, b, c, d, e, f, g, h]
    }

    /// Reads the answer.
    pub fn decode(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut fields = Fields::exact("the answer to GET TRANSACTION PROOF", bytes, Self::LENGTH)?;
        Ok(Self { mac2: fields.array()?.into(), tac: fields.array()?.into() })
    }
}
