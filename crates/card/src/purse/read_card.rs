//! Reading a purse by plain commands: what a reader would see. A hint, unless proven otherwise.

use tsm_epurse::commands::{BalanceKind, GetBalance, GetBalanceResponse, ReadBinary, ReadRecord};
use tsm_epurse::file::{HISTORY_RECORDS, HistoryRecord, LOG_RECORDS, LogRecord, PublicInformation};
use tsm_epurse::{Amount, LayoutError, Sfi};
use tsm_iso7816::{Aid, StatusWord};

use crate::channel::CardChannel;
use crate::error::ProcedureError;
use crate::open_channel::SecureChannel;
use crate::script::{Answers, Command, Script, Ticket};
use crate::step::ExpectedStatus;

/// What a purse shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardReading {
    /// 9000, or 6283 of a blocked purse, which reads all the same.
    pub select_status: StatusWord,
    /// EF15.
    pub public_information: PublicInformation,
    /// What can be spent.
    pub balance: Amount,
    /// EF18, newest first.
    pub transactions: Vec<LogRecord>,
    /// EF1E, newest first.
    pub history: Vec<HistoryRecord>,
}

/// Reads a purse in one exchange.
pub async fn read_card(card: &mut impl CardChannel, purse: Aid) -> Result<CardReading, ProcedureError> {
    let mut script = Script::new();
    let select = script.select(purse, ExpectedStatus::success_or(&[StatusWord::SELECTED_FILE_INVALIDATED]));
    let read =
        ReadBinary { sfi: Sfi::PUBLIC_INFORMATION, offset: 0, length: Some(PublicInformation::LENGTH as u8) };
    let public_information = script.transmit(Command::new("READ BINARY", read.to_apdu()));
    let balance = GetBalance { kind: BalanceKind::Usable };
    let balance = script.transmit(Command::new("GET BALANCE", balance.to_apdu()));
    let transactions = script.transmit_all(records(Sfi::TRANSACTION_LOG, LOG_RECORDS));
    let history = script.transmit_all(records(Sfi::TRANSIT_HISTORY, HISTORY_RECORDS));
    let mut answers = script.run(card).await?;
    Ok(CardReading {
        select_status: answers.take_one(&select)?.status,
        public_information: take_read(&mut answers, &public_information, PublicInformation::decode)?,
        balance: take_read(&mut answers, &balance, GetBalanceResponse::decode)?.amount,
        transactions: take_records(&mut answers, &transactions, LogRecord::decode)?,
        history: take_records(&mut answers, &history, HistoryRecord::decode)?,
    })
}

// A card answers 6A83 past its last record.
fn records(sfi: Sfi, count: usize) -> impl Iterator<Item = Command> {
    let numbers = 1..=u8::try_from(count).unwrap_or(u8::MAX);
    numbers.map(move |number| {
        Command::new("READ RECORD", ReadRecord::number(sfi, number).to_apdu())
            .or(&[StatusWord::RECORD_NOT_FOUND])
    })
}

fn take_read<T>(
    answers: &mut Answers,
    ticket: &Ticket,
    decode: impl Fn(&[u8]) -> Result<T, LayoutError>,
) -> Result<T, ProcedureError> {
    let name = answers.name(ticket, 0);
    let response = answers.take_one(ticket)?;
    decode(&response.data).map_err(|error| SecureChannel::unreadable(name, error))
}

fn take_records<T>(
    answers: &mut Answers,
    ticket: &Ticket,
    decode: impl Fn(&[u8]) -> Result<T, LayoutError>,
) -> Result<Vec<T>, ProcedureError> {
    let name = answers.name(ticket, 0);
    answers
        .take(ticket)?
        .into_iter()
        .take_while(|response| response.status.is_success())
        .map(|response| decode(&response.data).map_err(|error| SecureChannel::unreadable(name, error)))
        .collect()
}
