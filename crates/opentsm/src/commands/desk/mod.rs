//! `opentsm desk`: the card issuer's halls and customer service at work in a running city, and the operator's.

mod hall;
mod migrations;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use tsm_api::client::SpTsmDesk;
use tsm_api::ids::{OperationId, RequestId};
use tsm_api::sp_tsm::desk::{
    CardMatter, CasesQuery, Clerk, DeskMatterKind, DeskRecord, PayoutRecord, PayoutState,
};

use super::output::Output;
use super::wallet::Spoken;
use crate::city::centre::Centre;
use crate::city::plan::CityPlan;
use crate::city::roles;
use crate::report::yuan;

/// Options of `opentsm desk`.
#[derive(Debug, Args)]
pub struct Options {
    /// The folder of the running city: that of `opentsm up --data`.
    #[arg(long, value_name = "DIR")]
    city: PathBuf,

    /// Who sits at the desk: hall-1, hall-2 or service-1 in a city on this machine.
    #[arg(long, value_name = "NAME")]
    clerk: String,

    #[command(flatten)]
    output: Output,

    /// The language of everything shown.
    #[arg(long, value_enum, default_value_t = Spoken::En)]
    language: Spoken,

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
    let plan = CityPlan::read(&options.city.join("plan.json")).map_err(|error| error.to_string())?;
    runtime.block_on(decide(&plan, options))
}

async fn decide(plan: &CityPlan, options: &Options) -> Result<(), String> {
    if let Matter::Migrate(matter) = &options.matter {
        return migrations::run(plan, options, matter).await;
    }
    let desk =
        plan.issuer_desk.as_ref().ok_or("this city was made before its issuer had a desk; make a new one")?;
    let desk = desk.line(plan, &roles::runtime_of(plan)).map_err(|error| error.to_string())?;
    let clerk = || Clerk { clerk: options.clerk.clone() };
    let payout = |on: &OnPayout| OperationId(on.payout);
    match &options.matter {
        Matter::Payout(on) => {
            let asked = matter(plan, options, on).await?;
            options.output.show(desk.propose_payout(&asked).await, show_payout)
        }
        Matter::Approve(on) => {
            options.output.show(desk.approve_payout(payout(on), &clerk()).await, show_payout)
        }
        Matter::Reject(on) => {
            options.output.show(desk.reject_payout(payout(on), &clerk()).await, show_payout)
        }
        Matter::Lost(on) => {
            let asked = matter(plan, options, on).await?;
            options.output.show(desk.report_lost(&asked).await, show_case)
        }
        Matter::Unlock(on) => {
            let asked = matter(plan, options, on).await?;
            options.output.show(desk.allow_unlock(&asked).await, show_case)
        }
        Matter::ReleaseClaim(on) => {
            let asked = matter(plan, options, on).await?;
            options.output.show(desk.release_claim(&asked).await, |released| {
                println!("the claim of {} is released; another phone can take it in", released.card_number);
            })
        }
        Matter::ReturnClaimed(on) => {
            let asked = matter(plan, options, on).await?;
            options.output.show(desk.propose_claim_return(&asked).await, show_case)
        }
        Matter::ApproveReturn(on) => {
            options.output.show(desk.approve_claim_return(OperationId(on.case), &clerk()).await, show_case)
        }
        Matter::RejectReturn(on) => {
            options.output.show(desk.reject_claim_return(OperationId(on.case), &clerk()).await, show_case)
        }
        Matter::Serve(visit) => {
            let asked = matter(plan, options, &visit.on).await?;
            options
                .output
                .show(visit.carry(&desk, asked).await?, |outcome| visit.show(options.language, outcome))
        }
        Matter::Migrate(_) => Ok(()),
        Matter::Cases { number } => show_cases(plan, options, &desk, number).await,
    }
}

async fn matter(plan: &CityPlan, options: &Options, on: &OnCard) -> Result<CardMatter, String> {
    let card = card(plan, &on.number).await?;
    let request = on.request.unwrap_or_else(|| roles::runtime().uuid());
    Ok(CardMatter {
        request: RequestId(request),
        card,
        clerk: options.clerk.clone(),
        reason: on.reason.clone(),
    })
}

async fn card(plan: &CityPlan, number: &str) -> Result<tsm_api::HexBytes, String> {
    let centre = Centre::of(plan).map_err(|error| error.to_string())?;
    centre.card(number).await.map_err(|error| error.to_string())
}

async fn show_cases(
    plan: &CityPlan,
    options: &Options,
    desk: &SpTsmDesk,
    number: &str,
) -> Result<(), String> {
    let card = card(plan, number).await?;
    options.output.show(desk.cases(&CasesQuery { card }).await, |known| {
        if known.cases.is_empty() {
            println!("nothing was decided about this card");
        }
        known.cases.iter().for_each(show_case);
    })
}

fn show_payout(payout: &PayoutRecord) {
    let amount = yuan(i64::from(payout.amount_fen));
    let (number, card) = (payout.payout, &payout.card_number);
    match payout.state {
        PayoutState::Proposed => {
            println!(
                "payout {number}: {amount} for {card}, proposed by {}; another person approves",
                payout.proposed_by
            );
        }
        PayoutState::Approved => {
            println!("payout {number}: pay out {amount} for {card}; the centre will book it");
        }
        PayoutState::Booked => {
            println!("payout {number}: pay out {amount} for {card}; the centre has booked it")
        }
        PayoutState::Rejected => println!("payout {number}: rejected, nothing is paid"),
    }
}

fn show_case(case: &DeskRecord) {
    let what = match case.matter {
        DeskMatterKind::Payout => "payout in cash",
        DeskMatterKind::Lost => "lost",
        DeskMatterKind::Unlock => "may be unlocked",
        DeskMatterKind::ClaimReturned => "returned, though a phone that is gone may hold a copy",
    };
    let until = case.until.map_or_else(String::new, |until| format!(" until {until}"));
    println!(
        "{} {}: {what}{until}, {:?}; {} by {} (case {})",
        case.at, case.card_number, case.state, case.reason, case.by, case.case
    );
}
