//! A small provider: consents, gives its domain keys, loads and installs by its own domain, and reports.
//! Its procedures and keys are the real ones; its business is only what a test needs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures_util::FutureExt as _;
use tsm_api::HexBytes;
use tsm_api::client::{Client, Counters, SeTsmPeer, Signing};
use tsm_api::conversation::{ConversationReply, IfBusy, Outcome, OutcomeDetail, OutcomeResult, TurnRequest};
use tsm_api::endpoint::{Access, Nothing};
use tsm_api::ids::{OperationId, TaskId};
use tsm_api::problem::{Problem, ProblemCode};
use tsm_api::se_tsm::peer::{OperationKind, OperationResult};
use tsm_api::sp_tsm::peer::{
    HANDOVER, HandoverReply, HandoverRequest, HandoverWay, KeyAlgorithm as WireAlgorithm, LOSS,
    NUMBER_CHANGED, NumberChanged, PRE_OPERATION, PreOperationReply, PreOperationRequest, RESULT, SeLoss,
    WrappedKey, WrappedKeySet,
};
use tsm_api::sp_tsm::wallet::TURN;
use tsm_capfile::{CapBuilder, Descriptor};
use tsm_card::download::{Download, Downloading};
use tsm_card::install::{Installing, NewInstance};
use tsm_card::observe::{ObservationScope, Observing};
use tsm_card::open_channel::OpeningChannel;
use tsm_card::replace_domain_keys::SettingPersonalized;
use tsm_card::script::Script;
use tsm_domain::SeId;
use tsm_globalplatform::security_level::SecurityLevel;
use tsm_iso7816::{Aid, ResponseApdu};
use tsm_keys::software::SoftwareKeyService;
use tsm_keys::{
    DomainKeySource, DomainPath, KeyAlgorithm, KeyPurpose, KeyReference, KeyService as _, PendingSession,
    Protocol, SessionRequest,
};
use tsm_services::conversation::{Engine, Limits, MemoryLeases, Start};
use tsm_services::server::{Call, Credentials, Routes, Server, Service};

use crate::phone::Phone;
use crate::support::{SystemClock, SystemEntropy, environment};
use crate::world::{GREETING_MODULE, GREETING_PACKAGE, World};

/// The KEK that both organisations share.
pub const KEK: [u8; 32] = [
    0x9d, 0x12, 0x4f, 0x77, 0xa0, 0x3c, 0xe1, 0x58, 0x06, 0xbb, 0x92, 0x2d, 0x71, 0xc4, 0x1f, 0x83, 0x5a,
    0xe6, 0x30, 0x99, 0x47, 0xd2, 0x0b, 0x6c, 0xf8, 0x15, 0xae, 0x63, 0x2e, 0x84, 0xb7, 0x51,
];
const VERSION: u8 = 0x41;

/// What the provider answers to consent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mood {
    Willing,
    Refusing,
}

struct Pending {
    session: Box<dyn PendingSession>,
    se: SeId,
    aid: Aid,
    domain: Aid,
}

pub struct Provider {
    keys: SoftwareKeyService,
    root: KeyReference,
    kek: KeyReference,
    engine: Engine,
    mood: Mutex<Mood>,
    way: HandoverWay,
    pending: Mutex<HashMap<OperationId, Pending>>,
    pub peer: Mutex<Option<SeTsmPeer>>,
    /// The secure element that its cards leave, while they migrate.
    pub moved_from: Mutex<Option<HexBytes>>,
    /// What it was told about deletions.
    pub told: Mutex<Vec<OperationResult>>,
    /// Its own reports, while it keeps them.
    pub kept: Mutex<Option<Vec<OperationResult>>>,
    /// What it was told about losses.
    pub losses: Mutex<Vec<SeLoss>>,
    /// What it was told about numbers.
    pub numbers: Mutex<Vec<NumberChanged>>,
}

/// A provider that is being served.
pub struct Served {
    pub provider: Arc<Provider>,
    pub server: Server,
}

impl Provider {
    pub async fn serve(world: &World, way: HandoverWay) -> Served {
        let keys = SoftwareKeyService::in_memory(Arc::new(SystemEntropy));
        let root = KeyReference::new(KeyPurpose::DomainRoot, "sp", "domain", 1).unwrap();
        keys.generate(&root, KeyAlgorithm::Aes128).unwrap();
        keys.import_development(&world.kek, KeyAlgorithm::Aes256, &KEK).unwrap();
        let provider = Arc::new(Self {
            keys,
            root,
            kek: world.kek.clone(),
            engine: Engine::new(environment(), Arc::new(MemoryLeases::default()), Limits::default()),
            mood: Mutex::new(Mood::Willing),
            way,
            pending: Mutex::default(),
            peer: Mutex::default(),
            moved_from: Mutex::default(),
            told: Mutex::default(),
            kept: Mutex::default(),
            losses: Mutex::default(),
            numbers: Mutex::default(),
        });
        let routes = Routes::new(provider.clone())
            .on(&PRE_OPERATION, pre_operation)
            .on(&HANDOVER, handover)
            .on(&RESULT, result)
            .on(&NUMBER_CHANGED, number_changed)
            .on(&LOSS, loss)
            .on(&TURN, turn);
        let server = world.net.serve(routes.into_router()).await;
        Served { provider, server }
    }

    pub fn set_mood(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    fn source(&self, domain: Aid, se: SeId) -> DomainKeySource {
        DomainKeySource::TwoLevel { root: self.root.clone(), path: DomainPath { domain, se_id: se } }
    }
}

impl Served {
    pub fn address(&self) -> String {
        format!("localhost:{}", self.server.address().port())
    }

    /// Lets the provider report to the SE-TSM under its institution number, and phones reach it.
    pub fn connect(&self, world: &World, institution: &str) {
        *self.provider.peer.lock().unwrap() = Some(peer_client(world, institution));
    }

    pub fn reach(&self, world: &World, phone: &mut Phone) {
        phone.sp = Some(world.net.wallet(&self.server).counting(phone.counters.clone()));
    }
}

/// A client of the SE-TSM with the institution's certificate and signature.
pub fn peer_client(world: &World, institution: &str) -> SeTsmPeer {
    let signing = Signing {
        institution: institution.into(),
        signer: Arc::new(world.sp.1.signer().unwrap()),
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
    };
    let client: Client = world.net.peer(&world.server, &world.sp.0);
    SeTsmPeer::new(client.counting(Arc::new(Counters::default())).signing(signing))
}

#[async_trait]
impl Service for Provider {
    type Caller = ();

    async fn authenticate(&self, _access: Access, _credentials: Credentials<'_>) -> Result<(), Problem> {
        Ok(())
    }
}

async fn pre_operation(
    provider: Arc<Provider>,
    call: Call<(), PreOperationRequest>,
) -> Result<PreOperationReply, Problem> {
    if *provider.mood.lock().unwrap() == Mood::Refusing {
        return Ok(PreOperationReply::Refused { problem: ProblemCode::ValueRemains.into() });
    }
    let request = call.request;
    let (se, domain) = (SeId::new(&request.se_id.0).unwrap(), request.domain_aid.to_aid().unwrap());
    if matches!(request.kind, OperationKind::Delete | OperationKind::Synchronise) {
        return Ok(PreOperationReply::Allowed {
            domain_keys: None,
            initialize_update: None,
            way: HandoverWay::Nothing,
            moved_from: None,
        });
    }
    let source = provider.source(domain, se);
    let set = provider.keys.export_domain_keys(&source, &provider.kek).unwrap();
    let wire = |key: tsm_keys::transfer::WrappedKey| WrappedKey {
        algorithm: WireAlgorithm::Aes128,
        wrapped: HexBytes(key.value.0),
        check_value: HexBytes(key.check_value.0.to_vec()),
    };
    let session = provider
        .keys
        .begin_session(SessionRequest {
            application: domain,
            keys: source,
            protocol: Protocol::Scp03(0x70),
            key_version: VERSION,
            level: SecurityLevel::C_DECRYPTION_R_ENCRYPTION_C_MAC_R_MAC,
        })
        .unwrap();
    let initialize_update = HexBytes(session.initialize_update().to_bytes().unwrap());
    let aid = request.aid.to_aid().unwrap();
    provider.pending.lock().unwrap().insert(request.operation, Pending { session, se, aid, domain });
    Ok(PreOperationReply::Allowed {
        domain_keys: Some(WrappedKeySet {
            key_version: VERSION,
            kek: provider.kek.to_string(),
            keys: vec![wire(set.enc), wire(set.mac), wire(set.dek)],
        }),
        initialize_update: Some(initialize_update),
        way: provider.way,
        moved_from: provider.moved_from.lock().unwrap().clone(),
    })
}

async fn handover(
    provider: Arc<Provider>,
    call: Call<(), HandoverRequest>,
) -> Result<HandoverReply, Problem> {
    let request = call.request;
    let pending =
        provider.pending.lock().unwrap().remove(&request.operation).ok_or(ProblemCode::UnknownId)?;
    let answer = ResponseApdu::parse(&request.initialize_update.0).unwrap();
    let peer = provider.peer.lock().unwrap().clone().unwrap();
    let (se, aid) = (pending.se, pending.aid);
    let loaded = !request.observation.load_files.is_empty();
    let installed = request.observation.applications.iter().any(|entry| entry.aid == HexBytes::from(aid));
    let domain = HexBytes::from(pending.domain);
    let personalized =
        request.observation.applications.iter().any(|entry| entry.aid == domain && entry.life_cycle == 0x0F);
    let moved_from = provider.moved_from.lock().unwrap().clone();
    let keeping = provider.clone();
    let start = Start {
        se,
        request: Phone::request_id(),
        task: TaskId(Phone::request_id().0),
        operation: "personalise",
        if_busy: IfBusy::Replace,
        flow: Box::new(move |mut session| {
            async move {
                let mut script = Script::new();
                let mut channel =
                    OpeningChannel::handed_over(pending.session, pending.domain, &answer, &mut script)
                        .unwrap();
                // A domain whose keys were replaced in a session that broke off is not PERSONALIZED yet.
                let setting =
                    (!personalized).then(|| SettingPersonalized::add(&mut channel, &mut script).unwrap());
                let cap = CapBuilder::new(GREETING_PACKAGE).applet(GREETING_MODULE).build_cap().unwrap();
                let download =
                    Download::new(GREETING_PACKAGE, cap.load_file_data_block(Descriptor::Omit).into());
                let new = NewInstance::new(GREETING_PACKAGE, GREETING_MODULE, aid);
                let downloading =
                    (!loaded).then(|| Downloading::add(&mut channel, &download, &mut script).unwrap());
                let installing =
                    (!installed).then(|| Installing::add(&mut channel, new.command(), &mut script).unwrap());
                let observing = Observing::add(&mut channel, ObservationScope::Domain, &mut script).unwrap();
                let result = async {
                    let mut answers = script.run(&mut session.card).await?;
                    if let Some(setting) = setting {
                        setting.take(&mut channel, &mut answers)?;
                    }
                    if let Some(downloading) = downloading {
                        downloading.take(&mut channel, &mut answers)?;
                    }
                    if let Some(installing) = installing {
                        installing.take(&mut channel, &mut answers)?;
                    }
                    observing.finish(&mut session.card, &mut channel, &mut answers).await
                }
                .await;
                let outcome = match result {
                    Ok(_) => Outcome::done(OutcomeDetail::Nothing),
                    Err(error) => Outcome::unknown(Problem::because(ProblemCode::OutcomeUnknown, error)),
                };
                let report = OperationResult {
                    operation: request.operation,
                    se_id: HexBytes(se.as_bytes().to_vec()),
                    aid: aid.into(),
                    kind: OperationKind::Download,
                    result: outcome.result,
                    problem: None,
                    observation: None,
                    moved_from,
                    number: None,
                };
                let is_kept = keeping.kept.lock().unwrap().as_mut().map(|kept| kept.push(report.clone()));
                if outcome.result == OutcomeResult::Done && is_kept.is_none() {
                    peer.result(&report).await.unwrap();
                }
                outcome.into()
            }
            .boxed()
        }),
    };
    match provider.engine.start(start).await? {
        ConversationReply::Steps { conversation, turn, steps, progress } => {
            Ok(HandoverReply { conversation, ticket: "shown".into(), turn, steps, progress })
        }
        other => panic!("the flow sends steps first: {other:?}"),
    }
}

async fn turn(provider: Arc<Provider>, call: Call<(), TurnRequest>) -> Result<ConversationReply, Problem> {
    let conversation = call.parameter()?;
    provider.engine.turn(conversation, None, call.request).await
}

async fn result(provider: Arc<Provider>, call: Call<(), OperationResult>) -> Result<Nothing, Problem> {
    provider.told.lock().unwrap().push(call.request);
    Ok(Nothing {})
}

async fn number_changed(provider: Arc<Provider>, call: Call<(), NumberChanged>) -> Result<Nothing, Problem> {
    provider.numbers.lock().unwrap().push(call.request);
    Ok(Nothing {})
}

async fn loss(provider: Arc<Provider>, call: Call<(), SeLoss>) -> Result<Nothing, Problem> {
    provider.losses.lock().unwrap().push(call.request);
    Ok(Nothing {})
}
