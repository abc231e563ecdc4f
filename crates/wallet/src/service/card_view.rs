//! What a card shows of itself without any server: balance, number, transactions and trips (B-9.2.8).

use tsm_epurse::commands::{BalanceKind, GetBalance, ReadBinary, ReadRecord};
use tsm_epurse::file::{HISTORY_RECORDS, HistoryRecord, LOG_RECORDS, LogRecord, PublicInformation};
use tsm_epurse::{Amount, Sfi};
use tsm_iso7816::{Aid, ResponseApdu, StatusWord};

use super::{Wallet, WalletError};
use crate::se_operation::SecureElementAccess;
use crate::storage::WalletStorage;

/// A card as the rider sees it. What it says is not proven to anyone; servers ask the card themselves.
#[derive(Debug, Clone, PartialEq)]
pub struct CardView {
    /// The last four digits of the card number; the rest stays on the card (W-9.2).
    pub number_ending: String,
    /// What can be spent.
    pub balance_fen: u32,
    /// Whether the card is blocked.
    pub blocked: Blocked,
    /// The purse's own log, newest first, at most ten.
    pub transactions: Vec<LogRecord>,
    /// The transit history, newest first, at most thirty.
    pub trips: Vec<TripRecord>,
}

/// A record of the transit history.
pub type TripRecord = HistoryRecord;

/// Whether a card may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blocked {
    /// It may.
    No,
    /// Locked for a time: it can be read and not spent from.
    ForATime,
}

impl<A: SecureElementAccess, S: WalletStorage> Wallet<A, S> {
    /// Reads a card's balance, number, transactions and trips.
    pub async fn view_card(&mut self, aid: &Aid) -> Result<CardView, WalletError> {
        let (log, history) = (sfi(0x18), sfi(0x1E));
        let mut commands = vec![
            GetBalance { kind: BalanceKind::Usable }.to_apdu(),
            ReadBinary { sfi: sfi(0x15), offset: 0, length: None }.to_apdu(),
        ];
        let records = |file, count: usize| {
            (1..=count).map(move |number| ReadRecord::number(file, number as u8).to_apdu())
        };
        commands.extend(records(log, LOG_RECORDS));
        commands.extend(records(history, HISTORY_RECORDS));
        let (selected, responses) = self.element.ask(aid, &commands).await?;
        let blocked = match selected.status {
            StatusWord::SUCCESS => Blocked::No,
            StatusWord::SELECTED_FILE_INVALIDATED => Blocked::ForATime,
            _ => return Err(WalletError::UnreadableCard("SELECT of the purse")),
        };
        view_of(&responses, blocked)
    }
}

fn view_of(responses: &[ResponseApdu], blocked: Blocked) -> Result<CardView, WalletError> {
    let [balance, information, records @ ..] = responses else {
        return Err(WalletError::UnreadableCard("GET BALANCE"));
    };
    let (log, history) = records.split_at(LOG_RECORDS.min(records.len()));
    let balance = successful(balance, "GET BALANCE")?;
    let balance = <[u8; 4]>::try_from(balance).map_err(|_| WalletError::UnreadableCard("GET BALANCE"))?;
    let information = PublicInformation::decode(successful(information, "READ BINARY of EF15")?)
        .map_err(|_| WalletError::UnreadableCard("READ BINARY of EF15"))?;
    let digits = information.serial.digits();
    Ok(CardView {
        number_ending: digits[digits.len().saturating_sub(4)..].to_owned(),
        balance_fen: Amount::from_bytes(balance).fen(),
        blocked,
        transactions: readable(log, LogRecord::decode, |record| record.sequence.to_bytes() != [0, 0]),
        trips: readable(history, HistoryRecord::decode, |record| u8::from(record.history_type) != 0),
    })
}

/// The records that are there and hold something; a card answers 6A83 past the last one.
fn readable<T, E>(
    responses: &[ResponseApdu],
    decode: impl Fn(&[u8]) -> Result<T, E>,
    holds_something: impl Fn(&T) -> bool,
) -> Vec<T> {
    responses
        .iter()
        .filter(|response| response.status.is_success())
        .filter_map(|response| decode(&response.data).ok())
        .filter(|record| holds_something(record))
        .collect()
}

fn successful<'a>(response: &'a ResponseApdu, what: &'static str) -> Result<&'a [u8], WalletError> {
    if response.status.is_success() { Ok(&response.data) } else { Err(WalletError::UnreadableCard(what)) }
}

fn sfi(value: u8) -> Sfi {
    Sfi::new(value).expect("the purse's file identifiers are between 1 and 30")
}
