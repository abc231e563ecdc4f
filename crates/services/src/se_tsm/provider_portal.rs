//! The provider's own desk (P-5.6.4, P-5.6.7, P-5.4.4.1): login, upload, own records only.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::tz::TimeZone;
use sha1::Sha1;
use sha2::Digest as _;
use tsm_api::endpoint::Nothing;
use tsm_api::problem::{Problem, ProblemCode, both};
use tsm_api::se_tsm::operator::{
    ApplicationList, ApplicationRecord, DomainList, PasswordChange, ProviderRecord, StaffLogin, StaffSession,
};
use tsm_api::se_tsm::provider::Upload;
use tsm_capfile::{CapFile, verify};
use tsm_card::create_domain::NewDomain as CardDomain;
use tsm_domain::ProviderId;
use tsm_domain::application::{
    AidAllocator, AidPurpose, Application, ApplicationKind, ArchiveDeletion, BatchSelection, ChannelOwner,
    DeletionMode, InstanceRecord, LoadFileRecord, ManagedVersion, ManagementState, MemoryKind, ModuleRecord,
    Names, PersonalisationWay, Scope, Space, UserSelection, ValueBearing,
};
use tsm_domain::bytes::{HexBytes, Sha1Digest};
use tsm_domain::se_application::{OpeningNeed, PersonalisationNeed, UnlockPolicy};
use tsm_domain::security_domain::DefinitionState;
use tsm_iso7816::Aid;
use tsm_storage::se_tsm::Revision;

use super::SeTsm;
use super::access::{Caller, check_standing};
use super::convert::aid;
use super::domains::{self, institution_code};
use super::providers;
use super::staff::{Desk, session_to_wire};
use super::stop::{field, stored};
use crate::server::Call;

/// POST /provider/v1/login
pub(super) async fn login(tsm: Arc<SeTsm>, call: Call<Caller, StaffLogin>) -> Result<StaffSession, Problem> {
    let (session, account) = tsm.log_in(&call.request, Desk::Provider).await?;
    let id = account.provider.clone().ok_or(ProblemCode::WrongCredentials)?;
    let provider = tsm.store.provider(&id).await.map_err(stored)?.ok_or(ProblemCode::WrongCredentials)?;
    check_standing(&provider.value)?;
    Ok(session_to_wire(&session, &account))
}

/// POST /provider/v1/password
pub(super) async fn change_password(
    tsm: Arc<SeTsm>,
    call: Call<Caller, PasswordChange>,
) -> Result<Nothing, Problem> {
    tsm.change_own_password(call.caller.person()?, &call.request).await?;
    Ok(Nothing {})
}

/// GET /provider/v1/self
pub(super) async fn own_record(
    tsm: Arc<SeTsm>,
    call: Call<Caller, Nothing>,
) -> Result<ProviderRecord, Problem> {
    let id = call.caller.provider_id()?;
    let provider = tsm.store.provider(&id).await.map_err(stored)?.ok_or(ProblemCode::UnknownId)?;
    Ok(providers::to_wire(&provider.value))
}

/// POST /provider/v1/applications
pub(super) async fn upload(
    tsm: Arc<SeTsm>,
    call: Call<Caller, Upload>,
) -> Result<ApplicationRecord, Problem> {
    let provider = call.caller.provider_id()?;
    let person = call.caller.person()?;
    let upload = call.request;
    let sha1: [u8; 20] = Sha1::digest(upload.cap.as_bytes()).into();
    if upload.sha1.as_bytes() != sha1 {
        return Err(ProblemCode::HashMismatch.into());
    }
    let refused = |reason: &dyn std::fmt::Display| Problem::because(ProblemCode::CapRefused, reason);
    let cap = CapFile::parse(upload.cap.as_bytes()).map_err(|error| refused(&error))?;
    verify(&cap).map_err(|error| refused(&error))?;
    let application = tsm.submitted(&upload, &cap, provider, sha1).await?;
    let record = tsm.application_to_wire(&application).await?;
    tsm.store.put_application(application, Revision(0)).await.map_err(stored)?;
    let detail = serde_json::json!({ "application": record.application.to_string(), "sha256": record.sha256.to_string() });
    tsm.audit(person.id(), "application-uploaded", &detail).await?;
    Ok(record)
}

/// GET /provider/v1/applications
pub(super) async fn own_applications(
    tsm: Arc<SeTsm>,
    call: Call<Caller, Nothing>,
) -> Result<ApplicationList, Problem> {
    let id = call.caller.provider_id()?;
    let mut applications = Vec::new();
    for found in tsm.store.applications().await.map_err(stored)? {
        if found.value.provider == id {
            applications.push(tsm.application_to_wire(&found.value).await?);
        }
    }
    Ok(ApplicationList { applications })
}

/// GET /provider/v1/applications/{application}
pub(super) async fn own_application(
    tsm: Arc<SeTsm>,
    call: Call<Caller, Nothing>,
) -> Result<ApplicationRecord, Problem> {
    let found = tsm.found_application(&call).await?;
    let id = call.caller.provider_id()?;
    if found.value.provider != id {
        return Err(ProblemCode::UnknownId.into());
    }
    tsm.application_to_wire(&found.value).await
}

/// GET /provider/v1/domains
pub(super) async fn own_domains(tsm: Arc<SeTsm>, call: Call<Caller, Nothing>) -> Result<DomainList, Problem> {
    let id = call.caller.provider_id()?;
    let all = tsm.store.domains().await.map_err(stored)?;
    let own = all.iter().map(|found| &found.value).filter(|domain| {
        // Before its audit a provider does not see a domain (P-5.3.3.b).
        domain.provider == id && domain.state == DefinitionState::Approved
    });
    Ok(DomainList { domains: own.map(domains::to_wire).collect() })
}

impl SeTsm {
    /// The record of a submitted program: its structure is the file's own, its instances get AIDs that are
    /// told after the audit (P-5.4.4.1).
    async fn submitted(
        &self,
        upload: &Upload,
        cap: &CapFile,
        provider: ProviderId,
        sha1: [u8; 20],
    ) -> Result<Application, Problem> {
        let modules: Vec<Aid> = cap.applets().iter().map(|applet| applet.aid).collect();
        let main = main_module(upload, &modules)?;
        let used: BTreeSet<Aid> = self.store.used_aids().await.map_err(stored)?.into_iter().collect();
        let package = cap.package_aid();
        if used.contains(&package) || modules.iter().any(|module| used.contains(module)) {
            let reason = both(
                "The package or one of its modules has an AID that is in use.",
                "该包或其模块的 AID 已被使用。",
            );
            return Err(Problem::because(ProblemCode::Duplicate, reason));
        }
        let number =
            u32::try_from(self.store.applications().await.map_err(stored)?.len()).unwrap_or(u32::MAX);
        let mut allocator = AidAllocator::new(
            self.settings.rid,
            used.iter().copied().chain([package]).chain(modules.clone()),
        );
        let institution = institution_code(&provider);
        let mut records = Vec::new();
        for module in modules.iter().copied() {
            let given = upload.instance_aid.as_ref().filter(|_| module == main);
            let instance = match given {
                Some(given) => aid(given)?,
                None => allocator
                    .assign(AidPurpose::Instance, 0, institution, number & 0xFF_FFFF)
                    .map_err(field)?,
            };
            if used.contains(&instance) {
                return Err(Problem::because(
                    ProblemCode::Duplicate,
                    both("The instance AID is in use.", "实例 AID 已被使用。"),
                ));
            }
            records.push(module_record(module, instance));
        }
        // The main module first (P-5.4.1.d).
        records.sort_by_key(|record| record.aid != main);
        let main_instance =
            records.first().and_then(|record| record.instances.first()).map(|instance| instance.aid);
        let main_instance =
            main_instance.ok_or_else(|| field(both("The package has no applet.", "该包没有小程序。")))?;
        let sha256 = self.store.put_blob(upload.cap.as_bytes().into()).await.map_err(stored)?;
        let code_space =
            u32::try_from(cap.load_file_data_block(tsm_capfile::Descriptor::Omit).len()).unwrap_or(u32::MAX);
        let version = ManagedVersion::new(
            main_instance,
            &upload.version,
            &self.now().to_zoned(TimeZone::UTC).date().strftime("%Y%m%d").to_string(),
        )
        .map_err(field)?;
        let issuer = CardDomain::LOAD_FILE.rid();
        let domain = issuer_domain(&issuer);
        let load_file = LoadFileRecord {
            aid: package,
            domain,
            sha1: Sha1Digest(sha1),
            sha256,
            code_space,
            memory: MemoryKind::Downloaded,
            dap_signature: None,
            depends_on: Vec::new(),
            modules: records,
        };
        Ok(Application {
            aid: main_instance,
            kind: ApplicationKind::Application,
            names: Names { en: upload.name.clone(), zh: upload.name.clone() },
            description: Names { en: String::new(), zh: String::new() },
            industry: String::new(),
            provider,
            domain,
            version,
            state: ManagementState::Initial,
            load_files: vec![load_file],
            space: Space { code: code_space, data: 0, volatile: 0 },
            java_card_version: "2.1".to_owned(),
            platform_version: "0".to_owned(),
            batches: BatchSelection::All,
            users: UserSelection::Everybody,
            scope: Scope::Network,
            personalisation: PersonalisationNeed::NotNeeded,
            way: PersonalisationWay::DomainForwards,
            opening: OpeningNeed::NotNeeded,
            deletion_mode: DeletionMode::Full,
            archive_deletion: ArchiveDeletion::NotifyUsers,
            value: ValueBearing::NoValue,
            unlock: UnlockPolicy::HallOrClient,
            channel: ChannelOwner::Issuer,
            renew_on_number_change: PersonalisationNeed::NotNeeded,
            companion_url: None,
            icon: String::new(),
            charging: String::new(),
            recommended: None,
            released_at: None,
        })
    }
}

/// The issuer domain of GlobalPlatform cards, A0 00 00 01 51 00 00 00 (GPC 2.3.1, H.1.3).
fn issuer_domain(rid: &[u8; 5]) -> Aid {
    let mut bytes = [0; 8];
    bytes[..5].copy_from_slice(rid);
    Aid::constant(&bytes)
}

fn main_module(upload: &Upload, modules: &[Aid]) -> Result<Aid, Problem> {
    match (&upload.main_module, modules) {
        (_, []) => Err(field(both(
            "The package has no applet; an extension is the operator's own.",
            "该包没有小程序；扩展包由平台运营方自行提供。",
        ))),
        (None, [only]) => Ok(*only),
        (None, _) => Err(field(both(
            "A package with several modules names its main module.",
            "含多个模块的包须指明主模块。",
        ))),
        (Some(named), modules) => {
            let named = aid(named)?;
            if modules.contains(&named) {
                Ok(named)
            } else {
                Err(field(both("The main module is not in the package.", "主模块不在包中。")))
            }
        }
    }
}

fn module_record(module: Aid, instance: Aid) -> ModuleRecord {
    let instance = InstanceRecord {
        aid: instance,
        privileges: HexBytes::default(),
        parameters: HexBytes::default(),
        data_space: 0,
        volatile_space: 0,
    };
    ModuleRecord { aid: module, instances: vec![instance] }
}
