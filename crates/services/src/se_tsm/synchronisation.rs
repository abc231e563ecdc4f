//! Synchronisation (P-5.5.1.d, P-5.8.4.5): the record is brought to what the card itself says.

use std::sync::Arc;

use tsm_api::conversation::{Outcome, OutcomeDetail, Stage};
use tsm_domain::SeId;
use tsm_domain::se::registry_differences;
use tsm_storage::se_tsm::SeChange;

use super::SeTsm;
use super::record::mirror;
use super::stop::Stop;
use super::work::{Known, Work};
use crate::conversation::{Ending, Session};

pub(super) async fn run(tsm: Arc<SeTsm>, session: Session, se: SeId) -> Ending {
    let mut work = Work::new(tsm, session, se);
    match work.synchronise().await {
        Ok(outcome) => outcome.into(),
        Err(stop) => work.stopped(stop),
    }
}

impl Work {
    async fn synchronise(&mut self) -> Result<Outcome, Stop> {
        self.session.progress.say(Stage::Observing, 20);
        let known = Known::load(&self.tsm, self.se).await?;
        let before = known.record.inventory.clone();
        let observed = self.observe(known).await?;
        let after = mirror(&observed.observation, &observed.known.batch);
        let corrected = registry_differences(&before, &after).len();
        let mut change = SeChange::default();
        change.notes.push(self.note("synchronised", &serde_json::json!({ "corrected": corrected })));
        self.commit(change).await?;
        Ok(Outcome::done(OutcomeDetail::Synchronised {
            free_bytes: after.free.data,
            corrected: u32::try_from(corrected).unwrap_or(u32::MAX),
        }))
    }
}
