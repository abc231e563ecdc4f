//! The money equation: what was paid in is somewhere, to the fen.

use std::sync::Arc;

use tsm_api::clearing::Books;
use tsm_api::endpoint::Nothing;
use tsm_api::problem::{Problem, ProblemCode};
use tsm_domain::money::MoneyTotals;
use tsm_storage::StorageError;

use super::Clearing;
use super::access::Institution;
use crate::server::Call;
use crate::stored;

/// The equation over the cards that the caller issued, or over everything for the centre's desk. Books that do not balance are not shown as if they did.
pub(super) async fn books(centre: Arc<Clearing>, call: Call<Institution, Nothing>) -> Result<Books, Problem> {
    let totals = centre.totals_for(&call.caller.0).await.map_err(|error| stored::problem(&error))?;
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
        fees_fen: term(totals.fees)?,
        deposits_fen: term(totals.deposits)?,
        write_offs_fen: i64::try_from(totals.write_offs).map_err(|_| Problem::new(ProblemCode::Internal))?,
        operator_payable_fen: term(totals.operator_payable)?,
        operator_paid_fen: term(totals.operator_paid)?,
        refunded_fen: term(totals.refunded)?,
    })
}

impl Clearing {
    async fn totals_for(&self, institution: &str) -> Result<MoneyTotals, StorageError> {
        if self.duties.is_desk(institution) {
            return self.store.totals().await;
        }
        let mut totals = MoneyTotals::default();
        for prefix in self.duties.prefixes_of(institution) {
            totals.add_all(&self.store.totals_of(prefix).await?);
            totals.add_all(&self.store.lost_of(prefix).await?);
        }
        Ok(totals)
    }
}
