//! A centre with an issuer, two operators and a desk, on a clock that is set; a payment platform whose
//! statements are whatever the test says.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use jiff::Timestamp;
use jiff::civil::Date;
use tsm_api::HexBytes;
use tsm_api::clearing::{ConsumptionReport, NewAccount, OrderReport};
use tsm_api::client::{ClearingPeer, Client};
use tsm_api::ids::OrderId as WireOrder;
use tsm_domain::environment::Clock;
use tsm_domain::money::fare::StationId;
use tsm_domain::money::settlement::{BasisPoints, BusinessDay, FeeRule, FeeSchedule};
use tsm_domain::money::{Statement, StatementKind, StatementLine};
use tsm_domain::{Fen, OrderId, TerminalNumber, TransferId};
use tsm_epurse::commands::PurchaseKind;
use tsm_keys::{KeyAlgorithm, KeyService as _, SoftwareKeyService};
use tsm_services::clearing::{Clearing, Duties, Parts, TerminalPlace, Terminals, routes};
use tsm_services::payment::{
    IncomingMessage, NewOrder, NewRefund, Notification, NotificationError, PaymentError, PaymentPlatform,
    PlatformOrder, RefundDone, StatementFailure, StatementPieces,
};
use tsm_services::runtime::Environment;
use tsm_services::server::Server;
use tsm_storage::ClearingStore;
use tsm_storage::clerks::ClerkRole;
use uuid::Uuid;

use crate::centre_clerks::session_of;
use crate::clearing::{SE, sealing_key};
use crate::institution::Institution;
use crate::purse_card::{PREFIX, PurseCard, TERMINAL, import_tac_root, purse_keys};
use crate::support::{Net, SystemClock, SystemEntropy, environment};

/// The day of the tests.
pub const DAY: &str = "2026-11-20";

pub fn day() -> BusinessDay {
    DAY.parse().unwrap()
}

/// A clock that stands where it is set.
pub struct SetClock(Mutex<Timestamp>);

impl SetClock {
    pub fn set(&self, at: &str) {
        *self.0.lock().unwrap() = at.parse().unwrap();
    }
}

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

/// A platform that gives the statements it was told.
#[derive(Default)]
pub struct Statements {
    lines: Mutex<Vec<StatementLine>>,
    /// After so many pieces of two lines this goes wrong.
    broken: Mutex<Option<(usize, Broken)>>,
    /// The day that it has no statement of.
    absent: Mutex<Option<Date>>,
}

/// What becomes of a statement on its way.
#[derive(Clone, Copy, Debug)]
pub enum Broken {
    /// The connection breaks.
    Off,
    /// Another line stands there, and the signature at the end does not fit.
    Altered,
}

impl Statements {
    pub fn set(&self, lines: Vec<StatementLine>) {
        *self.lines.lock().unwrap() = lines;
    }

    pub fn set_broken(&self, after: usize, broken: Option<Broken>) {
        *self.broken.lock().unwrap() = broken.map(|broken| (after, broken));
    }

    pub fn set_absent(&self, day: Option<BusinessDay>) {
        *self.absent.lock().unwrap() = day.map(BusinessDay::date);
    }
}

struct Pieces {
    left: std::collections::VecDeque<Vec<StatementLine>>,
    given: usize,
    broken: Option<(usize, Broken)>,
}

#[async_trait]
impl StatementPieces for Pieces {
    async fn next(&mut self) -> Result<Option<Vec<StatementLine>>, StatementFailure> {
        self.given += 1;
        let lines = self.left.pop_front();
        match self.broken {
            Some((after, Broken::Off)) if self.given > after => {
                Err(PaymentError::Unknown("the connection broke".into()).into())
            }
            Some((_, Broken::Altered)) if lines.is_none() => {
                Err(StatementFailure::Altered("its digest is not that of its text".into()))
            }
            Some((after, Broken::Altered)) if self.given == after + 1 => Ok(lines.map(|mut lines| {
                lines[0].amount = Fen::new(lines[0].amount.get() + 7);
                lines
            })),
            _ => Ok(lines),
        }
    }
}

#[async_trait]
impl PaymentPlatform for Statements {
    async fn create_order(&self, _: &NewOrder) -> Result<PlatformOrder, PaymentError> {
        Err(PaymentError::NotSent("only statements".into()))
    }
    async fn query(&self, _: OrderId) -> Result<PlatformOrder, PaymentError> {
        Err(PaymentError::NotSent("only statements".into()))
    }
    async fn query_payment(&self, _: &tsm_domain::PaymentReference) -> Result<PlatformOrder, PaymentError> {
        Err(PaymentError::NotSent("only statements".into()))
    }
    async fn close(&self, _: OrderId) -> Result<PlatformOrder, PaymentError> {
        Err(PaymentError::NotSent("only statements".into()))
    }
    async fn refund(&self, _: &NewRefund) -> Result<RefundDone, PaymentError> {
        Err(PaymentError::NotSent("only statements".into()))
    }
    async fn verify_notification(&self, _: &IncomingMessage<'_>) -> Result<Notification, NotificationError> {
        Err(NotificationError::Stale)
    }
    async fn statement(&self, day: Date) -> Result<Statement, StatementFailure> {
        Ok(Statement { merchant: "CITY".into(), day, lines: self.lines.lock().unwrap().clone() })
    }
    async fn statement_pieces<'a>(
        &'a self,
        day: Date,
    ) -> Result<Box<dyn StatementPieces + 'a>, StatementFailure> {
        if *self.absent.lock().unwrap() == Some(day) {
            return Err(PaymentError::NotSent("it has lost that one".into()).into());
        }
        let left = self.lines.lock().unwrap().chunks(2).map(<[_]>::to_vec).collect();
        Ok(Box::new(Pieces { left, given: 0, broken: *self.broken.lock().unwrap() }))
    }
}

/// The centre and who deals with it.
pub struct World<S> {
    pub net: Net,
    pub store: Arc<S>,
    pub clock: Arc<SetClock>,
    pub statements: Arc<Statements>,
    keys: SoftwareKeyService,
    pub city: Institution,
    pub metro: Institution,
    pub desk: Institution,
    pub centre: Arc<Clearing>,
    pub server: Server,
}

impl<S: ClearingStore + 'static> World<S> {
    pub async fn on(store: S) -> Self {
        let net = Net::new();
        let keys = SoftwareKeyService::in_memory(Arc::new(SystemEntropy));
        import_tac_root(&keys);
        keys.generate(&sealing_key(), KeyAlgorithm::Aes256).unwrap();
        let of = |number| Institution::new(&net, number);
        let (city, metro, desk) = (of("CITY"), of("METRO"), of("CENTRE"));
        let store = Arc::new(store);
        let clock = Arc::new(SetClock(Mutex::new("2026-11-20T04:00:00Z".parse().unwrap())));
        let statements = Arc::new(Statements::default());
        let peers = [&city, &metro, &desk];
        let centre = build(store.clone(), &keys, &clock, &statements, &peers);
        let server = net.serve(routes(centre.clone()).into_router()).await;
        Self { net, store, clock, statements, keys, city, metro, desk, centre, server }
    }

    /// The process ends and another begins on what the store kept.
    pub fn restart(&mut self) {
        let peers = [&self.city, &self.metro, &self.desk];
        self.centre = build(self.store.clone(), &self.keys, &self.clock, &self.statements, &peers);
    }

    /// A client of the restarted centre. Messages are signed now, whatever the centre's clock says.
    pub fn client(&self, institution: &Institution) -> Client {
        institution.client(&self.net, &self.server, self.clock.clone())
    }

    pub fn peer(&self, institution: &Institution) -> ClearingPeer {
        ClearingPeer::new(self.client(institution))
    }

    /// A client with the session of a person who proposes and approves.
    pub async fn person(&self, institution: &Institution, name: &str) -> Client {
        let roles = [ClerkRole::Proposer, ClerkRole::Approver];
        let of = &institution.peer().institution;
        let session = session_of(&*self.store, of, name, &roles, self.clock.now()).await;
        self.client(institution).with_bearer(session)
    }

    pub async fn card(&self, own: u64) -> PurseCard {
        let card = PurseCard::new(own);
        self.peer(&self.city).open_account(&account(&card)).await.unwrap();
        card
    }

    /// A top-up: paid and credited.
    pub async fn top_up(&self, card: &mut PurseCard, order: u128, fen: u32) {
        self.peer(&self.city).payment(&report(order, card, fen)).await.unwrap();
        let credit = card.load(order, fen);
        self.peer(&self.city).credit(&credit).await.unwrap();
    }

    /// A purchase at the metro's gate.
    pub async fn spend(&self, card: &mut PurseCard, fen: u32) {
        let sale = card.pay(PurchaseKind::Simple, fen);
        let report = ConsumptionReport { terminal: HexBytes(TERMINAL.to_vec()), transactions: vec![sale] };
        self.peer(&self.metro).consumption(&report).await.unwrap();
    }
}

fn build(
    store: Arc<dyn ClearingStore>,
    keys: &SoftwareKeyService,
    clock: &Arc<SetClock>,
    statements: &Arc<Statements>,
    peers: &[&Institution],
) -> Arc<Clearing> {
    let points = |points| BasisPoints::new(points).unwrap();
    let rule = FeeRule {
        operator: None,
        issuer: None,
        from: "2026-01-01".parse().unwrap(),
        until: None,
        rate: points(60),
        issuer_share: points(30),
        acquirer_share: points(20),
    };
    let duties = Duties {
        fees: FeeSchedule::new(vec![rule]).unwrap(),
        platforms: vec![statements.clone()],
        in_flight_days: 1,
        ..Duties::of_issuer(PREFIX, "CITY".parse().unwrap()).with_desk("CENTRE".parse().unwrap())
    };
    Clearing::new(Parts {
        store,
        keys: Arc::new(keys.clone()),
        environment: Environment { clock: clock.clone(), ..environment() },
        institutions: peers.iter().map(|institution| institution.peer()).collect(),
        issuers: vec![(PREFIX.into(), purse_keys())],
        sealing_key: sealing_key(),
        terminals: terminals(),
        duties,
    })
}

/// The metro's gates at stations 1 and 2, and a bus of its.
pub const GATES: [[u8; 6]; 2] = [[0x09, 0x99, 0, 0, 0, 0x51], [0x09, 0x99, 0, 0, 0, 0x52]];
pub const BUS: [u8; 6] = [0x09, 0x99, 0, 0, 0, 0x53];

fn terminals() -> Terminals {
    let number = |bytes| TerminalNumber::from_bcd(bytes).unwrap();
    let gate = |station| TerminalPlace::Gate { industry: 1, station: StationId(station) };
    Terminals::of("METRO", [TERMINAL, GATES[0], GATES[1], BUS].map(number))
        .with_place(number(GATES[0]), gate(1))
        .with_place(number(GATES[1]), gate(2))
        .with_place(number(BUS), TerminalPlace::Boarding { industry: 2 })
}

pub fn account(card: &PurseCard) -> NewAccount {
    NewAccount { card: card.wire(), se_id: HexBytes(SE.to_vec()), aid: HexBytes(vec![0xA0; 8]) }
}

pub fn report(order: u128, card: &PurseCard, amount_fen: u32) -> OrderReport {
    OrderReport { order: WireOrder(Uuid::from_u128(order)), card: card.wire(), amount_fen }
}

/// A payment in the statement.
pub fn paid(order: u128, fen: u64) -> StatementLine {
    StatementLine {
        order: OrderId::from_uuid(Uuid::from_u128(order)),
        payment: format!("P{order}").parse().unwrap(),
        kind: StatementKind::Paid,
        amount: Fen::new(fen),
        at: SystemClock.now(),
    }
}

/// A refund in the statement.
pub fn refunded(order: u128, fen: u64) -> StatementLine {
    let refund = TransferId::from_uuid(Uuid::from_u128(order + 1_000));
    StatementLine { kind: StatementKind::Refunded { refund }, ..paid(order, fen) }
}
