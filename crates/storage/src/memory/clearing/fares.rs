//! The operators' fare tables, in memory.

use std::collections::BTreeMap;

use async_trait::async_trait;
use tsm_domain::InstitutionId;

use super::ClearingState;
use crate::clearing::fares::{FareRow, Fares, decide, same_fares, unknown};
use crate::clearing::lists::ProposalDecided;
use crate::clearing::{Books, Step};
use crate::error::Result;
use crate::memory::Memory;

/// What is kept: each operator's versions with their texts.
pub(super) type FaresState = BTreeMap<(InstitutionId, u32), (FareRow, String)>;

fn of(fares: &FaresState, operator: &InstitutionId) -> Vec<FareRow> {
    let own = fares.range((operator.clone(), 0)..=(operator.clone(), u32::MAX));
    own.map(|(_, (row, _))| row.clone()).collect()
}

#[async_trait]
impl Fares for Memory<ClearingState> {
    async fn propose_fares(&self, row: FareRow, text: String) -> Result<FareRow> {
        self.write(|state| {
            let key = (row.operator.clone(), row.head.version);
            match state.fares.get(&key) {
                Some((stored, _)) => same_fares(stored.clone(), &row),
                None => {
                    state.fares.insert(key, (row.clone(), text));
                    Ok(row)
                }
            }
        })
    }

    async fn decide_fares(
        &self,
        operator: &InstitutionId,
        version: u32,
        decided: ProposalDecided,
        books: Books,
    ) -> Result<FareRow> {
        self.write(|state| {
            let key = (operator.clone(), version);
            let (row, text) = state.fares.get(&key).cloned().ok_or_else(|| unknown(version))?;
            let Some(after) = decide(&row, &of(&state.fares, operator), decided)? else { return Ok(row) };
            state.book(Step::default(), books)?;
            state.fares.insert(key, (after.clone(), text));
            Ok(after)
        })
    }

    async fn fares(&self, operator: &InstitutionId) -> Result<Vec<FareRow>> {
        self.read(|state| Ok(of(&state.fares, operator)))
    }

    async fn fare_text(&self, operator: &InstitutionId, version: u32) -> Result<Option<(FareRow, String)>> {
        self.read(|state| Ok(state.fares.get(&(operator.clone(), version)).cloned()))
    }
}
