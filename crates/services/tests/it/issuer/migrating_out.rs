//! Migrating a card out: all of it is at the centre, and nothing on the phone can spend.

use tsm_api::HexBytes;
use tsm_api::clearing::AccountState;
use tsm_api::clearing::closing::ClaimParked;
use tsm_api::conversation::{OutcomeDetail, OutcomeResult, RefundStanding};
use tsm_api::ids::OperationId;
use tsm_api::problem::ProblemCode;
use tsm_api::sp_tsm::wallet::Operation;
use tsm_epurse::CardImage;
use tsm_iso7816::StatusWord;

use crate::issuer::centre::purchase;
use crate::issuer::city::City;
use crate::issuer::phone::{Lost, uuid};
use crate::issuer::returning::{another, books_where};
use crate::issuer::top_up::opened;

/// req: B-7.6.1.b, B-7.6.1.c, B-7.6.1.d
#[tokio::test]
async fn a_card_that_migrates_is_parked_with_all_its_data() {
    let city = City::new().await;
    let mut phone = opened(&city).await;
    phone.top_up(&city, 5000).await;
    city.settled(5000).await;
    let number = city.card_number(&phone.card_number().await);
    purchase(&city, &phone, 300, 1).await;
    let shown = phone.read().await;
    let outcome = phone.operate(Operation::MigrateOut, None).await;
    assert_eq!(outcome.detail, OutcomeDetail::MigratedOut { balance_fen: 4700 });
    let books = books_where(&city, |books| books.parked_fen == 4700).await;
    assert_eq!((books.purses_fen, books.refunded_fen), (300, 0), "the tap is under way");
    assert_eq!(phone.read().await.select_status, StatusWord::SELECTED_FILE_INVALIDATED);
    for operation in [Operation::TopUp, Operation::Unlock, Operation::CancelClosing, Operation::Synchronise] {
        let refused = phone.wallet.start(&crate::issuer::phone::Phone::start_request(operation, None)).await;
        if let Ok(reply) = refused {
            assert_ne!(phone.converse(reply, None).await.result, OutcomeResult::Done, "{operation:?}");
        }
    }
    for _ in 0..20_000 {
        if !city.told.unsubscribed.lock().unwrap().is_empty() {
            break;
        }
        let _ = phone.wallet.interrupted().await;
    }
    assert_eq!(city.told.unsubscribed.lock().unwrap().len(), 1, "the phone is told to delete it");

    let claim =
        ClaimParked { card: number.clone(), se_id: HexBytes(vec![9; 8]), operation: OperationId(uuid()) };
    let centre = city.centre_peer(&city.sp_tsm);
    let claimed = centre.claim_parked(&claim).await.unwrap();
    let image = CardImage::decode(claimed.image.as_bytes()).unwrap();
    assert_eq!(image.public_information, shown.public_information);
    assert_eq!((&image.log, &image.history), (&shown.transactions, &shown.history));
    assert_eq!((image.state().purse().fen(), image.state().offline().value()), (4700, 1));
    let refused = phone.operate(Operation::Return, None).await;
    assert_eq!(refused.result, OutcomeResult::Refused, "a claimed card is not refunded: {refused:?}");
    assert_eq!(centre.account(&number).await.unwrap().state, AccountState::Opening);
}

/// A rider who thinks better of it has the parked card refunded; nothing is sent to the card.
#[tokio::test]
async fn a_parked_card_can_be_returned() {
    let city = City::new().await;
    let mut phone = opened(&city).await;
    phone.top_up(&city, 5000).await;
    city.settled(5000).await;
    phone.operate(Operation::MigrateOut, None).await;
    books_where(&city, |books| books.parked_fen == 5000).await;
    phone.sent = 0;
    let outcome = loop {
        let outcome = phone.operate(Operation::Return, None).await;
        // The centre's word about the parking may still be on its way.
        if outcome.result != OutcomeResult::Refused {
            break outcome;
        }
    };
    let expected = OutcomeDetail::Returned {
        balance_fen: 5000,
        to_payments_fen: 5000,
        at_hall_fen: 0,
        standing: RefundStanding::OnItsWay,
    };
    assert_eq!((outcome.detail, phone.sent), (expected, 0));
    books_where(&city, |books| books.refunded_fen == 5000).await;
    let refused = phone.operate(Operation::MigrateOut, None).await;
    assert_eq!(refused.problem.unwrap().code, ProblemCode::StateForbids);
}

/// Torn at every kind of APDU; the rider continues, and the card is parked once.
///
/// req: W-9.3.b, B-7.6.1.c
#[tokio::test]
async fn a_migration_out_torn_anywhere_parks_once() {
    let city = City::new().await;
    let cuts: Vec<Lost> =
        (0..=7).chain([30, 67]).flat_map(|at| [Lost::Command(at), Lost::Response(at)]).collect();
    let mut parked = 0;
    for (number, lost) in (1..).zip(&cuts) {
        let mut phone = another(&city, number).await;
        phone.top_up(&city, 100).await;
        (phone.lost, phone.sent) = (*lost, 0);
        let torn = phone.operate(Operation::MigrateOut, None).await;
        assert_eq!(torn.result, OutcomeResult::Unknown, "{lost:?}: {torn:?}");
        (phone.lost, phone.sent) = (Lost::Nothing, 0);
        let refused = phone.operate(Operation::Return, None).await;
        assert_eq!(refused.result, OutcomeResult::Refused, "another closing is under way: {lost:?}");
        let done = phone.operate(Operation::MigrateOut, None).await;
        assert_eq!(done.detail, OutcomeDetail::MigratedOut { balance_fen: 100 }, "{lost:?}: {done:?}");
        parked += 100;
    }
    println!("a migration out that is continued: {} cut points", cuts.len());
    let books = books_where(&city, |books| books.parked_fen == parked).await;
    assert_eq!((books.purses_fen, books.paid_in_fen), (0, parked));
}
