//! A whole city on this machine: every role on loopback, and the operator's desk that sets it up.
//!
//! ```text
//! plan       certificates, addresses, files          plan.rs
//! ceremony   every key, each to who needs it         ceremony.rs
//! desk       staff, batch, provider, domain, CAPs    desk.rs
//! roles      the servers                             roles.rs
//! ```
//!
//! The SE-TSM starts first, because the card issuer must be registered there before its own server
//! knows under which number it speaks. Together or apart, the roles talk through their public
//! interfaces only.

pub mod ceremony;
pub mod desk;
pub mod plan;
pub mod roles;
#[cfg(test)]
mod tests;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use sha1::{Digest as _, Sha1};
use tokio::net::TcpListener;
use tsm_api::client::{Client, HttpsTransport};
use tsm_api::pki;
use tsm_api::se_tsm::operator;
use tsm_services::server::Server;

use ceremony::{CardMakerKeys, KeyServices, TerminalRoots};
use desk::{Desk, NewApplication, OnboardedProvider};
use plan::{CityPlan, Published, Role};

use crate::environment;
use crate::packages::{self, Package};

/// The instance AID of the city's transit card: the T-Union purse, the city's code, sequence 1
/// (B-8.3.2, table 2).
pub const TRANSIT_AID: [u8; 16] =
    [0xA0, 0x00, 0x00, 0x06, 0x32, 0x01, 0x01, 0x05, 0x10, 0x00, 0x09, 0x99, 0x00, 0x01, 0x00, 0x01];

/// The SE-IDs of the city's phones: this prefix and four bytes.
const SE_ID_PREFIX: [u8; 4] = [0x09, 0x99, 0x00, 0x01];

/// Why a city did not come up. The sentence says which step failed and why.
#[derive(Debug, thiserror::Error)]
#[error("{step}: {reason}")]
pub struct CityError {
    step: &'static str,
    reason: String,
}

/// Names the step that an error belongs to.
pub fn in_step<E: std::fmt::Display>(step: &'static str) -> impl FnOnce(E) -> CityError {
    move |error| CityError { step, reason: error.to_string() }
}

/// A city whose roles run in this process.
pub struct City {
    /// Its plan.
    pub plan: CityPlan,
    /// What its card maker was given.
    pub maker: CardMakerKeys,
    /// What its terminals were given.
    pub terminal_roots: TerminalRoots,
    servers: Vec<Server>,
}

/// Hears of each step of the set-up.
pub trait Progress {
    /// A step is done.
    fn done(&mut self, step: &str);
}

impl City {
    /// Brings up a city in `folder`: plans it, holds the ceremony, starts the roles and lets the desk
    /// publish a transit card and an application without value.
    pub async fn bring_up(folder: &Path, progress: &mut dyn Progress) -> Result<Self, CityError> {
        let (_, entropy) = environment::real();
        let mut listeners = Listeners::bind().await.map_err(in_step("binding to loopback"))?;
        let mut secret = [0; 16];
        entropy.fill(&mut secret);
        let mut plan = CityPlan::new(folder, hex::encode(secret), |role| listeners.address(role))
            .map_err(in_step("planning the city"))?;
        let (keys, maker, terminal_roots) =
            ceremony::hold(&plan, &entropy).map_err(in_step("holding the key ceremony"))?;
        progress.done("certificates issued and every key drawn");
        let KeyServices { se_tsm, sp_tsm, clearing } = keys;
        let mut servers = Vec::new();
        let server = roles::start_se_tsm(&plan, se_tsm, listeners.take(Role::SeTsm)).await;
        servers.push(server.map_err(in_step("starting the SE-TSM"))?);
        progress.done("the SE-TSM serves");
        publish(&mut plan, progress).await?;
        let server = roles::start_clearing(&plan, clearing, listeners.take(Role::Clearing)).await;
        servers.push(server.map_err(in_step("starting the clearing centre"))?);
        let server = roles::start_payment(&plan, listeners.take(Role::Payment)).await;
        servers.push(server.map_err(in_step("starting the payment sandbox"))?);
        let published = plan.published.clone().expect("the desk has just published");
        let server = roles::start_sp_tsm(&plan, &published, sp_tsm, listeners.take(Role::SpTsm)).await;
        servers.push(server.map_err(in_step("starting the SP-TSM"))?);
        progress.done("clearing centre, payment sandbox and SP-TSM serve");
        Ok(Self { plan, maker, terminal_roots, servers })
    }

    /// Stops every role; requests that run are finished.
    pub async fn stop(self) {
        for server in self.servers {
            server.stop().await;
        }
    }
}

/// The SE-ID of the city's phone `number`.
pub fn se_id(number: u32) -> [u8; 8] {
    let [a, b, c, d] = SE_ID_PREFIX;
    let [e, f, g, h] = number.to_be_bytes();
    [a, b, c, d, e, f, g, h]
}

/// Lets the operator's desk do its part, over the SE-TSM's public interface. Notes in the plan what
/// was published and under which number the card issuer speaks.
pub async fn publish(plan: &mut CityPlan, progress: &mut dyn Progress) -> Result<(), CityError> {
    let tls =
        plan.trust().and_then(|trust| pki::wallet_config(&trust)).map_err(in_step("reaching the desk"))?;
    let transport = HttpsTransport::new(plan.se_tsm.address, "localhost", tls, Duration::from_secs(20));
    let client = Client::new(std::sync::Arc::new(transport.map_err(in_step("reaching the desk"))?));
    let desk = Desk::open(&client, &roles::first_login(plan)).await.map_err(in_step("staffing the desk"))?;
    let batch = desk.add_batch(&batch()).await.map_err(in_step("entering the batch"))?;
    progress.done("the operator's staff is at its desk and a batch of secure elements is entered");
    let provider = new_provider(plan)?;
    let provider =
        desk.onboard_provider(&client, &provider).await.map_err(in_step("onboarding the provider"))?;
    plan.sp_tsm.institution.clone_from(&provider.institution);
    progress.done("Harbour Transit registered, approved by a second person, and logged in");
    let domain = desk.define_domain(&new_domain(&provider)).await.map_err(in_step("defining the domain"))?;
    progress.done("its security domain defined and audited");
    let transit = transit_application(domain.clone())?;
    let transit = desk.publish(&provider.portal, transit, vec![batch.clone()]).await;
    let transit = transit.map_err(in_step("publishing the transit card"))?;
    progress.done("the transit card uploaded as a CAP, audited, tested, published");
    let greeting = desk.publish(&provider.portal, greeting_application()?, vec![batch]).await;
    let greeting = greeting.map_err(in_step("publishing the greeting card"))?;
    progress.done("the greeting card too");
    let domain = domain.to_string();
    plan.published = Some(Published { domain, transit: transit.to_string(), greeting: greeting.to_string() });
    Ok(())
}

fn batch() -> operator::NewBatch {
    operator::NewBatch {
        name: "software-2026".to_owned(),
        first_se_id: se_id(0).to_vec().into(),
        last_se_id: se_id(u32::MAX).to_vec().into(),
        form: operator::SeForm::Embedded,
        chip: "OpenTSM software SE".to_owned(),
        platform_version: "1.0".to_owned(),
        java_version: "3.0.5".to_owned(),
        free_bytes: 400_000,
        isd_aid: tsm_se::profile::ISSUER_DOMAIN.into(),
        secure_channel: secure_channel(ceremony::CARD_KEY_VERSION),
        isd_key: ceremony::card_keys().to_string(),
        initial_domain_key: ceremony::first_domain_root().to_string(),
        preset_load_files: vec![operator::PresetLoadFile {
            aid: packages::PPSE.aid.into(),
            memory: operator::PresetMemory::ReadOnly,
        }],
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

fn new_provider(plan: &CityPlan) -> Result<operator::NewProvider, CityError> {
    let step = "reading the card issuer's certificate";
    let identity = plan.sp_tsm.identity().map_err(in_step(step))?;
    let signer = plan.sp_tsm.message_key().and_then(|key| key.signer()).map_err(in_step(step))?;
    Ok(operator::NewProvider {
        name: "Harbour Transit".to_owned(),
        kind: "transit".to_owned(),
        registration_number: "0999-2026".to_owned(),
        certificate_sha256: identity.fingerprint(),
        signature_key: signer.public_key(),
        sp_tsm_address: format!("localhost:{}", plan.sp_tsm.address.port()),
    })
}

fn new_domain(provider: &OnboardedProvider) -> operator::NewDomain {
    operator::NewDomain {
        provider: provider.provider.clone(),
        name: "Harbour Transit".to_owned(),
        mode: operator::DomainMode::AuthorizedManagement,
        space: operator::DomainSpace::NotFixed,
        deletion_rule: operator::DomainDeletionRule::Separately,
        key_period_days: 365,
        secure_channel: secure_channel(ceremony::DOMAIN_KEY_VERSION),
        documents: vec!["application for a security domain, signed".to_owned()],
    }
}

fn transit_application(domain: tsm_api::ids::DomainId) -> Result<NewApplication, CityError> {
    let definition = operator::ApplicationDefinition {
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
            class: "transportation".to_owned(),
            icon: "transit".to_owned(),
            charging: "free".to_owned(),
            introduction: "Rides every line of the harbour city. 乘坐港湾城市的所有线路。".to_owned(),
            companion: None,
        },
    };
    new_application(
        "Harbour Transit Card",
        packages::TRANSIT_PURSE,
        Some(TRANSIT_AID.to_vec()),
        definition,
        1,
    )
}

fn greeting_application() -> Result<NewApplication, CityError> {
    let definition = operator::ApplicationDefinition {
        domain: None,
        managing_domain: operator::ManagingDomain::Issuer,
        personalisation: operator::PersonalisationWay::None,
        opening: operator::Opening::NotNeeded,
        deletion_mode: operator::DeletionMode::Full,
        value: operator::ValueBearing::NoValue,
        unlock: operator::UnlockPolicy::HallOrClient,
        install_parameters: Vec::new().into(),
        privileges: Vec::new().into(),
        instance_bytes: 256,
        dap_signature: None,
        catalogue: operator::CatalogueText {
            class: "social".to_owned(),
            icon: "greeting".to_owned(),
            charging: "free".to_owned(),
            introduction: "Says hello at any reader. 向任何读卡器问好。".to_owned(),
            companion: None,
        },
    };
    new_application("Greeting Card", packages::GREETING_CARD, None, definition, 2)
}

fn new_application(
    name: &str,
    package: Package,
    instance_aid: Option<Vec<u8>>,
    definition: operator::ApplicationDefinition,
    recommendation: u32,
) -> Result<NewApplication, CityError> {
    let cap = package.cap_file().map_err(in_step("building a CAP file"))?;
    Ok(NewApplication {
        name: name.to_owned(),
        version: "1.0.0".to_owned(),
        sha1: Sha1::digest(&cap).into(),
        cap,
        instance_aid: instance_aid.map(Into::into),
        definition,
        recommendation,
    })
}

/// A listening socket for each role, so that no port is lost between planning and serving.
struct Listeners(Vec<(Role, TcpListener)>);

impl Listeners {
    async fn bind() -> std::io::Result<Self> {
        let mut bound = Vec::new();
        for role in Role::ALL {
            bound.push((role, TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?));
        }
        Ok(Self(bound))
    }

    fn address(&mut self, role: Role) -> std::io::Result<SocketAddr> {
        let found = self.0.iter().find(|(of, _)| *of == role);
        found.map_or_else(|| Err(std::io::ErrorKind::NotFound.into()), |(_, listener)| listener.local_addr())
    }

    fn take(&mut self, role: Role) -> TcpListener {
        let index = self.0.iter().position(|(of, _)| *of == role);
        self.0.swap_remove(index.expect("each role is started once")).1
    }
}
