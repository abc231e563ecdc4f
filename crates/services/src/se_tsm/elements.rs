//! Secure elements: the wallet's own record, and the operator's view with loss list and tasks.

use std::sync::Arc;

use tsm_api::endpoint::Nothing;
use tsm_api::ids::{BatchId, TaskId};
use tsm_api::problem::{Problem, ProblemCode};
use tsm_api::se_tsm::operator::{
    ElementApplication, ElementRecord, Listing, LossReport, NumberStanding, NumberState,
};
use tsm_api::se_tsm::wallet::{ElementSummary, TaskList};
use tsm_domain::SeId;
use tsm_domain::application::SubscriberState;
use tsm_domain::se::{LossReport as DomainLoss, MirrorKind, SeRecord, SeStanding};
use tsm_storage::StorageError;
use tsm_storage::se_tsm::{LossChange, NumberPurpose, NumberRecord};

use super::SeTsm;
use super::access::Caller;
use super::convert::{se_to_wire, state_to_wire};
use super::login::installed;
use super::notices;
use super::registration::stop_to_problem;
use super::stop::stored;
use super::work::{Known, note};
use crate::conversation::StopReason;
use crate::server::Call;

/// GET /wallet/v1/element
pub(super) async fn own(tsm: Arc<SeTsm>, call: Call<Caller, Nothing>) -> Result<ElementSummary, Problem> {
    let se = call.caller.wallet()?.se;
    let known = Known::load(&tsm, se).await.map_err(stop_to_problem)?;
    Ok(ElementSummary {
        se_id: se_to_wire(&se),
        msisdn: known.record.binding.as_ref().map(|binding| binding.number.to_string()),
        free_bytes: known.record.inventory.free.data,
        installed: installed(&known),
    })
}

/// GET /operator/v1/elements/{se_id}
pub(super) async fn record(tsm: Arc<SeTsm>, call: Call<Caller, Nothing>) -> Result<ElementRecord, Problem> {
    let record = tsm.found_element(&call).await?;
    tsm.element_to_wire(record).await
}

/// GET /operator/v1/elements/{se_id}/tasks
pub(super) async fn tasks(tsm: Arc<SeTsm>, call: Call<Caller, Nothing>) -> Result<TaskList, Problem> {
    let se = tsm.found_element(&call).await?.se;
    let mut tasks = tsm.running(&se);
    tasks.extend(tsm.history(se).await?);
    Ok(TaskList { tasks })
}

/// POST /operator/v1/elements/{se_id}/loss
pub(super) async fn report_loss(
    tsm: Arc<SeTsm>,
    call: Call<Caller, LossReport>,
) -> Result<ElementRecord, Problem> {
    let record = tsm.found_element(&call).await?;
    let person = call.caller.person()?;
    let now = tsm.now();
    let LossReport { listing, change, reason } = call.request;
    if change == record.loss_changes && listing == listing_of(&record) {
        // Said again.
        return tsm.element_to_wire(record).await;
    }
    let (standing, loss) = match listing {
        Listing::On => {
            let number = record.binding.as_ref().map(|binding| binding.number.clone());
            (SeStanding::Lost, Some(DomainLoss { at: now, number }))
        }
        Listing::Off => (SeStanding::Active, None),
    };
    let detail = serde_json::json!({ "listing": listing, "reason": reason });
    let notes = vec![note(record.se, person.id().as_str(), "loss", &detail, now)];
    let told = notices::loss(&tsm, record.se, change, now).await.map_err(stop_to_problem)?;
    let change = LossChange { number: change, standing, loss };
    match tsm.store.set_standing(record.se, change, told, notes).await {
        Err(StorageError::Conflict { .. }) => {
            let reason = "Somebody changed the loss list meanwhile; read the record again.";
            return Err(Problem::because(ProblemCode::StateForbids, reason));
        }
        other => other.map_err(stored)?,
    }
    tsm.outbox.kick();
    // Whoever holds the phone now has no session any more.
    tsm.store.end_sessions_of(record.se).await.map_err(stored)?;
    tsm.audit(person.id(), "loss", &serde_json::json!({ "se": record.se.to_string() })).await?;
    let record = tsm.store.se(record.se).await.map_err(stored)?.ok_or(ProblemCode::UnknownId)?;
    tsm.element_to_wire(record).await
}

/// POST /operator/v1/elements/{se_id}/number
pub(super) async fn number_state(
    tsm: Arc<SeTsm>,
    call: Call<Caller, NumberState>,
) -> Result<ElementRecord, Problem> {
    let record = tsm.found_element(&call).await?;
    let person = call.caller.person()?;
    let number =
        record.binding.as_ref().map(|binding| binding.number.clone()).ok_or(ProblemCode::NotRegistered)?;
    let known = tsm.store.number(&number).await.map_err(stored)?;
    let state = match call.request.standing {
        NumberStanding::InNetwork => SubscriberState::InNetwork,
        NumberStanding::Cancelled => SubscriberState::Cancelled,
    };
    let known =
        known.unwrap_or(NumberRecord { number, state, province: None, purpose: NumberPurpose::Customer });
    tsm.store.put_number(NumberRecord { state, ..known }).await.map_err(stored)?;
    let detail = serde_json::json!({ "se": record.se.to_string(), "standing": call.request.standing });
    tsm.audit(person.id(), "number-state", &detail).await?;
    tsm.element_to_wire(record).await
}

/// POST /operator/v1/tasks/{task}/termination
pub(super) async fn terminate(tsm: Arc<SeTsm>, call: Call<Caller, Nothing>) -> Result<Nothing, Problem> {
    let task: TaskId = call.parameter()?;
    let person = call.caller.person()?;
    tsm.engine.stop_task(task, StopReason::Terminated)?;
    tsm.audit(person.id(), "task-terminated", &serde_json::json!({ "task": task.to_string() })).await?;
    Ok(Nothing {})
}

fn listing_of(record: &SeRecord) -> Listing {
    if record.standing == SeStanding::Lost { Listing::On } else { Listing::Off }
}

impl SeTsm {
    pub(super) async fn found_element<Q>(&self, call: &Call<Caller, Q>) -> Result<SeRecord, Problem> {
        let se: SeId = call.parameter()?;
        self.store.se(se).await.map_err(stored)?.ok_or_else(|| ProblemCode::UnknownId.into())
    }

    pub(super) async fn element_to_wire(&self, record: SeRecord) -> Result<ElementRecord, Problem> {
        let applications = self.store.applications_on(record.se).await.map_err(stored)?;
        let token = self.store.token(record.se).await.map_err(stored)?;
        let of = |kind| {
            let entries = record.inventory.entries.iter().filter(move |entry| entry.kind == kind);
            entries.map(|entry| entry.aid.into()).collect()
        };
        Ok(ElementRecord {
            se_id: se_to_wire(&record.se),
            batch: BatchId(record.batch.to_string()),
            msisdn: record.binding.as_ref().map(|binding| binding.number.to_string()),
            changing_to: record.number_change.as_ref().map(|change| change.to.to_string()),
            loss: listing_of(&record),
            loss_changes: record.loss_changes,
            free_bytes: record.inventory.free.data,
            registered_at: record.binding.as_ref().filter(|_| token.is_some()).map(|binding| binding.since),
            domains: of(MirrorKind::SecurityDomain),
            load_files: of(MirrorKind::LoadFile),
            applications: applications
                .into_iter()
                .map(|on_se| ElementApplication {
                    aid: on_se.application.into(),
                    state: state_to_wire(on_se.record.state),
                })
                .collect(),
        })
    }
}
