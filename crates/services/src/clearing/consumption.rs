//! A terminal's notices (B-7.3.1): each is verified by its TAC through the key service and recorded once.
//! What is wrong is kept aside with a reason and moves no money.

use std::sync::Arc;

use tsm_api::clearing::{ConsumptionReceipt, ConsumptionReport, ConsumptionVerdict};
use tsm_api::problem::{Problem, ProblemCode};

use super::Clearing;
use super::access::Institution;
use super::collection::{Row, institution_id, verdict_of};
use crate::server::Call;

/// Transactions in one report; more are refused.
const MOST: usize = 1000;
/// Transactions of one step.
const CHUNK: usize = 200;

/// Takes a terminal's transactions.
pub(super) async fn consumption(
    centre: Arc<Clearing>,
    call: Call<Institution, ConsumptionReport>,
) -> Result<ConsumptionReceipt, Problem> {
    let ConsumptionReport { terminal, transactions } = call.request;
    if transactions.len() > MOST {
        return Err(ProblemCode::TooLarge.into());
    }
    let institution = institution_id(&call.caller.0)?;
    let (terminal, _) = centre.terminal_of(&institution, terminal.as_bytes())?;
    let mut verdicts = Vec::with_capacity(transactions.len());
    for chunk in transactions.chunks(CHUNK) {
        let rows: Vec<Row> = chunk.iter().map(|told| Row::notice(terminal, told)).collect();
        let outcomes = centre.take_rows(&institution, &rows).await?;
        verdicts.extend(outcomes.into_iter().map(|outcome| ConsumptionVerdict::from(verdict_of(outcome))));
    }
    Ok(ConsumptionReceipt { verdicts })
}
