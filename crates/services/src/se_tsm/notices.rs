//! What the SP-TSMs are told, through the outbox: the step that causes a notice stores it in the same commit.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tsm_api::HexBytes;
use tsm_api::conversation::OutcomeResult;
use tsm_api::ids::OperationId;
use tsm_api::problem::{Problem, ProblemCode};
use tsm_api::se_tsm::peer::{OperationKind, OperationResult};
use tsm_api::sp_tsm::peer::{LossStanding, NumberChanged, SeLoss};
use tsm_domain::application::Application;
use tsm_domain::se::{Binding, SeStanding};
use tsm_domain::se_application::SeState;
use tsm_domain::{ProviderId, SeId};
use tsm_storage::SeTsmStore;
use tsm_storage::se_tsm::{Intended, Intention, Outcome};
use tsm_storage::shared::Delivery;

use super::convert::{se_id, se_to_wire};
use super::stop::Stop;
use super::{SeTsm, SpTsms};
use crate::outbox::{Carried, Carrier, delivery};

const NUMBER_CHANGED: &str = "number-changed";
const LOSS: &str = "loss";
const DELETED: &str = "deleted";

/// An application was deleted, in the operation that its provider consented to (B-8.5.3.d).
#[derive(Serialize, Deserialize)]
struct Deleted {
    operation: OperationId,
    se_id: HexBytes,
    aid: HexBytes,
}

/// A secure element about which something changed. What it is now is looked up when the notice is sent, so
/// that notices that overtake each other all say the last word.
#[derive(Serialize, Deserialize)]
struct Renumbered {
    se_id: HexBytes,
}

/// Carries the notices.
pub(super) struct Notices {
    pub store: Arc<dyn SeTsmStore>,
    pub sp_tsms: Arc<dyn SpTsms>,
}

/// A notice to every provider that has an application on the secure element.
pub(super) async fn number_changed(tsm: &SeTsm, se: SeId, binding: &Binding) -> Result<Vec<Delivery>, Stop> {
    let body = Renumbered { se_id: se_to_wire(&se) };
    let key = format!("{se} {} {}", binding.number, binding.since);
    let told = with_sp_tsm(tsm, se).await?.into_iter();
    Ok(told.map(|id| delivery(id.as_str(), NUMBER_CHANGED, &key, &body, binding.since)).collect())
}

/// A notice to every provider that has an application on a secure element, of a change of the loss list.
pub(super) async fn loss(
    tsm: &SeTsm,
    se: SeId,
    change: u64,
    at: jiff::Timestamp,
) -> Result<Vec<Delivery>, Stop> {
    let body = Renumbered { se_id: se_to_wire(&se) };
    let key = format!("{se} change {change}");
    let told = with_sp_tsm(tsm, se).await?.into_iter();
    Ok(told.map(|id| delivery(id.as_str(), LOSS, &key, &body, at)).collect())
}

/// The providers with an SP-TSM that have an application on the secure element.
async fn with_sp_tsm(tsm: &SeTsm, se: SeId) -> Result<Vec<ProviderId>, Stop> {
    let mut providers = BTreeSet::new();
    for on_se in tsm.store.applications_on(se).await? {
        if on_se.record.state == SeState::Ready {
            continue;
        }
        let Some(application) = tsm.store.application(on_se.application).await? else { continue };
        providers.insert(application.value.provider);
    }
    let mut told = Vec::new();
    for id in providers {
        let provider = tsm.store.provider(&id).await?;
        // Without an SP-TSM nobody keeps a number there.
        if provider.is_none_or(|provider| provider.value.is_operator() || provider.value.address.is_none()) {
            continue;
        }
        told.push(id);
    }
    Ok(told)
}

/// The word of a deletion to the provider of the application; none when it was no deletion or was not done.
pub(super) fn deleted(
    se: SeId,
    intention: &Intention,
    catalogue: &[Application],
    at: jiff::Timestamp,
) -> Option<Delivery> {
    let (Intended::Delete(aid, _), Outcome::Done) = (&intention.what, intention.outcome) else { return None };
    let application = catalogue.iter().find(|known| known.aid == *aid)?;
    let operation = OperationId(intention.conversation.as_uuid());
    let body = Deleted { operation, se_id: se_to_wire(&se), aid: (*aid).into() };
    Some(delivery(application.provider.as_str(), DELETED, &format!("{} {aid}", operation.0), &body, at))
}

impl Notices {
    async fn carry_deletion(&self, delivery: &Delivery) -> Result<Carried, Problem> {
        let unreadable =
            |error: &dyn std::fmt::Display| Problem::because(ProblemCode::MalformedRequest, error);
        let body: Deleted = serde_json::from_str(&delivery.body).map_err(|error| unreadable(&error))?;
        let id: ProviderId = delivery.to.parse().map_err(|error| unreadable(&error))?;
        let provider = self.store.provider(&id).await;
        let provider = provider.map_err(|error| Problem::because(ProblemCode::Unavailable, error))?;
        // The operator deletes its own applications without anybody's consent.
        let others =
            provider.filter(|provider| !provider.value.is_operator() && provider.value.address.is_some());
        let Some(provider) = others else { return Ok(Carried::Delivered) };
        let report = OperationResult {
            operation: body.operation,
            se_id: body.se_id,
            aid: body.aid,
            kind: OperationKind::Delete,
            result: OutcomeResult::Done,
            problem: None,
            observation: None,
            moved_from: None,
            number: None,
        };
        let client = self.sp_tsms.of(&provider.value).await?;
        Ok(Carried::of(client.result(&report).await))
    }

    async fn carry_number(&self, delivery: &Delivery) -> Result<Carried, Problem> {
        let unreadable =
            |error: &dyn std::fmt::Display| Problem::because(ProblemCode::MalformedRequest, error);
        let later = |error: tsm_storage::StorageError| Problem::because(ProblemCode::Unavailable, error);
        let body: Renumbered = serde_json::from_str(&delivery.body).map_err(|error| unreadable(&error))?;
        let id: ProviderId = delivery.to.parse().map_err(|error| unreadable(&error))?;
        let se = se_id(&body.se_id)?;
        let record = self.store.se(se).await.map_err(later)?;
        let provider = self.store.provider(&id).await.map_err(later)?;
        // A binding that was released meanwhile has no number to tell.
        let (Some(binding), Some(provider)) = (record.and_then(|record| record.binding), provider) else {
            return Ok(Carried::Delivered);
        };
        let notice = NumberChanged {
            se_id: body.se_id,
            msisdn: binding.number.as_str().to_owned(),
            formerly: binding.formerly.iter().map(|number| number.as_str().to_owned()).collect(),
        };
        let client = self.sp_tsms.of(&provider.value).await?;
        Ok(Carried::of(client.number_changed(&notice).await))
    }

    /// Says how the secure element stands now, and which change that is. A later change has a notice of its own,
    /// and an older word that arrives after it changes nothing.
    async fn carry_loss(&self, delivery: &Delivery) -> Result<Carried, Problem> {
        let unreadable =
            |error: &dyn std::fmt::Display| Problem::because(ProblemCode::MalformedRequest, error);
        let later = |error: tsm_storage::StorageError| Problem::because(ProblemCode::Unavailable, error);
        let body: Renumbered = serde_json::from_str(&delivery.body).map_err(|error| unreadable(&error))?;
        let id: ProviderId = delivery.to.parse().map_err(|error| unreadable(&error))?;
        let se = se_id(&body.se_id)?;
        let provider = self.store.provider(&id).await.map_err(later)?;
        let record = self.store.se(se).await.map_err(later)?;
        let (Some(provider), Some(record)) = (provider, record) else { return Ok(Carried::Delivered) };
        let standing =
            if record.standing == SeStanding::Lost { LossStanding::Lost } else { LossStanding::Found };
        let word = SeLoss { se_id: body.se_id, standing, change: record.loss_changes };
        let client = self.sp_tsms.of(&provider.value).await?;
        Ok(Carried::of(client.loss(&word).await))
    }
}

#[async_trait]
impl Carrier for Notices {
    async fn carry(&self, delivery: &Delivery) -> Carried {
        let carried = match delivery.kind.as_str() {
            NUMBER_CHANGED => self.carry_number(delivery).await,
            LOSS => self.carry_loss(delivery).await,
            DELETED => self.carry_deletion(delivery).await,
            _ => Err(Problem::because(ProblemCode::MalformedRequest, "The notice is of no known kind.")),
        };
        match carried {
            Ok(carried) => carried,
            Err(problem) if problem.code == ProblemCode::MalformedRequest => Carried::Refused(problem),
            Err(problem) => Carried::Later(problem.to_string()),
        }
    }
}
