//! A whole city on this machine: every role on loopback, and the operator's desk that sets it up.
//!
//! ```text
//! plan       certificates, addresses, files          plan.rs
//! ceremony   every key, each to who needs it         ceremony.rs
//! desk       staff, batch, provider, domain, CAPs    desk.rs
//! roles      the servers                             roles.rs
//! payments   the payment platform and its merchant   payments.rs
//! host       one process for all, or one for each    host.rs
//! folder     where all of it is kept                 folder.rs
//! stores     each role's file, or tables             stores.rs
//! siblings   several processes of one role           siblings.rs
//! lines      the centre's files and metrics          lines.rs
//! centre     the books                               centre.rs
//! clerks     people of centre and issuer's desk      clerks.rs
//! fares      the first fare table                    first_fares.rs
//! ```
//!
//! The SE-TSM starts first, because the card issuer must be registered there before its own server
//! knows under which number it speaks. Together or apart, the roles talk through their public
//! interfaces only.

pub mod centre;
pub mod ceremony;
pub mod clerks;
pub mod desk;
pub mod first_fares;
pub mod folder;
pub mod gates;
pub mod host;
pub mod issuer_desk;
pub mod lines;
pub mod payments;
pub mod plan;
pub mod roles;
pub mod siblings;
pub mod stores;
pub mod terminals;
#[cfg(test)]
mod tests;

use std::time::Duration;

use sha1::{Digest as _, Sha1};
use tsm_api::client::{Client, HttpsTransport};
use tsm_api::pki;
use tsm_api::se_tsm::operator;
use tsm_domain::environment::Entropy;

use centre::Centre;
use ceremony::{CardMakerKeys, TerminalSecrets};
use desk::{Desk, NewApplication, OnboardedProvider};
use folder::CityFolder;
use host::{Apart, Host, Listeners, Together};
use plan::{CityPlan, Database, Published, Role};

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

/// A city whose roles run.
pub struct City {
    /// Its plan.
    pub plan: CityPlan,
    /// What its card maker was given.
    pub maker: CardMakerKeys,
    host: Box<dyn Host>,
}

/// Where the roles run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// All in this process.
    Together,
    /// Each in a process of its own.
    Apart,
}

/// How long a city's nights are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nights {
    /// As long as they are: the machine's clock.
    Real,
    /// The city's clock can be put ahead, for whoever wants to see a day end.
    PassQuickly,
}

/// Hears of each step of the set-up.
pub trait Progress {
    /// A step is done.
    fn done(&mut self, step: &str);
}

impl City {
    /// Brings up a new city in `folder`: plans it, holds the ceremony, starts the roles and lets the
    /// desk publish a transit card and an application without value. The roles keep what they know in
    /// files of the folder, or in the PostgreSQL at `database`.
    pub async fn bring_up(
        folder: &CityFolder,
        place: Place,
        database: Option<&str>,
        progress: &mut dyn Progress,
    ) -> Result<Self, CityError> {
        Self::bring_up_with(folder, place, database, Nights::Real, progress).await
    }

    /// The same, with nights as long as asked for.
    pub async fn bring_up_with(
        folder: &CityFolder,
        place: Place,
        database: Option<&str>,
        nights: Nights,
        progress: &mut dyn Progress,
    ) -> Result<Self, CityError> {
        let (_, entropy) = environment::real();
        let listeners = Listeners::anywhere().await.map_err(in_step("binding to loopback"))?;
        let mut secret = [0; 16];
        entropy.fill(&mut secret);
        let mut plan = CityPlan::new(folder.path(), hex::encode(secret), |role| listeners.address(role))
            .map_err(in_step("planning the city"))?;
        plan.lines = Some(listeners.lines().map_err(in_step("planning the city"))?);
        plan.clock = (nights == Nights::PassQuickly).then(|| folder.path().join("clock-ahead"));
        clerks::plan_people(&mut plan, &*entropy);
        plan.database = database.map(|url| Database { url: url.to_owned(), city: city_name(&*entropy) });
        let (maker, terminal_roots) =
            ceremony::hold(&mut plan, &entropy).map_err(in_step("holding the key ceremony"))?;
        folder.write_card_maker(&maker).map_err(in_step("keeping the card maker's keys"))?;
        let signing = terminal_keys(&mut plan).map_err(in_step("drawing the terminals' keys"))?;
        let secrets = TerminalSecrets::new(&terminal_roots, signing, &entropy);
        folder.write_terminals(&secrets).map_err(in_step("keeping the terminals' keys"))?;
        keep(folder, &plan)?;
        progress.done("certificates issued and every key drawn");
        let mut host: Box<dyn Host> = match place {
            Place::Together => Box::new(Together::on(listeners)),
            Place::Apart => Box::new(Apart::of(folder.clone(), listeners)),
        };
        host.start(&plan, Role::SeTsm).await?;
        progress.done("the SE-TSM serves");
        publish(&mut plan, progress).await?;
        keep(folder, &plan)?;
        for role in [Role::Clearing, Role::Payment, Role::SpTsm] {
            host.start(&plan, role).await?;
        }
        publish_receipt_key(folder, &mut plan).await?;
        clerks::set_up(&mut plan).await?;
        keep(folder, &plan)?;
        progress.done(
            "clearing centre, payment sandbox and SP-TSM serve, and the people of centre and issuer can log in",
        );
        let fares = gates::fares().map_err(in_step("writing the fare table"))?;
        first_fares::publish(&plan, &fares).await?;
        progress.done("the fare table: proposed by one clerk, published by another, signed by the centre");
        Ok(Self { plan, maker, host })
    }

    /// Starts a city again from the plan, keys and stores in `folder`, in this process. A shared database
    /// may have moved to `database`; a city on files stays on its files.
    pub async fn reopen(
        folder: &CityFolder,
        database: Option<&str>,
        progress: &mut dyn Progress,
    ) -> Result<Self, CityError> {
        let step = "opening the city again";
        let mut plan = CityPlan::read(&folder.plan()).map_err(in_step(step))?;
        match (&mut plan.database, database) {
            (Some(known), Some(url)) => url.clone_into(&mut known.url),
            (None, Some(_)) => {
                return Err(in_step(step)(
                    "the city keeps its books in files; start it without --database, or a new one in \
                     another folder",
                ));
            }
            (_, None) => {}
        }
        if plan.published.is_none() {
            return Err(in_step(step)(format!(
                "the set-up of the city in {} was broken off; remove the folder and start anew",
                folder.path().display()
            )));
        }
        let maker = folder.read_card_maker().map_err(in_step(step))?;
        let listeners = Listeners::of(&plan).await.map_err(in_step("binding to the city's ports"))?;
        for role in Role::ALL {
            plan.role_mut(role).address = listeners.address(role).map_err(in_step(step))?;
        }
        plan.lines = Some(listeners.lines().map_err(in_step(step))?);
        // An earlier version's city gets the people whom it has not.
        clerks::plan_people(&mut plan, &*environment::real().1);
        keep(folder, &plan)?;
        let mut host = Together::on(listeners);
        for role in Role::ALL {
            host.start(&plan, role).await?;
        }
        publish_receipt_key(folder, &mut plan).await?;
        clerks::set_up(&mut plan).await?;
        keep(folder, &plan)?;
        progress.done("every role serves again, from its own store and keys");
        Ok(Self { plan, maker, host: Box::new(host) })
    }

    /// Stops every role; requests that run are finished.
    pub async fn stop(mut self) {
        self.host.stop().await;
    }

    /// Stops every role, and removes what the city left in a shared database.
    pub async fn stop_and_forget(mut self) -> Result<(), CityError> {
        self.host.stop().await;
        stores::forget(&self.plan).await.map_err(in_step("removing the city's tables"))
    }
}

/// Riders check receipts with a key that they were given beforehand, not with one that comes along.
async fn publish_receipt_key(folder: &CityFolder, plan: &mut CityPlan) -> Result<(), CityError> {
    plan.receipt_key = Some(Centre::of(plan)?.receipt_key().await?);
    keep(folder, plan)
}

/// Draws the keys with which the city's terminals sign their batches; the centre knows the public halves.
fn terminal_keys(plan: &mut CityPlan) -> Result<Vec<String>, pki::PkiError> {
    let mut private = Vec::new();
    for terminal in terminals::numbers() {
        let key = pki::SigningIdentity::generate()?;
        plan.terminal_keys.insert(hex::encode(terminal), key.signer()?.public_key());
        private.push(key.to_pem().to_owned());
    }
    Ok(private)
}

fn keep(folder: &CityFolder, plan: &CityPlan) -> Result<(), CityError> {
    plan.write(&folder.plan()).map_err(in_step("keeping the plan"))?;
    folder.write_servers(&plan.servers()).map_err(in_step("keeping the servers' list"))
}

/// A name for the city's tables that no other city has.
fn city_name(entropy: &dyn Entropy) -> String {
    let mut random = [0; 6];
    entropy.fill(&mut random);
    format!("city_{}", hex::encode(random))
}

/// The SE-ID of the city's phone `number`.
pub fn se_id(number: u32) -> [u8; 8] {
    let [a, b, c, d] = SE_ID_PREFIX;
    let [e, f, g, h] = number.to_be_bytes();
    [a, b, c, d, e, f, g, h]
}

/// The way of the operator's people to the SE-TSM.
pub fn operator(plan: &CityPlan) -> Result<Client, CityError> {
    let tls =
        plan.trust().and_then(|trust| pki::wallet_config(&trust)).map_err(in_step("reaching the desk"))?;
    let transport = HttpsTransport::new(plan.se_tsm.address, "localhost", tls, Duration::from_secs(20));
    Ok(Client::new(std::sync::Arc::new(transport.map_err(in_step("reaching the desk"))?)))
}

/// Lets the operator's desk do its part, over the SE-TSM's public interface. Notes in the plan what
/// was published and under which number the card issuer speaks.
async fn publish(plan: &mut CityPlan, progress: &mut dyn Progress) -> Result<(), CityError> {
    let client = operator(plan)?;
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
        preset_load_files: ceremony::ROM_APPLETS
            .map(|(package, _)| operator::PresetLoadFile {
                aid: package.aid.into(),
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
