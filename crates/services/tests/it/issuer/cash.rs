//! Cash at a top-up terminal: the terminal, the card and the issuer's servers, torn everywhere.
//!
//! In each case, when the rider has come back once: what is on the card is what the centre booked as cash, the
//! terminal kept that much and gave the rest back, and no fen is in two places.

use std::sync::{Arc, Mutex};

use tsm_api::client::{ClientError, SpTsmTerminal};
use tsm_api::conversation::{OutcomeDetail, OutcomeResult};
use tsm_api::ids::OperationId;
use tsm_api::problem::ProblemCode;
use tsm_api::sp_tsm::terminal::{CashTopUpRecord, CashTopUpRequest, CashTopUpState};
use tsm_api::sp_tsm::wallet::{Operation, OrderState};
use tsm_epurse::{Amount, DateTime, TerminalNumber};
use tsm_iso7816::{CommandApdu, ResponseApdu};
use tsm_se::{Interface, SecureElement};
use tsm_storage::memory::Crash;
use tsm_terminal::top_up::{Answer, Ask, CashOutcome, Flow, Next};
use tsm_terminal::{CardReader, InMemory, ReaderError, TerminalClass, TerminalState, TopUpTerminal};

use crate::issuer::city::{City, PURSE};
use crate::issuer::phone::{Lost, Phone, request_id, uuid};

/// The phone as it lies on a terminal.
pub struct Field {
    card: Arc<Mutex<SecureElement>>,
    lost: Lost,
    sent: usize,
}

impl Field {
    pub fn of(phone: &Phone, lost: Lost) -> Self {
        phone.card.lock().unwrap().reset(Interface::Contactless);
        Self { card: phone.card.clone(), lost, sent: 0 }
    }
}

impl CardReader for Field {
    fn transmit(&mut self, command: &CommandApdu) -> Result<ResponseApdu, ReaderError> {
        let number = self.sent;
        self.sent += 1;
        let mut card = self.card.lock().unwrap();
        if self.lost == Lost::Command(number) {
            card.reset(Interface::Contactless);
            return Err(ReaderError::CardLeft);
        }
        let answer = card.transmit(Interface::Contactless, &command.to_bytes().unwrap());
        if self.lost == Lost::Response(number) {
            card.reset(Interface::Contactless);
            return Err(ReaderError::CardLeft);
        }
        ResponseApdu::parse(&answer).map_err(|_| ReaderError::NotAResponse)
    }
}

/// Which message fails, and whether it arrives before its answer is lost. After it the line is down.
pub type LostMessage = Option<(usize, bool)>;

pub struct Station {
    terminal: TopUpTerminal<InMemory>,
    line: SpTsmTerminal,
}

impl Station {
    pub fn new(city: &City, number: u8) -> Self {
        let number = TerminalNumber::new([0x09, 0x99, 0, 0, 0, number]);
        let (state, store) = (TerminalState::default(), InMemory::default());
        let terminal = TopUpTerminal::new(TerminalClass::A, number, state, store);
        Self { terminal, line: city.terminal_line(&city.gate_operator) }
    }

    pub async fn insert(
        &mut self,
        field: &mut Field,
        amount: u32,
        lost: LostMessage,
    ) -> (OperationId, CashOutcome) {
        let operation = uuid();
        let amount = Amount::from_fen(amount);
        let begun = self.terminal.insert(field, amount, operation, at()).unwrap();
        (OperationId(operation), self.hold(field, begun, lost).await)
    }

    async fn again(&mut self, phone: &Phone, operation: OperationId) -> CashOutcome {
        let field = &mut Field::of(phone, Lost::Nothing);
        let begun = self.terminal.again(field, operation.0).unwrap();
        self.hold(field, begun, None).await
    }

    async fn elsewhere(&mut self, phone: &Phone, taken: &CashTopUpRecord) -> CashOutcome {
        let field = &mut Field::of(phone, Lost::Nothing);
        let begun = self.terminal.elsewhere(field, taken, 100).unwrap();
        self.hold(field, begun, None).await
    }

    async fn hold(&mut self, field: &mut Field, begun: (Flow, Next), lost: LostMessage) -> CashOutcome {
        let (mut flow, mut next) = begun;
        let mut asked = 0;
        loop {
            let ask = match next {
                Next::Done(outcome) => return outcome,
                Next::Ask(ask) => ask,
            };
            let number = asked;
            asked += 1;
            let answer = match lost {
                Some((message, arrives)) if number > message || (number == message && !arrives) => {
                    Answer::Nothing
                }
                Some((message, true)) if number == message => {
                    self.ask(ask).await;
                    Answer::Nothing
                }
                Some(_) | None => self.ask(ask).await,
            };
            next = self.terminal.answered(field, &mut flow, answer).unwrap();
        }
    }

    async fn ask(&self, ask: Ask) -> Answer {
        fn answer<T>(result: Result<T, ClientError>, wrap: fn(T) -> Answer) -> Answer {
            match result {
                Ok(reply) => wrap(reply),
                Err(ClientError::Refused(problem)) if problem.code.status() < 500 => {
                    Answer::Refused(*problem)
                }
                Err(_) => Answer::Nothing,
            }
        }
        match ask {
            Ask::Begin(request) => answer(self.line.begin(&request).await, Answer::Begun),
            Ask::Turn(id, request) => answer(self.line.turn(id, &request).await, Answer::Turned),
            Ask::Cancel(request) => answer(self.line.cancel(&request).await, Answer::Cancelled),
        }
    }

    /// Held, kept and given back.
    fn cash(&self) -> (u64, u64, u64) {
        let cash = self.terminal.state().cash();
        (cash.held_fen(), cash.kept_fen(), cash.given_back_fen())
    }
}

fn at() -> DateTime {
    DateTime::from_calendar((2027, 3, 14), (10, 0, 0)).unwrap()
}

pub async fn opened(city: &City) -> Phone {
    let mut phone = Phone::for_terminals(city, 1);
    assert!(crate::issuer::phone::installed(&phone.open(city).await.unwrap()));
    phone
}

async fn state(station: &Station, operation: OperationId) -> CashTopUpState {
    station.line.status(operation).await.unwrap().state
}

/// req: B-3.7.a, B-7.4.1.c
#[tokio::test]
async fn cash_is_on_the_card_and_in_the_books() {
    let city = City::new().await;
    let mut phone = opened(&city).await;
    let mut station = Station::new(&city, 0x51);
    let (operation, outcome) = station.insert(&mut Field::of(&phone, Lost::Nothing), 5_000, None).await;
    let balance = Some(Amount::from_fen(5_000));
    let amount = Amount::from_fen(5_000);
    assert_eq!(outcome, CashOutcome::ToppedUp { amount, balance, waiting: Vec::new() });
    assert_eq!((phone.balance().await, station.cash()), (5_000, (0, 5_000, 0)));
    let books = city.settled(5_000).await;
    assert_eq!((books.cash_in_fen, books.paid_in_fen), (5_000, 0));
    assert_eq!(state(&station, operation).await, CashTopUpState::Credited);

    // Paid online and paid in cash take turns on one counter.
    let online = phone.top_up(&city, 300).await;
    assert_eq!(online.detail, OutcomeDetail::ToppedUp { amount_fen: 300, balance_fen: 5_300, counter: 2 });
    let (_, outcome) = station.insert(&mut Field::of(&phone, Lost::Nothing), 1_000, None).await;
    assert!(matches!(outcome, CashOutcome::ToppedUp { .. }), "{outcome:?}");
    let books = city.settled(6_300).await;
    assert_eq!((books.cash_in_fen, books.paid_in_fen), (6_000, 300));
    let number = city.card_number(&phone.card_number().await);
    let account = city.centre_peer(&city.sp_tsm).account(&number).await.unwrap();
    assert_eq!((account.credited_fen, account.online_counter), (6_300, 3));
    let card = phone.wallet.card(&PURSE.into()).await.unwrap();
    assert_eq!(card.credits.len(), 3, "the rider sees cash and payments alike");
}

/// How the outcome is found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Recovery {
    SameTerminal,
    AnotherTerminal,
    Synchronise,
    NextTopUp,
}

const RECOVERIES: [Recovery; 4] =
    [Recovery::SameTerminal, Recovery::AnotherTerminal, Recovery::Synchronise, Recovery::NextTopUp];

/// After an unknown end the card is asked in one way or another; then the terminal learns what became of its cash.
async fn recover(
    city: &City,
    phone: &mut Phone,
    station: &mut Station,
    (operation, amount): (OperationId, u32),
    recovery: Recovery,
) -> u32 {
    let mut more = 0;
    match recovery {
        Recovery::SameTerminal => {}
        Recovery::AnotherTerminal => {
            if let Ok(taken) = station.line.status(operation).await {
                let mut other = Station::new(city, 0x52);
                let outcome = other.elsewhere(phone, &taken).await;
                assert!(matches!(outcome, CashOutcome::ToppedUp { .. }), "{outcome:?}");
                assert_eq!(other.cash(), (0, 0, 0), "the other terminal took nothing");
            }
        }
        Recovery::Synchronise => {
            let outcome = phone.operate(Operation::Synchronise, None).await;
            assert_eq!(outcome.result, OutcomeResult::Done, "{outcome:?}");
        }
        Recovery::NextTopUp => {
            let outcome = phone.top_up(city, 100).await;
            assert_eq!(outcome.result, OutcomeResult::Done, "{outcome:?}");
            more = 100;
        }
    }
    if let Ok(record) = station.line.status(operation).await {
        station.terminal.learn(&record).unwrap();
    }
    if station.terminal.state().cash().find(operation.0).is_some() {
        let outcome = station.again(phone, operation).await;
        assert!(matches!(outcome, CashOutcome::ToppedUp { .. }), "{recovery:?}: {outcome:?}");
    }
    let _ = amount;
    more
}

/// The link to the card is torn at every APDU, before and after the card acted, and the outcome is found out in
/// every way there is.
#[tokio::test]
async fn a_cash_top_up_torn_at_every_apdu_credits_once() {
    let city = City::new().await;
    let mut phone = opened(&city).await;
    let mut station = Station::new(&city, 0x51);
    let (mut cash, mut online, mut points, mut unknown) = (0, 0, 0, 0);
    // Two to find the purse before any cash is taken, then SELECT, INITIALIZE FOR LOAD, CREDIT FOR LOAD.
    for at in 2..5 {
        for lost in [Lost::Command(at), Lost::Response(at)] {
            for recovery in RECOVERIES {
                let (operation, outcome) = station.insert(&mut Field::of(&phone, lost), 200, None).await;
                assert!(matches!(outcome, CashOutcome::Unknown { .. }), "{lost:?}: {outcome:?}");
                if at == 4 {
                    let request = request_of(&station, operation).await;
                    let refused = station.line.cancel(&request).await.unwrap_err();
                    assert_eq!(refused.code(), Some(ProblemCode::OutcomeUnknown), "nothing goes back yet");
                    unknown += 1;
                }
                online += recover(&city, &mut phone, &mut station, (operation, 200), recovery).await;
                cash += 200;
                points += 1;
                assert_eq!(phone.balance().await, cash + online, "{lost:?} {recovery:?}");
                assert_eq!(station.cash(), (0, cash.into(), 0), "{lost:?} {recovery:?}");
            }
        }
    }
    let books = city.settled((cash + online).into()).await;
    assert_eq!((books.cash_in_fen, books.paid_in_fen), (cash.into(), online.into()));
    println!("{points} cut points at APDUs of a cash top-up, {unknown} with an open attempt");
}

/// Every message is lost on its way there or back, and the outcome is found out in every way there is.
#[tokio::test]
async fn a_cash_top_up_with_every_message_lost_credits_once() {
    let city = City::new().await;
    let mut phone = opened(&city).await;
    let mut station = Station::new(&city, 0x51);
    let (mut cash, mut online, mut points) = (0, 0, 0);
    for message in 0..3 {
        for arrives in [false, true] {
            for recovery in RECOVERIES {
                let field = &mut Field::of(&phone, Lost::Nothing);
                let (operation, outcome) = station.insert(field, 200, Some((message, arrives))).await;
                assert!(matches!(outcome, CashOutcome::Unknown { .. }), "{message} {arrives}: {outcome:?}");
                assert_eq!(station.cash().2, 0, "nothing goes back on silence");
                online += recover(&city, &mut phone, &mut station, (operation, 200), recovery).await;
                cash += 200;
                points += 1;
                assert_eq!(phone.balance().await, cash + online, "{message} {arrives} {recovery:?}");
                assert_eq!(station.cash(), (0, cash.into(), 0), "{message} {arrives} {recovery:?}");
            }
        }
    }
    city.settled((cash + online).into()).await;
    println!("{points} cut points at messages of a cash top-up");
}

/// The SP-TSM dies before and after each commit.
#[tokio::test]
async fn a_server_that_crashes_at_any_commit_of_a_cash_top_up_credits_once() {
    let mut city = City::new().await;
    let mut phone = opened(&city).await;
    let (mut sum, mut crashes) = (0, 0);
    for commit in 1..=9 {
        for crash in [Crash::BeforeCommit, Crash::AfterCommit] {
            let mut station = Station::new(&city, 0x51);
            city.faults.crash_at(city.faults.commits() + commit, crash);
            let (operation, outcome) = station.insert(&mut Field::of(&phone, Lost::Nothing), 200, None).await;
            if city.faults.is_down() {
                crashes += 1;
                city.restart_sp_tsm().await;
                phone.reconnect(&city);
                station.line = city.terminal_line(&city.gate_operator);
            }
            city.faults.restart();
            if !matches!(outcome, CashOutcome::ToppedUp { .. }) {
                assert!(matches!(outcome, CashOutcome::Unknown { .. }), "{commit} {crash:?}: {outcome:?}");
                let outcome = station.again(&phone, operation).await;
                assert!(matches!(outcome, CashOutcome::ToppedUp { .. }), "{commit} {crash:?}: {outcome:?}");
            }
            sum += 200;
            assert_eq!((phone.balance().await, station.cash()), (sum, (0, 200, 0)), "{commit} {crash:?}");
        }
    }
    let books = city.settled(sum.into()).await;
    assert_eq!(books.cash_in_fen, u64::from(sum));
    assert!(crashes > 10, "{crashes} crashes");
    println!("{crashes} crashes of the SP-TSM in cash top-ups");
}

/// A payment that the phone left open is settled at the terminal, and the cash goes on top of it.
#[tokio::test]
async fn a_terminal_settles_what_a_phone_left_open() {
    let city = City::new().await;
    let mut phone = opened(&city).await;
    let mut station = Station::new(&city, 0x51);
    let order = phone.paid_order(&city, 700).await;
    (phone.lost, phone.sent) = (Lost::Response(2), 0);
    assert_eq!(phone.operate(Operation::TopUp, Some(order)).await.result, OutcomeResult::Unknown);
    phone.lost = Lost::Nothing;
    let (_, outcome) = station.insert(&mut Field::of(&phone, Lost::Nothing), 200, None).await;
    assert!(matches!(outcome, CashOutcome::ToppedUp { .. }), "{outcome:?}");
    assert_eq!(phone.balance().await, 900);
    assert_eq!(phone.wallet.order(order).await.unwrap().state, OrderState::Done);
    let books = city.settled(900).await;
    assert_eq!((books.cash_in_fen, books.paid_in_fen), (200, 700));
}

async fn request_of(station: &Station, operation: OperationId) -> CashTopUpRequest {
    let record = station.line.status(operation).await.unwrap();
    request(&record)
}

fn request(record: &CashTopUpRecord) -> CashTopUpRequest {
    CashTopUpRequest {
        operation: record.operation,
        request: request_id(),
        terminal: record.terminal.clone(),
        card: record.card.clone(),
        amount_fen: record.amount_fen,
    }
}

/// Cash goes back when the issuer has cancelled, for operations that it knows and that it does not; never twice,
/// and what was cancelled credits no more.
#[tokio::test]
async fn cancelled_cash_goes_back_and_credits_no_more() {
    let city = City::new().await;
    let phone = opened(&city).await;
    let mut station = Station::new(&city, 0x51);
    // The card leaves before INITIALIZE FOR LOAD: an order, and no attempt.
    let (operation, outcome) = station.insert(&mut Field::of(&phone, Lost::Command(2)), 200, None).await;
    assert!(matches!(outcome, CashOutcome::Unknown { .. }), "{outcome:?}");
    let known = request_of(&station, operation).await;
    for _ in 0..2 {
        assert_eq!(station.line.cancel(&known).await.unwrap().state, CashTopUpState::Cancelled);
    }
    let begun = station.line.begin(&known).await.unwrap();
    assert_eq!((begun.record.state, begun.conversation), (CashTopUpState::Cancelled, None));
    let outcome = station.again(&phone, operation).await;
    assert!(matches!(outcome, CashOutcome::GivenBack { .. }), "{outcome:?}");
    assert_eq!(station.cash(), (0, 0, 200));

    // A cancel that overtakes the beginning.
    let unheard = CashTopUpRequest { operation: OperationId(uuid()), ..known.clone() };
    assert_eq!(station.line.cancel(&unheard).await.unwrap().state, CashTopUpState::Cancelled);
    let late = station.line.begin(&unheard).await.unwrap();
    assert_eq!((late.record.state, late.conversation), (CashTopUpState::Cancelled, None));
    // Another amount or card under a used number.
    let other = CashTopUpRequest { amount_fen: 300, ..known.clone() };
    assert_eq!(station.line.begin(&other).await.unwrap_err().code(), Some(ProblemCode::Duplicate));
    assert_eq!(station.line.cancel(&other).await.unwrap_err().code(), Some(ProblemCode::Duplicate));
    // What is on the card is not cancelled.
    let (operation, _) = station.insert(&mut Field::of(&phone, Lost::Nothing), 500, None).await;
    let credited = request_of(&station, operation).await;
    assert_eq!(station.line.cancel(&credited).await.unwrap().state, CashTopUpState::Credited);
    assert_eq!((phone.balance().await, station.cash()), (500, (0, 500, 200)));
    city.settled(500).await;
}

/// What the issuer refuses goes back at once: foreign cards, amounts outside the limits.
#[tokio::test]
async fn refused_cash_goes_back() {
    let city = City::new().await;
    let phone = opened(&city).await;
    let mut station = Station::new(&city, 0x51);
    let mut back = 0;
    for amount in [1, 50_001] {
        let (_, outcome) = station.insert(&mut Field::of(&phone, Lost::Nothing), amount, None).await;
        let CashOutcome::GivenBack { problem, .. } = outcome else { panic!("{outcome:?}") };
        assert_eq!(problem.unwrap().code, ProblemCode::AmountRefused);
        back += u64::from(amount);
        assert_eq!(station.cash(), (0, 0, back));
    }
    let foreign = CashTopUpRequest {
        operation: OperationId(uuid()),
        request: request_id(),
        terminal: vec![9, 0x99, 0, 0, 0, 0x51].into(),
        card: city.card_number("3104999000000000001"),
        amount_fen: 500,
    };
    assert_eq!(station.line.begin(&foreign).await.unwrap_err().code(), Some(ProblemCode::UnknownId));
    assert_eq!(station.line.cancel(&foreign).await.unwrap().state, CashTopUpState::Cancelled);
    let malformed = CashTopUpRequest { terminal: vec![0xAA; 6].into(), ..foreign };
    assert_eq!(station.line.begin(&malformed).await.unwrap_err().code(), Some(ProblemCode::ValueRefused));
    let unknown = station.line.status(OperationId(uuid())).await.unwrap_err();
    assert_eq!(unknown.code(), Some(ProblemCode::UnknownId));
}

/// Nobody but an institution with terminals takes cash; no wallet gets it back by cancelling its order.
#[tokio::test]
async fn only_terminals_take_cash() {
    let city = City::new().await;
    let phone = opened(&city).await;
    let mut station = Station::new(&city, 0x51);
    let (operation, _) = station.insert(&mut Field::of(&phone, Lost::Command(2)), 200, None).await;
    let known = request_of(&station, operation).await;
    // The payment platform shows no certificate here: it is nobody to the SP-TSM but by its signed word.
    let refusals =
        [(&city.se_tsm, ProblemCode::NotAllowed), (&city.payment, ProblemCode::PeerCertificateRequired)];
    for (organisation, reason) in refusals {
        let line = city.terminal_line(organisation);
        for refused in [
            line.begin(&known).await.map(|_| ()),
            line.cancel(&known).await.map(|_| ()),
            line.status(operation).await.map(|_| ()),
        ] {
            assert_eq!(refused.unwrap_err().code(), Some(reason), "{}", organisation.name);
        }
    }
    let stranger = SpTsmTerminal::new(city.anonymous(city.places()[0]));
    let refused = stranger.begin(&known).await.unwrap_err();
    assert_eq!(refused.code(), Some(ProblemCode::PeerCertificateRequired));
    let order = station.line.status(operation).await.unwrap().order.unwrap();
    let refused = phone.wallet.cancel_order(order).await.unwrap_err();
    assert_eq!(refused.code(), Some(ProblemCode::StateForbids));
    assert_eq!(state(&station, operation).await, CashTopUpState::Waiting);
}
