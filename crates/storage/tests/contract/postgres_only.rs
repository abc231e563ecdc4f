//! Many clients of many processes at once; namespaces, migration marks, damage.

use futures_util::future::join_all;
use tsm_domain::money::{
    AccountKind, CardTransaction, LoadProof, Tac, TransactionKey, TransactionType, TransferCode,
};
use tsm_domain::{Fen, PaymentReference, TerminalNumber, TransferId};
use tsm_storage::clearing::{Books, Recorded};
use tsm_storage::postgres::{
    OpenError, Options, PaymentTables, Postgres, PostgresClearing, PostgresPayment, PostgresSeTsm,
    PostgresSpTsm, Tables,
};
use tsm_storage::se_tsm::{BindingFrom, Registered, Registration, SeChange};
use tsm_storage::shared::{Begun, ChainKey, Chains, Claim, Conversations, Entry, Epoch, Outbox};
use tsm_storage::sp_tsm::{PaymentConfirmed, With};
use tsm_storage::{ClearingStore, SeTsmStore, SpTsmStore, StorageError};

use crate::postgres_server::{beside, fresh, store, url};
use crate::sample::*;

const CLIENTS: u8 = 24;

/// As many stores as processes would have, on one namespace.
async fn processes<S: Tables>() -> Vec<Postgres<S>> {
    let options = fresh();
    let url = url();
    let open = |_| Postgres::open(&url, options.clone());
    join_all((0..4).map(open)).await.into_iter().collect::<Result<_, _>>().expect("they migrate at once")
}

/// Each client of each process binds a number of its own: one wins, and the others are told who.
///
/// req: P-5.5.2.d
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_se_is_never_bound_to_two_numbers() {
    let stores = processes().await;
    let first: &PostgresSeTsm = &stores[0];
    for round in 1..=5 {
        first.add_se(se_record(round)).await.unwrap();
        let bind = |client: u8| {
            let registration = Registration {
                se: se(round),
                number: Some(number(client)),
                from: BindingFrom::Nobody,
                token: token(client),
                at: at(1),
                notes: vec![note(se(round), &format!("bound {client}"))],
            };
            stores[usize::from(client) % stores.len()].register_se(registration)
        };
        let results = join_all((0..CLIENTS).map(bind)).await;
        let winner = first.se(se(round)).await.unwrap().unwrap().binding.unwrap().number;
        let mut done = 0;
        for (client, result) in (0..).zip(results) {
            match result.unwrap() {
                Registered::Done(record) => {
                    assert_eq!(record.binding.unwrap().number, number(client));
                    assert_eq!(winner, number(client));
                    done += 1;
                }
                Registered::BoundTo(other) => assert_eq!(other, winner),
            }
        }
        assert_eq!(done, 1, "one binding");
        assert_eq!(first.chain(ChainKey::Se(se(round)), 0, 10).await.unwrap().len(), 1, "and one note of it");
    }
}

/// One load, told by every client at once, each with a transfer of its own: it is in the books once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_credit_is_recorded_once() {
    let stores = processes().await;
    let first: &PostgresClearing = &stores[0];
    for round in 1..=5u16 {
        let card = card_number(u64::from(round));
        let transfer = |n: u128, code: TransferCode| {
            let id = TransferId::from_uuid(uuid(u128::from(round) * 1_000 + n));
            code.transfer(id, card, Fen::new(100), at(1))
        };
        let paid =
            Books { transfers: vec![transfer(900, TransferCode::PaymentConfirmed)], ..Books::default() };
        first.transfer(paid).await.unwrap();
        let record = |client: u8| {
            let transaction = CardTransaction {
                key: TransactionKey { card, counter: round, kind: TransactionType::Load },
                amount: Fen::new(100),
                balance_after: None,
                terminal: TerminalNumber::for_attempt(3001, 1).unwrap(),
                at: at(5),
                proof: LoadProof::Tac(Tac([1, 2, 3, 4])),
            };
            // A client that runs its step again has the same transfer, another has another.
            let loaded = transfer(u128::from(client / 2), TransferCode::Loaded);
            let books = Books { transfers: vec![loaded], ..Books::default() };
            stores[usize::from(client) % stores.len()].record_transaction(transaction, books)
        };
        let results = join_all((0..CLIENTS).map(record)).await;
        let new = results.iter().filter(|result| **result == Ok(Recorded::New)).count();
        assert_eq!(new, 1, "{results:?}");
        assert!(results.iter().all(|result| matches!(result, Ok(Recorded::New | Recorded::Before))));
        assert_eq!(first.balance(card, AccountKind::Purse).await.unwrap().posted, Fen::new(100));
    }
    let totals = first.totals().await.unwrap();
    assert_eq!((totals.paid_in, totals.in_flight), (500, 0));
    assert_eq!(totals.check(), Ok(()));
}

/// Two payments race for one order: one pays it, the other goes back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_payment_pays_an_order() {
    let stores = processes().await;
    let first: &PostgresSpTsm = &stores[0];
    first.order_top_up(top_up(1, se(1), card_number(1))).await.unwrap();
    let confirm = |client: u8| {
        let payment: PaymentReference = format!("pay-{}", client % 3).parse().unwrap();
        let with = With { deliveries: vec![delivery(u128::from(client), 0)], ..With::default() };
        let store = &stores[usize::from(client) % stores.len()];
        store.confirm_payment(order_id(1), payment, Fen::new(5_000), with)
    };
    let results = join_all((0..CLIENTS).map(confirm)).await;
    let count = |is: fn(&PaymentConfirmed) -> bool| results.iter().flatten().filter(|one| is(one)).count();
    assert_eq!(count(|one| matches!(one, PaymentConfirmed::Now(_))), 1, "{results:?}");
    assert_eq!(count(|one| matches!(one, PaymentConfirmed::Before(_))), 7);
    assert_eq!(count(|one| matches!(one, PaymentConfirmed::PaidByAnother(_))), 16);
    assert_eq!(first.due_deliveries(at(9), 100).await.unwrap().len(), 1);
}

/// Many processes look for messages at once: each message is given to one of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_claimed_by_one_process() {
    let stores = processes().await;
    let first: &PostgresSpTsm = &stores[0];
    for number in 0..100 {
        first.put_delivery(delivery(number, 0)).await.unwrap();
    }
    let claim = |client: u8| {
        let store = &stores[usize::from(client) % stores.len()];
        store.claim_deliveries(at(1), at(50), 30)
    };
    let claimed: Vec<_> = join_all((0..CLIENTS).map(claim)).await;
    let mut claimed: Vec<_> = claimed.into_iter().flat_map(Result::unwrap).map(|one| one.id).collect();
    let all = claimed.len();
    claimed.sort();
    claimed.dedup();
    assert_eq!((claimed.len(), all), (100, 100));
    assert_eq!(first.next_delivery_at().await.unwrap(), Some(at(50)));
    assert_eq!(first.claim_deliveries(at(50), at(90), 200).await.unwrap().len(), 100);
}

/// Clients take the link over from each other while the old holders go on writing: what is written is in the
/// order of the epochs, and nobody writes after a later epoch has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_lost_the_link_writes_no_more() {
    let stores = processes().await;
    let first: &PostgresSeTsm = &stores[0];
    first.add_se(se_record(1)).await.unwrap();
    let client = async |client: u8| {
        let store = &stores[usize::from(client) % stores.len()];
        let mut written = 0;
        for turn in 0..6u128 {
            let id = u128::from(client) * 100 + turn + 1;
            let begun =
                store.begin_conversation(conversation(id, se(1)), Claim::TakeOver, at(0), at(100)).await;
            let Ok(Begun::Granted(fence)) = begun else { panic!("a take-over is never busy: {begun:?}") };
            for _ in 0..2 {
                let notes = vec![note(se(1), &format!("{:06}", fence.epoch.0))];
                match store.commit(fence, SeChange { notes, ..SeChange::default() }).await {
                    Ok(()) => written += 1,
                    Err(StorageError::Fenced { held, current, .. }) => assert!(held < current),
                    Err(other) => panic!("{other}"),
                }
            }
        }
        written
    };
    let written: u32 = join_all((0..8).map(client)).await.into_iter().sum();
    assert!(written > 0);
    let chain = first.chain(ChainKey::Se(se(1)), 0, 1_000).await.unwrap();
    assert_eq!(Entry::check_chain(None, &chain), Ok(()));
    assert!(chain.is_sorted_by(|before, after| before.note.event < after.note.event), "{chain:?}");
    let last = link(first, 9_999, se(1)).await;
    assert_eq!(last.epoch, Epoch(49), "each take-over had an epoch of its own");
}

#[tokio::test]
async fn one_conversation_has_one_se() {
    let stores = processes().await;
    let begin = |client: u8| {
        let store: &PostgresSeTsm = &stores[usize::from(client) % stores.len()];
        store.begin_conversation(conversation(1, se(client)), Claim::Wait, at(0), at(100))
    };
    let begun = join_all((0..CLIENTS).map(begin)).await;
    assert_eq!(begun.iter().filter(|begun| begun.is_ok()).count(), 1, "{begun:?}");
}

#[tokio::test]
async fn a_service_opens_its_own_namespace_only() {
    let options = fresh();
    let namespace = options.namespace.clone().unwrap();
    drop(PostgresSeTsm::open(&url(), options.clone()).await.unwrap());
    let other = PostgresSpTsm::open(&url(), options.clone()).await;
    assert!(matches!(other, Err(OpenError::AnotherService { .. })), "{other:?}");
    let raw = beside(&namespace).await;
    raw.batch_execute("UPDATE migrations SET version = 99").await.unwrap();
    let newer = PostgresSeTsm::open(&url(), options).await;
    assert!(matches!(newer, Err(OpenError::Newer { found: 99, .. })), "{newer:?}");
    let odd = Options { namespace: Some("a-b".into()), ..Options::default() };
    assert!(matches!(PostgresSeTsm::open(&url(), odd).await, Err(OpenError::Namespace(_))));
    let nobody = PostgresSeTsm::open("host=/nonexistent user=tsm", Options::default()).await;
    assert!(matches!(nobody, Err(OpenError::Connect(_))), "{nobody:?}");
    let far = PostgresSeTsm::open("postgres://tsm@192.0.2.1/tsm", Options::default()).await;
    assert!(matches!(far, Err(OpenError::Unencrypted { .. })), "{far:?}");
    let unreadable = PostgresSeTsm::open("port=many", Options::default()).await;
    assert!(matches!(unreadable, Err(OpenError::Address(_))), "{unreadable:?}");
}

/// The payment sandbox of a later program: one migration more.
#[derive(Debug)]
enum Later {}

impl Tables for Later {
    const SERVICE: &'static str = PaymentTables::SERVICE;
    const NAMESPACE: &'static str = PaymentTables::NAMESPACE;
    const MIGRATIONS: &'static [&'static [&'static str]] = &[
        PaymentTables::MIGRATIONS[0],
        PaymentTables::MIGRATIONS[1],
        PaymentTables::MIGRATIONS[2],
        &["ALTER TABLE refunds ADD COLUMN reason TEXT"],
    ];
}

#[tokio::test]
async fn an_older_namespace_is_migrated_and_keeps_its_rows() {
    let options = fresh();
    let store = PostgresPayment::open(&url(), options.clone()).await.unwrap();
    store.put_delivery(delivery(1, 0)).await.unwrap();
    let later = Postgres::<Later>::open(&url(), options.clone()).await.unwrap();
    assert_eq!(later.due_deliveries(at(0), 10).await.unwrap(), [delivery(1, 0)]);
    let raw = beside(options.namespace.as_deref().unwrap()).await;
    raw.batch_execute("UPDATE refunds SET reason = 'none'").await.expect("the new column is there");
    Postgres::<Later>::open(&url(), options.clone()).await.expect("what is migrated is not migrated again");
    let older = PostgresPayment::open(&url(), options).await;
    assert!(matches!(older, Err(OpenError::Newer { found: 4, known: 3, .. })), "{older:?}");
}

/// Tables of the time before payments had one of their own say in the orders who paid what.
#[tokio::test]
async fn payments_of_an_older_namespace_are_known_as_used() {
    let options = fresh();
    let store = PostgresSpTsm::open(&url(), options.clone()).await.unwrap();
    for n in [1, 2] {
        store.order_top_up(top_up(n, se(1), card_number(1))).await.unwrap();
    }
    let payment: PaymentReference = "P1".parse().unwrap();
    let paid = store.confirm_payment(order_id(1), payment.clone(), Fen::new(5_000), With::default()).await;
    assert!(matches!(paid, Ok(PaymentConfirmed::Now(_))));
    let raw = beside(options.namespace.as_deref().unwrap()).await;
    raw.batch_execute("DROP TABLE top_up_payments; UPDATE migrations SET version = 5").await.unwrap();
    let store = PostgresSpTsm::open(&url(), options).await.unwrap();
    assert_eq!(store.order_paid_by(&payment).await, Ok(Some(order_id(1))));
    let again = store.confirm_payment(order_id(2), payment, Fen::new(5_000), With::default()).await;
    assert_eq!(again, Ok(PaymentConfirmed::UsedFor(order_id(1))));
}

#[tokio::test]
async fn transfers_cannot_be_changed_behind_the_program() {
    let options = fresh();
    let store = PostgresClearing::open(&url(), options.clone()).await.unwrap();
    let id = TransferId::from_uuid(uuid(1));
    let paid = TransferCode::PaymentConfirmed.transfer(id, card_number(1), Fen::new(10), at(1));
    store.transfer(Books { transfers: vec![paid], ..Books::default() }).await.unwrap();
    let raw = beside(options.namespace.as_deref().unwrap()).await;
    for meddling in ["UPDATE transfers SET amount_fen = 11", "DELETE FROM transfers", "TRUNCATE transfers"] {
        assert!(raw.batch_execute(meddling).await.is_err(), "{meddling}");
    }
}

#[tokio::test]
async fn damage_is_seen() {
    let options = fresh();
    let store = PostgresSeTsm::open(&url(), options.clone()).await.unwrap();
    let hash = store.put_blob(std::sync::Arc::from(&b"a load file"[..])).await.unwrap();
    store.append(note(se(1), "login")).await.unwrap();
    store.add_se(se_record(1)).await.unwrap();
    let raw = beside(options.namespace.as_deref().unwrap()).await;
    raw.batch_execute(
        "UPDATE blobs SET content = ''; UPDATE chains SET hash = ''; UPDATE ses SET body = '{}'",
    )
    .await
    .unwrap();
    let corrupt = |error: StorageError| matches!(error, StorageError::Corrupt { .. });
    assert!(corrupt(store.blob(hash).await.unwrap_err()));
    assert!(corrupt(store.chain(ChainKey::Se(se(1)), 0, 10).await.unwrap_err()));
    assert!(corrupt(store.se(se(1)).await.unwrap_err()));
}

/// The server ends every connection, as when it restarts: the next steps get new ones.
#[tokio::test]
async fn lost_connections_are_replaced() {
    let options = fresh();
    let namespace = options.namespace.clone().unwrap();
    let store = PostgresPayment::open(&url(), options).await.unwrap();
    store.put_delivery(delivery(1, 0)).await.unwrap();
    let raw = beside(&namespace).await;
    let sql = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = $1";
    let ended = raw.query(sql, &[&namespace]).await.unwrap();
    assert!(!ended.is_empty());
    let mut stored = store.put_delivery(delivery(2, 0)).await;
    if let Err(StorageError::Unavailable(_)) = stored {
        stored = store.put_delivery(delivery(2, 0)).await;
    }
    stored.unwrap();
    assert_eq!(store.due_deliveries(at(0), 10).await.unwrap().len(), 2);
}

/// One client's cards are not in the way of another's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn different_cards_go_on_side_by_side() {
    let clearing = store::<tsm_storage::postgres::ClearingTables>().await;
    let client = async |client: u8| {
        for n in 0..20u128 {
            let id = TransferId::from_uuid(uuid(u128::from(client) << 64 | n));
            let card = card_number(u64::from(client));
            let paid = TransferCode::PaymentConfirmed.transfer(id, card, Fen::new(10), at(1));
            clearing.transfer(Books { transfers: vec![paid], ..Books::default() }).await.unwrap();
        }
    };
    join_all((0..CLIENTS).map(client)).await;
    assert_eq!(clearing.totals().await.unwrap().paid_in, i128::from(CLIENTS) * 200);
}
