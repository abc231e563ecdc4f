//! The operators' fare tables: each version proposed once, decided once by another, and published in order.

use tsm_domain::bytes::Sha256Digest;
use tsm_domain::money::fare::FareHead;
use tsm_storage::StorageError;
use tsm_storage::clearing::Books;
use tsm_storage::clearing::fares::FareRow;
use tsm_storage::clearing::lists::{ProposalDecided, ProposalVerdict};

use crate::on_clearing;
use crate::sample::at;

fn row(operator: &str, version: u32, from: i64) -> FareRow {
    FareRow {
        operator: operator.parse().unwrap(),
        head: FareHead {
            version,
            valid_from: at(from),
            valid_until: None,
            digest: Sha256Digest([version as u8; 32]),
        },
        by: format!("{operator}/ann").parse().unwrap(),
        at: at(5),
        decided: None,
    }
}

fn decided(by: &str, verdict: ProposalVerdict) -> ProposalDecided {
    ProposalDecided { by: by.parse().unwrap(), verdict, at: at(9) }
}

#[tokio::test]
async fn a_version_is_published_by_another_person_and_in_order() {
    use ProposalVerdict::{Approved, Refused};
    on_clearing(async |store| {
        let metro = "METRO".parse().unwrap();
        let two = row("METRO", 2, 200);
        for _ in 0..2 {
            assert_eq!(store.propose_fares(two.clone(), "two".into()).await, Ok(two.clone()));
        }
        let other = FareRow { head: FareHead { valid_from: at(201), ..two.head }, ..two.clone() };
        let otherwise = store.propose_fares(other, "two".into()).await;
        assert!(matches!(otherwise, Err(StorageError::Conflict { .. })), "a version is one thing");
        for (version, from) in [(1, 100), (3, 150), (4, 300), (5, 400)] {
            store.propose_fares(row("METRO", version, from), version.to_string()).await.unwrap();
        }
        store.propose_fares(row("BUS", 2, 7), "bus".into()).await.unwrap();
        let decide = async |version, by: &str, verdict| {
            store.decide_fares(&metro, version, decided(by, verdict), Books::default()).await
        };
        let conflict = |result| assert!(matches!(result, Err(StorageError::Conflict { .. })), "{result:?}");
        conflict(decide(2, "METRO/ann", Approved).await);
        for _ in 0..2 {
            assert!(decide(2, "METRO/bob", Approved).await.unwrap().is_published());
        }
        conflict(decide(2, "METRO/bob", Refused).await);
        conflict(decide(1, "METRO/bob", Approved).await);
        conflict(decide(3, "METRO/bob", Approved).await);
        assert!(!decide(4, "METRO/bob", Refused).await.unwrap().is_published());
        assert!(decide(5, "METRO/bob", Approved).await.unwrap().is_published());
        assert!(matches!(decide(9, "METRO/bob", Approved).await, Err(StorageError::Unknown { .. })));
        let versions: Vec<_> = store.fares(&metro).await.unwrap();
        let published: Vec<_> = versions.iter().map(|row| (row.head.version, row.is_published())).collect();
        assert_eq!(published, [(1, false), (2, true), (3, false), (4, false), (5, true)]);
        let (found, text) = store.fare_text(&metro, 2).await.unwrap().unwrap();
        assert_eq!((found, text.as_str()), (versions[1].clone(), "two"));
        assert_eq!(store.fare_text(&metro, 9).await.unwrap(), None);
        assert_eq!(store.fares(&"BUS".parse().unwrap()).await.unwrap().len(), 1);
    })
    .await;
}
