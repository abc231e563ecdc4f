//! The merchant's statement of a day that is over, with digest and signature.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use tsm_api::HexBytes;
use tsm_api::payment::statement;
use tsm_api::payment::{StatementFile, StatementQuery, StatementSeal};
use tsm_api::problem::{Problem, ProblemCode, both};
use tsm_domain::PaymentReference;
use tsm_domain::money::statement::bounds_of_day;
use tsm_domain::money::{PaymentState, Statement, StatementKind, StatementLine};
use tsm_storage::payment::PaymentRow;

use super::PaymentSandbox;
use super::access::Caller;
use crate::server::Call;
use crate::stored;

/// Gives the statement.
pub(super) async fn statement_of_day(
    sandbox: Arc<PaymentSandbox>,
    call: Call<Caller, StatementQuery>,
) -> Result<StatementFile, Problem> {
    let merchant = call.caller.merchant()?;
    let day = call.request.day;
    let (from, to) = bounds_of_day(day).ok_or(ProblemCode::ValueRefused)?;
    if sandbox.now() < to {
        return Err(Problem::because(
            ProblemCode::StateForbids,
            both("The day is not over.", "该日尚未结束。"),
        ));
    }
    let lines = sandbox.lines_between(&merchant, from, to).await?;
    sandbox.file(Statement { merchant, day, lines })
}

impl PaymentSandbox {
    /// A merchant's payments and refunds from `from` up to `to`, in order of time.
    pub(super) async fn lines_between(
        &self,
        merchant: &str,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<StatementLine>, Problem> {
        let problem = |error| stored::problem(&error);
        let paid = self.store.paid_between(from, to).await.map_err(problem)?;
        let refunds = self.store.refunds_between(from, to).await.map_err(problem)?;
        // What a transit card paid is not the platform's money: the clearing centre settles it.
        let from_accounts = |row: &PaymentRow| row.merchant == merchant && row.debited().is_none();
        let payments = paid.into_iter().filter(from_accounts).filter_map(|row| {
            let (payment, at) = (reference(&row)?, row.paid_at?);
            let (order, amount) = (row.order.order, row.order.amount);
            Some(StatementLine { order, payment, kind: StatementKind::Paid, amount, at })
        });
        let refunds = refunds.into_iter().filter(|(_, row)| row.merchant == merchant);
        let refunds = refunds.filter_map(|(refund, row)| {
            let kind = StatementKind::Refunded { refund: refund.id };
            let (order, payment) = (refund.order, reference(&row)?);
            Some(StatementLine { order, payment, kind, amount: refund.amount, at: refund.at })
        });
        let mut lines: Vec<_> = payments.chain(refunds).collect();
        lines.sort_by_key(|line| line.at);
        Ok(lines)
    }

    fn file(&self, lines: Statement) -> Result<StatementFile, Problem> {
        let text = statement::write(&lines).map_err(|_| ProblemCode::Internal)?;
        let digest = statement::digest(&text);
        let StatementSeal { sha256, serial, signature } = self.seal(&lines.merchant, lines.day, digest)?;
        Ok(StatementFile { merchant: lines.merchant, day: lines.day, text, sha256, serial, signature })
    }

    /// Digest and signature of a statement's text.
    pub(super) fn seal(&self, merchant: &str, day: Date, digest: [u8; 32]) -> Result<StatementSeal, Problem> {
        let known = self.merchants.iter().find(|known| known.institution == merchant);
        let scheme = known.and_then(super::Merchant::scheme).ok_or(ProblemCode::Internal)?;
        let key = self.own_keys.newest(scheme).ok_or(ProblemCode::Internal)?;
        let signed = statement::signed_bytes(merchant, day, &digest);
        let signature = key.sign(&signed).map_err(|_| ProblemCode::Internal)?;
        Ok(StatementSeal {
            sha256: HexBytes(digest.to_vec()),
            serial: key.serial().to_owned(),
            signature: HexBytes(signature),
        })
    }
}

fn reference(row: &PaymentRow) -> Option<PaymentReference> {
    match &row.order.state {
        PaymentState::Paid(payment) | PaymentState::Refunded { payment, .. } => Some(payment.clone()),
        PaymentState::Created | PaymentState::Closed => None,
    }
}
