//! A purse found in the field: selected through the contactless directory, its files read.

use tsm_epurse::{
    CardFactor, Date, IssuerFactor, Sfi,
    commands::{BalanceKind, GetBalance, GetBalanceResponse, ReadBinary, ReadRecord},
    file::{
        ApplicationSerial, CrcTail, DiscountRecord, LogRecord, Management, PublicInformation, RailRecord,
        RecordId,
    },
    select::{self, Directory, DirectoryEntry, PPSE_AID, PURSE_AID, PurseFci},
};
use tsm_iso7816::{CommandApdu, StatusWord};

use crate::{
    reader::{CardReader, ExchangeError, exchange, exchange_warned},
    record::Refusal,
    terminal::TapError,
};

/// A selected purse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PurseCard {
    public_information: PublicInformation,
}

/// A purse as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// It can be used.
    Open(PurseCard),
    /// It is blocked; its number, when it still says so.
    Blocked(Option<PurseCard>),
}

impl PurseCard {
    /// Selects the directory, then the purse of highest priority that this terminal serves (JT/T 978.2;
    /// B-6.7).
    pub fn find(reader: &mut impl CardReader) -> Result<Self, TapError> {
        match Self::find_any(reader)? {
            Found::Open(card) => Ok(card),
            Found::Blocked(_) => Err(Refusal::Blocked.into()),
        }
    }

    /// The same, blocked purses included.
    pub(crate) fn find_any(reader: &mut impl CardReader) -> Result<Found, TapError> {
        let directory =
            exchange(reader, "SELECT PPSE", &select::select(&PPSE_AID)).map_err(no_application)?;
        let directory =
            Directory::decode(&directory).map_err(|_| ExchangeError::Answer { command: "SELECT PPSE" })?;
        for entry in directory.by_priority() {
            if !is_purse(entry) {
                continue;
            }
            match Self::select(reader, entry) {
                Err(TapError::Exchange(ExchangeError::Refused { status: StatusWord::NOT_FOUND, .. })) => {}
                decided => return decided,
            }
        }
        Err(Refusal::NoApplication.into())
    }

    fn select(reader: &mut impl CardReader, entry: &DirectoryEntry) -> Result<Found, TapError> {
        const COMMAND: &str = "SELECT";
        let purse =
            |fci: &[u8]| PurseFci::decode(fci).map(|fci| Self { public_information: fci.public_information });
        let answer = exchange_warned(reader, COMMAND, &select::select(&entry.aid));
        match answer {
            Ok(answer) if answer.status.is_success() => {
                let card = purse(&answer.data).map_err(|_| ExchangeError::Answer { command: COMMAND })?;
                Ok(Found::Open(card))
            }
            // D-35: blocked for a time; the answer may still have the number.
            Ok(answer) => Ok(Found::Blocked(purse(&answer.data).ok())),
            Err(error) => match error.status() {
                // Blocked for ever, card blocked.
                Some(StatusWord::APPLICATION_PERMANENTLY_LOCKED | StatusWord::FUNCTION_NOT_SUPPORTED) => {
                    Ok(Found::Blocked(None))
                }
                _ => Err(error.into()),
            },
        }
    }

    /// The purse must be enabled and valid on `day`.
    pub fn check_validity(&self, day: Date) -> Result<(), Refusal> {
        let file = &self.public_information;
        if file.application_version != PublicInformation::ENABLED {
            return Err(Refusal::NotEnabled);
        }
        // Packed decimal compares like the calendar.
        if day < file.enabled_on || day > file.expires_on {
            return Err(Refusal::OutOfValidity);
        }
        Ok(())
    }

    /// The card's number.
    pub const fn serial(&self) -> ApplicationSerial {
        self.public_information.serial
    }

    /// The issuer's factor in key derivation.
    pub const fn issuer(&self) -> IssuerFactor {
        self.public_information.issuer
    }

    /// The card's factor in key derivation.
    pub const fn factor(&self) -> CardFactor {
        self.public_information.card_factor()
    }

    /// EF15, from the answer to SELECT.
    pub const fn public_information(&self) -> &PublicInformation {
        &self.public_information
    }

    /// EF17.
    pub fn management(&self, reader: &mut impl CardReader) -> Result<Management, ExchangeError> {
        let command = ReadBinary { sfi: Sfi::MANAGEMENT, offset: 0, length: Some(Management::LENGTH as u8) };
        let content = exchange(reader, "READ BINARY", &command.to_apdu())?;
        Management::decode(&content).map_err(|_| ExchangeError::Answer { command: "READ BINARY" })
    }

    /// The metro's record of EF1A; a card that has never been in a metro may have none yet.
    pub fn rail_record(&self, reader: &mut impl CardReader) -> Result<RailRecord, ExchangeError> {
        let command = ReadRecord::number(Sfi::TRANSIT_RECORDS, RecordId::RAIL.number());
        let Some(content) = record(reader, &command.to_apdu())? else {
            return Ok(RailRecord::empty());
        };
        RailRecord::decode(&content, CrcTail::None)
            .map_err(|_| ExchangeError::Answer { command: "READ RECORD" })
    }

    /// The record of EF1A that discounts depend on; a card that has never been charged with one has none yet.
    pub fn discount_record(&self, reader: &mut impl CardReader) -> Result<DiscountRecord, ExchangeError> {
        let command = ReadRecord::number(Sfi::TRANSIT_RECORDS, RecordId::DISCOUNT.number());
        let Some(content) = record(reader, &command.to_apdu())? else {
            return Ok(DiscountRecord::empty());
        };
        DiscountRecord::decode(&content).map_err(|_| ExchangeError::Answer { command: "READ RECORD" })
    }

    /// What can be spent.
    pub fn balance(&self, reader: &mut impl CardReader) -> Result<tsm_epurse::Amount, ExchangeError> {
        let command = GetBalance { kind: BalanceKind::Usable };
        let content = exchange(reader, "GET BALANCE", &command.to_apdu())?;
        let answer = GetBalanceResponse::decode(&content);
        answer.map(|answer| answer.amount).map_err(|_| ExchangeError::Answer { command: "GET BALANCE" })
    }

    /// Record `number` of EF18, 1 the newest; `None` past the last.
    pub fn log_record(
        &self,
        reader: &mut impl CardReader,
        number: u8,
    ) -> Result<Option<LogRecord>, ExchangeError> {
        let command = ReadRecord::number(Sfi::TRANSACTION_LOG, number);
        let content = record(reader, &command.to_apdu())?;
        content
            .map(|content| LogRecord::decode(&content))
            .transpose()
            .map_err(|_| ExchangeError::Answer { command: "READ RECORD" })
    }
}

/// A record's content, or `None` past the last.
pub(crate) fn record(
    reader: &mut impl CardReader,
    command: &CommandApdu,
) -> Result<Option<Vec<u8>>, ExchangeError> {
    match exchange(reader, "READ RECORD", command) {
        Ok(content) => Ok(Some(content)),
        Err(ExchangeError::Refused { status: StatusWord::RECORD_NOT_FOUND, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The purse under its own name or with a city's extension behind it.
fn is_purse(entry: &DirectoryEntry) -> bool {
    entry.aid.starts_with(PURSE_AID.as_bytes())
}

fn no_application(error: ExchangeError) -> TapError {
    match error.status() {
        Some(StatusWord::NOT_FOUND) => Refusal::NoApplication.into(),
        _ => error.into(),
    }
}
