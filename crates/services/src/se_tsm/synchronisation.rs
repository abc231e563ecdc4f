//! Synchronisation (P-5.5.1.d, P-5.8.4.5): the record is brought to what the card itself says.
//!
//! A wallet can name an application whose provider waits for the word that it is not on the card, because the
//! provider's own domain cannot prove it. The provider is asked before the card is, and hears of it only when the
//! registry says so under the issuer domain's R-MAC.

use std::sync::Arc;

use tsm_api::client::SpTsmPeer;
use tsm_api::conversation::{Outcome, OutcomeDetail, OutcomeResult, Stage};
use tsm_api::ids::OperationId;
use tsm_api::se_tsm::peer::{OperationKind, OperationResult};
use tsm_api::sp_tsm::peer::{PreOperationReply, PreOperationRequest};
use tsm_domain::SeId;
use tsm_domain::application::Application;
use tsm_domain::se::registry_differences;
use tsm_iso7816::Aid;
use tsm_storage::se_tsm::SeChange;

use super::SeTsm;
use super::convert::se_to_wire;
use super::eligibility::Question;
use super::record::{mirror, proves_absence};
use super::stop::Stop;
use super::work::{Known, Work};
use crate::conversation::{Ending, Session};

pub(super) async fn run(tsm: Arc<SeTsm>, session: Session, se: SeId, named: Option<Aid>) -> Ending {
    let mut work = Work::new(tsm, session, se);
    match work.synchronise(named).await {
        Ok(outcome) => outcome.into(),
        Err(stop) => work.stopped(stop),
    }
}

/// An application whose provider waits for the word that it is gone.
struct Awaited {
    application: Application,
    provider: SpTsmPeer,
}

impl Work {
    async fn synchronise(&mut self, named: Option<Aid>) -> Result<Outcome, Stop> {
        self.session.progress.say(Stage::Observing, 20);
        let known = Known::load(&self.tsm, self.se).await?;
        let before = known.record.inventory.clone();
        let awaited = match named {
            Some(aid) => self.awaited(aid, &known).await?,
            None => None,
        };
        let observed = self.observe(known).await?;
        let after = mirror(&observed.observation, &observed.known.batch);
        let corrected = registry_differences(&before, &after).len();
        let mut change = SeChange::default();
        change.notes.push(self.note("synchronised", &serde_json::json!({ "corrected": corrected })));
        self.commit(change).await?;
        match awaited {
            Some(awaited) if proves_absence(&awaited.application, &observed.observation) => {
                self.tell_absence(&awaited).await?;
            }
            Some(_) | None => {}
        }
        Ok(Outcome::done(OutcomeDetail::Synchronised {
            free_bytes: after.free.data,
            corrected: u32::try_from(corrected).unwrap_or(u32::MAX),
        }))
    }

    /// Asks the provider of an application whether it waits for the word that it is gone.
    async fn awaited(&self, aid: Aid, known: &Known) -> Result<Option<Awaited>, Stop> {
        let Question { application, provider, .. } = Question::load(&self.tsm, aid).await?;
        if provider.is_operator() || provider.address.is_none() {
            return Ok(None);
        }
        let request = PreOperationRequest {
            operation: OperationId(self.session.conversation.0),
            kind: OperationKind::Synchronise,
            se_id: se_to_wire(&self.se),
            aid: application.aid.into(),
            domain_aid: application.domain.into(),
            msisdn: known.record.binding.as_ref().map(|binding| binding.number.as_str().to_owned()),
            order: None,
        };
        let provider = self.tsm.sp_tsms.of(&provider).await?;
        match provider.pre_operation(&request).await.map_err(|error| error.to_problem())? {
            PreOperationReply::Allowed { .. } => Ok(Some(Awaited { application, provider })),
            PreOperationReply::Refused { .. } => Ok(None),
        }
    }

    /// Tells the provider. What does not get through is not repeated: the rider asks again, and so is the card.
    async fn tell_absence(&self, awaited: &Awaited) -> Result<(), Stop> {
        let report = OperationResult {
            operation: OperationId(self.session.conversation.0),
            se_id: se_to_wire(&self.se),
            aid: awaited.application.aid.into(),
            kind: OperationKind::Synchronise,
            result: OutcomeResult::Done,
            problem: None,
            observation: None,
            moved_from: None,
            number: None,
        };
        awaited.provider.result(&report).await.map_err(|error| error.to_problem())?;
        Ok(())
    }
}
