//! Paying out in a hall what no payment takes back of a returned card: what came in cash (B-7.5.1.c).
//!
//! ```text
//! one person proposes     the centre says what is owed; what payments take back is not paid out
//! another approves        durable, with the report to the centre
//!                         -> the centre books it, once for the payout's number
//! the hall pays           the payout's number stands on the centre's receipt
//! ```
//!
//! A refund has one payout that counts: its number follows from the refund, and another is proposed only after
//! it was rejected. Repeating any step gives what was decided before.

use std::sync::Arc;

use tsm_api::clearing::closing::{ClosingQuery, ClosingStage, RefundPayment, RefundWay};
use tsm_api::endpoint::Nothing;
use tsm_api::ids::OperationId as WireOperation;
use tsm_api::problem::{Problem, ProblemCode, both};
use tsm_api::sp_tsm::desk::{CardMatter, PayoutRecord, PayoutState};
use tsm_domain::card::CardRecord;
use tsm_domain::desk::{DeskCase, DeskMatter, DeskStage};
use tsm_domain::{Fen, OperationId};
use tsm_storage::sp_tsm::With;

use super::access::Caller;
use super::closing_card::operation_to_wire;
use super::desk::{HALL, decided_otherwise, detail, problem, refused};
use super::returning::shares;
use super::{SpTsm, reports};
use crate::purse::{card_to_wire, to_wire};
use crate::server::Call;

/// Proposes a payout.
pub(super) async fn propose(
    tsm: Arc<SpTsm>,
    call: Call<Caller, CardMatter>,
) -> Result<PayoutRecord, Problem> {
    let at = tsm.at_desk(&call.caller, &call.request, HALL).await?;
    let refund = refund_of(&at.card)?;
    let card = at.card.card;
    let words = ["hall-payout", card.as_str(), &refund.to_string()];
    let of_refund = |matter| matches!(matter, DeskMatter::Payout { refund: known, .. } if known == refund);
    let check = async |card: &CardRecord| {
        tsm.owed_in_cash(card).await.map(|amount| DeskMatter::Payout { refund, amount })
    };
    let case = tsm.propose_case(at, (&words, "payout-proposed"), of_refund, check).await?;
    tsm.told(&case).await
}

/// Approves a payout.
pub(super) async fn approve(tsm: Arc<SpTsm>, call: Call<Caller, Nothing>) -> Result<PayoutRecord, Problem> {
    let clerk = tsm.clerk(&call.caller, HALL)?;
    let case = tsm.case_of(&call, is_payout).await?;
    if matches!(&case.stage, DeskStage::Done(decided) if decided.by == clerk) {
        // The answer was lost; it was approved.
        return tsm.told(&case).await;
    }
    let approved = case.done(tsm.decided(&clerk)).map_err(refused)?;
    let DeskMatter::Payout { amount, .. } = case.matter else { return Err(ProblemCode::UnknownId.into()) };
    let card = tsm.store.card(case.card).await.map_err(problem)?.ok_or(ProblemCode::UnknownId)?;
    if tsm.owed_in_cash(&card).await? < amount {
        let reason = both(
            "Less is owed than was proposed; reject it and propose again.",
            "应退金额少于提议，请驳回后重新提议。",
        );
        return Err(Problem::because(ProblemCode::AmountRefused, reason));
    }
    let report = reports::card_refund_paid(&paid_in_hall(&approved)?, tsm.now());
    let with = With {
        notes: vec![tsm.note_by(&clerk, case.card, "payout-approved", &detail(&case))],
        deliveries: vec![report.clone()],
        ..With::default()
    };
    tsm.store.decide_case(&case, approved.clone(), with).await.map_err(decided_otherwise)?;
    tsm.outbox.send_now(&[report]).await;
    tsm.told(&approved).await
}

/// Rejects a payout.
pub(super) async fn reject(tsm: Arc<SpTsm>, call: Call<Caller, Nothing>) -> Result<PayoutRecord, Problem> {
    let clerk = tsm.clerk(&call.caller, HALL)?;
    let case = tsm.case_of(&call, is_payout).await?;
    let rejected = tsm.reject_case(case, &clerk, "payout-rejected").await?;
    tsm.told(&rejected).await
}

/// A payout.
pub(super) async fn payout(tsm: Arc<SpTsm>, call: Call<Caller, Nothing>) -> Result<PayoutRecord, Problem> {
    tsm.someone(&call.caller)?;
    let case = tsm.case_of(&call, is_payout).await?;
    tsm.told(&case).await
}

impl SpTsm {
    /// What a hall owes for a returned card: what the centre owes, less what payments take back.
    async fn owed_in_cash(&self, card: &CardRecord) -> Result<Fen, Problem> {
        if card.frozen.is_some() {
            return Err(ProblemCode::SuspiciousCard.into());
        }
        let query = ClosingQuery { card: card_to_wire(card.card), operation: None };
        let closing = self.links.centre.closing(&query).await.map_err(|error| error.to_problem())?;
        match closing.stage {
            ClosingStage::RefundOrdered => {}
            ClosingStage::Refunded => {
                return Err(Problem::because(
                    ProblemCode::StateForbids,
                    both("All of it was given back.", "已全部退还。"),
                ));
            }
            ClosingStage::Begun
            | ClosingStage::Undone
            | ClosingStage::Parked
            | ClosingStage::Claimed
            | ClosingStage::Arrived => {
                return Err(Problem::because(
                    ProblemCode::StateForbids,
                    both("No refund of this card is ordered.", "该卡没有待退款项。"),
                ));
            }
        }
        let balance = Fen::new(closing.balance_fen.unwrap_or(0).into());
        let to_payments: Fen = shares(&*self.store, card.card, balance)
            .await
            .map_err(problem)?
            .iter()
            .map(|share| share.amount)
            .sum();
        let in_cash = balance.checked_sub(to_payments).unwrap_or(Fen::ZERO);
        let left = balance.checked_sub(Fen::new(closing.refunded_fen.into())).unwrap_or(Fen::ZERO);
        let owed = in_cash.min(left);
        if owed.is_zero() {
            let reason =
                both("All of it goes back to the payments that it came from.", "全部金额将原路退回。");
            return Err(Problem::because(ProblemCode::AmountRefused, reason));
        }
        Ok(owed)
    }

    /// The payout as it stands. The centre is told of an approved one again, which books it once and shows
    /// whether it has.
    async fn told(&self, case: &DeskCase) -> Result<PayoutRecord, Problem> {
        let DeskMatter::Payout { amount, .. } = case.matter else {
            return Err(ProblemCode::UnknownId.into());
        };
        let (state, decided) = match &case.stage {
            DeskStage::Open => (PayoutState::Proposed, None),
            DeskStage::Refused(decided) => (PayoutState::Rejected, Some(decided)),
            DeskStage::Done(decided) => {
                let booked = self.links.centre.refund_paid(&paid_in_hall(case)?).await;
                (if booked.is_ok() { PayoutState::Booked } else { PayoutState::Approved }, Some(decided))
            }
        };
        Ok(PayoutRecord {
            payout: WireOperation(case.id.as_uuid()),
            card_number: case.card.to_string(),
            amount_fen: to_wire(amount),
            state,
            proposed_by: case.opened.by.to_string(),
            decided_by: decided.map(|decided| decided.by.to_string()),
            decided_at: decided.map(|decided| decided.at),
        })
    }
}

/// The refund of a returned card, which its closing names.
fn refund_of(card: &CardRecord) -> Result<OperationId, Problem> {
    let closing = card.closing.filter(|closing| closing.purpose == tsm_domain::money::ClosingPurpose::Return);
    let closing = closing.ok_or_else(|| {
        Problem::because(ProblemCode::StateForbids, both("The card was not returned.", "该卡未退卡。"))
    })?;
    Ok(closing.operation)
}

/// What the centre books.
fn paid_in_hall(case: &DeskCase) -> Result<RefundPayment, Problem> {
    let (DeskMatter::Payout { refund, amount }, DeskStage::Done(decided)) = (case.matter, &case.stage) else {
        return Err(ProblemCode::Internal.into());
    };
    Ok(RefundPayment {
        card: card_to_wire(case.card),
        operation: operation_to_wire(refund),
        refund: WireOperation(case.id.as_uuid()),
        amount_fen: to_wire(amount),
        way: RefundWay::Hall { clerk: format!("{} and {}", case.opened.by, decided.by) },
    })
}

const fn is_payout(matter: DeskMatter) -> bool {
    matches!(matter, DeskMatter::Payout { .. })
}
