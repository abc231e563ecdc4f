//! `opentsm terminal`: a gate, a POS or a top-up terminal of a running city, on the command line.
//!
//! Each is the terminal that ships, with its PSAM's keys and a store in the city's folder, so that it goes on
//! where it was left, offline or not.

mod fares;
mod times;
mod words;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;
use tsm_api::clearing::lists::ChangesQuery;
use tsm_api::client::{ClearingPeer, ClientError, SpTsmTerminal};
use tsm_api::pki::SigningIdentity;
use tsm_api::signature::{MessageSigner, MessageVerifier, SoftwareSigner};
use tsm_domain::environment::{Clock as _, Entropy as _};
use tsm_epurse::commands::PurchaseKind;
use tsm_epurse::file::Industry;
use tsm_epurse::{Algorithm, Amount, DateTime, Key, KeyVersion, TerminalNumber};
use tsm_iso7816::{CommandApdu, ResponseApdu};
use tsm_se::readers::RemoteCard;
use tsm_services::purse::card_time;
use tsm_terminal::centre_fares::CentreFares;
use tsm_terminal::gate::Booking;
use tsm_terminal::pos::PosProfile;
use tsm_terminal::state::Limits;
use tsm_terminal::store::{FileStore, Folder, OnLoss, Opened, Remark, StoreKey};
use tsm_terminal::top_up::{Answer, Ask, CashOutcome, TopUpHost, TopUpTerminal, run as hold};
use tsm_terminal::upload::{self, Delivery};
use tsm_terminal::{
    Gate, Passage, Pos, PsamProfile, ReaderError, Receipt, RootKeys, Terminal, TerminalClass, service,
};

use super::se::{Addresses, CARD_ADDRESS};
use super::wallet::Spoken;
use crate::city::ceremony::{ISSUER_FACTOR, TerminalSecrets};
use crate::city::folder::CityFolder;
use crate::city::plan::{CityPlan, Role};
use crate::city::roles::{self, BY_HAND};
use crate::demo::gates;
use crate::environment::{SystemClock, SystemEntropy};

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
        BY_HAND[self.place()]
    }

    /// Its place among the terminals of the command line.
    const fn place(self) -> usize {
        match self {
            Self::Gate(1) => 0,
            Self::Gate(_) => 1,
            Self::Till => 2,
            Self::Cash => 3,
        }
    }
}

type Store = FileStore<Folder>;

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
    secrets: TerminalSecrets,
}

impl<'a> Place<'a> {
    fn of(options: &'a Options) -> Result<Self, String> {
        if !options.city.join("plan.json").exists() {
            return Err(format!("{} is no folder of `opentsm up --data`", options.city.display()));
        }
        let folder = CityFolder::new(&options.city).map_err(|error| error.to_string())?;
        let plan = CityPlan::read(&folder.plan()).map_err(|error| error.to_string())?;
        let secrets = folder.read_terminals().map_err(|error| error.to_string())?;
        Ok(Self { options, folder, plan, secrets })
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

    fn open(&self, station: Station) -> Result<Opened<Folder>, String> {
        let number = station.number();
        let path = self.folder.path().join("terminals").join(hex::encode(number));
        let disk = Folder::open(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let key = StoreKey::new(self.secrets.store);
        let opened = FileStore::open(disk, key, TerminalNumber::new(number), OnLoss::Refuse)
            .map_err(|error| format!("the terminal's store in {}: {error}", path.display()))?;
        for remark in &opened.remarks {
            if let Remark::TornWrite { bytes } = remark {
                eprintln!("{}", words::torn_write(self.options.language, *bytes));
            }
        }
        Ok(opened)
    }

    fn terminal(&self, station: Station) -> Result<Terminal<RootKeys, Store>, String> {
        let Opened { store, state, list, fares, .. } = self.open(station)?;
        let key = |value: &[u8; 16]| Key::new(Algorithm::TripleDes, *value);
        let keys = RootKeys {
            purchase: vec![(KeyVersion(1), key(&self.secrets.purchase))],
            block: Some(key(&self.secrets.block)),
        };
        let number = station.number();
        let [a, b, c, d, e, f] = number;
        let psam = PsamProfile {
            terminal: TerminalNumber::new(number),
            serial: [0, 0, 0, 0, a, b, c, d, e, f],
            purchase_key_index: 1,
            wrong_mac2_limit: 1_000,
        };
        let terminal = Terminal::start(TerminalClass::A, psam, keys, state, store, Limits::default());
        let terminal = terminal.map_err(|error| error.to_string())?;
        let operator = self.plan.sp_tsm.institution.clone();
        let fares = CentreFares { operator, book: fares.unwrap_or_default() };
        Ok(terminal.with_list(list.unwrap_or_default(), Default::default()).with_fares(fares))
    }

    /// The key with which the terminal signs its batches; none in a city of an earlier version.
    fn signer(&self, station: Station) -> Result<Option<SoftwareSigner>, String> {
        let key = self.secrets.signing.get(station.place());
        let signer = key.map(|pem| SigningIdentity::from_pem(pem).and_then(|key| key.signer())).transpose();
        signer.map_err(|error| words::chain(&error))
    }

    fn fares(&self) -> Result<(), String> {
        let now = SystemClock.now();
        let mut gates = Vec::new();
        for station in [1, 2] {
            let terminal = self.terminal(Station::Gate(station))?;
            gates.push(fares::versions(&terminal, now));
            if !self.options.json {
                println!("{}", words::fares(self.options.language, station, &terminal, now));
            }
        }
        if self.options.json {
            println!("{}", json!({ "gates": gates }));
        }
        Ok(())
    }

    fn gate(&self, station: u16, side: Side) -> Result<(), String> {
        let profile = gates::profile(station).map_err(|error| error.to_string())?;
        let mut gate = Gate::new(profile, self.terminal(Station::Gate(station))?);
        let mut card = self.card()?;
        let passage = match side {
            Side::Enter => gate.enter(&mut card, now()),
            Side::Leave => gate.leave(&mut card, now()),
        };
        let passage = passage.map_err(|error| words::chain(&error))?;
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
        let mut pos = Pos::new(profile, self.terminal(Station::Till)?);
        let kind = if composite { PurchaseKind::Composite } else { PurchaseKind::Simple };
        let receipt = pos.sell(&mut self.card()?, kind, Amount::from_fen(amount_fen), now());
        let (record, before) = match receipt.map_err(|error| words::chain(&error))? {
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
        let Opened { store, state, .. } = self.open(Station::Cash)?;
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
        let begun = begun.map_err(|error| words::chain(&error))?;
        let environment = roles::runtime();
        let line = roles::client_of(&self.plan, Role::SpTsm, self.plan.sp_tsm.address, &environment);
        let line = SpTsmTerminal::new(line.map_err(|error| error.to_string())?);
        let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
        let outcome = hold(&mut terminal, &mut card, &mut Issuer { line, runtime }, begun);
        let outcome = outcome.map_err(|error| words::chain(&error))?;
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
        let summary = service::read_card(&mut self.card()?).map_err(|error| words::chain(&error))?;
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
        let environment = roles::runtime();
        let line = roles::client_of(&self.plan, Role::SpTsm, self.plan.clearing.address, &environment);
        let centre = ClearingPeer::new(line.map_err(|error| error.to_string())?);
        let (mut delivered, mut waiting) = (0, 0);
        for station in Station::ALL {
            let mut terminal = self.terminal(station)?;
            let signer = self.signer(station)?;
            let signer = signer.as_ref().map(|signer| signer as &dyn MessageSigner);
            while let Some(count) = deliver(&mut terminal, signer, &centre, &runtime)? {
                delivered += count;
            }
            refresh_list(&mut terminal, &centre, &runtime)?;
            fares::refresh(&mut terminal, &centre, &runtime, SystemClock.now())?;
            waiting += terminal.state().undelivered();
        }
        self.say(
            &words::delivered(self.options.language, delivered, waiting),
            &json!({ "delivered": delivered, "waiting": waiting }),
        );
        Ok(())
    }

    fn say(&self, sentence: &str, object: &serde_json::Value) {
        if self.options.json { println!("{object}") } else { println!("{sentence}") }
    }
}

/// How many records go in one batch.
const BATCH: usize = 500;

/// Delivers one batch; how many records the centre took, or none when nothing more can be delivered now.
fn deliver(
    terminal: &mut Terminal<RootKeys, Store>,
    signer: Option<&dyn MessageSigner>,
    centre: &ClearingPeer,
    runtime: &tokio::runtime::Runtime,
) -> Result<Option<usize>, String> {
    let batch = upload::next_batch(terminal, BATCH, signer).map_err(|error| words::chain(&error))?;
    let Some(batch) = batch else { return Ok(None) };
    let receipt = runtime.block_on(centre.batch(&batch));
    let receipt = receipt.map_err(|error| format!("the centre did not take the batch: {error}"))?;
    let count = batch.rows.len();
    match upload::delivered(terminal, &receipt).map_err(|error| words::chain(&error))? {
        Delivery::Taken => Ok(Some(count)),
        Delivery::SendAgain => Ok(None),
    }
}

/// Brings a terminal's list of refused cards up to date. The centre's key comes over the institution's own
/// connection; a terminal in the field has it in its configuration.
fn refresh_list(
    terminal: &mut Terminal<RootKeys, Store>,
    centre: &ClearingPeer,
    runtime: &tokio::runtime::Runtime,
) -> Result<(), String> {
    let since = terminal.list().list.version().0;
    let (key, update) = runtime
        .block_on(async {
            Ok((centre.list_key().await?, centre.list_changes(&ChangesQuery { since }).await?))
        })
        .map_err(|error: ClientError| format!("the centre's list could not be read: {error}"))?;
    let key = MessageVerifier::from_point(key.point.as_bytes()).map_err(|error| words::chain(&error))?;
    terminal.update_list(&update, &key).map_err(|error| words::chain(&error))
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
