//! `opentsm wallet`: the wallet core on the command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;
use tsm_api::HexBytes;
use tsm_api::conversation::Progress;
use tsm_api::se_tsm::wallet::{CatalogueEntry, CatalogueList, InstallationCondition};
use tsm_epurse::DateTime;
use tsm_iso7816::Aid;
use tsm_se::Interface;
use tsm_se::readers::RemoteCard;
use tsm_wallet::interaction::stage_words;
use tsm_wallet::service::{Entrance, TopUpResult};
use tsm_wallet::storage::Language;
use tsm_wallet::{Interaction, WalletError};

use crate::handset::{CardLink, Meter, Watched};
use crate::phone::{Phone, Servers};
use crate::report::yuan;

/// Options of `opentsm wallet`.
#[derive(Debug, Args)]
pub struct Options {
    /// The file that tells where the servers are; `opentsm up` writes it.
    #[arg(long, value_name = "FILE", default_value = "servers.json")]
    servers: PathBuf,

    /// The folder in which the wallet keeps its record.
    #[arg(long, value_name = "FOLDER", default_value = "wallet")]
    home: PathBuf,

    /// The phone's secure element: the contact port of an `opentsm se --listen`.
    #[arg(long, value_name = "ADDRESS")]
    card: SocketAddr,

    /// Show each APDU in words.
    #[arg(long)]
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
    /// The applications that can be had here.
    List,
    /// Opens a card, or downloads an application: by name or AID.
    Open {
        /// Name or AID.
        application: String,
    },
    /// What is on a card.
    Balance {
        /// The card's AID.
        aid: Aid,
    },
    /// The last transactions and trips of a card.
    Records {
        /// The card's AID.
        aid: Aid,
    },
    /// Adds money, in fen; an interrupted top-up is carried on first.
    TopUp {
        /// The card's AID.
        aid: Aid,
        /// How much, in fen.
        amount_fen: u32,
    },
    /// Deletes an application.
    Delete {
        /// Name or AID.
        application: String,
    },
}

/// Runs one operation.
pub fn run(options: &Options) -> Result<(), String> {
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    runtime.block_on(run_in_runtime(options))
}

async fn run_in_runtime(options: &Options) -> Result<(), String> {
    let text = std::fs::read(&options.servers)
        .map_err(|error| format!("{}: {error}; `opentsm up` writes it", options.servers.display()))?;
    let servers: Servers = serde_json::from_slice(&text)
        .map_err(|error| format!("{} cannot be read: {error}", options.servers.display()))?;
    let mut card = RemoteCard::dial(options.card).map_err(|error| {
        format!("no secure element at {}: {error}; start `opentsm se --listen`", options.card)
    })?;
    card.power_on().map_err(|error| error.to_string())?;
    let meter = Meter::new(if options.trace { Watched::InWords } else { Watched::No });
    let link = CardLink::remote(card, Interface::Contact, meter.clone());
    let mut phone = Phone::start(&servers, &options.home, link).await.map_err(|error| error.to_string())?;
    let mut shown = Shown { quiet: options.json };
    let result = operate(options, &mut phone, &mut shown).await;
    if options.json {
        let (card, requests) = (meter.read(), phone.requests());
        let (ok, detail) = match &result {
            Ok(detail) => (true, detail.clone()),
            Err(error) => (false, json!({ "error": error.to_string() })),
        };
        println!(
            "{}",
            json!({ "ok": ok, "detail": detail, "apdus": card.apdus, "bytes": card.bytes, "card_us": card.card_us,
                    "round_trips": requests.requests, "server_us": requests.server_us })
        );
    }
    result.map(drop).map_err(|error| error.to_string())
}

async fn operate(
    options: &Options,
    phone: &mut Phone,
    shown: &mut Shown,
) -> Result<serde_json::Value, WalletError> {
    let say = |text: String| {
        if !options.json {
            println!("{text}");
        }
    };
    if let Operation::Register { accept, number } = &options.operation {
        let agreement = phone.wallet.agreement().await?;
        if !accept {
            say(format!("{}\n\n{}\n\nTo accept it: --accept", agreement.text_en, agreement.text_zh));
            return Ok(json!({ "agreement": agreement.version }));
        }
        let accepted = phone.wallet.accept(&agreement);
        phone.wallet.register(accepted, number.clone(), shown).await?;
        say("registered".to_owned());
        return Ok(json!({ "registered": true }));
    }
    if let Operation::Balance { aid } | Operation::Records { aid } = &options.operation {
        let view = phone.wallet.view_card(aid).await?;
        say(format!("card ending {}: {}", view.number_ending, yuan(i64::from(view.balance_fen))));
        if matches!(options.operation, Operation::Records { .. }) {
            for record in &view.transactions {
                say(format!(
                    "  {:?} {} at {}",
                    record.transaction_type,
                    yuan(i64::from(record.amount.fen())),
                    moment(record.at)
                ));
            }
            for trip in &view.trips {
                say(format!(
                    "  {:?} {} at {}",
                    trip.history_type,
                    yuan(i64::from(trip.amount.fen())),
                    moment(trip.at)
                ));
            }
        }
        let (transactions, trips) = (view.transactions.len(), view.trips.len());
        return Ok(json!({ "balance_fen": view.balance_fen, "transactions": transactions, "trips": trips }));
    }
    match phone.wallet.login(shown).await? {
        Entrance::Certified { prompts, .. } => {
            prompts.iter().for_each(|prompt| say(prompt.message_en.clone()))
        }
        Entrance::Restricted { reason } => return Err(reason),
    }
    match &options.operation {
        Operation::Register { .. } | Operation::Balance { .. } | Operation::Records { .. } => Ok(json!({})),
        Operation::List => {
            let entries = phone.wallet.catalogue(CatalogueList::Recommendation).await?;
            for entry in &entries {
                say(format!("{}  {:<24} {}", entry.aid, entry.name, condition_words(&entry.condition)));
            }
            Ok(json!({ "entries": entries }))
        }
        Operation::Open { application } => {
            let entry = find(phone, application).await?;
            phone.wallet.open_card(&entry, shown).await?;
            say(format!("{} is open", entry.name));
            Ok(json!({ "aid": entry.aid }))
        }
        Operation::TopUp { aid, amount_fen } => {
            let result = top_up(phone, &HexBytes::from(*aid), *amount_fen, shown).await?;
            let (credited, balance_fen) = match result {
                TopUpResult::Credited { balance_fen, .. } => (true, balance_fen),
                TopUpResult::NotCredited { balance_fen } => (false, balance_fen),
            };
            say(format!("the card holds {}", yuan(i64::from(balance_fen))));
            Ok(json!({ "credited": credited, "balance_fen": balance_fen }))
        }
        Operation::Delete { application } => {
            let lists = phone.wallet.lists().await?;
            let listed = lists.delete.iter().find(|listed| names(&listed.name, &listed.aid, application));
            let listed = listed.ok_or_else(|| WalletError::NotOffered(HexBytes::default()))?;
            phone.wallet.delete(&listed.aid, &listed.ticket, shown).await?;
            say(format!("{} is deleted", listed.name));
            Ok(json!({ "aid": listed.aid }))
        }
    }
}

async fn top_up(
    phone: &mut Phone,
    aid: &HexBytes,
    amount_fen: u32,
    shown: &mut Shown,
) -> Result<TopUpResult, WalletError> {
    let paid = match phone.wallet.interrupted_top_up() {
        Some(paid) => paid,
        None => {
            let (order, payment) = phone.wallet.order_top_up(aid, amount_fen).await?;
            phone.wallet.pay(aid, order, payment).await?
        }
    };
    phone.wallet.top_up(&paid, shown).await
}

async fn find(phone: &Phone, application: &str) -> Result<CatalogueEntry, WalletError> {
    let entries = phone.wallet.catalogue(CatalogueList::Recommendation).await?;
    let found = entries.into_iter().find(|entry| names(&entry.name, &entry.aid, application));
    found.ok_or_else(|| WalletError::NotOffered(HexBytes::default()))
}

fn names(name: &str, aid: &HexBytes, application: &str) -> bool {
    name.eq_ignore_ascii_case(application) || aid.to_string().eq_ignore_ascii_case(application)
}

fn condition_words(condition: &InstallationCondition) -> String {
    match condition {
        InstallationCondition::NotInstalled => "can be opened".to_owned(),
        InstallationCondition::Interrupted { .. } => "was interrupted; opening it goes on".to_owned(),
        InstallationCondition::Installed => "installed".to_owned(),
        InstallationCondition::Updatable => "installed; a newer edition is there".to_owned(),
        InstallationCondition::NotEligible { problem } => problem.message_en.clone(),
    }
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
}

impl Interaction for Shown {
    fn progress(&mut self, progress: Progress) {
        if !self.quiet {
            println!("  {:>3} %  {}", progress.percent, stage_words(progress.stage, Language::English));
        }
    }
}
