//! The record of a listed card: UC. Issuer and card are as in the field; kind and reason are ours.

use tsm_domain::money::{ListKind, ListReason, ListedCard};

use super::Record;
use super::fields::{FormatError, Reader, Writer};
use super::transaction::read_card;

/// A listed card as a line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListedRecord {
    /// The issuer: the first eight digits of the card's number [0-11].
    pub issuer: String,
    /// The card [11-31], its kind [31] and reason [32-34].
    pub listed: ListedCard,
}

impl ListedRecord {
    /// The line of a card.
    pub fn of(listed: ListedCard) -> Self {
        Self { issuer: listed.card.as_str()[..8].to_owned(), listed }
    }
}

impl Record for ListedRecord {
    const LENGTH: u16 = 34;

    fn encode(&self) -> Result<String, FormatError> {
        let mut writer = Writer::default();
        writer.text("issuer", &self.issuer, 11)?;
        writer.text("card number", self.listed.card.as_str(), 20)?;
        let kind = match self.listed.kind {
            ListKind::Black => 1,
            ListKind::Grey => 2,
        };
        writer.number("kind", kind, 1)?;
        let reason = ListReason::ALL.iter().position(|reason| *reason == self.listed.reason);
        writer.number("reason", reason.map_or(0, |index| index as u64 + 1), 2)?;
        Ok(writer.into_text())
    }

    fn decode(line: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(line);
        let issuer = reader.text("issuer", 11)?.to_owned();
        let card = read_card(&mut reader)?;
        let kind = match reader.number("kind", 1)? {
            1 => ListKind::Black,
            2 => ListKind::Grey,
            _ => return Err(FormatError::Field("kind")),
        };
        let reason: usize = reader.number_as("reason", 2)?;
        let reason = reason.checked_sub(1).and_then(|index| ListReason::ALL.get(index).copied());
        let reason = reason.ok_or(FormatError::Field("reason"))?;
        reader.finish()?;
        Ok(Self { issuer, listed: ListedCard { card, kind, reason } })
    }
}
