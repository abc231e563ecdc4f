//! `opentsm centre`: the people of an institution at the clearing centre: differences, days and payouts, cards, fare
//! tables, accounts.
//!
//! Each person logs in with a password. What needs two people needs two who log in.

mod card_words;
mod cards;
mod days;
mod words;

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use tsm_api::clearing::fares::{self, FareDecision, FareRecord, NewFares};
use tsm_api::clearing::lists::Decision;
use tsm_api::clearing::settlement::{self, ActionKind, Differences, NewProposal};
use tsm_api::client::{Client, ClientError};
use tsm_api::endpoint::Nothing;
use uuid::Uuid;

use super::clerks::{self, Who};
use super::wallet::Spoken;
use crate::city::centre::Centre;
use crate::city::clerks::At;
use crate::city::plan::CityPlan;

/// Options of `opentsm centre`.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    who: Who,

    #[command(subcommand)]
    matter: Matter,
}

#[derive(Debug, Subcommand)]
enum Matter {
    /// The differences between books, statements and cards that nobody has settled.
    Differences,
    /// Proposes what to do about a difference. Another person approves.
    Propose {
        /// The difference, as it is listed.
        difference: Uuid,
        /// What to do.
        #[arg(value_enum)]
        action: Act,
        /// Why, in words.
        #[arg(long)]
        note: String,
        /// The card's number or its last digits, where the difference does not name it.
        #[arg(long)]
        card: Option<String>,
    },
    /// Approves what another person proposed; it is done at once.
    Approve {
        /// The difference.
        difference: Uuid,
    },
    /// Sends a proposal back.
    Reject {
        /// The difference.
        difference: Uuid,
    },
    #[command(flatten)]
    Cards(cards::Matter),
    #[command(flatten)]
    Days(days::Matter),
    /// The versions of the fare table.
    Fares,
    /// Proposes a version of the fare table. Another person publishes it.
    ProposeFares {
        /// The table: a JSON file that names its version.
        file: PathBuf,
        /// From when on it is in force, like 2026-12-01T00:00:00+08:00.
        #[arg(long, value_name = "TIME")]
        from: jiff::Timestamp,
        /// Until when; until a later version without it.
        #[arg(long, value_name = "TIME")]
        until: Option<jiff::Timestamp>,
    },
    /// Publishes a version that another person proposed: terminals fetch it.
    PublishFares {
        /// The version.
        version: u32,
    },
    /// Refuses a version that another person proposed.
    RefuseFares {
        /// The version.
        version: u32,
    },
    #[command(flatten)]
    People(clerks::Matter),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Act {
    /// Book what the other side says.
    Book,
    /// Owe it to the rider.
    Refund,
    /// Write it off.
    WriteOff,
    /// Nothing, for the reason in the note.
    Ignore,
    /// Freeze the card for value.
    FreezeCard,
    /// Let the frozen card move value again: it was examined.
    ReleaseCard,
    /// Reconcile the day without the payment statement that never came.
    GoOnWithout,
}

/// Runs one matter.
pub fn run(options: &Options) -> Result<(), String> {
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    let plan = options.who.plan()?;
    let Options { who, matter } = options;
    runtime.block_on(async {
        if let Matter::People(matter) = matter {
            return who.people(At::Centre, &plan, matter).await;
        }
        who.logged_in(At::Centre, &plan, async |client| decide(&plan, options, &client).await).await
    })
}

async fn decide(plan: &CityPlan, options: &Options, client: &Client) -> Result<(), String> {
    let Options { who, matter } = options;
    let (output, spoken) = (&who.output, who.language);
    match matter {
        Matter::Differences => {
            let open = client.open_differences(usize::MAX).await;
            let none = ("no difference is open", "没有待处理的差异");
            let reply = open.map(|differences| Differences { differences });
            output.say(spoken, reply, |found| spoken.lines(&found.differences, Spoken::difference, none))
        }
        Matter::Propose { difference, action, note, card } => {
            let card = match card {
                None => None,
                Some(number) => {
                    let centre = Centre::of(plan).map_err(|error| error.to_string())?;
                    Some(centre.card(number).await.map_err(|error| error.to_string())?)
                }
            };
            let proposal = NewProposal { action: action.to_wire(), card, note: note.clone() };
            let reply = client.call(&settlement::PROPOSE, &[&difference.to_string()], &proposal).await;
            output.say(spoken, reply, |one| spoken.difference(one))
        }
        Matter::Approve { difference } => {
            let reply = client.call(&settlement::APPROVE, &[&difference.to_string()], &Nothing {}).await;
            output.say(spoken, reply, |one| spoken.difference(one))
        }
        Matter::Reject { difference } => {
            let reply = client.call(&settlement::REJECT, &[&difference.to_string()], &Nothing {}).await;
            output.say(spoken, reply, |one| spoken.difference(one))
        }
        Matter::Cards(matter) => cards::run(plan, who, client, matter).await,
        Matter::Days(matter) => days::run(who, client, matter).await,
        Matter::Fares => {
            let reply = client.call(&fares::VERSIONS, &[], &Nothing {}).await;
            let none = ("no fare table was proposed yet", "尚无票价表提议");
            output.say(spoken, reply, |known| spoken.lines(&known.fares, Spoken::fares, none))
        }
        Matter::ProposeFares { file, from, until } => {
            let text =
                std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
            let new = NewFares { valid_from: *from, valid_until: *until, text };
            output.say(spoken, client.call(&fares::PROPOSE, &[], &new).await, |one| spoken.fares(one))
        }
        Matter::PublishFares { version } => {
            let decided = fares_decided(client, *version, Decision::Approve).await;
            output.say(spoken, decided, |one| spoken.fares(one))
        }
        Matter::RefuseFares { version } => {
            let decided = fares_decided(client, *version, Decision::Refuse).await;
            output.say(spoken, decided, |one| spoken.fares(one))
        }
        // Those make their session themselves.
        Matter::People(_) => Ok(()),
    }
}

/// Decides on what the person has read: the text as it was proposed.
async fn fares_decided(client: &Client, version: u32, decision: Decision) -> Result<FareRecord, ClientError> {
    let version = version.to_string();
    let proposed = client.call(&fares::PROPOSED, &[&version], &Nothing {}).await?;
    let decision = FareDecision { digest: proposed.record.digest, decision };
    client.call(&fares::DECIDE, &[&version], &decision).await
}

impl Act {
    const fn to_wire(self) -> ActionKind {
        match self {
            Self::Book => ActionKind::Book,
            Self::Refund => ActionKind::Refund,
            Self::WriteOff => ActionKind::WriteOff,
            Self::Ignore => ActionKind::Ignore,
            Self::FreezeCard => ActionKind::FreezeCard,
            Self::ReleaseCard => ActionKind::ReleaseCard,
            Self::GoOnWithout => ActionKind::GoOnWithout,
        }
    }
}
