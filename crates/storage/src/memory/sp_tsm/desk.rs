//! Cases of the desk in memory.

use async_trait::async_trait;
use tsm_domain::desk::DeskCase;
use tsm_domain::{CardNumber, OperationId, SeId};

use super::SpTsmState;
use crate::error::Result;
use crate::memory::Memory;
use crate::sp_tsm::With;
use crate::sp_tsm::desk::{DeskCases, LossFollowed, LossWord, check_opens, decides};

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

    async fn loss_followed(&self, se: SeId) -> Result<Option<u64>> {
        self.read(|state| Ok(state.losses_followed.get(&se).copied()))
    }

    async fn follow_loss(&self, word: LossWord) -> Result<LossFollowed> {
        self.write(|state| {
            if !word.is_newer_than(state.losses_followed.get(&word.se).copied()) {
                return Ok(LossFollowed::Before);
            }
            for new in &word.opened {
                check_opens(state.cases.get(&new.id), new)?;
            }
            for (before, after) in &word.decided {
                decides(state.cases.get(&before.id).cloned(), before, after)?;
            }
            let decided = word.decided.into_iter().map(|(_, after)| after);
            state.cases.extend(word.opened.into_iter().chain(decided).map(|case| (case.id, case)));
            state.losses_followed.insert(word.se, word.change);
            state.with(word.with);
            Ok(LossFollowed::Now)
        })
    }
}
