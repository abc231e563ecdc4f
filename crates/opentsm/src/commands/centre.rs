//! `opentsm centre`: the people of an institution at the clearing centre: differences, fare tables, accounts.
//!
//! Each command logs its person in and out again. What needs two people needs two who log in.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use tsm_api::clearing::clerks::{self as people, ClerkPassword, ClerkRole, NewClerk};
use tsm_api::clearing::fares::{self, FareDecision, FareRecord, NewFares};
use tsm_api::clearing::lists::Decision;
use tsm_api::clearing::settlement::{self, ActionKind, DifferenceQuery, DifferenceRecord, NewProposal};
use tsm_api::client::{Client, ClientError};
use tsm_api::endpoint::Nothing;
use tsm_domain::environment::Entropy as _;
use uuid::Uuid;

use super::output::Output;
use crate::city::centre::Centre;
use crate::city::plan::CityPlan;
use crate::environment::SystemEntropy;

/// Options of `opentsm centre`.
#[derive(Debug, Args)]
pub struct Options {
    /// The folder of the running city: that of `opentsm up --data`.
    #[arg(long, value_name = "DIR")]
    city: PathBuf,

    /// Who acts: clerk-1 or clerk-2, who propose and approve, or root, who adds people, in a city on this machine.
    #[arg(long, value_name = "NAME")]
    clerk: String,

    /// The file of the person's password, where it is not one of the city's own.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,

    #[command(flatten)]
    output: Output,

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
    /// The institution's people.
    Clerks,
    /// Adds a person, or assigns a new password; shows the first password, which the first login must change.
    AddClerk {
        /// The person.
        name: String,
        /// What the person may do.
        #[arg(long, value_enum, required = true)]
        role: Vec<May>,
    },
    /// Changes the person's own password.
    Password {
        /// The file with the new password.
        file: PathBuf,
    },
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
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum May {
    /// Add people.
    Administrator,
    /// Propose.
    Proposer,
    /// Approve.
    Approver,
}

/// Runs one matter.
pub fn run(options: &Options) -> Result<(), String> {
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    let plan = CityPlan::read(&options.city.join("plan.json")).map_err(|error| error.to_string())?;
    runtime.block_on(at_the_centre(&plan, options))
}

async fn at_the_centre(plan: &CityPlan, options: &Options) -> Result<(), String> {
    let clerks = plan.centre_clerks.as_ref();
    let clerks = clerks.ok_or("this city was made before its centre had clerks; make a new one")?;
    let password = options.password_file.as_deref().map(secret).transpose()?;
    let client = clerks.log_in(plan, &options.clerk, password.as_deref()).await;
    let client = client.map_err(|error| error.to_string())?;
    let done = decide(plan, options, &client, password).await;
    // The session ends either way; what was done is done.
    let ended = client.call(&people::LOGOUT, &[], &Nothing {}).await;
    done.and(ended.map(drop).map_err(|error| error.to_string()))
}

async fn decide(
    plan: &CityPlan,
    options: &Options,
    client: &Client,
    password: Option<String>,
) -> Result<(), String> {
    match &options.matter {
        Matter::Differences => {
            let query = DifferenceQuery::default();
            let reply = client.call(&settlement::DIFFERENCES, &[], &query).await;
            options.output.show(reply, |found| {
                found.differences.iter().filter(|one| is_open(one)).for_each(show_difference);
            })
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
            options.output.show(reply, show_difference)
        }
        Matter::Approve { difference } => {
            let reply = client.call(&settlement::APPROVE, &[&difference.to_string()], &Nothing {}).await;
            options.output.show(reply, show_difference)
        }
        Matter::Reject { difference } => {
            let reply = client.call(&settlement::REJECT, &[&difference.to_string()], &Nothing {}).await;
            options.output.show(reply, show_difference)
        }
        Matter::Fares => {
            let reply = client.call(&fares::VERSIONS, &[], &Nothing {}).await;
            options.output.show(reply, |known| known.fares.iter().for_each(show_fares))
        }
        Matter::ProposeFares { file, from, until } => {
            let text =
                std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
            let new = NewFares { valid_from: *from, valid_until: *until, text };
            options.output.show(client.call(&fares::PROPOSE, &[], &new).await, show_fares)
        }
        Matter::PublishFares { version } => {
            options.output.show(fares_decided(client, *version, Decision::Approve).await, show_fares)
        }
        Matter::RefuseFares { version } => {
            options.output.show(fares_decided(client, *version, Decision::Refuse).await, show_fares)
        }
        Matter::Clerks => {
            let reply = client.call(&people::CLERKS, &[], &Nothing {}).await;
            options.output.show(reply, |known| {
                for one in &known.clerks {
                    let closed = one.closed_until.map(|until| format!(", closed until {until}"));
                    println!("{}: {:?}{}", one.person, one.roles, closed.unwrap_or_default());
                }
            })
        }
        Matter::AddClerk { name, role } => {
            let mut bytes = [0; 10];
            SystemEntropy.fill(&mut bytes);
            let first_password = hex::encode(bytes);
            let roles = role.iter().map(|role| role.to_wire()).collect();
            let new = NewClerk { person: name.clone(), roles, first_password };
            let reply = client.call(&people::ADD_CLERK, &[], &new).await;
            let reply = reply.map(|line| Added { person: line.person, first_password: new.first_password });
            options.output.show(reply, |added| {
                println!("{} logs in with {} and changes it", added.person, added.first_password);
            })
        }
        Matter::Password { file } => {
            let old = password.ok_or("give the present password with --password-file")?;
            let reply = client.call(&people::PASSWORD, &[], &ClerkPassword { old, new: secret(file)? }).await;
            options.output.show(reply, |_| println!("the password is changed"))
        }
    }
}

/// What the new person needs.
#[derive(Serialize)]
struct Added {
    person: String,
    first_password: String,
}

/// Decides on what the person has read: the text as it was proposed.
async fn fares_decided(client: &Client, version: u32, decision: Decision) -> Result<FareRecord, ClientError> {
    let version = version.to_string();
    let proposed = client.call(&fares::PROPOSED, &[&version], &Nothing {}).await?;
    let decision = FareDecision { digest: proposed.record.digest, decision };
    client.call(&fares::DECIDE, &[&version], &decision).await
}

fn secret(file: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(text.trim_end().to_owned())
}

fn is_open(one: &DifferenceRecord) -> bool {
    !matches!(one.state.as_str(), "resolved" | "explained")
}

fn show_difference(one: &DifferenceRecord) {
    let DifferenceRecord { difference, day, state, cause_en, text, .. } = one;
    println!("{difference} of {day}, {state}: {cause_en} {text}");
    if let Some(by) = &one.proposed_by {
        let note = one.note.as_deref().unwrap_or_default();
        println!("  {} proposes {:?}: {note}", by.person, one.action);
    }
    if let Some(by) = &one.approved_by {
        println!("  {} approved it", by.person);
    }
}

fn show_fares(one: &FareRecord) {
    let until = one.valid_until.map(|until| format!(" until {until}")).unwrap_or_default();
    let what = match (one.decision, &one.decided_by) {
        (Some(Decision::Approve), Some(by)) => format!("published by {by}"),
        (Some(Decision::Refuse), Some(by)) => format!("refused by {by}"),
        _ => "another person decides".to_owned(),
    };
    println!(
        "version {} from {}{until}: proposed by {}, {what}",
        one.version, one.valid_from, one.proposed_by
    );
}

impl Act {
    const fn to_wire(self) -> ActionKind {
        match self {
            Self::Book => ActionKind::Book,
            Self::Refund => ActionKind::Refund,
            Self::WriteOff => ActionKind::WriteOff,
            Self::Ignore => ActionKind::Ignore,
            Self::FreezeCard => ActionKind::FreezeCard,
        }
    }
}

impl May {
    const fn to_wire(self) -> ClerkRole {
        match self {
            Self::Administrator => ClerkRole::Administrator,
            Self::Proposer => ClerkRole::Proposer,
            Self::Approver => ClerkRole::Approver,
        }
    }
}
