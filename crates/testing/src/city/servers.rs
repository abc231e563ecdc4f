//! The servers: each role's real code over a store in memory, killed at a commit and started again over what it
//! had stored.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use async_trait::async_trait;
use jiff::SignedDuration;
use tsm_api::client::{ClearingPeer, Client, SeTsmPeer, SpTsmPeer, SpTsmTerminal};
use tsm_api::problem::Problem;
use tsm_api::se_tsm::wallet::Agreement;
use tsm_api::sp_tsm::peer::HandoverWay;
use tsm_domain::Fen;
use tsm_domain::environment::{Clock, Entropy};
use tsm_domain::policy::Policy;
use tsm_domain::provider::Provider;
use tsm_epurse::Algorithm;
use tsm_epurse::file::{CardKind, Management};
use tsm_globalplatform::privileges::Privileges;
use tsm_globalplatform::security_level::SecurityLevel;
use tsm_keys::{KeyService, Protocol};
use tsm_services::conversation::Limits;
use tsm_services::payment::message::MessageKey;
use tsm_services::payment::{PaymentPlatform, SandboxParts, SandboxPlatform};
use tsm_services::payment_sandbox::{Merchant, PaymentSandbox};
use tsm_services::runtime::Environment;
use tsm_services::server::InProcess;
use tsm_services::{clearing, payment_sandbox, se_tsm, sp_tsm};
use tsm_storage::memory::{
    Crash, Faults, MemoryClearing, MemoryPayment, MemorySeTsm, MemorySpTsm, PlantedBug, SeTsmState,
};

use super::delivery::Centre;
use super::desk::{self, Published};
use super::executor::{Executor, MachineClock, Owner, Process};
use super::keys::{self, Keys, Organisation};
use super::line::Lines;
use super::lock;
use super::network::{Network, Role};
use super::planted::{Credulous, Plant};
use super::random::{Random, Stream};
use super::terminals;
use super::trace::{Event, Trace};

/// The pause between two rounds of the centre's own work.
const WORKED_EVERY: Duration = Duration::from_secs(30 * 60);

/// The organisations of the city.
pub struct Organisations {
    /// The operator.
    pub se_tsm: Organisation,
    /// The card issuer. Its number comes from its registration.
    pub sp_tsm: Organisation,
    /// The payment platform.
    pub payment: Organisation,
    /// The operator of the gates.
    pub gates: Organisation,
    /// The operator of shops and buses.
    pub shops: Organisation,
    /// The card issuer's halls.
    pub issuer_desk: Organisation,
}

/// What outlives a server's process.
struct Machine {
    store: Arc<Faults>,
    clock: Arc<MachineClock>,
    entropy: Arc<Stream>,
    owner: Mutex<Owner>,
}

/// The stores of the city.
pub struct Stores {
    /// The SE-TSM's.
    pub se_tsm: Arc<MemorySeTsm>,
    /// The SP-TSM's.
    pub sp_tsm: Arc<MemorySpTsm>,
    /// The clearing centre's.
    pub clearing: Arc<MemoryClearing>,
    /// The payment platform's.
    pub payment: Arc<MemoryPayment>,
}

/// A first morning at the operator's desk, which takes longest of all in a small world.
pub struct Morning {
    operator: SeTsmState,
    published: Published,
}

/// The servers.
pub struct Servers {
    /// Their stores, for the checks.
    pub stores: Stores,
    /// Their keys.
    pub keys: Keys,
    /// Who they are.
    pub organisations: Organisations,
    executor: Executor,
    network: Arc<Network>,
    machines: [Machine; 4],
    published: Mutex<Option<Published>>,
    /// The centre, while its process lives.
    centre: Mutex<Weak<clearing::Clearing>>,
    planted: Option<Plant>,
    kills: AtomicU64,
    holder_file: Mutex<sp_tsm::HolderFile>,
    /// What the sessions of the issuer's domain carry.
    level: Mutex<SecurityLevel>,
}

impl Servers {
    /// The servers of a city with these terminals. None runs yet.
    pub fn new(executor: &Executor, network: &Arc<Network>, seed: u64, planted: Option<Plant>) -> Self {
        let mut random = Random::new(seed, 100);
        let entropy: Arc<dyn Entropy> = Arc::new(Stream::new(seed, 101));
        let machine = |role: Role| Machine {
            store: Arc::default(),
            clock: Arc::new(MachineClock::new(executor.clone())),
            entropy: Arc::new(Stream::new(seed, 110 + role as u64)),
            owner: Mutex::new(executor.owner()),
        };
        let machines = [Role::SeTsm, Role::SpTsm, Role::Clearing, Role::Payment].map(machine);
        let faults = |role: Role| machines[role as usize].store.clone();
        let stores = Stores {
            se_tsm: Arc::new(MemorySeTsm::with_faults(faults(Role::SeTsm))),
            sp_tsm: Arc::new(MemorySpTsm::with_faults(faults(Role::SpTsm))),
            clearing: Arc::new(MemoryClearing::with_faults(faults(Role::Clearing))),
            payment: Arc::new(MemoryPayment::with_faults(faults(Role::Payment))),
        };
        match planted {
            Some(Plant::SkippedJournal) => stores.clearing.plant(PlantedBug::SkippedJournal),
            Some(Plant::ReusedTerminalNumber) => stores.sp_tsm.plant(PlantedBug::RepeatedTerminalNumber),
            Some(Plant::PaidContradiction) => stores.clearing.plant(PlantedBug::PaidContradiction),
            Some(
                Plant::RefundOnTimeout
                | Plant::BelievedBalance
                | Plant::SettledForBoth
                | Plant::OldFares
                | Plant::UnverifiedBatches,
            )
            | None => {}
        }
        let mut organisation = |number| Organisation::new(number, &mut random);
        let organisations = Organisations {
            se_tsm: organisation("SE-TSM"),
            sp_tsm: organisation("SP-TSM"),
            payment: organisation(terminals::PLATFORM),
            gates: organisation(terminals::RAIL),
            shops: organisation(terminals::SHOPS_AND_BUSES),
            issuer_desk: Organisation::new("ISSUER-DESK", &mut Random::new(seed, 102)),
        };
        let keys = Keys::draw(&entropy, &mut random);
        Self {
            keys,
            stores,
            organisations,
            executor: executor.clone(),
            network: network.clone(),
            machines,
            published: Mutex::new(None),
            centre: Mutex::default(),
            planted,
            kills: AtomicU64::new(0),
            holder_file: Mutex::default(),
            level: Mutex::new(SecurityLevel::C_DECRYPTION_R_ENCRYPTION_C_MAC_R_MAC),
        }
    }

    /// Brings all of them up, with the transit card published.
    pub async fn bring_up(self: &Arc<Self>) -> Result<(), Problem> {
        self.start(Role::SeTsm).await?;
        let client = Client::new(self.network.way(Role::SeTsm, None));
        let published = desk::publish(&client, &self.keys, &self.organisations.sp_tsm).await;
        *lock(&self.published) = Some(published.map_err(|error| error.to_problem())?);
        for role in [Role::Clearing, Role::Payment, Role::SpTsm] {
            self.start(role).await?;
        }
        Ok(())
    }

    /// Everybody to whom the centre owes what was spent.
    pub fn paid_operators(&self) -> [&Organisation; 3] {
        let [gates, shops] = self.operators();
        [gates, shops, &self.organisations.payment]
    }

    /// Lets the cards that are opened from now on hold their holder's number.
    pub fn name_holders(&self) {
        *lock(&self.holder_file) = sp_tsm::HolderFile::Number { document_type: 9 };
    }

    /// Lets the issuer's domains answer without a MAC from now on: their cards cannot prove what they hold.
    pub fn prove_nothing(&self) {
        *lock(&self.level) = SecurityLevel::C_DECRYPTION_C_MAC;
    }

    /// A client of the issuer's halls, at the issuer.
    pub fn desk_at_issuer(&self, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Client {
        let desk = &self.organisations.issuer_desk;
        let way = self.network.way(Role::SpTsm, Some(desk.certificate.clone()));
        Client::new(way).signing(desk.signing(clock, entropy))
    }

    /// How many commits a role's store has made.
    pub fn commits(&self, role: Role) -> u64 {
        self.machines[role as usize].store.commits()
    }

    /// Brings all of them up as they were after that morning.
    pub async fn bring_up_after(self: &Arc<Self>, morning: &Morning) -> Result<(), Problem> {
        self.stores.se_tsm.restore(morning.operator.clone());
        *lock(&self.published) = Some(morning.published.clone());
        for role in Role::ALL {
            self.start(role).await?;
        }
        Ok(())
    }

    /// What the operator's desk has done, for other worlds of the same seed.
    pub fn morning(&self) -> Option<Morning> {
        let published = lock(&self.published).clone()?;
        Some(Morning { operator: self.stores.se_tsm.backup(), published })
    }

    /// How often a server was killed.
    pub fn kills(&self) -> u64 {
        self.kills.load(Ordering::Relaxed)
    }

    /// Kills a role's process at one of its next commits.
    pub fn plan_crash(&self, role: Role, commits: u64, crash: Crash) {
        let store = &self.machines[role as usize].store;
        store.crash_at(store.commits() + commits, crash);
    }

    /// Forgets planned crashes.
    pub fn cancel_crashes(&self) {
        for machine in &self.machines {
            if !machine.store.is_down() {
                machine.store.restart();
            }
        }
    }

    /// Sets a machine's clock wrong.
    pub fn set_clock(&self, role: Role, ahead: SignedDuration) {
        self.machines[role as usize].clock.set_ahead(ahead);
    }

    /// The role whose process died at this commit, if the task that ran was one of its own.
    pub fn died(&self, owner: Owner) -> Option<Role> {
        Role::ALL.into_iter().find(|role| {
            let machine = &self.machines[*role as usize];
            machine.store.is_down() && *lock(&machine.owner) == owner
        })
    }

    /// Buries the process of a role: its tasks are gone and nobody listens.
    pub fn bury(&self, role: Role) {
        self.kills.fetch_add(1, Ordering::Relaxed);
        self.network.unhost(role);
        let machine = &self.machines[role as usize];
        let dead = std::mem::replace(&mut *lock(&machine.owner), self.executor.owner());
        self.executor.kill(dead);
    }

    /// Starts a role over what it had stored.
    pub async fn start(self: &Arc<Self>, role: Role) -> Result<(), Problem> {
        let machine = &self.machines[role as usize];
        machine.store.restart();
        let owner = *lock(&machine.owner);
        let environment = self.environment(role, owner);
        let router = match role {
            Role::SeTsm => self.se_tsm(environment).await?,
            Role::SpTsm => self.sp_tsm(environment)?,
            Role::Clearing => self.clearing(environment)?,
            Role::Payment => self.payment(environment),
        };
        self.network.host(role, InProcess::new(router), owner, machine.store.clone());
        Ok(())
    }

    /// Starts a role again after a while, as a supervisor does.
    pub fn restart_later(self: &Arc<Self>, role: Role, after: Duration, trace: &Arc<Trace>) {
        let (servers, trace) = (self.clone(), trace.clone());
        self.executor.spawn(self.executor.owner(), async move {
            servers.executor.sleep(after).await;
            let started = servers.start(role).await;
            debug_assert!(started.is_ok(), "{started:?}");
            trace.city(Event::Started(role));
        });
    }

    /// The operators of terminals.
    pub fn operators(&self) -> [&Organisation; 2] {
        [&self.organisations.gates, &self.organisations.shops]
    }

    /// The operators' clients at the clearing centre.
    pub fn centre(self: &Arc<Self>, clock: &Arc<dyn Clock>, entropy: &Arc<dyn Entropy>) -> Centre {
        let [rail, shops] = self.operators().map(|operator| {
            let way = self.network.way(Role::Clearing, Some(operator.certificate.clone()));
            ClearingPeer::new(Client::new(way).signing(operator.signing(clock.clone(), entropy.clone())))
        });
        Centre { rail, shops, lines: Lines(self.clone()) }
    }

    /// The card issuer's own client at the clearing centre.
    pub(super) fn issuer_at_centre(&self) -> ClearingPeer {
        ClearingPeer::new(self.link(&self.issuer(), Role::SpTsm, Role::Clearing))
    }

    /// The centre's process, with whose tasks it works; none while it is down.
    pub(super) fn centre_at_work(&self) -> Option<(Arc<clearing::Clearing>, Owner)> {
        let machine = &self.machines[Role::Clearing as usize];
        let centre = lock(&self.centre).upgrade().filter(|_| !machine.store.is_down())?;
        Some((centre, *lock(&machine.owner)))
    }

    /// Whether things go wrong at this time.
    pub(super) fn may_fail(&self) -> bool {
        !self.network.is_quiet()
    }

    /// Runs a task of a process.
    pub(super) fn spawn_for(&self, owner: Owner, task: impl Future<Output = ()> + Send + 'static) {
        self.executor.spawn(owner, task);
    }

    /// A client of a machine that takes cash, at the card issuer.
    pub fn kiosk_at_issuer(&self, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> SpTsmTerminal {
        let gates = &self.organisations.gates;
        let way = self.network.way(Role::SpTsm, Some(gates.certificate.clone()));
        SpTsmTerminal::new(Client::new(way).signing(gates.signing(clock, entropy)))
    }

    fn environment(&self, role: Role, owner: Owner) -> Environment {
        let machine = &self.machines[role as usize];
        let process = Arc::new(Process::new(self.executor.clone(), owner));
        Environment {
            clock: machine.clock.clone(),
            entropy: machine.entropy.clone(),
            spawner: process.clone(),
            timer: process,
        }
    }

    /// A client of `to` in the name of an organisation that runs on the machine of `from`.
    pub(super) fn link(&self, organisation: &Organisation, from: Role, to: Role) -> Client {
        let machine = &self.machines[from as usize];
        let signing = organisation.signing(machine.clock.clone(), machine.entropy.clone());
        Client::new(self.network.way(to, Some(organisation.certificate.clone()))).signing(signing)
    }

    /// The card issuer, under the number that it was registered with.
    fn issuer(&self) -> Organisation {
        let number = lock(&self.published).as_ref().map(|published| published.institution.clone());
        Organisation { number: number.unwrap_or_default(), ..self.organisations.sp_tsm.clone() }
    }

    async fn se_tsm(&self, environment: Environment) -> Result<axum::Router, Problem> {
        let link = SpTsmPeer::new(self.link(&self.organisations.se_tsm, Role::SeTsm, Role::SpTsm));
        let service = se_tsm::SeTsm::new(se_tsm::Parts {
            store: self.stores.se_tsm.clone(),
            keys: Arc::new(self.keys.se_tsm.clone()),
            environment,
            signer: self.organisations.se_tsm.signer.clone(),
            sp_tsms: Arc::new(OnlySpTsm(link)),
            settings: se_tsm_settings(),
        });
        service.install_operator("The operator").await?;
        let (account, password) = desk::ADMINISTRATOR;
        let account = account.parse().expect("the administrator's account is a word");
        let first = se_tsm::FirstAdministrator { account, password: password.into() };
        service.install_administrator(&first).await?;
        Ok(se_tsm::routes(service).into_router())
    }

    fn sp_tsm(&self, environment: Environment) -> Result<axum::Router, Problem> {
        let issuer = self.issuer();
        let link = |to| self.link(&issuer, Role::SpTsm, to);
        let mut keys: Arc<dyn KeyService> = Arc::new(self.keys.sp_tsm.clone());
        if self.planted == Some(Plant::BelievedBalance) {
            keys = Arc::new(Credulous(keys));
        }
        let payment_environment = environment.clone();
        let service = sp_tsm::SpTsm::new(sp_tsm::Parts {
            store: self.stores.sp_tsm.clone(),
            keys,
            environment,
            partners: sp_tsm::Partners {
                se_tsm: self.organisations.se_tsm.peer(),
                top_up_terminals: vec![self.organisations.gates.peer()],
            },
            links: sp_tsm::Links {
                se_tsm: SeTsmPeer::new(link(Role::SeTsm)),
                payment: self.payment_platform(&issuer.number, payment_environment),
                centre: ClearingPeer::new(link(Role::Clearing)),
            },
            settings: self.sp_tsm_settings(),
            limits: Limits::default(),
        });
        let service = service.expect("the city's settings fit each other");
        service.admit_desk(self.organisations.issuer_desk.peer());
        Ok(sp_tsm::routes(service).into_router())
    }

    fn sp_tsm_settings(&self) -> sp_tsm::Settings {
        let domain = lock(&self.published).as_ref().and_then(|published| published.domain.to_aid().ok());
        let purse = sp_tsm::PurseProduct {
            keys: keys::purse_keys(),
            number_prefix: keys::NUMBER_PREFIX.into(),
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
            holder: *lock(&self.holder_file),
        };
        let product = sp_tsm::Product {
            application: keys::TRANSIT,
            domain: domain.expect("the SP-TSM starts after the desk has published its domain"),
            access: Some(sp_tsm::DomainAccess {
                root: keys::domain_root(),
                key_version: keys::DOMAIN_KEY_VERSION,
                protocol: Protocol::Scp03(0x70),
                level: *lock(&self.level),
                kek: keys::shared_kek(),
            }),
            way: HandoverWay::LoadAndPersonalise,
            package: Some(sp_tsm::Package {
                load_file: keys::TRANSIT_PACKAGE,
                module: tsm_se::applets::TRANSIT_PURSE,
                data_block: self.keys.data_block(),
                privileges: Privileges::NONE,
                memory: None,
            }),
            kind: sp_tsm::ProductKind::Purse(purse),
        };
        sp_tsm::Settings {
            products: vec![product],
            top_up: sp_tsm::TopUpLimits {
                minimum: Fen::new(100),
                maximum: Fen::new(50_000),
                purse_maximum: Fen::new(100_000),
            },
            station: 1,
        }
    }

    fn clearing(&self, environment: Environment) -> Result<axum::Router, Problem> {
        let issuer = self.issuer().number;
        let duties = clearing::Duties {
            platforms: vec![self.payment_platform(&issuer, environment.clone())],
            ..clearing::Duties::of_issuer(
                keys::NUMBER_PREFIX,
                issuer.parse().expect("an institution's number"),
            )
        };
        let institutions = self.operators().map(Organisation::peer);
        let terminals = self.operators().map(|operator| self.terminals_of(&operator.number));
        let [rail, shops] = terminals;
        let service = clearing::Clearing::new(clearing::Parts {
            store: self.stores.clearing.clone(),
            keys: Arc::new(self.keys.clearing.clone()),
            environment,
            sealing_key: keys::parked_cards_key(),
            institutions: institutions
                .into_iter()
                .chain([self.issuer().peer(), self.organisations.payment.peer()])
                .collect(),
            issuers: vec![(keys::NUMBER_PREFIX.into(), keys::purse_keys())],
            duties,
            terminals: terminals::in_their_places(rail.and(shops).and(self.online_terminal())),
        });
        clearing::start_jobs(&service, WORKED_EVERY);
        service.start_collection();
        *lock(&self.centre) = Arc::downgrade(&service);
        Ok(clearing::routes(service).into_router())
    }

    /// An operator's terminals, as the centre knows them.
    fn terminals_of(&self, operator: &str) -> clearing::Terminals {
        let numbers = terminals::keyed_of(operator).map(|(number, _)| number);
        let known = clearing::Terminals::of(operator, numbers);
        if self.planted == Some(Plant::UnverifiedBatches) {
            return known;
        }
        let keyed = terminals::keyed_of(operator);
        keyed.fold(known, |known, (number, key)| known.with_key(number, key.verifier.clone()))
    }

    fn payment(&self, environment: Environment) -> axum::Router {
        let merchant = Merchant {
            institution: self.issuer().number,
            keys: vec![self.keys.merchant.clone()],
            link: self.network.way(Role::SpTsm, None),
        };
        let service = PaymentSandbox::new(payment_sandbox::Parts {
            store: self.stores.payment.clone(),
            keys: Arc::new(self.keys.payment.clone()),
            key_owner: keys::PLATFORM.into(),
            environment,
            merchants: vec![merchant, self.shop()],
            faults: payment_sandbox::Faults::doubled(),
            lifetime: SignedDuration::from_mins(30),
            cards: Some(self.card_acceptance()),
        });
        payment_sandbox::routes(service.expect("the platform's keys were drawn")).into_router()
    }

    /// The payment platform as the card issuer sees it.
    fn payment_platform(&self, merchant: &str, environment: Environment) -> Arc<dyn PaymentPlatform> {
        let platform = SandboxPlatform::new(SandboxParts {
            transport: self.network.way(Role::Payment, None),
            merchant: merchant.into(),
            key: MessageKey::open(Arc::new(self.keys.sp_tsm.clone()), keys::merchant_key())
                .expect("the merchant's key was drawn"),
            platform_keys: vec![self.keys.platform.to_wire()],
            environment,
        });
        Arc::new(platform.expect("the platform's keys were drawn"))
    }
}

fn se_tsm_settings() -> se_tsm::Settings {
    se_tsm::Settings {
        operator: "OPERATOR".parse().expect("the operator's number is a word"),
        agreement: Agreement {
            version: "2026-1".into(),
            text_en: "Whoever holds the phone can spend what is on its cards.".into(),
            text_zh: "持有手机者即可使用卡内余额。".into(),
        },
        session_lifetime: SignedDuration::from_mins(30),
        staff_session_lifetime: SignedDuration::from_hours(8),
        ticket_lifetime: SignedDuration::from_mins(30),
        policy: Policy::default(),
        token_key: keys::token_key(),
        sealing_key: keys::sealing_key(),
        rid: [0xA0, 0x00, 0x00, 0x06, 0x32],
        page_size: 20,
        limits: Limits::default(),
    }
}

/// The one SP-TSM of the city.
struct OnlySpTsm(SpTsmPeer);

#[async_trait]
impl se_tsm::SpTsms for OnlySpTsm {
    async fn of(&self, _provider: &Provider) -> Result<SpTsmPeer, Problem> {
        Ok(self.0.clone())
    }
}
