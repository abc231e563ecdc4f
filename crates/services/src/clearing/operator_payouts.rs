//! Paying operators out for settled days: one person of the centre's desk proposes, another approves, and the money
//! moves in the books in the same step. The journal's entry of the payment names both.

use std::sync::Arc;

use serde_json::json;
use tsm_api::clearing::settlement::{NewPayout, OperatorPayout, OperatorPayouts, PayoutDecision};
use tsm_api::endpoint::Nothing;
use tsm_api::problem::{Problem, ProblemCode, both};
use tsm_domain::money::settlement::BusinessDay;
use tsm_domain::{Fen, InstitutionId, OperatorId};
use tsm_storage::StorageError;
use tsm_storage::clearing::Books;
use tsm_storage::clearing::lists::{ProposalDecided, ProposalVerdict};
use tsm_storage::clearing::payouts::PayoutRow;
use tsm_storage::clerks::ClerkRole;
use tsm_storage::shared::{ChainKey, Note};

use super::Clearing;
use super::access::Institution;
use super::lists::{decision_of, verdict_of};
use super::resolution::LONGEST_NOTE;
use crate::server::Call;
use crate::staff::clerks::name_of;
use crate::stored;

/// Payouts listed at once.
const PAGE: usize = 200;

/// A person proposes a payout.
pub(super) async fn propose(
    centre: Arc<Clearing>,
    call: Call<Institution, NewPayout>,
) -> Result<OperatorPayout, Problem> {
    centre.check_desk(&call.caller.0)?;
    let by = call.caller.operator(ClerkRole::Proposer)?;
    let day: BusinessDay = call.parameter()?;
    let NewPayout { operator, note } = call.request;
    if note.trim().is_empty() || note.chars().count() > LONGEST_NOTE {
        let reason = both("A proposal says why, in a few sentences.", "提议须用几句话说明理由。");
        return Err(Problem::because(ProblemCode::ValueRefused, reason));
    }
    let operator = operator_of(&operator)?;
    let amount = centre.owed_to(day, &operator).await?;
    let row =
        PayoutRow { day, operator, number: 0, amount, note, by: by.clone(), at: centre.now(), decided: None };
    let said = centre.said_of(&row, &by, "operator-payout-proposed");
    let stored = centre.store.propose_payout(row, said).await.map_err(problem)?;
    Ok(record(&stored))
}

/// Another person decides.
pub(super) async fn decide(
    centre: Arc<Clearing>,
    call: Call<Institution, PayoutDecision>,
) -> Result<OperatorPayout, Problem> {
    centre.check_desk(&call.caller.0)?;
    let by = call.caller.operator(ClerkRole::Approver)?;
    let day: BusinessDay = call.parameter()?;
    let operator = operator_of(&call.request.operator)?;
    let all = centre.store.payouts(day).await.map_err(problem)?;
    let row = all.into_iter().rfind(|row| row.operator == operator).ok_or(ProblemCode::UnknownId)?;
    if row.by == by {
        return Err(ProblemCode::FourEyes.into());
    }
    if row.amount.get() != call.request.amount_fen {
        let reason = both("This is not the amount that was proposed.", "与提议的金额不一致。");
        return Err(Problem::because(ProblemCode::ValueRefused, reason));
    }
    let verdict = verdict_of(call.request.decision);
    let mut books = match verdict {
        ProposalVerdict::Approved => centre.said_of(&row, &by, "operator-paid"),
        ProposalVerdict::Refused => centre.said_of(&row, &by, "operator-payout-refused"),
    };
    if verdict == ProposalVerdict::Approved && row.decided.is_none() {
        books.transfers = centre.payout_of(day, &operator).await.map_err(problem)?;
        let owed: Fen = books.transfers.iter().map(|transfer| transfer.amount).sum();
        if owed != row.amount {
            let reason = both(
                "Something else is owed than was proposed; refuse it and propose again.",
                "应付金额与提议不同，请驳回后重新提议。",
            );
            return Err(Problem::because(ProblemCode::AmountRefused, reason));
        }
    }
    let decided = ProposalDecided { by, verdict, at: centre.now() };
    let stored = centre.store.decide_payout(day, &operator, row.number, decided, books).await;
    stored.map(|row| record(&row)).map_err(|error| match error {
        StorageError::Conflict { .. } => Problem::because(
            ProblemCode::StateForbids,
            both("The payout was decided before.", "该笔付款已审批。"),
        ),
        other => problem(other),
    })
}

/// A day's payouts.
pub(super) async fn of_day(
    centre: Arc<Clearing>,
    call: Call<Institution, Nothing>,
) -> Result<OperatorPayouts, Problem> {
    centre.check_desk(&call.caller.0)?;
    let rows = centre.store.payouts(call.parameter()?).await.map_err(problem)?;
    Ok(OperatorPayouts { payouts: rows.iter().map(record).collect() })
}

/// The payouts that wait for a second person.
pub(super) async fn waiting(
    centre: Arc<Clearing>,
    call: Call<Institution, Nothing>,
) -> Result<OperatorPayouts, Problem> {
    centre.check_desk(&call.caller.0)?;
    let rows = centre.store.waiting_payouts(PAGE).await.map_err(problem)?;
    Ok(OperatorPayouts { payouts: rows.iter().map(record).collect() })
}

impl Clearing {
    /// What an operator is still owed for a settled day.
    async fn owed_to(&self, day: BusinessDay, operator: &InstitutionId) -> Result<Fen, Problem> {
        self.settled(day).await?;
        let transfers = self.payout_of(day, operator).await.map_err(problem)?;
        let owed: Fen = transfers.iter().map(|transfer| transfer.amount).sum();
        if owed.is_zero() {
            let reason = both("Nothing is owed to this operator for the day.", "该运营方当日无应付款。");
            return Err(Problem::because(ProblemCode::StateForbids, reason));
        }
        Ok(owed)
    }

    /// What the journal says of a step, in the chain in which its transfers stand.
    fn said_of(&self, row: &PayoutRow, by: &OperatorId, event: &str) -> Books {
        let said = json!({
            "day": row.day.to_string(), "operator": row.operator, "amount_fen": row.amount.get(),
            "note": row.note, "proposed_by": row.by, "by": by,
        });
        let note = Note {
            chain: ChainKey::day_of(self.now()),
            at: self.now(),
            actor: by.to_string(),
            event: event.into(),
            detail: said.to_string(),
        };
        Books { notes: vec![note], ..Books::default() }
    }
}

fn operator_of(name: &str) -> Result<InstitutionId, Problem> {
    name.parse().map_err(|error| Problem::because(ProblemCode::UnknownId, error))
}

fn record(row: &PayoutRow) -> OperatorPayout {
    let decided = row.decided.as_ref();
    OperatorPayout {
        day: row.day.to_string(),
        operator: row.operator.to_string(),
        number: row.number,
        amount_fen: row.amount.get(),
        note: row.note.clone(),
        proposed_by: name_of(&row.by),
        proposed_at: row.at,
        decision: decided.map(|decided| decision_of(decided.verdict)),
        decided_by: decided.map(|decided| name_of(&decided.by)),
        decided_at: decided.map(|decided| decided.at),
    }
}

fn problem(error: StorageError) -> Problem {
    stored::problem(&error)
}
