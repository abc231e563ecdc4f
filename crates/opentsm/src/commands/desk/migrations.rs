//! Migrations that a hall or customer service orders for a rider (P-5.5.4.d): the order moves nothing, each phone is
//! told at its next login.
//!
//! The person logs in at the issuer's desk as for everything else there; the operator's account for that desk carries
//! the order, which names the person.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use tsm_api::HexBytes;
use tsm_api::clearing::clerks::{ClerkRole, ClerkSelf};
use tsm_api::client::Client;
use tsm_api::endpoint::{Nothing, StaffRole};
use tsm_api::ids::{OperationId, RequestId};
use tsm_api::se_tsm::migrations::{MigrationDesk, NewMigration, Withdrawal};
use tsm_iso7816::Aid;
use tsm_wallet::storage::WalletStorage as _;

use crate::city::clerks::At;
use crate::city::plan::CityPlan;
use crate::city::{self, desk, roles};
use crate::commands::clerks::Who;
use crate::commands::wallet::Spoken;
use crate::phone::FileStorage;

/// What is done about migrations.
#[derive(Debug, Args)]
pub struct Matter {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Orders one: the first phone parks the application, the second takes it in.
    Order {
        /// The phone that has it: its folder, or the number of its secure element.
        from: String,
        /// The phone that it goes to.
        to: String,
        /// The application's AID; the city's transit card, when none is named.
        #[arg(long)]
        application: Option<String>,
        /// The number of the request: the same one again gets the same answer.
        #[arg(long, value_name = "UUID")]
        request: Option<uuid::Uuid>,
    },
    /// What is ordered for a phone, and how far it has come.
    List {
        /// The phone: its folder, or the number of its secure element.
        phone: String,
    },
    /// Withdraws one. What has left its phone stays parked.
    Withdraw {
        /// The migration, as it was shown.
        migration: uuid::Uuid,
        /// Why, in words.
        #[arg(long)]
        reason: String,
    },
}

/// Runs one matter for the person whose session this is.
pub async fn run(plan: &CityPlan, who: &Who, session: &Client, matter: &Matter) -> Result<(), String> {
    let spoken = who.language;
    let whoami = session.call(&At::IssuersDesk.endpoints().whoami, &[], &Nothing {}).await;
    let clerk = whoami.map_err(|error| spoken.refusal(&error))?;
    let role = role_of(&clerk).ok_or("only halls and customer service order migrations")?;
    let client = city::operator(plan).map_err(|error| error.to_string())?;
    let staff = desk::at_desk(&client, role).await.map_err(|error| error.to_string())?;
    let staff = staff.ok_or("the operator has no such desk")?;
    let clerk = Some(clerk.person);
    match &matter.what {
        What::Order { from, to, application, request } => {
            let (from, to) = (element(&who.city, from).await?, element(&who.city, to).await?);
            let order = NewMigration {
                request: RequestId(request.unwrap_or_else(|| roles::runtime().uuid())),
                aid: application_of(plan, application.as_deref())?,
                to,
                desk: if role == StaffRole::Hall {
                    MigrationDesk::Hall
                } else {
                    MigrationDesk::CustomerService
                },
                clerk,
            };
            who.output
                .say(spoken, staff.order_migration(&from, &order).await, |order| spoken.migration(order))
        }
        What::List { phone } => {
            let phone = element(&who.city, phone).await?;
            let none = ("no migration is ordered", "没有已订购的迁移");
            who.output.say(spoken, staff.migrations(&phone).await, |known| {
                spoken.lines(&known.migrations, Spoken::migration, none)
            })
        }
        What::Withdraw { migration, reason } => {
            let withdrawal = Withdrawal { reason: reason.clone(), clerk };
            let withdrawn = staff.withdraw_migration(OperationId(*migration), &withdrawal).await;
            who.output.say(spoken, withdrawn, |order| spoken.migration(order))
        }
    }
}

/// The operator's desk for what a person may do at the issuer's.
fn role_of(clerk: &ClerkSelf) -> Option<StaffRole> {
    let may = |role| clerk.roles.contains(&role);
    match (may(ClerkRole::Hall), may(ClerkRole::CustomerService)) {
        (true, _) => Some(StaffRole::Hall),
        (false, true) => Some(StaffRole::CustomerService),
        (false, false) => None,
    }
}

/// A secure element by its number, or by its phone's folder, with or without the city's.
async fn element(city: &Path, named: &str) -> Result<HexBytes, String> {
    let folders = [PathBuf::from(named), city.join(named)];
    let Some(folder) = folders.into_iter().find(|folder| folder.is_dir()) else {
        let bytes = hex::decode(named);
        return bytes.map(HexBytes).map_err(|_| format!("{named} is no phone's folder and no number"));
    };
    let record = FileStorage::new(&folder).load().await.map_err(|error| error.to_string())?;
    let registration = record.registration.ok_or_else(|| format!("the phone {named} is not registered"))?;
    Ok(registration.se_id)
}

fn application_of(plan: &CityPlan, named: Option<&str>) -> Result<HexBytes, String> {
    let published = plan.published.as_ref().map(|published| published.transit.as_str());
    let text = named.or(published).ok_or("the city has published no transit card; name an application")?;
    let aid: Aid = text.parse().map_err(|_| format!("{text} is no AID"))?;
    Ok(aid.into())
}
