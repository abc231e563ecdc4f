//! Cases of the desk in memory.

use async_trait::async_trait;
use tsm_domain::desk::DeskCase;
use tsm_domain::{CardNumber, OperationId};

use super::SpTsmState;
use crate::error::Result;
use crate::memory::Memory;
use crate::sp_tsm::With;
use crate::sp_tsm::desk::{DeskCases, decides};

#[async_trait]
impl DeskCases for Memory<SpTsmState> {
    async fn open_case(&self, case: DeskCase, with: With) -> Result<DeskCase> {
        self.write(|state| {
            if let Some(known) = state.cases.get(&case.id) {
                return Ok(known.clone());
            }
            state.cases.insert(case.id, case.clone());
            state.with(with);
            Ok(case)
        })
    }

    async fn desk_case(&self, id: OperationId) -> Result<Option<DeskCase>> {
        self.read(|state| Ok(state.cases.get(&id).cloned()))
    }

    async fn cases_of(&self, card: CardNumber) -> Result<Vec<DeskCase>> {
        self.read(|state| {
            let mut own: Vec<_> = state.cases.values().filter(|case| case.card == card).cloned().collect();
            own.sort_by_key(|case| std::cmp::Reverse((case.opened.at, case.id)));
            Ok(own)
        })
    }

    async fn decide_case(&self, before: &DeskCase, after: DeskCase, with: With) -> Result<()> {
        self.write(|state| {
            if decides(state.cases.get(&before.id).cloned(), before, &after)? {
                state.cases.insert(after.id, after);
                state.with(with);
            }
            Ok(())
        })
    }
}
