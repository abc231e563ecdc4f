//! Providers: registration, approval, blacklist (P-5.6, B-8.2, B-8.3.3).

use std::collections::BTreeSet;
use std::sync::Arc;

use tsm_api::ids::ProviderId as WireProviderId;
use tsm_api::problem::{Problem, ProblemCode};
use tsm_api::se_tsm::operator::{
    BlacklistEntry, Decision, Listing, NewProvider, ProviderApproval, ProviderList, ProviderQuery,
    ProviderRecord, ProviderState as WireState, StaffLogin, Verdict,
};
use tsm_api::signature::MessageVerifier;
use tsm_domain::bytes::{HexBytes, Sha256Digest};
use tsm_domain::provider::{
    BasicAttributes, Capability, ExtendedAttributes, Provider, ProviderEvent, ProviderKind, ProviderRefusal,
    ProviderState,
};
use tsm_domain::{OperatorId, ProviderId};
use tsm_storage::se_tsm::{PasswordState, Revision, StaffAccount, Versioned};

use super::SeTsm;
use super::access::Caller;
use super::stop::{field, forbidden, stored};
use crate::server::Call;
use crate::staff::passwords;

/// The longest name and the like.
const LONGEST: usize = 200;

/// POST /operator/v1/providers
pub(super) async fn add(tsm: Arc<SeTsm>, call: Call<Caller, NewProvider>) -> Result<ProviderRecord, Problem> {
    let person = call.caller.person()?;
    let new = call.request;
    if [&new.name, &new.kind, &new.registration_number, &new.sp_tsm_address]
        .iter()
        .any(|text| text.is_empty() || text.chars().count() > LONGEST)
    {
        return Err(field("Name, kind, registration number and address have 1 to 200 characters."));
    }
    MessageVerifier::from_point(new.signature_key.as_bytes()).map_err(field)?;
    let certificate: [u8; 32] =
        new.certificate_sha256.0.as_slice().try_into().map_err(|_| field("A SHA-256 has 32 bytes."))?;
    let provider = Provider {
        id: tsm.free_provider_number().await?,
        kind: ProviderKind::ThirdParty,
        state: ProviderState::InAudit,
        blacklisted: None,
        capabilities: Capability::ALL.into_iter().collect(),
        registered_by: person.id().clone(),
        basic: BasicAttributes {
            name: new.name,
            registration_number: new.registration_number,
            licence_number: String::new(),
            application_types: vec![new.kind],
            cooperation: String::new(),
        },
        extended: ExtendedAttributes::default(),
        certificate: Some(Sha256Digest(certificate)),
        signature_key: Some(HexBytes(new.signature_key.0)),
        address: Some(new.sp_tsm_address),
    };
    let record = to_wire(&provider);
    tsm.store.put_provider(provider, Revision(0)).await.map_err(stored)?;
    tsm.audit(person.id(), "provider-registered", &serde_json::json!({ "provider": record.provider.0 }))
        .await?;
    Ok(record)
}

/// GET /operator/v1/providers
pub(super) async fn list(
    tsm: Arc<SeTsm>,
    call: Call<Caller, ProviderQuery>,
) -> Result<ProviderList, Problem> {
    let providers = tsm.store.providers().await.map_err(stored)?;
    let all = providers.iter().map(|found| to_wire(&found.value));
    let asked = call.request.state;
    Ok(ProviderList {
        providers: all.filter(|record| asked.is_none_or(|state| record.state == state)).collect(),
    })
}

/// POST /operator/v1/providers/{provider}/audit
pub(super) async fn audit(
    tsm: Arc<SeTsm>,
    call: Call<Caller, Decision>,
) -> Result<ProviderApproval, Problem> {
    let Versioned { value, revision } = tsm.found_provider(&call).await?;
    let person = call.caller.person()?;
    let decision = call.request;
    let event = match decision.verdict {
        Verdict::Pass => ProviderEvent::Approve,
        Verdict::Fail => ProviderEvent::Refuse(decision.reason.clone()),
    };
    let provider = value.apply(event, person.id()).map_err(refusal)?;
    let record = to_wire(&provider);
    let id = provider.id.clone();
    tsm.store.put_provider(provider, revision).await.map_err(stored)?;
    let first_login = match decision.verdict {
        Verdict::Pass => Some(tsm.open_provider_account(&id).await?),
        Verdict::Fail => None,
    };
    let detail = serde_json::json!({ "provider": id.to_string(), "verdict": decision.verdict, "reason": decision.reason });
    tsm.audit(person.id(), "provider-audited", &detail).await?;
    Ok(ProviderApproval { record, first_login })
}

/// POST /operator/v1/providers/{provider}/blacklist
pub(super) async fn blacklist(
    tsm: Arc<SeTsm>,
    call: Call<Caller, BlacklistEntry>,
) -> Result<ProviderRecord, Problem> {
    let Versioned { value, revision } = tsm.found_provider(&call).await?;
    let person = call.caller.person()?;
    let event = match call.request.listing {
        Listing::On => ProviderEvent::Blacklist(call.request.reason.clone()),
        Listing::Off => ProviderEvent::Rehabilitate,
    };
    let provider = value.apply(event, person.id()).map_err(refusal)?;
    let record = to_wire(&provider);
    tsm.store.put_provider(provider, revision).await.map_err(stored)?;
    let detail = serde_json::json!({ "provider": record.provider.0, "listing": call.request.listing, "reason": call.request.reason });
    tsm.audit(person.id(), "provider-blacklist", &detail).await?;
    Ok(record)
}

impl SeTsm {
    /// Puts the operator itself among the providers, for its own applications; changes nothing where it is.
    pub async fn install_operator(&self, name: &str) -> Result<(), Problem> {
        let id = self.settings.operator.clone();
        if self.store.provider(&id).await.map_err(stored)?.is_some() {
            return Ok(());
        }
        let provider = Provider {
            kind: ProviderKind::Operator,
            state: ProviderState::Approved,
            blacklisted: None,
            capabilities: Capability::ALL.into_iter().collect::<BTreeSet<_>>(),
            registered_by: "platform".parse::<OperatorId>().map_err(field)?,
            basic: BasicAttributes {
                name: name.to_owned(),
                registration_number: String::new(),
                licence_number: String::new(),
                application_types: Vec::new(),
                cooperation: String::new(),
            },
            extended: ExtendedAttributes::default(),
            certificate: None,
            signature_key: None,
            address: None,
            id,
        };
        self.store.put_provider(provider, Revision(0)).await.map(drop).map_err(stored)
    }

    /// Opens the operator's own account at the provider's desk, for its own applications. Its first password
    /// is told once.
    pub async fn open_operator_desk(&self) -> Result<StaffLogin, Problem> {
        let operator = self.settings.operator.clone();
        self.open_provider_account(&operator).await
    }

    async fn found_provider<Q>(&self, call: &Call<Caller, Q>) -> Result<Versioned<Provider>, Problem> {
        let id: WireProviderId = call.parameter()?;
        let id: ProviderId = id.0.parse().map_err(|_| ProblemCode::UnknownId)?;
        self.store.provider(&id).await.map_err(stored)?.ok_or_else(|| ProblemCode::UnknownId.into())
    }

    /// Opens the provider's account at the portal, with a first password that is told once.
    pub(super) async fn open_provider_account(&self, id: &ProviderId) -> Result<StaffLogin, Problem> {
        let password = passwords::assign(&self.environment);
        let account = format!("provider.{id}");
        let staff = StaffAccount {
            id: account.parse().map_err(field)?,
            provider: Some(id.clone()),
            roles: BTreeSet::new(),
            password_hash: passwords::hash(&password, &self.environment)?,
            password_state: PasswordState::Assigned,
        };
        self.store.put_staff(staff, Revision(0)).await.map_err(stored)?;
        Ok(StaffLogin { account, password })
    }

    /// The next provider number that nobody has.
    async fn free_provider_number(&self) -> Result<ProviderId, Problem> {
        let taken: BTreeSet<String> = self
            .store
            .providers()
            .await
            .map_err(stored)?
            .iter()
            .map(|found| found.value.id.to_string())
            .collect();
        let free = (1..=99_999_999_u32).map(|number| format!("SP{number:08}")).find(|id| !taken.contains(id));
        free.ok_or(ProblemCode::TooManyRequests)?.parse().map_err(field)
    }
}

fn refusal(refusal: ProviderRefusal) -> Problem {
    match refusal {
        ProviderRefusal::OwnRegistration => ProblemCode::FourEyes.into(),
        other => forbidden(other),
    }
}

/// The wire's form. The institution number is told once it counts.
pub(super) fn to_wire(provider: &Provider) -> ProviderRecord {
    let state = match provider.state {
        ProviderState::InAudit => WireState::InAudit,
        ProviderState::Approved => WireState::Approved,
        ProviderState::Failed(_) => WireState::Refused,
        ProviderState::Cancelled => WireState::Cancelled,
    };
    ProviderRecord {
        provider: WireProviderId(provider.id.to_string()),
        institution: (state == WireState::Approved).then(|| provider.id.to_string()),
        name: provider.basic.name.clone(),
        state,
        blacklisted: provider.blacklisted.is_some(),
    }
}
