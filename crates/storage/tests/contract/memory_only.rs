//! Crashes at a chosen commit.

use std::sync::Arc;

use tsm_storage::memory::{Crash, Faults, MemoryPayment, MemorySeTsm};
use tsm_storage::shared::Outbox;
use tsm_storage::{SeTsmStore, StorageError};

use crate::sample::{at, delivery, se, se_record};

#[tokio::test]
async fn a_crash_before_or_after_a_commit() {
    for (crash, stored) in [(Crash::BeforeCommit, false), (Crash::AfterCommit, true)] {
        let store = MemorySeTsm::new();
        store.add_se(se_record(1)).await.unwrap();
        store.faults().crash_at(2, crash);
        let lost = store.add_se(se_record(2)).await;
        assert!(matches!(lost, Err(StorageError::Unavailable(_))), "the caller is not told");
        assert!(
            matches!(store.se(se(1)).await, Err(StorageError::Unavailable(_))),
            "and the world stands still"
        );
        store.faults().restart();
        assert_eq!(store.se(se(2)).await.unwrap().is_some(), stored, "{crash:?}");
        store.add_se(se_record(2)).await.expect("the step runs again");
        assert!(store.se(se(1)).await.unwrap().is_some(), "what was answered is kept");
    }
}

#[tokio::test]
async fn one_process_stops_with_all_its_stores() {
    let faults = Arc::new(Faults::default());
    let first = MemorySeTsm::with_faults(Arc::clone(&faults));
    let second = MemoryPayment::with_faults(Arc::clone(&faults));
    faults.crash_at(2, Crash::AfterCommit);
    first.put_delivery(delivery(1, 0)).await.unwrap();
    assert!(second.put_delivery(delivery(2, 0)).await.is_err());
    assert!(first.due_deliveries(at(1), 10).await.is_err());
    assert_eq!((faults.commits(), faults.is_down()), (2, true));
    faults.restart();
    assert_eq!(second.due_deliveries(at(1), 10).await.unwrap(), [delivery(2, 0)]);
}
