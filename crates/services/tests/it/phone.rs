//! A phone with a software secure element: carries lists to the card and brings the answers, and counts.

use std::sync::Arc;

use tsm_api::HexBytes;
use tsm_api::client::{Client, Counters, SeTsmWallet};
use tsm_api::conversation::{
    CardFault, ConversationReply, IfBusy, OutcomeDetail, Party, StartOptions, Step, TurnRequest,
};
use tsm_api::ids::RequestId;
use tsm_api::problem::ProblemCode;
use tsm_api::se_tsm::wallet::{LoginReply, LoginRequest, Operation, RegistrationRequest, StartRequest};
use tsm_iso7816::{CommandApdu, ResponseApdu};
use tsm_se::{Interface, Profile, SecureElement};
use uuid::Uuid;

/// What a hostile phone does to the answers before it sends them on.
pub type Tamper = Box<dyn FnMut(&[Step], &mut Vec<HexBytes>) + Send>;

/// A phone.
pub struct Phone {
    pub card: SecureElement,
    pub se_id: Vec<u8>,
    pub wallet: SeTsmWallet,
    pub sp: Option<Client>,
    pub counters: Arc<Counters>,
    pub tamper: Option<Tamper>,
    pub token: HexBytes,
    /// Every command that reached the card, by instruction.
    pub seen: Vec<u8>,
    /// The card loses its power before the command of this number.
    pub power_cut_before: Option<usize>,
    /// An instruction that never reaches the card: success is invented in its place.
    pub withheld: Option<u8>,
    client: Client,
}

/// What is lost with the power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// The card never had the command.
    Command,
    /// The card acted, and nobody had its answer.
    Answer,
}

impl Phone {
    pub fn new(client: Client, se_id: &[u8]) -> Self {
        let randomness = |bytes: &mut [u8]| getrandom::fill(bytes).unwrap();
        let card = SecureElement::create(&Profile::development(se_id), Box::new(randomness)).unwrap();
        let counters = Arc::new(Counters::default());
        let client = client.counting(counters.clone());
        Self {
            card,
            se_id: se_id.to_vec(),
            wallet: SeTsmWallet::new(client.clone()),
            sp: None,
            counters,
            tamper: None,
            token: HexBytes::default(),
            seen: Vec::new(),
            power_cut_before: None,
            withheld: None,
            client,
        }
    }

    pub fn request_id() -> RequestId {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).unwrap();
        RequestId(Uuid::from_bytes(bytes))
    }

    /// Requests made by this phone since the last time it was asked.
    pub fn round_trips(&self) -> u64 {
        self.counters.read().requests
    }

    pub fn registration(&self, msisdn: Option<&str>) -> RegistrationRequest {
        RegistrationRequest {
            request: Self::request_id(),
            agreement_version: "1".into(),
            accepted_at: jiff::Timestamp::now(),
            se_id: HexBytes(self.se_id.clone()),
            msisdn: msisdn.map(str::to_owned),
            imsi_digest: Some(HexBytes(vec![7; 20])),
        }
    }

    /// Registers, and keeps token and session.
    pub async fn register(&mut self, msisdn: &str) -> ConversationReply {
        let request = self.registration(Some(msisdn));
        let reply = self.wallet.register(&request).await.unwrap();
        let end = self.converse(reply).await;
        if let ConversationReply::Outcome { outcome, .. } = &end
            && let OutcomeDetail::Registered { token, session } = &outcome.detail
        {
            self.token = token.clone();
            self.wallet = SeTsmWallet::new(self.client.clone().with_bearer(session));
        }
        end
    }

    /// Logs in, and keeps the session.
    pub async fn login(&mut self) -> LoginReply {
        let reply = self.wallet.login(&self.login_request()).await.unwrap();
        self.wallet = SeTsmWallet::new(self.client.clone().with_bearer(&reply.session));
        reply
    }

    pub fn login_request(&self) -> LoginRequest {
        LoginRequest { se_id: HexBytes(self.se_id.clone()), token: self.token.clone(), msisdn: None }
    }

    pub fn start_request(operation: Operation, aid: &HexBytes, ticket: &str) -> StartRequest {
        StartRequest {
            options: StartOptions { request: Self::request_id(), if_busy: IfBusy::Ask },
            operation,
            aid: Some(aid.clone()),
            ticket: Some(ticket.to_owned()),
            order: None,
        }
    }

    /// Starts an operation and holds it to its end.
    pub async fn operate(&mut self, operation: Operation, aid: &HexBytes, ticket: &str) -> ConversationReply {
        let reply = self.wallet.start(&Self::start_request(operation, aid, ticket)).await.unwrap();
        self.converse(reply).await
    }

    /// Holds a conversation in which the card loses its power at a command; `seen` holds what reached it.
    pub async fn converse_torn(
        &mut self,
        first: ConversationReply,
        lost: Lost,
        command: usize,
    ) -> ConversationReply {
        self.seen.clear();
        match lost {
            Lost::Command => self.power_cut_before = Some(command),
            Lost::Answer => {
                self.power_cut_before = Some(command + 1);
                let mut left = command;
                self.tamper = Some(Box::new(move |_, responses| {
                    responses.truncate(left);
                    left -= responses.len();
                }));
            }
        }
        let ended = self.converse(first).await;
        self.tamper = None;
        self.restore_power();
        ended
    }

    /// Holds a conversation to its end.
    pub async fn converse(&mut self, mut reply: ConversationReply) -> ConversationReply {
        let (mut party, mut ticket) = (Party::SeTsm, None);
        loop {
            let (conversation, turn, steps) = match reply {
                ConversationReply::Steps { conversation, turn, steps, .. } => (conversation, turn, steps),
                ConversationReply::Handover {
                    party: next, conversation, ticket: shown, turn, steps, ..
                } => {
                    (party, ticket) = (next, Some(shown));
                    (conversation, turn, steps)
                }
                ConversationReply::Queued { conversation, turn, .. } => (conversation, turn, Vec::new()),
                end @ (ConversationReply::Outcome { .. } | ConversationReply::Restart { .. }) => return end,
            };
            let mut responses = self.carry(&steps);
            if let Some(tamper) = &mut self.tamper {
                tamper(&steps, &mut responses);
            }
            let fault = self.has_lost_the_card().then_some(CardFault::CardLost);
            let request = TurnRequest { turn, responses, ticket: ticket.clone(), fault };
            reply = match party {
                Party::SeTsm => match self.wallet.turn(conversation, &request).await {
                    Ok(reply) => reply,
                    // Impossible answers are refused at once; a liar then has lost the card.
                    Err(error) if self.tamper.is_some() => {
                        assert_eq!(error.code(), Some(ProblemCode::MalformedRequest), "{error}");
                        let fault = Some(CardFault::CardLost);
                        let request = TurnRequest { turn, fault, ..TurnRequest::default() };
                        self.wallet.turn(conversation, &request).await.unwrap()
                    }
                    Err(error) => panic!("{error}"),
                },
                Party::SpTsm => {
                    let sp = self.sp.clone().unwrap();
                    let id = conversation.to_string();
                    sp.call(&tsm_api::sp_tsm::wallet::TURN, &[&id], &request).await.unwrap()
                }
                Party::Payment => panic!("nobody here pays"),
            };
        }
    }

    fn has_lost_the_card(&self) -> bool {
        self.power_cut_before.is_some_and(|cut| self.seen.len() >= cut)
    }

    /// The power is back: the card starts anew with what its memory kept.
    pub fn restore_power(&mut self) {
        self.power_cut_before = None;
        self.card.power_on().unwrap();
        self.card.reset(Interface::Contact);
    }

    /// Carries a list to the card, and stops at the first unexpected status word.
    pub fn carry(&mut self, steps: &[Step]) -> Vec<HexBytes> {
        let mut responses = Vec::new();
        for step in steps {
            let (command, expected) = match step {
                Step::Select { aid, expected } => {
                    let select = CommandApdu::new(0, 0xA4, 4, 0).with_data(aid.0.clone()).with_any_response();
                    (select, expected)
                }
                Step::Transmit { apdu, expected } => (CommandApdu::parse(&apdu.0).unwrap(), expected),
            };
            if self.has_lost_the_card() {
                break;
            }
            if self.withheld == Some(command.ins) {
                responses.push(HexBytes(vec![0x90, 0x00]));
                continue;
            }
            self.seen.push(command.ins);
            let response = self.card.exchange(Interface::Contact, &command);
            let response = response.unwrap_or_else(|| ResponseApdu::parse(&[0x6F, 0x00]).unwrap());
            let go_on = expected.iter().any(|pattern| pattern.fits(response.status));
            responses.push(HexBytes(response.to_bytes()));
            if !go_on {
                break;
            }
        }
        responses
    }
}
