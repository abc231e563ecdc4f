//! The operator's people at work: staff, batches, providers, security domains and applications, each
//! step by whoever has the right to it and audited by somebody else.

use tsm_api::HexBytes;
use tsm_api::client::{Client, ClientError, SeTsmStaff};
use tsm_api::endpoint::StaffRole;
use tsm_api::ids::{ApplicationId, BatchId, DomainId, ProviderId};
use tsm_api::se_tsm::{operator, provider};

/// A sentence of approval for everything that the demo's auditors look at.
const APPROVED: &str = "examined and found in order";

/// The operator's accounts for those who look after riders.
const AT_DESKS: [(&str, StaffRole); 2] =
    [("service-1", StaffRole::CustomerService), ("hall-1", StaffRole::Hall)];

/// Logs the operator's account for a desk in; none where there is no such desk. The person who acts has logged in at
/// the issuer's desk, and is named in what is ordered.
pub async fn at_desk(client: &Client, desk: StaffRole) -> Result<Option<SeTsmStaff>, ClientError> {
    let known = AT_DESKS.into_iter().find(|(_, role)| *role == desk);
    let Some((account, _)) = known else { return Ok(None) };
    let password = lasting_password(&first_password(account));
    log_in(client, &FirstLogin { account: account.to_owned(), password }).await.map(Some)
}

/// The operator's staff, logged in.
pub struct Desk {
    administrator: SeTsmStaff,
    manager: SeTsmStaff,
    auditor: SeTsmStaff,
    tester: SeTsmStaff,
    release: SeTsmStaff,
}

/// The first administrator's way in.
#[derive(Clone)]
pub struct FirstLogin {
    /// The account.
    pub account: String,
    /// The first password, changed at once.
    pub password: String,
}

/// A provider after its approval.
pub struct OnboardedProvider {
    /// Its number.
    pub provider: ProviderId,
    /// The institution number under which its SP-TSM signs.
    pub institution: String,
    /// Its person in the portal, logged in.
    pub portal: Client,
}

/// What is published of an application.
pub struct NewApplication {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The CAP file.
    pub cap: Vec<u8>,
    /// Its hash, as the provider states it.
    pub sha1: [u8; 20],
    /// The AID that it must have, if it must have a certain one.
    pub instance_aid: Option<HexBytes>,
    /// Domain, flags and what the catalogue shows.
    pub definition: operator::ApplicationDefinition,
    /// Its place in the recommendations.
    pub recommendation: u32,
}

impl Desk {
    /// Logs the first administrator in and staffs the desk.
    pub async fn open(client: &Client, first: &FirstLogin) -> Result<Self, ClientError> {
        let administrator = log_in(client, first).await?;
        let colleague = |account: &'static str, roles: Vec<StaffRole>| {
            let administrator = administrator.clone();
            async move {
                let login = FirstLogin { account: account.to_owned(), password: first_password(account) };
                let staff = operator::NewStaff {
                    account: login.account.clone(),
                    first_password: login.password.clone(),
                    roles,
                };
                administrator.add_staff(&staff).await?;
                log_in(client, &login).await
            }
        };
        for (account, role) in AT_DESKS {
            colleague(account, vec![role]).await?;
        }
        Ok(Self {
            manager: colleague("manager", vec![StaffRole::BusinessManager]).await?,
            auditor: colleague("auditor", vec![StaffRole::Auditor]).await?,
            tester: colleague("tester", vec![StaffRole::Tester]).await?,
            release: colleague("release", vec![StaffRole::ReleaseOperator]).await?,
            administrator,
        })
    }

    /// Enters a batch of secure elements.
    pub async fn add_batch(&self, batch: &operator::NewBatch) -> Result<BatchId, ClientError> {
        Ok(self.administrator.add_batch(batch).await?.batch)
    }

    /// Registers a provider, has it approved, and logs its person in.
    pub async fn onboard_provider(
        &self,
        client: &Client,
        provider: &operator::NewProvider,
    ) -> Result<OnboardedProvider, ClientError> {
        let record = self.manager.add_provider(provider).await?;
        let approval = self.auditor.audit_provider(&record.provider, &pass()).await?;
        let institution = approval.record.institution.unwrap_or_default();
        let portal = match approval.first_login {
            Some(login) => log_in_provider(client, &login).await?,
            None => client.clone(),
        };
        Ok(OnboardedProvider { provider: record.provider, institution, portal })
    }

    /// Defines a security domain and has it audited.
    pub async fn define_domain(&self, domain: &operator::NewDomain) -> Result<DomainId, ClientError> {
        let record = self.manager.add_domain(domain).await?;
        Ok(self.auditor.audit_domain(&record.domain, &pass()).await?.domain)
    }

    /// Uploads, audits, defines, tests and publishes an application. Returns its AID.
    pub async fn publish(
        &self,
        portal: &Client,
        application: NewApplication,
        batches: Vec<BatchId>,
    ) -> Result<HexBytes, ClientError> {
        let upload = provider::Upload {
            name: application.name,
            version: application.version,
            cap: application.cap.into(),
            sha1: application.sha1.to_vec().into(),
            main_module: None,
            instance_aid: application.instance_aid,
        };
        let record = portal.call(&provider::UPLOAD, &[], &upload).await?;
        let id: ApplicationId = record.application;
        self.auditor.audit_application(id, &pass()).await?;
        let aid = self.manager.assign_aids(id).await?.aid.unwrap_or_default();
        self.manager.define(id, &application.definition).await?;
        let test = operator::TestResult {
            verdict: operator::Verdict::Pass,
            reason: "downloaded, used and deleted on the test cards".to_owned(),
            batches: batches.clone(),
            test_numbers: Vec::new(),
        };
        self.tester.test(id, &test).await?;
        self.auditor.confirm_test(id, &pass()).await?;
        let recommendation = Some(application.recommendation);
        self.release
            .publish(id, &operator::Publication { batches, users: Vec::new(), recommendation })
            .await?;
        Ok(aid)
    }
}

fn pass() -> operator::Decision {
    operator::Decision { verdict: operator::Verdict::Pass, reason: APPROVED.to_owned() }
}

/// Logs in and, where the first password must be changed, changes it and logs in again.
async fn log_in(client: &Client, first: &FirstLogin) -> Result<SeTsmStaff, ClientError> {
    let anonymous = SeTsmStaff::new(client.clone());
    let login = operator::StaffLogin { account: first.account.clone(), password: first.password.clone() };
    let session = anonymous.login(&login).await?;
    let staff = SeTsmStaff::new(client.clone().with_bearer(session.session));
    if !session.password_change_required {
        return Ok(staff);
    }
    let new = lasting_password(&first.password);
    staff.password(&operator::PasswordChange { old: login.password.clone(), new: new.clone() }).await?;
    let session = anonymous.login(&operator::StaffLogin { account: login.account, password: new }).await?;
    Ok(SeTsmStaff::new(client.clone().with_bearer(session.session)))
}

async fn log_in_provider(client: &Client, login: &operator::StaffLogin) -> Result<Client, ClientError> {
    let session = client.call(&provider::LOGIN, &[], login).await?;
    let portal = client.clone().with_bearer(session.session);
    if !session.password_change_required {
        return Ok(portal);
    }
    let new = lasting_password(&login.password);
    let change = operator::PasswordChange { old: login.password.clone(), new: new.clone() };
    portal.call(&provider::PASSWORD, &[], &change).await?;
    let login = operator::StaffLogin { account: login.account.clone(), password: new };
    let session = client.call(&provider::LOGIN, &[], &login).await?;
    Ok(client.clone().with_bearer(session.session))
}

fn first_password(account: &str) -> String {
    format!("first day of {account}, change me")
}

fn lasting_password(first: &str) -> String {
    format!("{first} - changed")
}
