//! The life of an application at the operator's desk (P-5.4.4, B-8.3): audit, AIDs, definition, test,
//! publication, suspension, archive. Each transition is the rules' own; who did it must have the right.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::tz::TimeZone;
use sha2::{Digest as _, Sha256};
use tsm_api::HexBytes;
use tsm_api::endpoint::Nothing;
use tsm_api::ids::{ApplicationId, ProviderId as WireProviderId};
use tsm_api::problem::{Problem, ProblemCode, both};
use tsm_api::se_tsm::operator::{
    ApplicationDefinition, ApplicationLifeCycle, ApplicationList, ApplicationRecord, Decision,
    DeletionMode as WireDeletion, Listing, ManagingDomain, ModuleRecord as WireModule, Opening,
    PersonalisationWay as WireWay, Publication, Suspension, TestResult, UnlockPolicy as WireUnlock,
    ValueBearing as WireValue, Verdict as WireVerdict,
};
use tsm_domain::application::{
    Application, Availability, BatchSelection, BatchSupport, ChannelOwner, DeletionMode, ManagedVersion,
    ManagementEvent, ManagementRefusal, ManagementState, PersonalisationWay, UserSelection, ValueBearing,
    Verdict,
};
use tsm_domain::se_application::{OpeningNeed, PersonalisationNeed, UnlockPolicy};
use tsm_domain::security_domain::{ContentManagement, DefinitionState};
use tsm_domain::staff::rights_of;
use tsm_domain::{BatchId, OperatorId};
use tsm_iso7816::Aid;
use tsm_storage::se_tsm::{NumberPurpose, NumberRecord, Versioned};

use super::SeTsm;
use super::access::{Caller, PersonCaller};
use super::convert::domain_bytes;
use super::stop::{field, forbidden, stored};
use crate::server::Call;

/// GET /operator/v1/applications
pub(super) async fn list(tsm: Arc<SeTsm>, _call: Call<Caller, Nothing>) -> Result<ApplicationList, Problem> {
    let applications = tsm.store.applications().await.map_err(stored)?;
    let mut records = Vec::with_capacity(applications.len());
    for found in &applications {
        records.push(tsm.application_to_wire(&found.value).await?);
    }
    Ok(ApplicationList { applications: records })
}

/// POST /operator/v1/applications/{application}/audit
pub(super) async fn audit(
    tsm: Arc<SeTsm>,
    call: Call<Caller, Decision>,
) -> Result<ApplicationRecord, Problem> {
    let found = tsm.found_application(&call).await?;
    let person = call.caller.person()?;
    let submitted_by = submitter(&found.value)?;
    let event = ManagementEvent::Audit { verdict: verdict(&call.request), submitted_by };
    let detail = serde_json::json!({ "verdict": call.request.verdict, "reason": call.request.reason });
    tsm.advance(found, event, &person, "application-audited", &detail).await
}

/// POST /operator/v1/applications/{application}/aids
pub(super) async fn assign_aids(
    tsm: Arc<SeTsm>,
    call: Call<Caller, Nothing>,
) -> Result<ApplicationRecord, Problem> {
    let found = tsm.found_application(&call).await?;
    let person = call.caller.person()?;
    // The AIDs were reserved when the program was submitted; they are told once the audit has passed.
    match found.value.state {
        ManagementState::Audited(_) => {}
        _ => {
            return Err(forbidden(both(
                "AIDs are assigned once the application has passed its audit.",
                "应用通过审核后才分配 AID。",
            )));
        }
    }
    let Versioned { mut value, revision } = found;
    value.version = ManagedVersion { date: tsm.now().to_zoned(TimeZone::UTC).date(), ..value.version };
    tsm.store.put_application(value.clone(), revision).await.map_err(stored)?;
    tsm.audit(person.id(), "aids-assigned", &serde_json::json!({ "application": value.aid.to_string() }))
        .await?;
    tsm.application_to_wire(&value).await
}

/// POST /operator/v1/applications/{application}/definition
pub(super) async fn define(
    tsm: Arc<SeTsm>,
    call: Call<Caller, ApplicationDefinition>,
) -> Result<ApplicationRecord, Problem> {
    let Versioned { value, revision } = tsm.found_application(&call).await?;
    let person = call.caller.person()?;
    let value = tsm.defined(value, call.request).await?;
    value.check_structure(&tsm.settings.operator).map_err(field)?;
    let detail = serde_json::json!({});
    tsm.advance(
        Versioned { value, revision },
        ManagementEvent::Define,
        &person,
        "application-defined",
        &detail,
    )
    .await
}

/// POST /operator/v1/applications/{application}/test
pub(super) async fn test(
    tsm: Arc<SeTsm>,
    call: Call<Caller, TestResult>,
) -> Result<ApplicationRecord, Problem> {
    let found = tsm.found_application(&call).await?;
    let person = call.caller.person()?;
    let request = call.request;
    let mut supported = BTreeSet::new();
    for batch in &request.batches {
        let id: BatchId = batch.0.parse().map_err(|_| ProblemCode::UnknownId)?;
        let batch = tsm.store.batch(&id).await.map_err(stored)?.ok_or(ProblemCode::UnknownId)?;
        supported.insert(BatchSupport { batch: batch.id, version: batch.platform_version });
    }
    for number in &request.test_numbers {
        let number = number.parse().map_err(field)?;
        let known = tsm.store.number(&number).await.map_err(stored)?;
        let known = known.unwrap_or(NumberRecord {
            number,
            state: tsm_domain::application::SubscriberState::Unknown,
            province: None,
            purpose: NumberPurpose::Test,
        });
        tsm.store.put_number(NumberRecord { purpose: NumberPurpose::Test, ..known }).await.map_err(stored)?;
    }
    let decision = Decision { verdict: request.verdict, reason: request.reason };
    let event = ManagementEvent::Test { verdict: verdict(&decision), supported };
    let detail = serde_json::json!({ "verdict": decision.verdict, "reason": decision.reason, "batches": request.batches });
    tsm.advance(found, event, &person, "application-tested", &detail).await
}

/// POST /operator/v1/applications/{application}/test/confirmation
pub(super) async fn confirm_test(
    tsm: Arc<SeTsm>,
    call: Call<Caller, Decision>,
) -> Result<ApplicationRecord, Problem> {
    let found = tsm.found_application(&call).await?;
    let person = call.caller.person()?;
    if call.request.verdict == WireVerdict::Fail {
        return Err(forbidden(both("A test that is not confirmed is done again.", "未经确认的测试须重做。")));
    }
    match &found.value.state {
        ManagementState::TestAwaitsConfirmation(tested) if tested.tester == *person.id() => {
            return Err(ProblemCode::FourEyes.into());
        }
        _ => {}
    }
    let detail = serde_json::json!({ "reason": call.request.reason });
    tsm.advance(found, ManagementEvent::ConfirmTest, &person, "test-confirmed", &detail).await
}

/// POST /operator/v1/applications/{application}/publication
pub(super) async fn publish(
    tsm: Arc<SeTsm>,
    call: Call<Caller, Publication>,
) -> Result<ApplicationRecord, Problem> {
    let Versioned { mut value, revision } = tsm.found_application(&call).await?;
    let person = call.caller.person()?;
    let request = call.request;
    let ManagementState::Tested(tested) = &value.state else {
        return Err(forbidden(ManagementRefusal::State(value.state.words())));
    };
    let tested: BTreeSet<BatchId> = tested.supported.iter().map(|support| support.batch.clone()).collect();
    let chosen: Result<BTreeSet<BatchId>, _> = request.batches.iter().map(|batch| batch.0.parse()).collect();
    let chosen = chosen.map_err(|_| ProblemCode::UnknownId)?;
    if !chosen.is_subset(&tested) {
        return Err(field("An application is published for batches that it was tested on."));
    }
    value.batches = BatchSelection::These(if chosen.is_empty() { tested } else { chosen });
    value.users = match request.users.as_slice() {
        [] => UserSelection::Everybody,
        users => {
            let users: Result<BTreeSet<_>, _> = users.iter().map(|user| user.parse()).collect();
            UserSelection::These(users.map_err(field)?)
        }
    };
    value.recommended = request.recommendation;
    value.released_at = Some(tsm.now());
    let detail = serde_json::json!({ "batches": request.batches });
    tsm.advance(
        Versioned { value, revision },
        ManagementEvent::Publish,
        &person,
        "application-published",
        &detail,
    )
    .await
}

/// POST /operator/v1/applications/{application}/suspension
pub(super) async fn suspend(
    tsm: Arc<SeTsm>,
    call: Call<Caller, Suspension>,
) -> Result<ApplicationRecord, Problem> {
    let found = tsm.found_application(&call).await?;
    let person = call.caller.person()?;
    let event = match call.request.listing {
        Listing::On => ManagementEvent::Suspend,
        Listing::Off => ManagementEvent::Resume,
    };
    let detail = serde_json::json!({ "listing": call.request.listing, "reason": call.request.reason });
    tsm.advance(found, event, &person, "application-suspension", &detail).await
}

/// POST /operator/v1/applications/{application}/archive
pub(super) async fn archive(
    tsm: Arc<SeTsm>,
    call: Call<Caller, Nothing>,
) -> Result<ApplicationRecord, Problem> {
    let found = tsm.found_application(&call).await?;
    let person = call.caller.person()?;
    let event = match found.value.state {
        ManagementState::ArchiveStarted => {
            let holders = tsm.store.application_holders(found.value.aid).await.map_err(stored)?;
            ManagementEvent::FinishArchive { holders }
        }
        _ => ManagementEvent::Deregister,
    };
    tsm.advance(found, event, &person, "application-archive", &serde_json::json!({})).await
}

impl SeTsm {
    /// The application that a path names.
    pub(super) async fn found_application<Q>(
        &self,
        call: &Call<Caller, Q>,
    ) -> Result<Versioned<Application>, Problem> {
        let id: ApplicationId = call.parameter()?;
        let all = self.store.applications().await.map_err(stored)?;
        let found = all.into_iter().find(|found| application_id(&found.value.aid) == id);
        found.ok_or_else(|| ProblemCode::UnknownId.into())
    }

    /// Takes one step in an application's life, with the rights of the person who does it.
    async fn advance(
        &self,
        found: Versioned<Application>,
        event: ManagementEvent,
        person: &PersonCaller,
        word: &str,
        detail: &serde_json::Value,
    ) -> Result<ApplicationRecord, Problem> {
        let Versioned { value, revision } = found;
        let rights = rights_of(&person.account.roles);
        let state = value.state.clone().apply(event, person.id(), &rights).map_err(refusal)?;
        let value = Application { state, ..value };
        self.store.put_application(value.clone(), revision).await.map_err(stored)?;
        let detail = serde_json::json!({ "application": value.aid.to_string(), "detail": detail });
        self.audit(person.id(), word, &detail).await?;
        self.application_to_wire(&value).await
    }

    /// An application with its definition.
    async fn defined(
        &self,
        mut value: Application,
        new: ApplicationDefinition,
    ) -> Result<Application, Problem> {
        if let Some(domain) = &new.domain {
            let aid = Aid::from_hex(&domain.0).map_err(|_| ProblemCode::UnknownId)?;
            let domain = self.store.domain(aid).await.map_err(stored)?.ok_or(ProblemCode::UnknownId)?.value;
            if domain.provider != value.provider || domain.state != DefinitionState::Approved {
                return Err(field("The domain is not an audited one of the application's provider."));
            }
            if new.managing_domain == ManagingDomain::Own
                && domain.management != ContentManagement::Authorised
            {
                return Err(field("The domain may not load by itself."));
            }
            value.domain = aid;
            value.load_files.iter_mut().for_each(|file| file.domain = aid);
        }
        value.channel = match new.managing_domain {
            ManagingDomain::Issuer => ChannelOwner::Issuer,
            ManagingDomain::Own => ChannelOwner::ApplicationDomain,
        };
        value.personalisation = match new.personalisation {
            WireWay::None => PersonalisationNeed::NotNeeded,
            WireWay::BySpTsm => PersonalisationNeed::Needed,
        };
        value.way = PersonalisationWay::DomainForwards;
        value.opening = match new.opening {
            Opening::NotNeeded => OpeningNeed::NotNeeded,
            Opening::ByNotice => OpeningNeed::Needed,
        };
        value.deletion_mode = match new.deletion_mode {
            WireDeletion::Full => DeletionMode::Full,
            WireDeletion::InstanceOnly => DeletionMode::InstanceOnly,
        };
        value.value = match new.value {
            WireValue::NoValue => ValueBearing::NoValue,
            WireValue::StoredValue => ValueBearing::StoredValue,
        };
        value.unlock = match new.unlock {
            WireUnlock::HallOnly => UnlockPolicy::HallOnly,
            WireUnlock::ClientOnly => UnlockPolicy::ClientOnly,
            WireUnlock::HallOrClient => UnlockPolicy::HallOrClient,
        };
        value.industry = new.catalogue.class;
        value.description.en = new.catalogue.introduction;
        value.icon = new.catalogue.icon;
        value.charging = new.catalogue.charging;
        value.companion_url = new.catalogue.companion.map(|companion| companion.url);
        value.space.data = new.instance_bytes;
        for file in &mut value.load_files {
            file.dap_signature = new.dap_signature.as_ref().map(domain_bytes);
            for instance in file.modules.iter_mut().flat_map(|module| &mut module.instances) {
                if instance.aid == value.aid {
                    instance.privileges = domain_bytes(&new.privileges);
                    instance.parameters = domain_bytes(&new.install_parameters);
                    instance.data_space = new.instance_bytes;
                }
            }
        }
        Ok(value)
    }

    /// The wire's form. AIDs are told once the audit has passed (B-8.3.3.c).
    pub(super) async fn application_to_wire(
        &self,
        value: &Application,
    ) -> Result<ApplicationRecord, Problem> {
        let audited = !matches!(value.state, ManagementState::Initial | ManagementState::Rejected(_));
        let file = value.load_files.first().ok_or(ProblemCode::Internal)?;
        let downloads = self.store.application_holders(value.aid).await.map_err(stored)?;
        let modules = value.load_files.iter().flat_map(|file| &file.modules).flat_map(|module| {
            module.instances.iter().map(|instance| WireModule {
                module_aid: module.aid.into(),
                instance_aid: if audited { instance.aid.into() } else { HexBytes::default() },
            })
        });
        Ok(ApplicationRecord {
            application: application_id(&value.aid),
            aid: audited.then(|| value.aid.into()),
            life_cycle: life_cycle(&value.state),
            provider: WireProviderId(value.provider.to_string()),
            name: value.names.en.clone(),
            version: value.version.software.clone(),
            managed_version: audited.then(|| value.version.to_string()),
            load_file_aid: file.aid.into(),
            modules: modules.collect(),
            sha1: HexBytes(file.sha1.0.to_vec()),
            sha256: HexBytes(file.sha256.0.to_vec()),
            code_bytes: value.space.code,
            downloads,
        })
    }
}

/// The number by which people and programs name an application record: it does not tell the AID.
pub(super) fn application_id(aid: &Aid) -> ApplicationId {
    let digest = Sha256::digest(aid.as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    ApplicationId(uuid::Builder::from_custom_bytes(bytes).into_uuid())
}

/// The person who submits for a provider.
pub(super) fn submitter(value: &Application) -> Result<OperatorId, Problem> {
    format!("provider.{}", value.provider).parse().map_err(field)
}

fn verdict(decision: &Decision) -> Verdict {
    match decision.verdict {
        WireVerdict::Pass => Verdict::Pass,
        WireVerdict::Fail => Verdict::Fail(decision.reason.clone()),
    }
}

fn refusal(refusal: ManagementRefusal) -> Problem {
    let code = match refusal {
        ManagementRefusal::NoRight(_) => ProblemCode::NotAllowed,
        ManagementRefusal::OwnSubmission => ProblemCode::FourEyes,
        ManagementRefusal::State(_) => ProblemCode::StateForbids,
        ManagementRefusal::StillHeld(_) => ProblemCode::StillReferenced,
        ManagementRefusal::NoBatch => ProblemCode::ValueRefused,
    };
    Problem::because(code, format_args!("({refusal})"))
}

const fn life_cycle(state: &ManagementState) -> ApplicationLifeCycle {
    match state {
        ManagementState::Initial => ApplicationLifeCycle::Initial,
        ManagementState::Rejected(_) => ApplicationLifeCycle::AuditFailed,
        ManagementState::Audited(_) => ApplicationLifeCycle::Audited,
        ManagementState::Defined => ApplicationLifeCycle::Defined,
        ManagementState::TestAwaitsConfirmation(_) => ApplicationLifeCycle::AwaitsConfirmation,
        ManagementState::Tested(_) => ApplicationLifeCycle::Tested,
        ManagementState::Published(Availability::Available) => ApplicationLifeCycle::Published,
        ManagementState::Published(Availability::Suspended) => ApplicationLifeCycle::Suspended,
        ManagementState::ArchiveStarted => ApplicationLifeCycle::ArchiveStarted,
        ManagementState::ArchiveFinished => ApplicationLifeCycle::ArchiveFinished,
    }
}
