//! Payouts to operators: proposed once, decided once by another person, and booked with the decision.

use tsm_domain::money::TransferCode;
use tsm_domain::money::settlement::BusinessDay;
use tsm_domain::{Fen, TransferId};
use tsm_storage::StorageError;
use tsm_storage::clearing::Books;
use tsm_storage::clearing::lists::{ProposalDecided, ProposalVerdict};
use tsm_storage::clearing::payouts::PayoutRow;
use uuid::Uuid;

use crate::on_clearing;
use crate::sample::at;

fn day() -> BusinessDay {
    "2026-11-20".parse().unwrap()
}

fn row(operator: &str, by: &str) -> PayoutRow {
    PayoutRow {
        day: day(),
        operator: operator.parse().unwrap(),
        number: 0,
        amount: Fen::new(900),
        note: "as settled".into(),
        by: by.parse().unwrap(),
        at: at(5),
        decided: None,
    }
}

fn decided(by: &str, verdict: ProposalVerdict) -> ProposalDecided {
    ProposalDecided { by: by.parse().unwrap(), verdict, at: at(9) }
}

fn paid() -> Books {
    let id = TransferId::from_uuid(Uuid::from_u128(77));
    let transfer = TransferCode::OperatorPaid.between_controls(id, Fen::new(900), at(9)).unwrap();
    Books { transfers: vec![transfer], ..Books::default() }
}

#[tokio::test]
async fn a_payout_is_decided_by_another_person_and_booked_once() {
    use ProposalVerdict::{Approved, Refused};
    on_clearing(async |store| {
        let metro = "METRO".parse().unwrap();
        let decide = |number, by, verdict, books| {
            store.decide_payout(day(), &metro, number, decided(by, verdict), books)
        };
        let unknown = decide(1, "CENTRE/bob", Approved, paid()).await;
        assert!(matches!(unknown, Err(StorageError::Unknown { .. })), "{unknown:?}");
        let first = store.propose_payout(row("METRO", "CENTRE/ann"), Books::default()).await.unwrap();
        assert_eq!(first, PayoutRow { number: 1, ..row("METRO", "CENTRE/ann") });
        let again = store.propose_payout(row("METRO", "CENTRE/bob"), Books::default()).await.unwrap();
        assert_eq!(again, first, "one waits already");
        store.propose_payout(row("BUS", "CENTRE/ann"), Books::default()).await.unwrap();
        assert_eq!(store.waiting_payouts(10).await.unwrap().len(), 2);
        assert_eq!(store.waiting_payouts(1).await.unwrap()[0].operator.as_str(), "BUS");

        let own = decide(1, "CENTRE/ann", Approved, paid()).await;
        assert!(matches!(own, Err(StorageError::Conflict { .. })), "not the one who proposed");
        for _ in 0..2 {
            let refused = decide(1, "CENTRE/bob", Refused, Books::default()).await.unwrap();
            assert!(refused.is_refused());
        }
        let late = decide(1, "CENTRE/bob", Approved, paid()).await;
        assert!(matches!(late, Err(StorageError::Conflict { .. })), "it was refused");
        assert_eq!(store.transfer_by_id(paid().transfers[0].id).await.unwrap(), None);

        let second = store.propose_payout(row("METRO", "CENTRE/bob"), Books::default()).await.unwrap();
        assert_eq!(second.number, 2);
        for _ in 0..2 {
            let approved = decide(2, "CENTRE/ann", Approved, paid()).await.unwrap();
            assert_eq!(approved.decided, Some(decided("CENTRE/ann", Approved)));
        }
        assert_eq!(store.transfer_by_id(paid().transfers[0].id).await.unwrap(), paid().transfers.pop());
        let known = store.propose_payout(row("METRO", "CENTRE/bob"), Books::default()).await.unwrap();
        assert_eq!(known.number, 2, "it is paid");
        let all = store.payouts(day()).await.unwrap();
        let told: Vec<_> = all.iter().map(|row| (row.operator.as_str(), row.number)).collect();
        assert_eq!(told, [("BUS", 1), ("METRO", 1), ("METRO", 2)]);
        assert_eq!(store.waiting_payouts(10).await.unwrap().len(), 1);
        assert_eq!(store.payouts(day().next()).await.unwrap(), []);
    })
    .await;
}
