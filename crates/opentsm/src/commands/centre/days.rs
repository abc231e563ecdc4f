//! Days at the centre: what has become of each, what operators get for it, and paying them out.

use clap::Subcommand;
use tsm_api::clearing::lists::Decision;
use tsm_api::clearing::settlement::{self, NewPayout, OperatorPayout, PayoutDecision};
use tsm_api::client::{Client, ClientError};
use tsm_api::endpoint::Nothing;

use crate::commands::clerks::Who;
use crate::commands::wallet::Spoken;

/// What is done about days.
#[derive(Debug, Subcommand)]
pub enum Matter {
    /// The closed days, newest first.
    Days,
    /// What operators get for a day.
    Settlements {
        /// The day, like 2026-11-20.
        day: String,
    },
    /// The payouts to operators that wait for a second person; with a day, all of that day.
    Payouts {
        /// The day.
        day: Option<String>,
    },
    /// Proposes to pay an operator out for a day. Another person approves.
    ProposePayout {
        /// The day.
        day: String,
        /// The operator.
        operator: String,
        /// Why, in words.
        #[arg(long)]
        note: String,
    },
    /// Approves the payout that another person proposed; it is booked at once.
    ApprovePayout {
        /// The day.
        day: String,
        /// The operator.
        operator: String,
    },
    /// Refuses it.
    RefusePayout {
        /// The day.
        day: String,
        /// The operator.
        operator: String,
    },
}

/// Does one of these.
pub async fn run(who: &Who, client: &Client, matter: &Matter) -> Result<(), String> {
    let (output, spoken) = (&who.output, who.language);
    match matter {
        Matter::Days => {
            let reply = client.call(&settlement::DAYS, &[], &Nothing {}).await;
            let none = ("no day is closed yet", "尚无已关闭的营业日");
            output.say(spoken, reply, |known| spoken.lines(&known.days, Spoken::day, none))
        }
        Matter::Settlements { day } => {
            let reply = client.call(&settlement::SETTLEMENTS, &[day], &Nothing {}).await;
            let none = ("nothing was spent on this day", "当日没有消费");
            output.say(spoken, reply, |known| spoken.lines(&known.settlements, Spoken::settlement, none))
        }
        Matter::Payouts { day } => {
            let reply = match day {
                Some(day) => client.call(&settlement::PAYOUTS, &[day], &Nothing {}).await,
                None => client.call(&settlement::WAITING_PAYOUTS, &[], &Nothing {}).await,
            };
            let none = ("no payout waits", "没有待审批的付款");
            output.say(spoken, reply, |known| spoken.lines(&known.payouts, Spoken::operator_payout, none))
        }
        Matter::ProposePayout { day, operator, note } => {
            let new = NewPayout { operator: operator.clone(), note: note.clone() };
            let reply = client.call(&settlement::PROPOSE_PAYOUT, &[day], &new).await;
            output.say(spoken, reply, |one| spoken.operator_payout(one))
        }
        Matter::ApprovePayout { day, operator } => {
            let decided = decide(client, (day, operator), Decision::Approve).await;
            output.say(spoken, decided, |one| spoken.operator_payout(one))
        }
        Matter::RefusePayout { day, operator } => {
            let decided = decide(client, (day, operator), Decision::Refuse).await;
            output.say(spoken, decided, |one| spoken.operator_payout(one))
        }
    }
}

/// Decides on the amount that is shown now: should another one stand there by then, nothing is paid.
async fn decide(
    client: &Client,
    (day, operator): (&str, &str),
    decision: Decision,
) -> Result<OperatorPayout, ClientError> {
    let known = client.call(&settlement::PAYOUTS, &[day], &Nothing {}).await?.payouts;
    let amount_fen = known.iter().rfind(|one| one.operator == operator).map_or(0, |one| one.amount_fen);
    let decision = PayoutDecision { operator: operator.to_owned(), amount_fen, decision };
    client.call(&settlement::DECIDE_PAYOUT, &[day], &decision).await
}
