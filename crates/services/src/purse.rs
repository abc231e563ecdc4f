//! Purses at a service: where their keys are, and how the domain's and the purse's values become each other.

use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};
use tsm_api::HexBytes;
use tsm_api::problem::{Both, Problem, ProblemCode, both};
use tsm_domain::{CardNumber, Fen, SeId};
use tsm_epurse::file::ApplicationSerial;
use tsm_epurse::{Amount, DateTime, IssuerFactor, KeyRole};
use tsm_iso7816::Aid;
use tsm_keys::{Derivation, KeyError, KeyHandle, KeyPurpose, KeyReference, KeyService, PursePath};

/// Where the keys of an issuer's purses come from: a root for each role, under one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PurseKeys {
    /// The keys' owner in the key service.
    pub owner: String,
    /// The label of the key set.
    pub label: String,
    /// Its version.
    pub version: u16,
    /// EF15 bytes 0 to 7, the first factor of every card's keys (D-36).
    pub issuer: IssuerFactor,
}

impl PurseKeys {
    /// The name of one role's root.
    pub fn root(&self, role: KeyRole) -> KeyReference {
        KeyReference::new(KeyPurpose::Purse(role), &self.owner, &self.label, self.version)
            .expect("the settings were checked when the service started")
    }

    /// The names themselves are usable.
    pub fn check(&self) -> Result<(), tsm_keys::reference::ReferenceError> {
        KeyReference::new(KeyPurpose::Purse(KeyRole::Load), &self.owner, &self.label, self.version).map(drop)
    }

    /// One key of one card, inside the key service.
    pub fn of_card(
        &self,
        keys: &dyn KeyService,
        role: KeyRole,
        card: CardNumber,
    ) -> Result<KeyHandle, KeyError> {
        let card = ApplicationSerial(card.application_serial()).factor();
        keys.derive(&self.root(role), &Derivation::Purse(PursePath { issuer: self.issuer, card }))
    }
}

/// The date and time that a terminal states: those of China, whatever zone the server is in.
pub fn card_time(at: Timestamp) -> DateTime {
    let local = TimeZone::fixed(Offset::constant(8)).to_datetime(at);
    let narrow = |value: i8| u8::try_from(value).unwrap_or_default();
    DateTime::from_calendar(
        (u16::try_from(local.year()).unwrap_or_default(), narrow(local.month()), narrow(local.day())),
        (narrow(local.hour()), narrow(local.minute()), narrow(local.second())),
    )
    .unwrap_or_default()
}

/// The moment that a terminal stated, if it is one.
pub fn moment(at: DateTime) -> Option<Timestamp> {
    let ((year, month, day), (hour, minute, second)) = (at.date.calendar()?, at.time.clock()?);
    let narrow = |value: u8| i8::try_from(value).ok();
    let date = jiff::civil::Date::new(i16::try_from(year).ok()?, narrow(month)?, narrow(day)?).ok()?;
    let time = jiff::civil::Time::new(narrow(hour)?, narrow(minute)?, narrow(second)?, 0).ok()?;
    TimeZone::fixed(Offset::constant(8)).to_timestamp(date.to_datetime(time)).ok()
}

/// An amount as the purse writes it.
pub fn to_purse(amount: Fen) -> Option<Amount> {
    u32::try_from(amount.get()).ok().map(Amount::from_fen)
}

/// An amount as the wire writes it; larger ones do not exist on cards.
pub fn to_wire(amount: Fen) -> u32 {
    u32::try_from(amount.get()).unwrap_or(u32::MAX)
}

/// A card number as organisations write it: the application serial.
pub fn card_to_wire(card: CardNumber) -> HexBytes {
    HexBytes(card.application_serial().to_vec())
}

/// Reads a card number off the wire.
pub fn card_from_wire(bytes: &HexBytes) -> Result<CardNumber, Problem> {
    let serial: &[u8; 10] =
        bytes.as_bytes().try_into().map_err(|_| Problem::because(ProblemCode::UnknownId, not_a_card()))?;
    CardNumber::from_application_serial(serial)
        .map_err(|error| Problem::because(ProblemCode::UnknownId, error))
}

fn not_a_card() -> Both {
    both("A card is named by its application serial, ten bytes.", "卡片以十字节应用序列号标识。")
}

/// Reads an SE identity off the wire.
pub fn se_from_wire(bytes: &HexBytes) -> Result<SeId, Problem> {
    SeId::new(bytes.as_bytes()).map_err(|error| Problem::because(ProblemCode::MalformedRequest, error))
}

/// Reads an AID off the wire.
pub fn aid_from_wire(bytes: &HexBytes) -> Result<Aid, Problem> {
    bytes.to_aid().map_err(|error| Problem::because(ProblemCode::MalformedRequest, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_keep_the_time_of_china() {
        let at: Timestamp = "2026-11-20T18:05:09.750Z".parse().unwrap();
        assert_eq!(hex::encode(card_time(at).to_bytes()), "20261121020509");
        assert_eq!(moment(card_time(at)), Some("2026-11-20T18:05:09Z".parse().unwrap()));
        assert_eq!(moment(DateTime::from_bytes([0x20, 0x26, 0x13, 0x41, 0, 0, 0])), None);
    }

    #[test]
    fn a_card_is_named_by_ten_decimal_bytes() {
        let card: CardNumber = "3104999000000012345".parse().unwrap();
        assert_eq!(card_from_wire(&card_to_wire(card)), Ok(card));
        for wrong in ["", "03104999000000012345FF", "1310499900000001234A"] {
            let wrong = HexBytes(hex::decode(wrong).unwrap());
            assert_eq!(card_from_wire(&wrong).unwrap_err().code, ProblemCode::UnknownId);
        }
    }
}
