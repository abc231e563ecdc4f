//! The payment sandbox: a person pays or declines, the merchant hears of it whatever fails on the way, and
//! money goes back once.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use jiff::SignedDuration;
use tokio::sync::mpsc;
use tsm_api::client::{ClientError, PaymentPeer, PaymentUser, SpTsmPeer};
use tsm_api::endpoint::{Access, Nothing};
use tsm_api::ids::{OrderId, PaymentId};
use tsm_api::payment::{
    self, NewPayment, Pay, PayChoice, PaymentNotification, PaymentRecord, PaymentState, Refund,
};
use tsm_api::problem::{Problem, ProblemCode};
use tsm_api::sp_tsm::peer::PAYMENT_NOTIFICATION;
use tsm_domain::environment::Clock as _;
use tsm_services::payment_sandbox::{Merchant, Parts, PaymentSandbox, Repetition, routes};
use tsm_services::server::{Credentials, Peer, PeerGate, Routes, Server, Service};
use tsm_storage::memory::{Crash, Faults, MemoryPayment};
use tsm_storage::{Outbox as _, PaymentStore as _};
use uuid::Uuid;

use crate::institution::{Institution, check_closed};
use crate::manual_time::ManualTime;
use crate::support::Net;

const LIFETIME: SignedDuration = SignedDuration::from_mins(15);

/// A merchant's server that takes the platform's word, and refuses it as often as it is told to.
struct Shop {
    gate: PeerGate,
    platform: Peer,
    time: Arc<ManualTime>,
    refusals: Mutex<VecDeque<ProblemCode>>,
    heard: mpsc::UnboundedSender<PaymentNotification>,
}

#[async_trait]
impl Service for Shop {
    type Caller = ();

    async fn authenticate(&self, access: Access, credentials: Credentials<'_>) -> Result<(), Problem> {
        assert_eq!(access, Access::Peer);
        assert_eq!(self.gate.claimed(&credentials)?, self.platform.institution);
        self.gate.admit(&credentials, &self.platform, self.time.now())
    }
}

impl Shop {
    fn take(&self, word: PaymentNotification) -> Result<Nothing, Problem> {
        self.heard.send(word).unwrap();
        match self.refusals.lock().unwrap().pop_front() {
            Some(code) => Err(code.into()),
            None => Ok(Nothing {}),
        }
    }
}

/// The platform with two merchants; only the first has a server.
struct World {
    net: Net,
    time: Arc<ManualTime>,
    store: Arc<MemoryPayment>,
    repetition: Repetition,
    platform: Institution,
    city: Institution,
    cinema: Institution,
    shop: Arc<Shop>,
    shop_server: Server,
    heard: mpsc::UnboundedReceiver<PaymentNotification>,
    server: Server,
}

impl World {
    async fn new() -> Self {
        Self::with(MemoryPayment::new(), Repetition::Once, &[]).await
    }

    async fn with(store: MemoryPayment, repetition: Repetition, refusals: &[ProblemCode]) -> Self {
        let (net, time, store) = (Net::new(), ManualTime::new(), Arc::new(store));
        let [platform, city, cinema] =
            ["PAYMENT", "CITY", "CINEMA"].map(|number| Institution::new(&net, number));
        let (hear, heard) = mpsc::unbounded_channel();
        let shop = Arc::new(Shop {
            gate: PeerGate::open(time.now()),
            platform: platform.peer(),
            time: time.clone(),
            refusals: Mutex::new(refusals.iter().copied().collect()),
            heard: hear,
        });
        let take = |shop: Arc<Shop>, call: tsm_services::server::Call<(), PaymentNotification>| async move {
            shop.take(call.request)
        };
        let shop_server =
            net.serve(Routes::new(shop.clone()).on(&PAYMENT_NOTIFICATION, take).into_router()).await;
        let parts = parts(&net, &time, &store, repetition, (&platform, &city, &cinema), &shop_server);
        let server = net.serve(routes(PaymentSandbox::new(parts)).into_router()).await;
        Self { net, time, store, repetition, platform, city, cinema, shop, shop_server, heard, server }
    }

    /// The process ends and another begins on what the store kept.
    async fn restart(&mut self) {
        let who = (&self.platform, &self.city, &self.cinema);
        let parts = parts(&self.net, &self.time, &self.store, self.repetition, who, &self.shop_server);
        self.server = self.net.serve(routes(PaymentSandbox::new(parts)).into_router()).await;
    }

    fn merchant(&self) -> PaymentPeer {
        PaymentPeer::new(self.city.client(&self.net, &self.server, self.time.clock()))
    }

    fn other_merchant(&self) -> PaymentPeer {
        PaymentPeer::new(self.cinema.client(&self.net, &self.server, self.time.clock()))
    }

    fn person(&self) -> PaymentUser {
        PaymentUser::new(self.net.wallet(&self.server))
    }

    async fn hears(&mut self) -> PaymentRecord {
        self.heard.recv().await.unwrap().payment
    }

    /// Waits until the outbox is empty. A store that died is started again, with a new process.
    async fn outbox_empties(&mut self) {
        loop {
            match self.store.next_delivery_at().await {
                Ok(None) => return,
                Ok(Some(_)) => tokio::task::yield_now().await,
                Err(_) => {
                    self.store.faults().restart();
                    self.restart().await;
                }
            }
        }
    }
}

fn parts(
    net: &Net,
    time: &Arc<ManualTime>,
    store: &Arc<MemoryPayment>,
    repetition: Repetition,
    (platform, city, cinema): (&Institution, &Institution, &Institution),
    shop: &Server,
) -> Parts {
    let link = SpTsmPeer::new(platform.client(net, shop, time.clock()));
    let merchant = |institution: &Institution| Merchant { peer: institution.peer(), link: link.clone() };
    Parts {
        store: store.clone(),
        environment: time.environment(),
        merchants: vec![merchant(city), merchant(cinema)],
        repetition,
        lifetime: LIFETIME,
    }
}

fn new_payment(order: u128, amount_fen: u32) -> NewPayment {
    NewPayment { order: OrderId(Uuid::from_u128(order)), amount_fen, subject: "Transit card top-up".into() }
}

fn refund(amount_fen: u32) -> Refund {
    Refund { amount_fen, reason: "cancelled".into() }
}

const PAYS: Pay = Pay { choice: PayChoice::Pay };
const DECLINES: Pay = Pay { choice: PayChoice::Decline };

fn code<T: std::fmt::Debug>(result: Result<T, ClientError>) -> ProblemCode {
    let error = result.unwrap_err();
    error.code().unwrap_or_else(|| panic!("{error}"))
}

/// A person pays a merchant's order at the platform, which then tells the merchant under its signature.
///
/// req: B-7.4.1.a
#[tokio::test]
async fn a_person_pays_and_the_merchant_hears_of_it() {
    let mut world = World::new().await;
    let order = new_payment(1, 5_000);
    let open = world.merchant().create(&order).await.unwrap();
    assert_eq!((open.order, open.amount_fen, open.state), (order.order, 5_000, PaymentState::Open));
    assert_eq!(world.merchant().create(&order).await.unwrap(), open, "the same order again");
    assert_eq!(world.person().show(open.payment).await.unwrap(), open);

    world.time.pass(SignedDuration::from_secs(40));
    let paid = world.person().pay(open.payment, &PAYS).await.unwrap();
    assert_eq!(paid, PaymentRecord { state: PaymentState::Paid, changed_at: world.time.now(), ..open });
    assert_eq!(world.hears().await, paid);
    world.outbox_empties().await;

    world.time.pass(SignedDuration::from_secs(40));
    assert_eq!(world.person().pay(paid.payment, &PAYS).await.unwrap(), paid, "paid once");
    assert_eq!(world.merchant().query(paid.payment).await.unwrap(), paid);
    assert_eq!(code(world.person().pay(paid.payment, &DECLINES).await), ProblemCode::StateForbids);
    world.outbox_empties().await;
    assert!(world.heard.try_recv().is_err(), "paying again tells nothing new");
}

#[tokio::test]
async fn what_was_declined_or_has_expired_cannot_be_paid() {
    let world = World::new().await;
    let (merchant, person) = (world.merchant(), world.person());
    let open = merchant.create(&new_payment(1, 500)).await.unwrap();
    world.time.pass(SignedDuration::from_secs(5));
    let declined = person.pay(open.payment, &DECLINES).await.unwrap();
    assert_eq!((declined.state, declined.changed_at), (PaymentState::Declined, world.time.now()));
    world.time.pass(SignedDuration::from_secs(5));
    assert_eq!(person.pay(open.payment, &DECLINES).await.unwrap(), declined, "declined once");
    assert_eq!(code(person.pay(open.payment, &PAYS).await), ProblemCode::StateForbids);

    let open = merchant.create(&new_payment(2, 500)).await.unwrap();
    let ends_at = open.changed_at.checked_add(LIFETIME).unwrap();
    world.time.pass(LIFETIME);
    let expired = PaymentRecord { state: PaymentState::Declined, changed_at: ends_at, ..open.clone() };
    assert_eq!(person.show(open.payment).await.unwrap(), expired);
    assert_eq!(code(person.pay(open.payment, &PAYS).await), ProblemCode::StateForbids);
    assert_eq!(merchant.query(open.payment).await.unwrap(), expired);
    assert_eq!(world.store.next_delivery_at().await, Ok(None), "there is nothing to tell");
}

#[tokio::test]
async fn money_goes_back_once_and_never_more_than_was_paid() {
    let world = World::new().await;
    let (merchant, person) = (world.merchant(), world.person());
    let payment = merchant.create(&new_payment(1, 500)).await.unwrap().payment;
    assert_eq!(code(merchant.refund(payment, &refund(500)).await), ProblemCode::StateForbids, "not paid yet");
    person.pay(payment, &PAYS).await.unwrap();
    assert_eq!(code(merchant.refund(payment, &refund(501)).await), ProblemCode::AmountRefused);
    assert_eq!(code(merchant.refund(payment, &refund(0)).await), ProblemCode::ValueRefused);
    world.time.pass(SignedDuration::from_secs(5));
    let back = merchant.refund(payment, &refund(400)).await.unwrap();
    assert_eq!((back.state, back.changed_at), (PaymentState::Refunded, world.time.now()));
    world.time.pass(SignedDuration::from_secs(5));
    assert_eq!(merchant.refund(payment, &refund(400)).await.unwrap(), back, "the same refund again");
    assert_eq!(code(merchant.refund(payment, &refund(100)).await), ProblemCode::Duplicate);
    let order = tsm_domain::OrderId::from_uuid(payment.0);
    assert_eq!(world.store.order(order).await.unwrap().unwrap().order.held(), tsm_domain::Fen::new(100));
    assert_eq!(world.store.refunds_of(order).await.unwrap().len(), 1);
}

/// A merchant that cannot take the word yet hears it again, after longer and longer pauses, until it can.
#[tokio::test]
async fn the_word_is_repeated_until_the_merchant_takes_it() {
    let refusals = [ProblemCode::Unavailable, ProblemCode::UnknownId, ProblemCode::Internal];
    let mut world = World::with(MemoryPayment::new(), Repetition::Once, &refusals).await;
    let payment = world.merchant().create(&new_payment(1, 500)).await.unwrap().payment;
    let paid = world.person().pay(payment, &PAYS).await.unwrap();
    assert_eq!(world.hears().await, paid);
    let mut pauses = Vec::new();
    for _ in refusals {
        pauses.push(world.time.end_next_pause().await);
        assert_eq!(world.hears().await, paid);
    }
    assert!(pauses.is_sorted_by(|shorter, longer| shorter < longer), "{pauses:?}");
    world.outbox_empties().await;
    assert!(world.heard.try_recv().is_err());
}

/// What the merchant refuses for good is not said again; the payment stands, and the merchant can ask.
#[tokio::test]
async fn a_word_that_is_refused_for_good_is_not_repeated() {
    let mut world = World::with(MemoryPayment::new(), Repetition::Once, &[ProblemCode::OrderUsed]).await;
    let payment = world.merchant().create(&new_payment(1, 500)).await.unwrap().payment;
    world.person().pay(payment, &PAYS).await.unwrap();
    world.hears().await;
    world.outbox_empties().await;
    assert!(world.heard.try_recv().is_err());
    assert_eq!(world.merchant().query(payment).await.unwrap().state, PaymentState::Paid);
}

/// Platforms repeat themselves: a sandbox told to do so says everything twice, in two signed messages.
#[tokio::test]
async fn the_sandbox_can_repeat_itself() {
    let mut world = World::with(MemoryPayment::new(), Repetition::Twice, &[]).await;
    let payment = world.merchant().create(&new_payment(1, 500)).await.unwrap().payment;
    let paid = world.person().pay(payment, &PAYS).await.unwrap();
    assert_eq!([world.hears().await, world.hears().await], [paid.clone(), paid]);
    world.outbox_empties().await;
    assert!(world.heard.try_recv().is_err());
}

/// The platform dies before or after each of its commits: the person's payment counts once, and the merchant
/// hears of it at least once.
#[tokio::test]
async fn no_word_is_lost_when_the_platform_dies() {
    for crash in [Crash::BeforeCommit, Crash::AfterCommit] {
        for commit in 1..=4 {
            let faults = Arc::new(Faults::default());
            let store = MemoryPayment::with_faults(faults.clone());
            let mut world = World::with(store, Repetition::Once, &[ProblemCode::Unavailable]).await;
            faults.crash_at(commit, crash);
            let order = new_payment(1, 500);
            let payment = loop {
                match world.merchant().create(&order).await {
                    Ok(open) => break open.payment,
                    Err(error) => world.dies(error).await,
                }
            };
            let paid = loop {
                match world.person().pay(payment, &PAYS).await {
                    Ok(paid) => break paid,
                    Err(error) => world.dies(error).await,
                }
            };
            // The first message is refused for now, the second is taken; the process may die after either.
            assert_eq!(world.hears().await, paid, "{crash:?} {commit}");
            let again = loop {
                tokio::select! {
                    biased;
                    again = world.heard.recv() => break again.unwrap().payment,
                    () = tokio::task::yield_now() => {}
                }
                if faults.is_down() {
                    faults.restart();
                    world.restart().await;
                } else if world.store.due_deliveries(world.time.now(), 1).await == Ok(Vec::new()) {
                    world.time.pass(SignedDuration::from_secs(1));
                    world.time.end_due_pauses();
                }
            };
            assert_eq!(again, paid, "{crash:?} {commit}");
            world.outbox_empties().await;
            assert!(faults.commits() >= commit, "every planned commit was reached");
            assert_eq!(world.merchant().query(payment).await.unwrap(), paid, "{crash:?} {commit}");
            assert!(world.shop.refusals.lock().unwrap().is_empty());
        }
    }
}

impl World {
    async fn dies(&mut self, error: ClientError) {
        assert_eq!(error.code(), Some(ProblemCode::Unavailable), "{error}");
        assert!(self.store.faults().is_down());
        self.store.faults().restart();
        self.restart().await;
    }
}

/// Merchants' endpoints are closed to whoever is not a registered merchant. A payer needs nothing but the
/// unguessable number, and with it can do nothing but pay, decline or look.
#[tokio::test]
async fn nobody_asks_in_a_merchants_name() {
    let world = World::new().await;
    let clock = world.time.clock();
    for endpoint in payment::endpoints().iter().filter(|endpoint| endpoint.access == Access::Peer) {
        check_closed(endpoint, &world.net, &world.server, &world.city, &clock).await;
    }
    let open_to: Vec<_> =
        payment::endpoints().into_iter().filter(|endpoint| endpoint.access != Access::Peer).collect();
    assert!(open_to.iter().all(|endpoint| endpoint.access == Access::Conversation));
    let who = (&world.platform, &world.city, &world.cinema);
    let parts = parts(&world.net, &world.time, &world.store, world.repetition, who, &world.shop_server);
    let routed = routes(PaymentSandbox::new(parts));
    let declared: Vec<_> =
        payment::endpoints().iter().map(|endpoint| (endpoint.verb, endpoint.path)).collect();
    for endpoint in &declared {
        assert!(routed.routed().contains(endpoint), "{endpoint:?}");
    }
    assert_eq!(routed.routed().len(), declared.len());
}

/// A payment exists for its merchant and for its payer, and for nobody else.
#[tokio::test]
async fn payments_of_others_and_unknown_ones_do_not_exist() {
    let world = World::new().await;
    let (merchant, other, person) = (world.merchant(), world.other_merchant(), world.person());
    let order = new_payment(1, 500);
    let own = merchant.create(&order).await.unwrap().payment;
    let unknown = PaymentId(Uuid::from_u128(9));
    for (case, found) in [
        ("query", code(merchant.query(unknown).await)),
        ("refund", code(merchant.refund(unknown, &refund(1)).await)),
        ("pay", code(person.pay(unknown, &PAYS).await)),
        ("show", code(person.show(unknown).await)),
        ("query of another's", code(other.query(own).await)),
        ("refund of another's", code(other.refund(own, &refund(1)).await)),
    ] {
        assert_eq!(found, ProblemCode::UnknownId, "{case}");
    }
    assert_eq!(code(other.create(&order).await), ProblemCode::StateForbids, "the number is taken");
    assert_eq!(code(merchant.create(&new_payment(1, 501)).await), ProblemCode::StateForbids);
    assert_eq!(code(merchant.create(&new_payment(2, 0)).await), ProblemCode::ValueRefused);
    let subject = "x".repeat(201);
    let wordy = NewPayment { subject, ..new_payment(2, 500) };
    assert_eq!(code(merchant.create(&wordy).await), ProblemCode::ValueRefused);
    assert_eq!(merchant.query(own).await.unwrap().state, PaymentState::Open);
}
