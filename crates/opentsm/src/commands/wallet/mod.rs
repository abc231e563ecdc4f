//! `opentsm wallet`: the wallet core on the command line.

mod arriving;
mod leaving;
mod locking;
mod losing;
mod ordered_migrations;
mod paying_online;
pub mod reply;
mod words;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use tsm_api::HexBytes;
use tsm_api::conversation::Progress;
use tsm_api::se_tsm::wallet::{CatalogueEntry, CatalogueList};
use tsm_api::signature::MessageVerifier;
use tsm_epurse::DateTime;
use tsm_iso7816::Aid;
use tsm_se::Interface;
use tsm_se::readers::RemoteCard;
use tsm_services::explain::Language;
use tsm_wallet::Interaction;
use tsm_wallet::interaction::stage_words;
use tsm_wallet::service::{Blocked, CardView, Entrance, PaidTopUp, TopUpResult};

use super::receipt;
use super::se::{Addresses, CARD_ADDRESS};
use crate::handset::{CardLink, Meter, Watched};
use crate::phone::{Phone, Servers};
use crate::report::{Cost, yuan};
use reply::{Detail, Ending, Reply};
pub use words::Spoken;
use words::Trouble;

/// Options of `opentsm wallet`.
#[derive(Debug, Args)]
pub struct Options {
    /// The folder of a phone in the folder of `opentsm up --data`. It tells everything: servers, home and
    /// card.
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["servers", "home", "card"])]
    phone: Option<PathBuf>,

    /// The file that tells where the servers are; `opentsm up` writes it.
    #[arg(long, value_name = "FILE", default_value = "servers.json")]
    servers: PathBuf,

    /// The folder in which the wallet keeps its record.
    #[arg(long, value_name = "FOLDER", default_value = "wallet")]
    home: PathBuf,

    /// The phone's secure element: the contact address of an `opentsm se --listen`.
    #[arg(long, value_name = "ADDRESS", required_unless_present = "phone")]
    card: Option<SocketAddr>,

    /// The language of everything shown.
    #[arg(long, value_enum, default_value_t = Spoken::En)]
    language: Spoken,

    /// Show each APDU in words.
    #[arg(long, conflicts_with = "json")]
    trace: bool,

    /// One JSON object for scripts.
    #[arg(long)]
    json: bool,

    #[command(subcommand)]
    operation: Operation,
}

#[derive(Debug, Subcommand)]
enum Operation {
    /// Shows the utilisation protocol; with --accept, registers this phone.
    Register {
        /// The protocol has been read and is accepted.
        #[arg(long)]
        accept: bool,
        /// The phone number, where the carrier does not tell it.
        #[arg(long)]
        number: Option<String>,
    },
    /// Logs in, which settles what an earlier operation left open.
    Login,
    /// The applications that can be had here.
    List,
    /// Opens a card, or downloads an application: by name or AID.
    Open {
        /// Name or AID.
        application: String,
    },
    /// What is on a card.
    Balance {
        /// Name or AID.
        application: String,
    },
    /// The last transactions and trips of a card.
    Records {
        /// Name or AID.
        application: String,
    },
    /// Orders a top-up and pays for it; `top-up` then carries it to the card.
    Pay {
        /// Name or AID.
        application: String,
        /// How much, in fen.
        amount_fen: u32,
    },
    /// Pays and adds money. A top-up that is paid already is carried to the card, and nothing else.
    TopUp {
        /// Name or AID.
        application: String,
        /// How much, in fen; not needed when it is paid already.
        amount_fen: Option<u32>,
    },
    /// What merchants want to be paid by this wallet, and the token with which they address it.
    Orders,
    /// Pays a merchant's order from a card, over the network.
    PayOnline {
        /// Name or AID of the card.
        application: String,
        /// The payment's number, as `orders` or the merchant shows it; not needed when there is one.
        payment: Option<String>,
    },
    /// The clearing centre's signed receipts for a card; --json gives them to keep, and `opentsm receipt
    /// verify` checks them later.
    Receipts {
        /// Name or AID.
        application: String,
    },
    /// Deletes an application.
    Delete {
        /// Name or AID.
        application: String,
    },
    /// Locks a card, until it is unlocked.
    Lock {
        /// Name or AID.
        application: String,
    },
    /// Unlocks a card that the rider locked.
    Unlock {
        /// Name or AID.
        application: String,
    },
    /// Reports a card of this rider lost, wherever it is: terminals refuse it.
    Lost {
        /// Name or AID.
        application: String,
        /// Which card, masked as it is shown; not needed when there is one.
        #[arg(long)]
        card: Option<String>,
    },
    /// Returns a card: it is closed and its balance goes back. One that is parked at the clearing centre can be
    /// returned from any phone of its rider.
    Return {
        /// Name or AID.
        application: String,
        /// A parked card, as `parked` shows it; not needed when there is one, and none on this phone.
        #[arg(long)]
        card: Option<String>,
    },
    /// Parks a card at the clearing centre, for another phone.
    MigrateOut {
        /// Name or AID.
        application: String,
    },
    /// The cards of this rider that are parked at the clearing centre.
    Parked,
    /// Brings a parked card to this phone.
    MigrateIn {
        /// Name or AID.
        application: String,
        /// Which card, as `parked` shows it; not needed when there is one.
        #[arg(long)]
        card: Option<String>,
    },
    /// Does this phone's part of migrations that were ordered elsewhere: parks a card, or takes one in.
    Migrations,
    /// What was interrupted, and what can be done about it.
    Interrupted,
    /// Goes on with what was interrupted, the oldest first.
    Continue,
    /// Cancels what was interrupted, the oldest first.
    Cancel,
}

/// Runs one operation.
pub fn run(options: &Options) -> Result<(), String> {
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    runtime.block_on(run_in_runtime(options))
}

async fn run_in_runtime(options: &Options) -> Result<(), String> {
    let place = Place::of(options)?;
    let servers = place.servers()?;
    let mut card = RemoteCard::dial(place.card)
        .map_err(|error| format!("{error}; start it first with `opentsm se --listen` or `--city`"))?;
    card.power_on().map_err(|error| error.to_string())?;
    let meter = Meter::new(if options.trace { Watched::InWords } else { Watched::No });
    let link = CardLink::remote(card, Interface::Contact, meter);
    let phone = Phone::start(&servers, &place.home, link).await.map_err(|error| error.to_string())?;
    let shown = Shown { quiet: options.json, spoken: options.language, last: None };
    let centre = servers.receipt_verifier();
    let mut session = Session { phone, shown, login: Cost::default(), centre, end: None };
    let result = session.operate(&options.operation).await;
    let operation = session.end.unwrap_or_else(|| session.phone.spent()) - session.login;
    let error = result.as_ref().err().map(|error| options.language.trouble(error));
    if options.json {
        let ending = result.as_ref().map_or_else(Ending::with, |_| Ending::Done);
        let detail = result.unwrap_or_default();
        let reply = Reply {
            ok: ending == Ending::Done,
            ending,
            error: error.clone(),
            login: session.login,
            operation,
            detail,
        };
        say!("{}", serde_json::to_string(&reply).expect("a reply of plain fields can always be written"));
    }
    error.map_or(Ok(()), Err)
}

/// Where the phone is.
struct Place {
    servers: PathBuf,
    home: PathBuf,
    card: SocketAddr,
}

impl Place {
    fn of(options: &Options) -> Result<Self, String> {
        let Some(phone) = &options.phone else {
            let card = options.card.ok_or("--card or --phone tells where the secure element is")?;
            return Ok(Self { servers: options.servers.clone(), home: options.home.clone(), card });
        };
        let city = phone.parent().unwrap_or_else(|| Path::new(".."));
        let start = || {
            let number = phone.to_string_lossy();
            let number = number.rsplit_once("phone-").map_or("N", |(_, number)| number).to_owned();
            format!("start it first: opentsm se --city {} --number {number}", city.display())
        };
        let text = std::fs::read(phone.join(CARD_ADDRESS))
            .map_err(|_| format!("the secure element of {} is not running; {}", phone.display(), start()))?;
        let addresses: Addresses = serde_json::from_slice(&text)
            .map_err(|_| format!("the address of the secure element cannot be read; {}", start()))?;
        Ok(Self { servers: city.join("servers.json"), home: phone.clone(), card: addresses.contact })
    }

    fn servers(&self) -> Result<Servers, String> {
        let file = self.servers.display();
        let text = std::fs::read(&self.servers)
            .map_err(|error| format!("{file}: {error}; `opentsm up --data FOLDER` writes it"))?;
        serde_json::from_slice(&text).map_err(|error| format!("{file} cannot be read: {error}"))
    }
}

/// One run of the wallet.
struct Session {
    phone: Phone,
    shown: Shown,
    /// What had been spent when the operation itself began.
    login: Cost,
    /// What had been spent when it ended, where something follows that is not part of it.
    end: Option<Cost>,
    /// The key with which the clearing centre signs receipts.
    centre: Option<MessageVerifier>,
}

impl Session {
    async fn operate(&mut self, operation: &Operation) -> Result<Detail, Trouble> {
        match operation {
            Operation::Register { accept: false, .. } => self.show_agreement().await,
            Operation::Register { accept: true, number } => self.register(number.clone()).await,
            Operation::Login => {
                self.enter().await?;
                self.say("logged in", "已登录");
                self.after_login().await
            }
            Operation::List => self.list().await,
            Operation::Open { application } => self.open(application).await,
            Operation::Balance { application } => {
                let view = self.view(application).await?;
                Ok(self.show_balance(&view))
            }
            Operation::Records { application } => {
                let view = self.view(application).await?;
                let detail = self.show_balance(&view);
                self.show_records(&view);
                Ok(detail)
            }
            Operation::Pay { application, amount_fen } => {
                let aid = self.log_in_for(application).await?;
                self.pay(&aid, *amount_fen).await?;
                Ok(Detail { aid: Some(aid), ..Detail::default() })
            }
            Operation::TopUp { application, amount_fen } => self.top_up(application, *amount_fen).await,
            Operation::Orders => self.orders().await,
            Operation::PayOnline { application, payment } => {
                self.pay_online(application, payment.as_deref()).await
            }
            Operation::Receipts { application } => self.receipts(application).await,
            Operation::Delete { application } => self.delete(application).await,
            Operation::Lock { application } => self.lock(application).await,
            Operation::Unlock { application } => self.unlock(application).await,
            Operation::Lost { application, card } => self.lost(application, card.clone()).await,
            Operation::Return { application, card } => self.return_card(application, card.clone()).await,
            Operation::MigrateOut { application } => self.migrate_out(application).await,
            Operation::Parked => self.parked().await,
            Operation::MigrateIn { application, card } => self.migrate_in(application, card.clone()).await,
            Operation::Migrations => self.migrations().await,
            Operation::Interrupted => self.interrupted().await,
            Operation::Continue => self.continue_work().await,
            Operation::Cancel => self.cancel_work().await,
        }
    }

    fn say(&self, english: impl Into<String>, chinese: impl Into<String>) {
        if !self.shown.quiet {
            say!("{}", self.shown.spoken.choose(english.into(), chinese.into()));
        }
    }

    async fn show_agreement(&self) -> Result<Detail, Trouble> {
        let agreement = self.phone.wallet.agreement().await?;
        self.say(agreement.text_en, agreement.text_zh);
        self.say("\nTo accept it and register: register --accept", "\n接受并注册：register --accept");
        Ok(Detail { agreement: Some(agreement.version), ..Detail::default() })
    }

    async fn register(&mut self, number: Option<String>) -> Result<Detail, Trouble> {
        let agreement = self.phone.wallet.agreement().await?;
        let accepted = self.phone.wallet.accept(&agreement);
        self.phone.wallet.register(accepted, number, &mut self.shown).await?;
        self.say("this phone is registered", "本机已注册");
        Ok(Detail { agreement: Some(agreement.version), ..Detail::default() })
    }

    /// Logs in. What follows is the operation itself, unless [`Self::begin`] says later.
    async fn log_in(&mut self) -> Result<(), Trouble> {
        self.enter().await?;
        self.begin();
        Ok(())
    }

    async fn enter(&mut self) -> Result<(), Trouble> {
        match self.phone.wallet.login(&mut self.shown).await? {
            Entrance::Certified { prompts, .. } => {
                for prompt in prompts {
                    self.say(prompt.message_en, prompt.message_zh);
                }
                Ok(())
            }
            Entrance::Restricted { reason } => Err(reason.into()),
        }
    }

    /// The operation itself begins here.
    fn begin(&mut self) {
        self.login = self.phone.spent();
    }

    async fn list(&mut self) -> Result<Detail, Trouble> {
        self.log_in().await?;
        let entries = self.phone.wallet.catalogue(CatalogueList::Recommendation).await?;
        for entry in &entries {
            let condition = self.shown.spoken.condition(&entry.condition);
            let line = format!("{:<24} {}  {condition}", entry.name, entry.aid);
            self.say(line.clone(), line);
        }
        Ok(Detail { entries: Some(entries), ..Detail::default() })
    }

    async fn open(&mut self, application: &str) -> Result<Detail, Trouble> {
        self.log_in().await?;
        let entries = self.phone.wallet.catalogue(CatalogueList::Recommendation).await?;
        let found = entries.into_iter().find(|entry| names(&entry.name, &entry.aid, application));
        let entry: CatalogueEntry = found.ok_or_else(|| not_here(application))?;
        if entry.ticket.is_none() {
            let why = self.shown.spoken.condition(&entry.condition);
            return Err(Trouble::NotToBeOpened { name: entry.name, why });
        }
        self.begin();
        self.phone.wallet.open_card(&entry, &mut self.shown).await?;
        self.say(format!("{} is open", entry.name), format!("{} 已开通", entry.name));
        Ok(Detail { aid: Some(entry.aid), ..Detail::default() })
    }

    /// Reads a card. Only a name that is no AID needs the wallet's record; no server is asked.
    async fn view(&mut self, application: &str) -> Result<CardView, Trouble> {
        let aid = self.known(application).ok_or_else(|| not_here(application))?;
        let aid = aid.to_aid().map_err(|_| not_here(application))?;
        Ok(self.phone.wallet.view_card(&aid).await?)
    }

    fn show_balance(&self, view: &CardView) -> Detail {
        let (ending, balance) = (&view.number_ending, yuan(i64::from(view.balance_fen)));
        match view.blocked {
            Blocked::No => {
                self.say(format!("card ending {ending}: {balance}"), format!("卡号末位 {ending}：{balance}"));
            }
            // What it still shows may be kept at the centre by now.
            Blocked::ForATime => self.say(
                format!("card ending {ending}: locked; it shows {balance}, which it cannot spend"),
                format!("卡号末位 {ending}：已锁定，显示余额 {balance}，不能使用"),
            ),
        }
        Detail {
            number_ending: Some(view.number_ending.clone()),
            balance_fen: Some(view.balance_fen),
            transactions: Some(view.transactions.len()),
            trips: Some(view.trips.len()),
            ..Detail::default()
        }
    }

    fn show_records(&self, view: &CardView) {
        let spoken = self.shown.spoken;
        let records = view
            .transactions
            .iter()
            .map(|record| (record.at, spoken.transaction(record.transaction_type), record.amount));
        let trips = view.trips.iter().map(|trip| (trip.at, spoken.trip(trip.history_type), trip.amount));
        for (at, what, amount) in records.chain(trips) {
            let line = format!("  {}  {what}  {}", moment(at), yuan(i64::from(amount.fen())));
            self.say(line.clone(), line);
        }
    }

    async fn pay(&mut self, aid: &HexBytes, amount_fen: u32) -> Result<PaidTopUp, Trouble> {
        let (order, payment) = self.phone.wallet.order_top_up(aid, amount_fen).await?;
        let paid = self.phone.wallet.pay(aid, order, payment).await?;
        let amount = yuan(i64::from(amount_fen));
        self.say(format!("paid {amount}"), format!("已支付 {amount}"));
        Ok(paid)
    }

    async fn top_up(&mut self, application: &str, amount_fen: Option<u32>) -> Result<Detail, Trouble> {
        let aid = self.log_in_for(application).await?;
        let paid = match (self.phone.wallet.interrupted_top_up(), amount_fen) {
            (Some(paid), _) => {
                self.say(
                    "a top-up that was paid earlier is carried to the card first; ask again to add more",
                    "先完成之前已支付的充值；如需再充，请再次操作",
                );
                paid
            }
            (None, Some(amount_fen)) => self.pay(&aid, amount_fen).await?,
            (None, None) => return Err(Trouble::NoAmount),
        };
        let (credited, balance_fen) = match self.phone.wallet.top_up(&paid, &mut self.shown).await? {
            TopUpResult::Credited { balance_fen, .. } => (true, balance_fen),
            TopUpResult::NotCredited { balance_fen } => (false, balance_fen),
        };
        let balance = yuan(i64::from(balance_fen));
        if credited {
            self.say(format!("the card holds {balance}"), format!("卡内余额 {balance}"));
        } else {
            self.say(
                format!("the card was not credited and holds {balance}; the payment is kept: ask again"),
                format!("充值未写入，卡内余额 {balance}；款项保留，请再次操作"),
            );
        }
        let aid = Some(paid.aid);
        Ok(Detail { aid, credited: Some(credited), balance_fen: Some(balance_fen), ..Detail::default() })
    }

    async fn receipts(&mut self, application: &str) -> Result<Detail, Trouble> {
        let aid = self.log_in_for(application).await?;
        let centre = self.centre.clone().ok_or(Trouble::NoCentreKey)?;
        let receipts = self.phone.wallet.receipts(&aid, 0, &centre).await?;
        for signed in &receipts {
            let [english, chinese] = [Language::English, Language::Chinese]
                .map(|language| receipt::line(&signed.receipt, language));
            self.say(english, chinese);
        }
        Ok(Detail { aid: Some(aid), receipts: Some(receipts), ..Detail::default() })
    }

    async fn delete(&mut self, application: &str) -> Result<Detail, Trouble> {
        self.log_in().await?;
        let lists = self.phone.wallet.lists().await?;
        let listed = lists.delete.into_iter().find(|listed| names(&listed.name, &listed.aid, application));
        let listed = listed.ok_or_else(|| not_here(application))?;
        self.begin();
        self.phone.wallet.delete(&listed.aid, &listed.ticket, &mut self.shown).await?;
        self.say(format!("{} is deleted", listed.name), format!("{} 已删除", listed.name));
        Ok(Detail { aid: Some(listed.aid), ..Detail::default() })
    }

    /// Logs in for an operation on an application that is on this phone.
    async fn log_in_for(&mut self, application: &str) -> Result<HexBytes, Trouble> {
        self.log_in().await?;
        self.known(application).ok_or_else(|| not_here(application))
    }

    /// The AID of an application: the one typed, or that of an installed application of this name.
    fn known(&self, application: &str) -> Option<HexBytes> {
        let installed = &self.phone.wallet.record().installed;
        let installed =
            installed.iter().find(|installed| names(&installed.name, &installed.aid, application));
        let typed = || application.parse::<Aid>().ok().map(HexBytes::from);
        installed.map(|installed| installed.aid.clone()).or_else(typed)
    }
}

fn not_here(application: &str) -> Trouble {
    Trouble::NotHere(application.to_owned())
}

fn names(name: &str, aid: &HexBytes, application: &str) -> bool {
    name.eq_ignore_ascii_case(application) || aid.to_string().eq_ignore_ascii_case(application)
}

/// A card's time: its digits are decimal already.
fn moment(at: DateTime) -> String {
    let digits = hex::encode(at.to_bytes());
    let part = |from: usize, to: usize| &digits[from..to];
    format!("{}-{}-{} {}:{}:{}", part(0, 4), part(4, 6), part(6, 8), part(8, 10), part(10, 12), part(12, 14))
}

/// Progress as lines on the terminal.
struct Shown {
    quiet: bool,
    spoken: Spoken,
    /// What was shown last; two lists of steps may be of one stage.
    last: Option<Progress>,
}

impl Interaction for Shown {
    fn progress(&mut self, progress: Progress) {
        if !self.quiet && self.last != Some(progress) {
            self.last = Some(progress);
            let stage = stage_words(progress.stage, self.spoken.language());
            say!("  {:>3} %  {stage}", progress.percent);
        }
    }
}
