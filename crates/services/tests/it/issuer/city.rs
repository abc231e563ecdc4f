//! A small city: an SP-TSM, a clearing centre and a payment sandbox over TLS, a stand-in for the SE-TSM that
//! creates domains and hands conversations over, and phones with software SEs.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use jiff::SignedDuration;
use tokio::net::TcpListener;
use tsm_api::client::{
    ClearingPeer, Client, HttpsTransport, PaymentUser, SeTsmPeer, Signing, SpTsmDesk, SpTsmPeer,
    SpTsmTerminal, SpTsmWallet, Transport, TransportError, WireReply, WireRequest,
};
use tsm_api::conversation::ApplicationState;
use tsm_api::payment::PaymentSignature;
use tsm_api::pki::{self, SigningIdentity, TlsIdentity};
use tsm_api::problem::{Problem, ProblemCode};
use tsm_api::se_tsm::peer::{self as se_peer, Notice, OperationResult, StateReply};
use tsm_api::signature::{Assertion, MessageVerifier, SoftwareSigner};
use tsm_api::sp_tsm::peer::HandoverWay;
use tsm_api::{Access, HexBytes};
use tsm_capfile::{CapBuilder, Descriptor};
use tsm_domain::environment::Clock as _;
use tsm_domain::{Fen, TerminalNumber};
use tsm_epurse::file::Management;
use tsm_epurse::{Algorithm, IssuerFactor, Key, KeyRole, KeyVersion};
use tsm_globalplatform::privileges::Privileges;
use tsm_globalplatform::security_level::SecurityLevel;
use tsm_iso7816::Aid;
use tsm_keys::software::DEVELOPMENT_CARD_KEY;
use tsm_keys::{
    DomainKeySource, KeyAlgorithm, KeyPurpose, KeyReference, KeySetReference, Protocol, SessionRequest,
    SoftwareKeyService,
};
use tsm_services::conversation::Limits;
use tsm_services::payment::message::{MessageKey, RegisteredKey, draw_key};
use tsm_services::payment::{PaymentPlatform, SandboxParts, SandboxPlatform};
use tsm_services::payment_sandbox::{self, CardAcceptance, Merchant, PaymentSandbox};
use tsm_services::purse::PurseKeys;
use tsm_services::runtime::Environment;
use tsm_services::server::{Credentials, Peer, Routes, Server, ServerLimits, Service, serve};
use tsm_services::siblings::Siblings;
use tsm_services::sp_tsm::{
    self, DomainAccess, HolderFile, Links, Package, Partners, PlainApplication, Product, ProductKind,
    PurseProduct, Settings, SpTsm, TopUpLimits,
};
use tsm_services::{clearing, purse};
use tsm_storage::clerks::ClerkRole;
use tsm_storage::memory::{Faults, MemoryClearing, MemoryPayment, MemorySpTsm};
use tsm_terminal::RootKeys;
use zeroize::Zeroizing;

use crate::centre_clerks::session_of;
use crate::merchants::{PLATFORM, Signer, Way};
use crate::support::{Net, SystemClock, SystemEntropy, TIMEOUT, environment};

pub const ISD: Aid = Aid::constant(&[0xA0, 0, 0, 1, 0x51, 0, 0, 0]);
pub const SSD: Aid = Aid::constant(&[0xF0, 0x4F, 0x54, 0x53, 0x4D, 0x53, 0x44, 0x01]);
pub const PACKAGE: Aid = Aid::constant(&[0xF0, 0x4F, 0x54, 0x53, 0x4D, 0x01, 0x01]);
pub const MODULE: Aid = Aid::constant(&[0xF0, 0x4F, 0x54, 0x53, 0x4D, 0x01, 0x01, 0x01]);
pub const PURSE: Aid = Aid::constant(&[0xA0, 0, 0, 6, 0x32, 1, 1, 5, 0x10, 0, 0x91, 0x56, 0, 0, 0x14, 0xA1]);
pub const GREETING: Aid = Aid::constant(&[0xF0, 0x4F, 0x54, 0x53, 0x4D, 0x01, 0x05, 0x01]);
pub const GATE: [u8; 6] = [0x09, 0x99, 0, 0, 0, 0x42];
/// The payment platform's terminal.
pub const ONLINE: [u8; 6] = [0x09, 0x99, 0, 0, 0, 0x91];
const NUMBER_PREFIX: &str = "31049990";
const KEK: &str = "key-encryption/provider/operator/1";
const SEALING: &str = "sealing/centre/parked-cards/1";
const ROOT: &str = "domain-root/provider/domain/1";

/// An organisation: its certificate and its key for messages.
pub struct Organisation {
    pub name: &'static str,
    pub identity: TlsIdentity,
    pub signer: SoftwareSigner,
}

impl Organisation {
    fn new(net: &Net, name: &'static str) -> Self {
        let identity = net.authority.issue(name).unwrap();
        Self { name, identity, signer: SigningIdentity::generate().unwrap().signer().unwrap() }
    }

    pub fn peer(&self) -> Peer {
        Peer {
            institution: self.name.into(),
            name: self.name.into(),
            certificate: self.identity.fingerprint(),
            verifier: MessageVerifier::from_point(self.signer.public_key().as_bytes()).unwrap(),
        }
    }

    pub fn signing(&self) -> Signing {
        Signing {
            institution: self.name.into(),
            signer: Arc::new(self.signer.clone()),
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
        }
    }
}

/// What the stand-in for the SE-TSM was told.
#[derive(Default)]
pub struct SeTsmStub {
    pub results: Mutex<Vec<OperationResult>>,
    pub notices: Mutex<Vec<Notice>>,
    /// Cards that the phone is to delete.
    pub unsubscribed: Mutex<Vec<Notice>>,
    /// What it says of an application on a secure element.
    pub state: Mutex<Option<ApplicationState>>,
}

#[async_trait]
impl Service for SeTsmStub {
    type Caller = ();

    async fn authenticate(&self, access: Access, credentials: Credentials<'_>) -> Result<(), Problem> {
        match (access, credentials.certificate) {
            (Access::Peer, Some(_)) => Ok(()),
            _ => Err(ProblemCode::PeerCertificateRequired.into()),
        }
    }
}

/// A merchant's server that keeps what it is sent.
#[derive(Default)]
pub struct Inbox(pub Mutex<Vec<WireRequest>>);

#[async_trait]
impl Transport for Inbox {
    async fn send(&self, request: WireRequest) -> Result<WireReply, TransportError> {
        self.0.lock().unwrap().push(request);
        Ok(WireReply { status: 204, headers: Vec::new(), body: Vec::new(), server_timing: None })
    }
}

fn purchase_root() -> KeyReference {
    KeyReference::new(KeyPurpose::Purse(KeyRole::Purchase), "provider", "city", 1).unwrap()
}

/// The roles' addresses.
struct Places {
    sp: SocketAddr,
    payment: SocketAddr,
    centre: SocketAddr,
    se: SocketAddr,
}

/// The city.
pub struct City {
    pub net: Net,
    pub operator: SoftwareKeyService,
    pub provider: SoftwareKeyService,
    /// What goes into the PSAMs of terminals.
    pub terminal_roots: RootKeys,
    pub faults: Arc<Faults>,
    pub store: Arc<MemorySpTsm>,
    pub centre_faults: Arc<Faults>,
    pub centre_store: Arc<MemoryClearing>,
    pub payment_store: Arc<MemoryPayment>,
    /// A merchant at the payment platform who takes transit cards, and what its server was sent.
    pub shop: Signer,
    pub shop_inbox: Arc<Inbox>,
    pub se_tsm: Organisation,
    pub sp_tsm: Organisation,
    pub payment: Organisation,
    /// The payment platform's key.
    pub platform: Signer,
    merchant: RegisteredKey,
    /// The platform's way to the SP-TSM.
    pub to_sp: Arc<Way>,
    /// The platform's way to the centre.
    pub payment_to_centre: Arc<Way>,
    sandbox: Option<Arc<PaymentSandbox>>,
    payment_server: Option<Server>,
    pub gate_operator: Organisation,
    /// The issuer's halls and customer service, and the sessions of those who sit there.
    pub desk: Organisation,
    desk_sessions: BTreeMap<&'static str, String>,
    /// The SP-TSM's way to the centre.
    pub to_centre: Arc<Way>,
    pub told: Arc<SeTsmStub>,
    clearing_keys: SoftwareKeyService,
    data_block: Arc<[u8]>,
    /// What its cards hold about their holder, from the SP-TSM's next start on.
    pub holder_file: HolderFile,
    /// The security level of its sessions with its domain, from the SP-TSM's next start on.
    pub level: SecurityLevel,
    places: Places,
    servers: Vec<Server>,
    sp_server: Option<Server>,
}

/// Who sits at the issuer's desk.
const PEOPLE: [(&str, ClerkRole); 4] = [
    ("hall-1", ClerkRole::Hall),
    ("hall-2", ClerkRole::Hall),
    ("service-1", ClerkRole::CustomerService),
    ("root-1", ClerkRole::Administrator),
];

/// The issuer's desk, with the people who are logged in there.
pub struct AtDesk {
    client: Client,
    sessions: BTreeMap<&'static str, String>,
}

impl AtDesk {
    /// The desk's calls as this person; as nobody when there is no such person.
    pub fn by(&self, person: &str) -> SpTsmDesk {
        let client = self.client.clone();
        SpTsmDesk::new(match self.sessions.get(person) {
            Some(session) => client.with_bearer(session.as_str()),
            None => client,
        })
    }
}

/// A long list of settings, once.
pub fn purse_keys() -> PurseKeys {
    PurseKeys {
        owner: "provider".into(),
        label: "city".into(),
        version: 1,
        issuer: IssuerFactor::new([0x09, 0x99, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF]),
    }
}

/// What the provider of the greeting card generates for it: opaque bytes to everybody between.
pub fn greeting_commands() -> Vec<Vec<u8>> {
    ["84E2800008A1B2C3D4E5F60718", "00DA010203C0FFEE"].map(|text| hex::decode(text).unwrap()).to_vec()
}

pub fn scp03(keys: DomainKeySource, application: Aid, key_version: u8) -> SessionRequest {
    let level = SecurityLevel::C_DECRYPTION_R_ENCRYPTION_C_MAC_R_MAC;
    SessionRequest { application, keys, protocol: Protocol::Scp03(0x70), key_version, level }
}

fn name(text: &str) -> KeyReference {
    text.parse().unwrap()
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

impl City {
    pub async fn new() -> Self {
        Self::failing(payment_sandbox::Faults::default()).await
    }

    /// A city whose payment platform does as the world does.
    pub async fn failing(faults_of_payment: payment_sandbox::Faults) -> Self {
        let net = Net::new();
        let organisation = |name| Organisation::new(&net, name);
        let (se_tsm, sp_tsm) = (organisation("SE-TSM"), organisation("SP-TSM"));
        let (payment, centre) = (organisation("PAYMENT"), organisation("CENTRE"));
        let (gate_operator, desk) = (organisation("GATES"), organisation("DESK"));
        let (sp_listener, sp) = listener().await;
        let (payment_listener, payment_at) = listener().await;
        let (centre_listener, centre_at) = listener().await;
        let (se_listener, se) = listener().await;
        let places = Places { sp, payment: payment_at, centre: centre_at, se };
        let (operator, provider, clearing_keys, terminal_roots) = keys();
        let purchase_value = Zeroizing::new(terminal_roots.purchase[0].1.expose().to_vec());
        let platform = Signer::platform(PaymentSignature::Sm2Sm3);
        platform.keys.import_clear(&purchase_root(), KeyAlgorithm::TripleDes, purchase_value).unwrap();
        let merchant_name = name("message/provider/merchant/1");
        let merchant = draw_key(&provider, &merchant_name, PaymentSignature::Sm2Sm3).unwrap();
        let to_sp = Way::new();
        let cap = CapBuilder::new(PACKAGE).applet(MODULE).version(1, 0).padding(300).build_cap().unwrap();
        let (faults, centre_faults) = (Arc::new(Faults::default()), Arc::new(Faults::default()));
        let mut city = Self {
            operator,
            provider,
            terminal_roots,
            clearing_keys,
            store: Arc::new(MemorySpTsm::with_faults(faults.clone())),
            faults,
            centre_store: Arc::new(MemoryClearing::with_faults(centre_faults.clone())),
            centre_faults,
            payment_store: Arc::new(MemoryPayment::new()),
            shop: Signer::merchant("SHOP", PaymentSignature::Sm2Sm3),
            shop_inbox: Arc::default(),
            told: Arc::new(SeTsmStub::default()),
            data_block: cap.load_file_data_block(Descriptor::Omit).into(),
            se_tsm,
            sp_tsm,
            payment,
            platform,
            merchant,
            to_sp,
            payment_to_centre: Way::new(),
            sandbox: None,
            payment_server: None,
            gate_operator,
            desk,
            desk_sessions: BTreeMap::new(),
            to_centre: Way::new(),
            holder_file: HolderFile::Anonymous,
            level: SecurityLevel::C_DECRYPTION_R_ENCRYPTION_C_MAC_R_MAC,
            places,
            servers: Vec::new(),
            sp_server: None,
            net,
        };
        city.serve_se_tsm(se_listener);
        city.to_sp.leads_to(city.way(sp));
        city.restore_centre();
        city.restore_payments_way_to_centre();
        city.serve_payment(payment_listener, faults_of_payment);
        city.serve_centre(centre_listener, &centre);
        city.serve_sp_tsm(sp_listener);
        for (person, role) in PEOPLE {
            let session = session_of(&*city.store, "DESK", person, &[role], SystemClock.now()).await;
            city.desk_sessions.insert(person, session);
        }
        city
    }

    fn serve(&self, listener: TcpListener, app: axum::Router, identity: &TlsIdentity) -> Server {
        let tls = identity.server_config(&self.net.authority.trust().unwrap()).unwrap();
        serve(listener, tls, app, environment(), ServerLimits::default()).unwrap()
    }

    fn serve_se_tsm(&mut self, listener: TcpListener) {
        let reply = StateReply { state: ApplicationState::Useable };
        let routes = Routes::new(self.told.clone())
            .on(&se_peer::RESULT, move |told, call| async move {
                told.results.lock().unwrap().push(call.request);
                Ok(reply)
            })
            .on(&se_peer::OPEN_NOTICE, move |told, call| async move {
                told.notices.lock().unwrap().push(call.request);
                Ok(reply)
            })
            .on(&se_peer::STATE, move |told, _| async move {
                let state = *told.state.lock().unwrap();
                state.map(|state| StateReply { state }).ok_or_else(|| ProblemCode::OutcomeUnknown.into())
            })
            .on(&se_peer::UNSUBSCRIBE_NOTICE, move |told, call| async move {
                told.unsubscribed.lock().unwrap().push(call.request);
                Ok(reply)
            });
        let server = self.serve(listener, routes.into_router(), &self.se_tsm.identity);
        self.servers.push(server);
    }

    fn serve_payment(&mut self, listener: TcpListener, faults: payment_sandbox::Faults) {
        let sandbox = self.new_sandbox(faults);
        let app = payment_sandbox::routes(sandbox.clone()).into_router();
        self.sandbox = Some(sandbox);
        self.payment_server = Some(self.serve(listener, app, &self.payment.identity));
    }

    /// Stops the payment platform as a crash would, and starts it again over what it had stored.
    pub async fn restart_payment(&mut self) {
        if let Some(server) = self.payment_server.take() {
            server.stop().await;
        }
        self.payment_store.faults().restart();
        let listener = loop {
            match TcpListener::bind(self.places.payment).await {
                Ok(listener) => break listener,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        self.serve_payment(listener, payment_sandbox::Faults::default());
    }

    /// The payment platform as the shop sees it.
    pub fn shop_platform(&self) -> SandboxPlatform {
        self.shop.sees(&self.platform, self.way(self.places.payment), environment())
    }

    /// The payment platform, whose faults a test may change.
    pub fn sandbox(&self) -> &PaymentSandbox {
        self.sandbox.as_ref().unwrap()
    }

    pub fn payment_routes(&self) -> Routes<PaymentSandbox> {
        payment_sandbox::routes(self.new_sandbox(payment_sandbox::Faults::default()))
    }

    fn new_sandbox(&self, faults: payment_sandbox::Faults) -> Arc<PaymentSandbox> {
        self.sandbox_among(faults, None)
    }

    /// One of several processes of the payment platform over the city's store.
    pub fn sandbox_among(
        &self,
        faults: payment_sandbox::Faults,
        siblings: Option<Arc<dyn Siblings>>,
    ) -> Arc<PaymentSandbox> {
        let merchant = Merchant {
            institution: self.sp_tsm.name.into(),
            keys: vec![self.merchant.clone()],
            link: self.to_sp.clone(),
        };
        let shop = self.shop.registered(self.shop_inbox.clone());
        let parts = payment_sandbox::Parts {
            store: self.payment_store.clone(),
            keys: self.platform.keys(),
            key_owner: PLATFORM.into(),
            environment: environment(),
            merchants: vec![merchant, shop],
            faults,
            lifetime: SignedDuration::from_mins(15),
            cards: Some(CardAcceptance {
                terminal: TerminalNumber::from_bcd(ONLINE).unwrap(),
                issuers: vec![(NUMBER_PREFIX.into(), purse_keys())],
                centre: ClearingPeer::new(
                    Client::new(self.payment_to_centre.clone()).signing(self.payment.signing()),
                ),
                limits: Limits::default(),
                unproven_after: SignedDuration::from_hours(24),
            }),
        };
        PaymentSandbox::among(parts, siblings).unwrap()
    }

    /// The payment platform as the SP-TSM sees it.
    pub fn payment_platform(&self) -> Arc<dyn PaymentPlatform> {
        let key = MessageKey::open(Arc::new(self.provider.clone()), name("message/provider/merchant/1"));
        let platform = SandboxPlatform::new(SandboxParts {
            transport: self.way(self.places.payment),
            merchant: self.sp_tsm.name.into(),
            key: key.unwrap(),
            platform_keys: vec![self.platform.public.to_wire()],
            environment: environment(),
        });
        Arc::new(platform.unwrap())
    }

    /// A way without any identity.
    pub fn way(&self, at: SocketAddr) -> Arc<dyn Transport> {
        let tls = pki::wallet_config(&self.net.authority.trust().unwrap()).unwrap();
        Arc::new(HttpsTransport::new(at, "localhost", tls, TIMEOUT).unwrap())
    }

    fn serve_centre(&mut self, listener: TcpListener, identity: &Organisation) {
        let app = self.centre_routes().into_router();
        let server = self.serve(listener, app, &identity.identity);
        self.servers.push(server);
    }

    pub fn centre_routes(&self) -> Routes<clearing::Clearing> {
        clearing::routes(self.centre())
    }

    /// A centre over the city's books.
    pub fn centre(&self) -> Arc<clearing::Clearing> {
        clearing::Clearing::new(clearing::Parts {
            sealing_key: name(SEALING),
            store: self.centre_store.clone(),
            keys: Arc::new(self.clearing_keys.clone()),
            environment: environment(),
            institutions: vec![self.sp_tsm.peer(), self.gate_operator.peer(), self.payment.peer()],
            issuers: vec![(NUMBER_PREFIX.into(), purse_keys())],
            duties: clearing::Duties::of_issuer(NUMBER_PREFIX, self.sp_tsm.name.parse().unwrap()),
            terminals: clearing::Terminals::of(
                self.gate_operator.name,
                [TerminalNumber::from_bcd(GATE).unwrap()],
            )
            .and(clearing::Terminals::of(self.payment.name, [TerminalNumber::from_bcd(ONLINE).unwrap()])),
        })
    }

    fn serve_sp_tsm(&mut self, listener: TcpListener) {
        let app = self.sp_routes().into_router();
        self.sp_server = Some(self.serve(listener, app, &self.sp_tsm.identity));
    }

    pub fn sp_routes(&self) -> Routes<SpTsm> {
        sp_tsm::routes(self.sp_tsm_with(self.payment_platform(), environment()))
    }

    /// An SP-TSM over the city's store, with another payment platform or time.
    pub fn sp_tsm_with(&self, payment: Arc<dyn PaymentPlatform>, environment: Environment) -> Arc<SpTsm> {
        self.sp_tsm_among(payment, environment, None)
    }

    /// One of several processes of the SP-TSM over the city's store.
    pub fn sp_tsm_among(
        &self,
        payment: Arc<dyn PaymentPlatform>,
        environment: Environment,
        siblings: Option<Arc<dyn Siblings>>,
    ) -> Arc<SpTsm> {
        let parts = sp_tsm::Parts {
            store: self.store.clone(),
            keys: Arc::new(self.provider.clone()),
            environment,
            partners: Partners {
                se_tsm: self.se_tsm.peer(),
                top_up_terminals: vec![self.gate_operator.peer()],
            },
            links: Links {
                se_tsm: SeTsmPeer::new(self.client(self.places.se, &self.sp_tsm)),
                payment,
                centre: ClearingPeer::new(Client::new(self.to_centre.clone()).signing(self.sp_tsm.signing())),
            },
            settings: self.settings(),
            limits: Limits::default(),
        };
        let tsm = SpTsm::among(parts, siblings).unwrap();
        tsm.admit_desk(self.desk.peer());
        tsm
    }

    /// The centre can be reached by the SP-TSM.
    pub fn restore_centre(&self) {
        self.to_centre.leads_to(self.centre_way());
    }

    /// The SP-TSM's line to the centre.
    pub fn centre_way(&self) -> Arc<dyn Transport> {
        self.identified_way(self.places.centre, &self.sp_tsm)
    }

    /// The centre can be reached by the payment platform.
    pub fn restore_payments_way_to_centre(&self) {
        self.payment_to_centre.leads_to(self.identified_way(self.places.centre, &self.payment));
    }

    fn settings(&self) -> Settings {
        let access = DomainAccess {
            root: name(ROOT),
            key_version: 2,
            protocol: Protocol::Scp03(0x70),
            level: self.level,
            kek: name(KEK),
        };
        let package = Package {
            load_file: PACKAGE,
            module: MODULE,
            data_block: self.data_block.clone(),
            privileges: Privileges::NONE,
            memory: None,
        };
        let management =
            Management::decode(&[&[0, 0, 1, 0x56, 0x24, 0, 0x24, 0x82, 0, 1, 1][..], &[0; 49]].concat());
        let purse = PurseProduct {
            keys: purse_keys(),
            number_prefix: NUMBER_PREFIX.into(),
            algorithm: Algorithm::TripleDes,
            management: management.unwrap(),
            validity_years: 10,
            unlock: tsm_domain::se_application::UnlockPolicy::ClientOnly,
            holder: self.holder_file,
        };
        Settings {
            products: vec![
                Product {
                    application: PURSE,
                    domain: SSD,
                    access: Some(access),
                    way: HandoverWay::LoadAndPersonalise,
                    package: Some(package),
                    kind: ProductKind::Purse(purse),
                },
                Product {
                    application: GREETING,
                    domain: ISD,
                    access: None,
                    way: HandoverWay::Nothing,
                    package: None,
                    kind: ProductKind::Plain(PlainApplication {
                        commands: greeting_commands(),
                        ..PlainApplication::default()
                    }),
                },
            ],
            top_up: TopUpLimits {
                minimum: Fen::new(100),
                maximum: Fen::new(50_000),
                purse_maximum: Fen::new(100_000),
            },
            station: 3001,
        }
    }

    /// Stops the SP-TSM as a crash would, and starts it again over what it had stored.
    pub async fn restart_sp_tsm(&mut self) {
        if let Some(server) = self.sp_server.take() {
            server.stop().await;
        }
        self.faults.restart();
        let listener = loop {
            match TcpListener::bind(self.places.sp).await {
                Ok(listener) => break listener,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        self.serve_sp_tsm(listener);
    }

    pub fn identified_way(&self, at: SocketAddr, organisation: &Organisation) -> Arc<dyn Transport> {
        let tls = organisation.identity.client_config(&self.net.authority.trust().unwrap()).unwrap();
        Arc::new(HttpsTransport::new(at, "localhost", tls, TIMEOUT).unwrap())
    }

    pub fn client(&self, at: SocketAddr, organisation: &Organisation) -> Client {
        Client::new(self.identified_way(at, organisation)).signing(organisation.signing())
    }

    /// The issuer's desk.
    pub fn at_desk(&self) -> AtDesk {
        AtDesk { client: self.client(self.places.sp, &self.desk), sessions: self.desk_sessions.clone() }
    }

    /// An organisation that nobody knows.
    pub fn stranger(&self) -> Organisation {
        Organisation::new(&self.net, "STRANGER")
    }

    /// A client of the SP-TSM for an organisation.
    pub fn sp_peer(&self, organisation: &Organisation) -> SpTsmPeer {
        SpTsmPeer::new(self.client(self.places.sp, organisation))
    }

    /// A top-up terminal's line to the SP-TSM.
    pub fn terminal_line(&self, organisation: &Organisation) -> SpTsmTerminal {
        SpTsmTerminal::new(self.client(self.places.sp, organisation))
    }

    pub fn centre_peer(&self, organisation: &Organisation) -> ClearingPeer {
        ClearingPeer::new(self.client(self.places.centre, organisation))
    }

    pub fn payer(&self) -> PaymentUser {
        PaymentUser::new(self.anonymous(self.places.payment))
    }

    /// A client without any identity.
    pub fn anonymous(&self, at: SocketAddr) -> Client {
        let tls = pki::wallet_config(&self.net.authority.trust().unwrap()).unwrap();
        Client::new(Arc::new(HttpsTransport::new(at, "localhost", tls, TIMEOUT).unwrap()))
    }

    pub fn places(&self) -> [SocketAddr; 3] {
        [self.places.sp, self.places.payment, self.places.centre]
    }

    /// A wallet that the SE-TSM vouches for.
    pub fn wallet(&self, se_id: &[u8]) -> SpTsmWallet {
        self.wallet_of(se_id, Some("13800138000"))
    }

    /// A wallet that the SE-TSM vouches for, registered to a number or to none.
    pub fn wallet_of(&self, se_id: &[u8], number: Option<&str>) -> SpTsmWallet {
        let client = self.anonymous(self.places.sp).with_bearer(self.assertion(se_id, number));
        SpTsmWallet::new(client)
    }

    /// The SE-TSM's word about a wallet.
    pub fn assertion(&self, se_id: &[u8], number: Option<&str>) -> String {
        let assertion = Assertion {
            se_id: HexBytes(se_id.to_vec()),
            msisdn: number.map(str::to_owned),
            expires_at: jiff::Timestamp::now() + SignedDuration::from_hours(1),
        };
        assertion.sign(&self.se_tsm.signer)
    }

    /// Waits until the money equation says so. Every round is a request, so nothing sleeps here.
    pub async fn settled(&self, purses_fen: u64) -> tsm_api::clearing::Books {
        let centre = self.centre_peer(&self.sp_tsm);
        let mut last = None;
        for _ in 0..20_000 {
            let books = centre.books().await.unwrap();
            if books.in_flight_fen == 0 && books.purses_fen == purses_fen && books.refund_payable_fen == 0 {
                return books;
            }
            last = Some(books);
        }
        panic!("the books stay at {last:?}");
    }

    pub fn card_number(&self, number: &str) -> HexBytes {
        purse::card_to_wire(number.parse().unwrap())
    }
}

/// The keys of the operator, the provider and the centre. Each holds what it would have in the field.
fn keys() -> (SoftwareKeyService, SoftwareKeyService, SoftwareKeyService, RootKeys) {
    let service = || SoftwareKeyService::in_memory(Arc::new(SystemEntropy));
    let (operator, provider, centre) = (service(), service(), service());
    let random = |length| {
        let mut bytes = Zeroizing::new(vec![0; length]);
        getrandom::fill(&mut bytes).unwrap();
        bytes
    };
    centre.import_clear(&name(SEALING), KeyAlgorithm::Aes256, random(32)).unwrap();
    let set = KeySetReference::new("operator", "isd", 1).unwrap();
    operator.import_development_card_keys(&set, KeyAlgorithm::Aes128).unwrap();
    let initial = name("domain-root/operator/initial/1");
    operator.import_development(&initial, KeyAlgorithm::Aes128, &DEVELOPMENT_CARD_KEY).unwrap();
    let kek = random(32);
    operator.import_clear(&name(KEK), KeyAlgorithm::Aes256, kek.clone()).unwrap();
    provider.import_clear(&name(KEK), KeyAlgorithm::Aes256, kek).unwrap();
    provider.import_clear(&name(ROOT), KeyAlgorithm::Aes128, random(16)).unwrap();
    let mut terminals = RootKeys { purchase: Vec::new(), block: None };
    for role in KeyRole::ALL {
        let root = KeyReference::new(KeyPurpose::Purse(role), "provider", "city", 1).unwrap();
        let value = random(16);
        let key = || Key::new(Algorithm::TripleDes, value.as_slice().try_into().unwrap());
        match role {
            KeyRole::Purchase => terminals.purchase.push((KeyVersion(1), key())),
            KeyRole::ApplicationBlock => terminals.block = Some(key()),
            _ => {}
        }
        provider.import_clear(&root, KeyAlgorithm::TripleDes, value.clone()).unwrap();
        if role == KeyRole::Tac {
            centre.import_clear(&root, KeyAlgorithm::TripleDes, value).unwrap();
        }
    }
    (operator, provider, centre, terminals)
}
