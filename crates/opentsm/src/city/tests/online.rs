//! A shop of a whole city is paid from a card, over the network; the power goes at every command, and the rider
//! continues or cancels.

use tsm_api::ids::PaymentId;
use tsm_services::payment::{PaymentPlatform as _, PlatformState, SandboxPlatform};
use tsm_wallet::service::{Cancellation, Continued, InterruptedKind, OnlinePayment};

use super::super::centre::Centre;
use super::super::{payments, roles};
use super::leaving::{aid, with_money};
use super::*;

const PRICE: u32 = 100;

/// The shop asks for money.
async fn asked(town: &Town, shop: &SandboxPlatform) -> PaymentId {
    let environment = roles::runtime_of(&town.city.plan);
    let order = payments::order(&environment, PRICE, "an umbrella", None);
    PaymentId(shop.create_order(&order).await.unwrap().order.as_uuid())
}

/// req: B-7.3.1.a, W-9.3.b
#[tokio::test]
async fn a_payment_that_lost_its_power_is_continued_or_cancelled() {
    let town = Town::new("online-power-cut").await;
    let shop = payments::shop(&town.city.plan, &roles::runtime_of(&town.city.plan)).unwrap();
    let element = town.element(80);
    drop(with_money(&town, "phone-80", 80, &element, 5_000).await);
    let (mut balance, mut cuts) = (5_000, 0);
    'cuts: for cut in 0.. {
        for goes_on in [Goes::On, Goes::Back] {
            let payment = asked(&town, &shop).await;
            let battery = Arc::<Battery>::default();
            let mut phone = town.phone("phone-80", &element, &battery).await;
            phone.wallet.login(&mut Quiet).await.unwrap();
            battery.fail_after(cut);
            let seen = phone.wallet.pay_online(&aid(), payment, &mut Quiet).await;
            battery.restore();
            element.lock().unwrap().power_on().unwrap();
            if seen.is_ok() {
                balance -= PRICE;
                break 'cuts;
            }
            cuts += 1;
            let mut phone = town.phone("phone-80", &element, &Arc::default()).await;
            phone.wallet.login(&mut Quiet).await.unwrap();
            let works = phone.wallet.interrupted().await.unwrap();
            let [work] = &works[..] else { panic!("cut after {cut}: {seen:?}, {works:?}") };
            assert_eq!((work.kind, work.amount_fen), (InterruptedKind::PayOnline, Some(PRICE)));
            let expected = match goes_on {
                Goes::On => {
                    let done = phone.wallet.continue_interrupted(work, &mut Quiet).await.unwrap();
                    balance -= PRICE;
                    let paid = OnlinePayment::Paid { amount_fen: PRICE, balance_fen: balance };
                    assert_eq!(done, Continued::PaidOnline(paid), "cut after {cut}");
                    PlatformState::Paid
                }
                Goes::Back => match phone.wallet.cancel_interrupted(work, &mut Quiet).await.unwrap() {
                    Cancellation::Cancelled => PlatformState::Closed,
                    Cancellation::WasDone => {
                        balance -= PRICE;
                        PlatformState::Paid
                    }
                },
            };
            let order = tsm_domain::OrderId::from_uuid(payment.0);
            assert_eq!(shop.query(order).await.unwrap().state, expected, "cut after {cut}");
            assert_eq!(phone.wallet.interrupted().await, Ok(Vec::new()));
            assert_eq!(phone.wallet.view_card(&transit()).await.unwrap().balance_fen, balance);
        }
    }
    assert!(cuts >= 6, "a payment has three commands at least, and {cuts} cuts were seen");
    let centre = Centre::of(&town.city.plan).unwrap();
    let spent = i64::from(5_000 - balance);
    for _ in 0..2_000 {
        let books = centre.settled().await.unwrap();
        assert!(books.holds(), "{books:?}");
        if books.spent == spent {
            println!("{cuts} cuts of the phone's power");
            return;
        }
    }
    panic!("the books never came to {spent} spent");
}

/// What the rider chooses.
#[derive(Debug, Clone, Copy)]
enum Goes {
    On,
    Back,
}
