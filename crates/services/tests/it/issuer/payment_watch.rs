//! Orders whose notification never came: the platform is asked, and nothing but its word decides.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use tsm_domain::environment::Clock as _;
use tsm_domain::money::{Statement, TopUpStage};
use tsm_domain::{Fen, OrderId};
use tsm_services::payment::{
    IncomingMessage, NewOrder, NewRefund, Notification, NotificationError, PaymentError, PaymentPlatform,
    PlatformOrder, PlatformState, RefundDone, StatementFailure,
};
use tsm_storage::SpTsmStore as _;
use tsm_storage::sp_tsm::{TopUpOrder, TopUpOrderState};

use crate::issuer::city::City;
use crate::manual_time::ManualTime;

/// A platform that answers as it was told to.
#[derive(Default)]
struct Told {
    answers: Mutex<VecDeque<Result<PlatformState, PaymentError>>>,
    asked: Mutex<Vec<&'static str>>,
}

impl Told {
    fn answer(&self, what: &'static str, order: OrderId) -> Result<PlatformOrder, PaymentError> {
        self.asked.lock().unwrap().push(what);
        let state = self.answers.lock().unwrap().pop_front().unwrap_or(Ok(PlatformState::Open))?;
        let payment = order.to_string().parse().unwrap();
        Ok(PlatformOrder { order, payment, amount: Fen::new(5000), state, changed_at: Timestamp::UNIX_EPOCH })
    }
}

#[async_trait]
impl PaymentPlatform for Told {
    async fn create_order(&self, order: &NewOrder) -> Result<PlatformOrder, PaymentError> {
        self.answer("create", order.order)
    }

    async fn query(&self, order: OrderId) -> Result<PlatformOrder, PaymentError> {
        self.answer("query", order)
    }

    async fn query_payment(&self, _: &tsm_domain::PaymentReference) -> Result<PlatformOrder, PaymentError> {
        panic!("no payment has a number of its own");
    }

    async fn close(&self, order: OrderId) -> Result<PlatformOrder, PaymentError> {
        self.answer("close", order)
    }

    async fn refund(&self, _: &NewRefund) -> Result<RefundDone, PaymentError> {
        panic!("nothing was asked back");
    }

    async fn verify_notification(&self, _: &IncomingMessage<'_>) -> Result<Notification, NotificationError> {
        panic!("no notification comes");
    }

    async fn statement(&self, _: Date) -> Result<Statement, StatementFailure> {
        panic!("nobody asks for a statement");
    }
}

fn unknown() -> Result<PlatformState, PaymentError> {
    Err(PaymentError::Unknown("the bank is silent".into()))
}

fn not_sent() -> Result<PlatformState, PaymentError> {
    Err(PaymentError::NotSent("the line is cut".into()))
}

/// Follows an order that nobody was told about until it is decided; gives what was asked, and after how long.
async fn followed(
    answers: Vec<Result<PlatformState, PaymentError>>,
) -> (TopUpOrderState, Vec<&'static str>, SignedDuration) {
    let city = City::new().await;
    let phone = crate::issuer::top_up::opened(&city).await;
    let time = ManualTime::new();
    let card = phone.card_number().await.parse().unwrap();
    let order = TopUpOrder {
        order: OrderId::from_uuid(uuid::Uuid::from_u128(7)),
        card,
        se: tsm_domain::SeId::new(&phone.se_id).unwrap(),
        amount: Fen::new(5000),
        created_at: time.now(),
        state: TopUpOrderState::AwaitingPayment,
    };
    city.store.order_top_up(order.clone()).await.unwrap();
    let platform = Arc::new(Told::default());
    *platform.answers.lock().unwrap() = answers.into();
    // The process starts with the order in its store: nobody has to tell it.
    let _tsm = city.sp_tsm_with(platform.clone(), time.environment());
    let began = time.now();
    loop {
        let now = city.store.top_up(order.order).await.unwrap().unwrap();
        if now.state != TopUpOrderState::AwaitingPayment {
            return (now.state, platform.asked.lock().unwrap().clone(), time.now().duration_since(began));
        }
        assert!(platform.asked.lock().unwrap().len() < 50, "it is never decided");
        tokio::select! {
            biased;
            _ = time.end_next_pause() => {}
            () = async { for _ in 0..1_000 { tokio::task::yield_now().await } } => {}
        }
    }
}

/// req: B-7.4.1.b
#[tokio::test]
async fn a_payment_whose_notification_never_came_is_found() {
    let answers = vec![
        Ok(PlatformState::Open),
        unknown(),
        not_sent(),
        Ok(PlatformState::Open),
        Ok(PlatformState::Paid),
    ];
    let (state, asked, after) = followed(answers).await;
    assert!(matches!(state, TopUpOrderState::Paid { stage: TopUpStage::Paid, .. }), "{state:?}");
    assert_eq!(asked, ["query"; 5], "asked again after every answer that decides nothing");
    assert!(after >= SignedDuration::from_secs(30));
}

/// An order that nobody paid is closed when the platform has closed it, and not before: silence decides nothing.
#[tokio::test]
async fn an_order_is_closed_by_the_platforms_word_and_not_by_time() {
    let mut answers: Vec<_> = (0..12).map(|_| unknown()).collect();
    answers.push(Ok(PlatformState::Closed));
    let (state, asked, after) = followed(answers).await;
    assert_eq!(state, TopUpOrderState::Closed);
    assert_eq!(asked.len(), 13);
    assert_eq!(asked.last(), Some(&"close"), "its time was over");
    assert!(after >= SignedDuration::from_mins(30));
}

/// A payment that was faster than the close counts.
#[tokio::test]
async fn a_payment_that_was_faster_than_the_close_counts() {
    let mut answers: Vec<_> = (0..8).map(|_| Ok(PlatformState::Open)).collect();
    answers.push(Ok(PlatformState::Paid));
    let (state, _, _) = followed(answers).await;
    assert!(matches!(state, TopUpOrderState::Paid { .. }), "{state:?}");
}
