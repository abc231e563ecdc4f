//! `opentsm terminal`: a gate, a POS or a top-up terminal of a running city, on the command line.
//!
//! Each is the terminal that ships, with its PSAM's keys and a store in the city's folder, so that it goes on
//! where it was left, offline or not.

mod times;
mod words;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;
use tsm_api::client::{ClientError, SpTsmTerminal};
use tsm_domain::environment::{Clock as _, Entropy as _};
use tsm_epurse::commands::PurchaseKind;
use tsm_epurse::file::Industry;
use tsm_epurse::{Amount, DateTime, TerminalNumber};
use tsm_iso7816::{CommandApdu, ResponseApdu};
use tsm_se::readers::RemoteCard;
use tsm_services::purse::card_time;
use tsm_terminal::gate::Booking;
use tsm_terminal::pos::PosProfile;
use tsm_terminal::store::{Opened, Remark};
use tsm_terminal::top_up::{Answer, Ask, CashOutcome, TopUpHost, TopUpTerminal, run as hold};
use tsm_terminal::{Gate, Passage, Pos, ReaderError, Receipt, TerminalClass, service};

use super::se::{Addresses, CARD_ADDRESS};
use super::wallet::Spoken;
use crate::city::centre::Centre;
use crate::city::ceremony::ISSUER_FACTOR;
use crate::city::folder::CityFolder;
use crate::city::gates;
use crate::city::plan::{CityPlan, Role};
use crate::city::roles::{self, BY_HAND};
use crate::city::terminals::{AtHand, CityTerminal, CityTerminals};
use crate::environment::{SystemClock, SystemEntropy};
use crate::errors::chain;

/// Options of `opentsm terminal`.
#[derive(Debug, Args)]
pub struct Options {
    /// The folder of the city: that of `opentsm up --data`.
    #[arg(long, value_name = "DIR", default_value = ".")]
    city: PathBuf,

    /// Which phone of the city is held to the terminal; `opentsm se --city` runs it.
    #[arg(long, value_name = "N", conflicts_with = "card")]
    phone: Option<u32>,

    /// The card held to the terminal: the contactless address of an `opentsm se --listen`.
    #[arg(long, value_name = "ADDRESS")]
    card: Option<SocketAddr>,

    /// The language of everything shown.
    #[arg(long, value_enum, default_value_t = Spoken::En)]
    language: Spoken,

    /// One JSON object for scripts.
    #[arg(long)]
    json: bool,

    #[command(subcommand)]
    operation: Operation,
}

#[derive(Debug, Subcommand)]
enum Operation {
    /// A card passes a gate.
    Gate {
        /// Which station: 1 is Harbour, 2 is Lighthouse.
        #[arg(value_parser = clap::value_parser!(u16).range(1..=2))]
        station: u16,
        /// On which side.
        #[arg(value_enum)]
        side: Side,
    },
    /// A card pays at a till.
    Pos {
        /// How much, in fen.
        amount_fen: u32,
        /// Leave a record in the card's history.
        #[arg(long)]
        composite: bool,
    },
    /// A rider puts cash into the terminal, for the card on it.
    TopUp {
        /// How much, in fen.
        #[arg(required_unless_present = "again")]
        amount_fen: Option<u32>,
        /// Go on with cash that is in the terminal, by its number.
        #[arg(long, value_name = "NUMBER", conflicts_with = "amount_fen")]
        again: Option<uuid::Uuid>,
    },
    /// Shows what is on a card, and changes nothing.
    Read,
    /// Delivers what these terminals have recorded to the clearing centre, and fetches lists and fare tables.
    Upload,
    /// Shows which versions of the fare table each gate has, and which is in force.
    Fares,
    /// The typical transaction time of each kind of tap, measured here and modelled for the air. Needs no city.
    Times,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Side {
    /// Into the station.
    Enter,
    /// Out of it.
    Leave,
}

/// Which of the terminals on the command line.
#[derive(Debug, Clone, Copy)]
pub enum Station {
    /// The gate of this station.
    Gate(u16),
    /// The till.
    Till,
    /// The top-up terminal.
    Cash,
}

impl Station {
    const ALL: [Self; 4] = [Self::Gate(1), Self::Gate(2), Self::Till, Self::Cash];

    const fn number(self) -> [u8; 6] {
        let [harbour, lighthouse, till, cash] = BY_HAND;
        match self {
            Self::Gate(1) => harbour,
            Self::Gate(_) => lighthouse,
            Self::Till => till,
            Self::Cash => cash,
        }
    }
}

/// Runs one operation.
pub fn run(options: &Options) -> Result<(), String> {
    if let Operation::Times = options.operation {
        return times::run(options.json);
    }
    let place = Place::of(options)?;
    match &options.operation {
        Operation::Gate { station, side } => place.gate(*station, *side),
        Operation::Pos { amount_fen, composite } => place.pay(*amount_fen, *composite),
        Operation::TopUp { amount_fen, again } => place.top_up(*amount_fen, *again),
        Operation::Read => place.read(),
        Operation::Upload => place.upload(),
        Operation::Fares => place.fares(),
        Operation::Times => Ok(()),
    }
}

/// A city, and a card in one of its terminals.
struct Place<'a> {
    options: &'a Options,
    folder: CityFolder,
    plan: CityPlan,
    terminals: CityTerminals,
}

impl<'a> Place<'a> {
    fn of(options: &'a Options) -> Result<Self, String> {
        if !options.city.join("plan.json").exists() {
            return Err(format!("{} is no folder of `opentsm up --data`", options.city.display()));
        }
        let folder = CityFolder::new(&options.city).map_err(|error| error.to_string())?;
        let plan = CityPlan::read(&folder.plan()).map_err(|error| error.to_string())?;
        let terminals = CityTerminals::of(&folder, &plan).map_err(|error| chain(&error))?;
        Ok(Self { options, folder, plan, terminals })
    }

    fn card(&self) -> Result<Field, String> {
        let address = match (self.options.card, self.options.phone) {
            (Some(address), _) => address,
            (None, Some(number)) => published(&self.folder.phone(number))?.contactless,
            (None, None) => return Err("say which card: --phone N or --card ADDRESS".into()),
        };
        let mut card = RemoteCard::dial(address)
            .map_err(|error| format!("{error}; start it first with `opentsm se`"))?;
        card.power_on().map_err(|error| error.to_string())?;
        Ok(Field(card))
    }

    fn terminal(&self, station: Station) -> Result<AtHand, String> {
        let at_hand = self.terminals.open(station.number()).map_err(|error| chain(&error))?;
        self.remark(&at_hand.remarks);
        Ok(at_hand)
    }

    fn remark(&self, remarks: &[Remark]) {
        for remark in remarks {
            if let Remark::TornWrite { bytes } = remark {
                eprintln!("{}", words::torn_write(self.options.language, *bytes));
            }
        }
    }

    fn fares(&self) -> Result<(), String> {
        let now = SystemClock.now();
        let mut gates = Vec::new();
        for station in [1, 2] {
            let terminal = self.terminal(Station::Gate(station))?.terminal;
            gates.push(versions(&terminal, now));
            if !self.options.json {
                say!("{}", words::fares(self.options.language, station, &terminal, now));
            }
        }
        if self.options.json {
            say!("{}", json!({ "gates": gates }));
        }
        Ok(())
    }

    fn gate(&self, station: u16, side: Side) -> Result<(), String> {
        let profile = gates::profile(station).map_err(|error| error.to_string())?;
        let mut gate = Gate::new(profile, self.terminal(Station::Gate(station))?.terminal);
        let mut card = self.card()?;
        let passage = match side {
            Side::Enter => gate.enter(&mut card, now()),
            Side::Leave => gate.leave(&mut card, now()),
        };
        let passage = passage.map_err(|error| words::refused(self.options.language, &error))?;
        let version = gate.terminal().state().records().last().map_or(0, |record| record.fare_version);
        let why = gate.last_fare().map(|fare| self.options.language.choose(fare.english(), fare.chinese()));
        match passage {
            Passage::Entered { balance, booking } => self.say(
                &words::entered(self.options.language, balance.fen()),
                &json!({ "entered": true, "balance_fen": balance.fen(), "booked_now": booking == Booking::Now,
                    "fare_version": version }),
            ),
            Passage::Left { fare, balance, booking } => self.say(
                &words::left(self.options.language, fare.fen(), balance.fen(), why.as_deref()),
                &json!({
                    "left": true, "fare_fen": fare.fen(), "balance_fen": balance.fen(),
                    "booked_now": booking == Booking::Now, "why": why, "fare_version": version,
                }),
            ),
        }
        Ok(())
    }

    fn pay(&self, amount_fen: u32, composite: bool) -> Result<(), String> {
        let profile = PosProfile {
            industry: Industry::Bus,
            line: [0x00, 0x08],
            station: [0x00, 0x01],
            operator: [0x00, 0x01],
            city: [0x99, 0x90],
            acquirer: ISSUER_FACTOR.to_bytes(),
        };
        let mut pos = Pos::new(profile, self.terminal(Station::Till)?.terminal);
        let kind = if composite { PurchaseKind::Composite } else { PurchaseKind::Simple };
        let receipt = pos.sell(&mut self.card()?, kind, Amount::from_fen(amount_fen), now());
        let (record, before) = match receipt.map_err(|error| words::refused(self.options.language, &error))? {
            Receipt::Paid(record) => (record, false),
            Receipt::PaidBefore(record) => (record, true),
        };
        self.say(
            &words::paid(self.options.language, record.amount_fen, record.balance_fen, before),
            &json!({
                "paid_fen": record.amount_fen, "balance_fen": record.balance_fen, "paid_before": before,
                "record": record.number,
            }),
        );
        Ok(())
    }

    fn top_up(&self, amount_fen: Option<u32>, again: Option<uuid::Uuid>) -> Result<(), String> {
        let opened = self.terminals.store(Station::Cash.number()).map_err(|error| chain(&error))?;
        self.remark(&opened.remarks);
        let Opened { store, state, .. } = opened;
        let number = TerminalNumber::new(Station::Cash.number());
        let mut terminal = TopUpTerminal::new(TerminalClass::A, number, state, store);
        let mut card = self.card()?;
        let begun = match (amount_fen, again) {
            (_, Some(operation)) => terminal.again(&mut card, operation),
            (amount, None) => {
                let mut bytes = [0; 16];
                SystemEntropy.fill(&mut bytes);
                let operation = uuid::Builder::from_random_bytes(bytes).into_uuid();
                terminal.insert(&mut card, Amount::from_fen(amount.unwrap_or_default()), operation, now())
            }
        };
        let begun = begun.map_err(|error| chain(&error))?;
        let environment = roles::runtime();
        let line = roles::client_of(&self.plan, Role::SpTsm, self.plan.sp_tsm.address, &environment);
        let line = SpTsmTerminal::new(line.map_err(|error| error.to_string())?);
        let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
        let outcome = hold(&mut terminal, &mut card, &mut Issuer { line, runtime }, begun);
        let outcome = outcome.map_err(|error| chain(&error))?;
        let cash = terminal.state().cash();
        let word = match &outcome {
            CashOutcome::ToppedUp { .. } => "topped-up",
            CashOutcome::GivenBack { .. } => "given-back",
            CashOutcome::Unknown { .. } => "unknown",
        };
        let number = match &outcome {
            CashOutcome::Unknown { operation } => Some(operation.0),
            CashOutcome::ToppedUp { .. } | CashOutcome::GivenBack { .. } => None,
        };
        self.say(
            &self.options.language.choose(outcome.to_string(), outcome.chinese()),
            &json!({
                "outcome": word, "number": number, "cash_held_fen": cash.held_fen(),
                "cash_kept_fen": cash.kept_fen(), "cash_given_back_fen": cash.given_back_fen(),
            }),
        );
        Ok(())
    }

    fn read(&self) -> Result<(), String> {
        let summary = service::read_card(&mut self.card()?).map_err(|error| chain(&error))?;
        let number = summary.public_information.serial.digits();
        self.say(
            &words::read(self.options.language, &number, summary.balance.fen(), summary.log.len()),
            &json!({
                "card": number, "balance_fen": summary.balance.fen(),
                "transactions": summary.log.len(), "trips": summary.history.len(),
            }),
        );
        Ok(())
    }

    fn upload(&self) -> Result<(), String> {
        let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
        let centre = Centre::of(&self.plan).map_err(|error| error.to_string())?;
        let (mut delivered, mut waiting) = (0, 0);
        for station in Station::ALL {
            let round = runtime.block_on(centre.round(&mut self.terminal(station)?));
            let round = round.map_err(|error| error.to_string())?;
            delivered += round.delivered;
            waiting += round.waiting;
        }
        self.say(
            &words::delivered(self.options.language, delivered, waiting),
            &json!({ "delivered": delivered, "waiting": waiting }),
        );
        Ok(())
    }

    fn say(&self, sentence: &str, object: &serde_json::Value) {
        if self.options.json { say!("{object}") } else { say!("{sentence}") }
    }
}

/// The versions of the fare table that a terminal knows.
fn versions(terminal: &CityTerminal, now: jiff::Timestamp) -> serde_json::Value {
    let book = terminal.fare_book();
    let versions = book.into_iter().flat_map(|book| book.heads().map(move |head| (book, head)));
    let versions: Vec<_> = versions
        .map(|(book, head)| {
            json!({
                "version": head.version, "from": head.valid_from, "until": head.valid_until,
                "held": book.table(head.version).is_some(),
            })
        })
        .collect();
    json!({ "terminal": hex::encode(terminal.number().to_bytes()), "in_use": terminal.fare_version(now),
        "versions": versions })
}

/// The issuer, over TLS.
struct Issuer {
    line: SpTsmTerminal,
    runtime: tokio::runtime::Runtime,
}

impl TopUpHost for Issuer {
    fn ask(&mut self, ask: Ask) -> Answer {
        let line = &self.line;
        self.runtime.block_on(async {
            match ask {
                Ask::Begin(request) => answer(line.begin(&request).await, Answer::Begun),
                Ask::Turn(conversation, request) => {
                    answer(line.turn(conversation, &request).await, Answer::Turned)
                }
                Ask::Cancel(request) => answer(line.cancel(&request).await, Answer::Cancelled),
            }
        })
    }
}

/// A refusal is one only when the issuer has decided; a server that failed may have done it.
fn answer<T>(result: Result<T, ClientError>, wrap: fn(T) -> Answer) -> Answer {
    match result {
        Ok(reply) => wrap(reply),
        Err(ClientError::Refused(problem)) if problem.code.status() < 500 => Answer::Refused(*problem),
        Err(_) => Answer::Nothing,
    }
}

/// The contactless interface of a card in another process.
struct Field(RemoteCard);

impl tsm_terminal::CardReader for Field {
    fn transmit(&mut self, command: &CommandApdu) -> Result<ResponseApdu, ReaderError> {
        let bytes = command.to_bytes().map_err(|_| ReaderError::NotAResponse)?;
        let answer = self.0.transmit(&bytes).map_err(|_| ReaderError::CardLeft)?;
        ResponseApdu::parse(&answer).map_err(|_| ReaderError::NotAResponse)
    }
}

fn now() -> DateTime {
    card_time(SystemClock.now())
}

fn published(phone: &Path) -> Result<Addresses, String> {
    let path = phone.join(CARD_ADDRESS);
    let why = |error: &dyn std::fmt::Display| {
        format!("{}: {error}; run the phone first with `opentsm se --city`", path.display())
    };
    let text = std::fs::read(&path).map_err(|error| why(&error))?;
    serde_json::from_slice(&text).map_err(|error| why(&error))
}

/// Money on a display.
fn money(fen: u32) -> String {
    format!("{}.{:02}", fen / 100, fen % 100)
}
