//! Statements that come in pieces: a download that breaks off anywhere is done again, and one that was altered
//! leaves nothing behind.

use tsm_services::clearing::ReconciliationError;
use tsm_services::payment::StatementFailure;
use tsm_storage::clearing::Settlements as _;
use tsm_storage::clearing::settlement::{BUCKETS, Place};
use tsm_storage::memory::MemoryClearing;

use super::world::{Broken, World, day, paid};

async fn kept(world: &World<MemoryClearing>) -> usize {
    let mut lines = 0;
    for bucket in 0..BUCKETS {
        let place = Place { bucket, day: day() };
        lines += world.store.statement_lines(place, None, 100).await.unwrap().len();
    }
    lines
}

async fn settled() -> World<MemoryClearing> {
    let world = World::on(MemoryClearing::new()).await;
    let mut card = world.card(1).await;
    for order in 1..=7 {
        world.top_up(&mut card, order, 500).await;
    }
    world.clock.set("2026-11-20T16:10:00Z");
    world.centre.settle_day(day()).await.unwrap();
    world.statements.set((1..=7).map(|order| paid(order, 500)).collect());
    world
}

#[tokio::test]
async fn a_download_that_breaks_off_anywhere_is_done_again() {
    for after in 0..=4 {
        let world = settled().await;
        world.statements.set_broken(after, Some(Broken::Off));
        let failed = world.centre.reconcile_day(day()).await.unwrap_err();
        assert!(matches!(failed, ReconciliationError::Statement(StatementFailure::Platform(_))), "{failed}");
        assert_eq!(world.store.day(day()).await.unwrap().unwrap().statement, None, "not all of it is here");
        world.statements.set_broken(0, None);
        let (row, done) = world.centre.reconcile_day(day()).await.unwrap();
        assert_eq!((row.statement.unwrap().lines, done.found), (7, 0), "after {after} pieces");
        assert_eq!(kept(&world).await, 7, "each line once");
    }
}

#[tokio::test]
async fn an_altered_statement_leaves_nothing_behind() {
    for after in 0..=3 {
        let world = settled().await;
        world.statements.set_broken(after, Some(Broken::Altered));
        let refused = world.centre.reconcile_day(day()).await.unwrap_err();
        assert!(matches!(refused, ReconciliationError::Statement(StatementFailure::Altered(_))), "{refused}");
        assert_eq!(kept(&world).await, 0, "nobody signed these lines");
        world.statements.set_broken(0, None);
        let (row, done) = world.centre.reconcile_day(day()).await.unwrap();
        assert_eq!((row.statement.unwrap().lines, done.found), (7, 0), "altered in piece {after}");
    }
}
