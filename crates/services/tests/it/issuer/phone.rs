//! Phones: a software SE each, a wallet that carries lists, and everything that can go wrong with both.

use std::sync::{Arc, Mutex};

use tsm_api::HexBytes;
use tsm_api::client::{ClientError, SpTsmWallet};
use tsm_api::conversation::{
    CardFault, ConversationReply, IfBusy, Outcome, OutcomeDetail, OutcomeResult, StartOptions, Step,
    TurnRequest,
};
use tsm_api::ids::{OperationId, OrderId, RequestId};
use tsm_api::payment::{Pay, PayChoice};
use tsm_api::se_tsm::peer::{DomainObservation, ObservedApplication, OperationKind};
use tsm_api::sp_tsm::peer::{HandoverReply, HandoverRequest, PreOperationReply, PreOperationRequest};
use tsm_api::sp_tsm::wallet::{Operation, StartRequest, TopUpOrder};
use tsm_card::create_domain::{DomainMode, DomainSpace, Management, NewDomain};
use tsm_card::direct::{CardGone, DirectChannel};
use tsm_card::observe::{ObservationScope, observe};
use tsm_card::opening::{NextSession, create_and_open_domain, replace_keys_and_go_on};
use tsm_card::purse::{CardReading, read_card};
use tsm_card::{HandOver, Script, open_channel};
use tsm_domain::SeId;
use tsm_epurse::select::PPSE_AID;
use tsm_iso7816::{Aid, CommandApdu, ResponseApdu, StatusWord};
use tsm_keys::transfer::{WrappedKey, WrappedKeySet, WrappedValue};
use tsm_keys::{
    CheckValue, DomainKeySource, DomainPath, KeyAlgorithm, KeySetReference, NewKeys, PutKeyRequest,
};
use tsm_se::applets::PPSE;
use tsm_se::profile::{PresetInstance, PresetLoadFile};
use tsm_se::{Interface, Profile, SecureElement};
use uuid::Uuid;

use crate::issuer::city::{City, ISD, PURSE, SSD, scp03};

/// What is lost, and where, counted over all APDUs of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    Nothing,
    /// The command with this number never reaches the card.
    Command(usize),
    /// The response to the command with this number is lost; the card acted.
    Response(usize),
}

/// A phone.
pub struct Phone {
    pub se_id: Vec<u8>,
    pub card: Arc<Mutex<SecureElement>>,
    pub wallet: SpTsmWallet,
    pub number: Option<&'static str>,
    pub lost: Lost,
    pub sent: usize,
}

pub fn request_id() -> RequestId {
    RequestId(uuid())
}

pub fn uuid() -> Uuid {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).unwrap();
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

impl Phone {
    pub fn new(city: &City, number: u8) -> Self {
        let se_id = vec![0x01, 0x23, 0x45, 0x67, 0x89, 0, 0, 0, 0, number];
        let randomness = Box::new(|bytes: &mut [u8]| getrandom::fill(bytes).unwrap());
        let card = SecureElement::create(&Profile::development(&se_id), randomness).unwrap();
        let wallet = city.wallet(&se_id);
        let number = Some("13800138000");
        Self { se_id, card: Arc::new(Mutex::new(card)), wallet, number, lost: Lost::Nothing, sent: 0 }
    }

    /// The phone is registered to a number, or to none.
    pub fn register_to(&mut self, city: &City, number: Option<&'static str>) {
        self.number = number;
        self.wallet = city.wallet_of(&self.se_id, number);
    }

    /// A phone that terminals find: with the contactless directory.
    pub fn for_terminals(city: &City, number: u8) -> Self {
        let phone = Self::new(city, number);
        let package = Aid::new(&PPSE.as_bytes()[..7]).unwrap();
        let load_file = PresetLoadFile {
            aid: package,
            version: [1, 0],
            modules: vec![PPSE],
            code_bytes: 0,
            memory: Default::default(),
        };
        let instance = PresetInstance {
            load_file: package,
            module: PPSE,
            aid: PPSE_AID,
            domain: None,
            privileges: Default::default(),
            parameters: Vec::new(),
            keys: Vec::new(),
        };
        let profile = Profile {
            load_files: vec![load_file],
            instances: vec![instance],
            ..Profile::development(&phone.se_id)
        };
        let randomness = Box::new(|bytes: &mut [u8]| getrandom::fill(bytes).unwrap());
        *phone.card.lock().unwrap() = SecureElement::create(&profile, randomness).unwrap();
        phone
    }

    /// The server was started again: connections are new.
    pub fn reconnect(&mut self, city: &City) {
        self.wallet = city.wallet_of(&self.se_id, self.number);
    }

    pub fn transmit(&self, command: &CommandApdu) -> ResponseApdu {
        let answer = self.card.lock().unwrap().transmit(Interface::Contact, &command.to_bytes().unwrap());
        ResponseApdu::parse(&answer).unwrap()
    }

    pub fn reset(&self) {
        self.card.lock().unwrap().reset(Interface::Contact);
    }

    pub fn channel(&self) -> DirectChannel<impl FnMut(&[u8]) -> Result<Vec<u8>, CardGone> + Send + use<>> {
        let card = self.card.clone();
        DirectChannel::new(move |command: &[u8]| {
            Ok(card.lock().unwrap().transmit(Interface::Contact, command))
        })
    }

    pub async fn read(&self) -> CardReading {
        self.reset();
        read_card(&mut self.channel(), PURSE).await.unwrap()
    }

    pub async fn balance(&self) -> u32 {
        self.read().await.balance.fen()
    }

    pub async fn card_number(&self) -> String {
        self.read().await.public_information.serial.digits()
    }

    /// Carries a list to the card, as a wallet does; loses what is to be lost.
    pub fn carry(&mut self, turn: u32, steps: &[Step], ticket: Option<&str>) -> TurnRequest {
        let ticket = ticket.map(str::to_owned);
        let mut responses = Vec::new();
        for step in steps {
            let (command, expected) = command_of(step);
            let number = self.sent;
            self.sent += 1;
            if self.lost == Lost::Command(number) {
                self.reset();
                return TurnRequest { turn, responses, fault: Some(CardFault::CardLost), ticket };
            }
            let response = self.transmit(&command);
            if self.lost == Lost::Response(number) {
                self.reset();
                return TurnRequest { turn, responses, fault: Some(CardFault::CardLost), ticket };
            }
            let fits = expected.iter().any(|pattern| pattern.fits(response.status));
            responses.push(HexBytes(response.to_bytes()));
            if !fits {
                break;
            }
        }
        TurnRequest { turn, responses, fault: None, ticket }
    }

    /// Holds a conversation to its outcome.
    pub async fn converse(&mut self, mut reply: ConversationReply, ticket: Option<&str>) -> Outcome {
        loop {
            let (conversation, request) = match reply {
                ConversationReply::Outcome { outcome, .. } => return outcome,
                ConversationReply::Steps { conversation, turn, steps, .. } => {
                    (conversation, self.carry(turn, &steps, ticket))
                }
                ConversationReply::Queued { conversation, turn, .. } => {
                    (conversation, TurnRequest { turn, ..TurnRequest::default() })
                }
                other => panic!("the conversation broke off with {other:?}"),
            };
            reply = self.wallet.turn(conversation, &request).await.unwrap();
        }
    }

    pub fn start_request(operation: Operation, order: Option<OrderId>) -> StartRequest {
        let options = StartOptions { request: request_id(), if_busy: IfBusy::Replace };
        StartRequest { options, operation, aid: PURSE.into(), order }
    }

    pub async fn operate(&mut self, operation: Operation, order: Option<OrderId>) -> Outcome {
        let reply = self.wallet.start(&Self::start_request(operation, order)).await.unwrap();
        self.converse(reply, None).await
    }

    /// Orders and pays a top-up, and waits until the SP-TSM knows.
    pub async fn paid_order(&self, city: &City, amount_fen: u32) -> OrderId {
        let order = TopUpOrder { request: request_id(), aid: PURSE.into(), amount_fen };
        let record = self.wallet.order_top_up(&order).await.unwrap();
        let payment = record.payment.unwrap();
        city.payer().pay(payment, &Pay { choice: PayChoice::Pay }).await.unwrap();
        for _ in 0..20_000 {
            let now = self.wallet.order(record.order).await;
            if now.is_ok_and(|now| now.state != tsm_api::sp_tsm::wallet::OrderState::Unpaid) {
                return record.order;
            }
        }
        panic!("the payment was never confirmed");
    }

    pub async fn top_up(&mut self, city: &City, amount_fen: u32) -> Outcome {
        let order = self.paid_order(city, amount_fen).await;
        self.operate(Operation::TopUp, Some(order)).await
    }

    /// Opens the card: the SE-TSM's part, the hand-over, the SP-TSM's part.
    pub async fn open(&mut self, city: &City) -> Result<Outcome, ClientError> {
        let operation = OperationId(uuid());
        let reply = self.hand_over(city, operation).await?;
        Ok(self.go_on(reply).await)
    }

    pub async fn go_on(&mut self, reply: HandoverReply) -> Outcome {
        let HandoverReply { conversation, ticket, turn, steps, progress } = reply;
        let reply = ConversationReply::Steps { conversation, turn, steps, progress };
        self.converse(reply, Some(&ticket)).await
    }

    pub fn pre_operation(
        &self,
        operation: OperationId,
        kind: OperationKind,
        aid: Aid,
    ) -> PreOperationRequest {
        let domain = if aid == PURSE { SSD } else { ISD };
        PreOperationRequest {
            operation,
            kind,
            se_id: HexBytes(self.se_id.clone()),
            aid: aid.into(),
            domain_aid: domain.into(),
            msisdn: self.number.map(str::to_owned),
            order: None,
        }
    }

    /// What the SE-TSM does before it hands over: domain, keys, the SP-TSM's INITIALIZE UPDATE.
    pub async fn hand_over(&self, city: &City, operation: OperationId) -> Result<HandoverReply, ClientError> {
        let request = self.handover_request(city, operation).await?;
        city.sp_peer(&city.se_tsm).handover(&request).await
    }

    pub async fn handover_request(
        &self,
        city: &City,
        operation: OperationId,
    ) -> Result<HandoverRequest, ClientError> {
        let request = self.pre_operation(operation, OperationKind::Download, PURSE);
        let allowed = city.sp_peer(&city.se_tsm).pre_operation(&request).await?;
        let PreOperationReply::Allowed { domain_keys, initialize_update, .. } = allowed else {
            panic!("refused: {allowed:?}");
        };
        let initialize_update = CommandApdu::parse(initialize_update.unwrap().as_bytes()).unwrap();
        let next = NextSession { application: SSD, initialize_update };
        self.reset();
        let card = &mut self.channel();
        let isd = KeySetReference::new("operator", "isd", 1).unwrap();
        let isd = scp03(DomainKeySource::Fixed(isd), ISD, 0x30);
        let mut script = Script::new();
        let mut issuer = open_channel(card, &city.operator, &isd, &mut script).await.unwrap();
        let seen = observe(card, &mut issuer, ObservationScope::Card, script).await.unwrap();
        let answer = if seen.application(&SSD).is_some() {
            let mut script = Script::new();
            let hand_over = HandOver::add(next.application, next.initialize_update, &mut script);
            hand_over.take(&mut script.run(card).await.unwrap()).unwrap()
        } else {
            let domain = NewDomain::new(SSD, DomainMode::Two(Management::Own), DomainSpace::Shared);
            let path = DomainPath { domain: SSD, se_id: SeId::new(&self.se_id).unwrap() };
            let root = "domain-root/operator/initial/1".parse().unwrap();
            let initial = scp03(DomainKeySource::TwoLevel { root, path }, SSD, 1);
            let (mut channel, script) =
                create_and_open_domain(card, &city.operator, &mut issuer, &domain, &initial).await.unwrap();
            let put_key = put_key(&domain_keys.unwrap());
            replace_keys_and_go_on(card, &mut channel, script, &put_key, next).await.unwrap()
        };
        let observation = DomainObservation {
            load_files: seen.load_files.value.iter().map(|file| file.aid.into()).collect(),
            applications: seen
                .applications
                .value
                .iter()
                .map(|entry| ObservedApplication {
                    aid: entry.aid.into(),
                    life_cycle: entry.life_cycle.value(),
                })
                .collect(),
            free_bytes: None,
        };
        let progress =
            tsm_api::conversation::Progress { stage: tsm_api::conversation::Stage::Loading, percent: 50 };
        Ok(HandoverRequest {
            operation,
            initialize_update: HexBytes(answer.to_bytes()),
            observation,
            progress,
        })
    }
}

fn put_key(set: &tsm_api::sp_tsm::peer::WrappedKeySet) -> PutKeyRequest {
    let key = |index: usize| {
        let key = &set.keys[index];
        assert_eq!(key.algorithm, tsm_api::sp_tsm::peer::KeyAlgorithm::Aes128);
        WrappedKey {
            algorithm: KeyAlgorithm::Aes128,
            check_value: CheckValue(key.check_value.0.clone().try_into().unwrap()),
            value: WrappedValue(key.wrapped.0.clone()),
        }
    };
    let set_of_keys = WrappedKeySet { enc: key(0), mac: key(1), dek: key(2) };
    let keys = NewKeys::Transferred { set: set_of_keys, kek: set.kek.parse().unwrap() };
    PutKeyRequest { replaces: 1, version: set.key_version, keys }
}

pub fn command_of(step: &Step) -> (CommandApdu, &[tsm_api::conversation::StatusPattern]) {
    match step {
        Step::Select { aid, expected } => {
            let select = CommandApdu::new(0x00, 0xA4, 0x04, 0x00);
            (select.with_data(aid.as_bytes()).with_any_response(), expected)
        }
        Step::Transmit { apdu, expected } => (CommandApdu::parse(apdu.as_bytes()).unwrap(), expected),
    }
}

pub fn installed(outcome: &Outcome) -> bool {
    outcome.result == OutcomeResult::Done && matches!(outcome.detail, OutcomeDetail::Installed { .. })
}

/// What a forger says instead of the card.
pub fn forged(data: &[u8]) -> HexBytes {
    HexBytes(ResponseApdu::new(data, StatusWord::SUCCESS).to_bytes())
}
