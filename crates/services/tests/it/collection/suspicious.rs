//! Cards whose counters or balances do not follow.

use jiff::SignedDuration;
use tsm_api::clearing::lists::WireListReason;
use tsm_epurse::commands::PurchaseKind;
use tsm_storage::clearing::Collection as _;

use super::world::{World, batch, row, trips};
use crate::manual_time::ManualTime;
use crate::purse_card::PurseCard;

/// A card that was put back to an earlier state spends its counter again: both purchases are proven, so the
/// card is frozen for value and grey for every terminal, and the second purchase is kept aside.
#[tokio::test]
async fn a_restored_card_is_found_by_its_counter() {
    let world = World::new().await;
    let mut card = world.card(1, 5_000).await;
    let mut copy = PurseCard::new(1);
    copy.load(1_000, 5_000);
    let original = trips(&mut card, 1, &[300]);
    world.peer.batch(&batch(1, &original)).await.unwrap();
    let again = row(2, &copy.pay(PurchaseKind::Composite, 200));
    assert_eq!(again.offline_counter, original[0].offline_counter);
    world.peer.batch(&batch(2, &[again])).await.unwrap();
    assert_eq!(world.spent().await, 300);
    assert_eq!(world.frozen(&card).await, None, "the examination comes after the rows");
    for _ in 0..2 {
        world.centre.collect().await.unwrap();
    }
    assert!(world.frozen(&card).await.unwrap().starts_with("copied"));
    assert!(world.incidents().await.contains(&"suspicious-card".to_owned()));
    let standing = world.peer.standing(&card.wire()).await.unwrap();
    assert_eq!(standing.listed.unwrap().reason, WireListReason::Copied);
    assert_eq!(standing.list_version, 1, "found once");
}

/// Plain and composite purchases share one counter: two proven ones under the same number are two cards, too,
/// and the second is not paid before somebody has looked.
#[tokio::test]
async fn a_copy_is_found_by_a_purchase_of_the_other_kind() {
    let world = World::new().await;
    let mut card = world.card(1, 5_000).await;
    let mut copy = PurseCard::new(1);
    copy.load(1_000, 5_000);
    let original = trips(&mut card, 1, &[300]);
    let again = row(2, &copy.pay(PurchaseKind::Simple, 200));
    assert_eq!(again.offline_counter, original[0].offline_counter);
    world.peer.batch(&batch(1, &[original, vec![again]].concat())).await.unwrap();
    assert_eq!(world.spent().await, 300);
    world.centre.collect().await.unwrap();
    assert!(world.frozen(&card).await.unwrap().starts_with("copied"));
    assert!(world.incidents().await.contains(&"contradicting-purchase".to_owned()));
}

/// Money that left the card without a purchase: the balance does not follow.
#[tokio::test]
async fn vanished_money_is_found_by_the_balance() {
    let world = World::new().await;
    let mut card = world.card(1, 5_000).await;
    let mut other = PurseCard::new(1);
    other.load(1_000, 5_000);
    other.pay(PurchaseKind::Composite, 700);
    // The next purchase of the copy, under the number that the centre expects.
    let mut second = row(1, &other.pay(PurchaseKind::Composite, 100));
    second.offline_counter = 1;
    world.peer.batch(&batch(1, &[second])).await.unwrap();
    world.centre.collect().await.unwrap();
    assert!(world.frozen(&card).await.unwrap().starts_with("balance_does_not_follow"));
    let loaded = card.load(1_001, 500);
    world.peer.credit(&loaded).await.unwrap();
    let standing = world.peer.standing(&card.wire()).await.unwrap();
    assert_eq!(standing.listed.unwrap().reason, WireListReason::BalanceDoesNotFollow);
}

/// More on the card than in the books: the report of a credit may be late, so it is waited for, and comes.
/// When it has not come for days, the card is suspicious.
#[tokio::test]
async fn more_than_the_books_show_is_waited_for_but_not_for_ever() {
    let time = ManualTime::new();
    let world = World::in_environment(time.environment()).await;
    let mut card = world.card(1, 5_000).await;
    let mut second = world.card(2, 5_000).await;
    let reports = [card.load(1_001, 700), second.load(2_001, 700)];
    let rows = [trips(&mut card, 1, &[100]), trips(&mut second, 2, &[100])].concat();
    world.peer.batch(&batch(1, &rows)).await.unwrap();
    world.centre.collect().await.unwrap();
    assert_eq!(world.store.doubts(None, 10).await.unwrap().len(), 2);
    assert_eq!((world.frozen(&card).await, world.frozen(&second).await), (None, None));
    world.peer.credit(&reports[0]).await.unwrap();
    time.pass(SignedDuration::from_hours(73));
    world.centre.collect().await.unwrap();
    assert_eq!(world.frozen(&card).await, None, "its credit came");
    assert!(world.frozen(&second).await.is_some());
    assert_eq!(world.store.doubts(None, 10).await.unwrap(), []);
    assert_eq!(world.spent().await, 200);
}
