//! The operator's desk on the first morning: staff, batch, provider, domain and the transit card, each by whoever
//! has the right to it, over the SE-TSM's own interface.

use tsm_api::HexBytes;
use tsm_api::client::{Client, ClientError, SeTsmStaff};
use tsm_api::endpoint::StaffRole;
use tsm_api::se_tsm::{operator, provider};

use super::keys::{self, Keys, Organisation};
use super::lock;
use super::network::Role;
use super::world::World;

/// The first administrator's account and password.
pub const ADMINISTRATOR: (&str, &str) = ("administrator", "the first password of the city");
/// The name under which the transit card is published.
pub const CARD_NAME: &str = "Harbour Transit Card";

const APPROVED: &str = "examined and found in order";

/// What the desk published.
#[derive(Debug, Clone)]
pub struct Published {
    /// The card issuer's institution number.
    pub institution: String,
    /// The card issuer's domain.
    pub domain: HexBytes,
}

/// Publishes the transit card of the provider whose SP-TSM is `issuer`.
pub async fn publish(client: &Client, keys: &Keys, issuer: &Organisation) -> Result<Published, ClientError> {
    let administrator = log_in(client, ADMINISTRATOR.0, ADMINISTRATOR.1).await?;
    let colleague = async |account: &str, role: StaffRole| {
        let first_password = format!("first day of {account}, change me");
        let staff = operator::NewStaff {
            account: account.into(),
            first_password: first_password.clone(),
            roles: vec![role],
        };
        administrator.add_staff(&staff).await?;
        log_in(client, account, &first_password).await
    };
    let manager = colleague("manager", StaffRole::BusinessManager).await?;
    let auditor = colleague("auditor", StaffRole::Auditor).await?;
    let tester = colleague("tester", StaffRole::Tester).await?;
    let release = colleague("release", StaffRole::ReleaseOperator).await?;

    let batch = administrator.add_batch(&new_batch()).await?.batch;
    let record = manager.add_provider(&new_provider(issuer)).await?;
    let approval = auditor.audit_provider(&record.provider, &pass()).await?;
    let institution = approval.record.institution.unwrap_or_default();
    let portal = match approval.first_login {
        Some(login) => log_in_provider(client, &login).await?,
        None => client.clone(),
    };
    let domain = manager.add_domain(&new_domain(&record.provider)).await?;
    let domain = auditor.audit_domain(&domain.domain, &pass()).await?.domain;

    let upload = provider::Upload {
        name: CARD_NAME.into(),
        version: "1.0.0".into(),
        sha1: sha1(&keys.cap).into(),
        cap: keys.cap.clone().into(),
        main_module: None,
        instance_aid: Some(keys::TRANSIT.into()),
    };
    let application = portal.call(&provider::UPLOAD, &[], &upload).await?.application;
    auditor.audit_application(application, &pass()).await?;
    manager.assign_aids(application).await?;
    manager.define(application, &definition(domain.clone())).await?;
    let test = operator::TestResult {
        verdict: operator::Verdict::Pass,
        reason: APPROVED.into(),
        batches: vec![batch.clone()],
        test_numbers: Vec::new(),
    };
    tester.test(application, &test).await?;
    auditor.confirm_test(application, &pass()).await?;
    let publication =
        operator::Publication { batches: vec![batch], users: Vec::new(), recommendation: Some(1) };
    release.publish(application, &publication).await?;
    let domain: tsm_iso7816::Aid = domain.to_string().parse().map_err(|_| ClientError::Unreadable {
        path: "/operator/v1/domains",
        reason: "the domain's number is no AID".into(),
    })?;
    Ok(Published { institution, domain: domain.into() })
}

const HALL: &str = "hall";
const HALL_PASSWORD: &str = "first day of the hall, change me";

/// Employs somebody for the hall.
pub async fn open_hall(client: &Client) -> Result<(), ClientError> {
    let (account, first) = ADMINISTRATOR;
    let administrator = log_in(client, account, &changed(first)).await?;
    let staff = operator::NewStaff {
        account: HALL.into(),
        first_password: HALL_PASSWORD.into(),
        roles: vec![StaffRole::Hall],
    };
    administrator.add_staff(&staff).await?;
    log_in(client, HALL, HALL_PASSWORD).await.map(drop)
}

/// The hall's staff, logged in.
pub async fn hall(client: &Client) -> Result<SeTsmStaff, ClientError> {
    log_in(client, HALL, &changed(HALL_PASSWORD)).await
}

impl World {
    /// Goes to a hall of the operator, whose staff stays logged in for as long as all goes well.
    pub(super) async fn at_hall<T>(
        &self,
        visit: impl AsyncFnOnce(&SeTsmStaff) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        let at_work = lock(&self.hall).clone();
        let hall = match at_work {
            Some(hall) => hall,
            None => hall(&Client::new(self.network.way(Role::SeTsm, None))).await?,
        };
        let done = visit(&hall).await;
        *lock(&self.hall) = done.is_ok().then_some(hall);
        done
    }
}

/// The hall lists a secure element as lost, or takes it off the list; as a person there it looks first how it stands.
pub async fn list_as_lost(
    hall: &SeTsmStaff,
    se: &HexBytes,
    listing: operator::Listing,
) -> Result<(), ClientError> {
    let record = hall.element(se).await?;
    if record.loss == listing {
        return Ok(());
    }
    let change = record.loss_changes + 1;
    let report = operator::LossReport { listing, change, reason: "said at the counter".into() };
    hall.report_loss(se, &report).await.map(drop)
}

fn changed(password: &str) -> String {
    format!("{password} - changed")
}

fn sha1(bytes: &[u8]) -> Vec<u8> {
    use sha1::Digest as _;
    sha1::Sha1::digest(bytes).to_vec()
}

fn pass() -> operator::Decision {
    operator::Decision { verdict: operator::Verdict::Pass, reason: APPROVED.into() }
}

/// Logs in; the first password is changed.
async fn log_in(client: &Client, account: &str, password: &str) -> Result<SeTsmStaff, ClientError> {
    let anonymous = SeTsmStaff::new(client.clone());
    let login = |password: &str| operator::StaffLogin { account: account.into(), password: password.into() };
    let session = anonymous.login(&login(password)).await?;
    let staff = SeTsmStaff::new(client.clone().with_bearer(session.session));
    if !session.password_change_required {
        return Ok(staff);
    }
    let new = changed(password);
    staff.password(&operator::PasswordChange { old: password.into(), new: new.clone() }).await?;
    let session = anonymous.login(&login(&new)).await?;
    Ok(SeTsmStaff::new(client.clone().with_bearer(session.session)))
}

async fn log_in_provider(client: &Client, login: &operator::StaffLogin) -> Result<Client, ClientError> {
    let session = client.call(&provider::LOGIN, &[], login).await?;
    let portal = client.clone().with_bearer(session.session);
    if !session.password_change_required {
        return Ok(portal);
    }
    let new = changed(&login.password);
    let change = operator::PasswordChange { old: login.password.clone(), new: new.clone() };
    portal.call(&provider::PASSWORD, &[], &change).await?;
    let login = operator::StaffLogin { account: login.account.clone(), password: new };
    let session = client.call(&provider::LOGIN, &[], &login).await?;
    Ok(client.clone().with_bearer(session.session))
}

fn new_batch() -> operator::NewBatch {
    operator::NewBatch {
        name: "software-2026".into(),
        first_se_id: super::se_id(0).to_vec().into(),
        last_se_id: super::se_id(u32::MAX).to_vec().into(),
        form: operator::SeForm::Embedded,
        chip: "OpenTSM software SE".into(),
        platform_version: "1.0".into(),
        java_version: "3.0.5".into(),
        free_bytes: 400_000,
        isd_aid: tsm_se::profile::ISSUER_DOMAIN.into(),
        secure_channel: secure_channel(keys::CARD_KEY_VERSION),
        isd_key: keys::card_keys().to_string(),
        initial_domain_key: keys::first_domain_root_name().to_string(),
        preset_load_files: keys::rom()
            .map(|(package, ..)| operator::PresetLoadFile {
                aid: package.into(),
                memory: operator::PresetMemory::ReadOnly,
            })
            .to_vec(),
    }
}

const fn secure_channel(key_version: u8) -> operator::SecureChannelProfile {
    operator::SecureChannelProfile {
        protocol: operator::SecureChannelProtocol::Scp03,
        options: 0x70,
        key_version,
        level: 0x03,
    }
}

fn new_provider(issuer: &Organisation) -> operator::NewProvider {
    operator::NewProvider {
        name: "Harbour Transit".into(),
        kind: "transit".into(),
        registration_number: "0999-2026".into(),
        certificate_sha256: issuer.certificate.clone(),
        signature_key: issuer.signer.public_key(),
        sp_tsm_address: "sp-tsm:443".into(),
    }
}

fn new_domain(provider: &tsm_api::ids::ProviderId) -> operator::NewDomain {
    operator::NewDomain {
        provider: provider.clone(),
        name: "Harbour Transit".into(),
        mode: operator::DomainMode::AuthorizedManagement,
        space: operator::DomainSpace::NotFixed,
        deletion_rule: operator::DomainDeletionRule::Separately,
        key_period_days: 365,
        secure_channel: secure_channel(keys::DOMAIN_KEY_VERSION),
        documents: vec!["application for a security domain, signed".into()],
    }
}

fn definition(domain: tsm_api::ids::DomainId) -> operator::ApplicationDefinition {
    operator::ApplicationDefinition {
        domain: Some(domain),
        managing_domain: operator::ManagingDomain::Own,
        personalisation: operator::PersonalisationWay::BySpTsm,
        opening: operator::Opening::NotNeeded,
        deletion_mode: operator::DeletionMode::Full,
        value: operator::ValueBearing::StoredValue,
        unlock: operator::UnlockPolicy::HallOrClient,
        install_parameters: Vec::new().into(),
        privileges: Vec::new().into(),
        instance_bytes: 4_096,
        dap_signature: None,
        catalogue: operator::CatalogueText {
            class: "transportation".into(),
            icon: "transit".into(),
            charging: "free".into(),
            introduction: "Rides every line of the harbour city. 乘坐港湾城市的所有线路。".into(),
            companion: None,
        },
    }
}
