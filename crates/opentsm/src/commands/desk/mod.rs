//! `opentsm desk`: the card issuer's halls and customer service at work in a running city, and the operator's.
//!
//! Each person logs in at the SP-TSM with a password; who proposed and who approved is whose session it was.

mod hall;
mod migrations;
mod words;

use clap::{Args, Subcommand};
use tsm_api::client::{Client, SpTsmDesk};
use tsm_api::ids::{OperationId, RequestId};
use tsm_api::sp_tsm::desk::{CardMatter, CasesQuery};

use super::clerks::{self, Who};
use super::wallet::Spoken;
use crate::city::centre::Centre;
use crate::city::clerks::At;
use crate::city::plan::CityPlan;
use crate::city::roles;

/// Options of `opentsm desk`.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    who: Who,

    #[command(subcommand)]
    matter: Matter,
}

#[derive(Debug, Subcommand)]
enum Matter {
    /// Proposes to pay out in cash what no payment takes back of a returned card. Another person approves.
    Payout(OnCard),
    /// Approves a payout that another person proposed.
    Approve(OnPayout),
    /// Rejects a payout.
    Reject(OnPayout),
    /// Records that a card is lost: terminals refuse it, and only a hall lets it be unlocked.
    Lost(OnCard),
    /// Allows a card to be unlocked once, within the hour. A lost card is found by it.
    Unlock(OnCard),
    /// Gives back a parked card that a phone claimed and never got.
    ReleaseClaim(OnCard),
    /// Proposes to give back the balance of a card that a phone claimed which is gone. Another person approves.
    ReturnClaimed(OnCard),
    /// Approves that.
    ApproveReturn(OnCase),
    /// Rejects that.
    RejectReturn(OnCase),
    /// Serves a card on the hall's own reader: unlocks it, returns it, or parks it to migrate.
    Serve(hall::Visit),
    /// Orders, lists or withdraws migrations for riders, as the operator's own people.
    Migrate(migrations::Matter),
    /// What was decided about a card.
    Cases {
        /// The card's number, or its last digits.
        number: String,
    },
    #[command(flatten)]
    People(clerks::Matter),
}

#[derive(Debug, Args)]
struct OnCard {
    /// The card's number, or its last digits.
    number: String,

    /// Why, in words; it stands in the card's journal.
    #[arg(long)]
    reason: String,

    /// The number of the request: the same one again gets the same answer.
    #[arg(long, value_name = "UUID")]
    request: Option<uuid::Uuid>,
}

#[derive(Debug, Args)]
struct OnPayout {
    /// The payout, as it was shown when it was proposed.
    payout: uuid::Uuid,
}

#[derive(Debug, Args)]
struct OnCase {
    /// The case, as it was shown when it was proposed.
    case: uuid::Uuid,
}

/// Runs one matter.
pub fn run(options: &Options) -> Result<(), String> {
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    let plan = options.who.plan()?;
    let Options { who, matter } = options;
    runtime.block_on(async {
        if let Matter::People(matter) = matter {
            return who.people(At::IssuersDesk, &plan, matter).await;
        }
        who.logged_in(At::IssuersDesk, &plan, async |client| decide(&plan, options, client).await).await
    })
}

async fn decide(plan: &CityPlan, options: &Options, client: Client) -> Result<(), String> {
    let Options { who, matter } = options;
    if let Matter::Migrate(matter) = matter {
        return migrations::run(plan, who, &client, matter).await;
    }
    let desk = SpTsmDesk::new(client);
    let (output, spoken) = (&who.output, who.language);
    match matter {
        Matter::Payout(on) => {
            let asked = about(plan, on).await?;
            output.say(spoken, desk.propose_payout(&asked).await, |payout| spoken.payout(payout))
        }
        Matter::Approve(on) => {
            output.say(spoken, desk.approve_payout(on.number()).await, |payout| spoken.payout(payout))
        }
        Matter::Reject(on) => {
            output.say(spoken, desk.reject_payout(on.number()).await, |payout| spoken.payout(payout))
        }
        Matter::Lost(on) => {
            let asked = about(plan, on).await?;
            output.say(spoken, desk.report_lost(&asked).await, |case| spoken.case(case))
        }
        Matter::Unlock(on) => {
            let asked = about(plan, on).await?;
            output.say(spoken, desk.allow_unlock(&asked).await, |case| spoken.case(case))
        }
        Matter::ReleaseClaim(on) => {
            let asked = about(plan, on).await?;
            output.say(spoken, desk.release_claim(&asked).await, |released| spoken.released(released))
        }
        Matter::ReturnClaimed(on) => {
            let asked = about(plan, on).await?;
            output.say(spoken, desk.propose_claim_return(&asked).await, |case| spoken.case(case))
        }
        Matter::ApproveReturn(on) => {
            let case = desk.approve_claim_return(OperationId(on.case)).await;
            output.say(spoken, case, |case| spoken.case(case))
        }
        Matter::RejectReturn(on) => {
            let case = desk.reject_claim_return(OperationId(on.case)).await;
            output.say(spoken, case, |case| spoken.case(case))
        }
        Matter::Serve(visit) => {
            let asked = about(plan, &visit.on).await?;
            output.say(spoken, visit.carry(&desk, asked).await?, |outcome| spoken.visit(outcome))
        }
        Matter::Cases { number } => {
            let query = CasesQuery { card: card(plan, number).await? };
            let none = ("nothing was decided about this card", "此卡没有受理记录");
            output
                .say(spoken, desk.cases(&query).await, |known| spoken.lines(&known.cases, Spoken::case, none))
        }
        // Done above, or with a session of their own.
        Matter::Migrate(_) | Matter::People(_) => Ok(()),
    }
}

async fn about(plan: &CityPlan, on: &OnCard) -> Result<CardMatter, String> {
    let card = card(plan, &on.number).await?;
    let request = on.request.unwrap_or_else(|| roles::runtime().uuid());
    Ok(CardMatter { request: RequestId(request), card, reason: on.reason.clone() })
}

async fn card(plan: &CityPlan, number: &str) -> Result<tsm_api::HexBytes, String> {
    let centre = Centre::of(plan).map_err(|error| error.to_string())?;
    centre.card(number).await.map_err(|error| error.to_string())
}

impl OnPayout {
    const fn number(&self) -> OperationId {
        OperationId(self.payout)
    }
}
