//! Days of business: sheets, settlements, differences, and what cards add up to.

use tsm_domain::money::audit::Breach;
use tsm_domain::money::journal::Change;
use tsm_domain::money::reconciliation::Evidence;
use tsm_domain::money::reconciliation::{
    Action, Cause, Clerk, Difference, DifferenceState, EntryKind, Proposal,
};
use tsm_domain::money::settlement::{BusinessDay, FeeSchedule, Pair, Settlement, Volume};
use tsm_domain::money::{
    AccountKind, CardTransaction, LoadProof, StatementKind, StatementLine, TransactionKey, TransactionType,
    TransferCode,
};
use tsm_domain::{DifferenceId, Fen, OrderId, TerminalNumber, TransferId};
use tsm_storage::clearing::collection::{AsideReason, Judged, ReportedRow, RowStep, TakeStep};
use tsm_storage::clearing::replay::compare_all;
use tsm_storage::clearing::settlement::*;
use tsm_storage::clearing::{Books, Recorded};
use tsm_storage::shared::{ChainKey, Incident, IncidentFilter};
use tsm_storage::{ClearingStore, StorageError};

use crate::on_clearing;
use crate::sample::{card_number, order_id, se, uuid};

fn day(text: &str) -> BusinessDay {
    text.parse().unwrap()
}

fn at(text: &str) -> jiff::Timestamp {
    text.parse().unwrap()
}

const NOON: &str = "2026-11-20T04:00:00Z";

/// An order whose rows are in the bucket of its number.
fn in_bucket(bucket: u128, n: u128) -> OrderId {
    OrderId::from_uuid(uuid((bucket << 118) | n))
}

fn transaction(card: u64, counter: u16, kind: TransactionType, fen: u64) -> CardTransaction {
    CardTransaction {
        key: TransactionKey { card: card_number(card), counter, kind },
        amount: Fen::new(fen),
        balance_after: Some(Fen::new(1_000)),
        terminal: TerminalNumber::for_attempt(3001, 1).unwrap(),
        at: at(NOON),
        proof: LoadProof::TacUnavailable,
    }
}

/// Pays, loads and spends with one card, all under references of one bucket.
async fn live(store: &dyn ClearingStore, card: u64, bucket: u128, when: &str) {
    let n = u128::from(card) * 100;
    let moved = |k: u128, code: TransferCode, fen: u64| {
        let id = TransferId::from_uuid(uuid((bucket << 118) | (n + k)));
        let order = in_bucket(bucket, if code == TransferCode::Spent { n + 1 } else { n });
        code.transfer(id, card_number(card), Fen::new(fen), at(when)).for_order(order)
    };
    let books = |transfers: Vec<_>| Books { transfers, ..Books::default() };
    store.open_account(card_number(card), se(1), at(when), Books::default()).await.unwrap();
    store.transfer(books(vec![moved(10, TransferCode::PaymentConfirmed, 500)])).await.unwrap();
    let load = transaction(card, 1, TransactionType::Load, 500);
    let recorded = store.record_transaction(load, books(vec![moved(11, TransferCode::Loaded, 500)])).await;
    assert_eq!(recorded, Ok(Recorded::New));
    let sale = transaction(card, 1, TransactionType::Purchase, 120);
    let spent = books(vec![moved(12, TransferCode::Spent, 120)]);
    for expected in [Recorded::New, Recorded::Before] {
        assert_eq!(store.record_transaction(sale.clone(), spent.clone()).await, Ok(expected));
    }
    let entry = transaction(card, 2, TransactionType::CompositePurchase, 0);
    assert_eq!(store.record_transaction(entry, Books::default()).await, Ok(Recorded::New));
}

async fn all_entries(store: &dyn ClearingStore, place: Place) -> Vec<DayEntry> {
    let mut found: Vec<DayEntry> = Vec::new();
    loop {
        let page = store.day_entries(place, found.last(), 2).await.unwrap();
        if page.is_empty() {
            return found;
        }
        found.extend(page);
    }
}

#[tokio::test]
async fn each_step_stands_on_the_sheet_of_its_day() {
    on_clearing(async |store| {
        live(store, 1, 3, NOON).await;
        live(store, 2, 3, NOON).await;
        let today = Place { bucket: 3, day: day("2026-11-20") };
        let entries = all_entries(store, today).await;
        let codes: Vec<_> = entries.iter().map(|entry| entry.item.entry).collect();
        let of = |code| EntryKind::Transfer(code);
        let paid = [of(TransferCode::Loaded), of(TransferCode::PaymentConfirmed), of(TransferCode::Spent)];
        assert_eq!(codes, [paid, paid].concat(), "in order of reference and entry");
        assert!(entries.iter().all(|entry| entry.item.card.is_some()));

        let first = store.day_transactions(today, None, 3).await.unwrap();
        let rest = store.day_transactions(today, Some(&first[2].item), 9).await.unwrap();
        let amounts: Vec<_> = first.iter().chain(&rest).map(|row| row.item.amount.get()).collect();
        assert_eq!(amounts, [500, 120, 500, 120], "an entry without a fare settles nothing");
        assert_eq!(first[1].item.reference, in_bucket(3, 101));

        let volume = Volume { number: 2, gross: Fen::new(240) };
        let terminal = TerminalNumber::for_attempt(3001, 1).unwrap();
        let expected = TerminalVolume { prefix: "31049900".into(), terminal, volume };
        assert_eq!(store.purchases(today).await.unwrap(), [expected]);
        for elsewhere in [Place { bucket: 4, ..today }, Place { day: day("2026-11-21"), ..today }] {
            assert_eq!(store.day_entries(elsewhere, None, 9).await.unwrap(), []);
            assert_eq!(store.day_transactions(elsewhere, None, 9).await.unwrap(), []);
            assert_eq!(store.purchases(elsewhere).await.unwrap(), []);
        }
    })
    .await;
}

#[tokio::test]
async fn what_comes_after_the_close_belongs_to_the_next_open_day() {
    on_clearing(async |store| {
        assert_eq!(store.first_day().await.unwrap(), None);
        live(store, 1, 0, NOON).await;
        let closed = store.close_day(day("2026-11-20"), at("2026-11-20T16:00:01Z")).await.unwrap();
        let again = store.close_day(day("2026-11-20"), at("2026-11-20T17:00:00Z")).await.unwrap();
        assert_eq!(closed, again, "closed once");
        live(store, 2, 0, NOON).await;
        let sheet = |on: &str| Place { bucket: 0, day: day(on) };
        assert_eq!(store.day_transactions(sheet("2026-11-20"), None, 9).await.unwrap().len(), 2);
        assert_eq!(store.day_transactions(sheet("2026-11-21"), None, 9).await.unwrap().len(), 2);
        assert_eq!(store.day_entries(sheet("2026-11-21"), None, 9).await.unwrap().len(), 3);
        assert_eq!(store.first_day().await.unwrap(), Some(day("2026-11-20")));

        let settled = DayRow { settled_at: Some(at("2026-11-20T18:00:00Z")), ..closed };
        store.put_day(settled.clone()).await.unwrap();
        assert_eq!(store.day(day("2026-11-20")).await.unwrap(), Some(settled.clone()));
        assert_eq!(store.day(day("2026-11-21")).await.unwrap(), None);
        store.close_day(day("2026-11-21"), at("2026-11-21T16:00:01Z")).await.unwrap();
        assert_eq!(store.days(1).await.unwrap()[0].day, day("2026-11-21"));
        let unknown = DayRow { day: day("2026-11-22"), ..settled };
        assert!(matches!(store.put_day(unknown).await, Err(StorageError::Unknown { .. })));
    })
    .await;
}

fn line(n: u128, fen: u64) -> StatementLine {
    let (payment, kind) = ("P1".parse().unwrap(), StatementKind::Paid);
    StatementLine { order: in_bucket(n % 3, n), payment, kind, amount: Fen::new(fen), at: at(NOON) }
}

#[tokio::test]
async fn a_statement_comes_in_any_order_and_is_read_in_order() {
    on_clearing(async |store| {
        let today = day("2026-11-20");
        let row = |number: u64, line| StatementRow { number, line };
        let refund = StatementKind::Refunded { refund: TransferId::from_uuid(uuid(77)) };
        let back = StatementLine { kind: refund, ..line(9, 5) };
        let rows = vec![row(1, line(9, 500)), row(2, line(3, 100)), row(3, back), row(4, line(7, 70))];
        store.put_statement(today, rows[..3].to_vec()).await.unwrap();
        store.put_statement(today, rows.clone()).await.unwrap();
        let place = Place { bucket: 0, day: today };
        let first = store.statement_lines(place, None, 2).await.unwrap();
        assert_eq!(first, [rows[1].clone(), rows[0].clone()]);
        let rest = store.statement_lines(place, first.last(), 9).await.unwrap();
        assert_eq!(rest, [rows[2].clone()]);
        let altered = store.put_statement(today, vec![row(2, line(3, 101))]).await;
        assert!(matches!(altered, Err(StorageError::Conflict { .. })), "a statement is not changed");
    })
    .await;
}

fn pair(issuer: &str, operator: &str) -> Pair {
    Pair { issuer: issuer.parse().unwrap(), operator: operator.parse().unwrap() }
}

#[tokio::test]
async fn a_settlement_is_made_once_with_its_money() {
    on_clearing(async |store| {
        live(store, 1, 0, NOON).await;
        let today = day("2026-11-20");
        let part = |bucket, pair: Pair, gross| SettlementPart {
            bucket,
            pair,
            volume: Volume { number: 1, gross: Fen::new(gross) },
        };
        let parts = vec![part(0, pair("CITY", "METRO"), 100), part(5, pair("CITY", "METRO"), 20)];
        for _ in 0..2 {
            store.put_parts(today, parts.clone()).await.unwrap();
        }
        store.put_parts(today, vec![part(0, pair("CITY", "BUS"), 7)]).await.unwrap();
        assert_eq!(store.parts(today, &"METRO".parse().unwrap()).await.unwrap(), parts);
        let volume = |number, gross| Volume { number, gross: Fen::new(gross) };
        let pairs = [(pair("CITY", "BUS"), volume(1, 7)), (pair("CITY", "METRO"), volume(2, 120))];
        assert_eq!(store.pairs(today).await.unwrap(), pairs);
        let altered = store.put_parts(today, vec![part(5, pair("CITY", "METRO"), 21)]).await;
        assert!(matches!(altered, Err(StorageError::Conflict { .. })));

        let settlement =
            Settlement::of(today, pair("CITY", "METRO"), volume(2, 120), &FeeSchedule::default());
        let id = TransferId::from_uuid(uuid(900));
        let moved = TransferCode::Settled.between_controls(id, Fen::new(120), at(NOON)).unwrap();
        let books = Books { transfers: vec![moved.clone()], ..Books::default() };
        for _ in 0..2 {
            store.settle(settlement.clone(), books.clone()).await.unwrap();
        }
        assert_eq!(store.settlements(today).await.unwrap(), std::slice::from_ref(&settlement));
        let chain = store.chain(ChainKey::Day(today.date()), 0, 10).await.unwrap();
        let told: Vec<_> =
            chain.iter().flat_map(|entry| tsm_storage::clearing::event_of(entry).unwrap().changes).collect();
        assert!(told.contains(&Change::Settled(settlement.clone())), "{told:?}");
        assert_eq!(told.iter().filter(|change| change.word() == "settled").count(), 1, "settled once");
        assert_eq!(compare_all(store).await.unwrap().findings, [], "the journal tells the settlement");
        assert_eq!(store.transfer_by_id(id).await.unwrap(), Some(moved));
        let another = Settlement { volume: volume(2, 121), ..settlement };
        let refused = store.settle(another, Books::default()).await;
        assert!(matches!(refused, Err(StorageError::Conflict { .. })), "a settlement is never changed");
        let totals = store.totals().await.unwrap();
        assert_eq!((totals.spent, totals.operator_payable, totals.check()), (0, 120, Ok(())));
        let cardless = store.cardless_totals().await.unwrap();
        assert_eq!((cardless.spent, cardless.operator_payable), (-120, 120));

        let file = SettlementFile {
            day: today,
            operator: "METRO".parse().unwrap(),
            number: 1,
            first_bucket: 0,
            last_bucket: 1023,
            volume: volume(2, 120),
            bytes: 700,
            digest: tsm_domain::bytes::Sha256Digest([7; 32]),
        };
        for _ in 0..2 {
            store.put_files(vec![file.clone()]).await.unwrap();
        }
        assert_eq!(store.files(today, &file.operator).await.unwrap(), std::slice::from_ref(&file));
        let another = store.put_files(vec![SettlementFile { bytes: 701, ..file }]).await;
        assert!(matches!(another, Err(StorageError::Conflict { .. })));
    })
    .await;
}

fn difference(n: u128, cause: Cause, state: DifferenceState) -> Difference {
    Difference {
        id: DifferenceId::from_uuid(uuid(n)),
        day: day("2026-11-20"),
        cause,
        reference: Some(order_id(7)),
        card: Some(card_number(n as u64)),
        transaction: None,
        ours: Some(Fen::new(100)),
        theirs: None,
        text: String::new(),
        evidence: None,
        found_at: at(NOON),
        state,
    }
}

#[tokio::test]
async fn differences_are_kept_once_and_changed_from_what_was_read() {
    on_clearing(async |store| {
        let open = difference(1, Cause::NotInStatement, DifferenceState::Open);
        let until = day("2026-11-23");
        let waiting = difference(2, Cause::InFlightTooLong, DifferenceState::Waiting { until });
        let later =
            Difference { day: day("2026-11-21"), ..difference(3, Cause::CardCopied, DifferenceState::Open) };
        let all = vec![later.clone(), waiting.clone(), open.clone()];
        assert_eq!(store.put_differences(all.clone()).await, Ok(3));
        assert_eq!(store.put_differences(all).await, Ok(0));
        assert_eq!(store.differences_of(order_id(7)).await.unwrap().len(), 3);
        assert_eq!(store.differences_of(order_id(8)).await.unwrap(), []);
        let list = async |query: DifferenceQuery| store.differences(&query, 9).await.unwrap();
        let every = DifferenceQuery::default();
        assert_eq!(list(every.clone()).await, [open.clone(), later.clone()]);
        let rest = DifferenceQuery { after: Some((open.day, open.id)), ..every.clone() };
        assert_eq!(list(rest).await, std::slice::from_ref(&later));
        let of_day = DifferenceQuery { day: Some(later.day), ..every.clone() };
        assert_eq!(list(of_day).await, std::slice::from_ref(&later));
        let of_cause = DifferenceQuery { cause: Some(Cause::NotInStatement), ..every.clone() };
        assert_eq!(list(of_cause).await, std::slice::from_ref(&open));
        let in_state = DifferenceQuery { state: Some("waiting".into()), ..every.clone() };
        assert_eq!(list(in_state).await, std::slice::from_ref(&waiting));
        let of_others = DifferenceQuery { prefix: Some("99999999".into()), ..every.clone() };
        assert_eq!(list(of_others).await, []);

        assert_eq!(store.ripen(until).await, Ok(0));
        assert_eq!(store.ripen(until.next()).await, Ok(1));
        let ripe = store.difference(waiting.id).await.unwrap().unwrap();
        assert_eq!(ripe.state, DifferenceState::Open);

        let by = Clerk { institution: "CITY".parse().unwrap(), person: "ann".parse().unwrap() };
        let proposal = Proposal { by, action: Action::Ignore, note: "seen".into(), at: at(NOON) };
        let proposed = open.clone().propose(proposal).unwrap();
        let id = TransferId::from_uuid(uuid(50));
        let paid = TransferCode::PaymentConfirmed.transfer(id, card_number(1), Fen::new(9), at(NOON));
        let books = Books { transfers: vec![paid], ..Books::default() };
        let stale = store.change_difference(&ripe, proposed.clone(), books.clone()).await;
        assert!(matches!(stale, Err(StorageError::Conflict { .. })));
        assert_eq!(store.totals().await.unwrap().paid_in, 0, "a refused change books nothing");
        for _ in 0..2 {
            store.change_difference(&open, proposed.clone(), books.clone()).await.unwrap();
        }
        assert_eq!(store.difference(open.id).await.unwrap(), Some(proposed));
        assert_eq!(store.totals().await.unwrap().paid_in, 9);
    })
    .await;
}

/// A statement that was not what its platform signed is forgotten, in buckets; one that was taken whole stays.
#[tokio::test]
async fn a_false_statement_is_forgotten_and_a_taken_one_stays() {
    on_clearing(async |store| {
        let today = day("2026-11-20");
        let line = |bucket, n: u128| StatementLine {
            order: in_bucket(bucket, n),
            payment: format!("P{n}").parse().unwrap(),
            kind: StatementKind::Paid,
            amount: Fen::new(5),
            at: at(NOON),
        };
        let row = |bucket, number: u64| StatementRow { number, line: line(bucket, number.into()) };
        let rows = vec![row(9, 4), row(3, 3), row(9, 2), row(3, 1), row(3, 100)];
        store.put_statement(today, rows.clone()).await.unwrap();
        let place = |bucket| Place { bucket, day: today };
        store.forget_statement(place(3), 0..50).await.unwrap();
        assert_eq!(store.statement_lines(place(3), None, 9).await.unwrap(), [row(3, 100)]);
        assert_eq!(store.statement_lines(place(9), None, 9).await.unwrap().len(), 2);
        store.put_statement(today, rows).await.unwrap();
        let closed = store.close_day(today, at(NOON)).await.unwrap();
        let head = StatementHead { lines: 5, ..StatementHead::default() };
        store.put_day(DayRow { statement: Some(head), ..closed }).await.unwrap();
        let refused = store.forget_statement(place(3), 0..50).await;
        assert!(matches!(refused, Err(StorageError::Conflict { .. })));
        assert_eq!(store.statement_lines(place(3), None, 9).await.unwrap().len(), 3);
    })
    .await;
}

/// What two people resolved closes the row that was kept aside and its incident in the same step; a proposal
/// closes nothing.
#[tokio::test]
async fn a_resolved_difference_closes_what_it_stands_on() {
    on_clearing(async |store| {
        let row = tsm_domain::AsideId::from_uuid(uuid(61));
        let incident = tsm_domain::IncidentId::from_uuid(uuid(62));
        let reported = ReportedRow {
            id: row,
            institution: "METRO".parse().unwrap(),
            terminal: None,
            card: None,
            file: None,
            text: "{}".into(),
            misread: None,
            at: at(NOON),
        };
        let judged = Judged::Aside { reason: AsideReason::Malformed, transaction: None };
        let rows = vec![RowStep { reported, number: None, judged }];
        store.take_rows(TakeStep { file: None, rows }).await.unwrap();
        let opened = Incident {
            id: incident,
            se: None,
            card: None,
            kind: "wrong-tac".into(),
            text: "seen".into(),
            at: at(NOON),
            closed: None,
        };
        store.record_incident(opened).await.unwrap();
        let evidence = Some(Evidence::Aside { row, incident });
        let open = Difference { evidence, ..difference(1, Cause::Malformed, DifferenceState::Open) };
        store.put_differences(vec![open.clone()]).await.unwrap();
        let clerk =
            |person: &str| Clerk { institution: "CITY".parse().unwrap(), person: person.parse().unwrap() };
        let proposal =
            Proposal { by: clerk("ann"), action: Action::Ignore, note: "refused".into(), at: at(NOON) };
        let proposed = open.clone().propose(proposal).unwrap();
        store.change_difference(&open, proposed.clone(), Books::default()).await.unwrap();
        assert_eq!(store.kept_aside(None, None, 9).await.unwrap().len(), 1);
        let resolved = proposed.clone().approve(clerk("bob"), at(NOON)).unwrap();
        for _ in 0..2 {
            store.change_difference(&proposed, resolved.clone(), Books::default()).await.unwrap();
        }
        let closed = store.aside(row).await.unwrap().unwrap().closed.unwrap();
        assert_eq!(closed.how, "refused");
        assert_eq!(store.kept_aside(None, None, 9).await.unwrap(), []);
        assert_eq!(store.incidents(IncidentFilter::Open, 9).await.unwrap(), []);
        let all = store.incidents(IncidentFilter::All, 9).await.unwrap();
        assert_eq!(all[0].closed.as_ref().unwrap().by.to_string(), "bob");
        assert_eq!(store.difference(open.id).await.unwrap(), Some(resolved));
    })
    .await;
}

/// The terms of one issuer's cards are those of its cards and of nobody else's, and with those that are about
/// no card they are all of them.
#[tokio::test]
async fn totals_are_an_issuers_own() {
    on_clearing(async |store| {
        live(store, 1, 3, NOON).await;
        live(store, 2, 900, NOON).await;
        let foreign = tsm_domain::CardNumber::compose("88888888", 5).unwrap();
        store.open_account(foreign, se(9), at(NOON), Books::default()).await.unwrap();
        let id = TransferId::from_uuid(uuid(77));
        let paid = TransferCode::PaymentConfirmed.transfer(id, foreign, Fen::new(9_000), at(NOON));
        let lost = TransferId::from_uuid(uuid(78));
        let settled = TransferCode::Settled.between_controls(lost, Fen::new(40), at(NOON)).unwrap();
        // A payment of the foreign card's order that never came.
        let of_order =
            |transfer| tsm_domain::money::Transfer { order: Some(in_bucket(3, 9_000)), ..transfer };
        let lost = TransferId::from_uuid(uuid(79));
        let lost = TransferCode::PaymentLost.between_controls(lost, Fen::new(70), at(NOON)).unwrap();
        let books = Books { transfers: vec![of_order(paid), settled, of_order(lost)], ..Books::default() };
        store.transfer(books).await.unwrap();
        let prefix = &card_number(1).as_str()[..8].to_owned();
        let own = store.totals_of(prefix).await.unwrap();
        assert_eq!((own.paid_in, own.purses, own.spent), (1_000, 760, 240));
        assert_eq!(own.check(), Ok(()));
        let other = store.totals_of("88888888").await.unwrap();
        assert_eq!((other.paid_in, other.in_flight, other.purses), (9_000, 9_000, 0));
        assert_eq!(store.totals_of("99999999").await.unwrap(), Default::default());
        assert_eq!(store.lost_of(prefix).await.unwrap(), Default::default());
        let lost = store.lost_of("88888888").await.unwrap();
        assert_eq!((lost.paid_in, lost.write_offs), (-70, -70));
        let mut all = own;
        all.add_all(&other);
        all.add_all(&store.cardless_totals().await.unwrap());
        assert_eq!(all, store.totals().await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn a_claim_is_confirmed_once() {
    on_clearing(async |store| {
        for expected in [true, false] {
            let confirmed =
                store.confirm_payment(order_id(1), card_number(1), Fen::new(5), Books::default(), at(NOON));
            assert_eq!(confirmed.await, Ok(expected));
        }
        let place = Place { bucket: 0, day: day("2026-11-20") };
        let entries = store.day_entries(place, None, 9).await.unwrap();
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].item.entry, EntryKind::PaymentReported);
        assert_eq!(store.totals().await.unwrap().paid_in, 0);
    })
    .await;
}

#[tokio::test]
async fn what_cards_add_up_to_is_read_page_by_page() {
    on_clearing(async |store| {
        for card in 1..=5 {
            live(store, card, 0, NOON).await;
        }
        let (mut after, mut cards) = (None, Vec::new());
        loop {
            let page = store.card_sums(after, 2).await.unwrap();
            cards.extend(page.cards);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let numbers: Vec<_> = cards.iter().map(|sums| sums.card).collect();
        assert_eq!(numbers, (1..=5).map(card_number).collect::<Vec<_>>());
        for sums in &cards {
            assert_eq!(sums.check(), []);
            assert_eq!(sums.terms().check(), Ok(()));
            assert_eq!(sums.held[&AccountKind::Purse], Fen::new(380));
        }
        // Money of a card that nobody opened is on the page all the same.
        let id = TransferId::from_uuid(uuid(1));
        let stray = TransferCode::PaymentConfirmed.transfer(id, card_number(9), Fen::new(5), at(NOON));
        store.transfer(Books { transfers: vec![stray], ..Books::default() }).await.unwrap();
        let last = store.card_sums(Some(card_number(5)), 2).await.unwrap();
        assert_eq!((last.cards.len(), last.next), (1, None));
        assert_eq!(last.cards[0].check(), [Breach::NoAccount]);
    })
    .await;
}

/// Whoever adds a card up while it is topped up sees every table as of one moment: what looks broken in between
/// would freeze an honest card.
#[tokio::test]
async fn what_cards_add_up_to_is_of_one_moment() {
    on_clearing(async |store| {
        live(store, 1, 0, NOON).await;
        let is_over = std::cell::Cell::new(false);
        let top_up = async {
            for counter in 2..200_u16 {
                let load = transaction(1, counter, TransactionType::Load, 1);
                let id = |k: u128| TransferId::from_uuid(uuid((1_u128 << 100) + u128::from(counter) * 2 + k));
                let moved =
                    |k, code: TransferCode| code.transfer(id(k), card_number(1), Fen::new(1), at(NOON));
                let transfers =
                    vec![moved(0, TransferCode::PaymentConfirmed), moved(1, TransferCode::Loaded)];
                let books = Books { transfers, ..Books::default() };
                store.record_transaction(load, books).await.unwrap();
            }
            is_over.set(true);
        };
        let look = async {
            while !is_over.get() {
                let page = store.card_sums(None, 9).await.unwrap();
                assert_eq!(page.cards[0].check(), []);
                tokio::task::yield_now().await;
            }
        };
        futures_util::future::join(top_up, look).await;
    })
    .await;
}
