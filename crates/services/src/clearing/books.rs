//! The money equation: what was paid in is somewhere, to the fen.

use std::sync::Arc;

use tsm_api::clearing::Books;
use tsm_api::endpoint::Nothing;
use tsm_api::problem::{Problem, ProblemCode};

use super::Clearing;
use super::access::Institution;
use crate::server::Call;
use crate::stored;

/// The equation over all cards. Books that do not balance are not shown as if they did.
pub(super) async fn books(
    centre: Arc<Clearing>,
    _call: Call<Institution, Nothing>,
) -> Result<Books, Problem> {
    let totals = centre.store.totals().await.map_err(|error| stored::problem(&error))?;
    totals.check().map_err(|imbalance| {
        tracing::error!(%imbalance, "the money equation does not hold");
        Problem::because(ProblemCode::Internal, imbalance)
    })?;
    let term = |fen: i128| u64::try_from(fen).map_err(|_| Problem::new(ProblemCode::Internal));
    Ok(Books {
        paid_in_fen: term(totals.paid_in)?,
        cash_in_fen: term(totals.cash_in)?,
        purses_fen: term(totals.purses)?,
        in_flight_fen: term(totals.in_flight)?,
        parked_fen: term(totals.parked)?,
        refund_payable_fen: term(totals.refund_payable)?,
        spent_fen: term(totals.spent)?,
        refunded_fen: term(totals.refunded)?,
    })
}
