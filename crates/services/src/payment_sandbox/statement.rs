//! The merchant's statement of a day that is over, with digest and signature.

use std::sync::Arc;

use tsm_api::HexBytes;
use tsm_api::payment::statement;
use tsm_api::payment::{StatementFile, StatementQuery};
use tsm_api::problem::{Problem, ProblemCode};
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
        return Err(Problem::because(ProblemCode::StateForbids, "The day is not over."));
    }
    let problem = |error| stored::problem(&error);
    let paid = sandbox.store.paid_between(from, to).await.map_err(problem)?;
    let refunds = sandbox.store.refunds_between(from, to).await.map_err(problem)?;
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
    sandbox.file(Statement { merchant, day, lines })
}

impl PaymentSandbox {
    fn file(&self, lines: Statement) -> Result<StatementFile, Problem> {
        let text = statement::write(&lines).map_err(|_| ProblemCode::Internal)?;
        let digest = statement::digest(&text);
        let merchant = self.merchants.iter().find(|merchant| merchant.institution == lines.merchant);
        let scheme = merchant.and_then(super::Merchant::scheme).ok_or(ProblemCode::Internal)?;
        let key = self.own_keys.newest(scheme).ok_or(ProblemCode::Internal)?;
        let signed = statement::signed_bytes(&lines.merchant, lines.day, &digest);
        let signature = key.sign(&signed).map_err(|_| ProblemCode::Internal)?;
        Ok(StatementFile {
            merchant: lines.merchant,
            day: lines.day,
            text,
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
