//! A card that is parked at the centre goes back to its rider from whichever phone he asks; a phone that claims
//! it and a return shut each other out.

use futures_util::future::join;
use tsm_api::HexBytes;
use tsm_api::clearing::AccountState;
use tsm_api::conversation::RefundStanding;
use tsm_api::problem::ProblemCode;
use tsm_api::sp_tsm::migration::{MigrationOrder, MigrationState, ParkedReturn, ReturnedCard};
use tsm_storage::ClearingStore as _;
use tsm_storage::memory::Crash;
use tsm_storage::shared::Outbox as _;

use crate::issuer::city::{City, PURSE};
use crate::issuer::migrating_in::{BALANCE, parked, state};
use crate::issuer::phone::{Phone, installed, request_id};
use crate::issuer::returning::books_where;

impl Phone {
    async fn return_parked(&self) -> Result<ReturnedCard, ProblemCode> {
        let order = ParkedReturn { request: request_id(), aid: PURSE.into(), card_number: None };
        self.wallet.return_parked(&order).await.map_err(|error| error.code().unwrap())
    }
}

async fn money_is_back(city: &City) {
    let books = books_where(city, |books| books.refunded_fen == u64::from(BALANCE)).await;
    assert_eq!((books.parked_fen, books.refund_payable_fen, books.purses_fen), (0, 0, 0));
}

/// The arrival on another phone was given up, and the old one has deleted the card long since: its money goes back
/// all the same, once, and no phone gets the card any more.
///
/// req: B-7.5.1.b
#[tokio::test]
async fn a_card_whose_arrival_was_given_up_is_returned_from_the_old_phone() {
    let city = City::new().await;
    let (mut old, _, card) = parked(&city, 1).await;
    old.delete(&city).await.unwrap();
    let new = Phone::new(&city, 2);
    let claimed = new.order_migration().await;
    assert_eq!(old.return_parked().await, Err(ProblemCode::StateForbids), "a phone is bringing it to itself");
    assert_eq!(state(&city, &card).await, AccountState::Opening, "nothing happened");
    let given_up = new.wallet.cancel_migration(claimed.migration).await.unwrap();
    assert_eq!(given_up.state, MigrationState::Cancelled);

    // The phone has another card by now.
    assert!(installed(&old.open(&city).await.unwrap()));
    let returned = old.return_parked().await.unwrap();
    assert_eq!((returned.balance_fen, returned.to_payments_fen, returned.at_hall_fen), (BALANCE, BALANCE, 0));
    assert_eq!(new.try_order_migration().await, Err(ProblemCode::UnknownId), "its money goes back");
    money_is_back(&city).await;
    assert_eq!(old.return_parked().await.unwrap(), returned, "its outcome is told again");
    money_is_back(&city).await;
    assert_eq!(old.wallet.parked_cards().await.unwrap().cards, []);
    let told = city.told.unsubscribed.lock().unwrap().len();
    assert_eq!(told, 1, "that it was parked; the card that the phone has by now stays");
}

/// A phone that never had the card returns it, when it is registered to the holder's number; a stranger's does not.
#[tokio::test]
async fn any_phone_of_its_rider_returns_a_parked_card() {
    let city = City::new().await;
    let (old, _, card) = parked(&city, 1).await;
    let mut stranger = Phone::new(&city, 2);
    stranger.register_to(&city, Some("13900139000"));
    assert_eq!(stranger.return_parked().await, Err(ProblemCode::UnknownId));
    stranger.register_to(&city, None);
    assert_eq!(stranger.return_parked().await, Err(ProblemCode::NotAllowed));
    assert_eq!(state(&city, &card).await, AccountState::Parked);
    let third = Phone::new(&city, 3);
    assert_eq!(third.return_parked().await.unwrap().balance_fen, BALANCE);
    money_is_back(&city).await;
    let told = city.told.unsubscribed.lock().unwrap().clone();
    let old = HexBytes(old.se_id.clone());
    assert!(
        told.len() == 2 && told.iter().all(|notice| notice.se_id == old),
        "what the old phone holds may go"
    );
}

/// One phone claims the card while another returns it, again and again: one of them gets it, never both.
#[tokio::test]
async fn a_claim_and_a_return_at_once_shut_each_other_out() {
    for _ in 0..8 {
        let city = City::new().await;
        let (old, _, card) = parked(&city, 1).await;
        old.delete(&city).await.unwrap();
        let (one, another) = (Phone::new(&city, 2), Phone::new(&city, 3));
        let order = MigrationOrder { request: request_id(), aid: PURSE.into(), card_number: None };
        let (claimed, returned) = join(one.wallet.order_migration(&order), another.return_parked()).await;
        assert_ne!(claimed.is_ok(), returned.is_ok(), "{claimed:?} {returned:?}");
        match claimed {
            Ok(claimed) => {
                assert_eq!(state(&city, &card).await, AccountState::Opening);
                one.wallet.cancel_migration(claimed.migration).await.unwrap();
                another.return_parked().await.unwrap();
            }
            Err(_) => assert_eq!(another.return_parked().await, returned),
        }
        money_is_back(&city).await;
    }
}

/// The issuer dies at each of its commits: the return is stored whole or not at all, and said again it ends.
#[tokio::test]
async fn an_sp_tsm_that_crashes_at_any_commit_of_it_refunds_once() {
    for crash in [Crash::BeforeCommit, Crash::AfterCommit] {
        for commit in 1..=4 {
            let mut city = City::new().await;
            let (old, _, _) = parked(&city, 1).await;
            old.delete(&city).await.unwrap();
            let (se_id, number) = (old.se_id.clone(), old.number);
            city.faults.crash_at(city.faults.commits() + commit, crash);
            let _ = old.return_parked().await;
            city.restart_sp_tsm().await;
            let wallet = city.wallet_of(&se_id, number);
            let order = ParkedReturn { request: request_id(), aid: PURSE.into(), card_number: None };
            assert_eq!(wallet.return_parked(&order).await.unwrap().balance_fen, BALANCE);
            money_is_back(&city).await;
        }
    }
}

/// The centre has frozen a card that it keeps. Whoever returns it is told that its money is held; nothing goes back
/// until people have looked, and then all of it, once.
#[tokio::test]
async fn the_refund_of_a_frozen_card_is_held_and_said_to_be() {
    let mut city = City::new().await;
    let (old, _, card) = parked(&city, 1).await;
    old.delete(&city).await.unwrap();
    let number = card.to_string()[1..].parse().unwrap();
    let books = tsm_storage::clearing::Books::default();
    city.centre_store.set_frozen(number, Some("a tap too many".into()), books.clone()).await.unwrap();
    let held = old.return_parked().await.unwrap();
    assert_eq!((held.balance_fen, held.standing), (BALANCE, RefundStanding::Held));
    assert_eq!(old.return_parked().await.unwrap(), held, "and again the same");
    let owed = city.centre_peer(&city.sp_tsm).books().await.unwrap();
    assert_eq!((owed.refunded_fen, owed.parked_fen), (0, u64::from(BALANCE)), "nothing moves");

    city.centre_store.set_frozen(number, None, books).await.unwrap();
    for waiting in city.store.due_deliveries(jiff::Timestamp::MAX, 100).await.unwrap() {
        city.store.postpone_delivery(waiting.id, jiff::Timestamp::UNIX_EPOCH).await.unwrap();
    }
    city.restart_sp_tsm().await;
    money_is_back(&city).await;
    let wallet = city.wallet_of(&old.se_id, old.number);
    let order = ParkedReturn { request: request_id(), aid: PURSE.into(), card_number: None };
    assert_eq!(wallet.return_parked(&order).await.unwrap().standing, RefundStanding::OnItsWay);
}
