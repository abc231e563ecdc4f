//! Each role of a plan as it runs: its store, its keys, its partners, its server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use jiff::SignedDuration;
use tokio::net::TcpListener;
use tsm_api::client::{ClearingPeer, Client, HttpsTransport, SeTsmPeer, Signing};
use tsm_api::se_tsm::wallet::Agreement;
use tsm_api::signature::MessageVerifier;
use tsm_domain::policy::Policy;
use tsm_domain::{Fen, TerminalNumber};
use tsm_epurse::Algorithm;
use tsm_epurse::file::{CardKind, Management};
use tsm_globalplatform::Privileges;
use tsm_globalplatform::security_level::SecurityLevel;
use tsm_iso7816::Aid;
use tsm_keys::{KeyService, Protocol, SoftwareKeyService};
use tsm_services::conversation::Limits;
use tsm_services::purse::PurseKeys;
use tsm_services::runtime::{Environment, Spawner, Timer};
use tsm_services::server::{Peer, Server, ServerLimits, serve};
use tsm_services::siblings::Siblings;
use tsm_services::{clearing, payment_sandbox, se_tsm, sp_tsm};

use super::ceremony;
use super::clerks::At;
use super::desk::FirstLogin;
use super::lines::{self, CentreSockets, ServedLines};
use super::payments;
use super::plan::{CityPlan, Published, Role, RolePlan};
use super::siblings::SiblingProcesses;
use super::stores;
use crate::environment::{self, ShiftedClock};
use crate::packages;

/// The terminal numbers of the city's gates.
pub const GATES: [[u8; 6]; 2] = [[0x09, 0x99, 0x00, 0x00, 0x00, 0x42], [0x09, 0x99, 0x00, 0x00, 0x00, 0x43]];
/// The terminals of `opentsm terminal`: two gates, a till and a top-up terminal.
pub const BY_HAND: [[u8; 6]; 4] = [
    [0x09, 0x99, 0x00, 0x00, 0x00, 0x61],
    [0x09, 0x99, 0x00, 0x00, 0x00, 0x62],
    [0x09, 0x99, 0x00, 0x00, 0x00, 0x51],
    [0x09, 0x99, 0x00, 0x00, 0x00, 0x52],
];
/// The payment platform's terminal, at which riders pay over the network.
pub const ONLINE: [u8; 6] = [0x09, 0x99, 0x00, 0x00, 0x00, 0x91];
/// What the city's card numbers begin with. Invented.
pub const CARD_NUMBER_PREFIX: &str = "31049990";
/// The operator's own provider number.
pub const OPERATOR_NUMBER: &str = "OPERATOR";

/// How often the centre seals its journal.
const SEALED_EVERY: Duration = Duration::from_secs(60);

/// How often the clearing centre looks whether a day is to be closed or reconciled, and checks its books.
const WORKED_EVERY: Duration = Duration::from_secs(60);
/// How long one organisation waits for another.
pub const PARTNER_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a role did not start.
#[derive(Debug, thiserror::Error)]
#[error("{role} did not start: {reason}")]
pub struct RoleError {
    role: &'static str,
    reason: String,
}

fn failed(role: Role) -> impl Fn(&dyn std::fmt::Display) -> RoleError {
    move |reason| RoleError { role: role.name(), reason: reason.to_string() }
}

/// Tokio's tasks and timers, this machine's clock and randomness.
pub fn runtime() -> Environment {
    let (clock, entropy) = environment::real();
    Environment { clock, entropy, spawner: Arc::new(Tokio), timer: Arc::new(Tokio) }
}

/// The same with the city's clock, where it has one of its own.
pub fn runtime_of(plan: &CityPlan) -> Environment {
    match &plan.clock {
        Some(ahead) => Environment { clock: Arc::new(ShiftedClock::sharing(ahead.clone())), ..runtime() },
        None => runtime(),
    }
}

struct Tokio;

impl Spawner for Tokio {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        tokio::spawn(task);
    }
}

impl Timer for Tokio {
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        tokio::time::sleep(duration).boxed()
    }
}

/// The first administrator of the plan's SE-TSM.
pub fn first_login(plan: &CityPlan) -> FirstLogin {
    FirstLogin { account: "administrator".to_owned(), password: plan.passphrase.clone() }
}

/// Where a role listens.
pub struct Sockets {
    /// On the role's address.
    pub role: TcpListener,
    /// On an address of this process alone: it is one of several of its role on one store.
    pub alone: Option<TcpListener>,
    /// For files and metrics, where the role is the clearing centre.
    pub centre: Option<CentreSockets>,
}

/// A role that serves.
pub struct Running {
    /// On the role's address.
    pub server: Server,
    /// On an address of this process alone, where its siblings reach it.
    alone: Option<Server>,
    /// Files and metrics, where the role is the clearing centre.
    pub lines: Option<ServedLines>,
}

impl Running {
    /// Takes no more connections, and returns when the requests that run are finished.
    pub async fn stop(self) {
        self.server.stop().await;
        if let Some(alone) = self.alone {
            alone.stop().await;
        }
    }
}

/// Starts a role with its keys.
pub async fn start(
    plan: &CityPlan,
    role: Role,
    keys: SoftwareKeyService,
    sockets: Sockets,
) -> Result<Running, RoleError> {
    let Sockets { role: listener, alone, centre } = sockets;
    let why = failed(role);
    let environment = runtime_of(plan);
    let here = alone.as_ref().map(TcpListener::local_addr).transpose().map_err(|error| why(&error))?;
    let siblings = here.map(|here| SiblingProcesses::around(plan, role, here, &environment)).transpose();
    let siblings = siblings.map_err(|error| why(&error))?;
    let siblings = siblings.map(|siblings| Arc::new(siblings) as Arc<dyn Siblings>);
    let (router, lines) = match role {
        Role::Clearing => {
            let service = clearing(plan, keys, &environment).await?;
            let lines = centre.map(|sockets| lines::serve(plan, &service, sockets)).transpose();
            (clearing::routes(service).into_router(), lines.map_err(|error| why(&error))?)
        }
        Role::SeTsm | Role::SpTsm | Role::Payment => {
            (router(plan, role, keys, siblings, &environment).await?, None)
        }
    };
    let serve = |listener| serve_role(plan, role, router.clone(), listener, environment.clone());
    Ok(Running { server: serve(listener)?, alone: alone.map(serve).transpose()?, lines })
}

/// What a role answers with.
async fn router(
    plan: &CityPlan,
    role: Role,
    keys: SoftwareKeyService,
    siblings: Option<Arc<dyn Siblings>>,
    environment: &Environment,
) -> Result<axum::Router, RoleError> {
    let why = failed(role);
    match role {
        Role::SeTsm => se_tsm(plan, keys, siblings, environment).await,
        Role::Clearing => Ok(clearing::routes(clearing(plan, keys, environment).await?).into_router()),
        Role::SpTsm => match &plan.published {
            Some(published) => sp_tsm(plan, published, keys, siblings, environment).await,
            None => Err(why(&"the plan does not say what the operator published")),
        },
        Role::Payment => {
            let sandbox = payments::sandbox(plan, keys, siblings, environment).await;
            let sandbox = sandbox.map_err(|error| why(&error))?;
            Ok(payment_sandbox::routes(sandbox).into_router())
        }
    }
}

async fn se_tsm(
    plan: &CityPlan,
    keys: SoftwareKeyService,
    siblings: Option<Arc<dyn Siblings>>,
    environment: &Environment,
) -> Result<axum::Router, RoleError> {
    let why = failed(Role::SeTsm);
    let signer = plan.se_tsm.message_key().and_then(|key| key.signer()).map_err(|error| why(&error))?;
    let signing = signing(&plan.se_tsm, environment).map_err(|error| why(&error))?;
    let tls = plan.se_tsm.identity().map_err(|error| why(&error))?;
    let trust = plan.trust().map_err(|error| why(&error))?;
    let sp_tsms = se_tsm::HttpsSpTsms::new(
        tls.client_config(&trust).map_err(|error| why(&error))?,
        signing,
        PARTNER_TIMEOUT,
    );
    let parts = se_tsm::Parts {
        store: stores::se_tsm(plan).await.map_err(|error| why(&error))?,
        keys: Arc::new(keys),
        environment: environment.clone(),
        signer: Arc::new(signer),
        sp_tsms: Arc::new(sp_tsms),
        settings: se_tsm_settings(),
    };
    let service = se_tsm::SeTsm::among(parts, siblings);
    service.install_operator("The operator").await.map_err(|error| why(&error))?;
    let first = first_login(plan);
    let account = first.account.parse().map_err(|error| why(&error))?;
    let first = se_tsm::FirstAdministrator { account, password: first.password };
    service.install_administrator(&first).await.map_err(|error| why(&error))?;
    Ok(se_tsm::routes(service).into_router())
}

fn se_tsm_settings() -> se_tsm::Settings {
    se_tsm::Settings {
        operator: OPERATOR_NUMBER.parse().expect("the operator's number is a word"),
        agreement: agreement(),
        session_lifetime: SignedDuration::from_mins(30),
        staff_session_lifetime: SignedDuration::from_hours(8),
        ticket_lifetime: SignedDuration::from_mins(30),
        policy: Policy::default(),
        token_key: ceremony::token_key(),
        sealing_key: ceremony::sealing_key(),
        rid: [0xA0, 0x00, 0x00, 0x06, 0x32],
        page_size: 20,
        limits: Limits::default(),
    }
}

fn agreement() -> Agreement {
    Agreement {
        version: "2026-1".to_owned(),
        text_en: "This wallet keeps transit cards in your phone's secure element. The operator sees which \
                  applications are on it. Money on a card is spent by whoever holds the phone: report a loss at \
                  once."
            .to_owned(),
        text_zh: "本钱包将交通卡保存在手机的安全单元中。平台运营方可以看到其中安装的应用。持有手机者即可使用卡内余额，\
                  手机丢失请立即挂失。"
            .to_owned(),
    }
}

async fn clearing(
    plan: &CityPlan,
    keys: SoftwareKeyService,
    environment: &Environment,
) -> Result<Arc<clearing::Clearing>, RoleError> {
    let why = failed(Role::Clearing);
    let mut duties = duties(&plan.sp_tsm.institution).map_err(|error| why(&error))?;
    duties.platforms.push(payments::statements(plan, &keys, environment).map_err(|error| why(&error))?);
    let service = clearing::Clearing::new(clearing::Parts {
        store: stores::clearing(plan).await.map_err(|error| why(&error))?,
        keys: Arc::new(keys),
        environment: environment.clone(),
        sealing_key: ceremony::parked_cards_key(),
        institutions: vec![
            peer(&plan.sp_tsm).map_err(|error| why(&error))?,
            peer(&plan.payment).map_err(|error| why(&error))?,
        ],
        issuers: vec![(CARD_NUMBER_PREFIX.to_owned(), purse_keys())],
        terminals: terminals(plan).map_err(|error| why(&*error))?,
        duties,
    });
    if let Some(clerks) = &plan.centre_clerks {
        for first in clerks.first(At::Centre, plan).map_err(|error| why(&error))? {
            service.install_clerk(&first).await.map_err(|error| why(&error))?;
        }
    }
    service.start_collection();
    service.seal_regularly(SEALED_EVERY);
    clearing::start_jobs(&service, WORKED_EVERY);
    Ok(service)
}

fn duties(issuer: &str) -> Result<clearing::Duties, tsm_domain::IdError> {
    let issuer: tsm_domain::InstitutionId = issuer.parse()?;
    Ok(clearing::Duties::of_issuer(CARD_NUMBER_PREFIX, issuer.clone()).with_desk(issuer))
}

/// The issuer's own terminals, and the payment platform's.
fn terminals(plan: &CityPlan) -> Result<clearing::Terminals, Box<dyn std::error::Error>> {
    let numbers: Result<Vec<_>, _> = GATES.into_iter().chain(BY_HAND).map(TerminalNumber::from_bcd).collect();
    let online = clearing::Terminals::of(&plan.payment.institution, [TerminalNumber::from_bcd(ONLINE)?]);
    let mut terminals = clearing::Terminals::of(&plan.sp_tsm.institution, numbers?).and(online);
    for (number, place) in super::gates::places() {
        terminals = terminals.with_place(TerminalNumber::from_bcd(number)?, place);
    }
    for (number, key) in &plan.terminal_keys {
        terminals = terminals.with_key(number.parse()?, MessageVerifier::from_point(key.as_bytes())?);
    }
    Ok(terminals)
}

async fn sp_tsm(
    plan: &CityPlan,
    published: &Published,
    keys: SoftwareKeyService,
    siblings: Option<Arc<dyn Siblings>>,
    environment: &Environment,
) -> Result<axum::Router, RoleError> {
    let why = failed(Role::SpTsm);
    let link = |to| partner(plan, Role::SpTsm, to, environment).map_err(|error| why(&error));
    let parts = sp_tsm::Parts {
        store: stores::sp_tsm(plan).await.map_err(|error| why(&error))?,
        keys: Arc::new(keys.clone()) as Arc<dyn KeyService>,
        environment: environment.clone(),
        partners: sp_tsm::Partners {
            se_tsm: peer(&plan.se_tsm).map_err(|error| why(&error))?,
            // The issuer runs its own top-up terminals.
            top_up_terminals: vec![peer(&plan.sp_tsm).map_err(|error| why(&error))?],
        },
        links: sp_tsm::Links {
            se_tsm: SeTsmPeer::new(link(Role::SeTsm)?),
            payment: payments::platform(plan, &keys, environment).map_err(|error| why(&error))?,
            centre: ClearingPeer::new(link(Role::Clearing)?),
        },
        settings: sp_tsm_settings(published).map_err(|error| why(&error))?,
        limits: Limits::default(),
    };
    let service = sp_tsm::SpTsm::among(parts, siblings).map_err(|error| why(&error))?;
    service.admit_own_tools(peer(&plan.sp_tsm).map_err(|error| why(&error))?);
    if let Some(desk) = &plan.issuer_desk {
        service.admit_desk(desk.admitted().map_err(|error| why(&*error))?);
    }
    if let Some(clerks) = &plan.desk_clerks {
        for first in clerks.first(At::IssuersDesk, plan).map_err(|error| why(&error))? {
            service.install_clerk(&first).await.map_err(|error| why(&error))?;
        }
    }
    Ok(sp_tsm::routes(service).into_router())
}

fn sp_tsm_settings(published: &Published) -> Result<sp_tsm::Settings, Box<dyn std::error::Error>> {
    let transit: Aid = published.transit.parse()?;
    let domain: Aid = published.domain.parse()?;
    let package = packages::TRANSIT_PURSE;
    let cap = tsm_capfile::CapFile::parse(&package.cap_file()?)?;
    let purse = sp_tsm::PurseProduct {
        keys: purse_keys(),
        number_prefix: CARD_NUMBER_PREFIX.to_owned(),
        algorithm: Algorithm::TripleDes,
        management: Management {
            country: Management::CHINA,
            province: [0x99, 0x00],
            city: [0x99, 0x90],
            interoperability: 1,
            kind: CardKind::Ordinary,
            reserved: [0; 49],
        },
        validity_years: 20,
        unlock: tsm_domain::se_application::UnlockPolicy::ClientOnly,
        holder: sp_tsm::HolderFile::Anonymous,
    };
    let product = sp_tsm::Product {
        application: transit,
        domain,
        access: Some(sp_tsm::DomainAccess {
            root: ceremony::issuer_domain_root(),
            key_version: ceremony::DOMAIN_KEY_VERSION,
            protocol: Protocol::Scp03(0x70),
            level: SecurityLevel::C_DECRYPTION_R_ENCRYPTION_C_MAC_R_MAC,
            kek: ceremony::shared_kek(),
        }),
        way: tsm_api::sp_tsm::peer::HandoverWay::LoadAndPersonalise,
        package: Some(sp_tsm::Package {
            load_file: cap.package_aid(),
            module: package.module,
            data_block: cap.load_file_data_block(tsm_capfile::Descriptor::Omit).into(),
            privileges: Privileges::NONE,
            memory: None,
        }),
        kind: sp_tsm::ProductKind::Purse(purse),
    };
    let greeting = sp_tsm::Product {
        application: published.greeting.parse()?,
        domain: tsm_se::profile::ISSUER_DOMAIN,
        access: None,
        way: tsm_api::sp_tsm::peer::HandoverWay::Nothing,
        package: None,
        kind: sp_tsm::ProductKind::Plain(sp_tsm::PlainApplication::default()),
    };
    Ok(sp_tsm::Settings {
        products: vec![product, greeting],
        top_up: sp_tsm::TopUpLimits {
            minimum: Fen::new(100),
            maximum: Fen::new(50_000),
            purse_maximum: Fen::new(100_000),
        },
        station: 1,
    })
}

/// Where the keys of the city's purses come from.
pub fn purse_keys() -> PurseKeys {
    PurseKeys {
        owner: ceremony::ISSUER.to_owned(),
        label: "city".to_owned(),
        version: 1,
        issuer: ceremony::ISSUER_FACTOR,
    }
}

fn serve_role(
    plan: &CityPlan,
    role: Role,
    router: axum::Router,
    listener: TcpListener,
    environment: Environment,
) -> Result<Server, RoleError> {
    let why = failed(role);
    let trust = plan.trust().map_err(|error| why(&error))?;
    let identity = plan.role(role).identity().map_err(|error| why(&error))?;
    let tls = identity.server_config(&trust).map_err(|error| why(&error))?;
    serve(listener, tls, router, environment, ServerLimits::default()).map_err(|error| why(&error))
}

/// An institution as its partners know it.
pub fn peer(role: &RolePlan) -> Result<Peer, Box<dyn std::error::Error>> {
    let public_key = role.message_key()?.signer()?.public_key();
    Ok(Peer {
        institution: role.institution.clone(),
        name: role.institution.clone(),
        certificate: role.identity()?.fingerprint(),
        verifier: MessageVerifier::from_point(public_key.as_bytes())?,
    })
}

/// A client of `to` that shows the certificate of `from` and signs with its key.
pub fn partner(
    plan: &CityPlan,
    from: Role,
    to: Role,
    environment: &Environment,
) -> Result<Client, Box<dyn std::error::Error>> {
    client_of(plan, from, plan.role(to).address, environment)
}

/// A client of whoever serves at `address`, with the certificate and signature of `from`.
pub fn client_of(
    plan: &CityPlan,
    from: Role,
    address: SocketAddr,
    environment: &Environment,
) -> Result<Client, Box<dyn std::error::Error>> {
    let caller = plan.role(from);
    let tls = caller.identity()?.client_config(&plan.trust()?)?;
    let transport = HttpsTransport::new(address, "localhost", tls, PARTNER_TIMEOUT)?;
    Ok(Client::new(Arc::new(transport)).signing(signing(caller, environment)?))
}

fn signing(caller: &RolePlan, environment: &Environment) -> Result<Signing, Box<dyn std::error::Error>> {
    Ok(Signing {
        institution: caller.institution.clone(),
        signer: Arc::new(caller.message_key()?.signer()?),
        clock: environment.clock.clone(),
        entropy: environment.entropy.clone(),
    })
}
