//! A card leaves a phone of a whole city: returned or parked, then deleted; and what was interrupted is
//! continued or cancelled, whichever the rider chooses.

use tsm_api::conversation::RefundStanding;
use tsm_wallet::service::{Cancellation, Continued, Interrupted, InterruptedKind, Returned};

use super::super::centre::Centre;
use super::*;

/// A phone whose card holds this much.
pub(super) async fn with_money(
    town: &Town,
    home: &str,
    number: u32,
    element: &SharedElement,
    fen: u32,
) -> Phone {
    let mut phone = town.phone(home, element, &Arc::default()).await;
    register(&mut phone, number).await.unwrap();
    phone.wallet.login(&mut Quiet).await.unwrap();
    let card = offer(&phone, "Harbour Transit Card").await;
    phone.wallet.open_card(&card, &mut Quiet).await.unwrap();
    let (order, payment) = phone.wallet.order_top_up(&card.aid, fen).await.unwrap();
    let paid = phone.wallet.pay(&card.aid, order, payment).await.unwrap();
    phone.wallet.top_up(&paid, &mut Quiet).await.unwrap();
    phone
}

/// Logs in until the platform has the closed card deleted: its notice is on its way.
async fn deleted(phone: &mut Phone) -> Vec<HexBytes> {
    for _ in 0..2_000 {
        phone.wallet.login(&mut Quiet).await.unwrap();
        let gone = phone.wallet.delete_closed(&mut Quiet).await.unwrap();
        if !gone.is_empty() {
            return gone;
        }
    }
    panic!("the platform never had the card deleted");
}

pub(super) fn aid() -> HexBytes {
    HexBytes::from(transit())
}

/// Returned, refunded, deleted, in this order; and the phone takes a new card.
///
/// req: B-7.5.1.a, B-7.5.1.b, B-7.5.1.c
#[tokio::test]
async fn a_returned_card_is_gone_and_its_money_is_back() {
    let town = Town::new("return").await;
    let element = town.element(60);
    let mut phone = with_money(&town, "phone-60", 60, &element, 1_000).await;
    let first = phone.wallet.view_card(&transit()).await.unwrap().number_ending;
    let returned = phone.wallet.return_card(&aid(), &mut Quiet).await.unwrap();
    assert_eq!(
        returned,
        Returned {
            balance_fen: 1_000,
            to_payments_fen: 1_000,
            at_hall_fen: 0,
            standing: RefundStanding::OnItsWay
        }
    );
    assert_eq!(deleted(&mut phone).await, [aid()]);
    assert!(phone.wallet.view_card(&transit()).await.is_err(), "the application is gone");
    assert!(phone.wallet.record().installed.is_empty());
    let books = Centre::of(&town.city.plan).unwrap().settled().await.unwrap();
    assert!(books.holds(), "{books:?}");
    assert_eq!((books.paid_in, books.purses), (1_000, 0));
    let card = offer(&phone, "Harbour Transit Card").await;
    phone.wallet.open_card(&card, &mut Quiet).await.unwrap();
    let view = phone.wallet.view_card(&transit()).await.unwrap();
    assert_eq!(view.balance_fen, 0);
    assert_ne!(view.number_ending, first, "a new card");
}

/// The centre has it, then the phone deletes it.
///
/// req: B-7.6.1.b, B-7.6.1.d
#[tokio::test]
async fn a_card_that_migrates_is_deleted_from_its_phone() {
    let town = Town::new("migrate-out").await;
    let element = town.element(61);
    let mut phone = with_money(&town, "phone-61", 61, &element, 1_000).await;
    assert_eq!(phone.wallet.migrate_out(&aid(), &mut Quiet).await, Ok(1_000));
    assert_eq!(deleted(&mut phone).await, [aid()]);
    assert!(phone.wallet.view_card(&transit()).await.is_err(), "nothing is left that could be used");
}

/// The power goes during a return; after the restart the rider is told, and chooses. Either way no money is
/// lost and the card is in use or gone.
///
/// req: W-9.3.b
#[tokio::test]
async fn after_a_power_cut_the_rider_continues_or_cancels() {
    let town = Town::new("power-cut").await;
    let element = town.element(62);
    let mut phone = with_money(&town, "phone-62", 62, &element, 1_000).await;
    drop(phone);
    for cut in [0, 2, 4, 6, 8, 9, 20, 60] {
        let battery = Arc::<Battery>::default();
        phone = town.phone("phone-62", &element, &battery).await;
        phone.wallet.login(&mut Quiet).await.unwrap();
        battery.fail_after(cut);
        phone.wallet.return_card(&aid(), &mut Quiet).await.unwrap_err();
        battery.restore();
        element.lock().unwrap().power_on().unwrap();
        let mut again = town.phone("phone-62", &element, &Arc::default()).await;
        again.wallet.login(&mut Quiet).await.unwrap();
        let works = again.wallet.interrupted().await.unwrap();
        let [work] = &works[..] else { panic!("cut after {cut}: {works:?}") };
        assert_eq!((work.kind, work.may_continue, work.may_cancel), (InterruptedKind::Return, true, true));
        let cancelled = again.wallet.cancel_interrupted(work, &mut Quiet).await;
        assert_eq!(cancelled, Ok(Cancellation::Cancelled), "cut after {cut}");
        assert_eq!(again.wallet.interrupted().await, Ok(Vec::new()));
        assert_eq!(again.wallet.view_card(&transit()).await.unwrap().balance_fen, 1_000);
    }
    let battery = Arc::<Battery>::default();
    phone = town.phone("phone-62", &element, &battery).await;
    phone.wallet.login(&mut Quiet).await.unwrap();
    battery.fail_after(10);
    phone.wallet.return_card(&aid(), &mut Quiet).await.unwrap_err();
    battery.restore();
    element.lock().unwrap().power_on().unwrap();
    let mut phone = town.phone("phone-62", &element, &Arc::default()).await;
    phone.wallet.login(&mut Quiet).await.unwrap();
    let works = phone.wallet.interrupted().await.unwrap();
    let continued = phone.wallet.continue_interrupted(&works[0], &mut Quiet).await.unwrap();
    let expected = Returned {
        balance_fen: 1_000,
        to_payments_fen: 1_000,
        at_hall_fen: 0,
        standing: RefundStanding::OnItsWay,
    };
    assert_eq!(continued, Continued::Returned(expected));
    assert_eq!(deleted(&mut phone).await, [aid()]);
}

/// The power goes during a top-up, an opening and a deletion: the same question, and a legal end.
///
/// req: W-9.3.b
#[tokio::test]
async fn top_ups_openings_and_deletions_are_offered_too() {
    let town = Town::new("power-cut-other").await;
    let element = town.element(63);
    let mut phone = with_money(&town, "phone-63", 63, &element, 1_000).await;
    // A top-up whose credit got lost on its way: the card proves that nothing was credited, and it is cancelled.
    let (order, payment) = phone.wallet.order_top_up(&aid(), 500).await.unwrap();
    phone.wallet.pay(&aid(), order, payment).await.unwrap();
    let mut phone = cut(&town, "phone-63", &element, 3, async |phone: &mut Phone| {
        let paid = phone.wallet.interrupted_top_up().unwrap();
        phone.wallet.top_up(&paid, &mut Quiet).await.map(drop)
    })
    .await;
    let work = only(&phone).await;
    assert_eq!((work.kind, work.amount_fen), (InterruptedKind::TopUp, Some(500)));
    let before = phone.wallet.view_card(&transit()).await.unwrap().balance_fen;
    let cancelled = phone.wallet.cancel_interrupted(&work, &mut Quiet).await.unwrap();
    let expected = if before == 1_000 { Cancellation::Cancelled } else { Cancellation::WasDone };
    assert_eq!(cancelled, expected);
    assert_eq!(phone.wallet.view_card(&transit()).await.unwrap().balance_fen, before);
    assert_eq!(phone.wallet.interrupted().await, Ok(Vec::new()));

    phone.wallet.return_card(&aid(), &mut Quiet).await.unwrap();
    assert_eq!(deleted(&mut phone).await, [aid()]);
    drop(phone);
    let mut phone = cut(&town, "phone-63", &element, 60, async |phone: &mut Phone| {
        let card = offer(phone, "Harbour Transit Card").await;
        phone.wallet.open_card(&card, &mut Quiet).await
    })
    .await;
    let work = only(&phone).await;
    assert_eq!(work.kind, InterruptedKind::Opening);
    assert_eq!(phone.wallet.continue_interrupted(&work, &mut Quiet).await, Ok(Continued::Opened));
    assert_eq!(phone.wallet.interrupted().await, Ok(Vec::new()));
    assert_eq!(phone.wallet.view_card(&transit()).await.unwrap().balance_fen, 0);
}

/// Does something until the power goes after so many commands; gives the phone after its restart.
async fn cut(
    town: &Town,
    home: &str,
    element: &SharedElement,
    after: u64,
    work: impl AsyncFnOnce(&mut Phone) -> Result<(), WalletError>,
) -> Phone {
    let battery = Arc::<Battery>::default();
    let mut phone = town.phone(home, element, &battery).await;
    phone.wallet.login(&mut Quiet).await.unwrap();
    battery.fail_after(after);
    work(&mut phone).await.unwrap_err();
    battery.restore();
    element.lock().unwrap().power_on().unwrap();
    let mut phone = town.phone(home, element, &Arc::default()).await;
    phone.wallet.login(&mut Quiet).await.unwrap();
    phone
}

async fn only(phone: &Phone) -> Interrupted {
    let mut works = phone.wallet.interrupted().await.unwrap();
    assert_eq!(works.len(), 1, "{works:?}");
    works.remove(0)
}
