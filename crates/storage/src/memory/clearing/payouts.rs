//! Payouts to operators, in memory.

use std::collections::BTreeMap;

use async_trait::async_trait;
use tsm_domain::InstitutionId;
use tsm_domain::money::settlement::BusinessDay;

use super::ClearingState;
use crate::clearing::lists::ProposalDecided;
use crate::clearing::payouts::{OperatorPayouts, PayoutRow, Proposed, decide, proposed, unknown};
use crate::clearing::{Books, Step};
use crate::error::Result;
use crate::memory::Memory;

/// What is kept.
pub(super) type PayoutsState = BTreeMap<(BusinessDay, InstitutionId, u32), PayoutRow>;

#[async_trait]
impl OperatorPayouts for Memory<ClearingState> {
    async fn propose_payout(&self, row: PayoutRow, books: Books) -> Result<PayoutRow> {
        self.write(|state| {
            let key = |number| (row.day, row.operator.clone(), number);
            let earlier: Vec<_> =
                state.payouts.range(key(0)..=key(u32::MAX)).map(|(_, row)| row.clone()).collect();
            match proposed(&earlier, row.clone()) {
                Proposed::Known(known) => Ok(known),
                Proposed::New(new) => {
                    state.book(Step::default(), books)?;
                    state.payouts.insert(key(new.number), new.clone());
                    Ok(new)
                }
            }
        })
    }

    async fn decide_payout(
        &self,
        day: BusinessDay,
        operator: &InstitutionId,
        number: u32,
        decided: ProposalDecided,
        books: Books,
    ) -> Result<PayoutRow> {
        self.write(|state| {
            let key = (day, operator.clone(), number);
            let row = state.payouts.get(&key).cloned().ok_or_else(|| unknown(day, operator))?;
            let Some(after) = decide(&row, decided)? else { return Ok(row) };
            state.book(Step::default(), books)?;
            state.payouts.insert(key, after.clone());
            Ok(after)
        })
    }

    async fn payouts(&self, day: BusinessDay) -> Result<Vec<PayoutRow>> {
        self.read(|state| Ok(state.payouts.values().filter(|row| row.day == day).cloned().collect()))
    }

    async fn waiting_payouts(&self, limit: usize) -> Result<Vec<PayoutRow>> {
        self.read(|state| {
            let waiting = state.payouts.values().filter(|row| row.decided.is_none());
            Ok(waiting.take(limit).cloned().collect())
        })
    }
}
