//! A platform with its people, one batch of development cards, and what a test needs of a provider.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use sha1::{Digest as _, Sha1};
use tsm_api::HexBytes;
use tsm_api::client::{Client, SeTsmStaff, Signing};
use tsm_api::endpoint::StaffRole;
use tsm_api::pki::{SigningIdentity, TlsIdentity};
use tsm_api::se_tsm::operator::{
    ApplicationDefinition, ApplicationRecord, CatalogueText, Decision, DeletionMode, DomainDeletionRule,
    DomainMode, DomainRecord, DomainSpace, ManagingDomain, NewBatch, NewDomain, NewProvider, NewStaff,
    Opening, PasswordChange, PersonalisationWay, ProviderRecord, Publication, SeForm, SecureChannelProfile,
    SecureChannelProtocol, StaffLogin, TestResult, UnlockPolicy, ValueBearing, Verdict,
};
use tsm_api::se_tsm::provider::Upload;
use tsm_api::se_tsm::wallet::Agreement;
use tsm_capfile::CapBuilder;
use tsm_domain::environment::Clock;
use tsm_domain::policy::Policy;
use tsm_iso7816::Aid;
use tsm_keys::software::SoftwareKeyService;
use tsm_keys::{KeyAlgorithm, KeyPurpose, KeyReference, KeyService as _, KeySetReference};
use tsm_services::conversation::Limits;
use tsm_services::se_tsm::{self, FirstAdministrator, HttpsSpTsms, Parts, SeTsm, Settings, SpTsms};
use tsm_services::server::Server;
use tsm_services::siblings::Siblings;
use tsm_storage::memory::MemorySeTsm;

use crate::phone::Phone;
use crate::support::{Net, SystemClock, SystemEntropy, TIMEOUT, environment};

pub const GREETING_PACKAGE: Aid = Aid::constant(&[0xF0, 0x4F, 0x54, 0x53, 0x4D, 0x01, 0x05]);
pub const GREETING_MODULE: Aid = Aid::constant(&[0xF0, 0x4F, 0x54, 0x53, 0x4D, 0x01, 0x05, 0x01]);

/// A platform.
pub struct World {
    pub net: Net,
    pub tsm: Arc<SeTsm>,
    pub store: Arc<MemorySeTsm>,
    pub server: Server,
    pub people: People,
    /// The SP-TSM's certificate and message key.
    pub sp: (TlsIdentity, SigningIdentity),
    pub kek: KeyReference,
    process: Box<Process>,
}

type Process = dyn Fn(Option<Arc<dyn Siblings>>) -> Arc<SeTsm> + Send + Sync;

/// Who works there. Each has a session.
pub struct People {
    pub admin: SeTsmStaff,
    /// Enters, tests and publishes.
    pub clerk: SeTsmStaff,
    /// Audits and supervises.
    pub auditor: SeTsmStaff,
}

pub struct Options {
    pub policy: Policy,
    pub session_lifetime: SignedDuration,
    pub clock: Option<Arc<dyn Clock>>,
}

impl Default for Options {
    fn default() -> Self {
        Self { policy: Policy::default(), session_lifetime: SignedDuration::from_mins(30), clock: None }
    }
}

fn key(purpose: KeyPurpose, label: &str) -> KeyReference {
    KeyReference::new(purpose, "operator", label, 1).unwrap()
}

impl World {
    pub async fn new() -> Self {
        Self::with(Options::default()).await
    }

    pub async fn with(options: Options) -> Self {
        let net = Net::new();
        let mut environment = environment();
        if let Some(clock) = options.clock {
            environment.clock = clock;
        }
        let keys = SoftwareKeyService::in_memory(Arc::new(SystemEntropy));
        let cards = KeySetReference::new("operator", "cards", 1).unwrap();
        keys.import_development_card_keys(&cards, KeyAlgorithm::Aes128).unwrap();
        let root = key(KeyPurpose::DomainRoot, "domains");
        keys.import_development(&root, KeyAlgorithm::Aes128, &tsm_se::profile::DEVELOPMENT_KEY).unwrap();
        let (token_key, sealing_key, kek) = (
            key(KeyPurpose::BindingToken, "token"),
            key(KeyPurpose::Sealing, "sealing"),
            key(KeyPurpose::KeyEncryption, "sp"),
        );
        for key in [&token_key, &sealing_key] {
            keys.generate(key, KeyAlgorithm::Aes256).unwrap();
        }
        keys.import_development(&kek, KeyAlgorithm::Aes256, &crate::provider::KEK).unwrap();
        let identity = net.authority.issue("se-tsm").unwrap();
        let signer = SigningIdentity::generate().unwrap().signer().unwrap();
        let signing = Signing {
            institution: "SETSM".into(),
            signer: Arc::new(signer.clone()),
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
        };
        let https: Arc<dyn SpTsms> = Arc::new(HttpsSpTsms::new(
            identity.client_config(&net.authority.trust().unwrap()).unwrap(),
            signing,
            TIMEOUT,
        ));
        let settings = Settings {
            operator: "OPERATOR".parse().unwrap(),
            agreement: Agreement {
                version: "1".into(),
                text_en: "Be fair.".into(),
                text_zh: "请公平。".into(),
            },
            session_lifetime: options.session_lifetime,
            staff_session_lifetime: SignedDuration::from_hours(8),
            ticket_lifetime: SignedDuration::from_mins(10),
            policy: options.policy,
            token_key,
            sealing_key,
            rid: [0xF0, 0x4F, 0x54, 0x53, 0x4D],
            page_size: 10,
            limits: Limits { idle: Duration::from_secs(20), ..Limits::default() },
        };
        let store = Arc::new(MemorySeTsm::default());
        let process = {
            let (store, keys, signer) = (store.clone(), Arc::new(keys), Arc::new(signer));
            move |siblings| {
                let parts = Parts {
                    store: store.clone(),
                    keys: keys.clone(),
                    environment: environment.clone(),
                    signer: signer.clone(),
                    sp_tsms: https.clone(),
                    settings: settings.clone(),
                };
                SeTsm::among(parts, siblings)
            }
        };
        let tsm = process(None);
        tsm.install_operator("The operator").await.unwrap();
        let first =
            FirstAdministrator { account: "admin".parse().unwrap(), password: "first password".into() };
        tsm.install_administrator(&first).await.unwrap();
        let server = net.serve(se_tsm::routes(tsm.clone()).into_router()).await;
        let people = People::hire(&net.wallet(&server)).await;
        let sp = (net.authority.issue("sp-tsm").unwrap(), SigningIdentity::generate().unwrap());
        let world = Self { net, tsm, store, server, people, sp, kek, process: Box::new(process) };
        world.people.admin.add_batch(&batch()).await.unwrap();
        world
    }

    /// Another process of the platform over its store.
    pub fn process(&self, siblings: Arc<dyn Siblings>) -> Arc<SeTsm> {
        (self.process)(Some(siblings))
    }

    /// A phone with a new development card.
    pub fn phone(&self, number: u8) -> Phone {
        Phone::new(self.net.wallet(&self.server), &[0x10, 0, 0, 0, 0, 0, 0, number])
    }

    /// The operator's own person at the provider's desk.
    pub async fn operator_desk(&self) -> SeTsmStaff {
        let first = self.tsm.open_operator_desk().await.unwrap();
        log_in_first(&self.net.wallet(&self.server), first, Desk::Provider).await
    }

    /// A provider that is approved, and its person's session.
    pub async fn provider(&self, address: &str) -> (ProviderRecord, SeTsmStaff) {
        let new = self.new_provider(address);
        let provider = self.people.clerk.add_provider(&new).await.unwrap();
        let approval = self.people.auditor.audit_provider(&provider.provider, &pass()).await.unwrap();
        let person =
            log_in_first(&self.net.wallet(&self.server), approval.first_login.unwrap(), Desk::Provider).await;
        (approval.record, person)
    }

    pub fn new_provider(&self, address: &str) -> NewProvider {
        NewProvider {
            name: "A transit company".into(),
            kind: "transport".into(),
            registration_number: "123456".into(),
            certificate_sha256: self.sp.0.fingerprint(),
            signature_key: self.sp.1.signer().unwrap().public_key(),
            sp_tsm_address: address.into(),
        }
    }

    pub fn new_domain(&self, provider: &ProviderRecord, mode: DomainMode) -> NewDomain {
        NewDomain {
            provider: provider.provider.clone(),
            name: "transit".into(),
            mode,
            space: DomainSpace::NotFixed,
            deletion_rule: DomainDeletionRule::WithLastApplication,
            key_period_days: 365,
            secure_channel: scp03(),
            documents: vec!["application 1".into()],
        }
    }

    /// An audited domain of a provider.
    pub async fn domain(&self, provider: &ProviderRecord, mode: DomainMode) -> DomainRecord {
        let new = self.new_domain(provider, mode);
        let domain = self.people.clerk.add_domain(&new).await.unwrap();
        self.people.auditor.audit_domain(&domain.domain, &pass()).await.unwrap()
    }

    /// A published application without value and without personalisation.
    pub async fn publish(&self, person: &SeTsmStaff, definition: ApplicationDefinition) -> ApplicationRecord {
        let publication = Publication { recommendation: Some(1), ..Publication::default() };
        self.publish_package(person, &upload(), &definition, &publication).await
    }

    /// A published application of any package.
    pub async fn publish_package(
        &self,
        person: &SeTsmStaff,
        upload: &Upload,
        definition: &ApplicationDefinition,
        publication: &Publication,
    ) -> ApplicationRecord {
        let uploaded = person.upload(upload).await.unwrap();
        assert_eq!(uploaded.aid, None, "no AID before the audit");
        let id = uploaded.application;
        let People { clerk, auditor, .. } = &self.people;
        auditor.audit_application(id, &pass()).await.unwrap();
        clerk.assign_aids(id).await.unwrap();
        clerk.define(id, definition).await.unwrap();
        let test = TestResult {
            verdict: Verdict::Pass,
            reason: "all commands".into(),
            batches: vec![tsm_api::ids::BatchId("development".into())],
            test_numbers: vec![],
        };
        clerk.test(id, &test).await.unwrap();
        auditor.confirm_test(id, &pass()).await.unwrap();
        clerk.publish(id, publication).await.unwrap()
    }
}

pub fn upload() -> Upload {
    upload_of("Greeting card", GREETING_PACKAGE, GREETING_MODULE)
}

/// A package with one applet.
pub fn upload_of(name: &str, package: Aid, module: Aid) -> Upload {
    let cap = CapBuilder::new(package).applet(module).build().unwrap();
    Upload {
        name: name.into(),
        version: "1.0.0".into(),
        sha1: HexBytes(Sha1::digest(&cap).to_vec()),
        cap: HexBytes(cap),
        main_module: None,
        instance_aid: None,
    }
}

pub fn definition(domain: Option<&DomainRecord>, managing_domain: ManagingDomain) -> ApplicationDefinition {
    ApplicationDefinition {
        domain: domain.map(|domain| domain.domain.clone()),
        managing_domain,
        personalisation: PersonalisationWay::None,
        opening: Opening::NotNeeded,
        deletion_mode: DeletionMode::Full,
        value: ValueBearing::NoValue,
        unlock: UnlockPolicy::HallOrClient,
        install_parameters: HexBytes::default(),
        privileges: HexBytes::default(),
        instance_bytes: 200,
        dap_signature: None,
        catalogue: CatalogueText {
            class: "greetings".into(),
            icon: String::new(),
            charging: "free".into(),
            introduction: "Says hello.".into(),
            companion: None,
        },
    }
}

pub fn pass() -> Decision {
    Decision { verdict: Verdict::Pass, reason: "in order".into() }
}

pub const fn scp03() -> SecureChannelProfile {
    SecureChannelProfile {
        protocol: SecureChannelProtocol::Scp03,
        options: 0x70,
        key_version: 0x30,
        level: 0x03,
    }
}

pub fn batch() -> NewBatch {
    NewBatch {
        name: "development".into(),
        first_se_id: HexBytes(vec![0x10, 0, 0, 0, 0, 0, 0, 0]),
        last_se_id: HexBytes(vec![0x10, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]),
        form: SeForm::Embedded,
        chip: "software".into(),
        platform_version: "1".into(),
        java_version: "3.0.5".into(),
        free_bytes: 100_000,
        isd_aid: HexBytes(vec![0xA0, 0, 0, 1, 0x51, 0, 0, 0]),
        secure_channel: scp03(),
        isd_key: "operator/cards/1".into(),
        initial_domain_key: "domain-root/operator/domains/1".into(),
        preset_load_files: vec![],
    }
}

#[derive(Clone, Copy, PartialEq)]
pub enum Desk {
    Operator,
    Provider,
}

/// Logs in with a first password and changes it.
pub async fn log_in_first(client: &Client, first: StaffLogin, desk: Desk) -> SeTsmStaff {
    let anyone = SeTsmStaff::new(client.clone());
    let session = match desk {
        Desk::Operator => anyone.login(&first).await.unwrap(),
        Desk::Provider => anyone.provider_login(&first).await.unwrap(),
    };
    assert!(session.password_change_required);
    let person = SeTsmStaff::new(client.clone().with_bearer(&session.session));
    let change = PasswordChange { old: first.password, new: "a better password".into() };
    match desk {
        Desk::Operator => person.password(&change).await.unwrap(),
        Desk::Provider => person.provider_password(&change).await.unwrap(),
    };
    person
}

impl People {
    async fn hire(client: &Client) -> Self {
        let first = |account: &str| StaffLogin { account: account.into(), password: "first password".into() };
        let admin = log_in_first(client, first("admin"), Desk::Operator).await;
        let roles = [
            ("clerk", vec![StaffRole::BusinessManager, StaffRole::Tester, StaffRole::ReleaseOperator]),
            ("auditor", vec![StaffRole::Auditor, StaffRole::Supervisor, StaffRole::CustomerService]),
        ];
        let mut hired = Vec::new();
        for (account, roles) in roles {
            let new = NewStaff { account: account.into(), first_password: "first password".into(), roles };
            admin.add_staff(&new).await.unwrap();
            hired.push(log_in_first(client, first(account), Desk::Operator).await);
        }
        let auditor = hired.pop().unwrap();
        let clerk = hired.pop().unwrap();
        Self { admin, clerk, auditor }
    }
}
