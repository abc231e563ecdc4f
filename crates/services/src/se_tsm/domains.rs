//! Security-domain definitions (P-5.3).

use std::sync::Arc;

use tsm_api::HexBytes;
use tsm_api::endpoint::Nothing;
use tsm_api::ids::{DomainId, ProviderId as WireProviderId};
use tsm_api::problem::{Problem, ProblemCode};
use tsm_api::se_tsm::operator::{
    AuditState, Decision, DomainChange, DomainDeletionRule, DomainList, DomainMode as WireMode, DomainRecord,
    DomainSpace, NewDomain, Verdict,
};
use tsm_card::create_domain::NewDomain as CardDomain;
use tsm_domain::ProviderId;
use tsm_domain::application::{AidAllocator, AidPurpose};
use tsm_domain::provider::ProviderState;
use tsm_domain::security_domain::{
    ContentManagement, Created, DefinitionRefusal, DefinitionState, DeletionRule, DomainDefinition,
    DomainMode, SpaceManagement,
};
use tsm_storage::se_tsm::{Revision, Versioned};

use super::SeTsm;
use super::access::Caller;
use super::batches::{protocol_from_wire, protocol_to_wire};
use super::stop::{field, forbidden, stored};
use crate::server::Call;

/// POST /operator/v1/domains
pub(super) async fn add(tsm: Arc<SeTsm>, call: Call<Caller, NewDomain>) -> Result<DomainRecord, Problem> {
    let person = call.caller.person()?;
    let new = call.request;
    if new.documents.is_empty() {
        return Err(field("A domain is entered with its written approval material."));
    }
    let provider: ProviderId = new.provider.0.parse().map_err(|_| ProblemCode::UnknownId)?;
    let found = tsm.store.provider(&provider).await.map_err(stored)?.ok_or(ProblemCode::UnknownId)?;
    if found.value.state != ProviderState::Approved {
        return Err(ProblemCode::ProviderNotApproved.into());
    }
    let used = tsm.store.used_aids().await.map_err(stored)?;
    let aid = AidAllocator::new(tsm.settings.rid, used)
        .assign(AidPurpose::SecurityDomain, 0, institution_code(&provider), 0)
        .map_err(forbidden)?;
    let (mode, management) = mode_from_wire(new.mode);
    let definition = DomainDefinition {
        aid,
        load_file: CardDomain::LOAD_FILE,
        module: CardDomain::MODULE,
        provider,
        mode,
        management,
        space: match new.space {
            DomainSpace::NotFixed => SpaceManagement::NotFixed,
            DomainSpace::Fixed { bytes } => SpaceManagement::Fixed { non_volatile: bytes, volatile: 0 },
        },
        deletion: deletion_from_wire(new.deletion_rule),
        key_period_days: new.key_period_days,
        protocol: protocol_from_wire(&new.secure_channel),
        state: DefinitionState::InAudit(person.id().clone()),
    };
    definition.check().map_err(refusal)?;
    let record = to_wire(&definition);
    tsm.store.put_domain(definition, Revision(0)).await.map_err(stored)?;
    let detail =
        serde_json::json!({ "domain": record.domain.0, "name": new.name, "documents": new.documents });
    tsm.audit(person.id(), "domain-entered", &detail).await?;
    Ok(record)
}

/// GET /operator/v1/domains
pub(super) async fn list(tsm: Arc<SeTsm>, _call: Call<Caller, Nothing>) -> Result<DomainList, Problem> {
    let domains = tsm.store.domains().await.map_err(stored)?;
    Ok(DomainList { domains: domains.iter().map(|found| to_wire(&found.value)).collect() })
}

/// POST /operator/v1/domains/{domain}/audit
pub(super) async fn audit(tsm: Arc<SeTsm>, call: Call<Caller, Decision>) -> Result<DomainRecord, Problem> {
    let Versioned { value, revision } = tsm.found_domain(&call).await?;
    let person = call.caller.person()?;
    let verdict = match call.request.verdict {
        Verdict::Pass => Ok(()),
        Verdict::Fail => Err(call.request.reason.clone()),
    };
    let definition = value.audited(verdict, person.id()).map_err(refusal)?;
    let record = to_wire(&definition);
    tsm.store.put_domain(definition, revision).await.map_err(stored)?;
    let detail = serde_json::json!({ "domain": record.domain.0, "verdict": call.request.verdict, "reason": call.request.reason });
    tsm.audit(person.id(), "domain-audited", &detail).await?;
    Ok(record)
}

/// POST /operator/v1/domains/{domain}
pub(super) async fn change(
    tsm: Arc<SeTsm>,
    call: Call<Caller, DomainChange>,
) -> Result<DomainRecord, Problem> {
    let Versioned { value, revision } = tsm.found_domain(&call).await?;
    let person = call.caller.person()?;
    let mut next = value.clone();
    if let Some(rule) = call.request.deletion_rule {
        next.deletion = deletion_from_wire(rule);
    }
    if let Some(days) = call.request.key_period_days {
        next.key_period_days = days;
    }
    if let Some(DomainSpace::Fixed { bytes }) = call.request.space {
        next.space = SpaceManagement::Fixed { non_volatile: bytes, volatile: 0 };
    } else if let Some(DomainSpace::NotFixed) = call.request.space {
        next.space = SpaceManagement::NotFixed;
    }
    let created = tsm.created(&value).await?;
    let definition = value.changed(next, created).map_err(refusal)?;
    let record = to_wire(&definition);
    tsm.store.put_domain(definition, revision).await.map_err(stored)?;
    tsm.audit(person.id(), "domain-changed", &serde_json::json!({ "domain": record.domain.0 })).await?;
    Ok(record)
}

/// POST /operator/v1/domains/{domain}/removal
pub(super) async fn remove(tsm: Arc<SeTsm>, call: Call<Caller, Nothing>) -> Result<Nothing, Problem> {
    let Versioned { value, revision } = tsm.found_domain(&call).await?;
    let person = call.caller.person()?;
    DomainDefinition::may_delete(tsm.created(&value).await?).map_err(refusal)?;
    let aid = value.aid;
    // The AID stays taken: a number that was given out never means something else.
    let removed = DomainDefinition { state: DefinitionState::Refused("removed".to_owned()), ..value };
    tsm.store.put_domain(removed, revision).await.map_err(stored)?;
    tsm.audit(person.id(), "domain-removed", &serde_json::json!({ "domain": aid.to_string() })).await?;
    Ok(Nothing {})
}

impl SeTsm {
    async fn found_domain<Q>(&self, call: &Call<Caller, Q>) -> Result<Versioned<DomainDefinition>, Problem> {
        let id: DomainId = call.parameter()?;
        let aid = tsm_iso7816::Aid::from_hex(&id.0).map_err(|_| ProblemCode::UnknownId)?;
        self.store.domain(aid).await.map_err(stored)?.ok_or_else(|| ProblemCode::UnknownId.into())
    }

    async fn created(&self, definition: &DomainDefinition) -> Result<Created, Problem> {
        let holders = self.store.domain_holders(definition.aid).await.map_err(stored)?;
        Ok(if holders == 0 { Created::Nowhere } else { Created::OnSomeSe })
    }
}

/// The institution code in AIDs: the digits of the provider's number.
pub(super) fn institution_code(provider: &ProviderId) -> u32 {
    let digits: String = provider.as_str().chars().filter(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(0)
}

const fn mode_from_wire(mode: WireMode) -> (DomainMode, ContentManagement) {
    match mode {
        WireMode::Plain => (DomainMode::Managed, ContentManagement::None),
        WireMode::AuthorizedManagement => (DomainMode::Managed, ContentManagement::Authorised),
        WireMode::DapVerification => (DomainMode::Dap, ContentManagement::None),
        WireMode::DelegatedManagement => (DomainMode::Token, ContentManagement::None),
    }
}

const fn deletion_from_wire(rule: DomainDeletionRule) -> DeletionRule {
    match rule {
        DomainDeletionRule::WithLastApplication => DeletionRule::WithLastApplication,
        DomainDeletionRule::Separately => DeletionRule::ByCommandOnly,
    }
}

fn refusal(refusal: DefinitionRefusal) -> Problem {
    let code = match refusal {
        DefinitionRefusal::OwnEntry => ProblemCode::FourEyes,
        DefinitionRefusal::CannotDelete => ProblemCode::StillReferenced,
        DefinitionRefusal::CreatedAlready | DefinitionRefusal::NotInAudit => ProblemCode::StateForbids,
        DefinitionRefusal::FixedSpaceZero
        | DefinitionRefusal::ManagementNeedsModeTwo
        | DefinitionRefusal::IssuerDomain => ProblemCode::ValueRefused,
    };
    Problem::because(code, format_args!("({refusal})"))
}

pub(super) fn to_wire(definition: &DomainDefinition) -> DomainRecord {
    let installation = definition.installation();
    DomainRecord {
        domain: DomainId(definition.aid.to_string()),
        aid: definition.aid.into(),
        state: match definition.state {
            DefinitionState::InAudit(_) => AuditState::InAudit,
            DefinitionState::Approved => AuditState::Passed,
            DefinitionState::Refused(_) => AuditState::Failed,
        },
        provider: WireProviderId(definition.provider.to_string()),
        mode: match (definition.mode, definition.management) {
            (DomainMode::Dap, _) => WireMode::DapVerification,
            (DomainMode::Token, _) => WireMode::DelegatedManagement,
            (DomainMode::Managed, ContentManagement::Authorised) => WireMode::AuthorizedManagement,
            (DomainMode::Managed | DomainMode::Issuer, _) => WireMode::Plain,
        },
        space: match definition.space {
            SpaceManagement::NotFixed => DomainSpace::NotFixed,
            SpaceManagement::Fixed { non_volatile, .. } => DomainSpace::Fixed { bytes: non_volatile },
        },
        deletion_rule: match definition.deletion {
            DeletionRule::WithLastApplication => DomainDeletionRule::WithLastApplication,
            DeletionRule::ByCommandOnly => DomainDeletionRule::Separately,
        },
        key_period_days: definition.key_period_days,
        secure_channel: protocol_to_wire(definition.protocol, 0),
        privileges: HexBytes(installation.privileges.to_vec()),
        install_parameters: HexBytes(installation.parameters),
    }
}
