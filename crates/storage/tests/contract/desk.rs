//! Cases of the issuer's desk, and migrations that the platform's desk ordered.

use tsm_domain::desk::{Decided, DeskCase, DeskMatter, DeskStage};
use tsm_domain::migration::{MigrationChannel, MigrationOrder, MigrationStage};
use tsm_domain::{Fen, OperationId};
use tsm_storage::StorageError;
use tsm_storage::se_tsm::MigrationOrdered;
use tsm_storage::sp_tsm::{LossFollowed, LossWord, With};

use crate::sample::*;
use crate::{on_se_tsm, on_sp_tsm};

fn decided(name: &str, second: i64) -> Decided {
    Decided { by: name.parse().unwrap(), at: at(second) }
}

fn payout(n: u128, card: u64, second: i64) -> DeskCase {
    let refund = OperationId::from_uuid(uuid(n));
    DeskCase {
        id: refund,
        card: card_number(card),
        matter: DeskMatter::Payout { refund, amount: Fen::new(500) },
        opened: decided("one", second),
        reason: "paid in cash".into(),
        requests: Vec::new(),
        stage: DeskStage::Open,
    }
}

#[tokio::test]
async fn a_case_is_opened_once_and_decided_once() {
    on_sp_tsm(async |store| {
        let first = payout(1, 1, 1);
        let with = || With { deliveries: vec![delivery(1, 0)], ..With::default() };
        assert_eq!(store.open_case(first.clone(), with()).await, Ok(first.clone()));
        let other = DeskCase { reason: "another".into(), ..first.clone() };
        assert_eq!(store.open_case(other, With::default()).await, Ok(first.clone()), "the first stays");
        let later = payout(2, 1, 2);
        store.open_case(later.clone(), With::default()).await.unwrap();
        store.open_case(payout(3, 2, 3), With::default()).await.unwrap();
        assert_eq!(store.cases_of(card_number(1)).await, Ok(vec![later, first.clone()]));
        let paid = first.done(decided("two", 4)).unwrap();
        for _ in 0..2 {
            store.decide_case(&first, paid.clone(), with()).await.unwrap();
        }
        let refused = first.refused(decided("three", 5)).unwrap();
        let late = store.decide_case(&first, refused, With::default()).await;
        assert!(matches!(late, Err(StorageError::Conflict { .. })));
        assert_eq!(store.desk_case(first.id).await, Ok(Some(paid)));
        let strange = payout(9, 1, 1);
        let unknown = store.decide_case(&strange, strange.clone(), With::default()).await;
        assert!(matches!(unknown, Err(StorageError::Unknown { .. })));
        let kept = store.due_deliveries(at(10), 10).await.unwrap();
        assert_eq!(kept.len(), 1, "what goes with a step goes once");
    })
    .await;
}

fn lost(n: u128, card: u64) -> DeskCase {
    DeskCase { matter: DeskMatter::Lost, ..payout(n, card, 1) }
}

fn word(change: u64, opened: &[&DeskCase], decided: &[(&DeskCase, &DeskCase)]) -> LossWord {
    LossWord {
        se: se(1),
        change,
        opened: opened.iter().copied().cloned().collect(),
        decided: decided.iter().map(|(before, after)| ((*before).clone(), (*after).clone())).collect(),
        with: With { deliveries: vec![delivery(u128::from(change), 0)], ..With::default() },
    }
}

/// A word about a loss is followed as a whole, once, and never after a newer one.
#[tokio::test]
async fn an_older_word_about_a_loss_changes_nothing() {
    on_sp_tsm(async |store| {
        let (first, second) = (lost(1, 1), lost(2, 2));
        assert_eq!(store.loss_followed(se(1)).await, Ok(None));
        for expected in [LossFollowed::Now, LossFollowed::Before] {
            assert_eq!(store.follow_loss(word(1, &[&first, &second], &[])).await, Ok(expected));
        }
        assert_eq!(store.loss_followed(se(1)).await, Ok(Some(1)));
        assert_eq!(store.cases_of(card_number(2)).await, Ok(vec![second.clone()]));
        let found = |case: &DeskCase| case.done(decided("two", 4)).unwrap();
        let (first_found, second_found) = (found(&first), found(&second));
        // One of its cases was decided by somebody else meanwhile: nothing of the word is stored.
        let by_hall = second.done(decided("hall", 3)).unwrap();
        store.decide_case(&second, by_hall.clone(), With::default()).await.unwrap();
        let both = [(&first, &first_found), (&second, &second_found)];
        let conflict = store.follow_loss(word(2, &[], &both)).await;
        assert!(matches!(conflict, Err(StorageError::Conflict { .. })), "{conflict:?}");
        assert_eq!(store.loss_followed(se(1)).await, Ok(Some(1)));
        assert_eq!(store.desk_case(first.id).await, Ok(Some(first.clone())));
        let taken = store.follow_loss(word(2, &[&first], &[])).await;
        assert!(matches!(taken, Err(StorageError::Conflict { .. })), "{taken:?}");
        let one = [(&first, &first_found)];
        assert_eq!(store.follow_loss(word(2, &[], &one)).await, Ok(LossFollowed::Now));
        // The loss again, late.
        let late = lost(3, 1);
        for change in [0, 1, 2] {
            assert_eq!(store.follow_loss(word(change, &[&late], &[])).await, Ok(LossFollowed::Before));
        }
        assert_eq!(store.cases_of(card_number(1)).await, Ok(vec![first_found]));
        assert_eq!(store.cases_of(card_number(2)).await, Ok(vec![by_hall]));
        let elsewhere = LossWord { se: se(2), ..word(1, &[&late], &[]) };
        assert_eq!(store.follow_loss(elsewhere).await, Ok(LossFollowed::Now), "each SE counts by itself");
        let told = store.due_deliveries(at(10), 10).await.unwrap();
        assert_eq!(told.len(), 2, "what goes with a word goes with it");
    })
    .await;
}

fn order(n: u128, from: u8, to: u8, application: u8) -> MigrationOrder {
    MigrationOrder {
        id: OperationId::from_uuid(uuid(n)),
        application: aid(application),
        from: se(from),
        to: se(to),
        number: number(1),
        channel: MigrationChannel::Hall,
        by: "clerk".parse().unwrap(),
        at: at(i64::try_from(n).unwrap()),
        stage: MigrationStage::Ordered,
    }
}

/// Several applications are several orders; one application of one SE moves once at a time.
#[tokio::test]
async fn migrations_are_ordered_and_move_along() {
    on_se_tsm(async |store| {
        let first = order(1, 1, 2, 0x30);
        let accepted = Ok(MigrationOrdered::Accepted(first.clone()));
        assert_eq!(store.order_migration(first.clone(), vec![]).await, accepted);
        assert_eq!(store.order_migration(first.clone(), vec![]).await, accepted, "run again");
        for (from, to) in [(1, 3), (3, 2), (2, 1), (2, 3)] {
            let busy = store.order_migration(order(9, from, to, 0x30), vec![]).await;
            assert_eq!(busy, Ok(MigrationOrdered::Busy(first.clone())), "{from} {to}");
        }
        let second = order(2, 1, 2, 0x31);
        let accepted = Ok(MigrationOrdered::Accepted(second.clone()));
        assert_eq!(store.order_migration(second.clone(), vec![]).await, accepted);
        assert_eq!(store.migrations_of(se(2)).await, Ok(vec![second.clone(), first.clone()]));
        assert_eq!(store.migrations_of(se(3)).await, Ok(vec![]));
        let left = MigrationOrder { stage: MigrationStage::Left, ..first.clone() };
        for _ in 0..2 {
            assert_eq!(store.move_migration(first.id, MigrationStage::Left, vec![]).await, Ok(left.clone()));
        }
        let back = store.move_migration(first.id, MigrationStage::Ordered, vec![]).await;
        assert!(matches!(back, Err(StorageError::Conflict { .. })));
        assert_eq!(store.migration(second.id).await, Ok(Some(second)), "the other stands by itself");
        store.move_migration(first.id, MigrationStage::Arrived, vec![]).await.unwrap();
        let again = store.order_migration(order(9, 2, 1, 0x30), vec![]).await.unwrap();
        assert!(matches!(again, MigrationOrdered::Accepted(_)), "and back again");
        let unknown = store.move_migration(order(77, 1, 2, 1).id, MigrationStage::Left, vec![]).await;
        assert!(matches!(unknown, Err(StorageError::Unknown { .. })));
    })
    .await;
}
