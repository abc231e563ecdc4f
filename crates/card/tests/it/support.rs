//! One card, two organisations with a key service each, and the flow that opens a card: what the
//! SE-TSM and the SP-TSM do around the procedures, without their storage.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use sha2::{Digest, Sha256};
use tsm_capfile::{CapBuilder, Descriptor};
use tsm_card::channel::{CardChannel, ChannelError};
use tsm_card::create_domain::{DomainMode, DomainSpace, Management, NewDomain};
use tsm_card::direct::{CardGone, DirectChannel, Transmit};
use tsm_card::download::Download;
use tsm_card::install::NewInstance;
use tsm_card::observe::{Observation, ObservationScope, observe};
use tsm_card::opening::{
    Content, NextSession, Personalisation, create_and_open_domain, fill_domain, replace_keys_and_go_on,
};
use tsm_card::personalise::StoreDataForm;
use tsm_card::plan::{
    DomainPlan, InstancePlan, Plan, ResiduePolicy, WantedApplication, WantedInstance, WantedLoadFile, plan,
};
use tsm_card::purse::{PurseIssue, purse_keys};
use tsm_card::replace_domain_keys::{
    AfterReplacement, Candidate, KeysInForce, ReplacingKeys, SettingPersonalized, which_keys,
};
use tsm_card::{HandOver, OpeningChannel, ProcedureError, Script, SecureChannel, Step, open_channel};
use tsm_domain::SeId;
use tsm_domain::environment::Entropy;
use tsm_epurse::file::{ApplicationSerial, Management as CardManagement, PublicInformation};
use tsm_epurse::{Algorithm, Date, IssuerFactor, KeyRole};
use tsm_globalplatform::security_level::SecurityLevel;
use tsm_iso7816::{Aid, CommandApdu, ResponseApdu};
use tsm_keys::software::DEVELOPMENT_CARD_KEY;
use tsm_keys::{
    Derivation, DomainKeySource, DomainPath, KeyAlgorithm, KeyHandle, KeyPurpose, KeyReference, KeyService,
    KeySetReference, NewKeys, Protocol, PursePath, PutKeyRequest, SessionRequest, SoftwareKeyService,
};
use tsm_se::{Interface, Profile, SecureElement};

pub const ISD: Aid = Aid::constant(&[0xA0, 0, 0, 1, 0x51, 0, 0, 0]);
pub const SSD: Aid = Aid::constant(&[0xF0, 0x4F, 0x54, 0x53, 0x4D, 0x53, 0x44, 0x01]);
pub const PACKAGE: Aid = Aid::constant(&[0xF0, 0x4F, 0x54, 0x53, 0x4D, 0x01, 0x01]);
pub const MODULE: Aid = Aid::constant(&[0xF0, 0x4F, 0x54, 0x53, 0x4D, 0x01, 0x01, 0x01]);
pub const PURSE: Aid = Aid::constant(&[0xA0, 0, 0, 6, 0x32, 1, 1, 5, 0x10, 0, 0x91, 0x56, 0, 0, 0x14, 0xA1]);
pub const SE_ID: [u8; 10] = [0x01, 0x23, 0x45, 0x67, 0x89, 0x00, 0x00, 0x00, 0x00, 0x42];
pub const INITIAL_VERSION: u8 = 0x01;
pub const SP_VERSION: u8 = 0x02;

pub const SCP03: Protocol = Protocol::Scp03(0x70);
pub const PROVEN: SecurityLevel = SecurityLevel::C_DECRYPTION_R_ENCRYPTION_C_MAC_R_MAC;

/// A counter stretched by SHA-256: the same bytes in every run.
pub struct Counting(Mutex<u64>);

impl Counting {
    pub fn from(seed: u64) -> Arc<Self> {
        Arc::new(Self(Mutex::new(seed)))
    }

    fn next(&self, bytes: &mut [u8]) {
        let mut count = self.0.lock().unwrap();
        for chunk in bytes.chunks_mut(32) {
            *count += 1;
            chunk.copy_from_slice(&Sha256::digest(count.to_be_bytes())[..chunk.len()]);
        }
    }
}

impl Entropy for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        self.next(bytes);
    }
}

/// Runs a future that never waits for anything but an in-process card.
pub fn run<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("an in-process card answers at once"),
    }
}

/// A card that several channels can reach one after another.
#[derive(Clone)]
pub struct Card(Arc<Mutex<SecureElement>>);

impl Card {
    pub fn new() -> Self {
        Self::with(Profile::development(&SE_ID))
    }

    pub fn with(profile: Profile) -> Self {
        let entropy = Counting::from(1 << 32);
        let randomness = Box::new(move |bytes: &mut [u8]| entropy.next(bytes));
        Self(Arc::new(Mutex::new(SecureElement::create(&profile, randomness).unwrap())))
    }

    pub fn se<T>(&self, with: impl FnOnce(&mut SecureElement) -> T) -> T {
        with(&mut self.0.lock().unwrap())
    }

    /// Takes the card out of its power or its field and puts it back.
    pub fn restart(&self) {
        self.se(|se| {
            se.cancel_power_cut();
            if !se.is_powered() {
                se.power_on().unwrap();
            }
            se.reset(Interface::Contact);
        });
    }

    pub fn channel(&self) -> DirectChannel<Reach> {
        self.channel_over(Interface::Contact)
    }

    pub fn channel_over(&self, interface: Interface) -> DirectChannel<Reach> {
        DirectChannel::new(Reach { card: self.clone(), interface, left: u64::MAX, lose: Lost::Command })
    }

    /// A channel that breaks at the APDU that follows the next `left` ones.
    pub fn channel_breaking_after(&self, left: u64, lose: Lost) -> DirectChannel<Reach> {
        DirectChannel::new(Reach { card: self.clone(), interface: Interface::Contact, left, lose })
    }
}

/// What is lost when the channel breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// The command: the card never gets it.
    Command,
    /// The response: the card acted.
    Response,
}

pub struct Reach {
    card: Card,
    interface: Interface,
    left: u64,
    lose: Lost,
}

impl Transmit for Reach {
    fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>, CardGone> {
        if self.left == 0 && self.lose == Lost::Command {
            return Err(CardGone);
        }
        let response = self.card.se(|se| se.transmit(self.interface, command));
        if self.left == 0 || response.is_empty() {
            return Err(CardGone);
        }
        self.left -= 1;
        Ok(response)
    }
}

/// Counts exchanges, which are round trips, and the commands in them.
pub struct Counted<C> {
    pub channel: C,
    pub exchanges: usize,
    pub commands: usize,
    pub instructions: Vec<u8>,
    pub sent: Vec<CommandApdu>,
}

impl<C> Counted<C> {
    pub fn new(channel: C) -> Self {
        Self { channel, exchanges: 0, commands: 0, instructions: Vec::new(), sent: Vec::new() }
    }
}

impl<C: CardChannel> CardChannel for Counted<C> {
    async fn exchange(&mut self, steps: Vec<Step>) -> Result<Vec<ResponseApdu>, ChannelError> {
        self.exchanges += 1;
        self.commands += steps.len();
        self.sent.extend(steps.iter().map(Step::to_apdu));
        self.instructions.extend(steps.iter().map(|step| step.to_apdu().ins));
        self.channel.exchange(steps).await
    }
}

/// The two organisations' keys, and what both know of the card.
pub struct World {
    pub card: Card,
    pub operator: SoftwareKeyService,
    pub provider: SoftwareKeyService,
    pub kek: KeyReference,
    pub provider_root: KeyReference,
    pub initial: DomainKeySource,
    pub isd: SessionRequest,
    pub data_block: Arc<[u8]>,
}

pub fn name(text: &str) -> KeyReference {
    text.parse().unwrap()
}

pub fn development_keys(keys: &SoftwareKeyService, label: &str, algorithm: KeyAlgorithm) -> DomainKeySource {
    let set = KeySetReference::new("operator", label, 1).unwrap();
    keys.import_development_card_keys(&set, algorithm).unwrap();
    DomainKeySource::Fixed(set)
}

impl World {
    pub fn new() -> Self {
        Self::with(Card::new())
    }

    pub fn with(card: Card) -> Self {
        let operator = SoftwareKeyService::in_memory(Counting::from(1));
        let provider = SoftwareKeyService::in_memory(Counting::from(1 << 16));
        let isd_keys = development_keys(&operator, "isd", KeyAlgorithm::Aes128);
        let kek = name("key-encryption/provider/operator/1");
        let mut kek_value = zeroize::Zeroizing::new(vec![0; 32]);
        Counting::from(7).next(&mut kek_value);
        operator.import_clear(&kek, KeyAlgorithm::Aes256, kek_value.clone()).unwrap();
        provider.import_clear(&kek, KeyAlgorithm::Aes256, kek_value).unwrap();
        let provider_root = name("domain-root/provider/domain/1");
        provider.generate(&provider_root, KeyAlgorithm::Aes128).unwrap();
        let initial_root = name("domain-root/operator/initial/1");
        operator.import_development(&initial_root, KeyAlgorithm::Aes128, &DEVELOPMENT_CARD_KEY).unwrap();
        let initial = DomainKeySource::TwoLevel { root: initial_root, path: domain_path() };
        for role in KeyRole::ALL {
            provider.generate(&purse_root(role), KeyAlgorithm::TripleDes).unwrap();
        }
        let isd = SessionRequest {
            application: ISD,
            keys: isd_keys,
            protocol: SCP03,
            key_version: 0x30,
            level: PROVEN,
        };
        let cap = CapBuilder::new(PACKAGE).applet(MODULE).version(1, 0).padding(300).build_cap().unwrap();
        let data_block = cap.load_file_data_block(Descriptor::Omit).into();
        Self { card, operator, provider, kek, provider_root, initial, isd, data_block }
    }

    /// Where the provider's keys of its domain come from.
    pub fn provider_source(&self) -> DomainKeySource {
        DomainKeySource::TwoLevel { root: self.provider_root.clone(), path: domain_path() }
    }

    /// The session with the new domain under its initial keys, two levels below the platform's root
    /// (B-8.4.1.b, D-40).
    pub fn initial(&self) -> SessionRequest {
        SessionRequest {
            application: SSD,
            keys: self.initial.clone(),
            key_version: INITIAL_VERSION,
            ..self.isd.clone()
        }
    }

    /// The provider's session with its domain.
    pub fn provider_session(&self) -> SessionRequest {
        SessionRequest {
            application: SSD,
            keys: self.provider_source(),
            protocol: SCP03,
            key_version: SP_VERSION,
            level: PROVEN,
        }
    }

    /// The provider's keys on their way into its domain.
    pub fn put_key(&self) -> PutKeyRequest {
        let set = self.provider.export_domain_keys(&self.provider_source(), &self.kek).unwrap();
        PutKeyRequest {
            replaces: INITIAL_VERSION,
            version: SP_VERSION,
            keys: NewKeys::Transferred { set, kek: self.kek.clone() },
        }
    }

    pub fn domain(&self) -> NewDomain {
        NewDomain::new(SSD, DomainMode::Two(Management::Own), DomainSpace::Shared)
    }

    pub fn wanted(&self) -> WantedApplication {
        WantedApplication {
            domain: SSD,
            load_files: vec![WantedLoadFile {
                aid: PACKAGE,
                version: Some(vec![1, 0]),
                domain: SSD,
                code_bytes: self.data_block.len() as u32,
            }],
            instances: vec![WantedInstance { aid: PURSE, load_file: PACKAGE, data_bytes: 4096 }],
        }
    }

    pub fn download(&self) -> Download {
        Download::new(PACKAGE, Arc::clone(&self.data_block))
    }

    pub fn instance(&self) -> NewInstance {
        NewInstance::new(PACKAGE, MODULE, PURSE)
    }

    /// What `plan` still asks for.
    pub fn content(&self, plan: &Plan) -> Content {
        let mut content = Content::default();
        if plan.loads.contains(&PACKAGE) {
            content.downloads.push(self.download());
        }
        for instance in &plan.instances {
            match instance {
                InstancePlan::Present(_) => {}
                InstancePlan::Install { .. } => content.instances.push(self.instance()),
                InstancePlan::MakeSelectable(aid) => content.made_selectable.push(*aid),
                InstancePlan::Extradite(_) => panic!("nothing here changes its domain"),
            }
        }
        content
    }

    pub fn personalisation(&self) -> Personalisation {
        let keys = purse_keys(&self.provider, purse_root, &public_information()).unwrap();
        let issue = PurseIssue::new_card(public_information(), management(), Algorithm::TripleDes, keys);
        Personalisation { application: PURSE, groups: issue.data_groups(), form: StoreDataForm::default() }
    }

    pub fn purse_key(&self, role: KeyRole) -> KeyHandle {
        let card = public_information();
        let path = PursePath { issuer: card.issuer, card: card.card_factor() };
        self.provider.derive(&purse_root(role), &Derivation::Purse(path)).unwrap()
    }

    pub async fn open_issuer(
        &self,
        card: &mut impl CardChannel,
    ) -> Result<(SecureChannel, Script), ProcedureError> {
        let mut script = Script::new();
        let channel = open_channel(card, &self.operator, &self.isd, &mut script).await?;
        Ok((channel, script))
    }

    pub async fn observe_card(&self, card: &mut impl CardChannel) -> Result<Observation, ProcedureError> {
        let (mut channel, script) = self.open_issuer(card).await?;
        observe(card, &mut channel, ObservationScope::Card, script).await
    }

    /// Opens the card, or goes on with an opening that was interrupted: one session of the flow.
    pub async fn open_card(&self, card: &mut impl CardChannel) -> Result<Observation, ProcedureError> {
        let (mut issuer, script) = self.open_issuer(card).await?;
        let seen = observe(card, &mut issuer, ObservationScope::Card, script).await?;
        let plan = plan(&seen, &self.wanted(), ResiduePolicy::Resume);
        let pending = self.provider.begin_session(self.provider_session())?;
        let next = NextSession { application: SSD, initialize_update: pending.initialize_update() };
        let answer = match plan.domain {
            DomainPlan::Create => {
                let (mut domain, script) = create_and_open_domain(
                    card,
                    &self.operator,
                    &mut issuer,
                    &self.domain(),
                    &self.initial(),
                )
                .await?;
                replace_keys_and_go_on(card, &mut domain, script, &self.put_key(), next).await?
            }
            DomainPlan::ReplaceKeys => self.finish_keys(card, next).await?,
            DomainPlan::Ready => {
                let mut script = Script::new();
                let hand_over = HandOver::add(next.application, next.initialize_update, &mut script);
                let mut answers = script.run(card).await?;
                hand_over.take(&mut answers)?
            }
            DomainPlan::Locked => panic!("nobody locked the domain"),
        };
        let mut script = Script::new();
        let mut channel = OpeningChannel::handed_over(pending, SSD, &answer, &mut script)?;
        fill_domain(card, &mut channel, script, &self.content(&plan), &[self.personalisation()]).await
    }

    /// The keys of a domain whose replacement was interrupted. The operator does not have the
    /// provider's keys: the provider finds out whether they are in force.
    async fn finish_keys(
        &self,
        card: &mut impl CardChannel,
        next: NextSession,
    ) -> Result<ResponseApdu, ProcedureError> {
        let (new, old) = (self.provider_session(), self.initial());
        let new = Candidate { keys: &self.provider, session: &new };
        let old = Candidate { keys: &self.operator, session: &old };
        let (found, mut channel, mut script) = which_keys(card, new, old).await?;
        let replacing = match found {
            KeysInForce::Old => Some(ReplacingKeys::add(
                &mut channel,
                &self.put_key(),
                AfterReplacement::Personalized,
                &mut script,
            )?),
            KeysInForce::New => None,
        };
        let personalising = match found {
            KeysInForce::New => Some(SettingPersonalized::add(&mut channel, &mut script)?),
            KeysInForce::Old => None,
        };
        let hand_over = HandOver::add(next.application, next.initialize_update, &mut script);
        let mut answers = script.run(card).await?;
        if let Some(replacing) = replacing {
            replacing.take(&mut channel, &mut answers)?;
        }
        if let Some(personalising) = personalising {
            personalising.take(&mut channel, &mut answers)?;
        }
        hand_over.take(&mut answers)
    }
}

pub fn domain_path() -> DomainPath {
    DomainPath { domain: SSD, se_id: SeId::new(&SE_ID).unwrap() }
}

pub fn purse_root(role: KeyRole) -> KeyReference {
    KeyReference::new(KeyPurpose::Purse(role), "provider", "city", 1).unwrap()
}

pub fn public_information() -> PublicInformation {
    PublicInformation {
        issuer: IssuerFactor::new([0x09, 0x99, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF]),
        application_type: PublicInformation::PURSE,
        application_version: PublicInformation::ENABLED,
        serial: ApplicationSerial([0x03, 0x10, 0x49, 0x99, 0, 0, 0, 0x01, 0x23, 0x45]),
        enabled_on: Date::new([0x20, 0x25, 0x01, 0x01]),
        expires_on: Date::new([0x20, 0x45, 0x12, 0x31]),
        issuer_data: [0, 0],
    }
}

pub fn management() -> CardManagement {
    CardManagement::decode(&[&[0, 0, 1, 0x56, 0x24, 0, 0x24, 0x82, 0, 1, 1][..], &[0; 49]].concat()).unwrap()
}

struct Unpark(std::thread::Thread);

impl std::task::Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future that waits for another thread.
pub fn wait<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}
