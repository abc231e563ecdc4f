//! Reading everything that a purse holds, in a secure channel with the purse, so that each answer is the
//! card's own word (B-7.6.1.a).
//!
//! A blocked purse shows its files and balances and refuses every INITIALIZE, which alone tells the counters.
//! Whoever blocks a purse asks for the counters first, in the same list; what a terminal may have debited
//! between the two shows in the balance.
//!
//! Error status words carry no MAC, so the end of a cyclic file is a hint: whoever stands between could hide
//! the oldest records of EF18 and EF1E from the reader, never change one, and never touch amounts, counters
//! or EF1A.

use tsm_epurse::card::PurseState;
use tsm_epurse::commands::{
    BalanceKind, GetBalance, GetBalanceResponse, InitializeForLoad, InitializeForLoadResponse,
    InitializeForPurchase, InitializeForPurchaseResponse, PurchaseKind, ReadBinary, ReadRecord,
};
use tsm_epurse::file::{
    HISTORY_RECORDS, HistoryRecord, Holder, LOG_RECORDS, LogRecord, Management, PublicInformation,
    TRANSIT_RECORDS, TransitRecord,
};
use tsm_epurse::personalization::PurseStart;
use tsm_epurse::{
    Algorithm, Amount, CardImage, KeyIndex, KeyVersion, LayoutError, OfflineCounter, OnlineCounter,
    OverdraftLimit, Sfi, TerminalNumber,
};
use tsm_iso7816::{ResponseApdu, StatusWord};

use crate::error::{CommandName, ProcedureError};
use crate::open_channel::SecureChannel;
use crate::script::{Answers, Command, Script, Ticket};

/// What the INITIALIZE commands tell and no file shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PurseCounters {
    /// What can be spent.
    pub usable: Amount,
    /// The count of online transactions.
    pub online: OnlineCounter,
    /// The count of offline transactions.
    pub offline: OfflineCounter,
    /// The version of the keys.
    pub key_version: KeyVersion,
    /// The key set in use.
    pub algorithm: Algorithm,
}

/// What a purse shows, blocked or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PurseFiles {
    /// What can be spent.
    pub usable: Amount,
    /// What the purse truly holds.
    pub purse: Amount,
    /// The overdraft limit.
    pub overdraft_limit: OverdraftLimit,
    /// The overdraft used.
    pub overdraft_used: OverdraftLimit,
    /// EF15.
    pub public_information: PublicInformation,
    /// EF16.
    pub holder: Holder,
    /// EF17.
    pub management: Management,
    /// EF18, newest first.
    pub log: Vec<LogRecord>,
    /// EF1E, newest first.
    pub history: Vec<HistoryRecord>,
    /// EF1A.
    pub transit_records: Vec<TransitRecord>,
}

/// The questions for the counters, whose answers are to come.
#[derive(Debug)]
pub struct AskingCounters {
    load: Ticket,
    purchase: Ticket,
}

/// The questions for everything else, whose answers are to come.
#[derive(Debug)]
pub struct ReadingFiles {
    balances: Ticket,
    transparent: Ticket,
    log: Ticket,
    history: Ticket,
    transit: Ticket,
}

impl AskingCounters {
    /// Adds the questions. `terminal` is a number that the card has never seen, as for any load; nothing is
    /// loaded or bought.
    pub fn add(
        channel: &mut SecureChannel,
        terminal: TerminalNumber,
        script: &mut Script,
    ) -> Result<Self, ProcedureError> {
        let key_index = KeyIndex::FIRST;
        let load = InitializeForLoad { key_index, amount: Amount::from_fen(1), terminal };
        let kind = PurchaseKind::Composite;
        let purchase = InitializeForPurchase { kind, key_index, amount: Amount::ZERO, terminal };
        let load = Command::new("INITIALIZE FOR LOAD", load.to_apdu());
        let purchase = Command::new("INITIALIZE FOR CAPP PURCHASE", purchase.to_apdu());
        Ok(Self { load: channel.add(script, vec![load])?, purchase: channel.add(script, vec![purchase])? })
    }

    /// Takes the answers.
    pub fn take(
        self,
        channel: &mut SecureChannel,
        answers: &mut Answers,
    ) -> Result<PurseCounters, ProcedureError> {
        let (load_name, purchase_name) = (answers.name(&self.load, 0), answers.name(&self.purchase, 0));
        let load = channel.take_one(answers, &self.load)?;
        let load = readable(load_name, InitializeForLoadResponse::decode(&load.data))?;
        let purchase = channel.take_one(answers, &self.purchase)?;
        let purchase = readable(purchase_name, InitializeForPurchaseResponse::decode(&purchase.data))?;
        if (load.balance, load.key_version, load.algorithm)
            != (purchase.balance, purchase.key_version, purchase.algorithm)
        {
            return Err(SecureChannel::unreadable(purchase_name, "it contradicts the answer before it"));
        }
        Ok(PurseCounters {
            usable: purchase.balance,
            online: load.counter,
            offline: purchase.counter,
            key_version: purchase.key_version,
            algorithm: Algorithm::try_from(purchase.algorithm)
                .map_err(|error| SecureChannel::unreadable(purchase_name, error))?,
        })
    }
}

impl ReadingFiles {
    /// Adds the questions.
    pub fn add(channel: &mut SecureChannel, script: &mut Script) -> Result<Self, ProcedureError> {
        let balance = |kind| Command::new("GET BALANCE", GetBalance { kind }.to_apdu());
        let kinds = [
            BalanceKind::Usable,
            BalanceKind::Purse,
            BalanceKind::OverdraftLimit,
            BalanceKind::UsedOverdraft,
        ];
        let binary = |(sfi, length): (Sfi, usize)| {
            let length = u8::try_from(length).ok();
            Command::new("READ BINARY", ReadBinary { sfi, offset: 0, length }.to_apdu())
        };
        let files = [
            (Sfi::PUBLIC_INFORMATION, PublicInformation::LENGTH),
            (Sfi::HOLDER, Holder::LENGTH),
            (Sfi::MANAGEMENT, Management::LENGTH),
        ];
        Ok(Self {
            balances: channel.add(script, kinds.map(balance).to_vec())?,
            transparent: channel.add(script, files.map(binary).to_vec())?,
            log: channel.add(script, records(Sfi::TRANSACTION_LOG, LOG_RECORDS))?,
            history: channel.add(script, records(Sfi::TRANSIT_HISTORY, HISTORY_RECORDS))?,
            transit: channel.add(script, records(Sfi::TRANSIT_RECORDS, TRANSIT_RECORDS))?,
        })
    }

    /// Takes the answers.
    pub fn take(
        self,
        channel: &mut SecureChannel,
        answers: &mut Answers,
    ) -> Result<PurseFiles, ProcedureError> {
        let names = [&self.balances, &self.transparent, &self.log, &self.history, &self.transit]
            .map(|ticket| answers.name(ticket, 0));
        let [balance_name, file_name, log_name, history_name, transit_name] = names;
        let balances = channel.take(answers, &self.balances)?;
        let transparent = channel.take(answers, &self.transparent)?;
        let log = channel.take(answers, &self.log)?;
        let history = channel.take(answers, &self.history)?;
        let transit = channel.take(answers, &self.transit)?;
        let amount = |index: usize| -> Result<Amount, ProcedureError> {
            Ok(readable(balance_name, GetBalanceResponse::decode(&balances[index].data))?.amount)
        };
        let limit = |index: usize| -> Result<OverdraftLimit, ProcedureError> {
            let too_high = || SecureChannel::unreadable(balance_name, "an overdraft has three bytes");
            OverdraftLimit::from_fen(amount(index)?.fen()).ok_or_else(too_high)
        };
        Ok(PurseFiles {
            usable: amount(0)?,
            purse: amount(1)?,
            overdraft_limit: limit(2)?,
            overdraft_used: limit(3)?,
            public_information: readable(file_name, PublicInformation::decode(&transparent[0].data))?,
            holder: readable(file_name, Holder::decode(&transparent[1].data))?,
            management: readable(file_name, Management::decode(&transparent[2].data))?,
            log: until_the_end(log_name, &log, LogRecord::decode)?,
            history: until_the_end(history_name, &history, HistoryRecord::decode)?,
            transit_records: until_the_end(transit_name, &transit, TransitRecord::decode)?,
        })
    }
}

impl PurseFiles {
    /// The whole image, with the counters that were asked for in the same session; none when the two
    /// contradict each other, as they do when the purse was used in between.
    pub fn image(self, counters: &PurseCounters) -> Option<CardImage> {
        let state = PurseState::new(
            self.purse,
            self.overdraft_limit,
            self.overdraft_used,
            counters.online,
            counters.offline,
        );
        let state = state.ok().filter(|state| state.usable() == self.usable)?;
        (self.usable == counters.usable).then(|| {
            CardImage::new(
                self.public_information,
                self.holder,
                self.management,
                PurseStart { state, key_version: counters.key_version, algorithm: counters.algorithm },
                self.log,
                self.history,
                self.transit_records,
            )
        })
    }
}

// A card answers 6A83 past its last record.
fn records(sfi: Sfi, count: usize) -> Vec<Command> {
    let numbers = 1..=u8::try_from(count).unwrap_or(u8::MAX);
    let read = |number| Command::new("READ RECORD", ReadRecord::number(sfi, number).to_apdu());
    numbers.map(|number| read(number).or(&[StatusWord::RECORD_NOT_FOUND])).collect()
}

fn until_the_end<T>(
    name: CommandName,
    responses: &[ResponseApdu],
    decode: impl Fn(&[u8]) -> Result<T, LayoutError>,
) -> Result<Vec<T>, ProcedureError> {
    let shown = responses.iter().take_while(|response| response.status.is_success());
    shown.map(|response| readable(name, decode(&response.data))).collect()
}

fn readable<T>(name: CommandName, read: Result<T, LayoutError>) -> Result<T, ProcedureError> {
    read.map_err(|error| SecureChannel::unreadable(name, error))
}
