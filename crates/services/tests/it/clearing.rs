//! The clearing centre: accounts once, credits once, consumption proven, books that balance whatever is
//! lost, repeated, forged or contradicted on the way.

use std::sync::Arc;

use tsm_api::HexBytes;
use tsm_api::clearing::{
    self, AccountRecord, AccountState, Books, Consumption, ConsumptionReport, ConsumptionVerdict as Verdict,
    CreditMeans, CreditReport, NewAccount, OrderReport,
};
use tsm_api::client::{ClearingPeer, ClientError};
use tsm_api::ids::OrderId;
use tsm_api::problem::ProblemCode;
use tsm_domain::TerminalNumber;
use tsm_domain::environment::Clock;
use tsm_epurse::commands::PurchaseKind;
use tsm_keys::{KeyAlgorithm, KeyReference, KeyService as _, SoftwareKeyService};
use tsm_services::clearing::{Clearing, Duties, Parts, Terminals, routes};
use tsm_services::server::Server;
use tsm_storage::memory::{Crash, Faults, MemoryClearing};
use tsm_storage::shared::{ChainKey, Entry, IncidentFilter};
use tsm_storage::sqlite::SqliteClearing;
use tsm_storage::{ClearingStore, StorageError};
use uuid::Uuid;

use crate::institution::{Institution, Tampered, Tampering, check_closed};
use crate::purse_card::{PREFIX, PurseCard, TERMINAL, import_tac_root, purse_keys};
use crate::support::{Net, SystemClock, SystemEntropy, environment};

pub const SE: [u8; 8] = [0x10, 0, 0, 0, 0, 0, 0, 1];

/// A centre that one institution reports to.
pub struct Centre<S> {
    net: Net,
    keys: SoftwareKeyService,
    pub store: Arc<S>,
    city: Institution,
    server: Server,
    pub service: Arc<Clearing>,
    pub peer: ClearingPeer,
}

impl<S: ClearingStore + 'static> Centre<S> {
    pub async fn on(store: S) -> Self {
        let net = Net::new();
        let keys = SoftwareKeyService::in_memory(Arc::new(SystemEntropy));
        import_tac_root(&keys);
        keys.generate(&sealing_key(), KeyAlgorithm::Aes256).unwrap();
        let city = Institution::new(&net, "CITY");
        let store = Arc::new(store);
        let (service, server) = start(&net, &keys, store.clone(), &city).await;
        let peer = ClearingPeer::new(city.client(&net, &server, Arc::new(SystemClock)));
        Self { net, keys, store, city, server, service, peer }
    }

    /// The process ends and another begins on what the store kept.
    pub async fn restart(&mut self) {
        (self.service, self.server) = start(&self.net, &self.keys, self.store.clone(), &self.city).await;
        self.peer = ClearingPeer::new(self.city.client(&self.net, &self.server, Arc::new(SystemClock)));
    }

    pub async fn consume(&self, transactions: &[Consumption]) -> Vec<Verdict> {
        self.peer.consumption(&at_terminal(transactions)).await.unwrap().verdicts
    }

    pub async fn journal(&self, card: &PurseCard) -> Vec<String> {
        let entries = self.store.chain(ChainKey::Card(card.number), 0, 100).await.unwrap();
        assert_eq!(Entry::check_chain(None, &entries), Ok(()));
        entries.into_iter().map(|entry| entry.note.event).collect()
    }

    pub async fn incidents(&self) -> Vec<String> {
        let incidents = self.store.incidents(IncidentFilter::Open, 100).await.unwrap();
        incidents.into_iter().rev().map(|incident| incident.kind).collect()
    }

    /// An account of a new card.
    pub async fn card(&self, own: u64) -> PurseCard {
        let card = PurseCard::new(own);
        self.peer.open_account(&account(&card)).await.unwrap();
        card
    }
}

pub fn sealing_key() -> KeyReference {
    "sealing/centre/parked-cards/1".parse().unwrap()
}

async fn start(
    net: &Net,
    keys: &SoftwareKeyService,
    store: Arc<dyn ClearingStore>,
    city: &Institution,
) -> (Arc<Clearing>, Server) {
    let centre = Clearing::new(Parts {
        store,
        keys: Arc::new(keys.clone()),
        environment: environment(),
        institutions: vec![city.peer()],
        issuers: vec![(PREFIX.into(), purse_keys())],
        sealing_key: sealing_key(),
        terminals: Terminals::of(&city.number, [TerminalNumber::from_bcd(TERMINAL).unwrap()]),
        duties: Duties::of_issuer(PREFIX, city.number.parse().unwrap()),
    });
    let server = net.serve(routes(centre.clone()).into_router()).await;
    (centre, server)
}

pub fn account(card: &PurseCard) -> NewAccount {
    NewAccount { card: card.wire(), se_id: HexBytes(SE.to_vec()), aid: HexBytes(vec![0xA0; 8]) }
}

pub fn order(number: u128, card: &PurseCard, amount_fen: u32) -> OrderReport {
    OrderReport { order: OrderId(Uuid::from_u128(number)), card: card.wire(), amount_fen }
}

fn at_terminal(transactions: &[Consumption]) -> ConsumptionReport {
    ConsumptionReport { terminal: HexBytes(TERMINAL.to_vec()), transactions: transactions.to_vec() }
}

fn code<T: std::fmt::Debug>(result: Result<T, ClientError>) -> ProblemCode {
    let error = result.unwrap_err();
    error.code().unwrap_or_else(|| panic!("{error}"))
}

/// The money equation: what was paid in is in the other terms.
fn balanced(books: Books) -> Books {
    let Books {
        paid_in_fen,
        cash_in_fen,
        purses_fen,
        in_flight_fen,
        parked_fen,
        refund_payable_fen,
        spent_fen,
        refunded_fen,
        ..
    } = books;
    let found = purses_fen + in_flight_fen + parked_fen + refund_payable_fen + spent_fen + refunded_fen;
    assert_eq!(paid_in_fen + cash_in_fen, found, "{books:?}");
    books
}

async fn a_life(centre: Centre<impl ClearingStore + 'static>) {
    let mut card = PurseCard::new(1);
    let empty = centre.peer.open_account(&account(&card)).await.unwrap();
    assert_eq!((empty.state, empty.credited_fen, empty.online_counter), (AccountState::Live, 0, 0));

    let twice = order(7, &card, 5_000);
    for _ in 0..2 {
        centre.peer.payment(&twice).await.unwrap();
    }
    let books = balanced(centre.peer.books().await.unwrap());
    assert_eq!((books.paid_in_fen, books.in_flight_fen), (5_000, 5_000));

    let credit = card.load(7, 5_000);
    let receipt = centre.peer.credit(&credit).await.unwrap();
    assert_eq!(centre.peer.credit(&credit).await.unwrap(), receipt, "the same credit again");
    let books = balanced(centre.peer.books().await.unwrap());
    assert_eq!((books.in_flight_fen, books.purses_fen), (0, 5_000));

    let trip = [card.pay(PurchaseKind::Composite, 0), card.pay(PurchaseKind::Composite, 400)];
    let sale = card.pay(PurchaseKind::Simple, 150);
    assert_eq!(centre.consume(&trip).await, [Verdict::Recorded; 2]);
    let all = [trip[0].clone(), sale.clone(), trip[1].clone(), sale];
    let verdicts = centre.consume(&all).await;
    assert_eq!(verdicts, [Verdict::Duplicate, Verdict::Recorded, Verdict::Duplicate, Verdict::Duplicate]);
    let books = balanced(centre.peer.books().await.unwrap());
    assert_eq!((books.purses_fen, books.spent_fen), (card.balance().into(), 550));

    // A second order is paid for, cancelled and given back.
    let second = order(8, &card, 2_000);
    for _ in 0..2 {
        centre.peer.payment(&second).await.unwrap();
        centre.peer.cancellation(&second).await.unwrap();
        centre.peer.refund(&second).await.unwrap();
    }
    let expected = Books {
        paid_in_fen: 7_000,
        purses_fen: 4_450,
        spent_fen: 550,
        refunded_fen: 2_000,
        ..Books::default()
    };
    assert_eq!(balanced(centre.peer.books().await.unwrap()), expected);

    let record = centre.peer.account(&card.wire()).await.unwrap();
    let expected = AccountRecord {
        credited_fen: 5_000,
        spent_fen: 550,
        proven_balance_fen: 4_450,
        online_counter: 1,
        held: None,
        ..empty
    };
    assert_eq!(record, expected);
    let journal = centre.journal(&card).await;
    let once = [
        "account-opened",
        "card-live",
        "payment-confirmed",
        "credit-recorded",
        "purchase-recorded",
        "purchase-recorded",
        "purchase-recorded",
        "payment-confirmed",
        "top-up-cancelled",
        "refunded",
    ];
    assert_eq!(journal, once, "a repeated report leaves no second entry");
    assert_eq!(centre.incidents().await, [""; 0]);
}

/// A card's money from its payment to the gate, on both stores; whatever is reported twice is booked once.
#[tokio::test]
async fn money_is_followed_from_payment_to_gate() {
    a_life(Centre::on(MemoryClearing::new()).await).await;
    let directory = std::env::temp_dir().join(format!("opentsm-clearing-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    a_life(Centre::on(SqliteClearing::open(&directory.join("centre.sqlite")).unwrap()).await).await;
    std::fs::remove_dir_all(&directory).unwrap();
}

/// The third step of an opening creates the card's account, once, however often it comes.
///
/// req: B-7.2.1.c
#[tokio::test]
async fn an_account_is_opened_once() {
    let mut centre = Centre::on(MemoryClearing::new()).await;
    let mut card = PurseCard::new(1);
    let unknown = centre.peer.account(&card.wire()).await;
    assert_eq!(code(unknown), ProblemCode::UnknownId);
    let first = centre.peer.open_account(&account(&card)).await.unwrap();
    assert_eq!(centre.peer.open_account(&account(&card)).await.unwrap(), first);
    centre.peer.credit(&card.load(1, 900)).await.unwrap();
    centre.restart().await;
    let again = centre.peer.open_account(&account(&card)).await.unwrap();
    assert_eq!(
        again,
        AccountRecord { credited_fen: 900, proven_balance_fen: 900, online_counter: 1, ..first }
    );
    assert_eq!(centre.journal(&card).await, ["account-opened", "card-live", "credit-recorded"]);

    let elsewhere = NewAccount { se_id: HexBytes(vec![0x22; 8]), ..account(&card) };
    assert_eq!(
        code(centre.peer.open_account(&elsewhere).await),
        ProblemCode::StateForbids,
        "one card, one SE"
    );
    assert_eq!(centre.store.accounts(None, 10).await.unwrap().len(), 1);
}

/// Everything that an institution reports about one card, in order.
enum Report {
    Open(NewAccount),
    Payment(OrderReport),
    Credit(CreditReport),
    Cancellation(OrderReport),
    Refund(OrderReport),
    Consumption(ConsumptionReport),
}

async fn send(peer: &ClearingPeer, report: &Report) -> Result<(), ClientError> {
    match report {
        Report::Open(account) => peer.open_account(account).await.map(drop),
        Report::Payment(order) => peer.payment(order).await.map(drop),
        Report::Credit(credit) => peer.credit(credit).await.map(drop),
        Report::Cancellation(order) => peer.cancellation(order).await.map(drop),
        Report::Refund(order) => peer.refund(order).await.map(drop),
        Report::Consumption(batch) => peer.consumption(batch).await.map(drop),
    }
}

fn reports(card: &mut PurseCard) -> Vec<Report> {
    let cancelled = order(2, card, 700);
    let credit = card.load(1, 5_000);
    let trip = [card.pay(PurchaseKind::Composite, 0), card.pay(PurchaseKind::Composite, 300)];
    vec![
        Report::Open(account(card)),
        Report::Payment(order(1, card, 5_000)),
        Report::Credit(credit),
        Report::Payment(cancelled.clone()),
        Report::Cancellation(cancelled.clone()),
        Report::Refund(cancelled),
        Report::Consumption(at_terminal(&trip)),
    ]
}

/// The centre dies before or after each of its commits, and the institution reports again what was not
/// acknowledged: every credit has exactly one record, and the books balance.
///
/// req: B-7.4.1.c
#[tokio::test]
async fn a_crash_at_any_commit_loses_and_doubles_nothing() {
    let faults = Arc::new(Faults::default());
    let mut centre = Centre::on(MemoryClearing::with_faults(faults.clone())).await;
    let mut runs: u64 = 0;
    for crash in [Crash::BeforeCommit, Crash::AfterCommit] {
        for commit in 1.. {
            let began = faults.commits();
            faults.crash_at(began + commit, crash);
            runs += 1;
            let mut card = PurseCard::new(runs);
            let mut orders = reports(&mut card);
            // Every run has orders of its own.
            for report in &mut orders {
                match report {
                    Report::Payment(order) | Report::Cancellation(order) | Report::Refund(order) => {
                        order.order.0 = Uuid::from_u128(order.order.0.as_u128() + u128::from(runs) * 10);
                    }
                    Report::Credit(credit) => {
                        credit.order.0 = Uuid::from_u128(credit.order.0.as_u128() + u128::from(runs) * 10);
                    }
                    Report::Open(_) | Report::Consumption(_) => {}
                }
            }
            let mut died = false;
            for report in &orders {
                while let Err(error) = send(&centre.peer, report).await {
                    assert_eq!(error.code(), Some(ProblemCode::Unavailable), "{error}");
                    assert!(faults.is_down() && !died, "it dies once");
                    died = true;
                    faults.restart();
                    centre.restart().await;
                }
            }
            let books = balanced(centre.peer.books().await.unwrap());
            let expected = Books {
                paid_in_fen: runs * 5_700,
                purses_fen: runs * 4_700,
                spent_fen: runs * 300,
                refunded_fen: runs * 700,
                ..Books::default()
            };
            assert_eq!(books, expected, "{crash:?} {commit}");
            let journal = centre.journal(&card).await;
            assert_eq!(journal.len(), 9, "{crash:?} {commit}: {journal:?}");
            let recorded = centre.store.transactions_of(card.number, 10).await.unwrap();
            assert_eq!(recorded.len(), 3, "{crash:?} {commit}");
            if !died {
                assert_eq!(commit, faults.commits() - began + 1, "the last run had nothing to die at");
                assert!(commit > 8, "every report writes");
                faults.restart();
                break;
            }
        }
    }
}

/// What is not the card's own proof moves no money, whoever signs the message.
#[tokio::test]
async fn a_forged_credit_moves_nothing() {
    let centre = Centre::on(MemoryClearing::new()).await;
    let mut card = centre.card(1).await;
    centre.card(2).await;
    centre.peer.payment(&order(1, &card, 500)).await.unwrap();
    let genuine = card.load(1, 500);
    let hex = |text: &str| HexBytes(hex::decode(text).unwrap());
    let unproven = [
        CreditReport { tac: Some(hex("00000000")), ..genuine.clone() },
        CreditReport { balance_fen: 501, ..genuine.clone() },
        CreditReport { counter: 2, ..genuine.clone() },
        CreditReport { terminal: hex("300100000002"), ..genuine.clone() },
        CreditReport { time: hex("080101"), ..genuine.clone() },
        CreditReport { date: hex("20261121"), ..genuine.clone() },
        CreditReport { amount_fen: 499, ..genuine.clone() },
        CreditReport { card: PurseCard::new(2).wire(), ..genuine.clone() },
    ];
    for (case, forged) in unproven.iter().enumerate() {
        assert_eq!(code(centre.peer.credit(forged).await), ProblemCode::CardUnproven, "case {case}");
    }
    let unreadable = [
        CreditReport { amount_fen: 0, ..genuine.clone() },
        CreditReport { balance_fen: 499, ..genuine.clone() },
        CreditReport { counter: 0, ..genuine.clone() },
        CreditReport { terminal: hex("30010000"), ..genuine.clone() },
        CreditReport { terminal: hex("30010000000A"), ..genuine.clone() },
        CreditReport { date: hex("20261340"), ..genuine.clone() },
        CreditReport { time: hex("0801"), ..genuine.clone() },
        CreditReport { tac: Some(hex("000000")), ..genuine.clone() },
    ];
    for (case, forged) in unreadable.iter().enumerate() {
        assert_eq!(code(centre.peer.credit(forged).await), ProblemCode::ValueRefused, "case {case}");
    }
    let books = balanced(centre.peer.books().await.unwrap());
    assert_eq!((books.in_flight_fen, books.purses_fen), (500, 0));
    assert!(centre.incidents().await.iter().all(|kind| kind == "wrong-tac"));
    assert_eq!(centre.journal(&card).await, ["account-opened", "card-live", "payment-confirmed"]);
    centre.peer.credit(&genuine).await.unwrap();
    assert_eq!(balanced(centre.peer.books().await.unwrap()).purses_fen, 500);
}

/// Cash is in the books from the card's proof on; the same credit is not booked a second time as a payment, and
/// an order that was paid is not credited with cash.
#[tokio::test]
async fn cash_and_payments_are_booked_apart() {
    let centre = Centre::on(MemoryClearing::new()).await;
    let mut card = centre.card(1).await;
    centre.peer.payment(&order(1, &card, 500)).await.unwrap();
    let terminal = HexBytes(vec![0x09, 0x99, 0, 0, 0, 0x51]);
    let cash = CreditMeans::Cash { terminal };
    let paid = card.load(1, 500);
    let as_cash = CreditReport { means: cash.clone(), ..paid.clone() };
    assert_eq!(code(centre.peer.credit(&as_cash).await), ProblemCode::OrderUsed);
    centre.peer.credit(&paid).await.unwrap();
    let in_cash = CreditReport { means: cash, ..card.load(2, 300) };
    let receipt = centre.peer.credit(&in_cash).await.unwrap();
    assert_eq!(centre.peer.credit(&in_cash).await.unwrap(), receipt, "reported again");
    let as_payment = CreditReport { means: CreditMeans::Payment, ..in_cash.clone() };
    let _ = centre.peer.credit(&as_payment).await;
    let books = balanced(centre.peer.books().await.unwrap());
    let expected = Books { paid_in_fen: 500, cash_in_fen: 300, purses_fen: 800, ..Books::default() };
    assert_eq!(books, expected);
    let account = centre.peer.account(&card.wire()).await.unwrap();
    assert_eq!((account.credited_fen, account.online_counter), (800, 2));
}

/// A signed report that is changed or sent again on its way is refused.
#[tokio::test]
async fn a_report_that_was_tampered_with_is_refused() {
    let centre = Centre::on(MemoryClearing::new()).await;
    let card = centre.card(1).await;
    let over = |tampering| {
        let clock = Arc::new(SystemClock);
        ClearingPeer::new(Tampered::client(&centre.city, &centre.net, &centre.server, clock, tampering))
    };
    let changed = over(Tampering::Replace("500", "900"));
    let result = changed.payment(&order(1, &card, 500)).await;
    assert_eq!(code(result), ProblemCode::SignatureWrong);
    assert_eq!(centre.peer.books().await.unwrap(), Books::default());
    let again = over(Tampering::Replay);
    let result = again.payment(&order(1, &card, 500)).await;
    assert_eq!(code(result), ProblemCode::SignatureReplayed);
    assert_eq!(balanced(centre.peer.books().await.unwrap()).paid_in_fen, 500, "the first one counted");
}

/// An order is paid once, settled once and given back once; what contradicts that changes nothing, even
/// while the card has other money in flight.
#[tokio::test]
async fn reports_that_contradict_the_books_are_refused() {
    let centre = Centre::on(MemoryClearing::new()).await;
    let mut card = centre.card(1).await;
    let other = centre.card(2).await;
    for number in 1..=3 {
        centre.peer.payment(&order(number, &card, 500)).await.unwrap();
    }
    let first = card.load(1, 500);
    centre.peer.credit(&first).await.unwrap();
    centre.peer.cancellation(&order(2, &card, 500)).await.unwrap();
    let before = balanced(centre.peer.books().await.unwrap());
    assert_eq!((before.purses_fen, before.refund_payable_fen, before.in_flight_fen), (500, 500, 500));

    let peer = &centre.peer;
    let second = card.load(2, 500);
    let again = CreditReport { order: first.order, ..second.clone() };
    let claimed = CreditReport { order: OrderId(Uuid::from_u128(3)), ..first.clone() };
    let untaxed = CreditReport { tac: None, amount_fen: 400, ..claimed.clone() };
    let dearer = PurseCard::new(1).load(3, 501);
    use ProblemCode::{AmountRefused, Duplicate, OrderUsed, StateForbids, ValueRefused};
    let refusals = [
        ("another amount was paid", code(peer.payment(&order(1, &card, 501)).await), AmountRefused),
        ("nothing was paid", code(peer.payment(&order(9, &card, 0)).await), ValueRefused),
        ("another card paid", code(peer.payment(&order(1, &other, 500)).await), OrderUsed),
        ("a credited order is cancelled", code(peer.cancellation(&order(1, &card, 500)).await), OrderUsed),
        ("an unpaid order is cancelled", code(peer.cancellation(&order(9, &card, 500)).await), StateForbids),
        (
            "part of an order is cancelled",
            code(peer.cancellation(&order(3, &card, 400)).await),
            AmountRefused,
        ),
        ("a credited order is given back", code(peer.refund(&order(1, &card, 500)).await), StateForbids),
        ("an order in flight is given back", code(peer.refund(&order(3, &card, 500)).await), StateForbids),
        ("more is given back than cancelled", code(peer.refund(&order(2, &card, 501)).await), AmountRefused),
        ("a cancelled order is credited", code(peer.credit(&second).await), OrderUsed),
        ("an order is credited again", code(peer.credit(&again).await), OrderUsed),
        ("an order claims another's credit", code(peer.credit(&claimed).await), Duplicate),
        ("an order claims it with less", code(peer.credit(&untaxed).await), AmountRefused),
        ("an order is credited with more", code(peer.credit(&dearer).await), AmountRefused),
    ];
    for (case, found, expected) in refusals {
        assert_eq!(found, expected, "{case}");
    }
    assert_eq!(balanced(centre.peer.books().await.unwrap()), before);
    assert_eq!(centre.incidents().await, ["contradicting-credit"]);
    assert_eq!(centre.store.transactions_of(card.number, 10).await.unwrap().len(), 1);
}

/// A credit whose TAC the card had overwritten is recorded by the SP-TSM's word, and known to be so; told
/// before the payment, it books the payment with it.
#[tokio::test]
async fn a_credit_without_its_tac_is_recorded_as_such() {
    let centre = Centre::on(MemoryClearing::new()).await;
    let mut card = centre.card(1).await;
    let credit = CreditReport { tac: None, ..card.load(1, 500) };
    centre.peer.credit(&credit).await.unwrap();
    centre.peer.payment(&order(1, &card, 500)).await.unwrap();
    let books = balanced(centre.peer.books().await.unwrap());
    assert_eq!((books.paid_in_fen, books.purses_fen), (500, 500));
    let [recorded] = &centre.store.transactions_of(card.number, 10).await.unwrap()[..] else {
        panic!("one credit");
    };
    assert_eq!(recorded.proof, tsm_domain::money::LoadProof::TacUnavailable);
}

/// A gate's notices are taken by their TAC alone: late ones count, the others are kept aside with a verdict.
#[tokio::test]
async fn notices_are_judged_one_by_one() {
    let centre = Centre::on(MemoryClearing::new()).await;
    let mut card = centre.card(1).await;
    let stranger = PurseCard::new(2);
    centre.peer.credit(&card.load(1, 500)).await.unwrap();
    let late_credit = card.load(2, 2_000);
    let (first, second) = (card.pay(PurchaseKind::Composite, 400), card.pay(PurchaseKind::Simple, 900));

    let hex = |text: &str| HexBytes(hex::decode(text).unwrap());
    let forged = [
        (Consumption { tac: Some(hex("00000000")), ..first.clone() }, Verdict::TacWrong),
        (Consumption { amount_fen: 1, ..first.clone() }, Verdict::TacWrong),
        (Consumption { terminal_counter: 9, ..first.clone() }, Verdict::TacWrong),
        (Consumption { transaction_type: 6, ..first.clone() }, Verdict::TacWrong),
        (Consumption { time: hex("080000"), ..first.clone() }, Verdict::TacWrong),
        (Consumption { transaction_type: 2, ..first.clone() }, Verdict::Malformed),
        (Consumption { tac: Some(hex("0000")), ..first.clone() }, Verdict::Malformed),
        (Consumption { date: hex("20260230"), ..first.clone() }, Verdict::Malformed),
        (Consumption { card: stranger.wire(), ..first.clone() }, Verdict::UnknownCard),
        (Consumption { card: hex("0102"), ..first.clone() }, Verdict::UnknownCard),
    ];
    for (case, (notice, verdict)) in forged.iter().enumerate() {
        assert_eq!(centre.consume(std::slice::from_ref(notice)).await, [*verdict], "case {case}");
    }
    assert_eq!(balanced(centre.peer.books().await.unwrap()).spent_fen, 0);
    assert!(centre.incidents().await.iter().all(|kind| kind == "wrong-tac"));

    // The purchase that needs the second top-up comes before the report of the top-up.
    let wrong = forged[0].0.clone();
    let verdicts = centre.consume(&[first.clone(), wrong, second.clone()]).await;
    assert_eq!(verdicts, [Verdict::Recorded, Verdict::TacWrong, Verdict::NotYet], "each by itself");
    centre.peer.credit(&late_credit).await.unwrap();
    assert_eq!(
        centre.consume(&[first.clone(), second.clone()]).await,
        [Verdict::Duplicate, Verdict::Recorded]
    );

    // The TAC does not cover the card's counter: the same one cannot be spent again under another.
    let under_another = Consumption { offline_counter: 77, ..first.clone() };
    assert_eq!(centre.consume(&[under_another]).await, [Verdict::Contradicts]);
    let third = card.pay(PurchaseKind::Composite, 100);
    let in_the_place_of_first = Consumption { offline_counter: first.offline_counter, ..third.clone() };
    assert_eq!(centre.consume(&[in_the_place_of_first]).await, [Verdict::Contradicts]);
    assert_eq!(centre.consume(&[third]).await, [Verdict::Recorded]);

    let books = balanced(centre.peer.books().await.unwrap());
    assert_eq!((books.purses_fen, books.spent_fen), (card.balance().into(), 1_400));
    let incidents = centre.incidents().await;
    assert!(incidents.contains(&"repeated-tac".to_owned()), "{incidents:?}");
    assert!(incidents.contains(&"contradicting-purchase".to_owned()), "{incidents:?}");
    assert_eq!(centre.store.transactions_of(card.number, 10).await.unwrap().len(), 5);
}

#[tokio::test]
async fn batches_are_bounded_and_from_known_terminals() {
    let centre = Centre::on(MemoryClearing::new()).await;
    let mut card = centre.card(1).await;
    let notice = card.pay(PurchaseKind::Composite, 0);
    for terminal in ["099900000043", "0999", "09990000004A"] {
        let terminal = HexBytes(hex::decode(terminal).unwrap());
        let report = ConsumptionReport { terminal, transactions: vec![notice.clone()] };
        assert_eq!(code(centre.peer.consumption(&report).await), ProblemCode::UnknownId);
    }
    let too_many = at_terminal(&vec![notice.clone(); 1001]);
    assert_eq!(code(centre.peer.consumption(&too_many).await), ProblemCode::TooLarge);
    assert_eq!(centre.consume(&[]).await, []);
    assert_eq!(centre.consume(&[notice]).await, [Verdict::Recorded]);
}

/// Every endpoint is closed to whoever is not a registered institution.
#[tokio::test]
async fn nobody_reports_without_certificate_and_signature() {
    let centre = Centre::on(MemoryClearing::new()).await;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    for endpoint in clearing::endpoints() {
        check_closed(&endpoint, &centre.net, &centre.server, &centre.city, &clock).await;
    }
    let declared: Vec<_> =
        clearing::endpoints().iter().map(|endpoint| (endpoint.verb, endpoint.path)).collect();
    let centre = Clearing::new(Parts {
        store: centre.store.clone(),
        keys: Arc::new(centre.keys.clone()),
        environment: environment(),
        institutions: Vec::new(),
        issuers: Vec::new(),
        sealing_key: sealing_key(),
        terminals: Default::default(),
        duties: Duties::default(),
    });
    assert_eq!(routes(centre).routed(), declared);
}

/// What the centre does not know it does not book.
#[tokio::test]
async fn unknown_cards_are_refused_everywhere() {
    let centre = Centre::on(MemoryClearing::new()).await;
    let mut card = PurseCard::new(1);
    let (peer, report) = (&centre.peer, order(1, &card, 500));
    let mut foreign = card.wire();
    foreign.0[1] = 0x99;
    let unnumbered = HexBytes(vec![0xFF; 10]);
    let account = |card: &HexBytes| NewAccount { card: card.clone(), ..account(&PurseCard::new(1)) };
    for (case, found) in [
        ("payment", code(peer.payment(&report).await)),
        ("cancellation", code(peer.cancellation(&report).await)),
        ("refund", code(peer.refund(&report).await)),
        ("credit", code(peer.credit(&card.load(1, 500)).await)),
        ("account", code(peer.account(&card.wire()).await)),
        ("no number", code(peer.account(&unnumbered).await)),
        ("another issuer's card", code(peer.open_account(&account(&foreign)).await)),
    ] {
        assert_eq!(found, ProblemCode::UnknownId, "{case}");
    }
    assert_eq!(code(peer.open_account(&account(&unnumbered)).await), ProblemCode::ValueRefused);
    assert_eq!(peer.books().await.unwrap(), Books::default());
    assert!(matches!(centre.store.accounts(None, 10).await, Ok(rows) if rows.is_empty()));
    let refused: Result<_, StorageError> = centre.store.transfers_of(card.number).await;
    assert_eq!(refused, Ok(Vec::new()));
}
