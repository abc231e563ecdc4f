//! The commands of a PSAM, the security module inside a terminal (as PSAMs of T-Union terminals
//! have them).
//!
//! The PSAM holds the root purchase key, derives a card's key inside, counts the terminal's
//! transactions, makes MAC1 and verifies MAC2. It is a card in its own slot, so this module is like
//! [`crate::commands`]: structures that a terminal writes and a PSAM reads.

use tsm_iso7816::{Aid, CommandApdu};

use crate::{
    Amount, CardFactor, CardRandom, Challenge, CommandError, DateTime, IssuerFactor, KeyVersion, LayoutError,
    Mac, OfflineCounter, TerminalSequence, TransactionType, bytes::Fields,
};

/// DF name of the transport directory in a PSAM: A000000632 and "MOT.CPSAM01".
pub const PSAM_AID: Aid = Aid::constant(b"\xA0\x00\x00\x06\x32MOT.CPSAM01");

/// SELECT of the transport directory by its file identifier 8011.
pub fn select_directory() -> CommandApdu {
    CommandApdu::new(0x00, 0xA4, 0x00, 0x00).with_data([0x80, 0x11])
}

fn data<const N: usize>(apdu: &CommandApdu) -> Result<[u8; N], CommandError> {
    apdu.data.as_slice().try_into().map_err(|_| CommandError::Length { found: apdu.data.len() })
}

fn expect(apdu: &CommandApdu, ins: u8) -> Result<(), CommandError> {
    if apdu.cla != 0x80 {
        return Err(CommandError::Class(apdu.cla));
    }
    if apdu.ins != ins {
        return Err(CommandError::Instruction(apdu.ins));
    }
    Ok(())
}

fn in_data(_: LayoutError) -> CommandError {
    CommandError::Data
}

/// INIT SAM FOR PURCHASE: 80 70, with both factors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InitSamForPurchase {
    /// The card's random number.
    pub random: CardRandom,
    /// The card's offline counter.
    pub counter: OfflineCounter,
    /// The amount.
    pub amount: Amount,
    /// 06 simple, 09 composite.
    pub transaction_type: TransactionType,
    /// When, by the terminal's clock.
    pub at: DateTime,
    /// Version of the card's purchase key.
    pub key_version: KeyVersion,
    /// The card's algorithm identifier, see [`crate::Algorithm`].
    pub algorithm: u8,
    /// The card's factor; it stands first, and is applied last (D-36).
    pub card: CardFactor,
    /// The issuer's factor.
    pub issuer: IssuerFactor,
}

impl InitSamForPurchase {
    /// The command.
    pub fn to_apdu(&self) -> CommandApdu {
        let mut data = self.random.to_bytes().to_vec();
        data.extend(self.counter.to_bytes());
        data.extend(self.amount.to_bytes());
        data.push(self.transaction_type.into());
        data.extend(self.at.to_bytes());
        data.extend([self.key_version.0, self.algorithm]);
        data.extend(self.card.to_bytes());
        data.extend(self.issuer.to_bytes());
        CommandApdu::new(0x80, 0x70, 0x00, 0x00).with_data(data).with_ne(8)
    }
}

impl TryFrom<&CommandApdu> for InitSamForPurchase {
    type Error = CommandError;

    fn try_from(apdu: &CommandApdu) -> Result<Self, CommandError> {
        expect(apdu, 0x70)?;
        let data = data::<0x24>(apdu)?;
        let mut fields = Fields::new("INIT SAM FOR PURCHASE", &data);
        Ok(Self {
            random: fields.array().map_err(in_data)?.into(),
            counter: OfflineCounter::from_bytes(fields.array().map_err(in_data)?),
            amount: Amount::from_bytes(fields.array().map_err(in_data)?),
            transaction_type: fields.byte().map_err(in_data)?.into(),
            at: DateTime::from_bytes(fields.array().map_err(in_data)?),
            key_version: KeyVersion(fields.byte().map_err(in_data)?),
            algorithm: fields.byte().map_err(in_data)?,
            card: fields.array().map_err(in_data)?.into(),
            issuer: fields.array().map_err(in_data)?.into(),
        })
    }
}

/// The answer: the terminal's number for this transaction, and MAC1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InitSamForPurchaseResponse {
    /// The terminal's transaction number.
    pub terminal_sequence: TerminalSequence,
    /// MAC1 for DEBIT FOR PURCHASE.
    pub mac1: Mac,
}

impl InitSamForPurchaseResponse {
    /// As the PSAM answers it.
    pub fn encode(&self) -> [u8; 8] {
        let ([a, b, c, d], [e, f, g, h]) = (self.terminal_sequence.to_bytes(), self.mac1.to_bytes());
        [a, b, c, d, e, f, g, h]
    }

    /// Reads the answer.
    pub fn decode(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut fields = Fields::exact("the answer to INIT SAM FOR PURCHASE", bytes, 8)?;
        Ok(Self {
            terminal_sequence: TerminalSequence::from_bytes(fields.array()?),
            mac1: fields.array()?.into(),
        })
    }
}

/// CREDIT SAM FOR PURCHASE: 80 72, the card's MAC2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CreditSamForPurchase {
    /// MAC2 from DEBIT FOR PURCHASE.
    pub mac2: Mac,
}

impl CreditSamForPurchase {
    /// The command.
    pub fn to_apdu(&self) -> CommandApdu {
        CommandApdu::new(0x80, 0x72, 0x00, 0x00).with_data(self.mac2.to_bytes())
    }
}

impl TryFrom<&CommandApdu> for CreditSamForPurchase {
    type Error = CommandError;

    fn try_from(apdu: &CommandApdu) -> Result<Self, CommandError> {
        expect(apdu, 0x72)?;
        Ok(Self { mac2: Mac::new(data(apdu)?) })
    }
}

/// DELIVERY KEY: 80 1A, derives a working key for [`CipherData`] through both levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeliveryKey {
    /// P1: low five bits the key's use, high three the number of levels.
    pub usage: u8,
    /// P2: the key's index.
    pub key_index: u8,
    /// The card's factor; it stands first, and is applied last (D-36).
    pub card: CardFactor,
    /// The issuer's factor.
    pub issuer: IssuerFactor,
}

impl DeliveryKey {
    /// P1 of the key that locks a black-listed card: application maintenance, two levels.
    pub const APPLICATION_MAINTENANCE: u8 = 0x45;

    /// The command.
    pub fn to_apdu(&self) -> CommandApdu {
        let mut data = self.card.to_bytes().to_vec();
        data.extend(self.issuer.to_bytes());
        CommandApdu::new(0x80, 0x1A, self.usage, self.key_index).with_data(data)
    }
}

impl TryFrom<&CommandApdu> for DeliveryKey {
    type Error = CommandError;

    fn try_from(apdu: &CommandApdu) -> Result<Self, CommandError> {
        expect(apdu, 0x1A)?;
        let [a, b, c, d, e, f, g, h, rest @ ..] = data::<16>(apdu)?;
        Ok(Self {
            usage: apdu.p1,
            key_index: apdu.p2,
            card: CardFactor::new([a, b, c, d, e, f, g, h]),
            issuer: IssuerFactor::new(rest),
        })
    }
}

/// CIPHER DATA: 80 FA. Of its modes the one that locks cards: P1 05, a MAC in one command, begun
/// from the first eight bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CipherData {
    /// The card's challenge; zeros fill the eight bytes.
    pub challenge: Challenge,
    /// What the MAC covers, padded to whole blocks by the terminal.
    pub padded_message: Vec<u8>,
}

impl CipherData {
    /// The command.
    pub fn to_apdu(&self) -> CommandApdu {
        let mut data = self.challenge.to_bytes().to_vec();
        data.extend([0; 4]);
        data.extend(&self.padded_message);
        CommandApdu::new(0x80, 0xFA, 0x05, 0x00).with_data(data).with_ne(4)
    }
}

impl TryFrom<&CommandApdu> for CipherData {
    type Error = CommandError;

    fn try_from(apdu: &CommandApdu) -> Result<Self, CommandError> {
        expect(apdu, 0xFA)?;
        if (apdu.p1, apdu.p2) != (0x05, 0x00) {
            return Err(CommandError::Parameters(apdu.p1, apdu.p2));
        }
        let length = CommandError::Length { found: apdu.data.len() };
        let (challenge, rest) = apdu.data.split_first_chunk::<4>().ok_or(length)?;
        let (zeros, message) = rest.split_first_chunk::<4>().ok_or(length)?;
        if *zeros != [0; 4] {
            return Err(CommandError::Data);
        }
        if message.is_empty() || !message.len().is_multiple_of(8) {
            return Err(length);
        }
        Ok(Self { challenge: Challenge::new(*challenge), padded_message: message.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<C>(command: &C, apdu: &CommandApdu, bytes: &str)
    where
        C: for<'a> TryFrom<&'a CommandApdu, Error = CommandError> + PartialEq + core::fmt::Debug,
    {
        assert_eq!(hex::encode_upper(apdu.to_bytes().unwrap()), bytes);
        assert_eq!(&C::try_from(apdu).unwrap(), command);
    }

    /// Source: command forms of real T-Union terminals, with the worked example's values.
    #[test]
    fn commands_are_what_terminals_send() {
        let card = CardFactor::new([0x49, 0x99, 0, 0, 0, 1, 0x23, 0x45]);
        let issuer = IssuerFactor::new([0x09, 0x99, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF]);
        let init = InitSamForPurchase {
            random: CardRandom::new([0x99, 0xAA, 0xBB, 0xCC]),
            counter: OfflineCounter::new(0x042D),
            amount: Amount::from_fen(500),
            transaction_type: TransactionType::CompositePurchase,
            at: DateTime::from_bytes([0x20, 0x24, 0x12, 0x29, 0x14, 0x17, 0x40]),
            key_version: KeyVersion(1),
            algorithm: 0,
            card,
            issuer,
        };
        let bytes = "807000002499AABBCC042D000001F409202412291417400100499900000001234509990000FFFFFFFF08";
        check(&init, &init.to_apdu(), bytes);
        let credit = CreditSamForPurchase { mac2: Mac::new([0x0F, 0x38, 0xDD, 0x80]) };
        check(&credit, &credit.to_apdu(), "80720000040F38DD80");
        let delivery =
            DeliveryKey { usage: DeliveryKey::APPLICATION_MAINTENANCE, key_index: 2, card, issuer };
        check(&delivery, &delivery.to_apdu(), "801A450210499900000001234509990000FFFFFFFF");
        let cipher = CipherData {
            challenge: Challenge::new([1, 2, 3, 4]),
            padded_message: vec![0x84, 0x1E, 0, 0, 4, 0x80, 0, 0],
        };
        check(&cipher, &cipher.to_apdu(), "80FA0500100102030400000000841E00000480000004");
        assert_eq!(hex::encode_upper(select_directory().to_bytes().unwrap()), "00A40000028011");
        assert_eq!(PSAM_AID.as_bytes(), hex::decode("A0000006324D4F542E435053414D3031").unwrap());
        let answer = InitSamForPurchaseResponse::decode(&hex::decode("000012356BBE4DB2").unwrap()).unwrap();
        assert_eq!(answer.terminal_sequence.value(), 0x1235);
        assert_eq!(hex::encode_upper(answer.encode()), "000012356BBE4DB2");
    }

    #[test]
    fn parsers_never_panic() {
        bolero::check!().for_each(|bytes| {
            if let Ok(apdu) = CommandApdu::parse(bytes) {
                let _ = InitSamForPurchase::try_from(&apdu);
                let _ = CreditSamForPurchase::try_from(&apdu);
                let _ = DeliveryKey::try_from(&apdu);
                let _ = CipherData::try_from(&apdu);
            }
            let _ = InitSamForPurchaseResponse::decode(bytes);
        });
    }
}
