//! The books are watched card by card; a row that was planted in the store raises the alarm.

use tsm_api::clearing::watch as watch_api;
use tsm_api::endpoint::Nothing;
use tsm_services::clearing::metrics_router;
use tsm_storage::ClearingStore;
use tsm_storage::clearing::Settlements as _;
use tsm_storage::memory::MemoryClearing;
use tsm_storage::shared::IncidentFilter;
use tsm_storage::shared::Incidents as _;
use tsm_storage::sqlite::SqliteClearing;

use super::world::{World, day, paid};

/// A balance that somebody changed in the file: the card is frozen, told, and in the reconciliation view;
/// other cards go on.
#[tokio::test]
async fn a_planted_row_raises_the_alarm_and_freezes_its_card() {
    let directory = std::env::temp_dir().join(format!("opentsm-watch-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("centre.sqlite");
    let world = World::on(SqliteClearing::open(&path).unwrap()).await;
    let mut cards = Vec::new();
    for own in 1..=3 {
        let mut card = world.card(own).await;
        world.top_up(&mut card, own.into(), 500).await;
        world.spend(&mut card, 100).await;
        cards.push(card);
    }
    let watch = world.centre.sweep_books().await.unwrap();
    assert_eq!((watch.cards, watch.breaks, watch.sweeps), (3, 0, 1));
    assert_eq!((watch.totals.paid_in, watch.totals.purses, watch.totals.spent), (1_500, 1_200, 300));

    let plant = |sql: &str| {
        let file = rusqlite::Connection::open(&path).unwrap();
        file.busy_timeout(std::time::Duration::from_secs(5)).unwrap();
        assert_eq!(file.execute(sql, [cards[1].number.as_str()]).unwrap(), 1);
    };
    plant("UPDATE balances SET posted_fen = posted_fen + 100000 WHERE card = ?1 AND account = 'purse'");
    let watch = world.centre.sweep_books().await.unwrap();
    assert_eq!(watch.breaks, 1);
    let frozen = |card: &crate::purse_card::PurseCard| {
        let (store, number) = (world.store.clone(), card.number);
        async move { store.account(number).await.unwrap().unwrap().account.freeze }
    };
    assert!(frozen(&cards[1]).await.unwrap().reason.contains("purse holds 100400 fen"));
    assert_eq!((frozen(&cards[0]).await, frozen(&cards[2]).await), (None, None));
    let incidents = world.store.incidents(IncidentFilter::Open, 10).await.unwrap();
    assert_eq!((incidents.len(), incidents[0].kind.as_str()), (1, "books-broken"));
    world.centre.sweep_books().await.unwrap();
    assert_eq!(world.store.incidents(IncidentFilter::Open, 10).await.unwrap().len(), 1, "told once");

    // A transaction that vanished: its entry stands alone.
    plant("DELETE FROM transactions WHERE card = ?1 AND kind = 6");
    world.centre.sweep_books().await.unwrap();
    let incidents = world.store.incidents(IncidentFilter::Open, 10).await.unwrap();
    assert!(incidents.iter().any(|incident| incident.text.contains("1.00 yuan of purchases are booked")));

    // A transaction of the sheet without its entry shows in the reconciliation.
    plant("DELETE FROM day_entries WHERE card = ?1 AND entry = 'spent'");
    world.clock.set("2026-11-20T16:10:00Z");
    world.statements.set((1..=3).map(|order| paid(order, 500)).collect());
    world.centre.settle_day(day()).await.unwrap();
    world.centre.reconcile_day(day()).await.unwrap();
    let found = world.store.differences(&Default::default(), 10).await.unwrap();
    let mut causes: Vec<_> = found.iter().map(|one| one.cause.name()).collect();
    causes.sort_unstable();
    assert_eq!(causes, ["books_broken", "books_broken", "transaction_without_entry"]);
    drop(world);
    std::fs::remove_dir_all(&directory).unwrap();
}

/// A new city's cards are counted when somebody looks, and so is what changed since.
#[tokio::test]
async fn a_small_city_is_counted_when_somebody_looks() {
    let world = World::on(MemoryClearing::new()).await;
    let desk = world.client(&world.desk);
    let counted = async || desk.call(&watch_api::CENSUS, &[], &Nothing {}).await.unwrap().cards;
    assert_eq!(counted().await, 0);
    world.card(1).await;
    assert_eq!(counted().await, 0, "in the same second nothing is counted again");
    world.clock.set("2026-11-20T04:00:01Z");
    assert_eq!(counted().await, 1);
    for own in 2..=4 {
        world.card(own).await;
    }
    world.clock.set("2026-11-20T04:00:02Z");
    assert_eq!(counted().await, 4);
}

/// The equation is told as Prometheus reads it, on a listener of its own.
#[tokio::test]
async fn the_equation_is_a_metric() {
    let world = World::on(MemoryClearing::new()).await;
    let mut card = world.card(1).await;
    world.top_up(&mut card, 1, 500).await;
    world.spend(&mut card, 120).await;
    world.centre.sweep_books().await.unwrap();
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = metrics_router(world.centre.clone());
    tokio::spawn(async move { axum::serve(listener, app).await });
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
    for line in [
        "opentsm_books_fen{term=\"paid_in\"} 500",
        "opentsm_books_fen{term=\"purse\"} 380",
        "opentsm_books_fen{term=\"spent\"} 120",
        "opentsm_books_gap_fen 0",
        "opentsm_books_breaks_total 0",
        "# TYPE opentsm_books_fen gauge",
    ] {
        assert!(reply.lines().any(|found| found == line), "{line} in {reply}");
    }
}
