//! The payment sandbox: a person pays or declines, the merchant hears of it whatever fails on the way, and
//! money goes back as often as it was asked, and no more.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use jiff::SignedDuration;
use tokio::sync::mpsc;
use tsm_api::client::{ClientError, HttpsTransport, PaymentUser, Transport};
use tsm_api::endpoint::{Access, Nothing};
use tsm_api::ids::PaymentId;
use tsm_api::payment::{self, Pay, PayChoice, PaymentNotification, PaymentSignature, PaymentState};
use tsm_api::pki;
use tsm_api::problem::{Problem, ProblemCode};
use tsm_api::sp_tsm::peer::PAYMENT_NOTIFICATION;
use tsm_domain::environment::Clock as _;
use tsm_domain::{Fen, OrderId, TransferId};
use tsm_services::payment::{
    IncomingMessage, NewOrder, NewRefund, Notification, NotificationError, PaymentError, PaymentMeans,
    PaymentPlatform as _, PlatformOrder, PlatformState, SandboxPlatform,
};
use tsm_services::payment_sandbox::faults::{Heard, Raced};
use tsm_services::payment_sandbox::{Faults, Merchant, Parts, PaymentSandbox, routes};
use tsm_services::server::{Call, Credentials, Routes, Server, Service};
use tsm_storage::memory::{Crash, Faults as StoreFaults, MemoryPayment};
use tsm_storage::{Outbox as _, PaymentStore as _};
use uuid::Uuid;

use crate::manual_time::ManualTime;
use crate::merchants::{PLATFORM, Signer, Way};
use crate::support::{Net, TIMEOUT};

pub const LIFETIME: SignedDuration = SignedDuration::from_mins(15);
pub const SM2: PaymentSignature = PaymentSignature::Sm2Sm3;

/// A merchant's server that takes the platform's word, and refuses it as often as it is told to.
struct Shop {
    platform: Arc<SandboxPlatform>,
    refusals: Mutex<VecDeque<ProblemCode>>,
    heard: mpsc::UnboundedSender<PlatformOrder>,
    refused: mpsc::UnboundedSender<NotificationError>,
}

#[async_trait]
impl Service for Shop {
    type Caller = Notification;

    async fn authenticate(
        &self,
        access: Access,
        credentials: Credentials<'_>,
    ) -> Result<Notification, Problem> {
        assert_eq!(access, Access::Payment);
        let message = IncomingMessage {
            method: credentials.verb.name(),
            path: credentials.path,
            headers: credentials.headers,
            body: credentials.body,
        };
        self.platform.verify_notification(&message).await.map_err(|error| {
            self.refused.send(error).unwrap();
            ProblemCode::SignatureWrong.into()
        })
    }
}

impl Shop {
    fn take(&self, word: Notification) -> Result<Nothing, Problem> {
        self.heard.send(word.order).unwrap();
        match self.refusals.lock().unwrap().pop_front() {
            Some(code) => Err(code.into()),
            None => Ok(Nothing {}),
        }
    }
}

/// The platform with two merchants; only the first has a server.
pub struct World {
    net: Net,
    pub time: Arc<ManualTime>,
    pub store: Arc<MemoryPayment>,
    faults: Faults,
    pub platform: Signer,
    pub city: Signer,
    cinema: Signer,
    pub to_platform: Arc<Way>,
    pub to_shop: Arc<Way>,
    pub sandbox: Arc<PaymentSandbox>,
    pub server: Server,
    shop: Arc<Shop>,
    _shop_server: Server,
    heard: mpsc::UnboundedReceiver<PlatformOrder>,
    pub refused: mpsc::UnboundedReceiver<NotificationError>,
    /// The first merchant's adapter, which its server uses too.
    pub keeping: Arc<SandboxPlatform>,
}

impl World {
    pub async fn new() -> Self {
        Self::with(SM2, MemoryPayment::new(), Faults::default(), &[]).await
    }

    pub async fn failing(faults: Faults) -> Self {
        Self::with(SM2, MemoryPayment::new(), faults, &[]).await
    }

    async fn with(
        scheme: PaymentSignature,
        store: MemoryPayment,
        faults: Faults,
        refusals: &[ProblemCode],
    ) -> Self {
        let (net, time, store) = (Net::new(), ManualTime::new(), Arc::new(store));
        let platform = Signer::platform(scheme);
        let [city, cinema] = ["CITY", "CINEMA"].map(|number| Signer::merchant(number, scheme));
        let (to_platform, to_shop) = (Way::new(), Way::new());
        let (hear, heard) = mpsc::unbounded_channel();
        let (refuse, refused) = mpsc::unbounded_channel();
        let keeping = Arc::new(city.sees(&platform, to_platform.clone(), time.environment()));
        let shop = Arc::new(Shop {
            platform: keeping.clone(),
            refusals: Mutex::new(refusals.iter().copied().collect()),
            heard: hear,
            refused: refuse,
        });
        let take = |shop: Arc<Shop>, call: Call<Notification, PaymentNotification>| async move {
            shop.take(call.caller)
        };
        let shop_server =
            net.serve(Routes::new(shop.clone()).on(&PAYMENT_NOTIFICATION, take).into_router()).await;
        to_shop.leads_to(way(&net, &shop_server));
        let merchants = vec![city.registered(to_shop.clone()), cinema.registered(to_shop.clone())];
        let parts = Parts {
            store: store.clone(),
            keys: platform.keys(),
            key_owner: PLATFORM.into(),
            environment: time.environment(),
            merchants,
            faults: faults.clone(),
            lifetime: LIFETIME,
            cards: None,
        };
        let sandbox = PaymentSandbox::new(parts).unwrap();
        let server = net.serve(routes(sandbox.clone()).into_router()).await;
        to_platform.leads_to(way(&net, &server));
        Self {
            net,
            time,
            store,
            faults,
            platform,
            city,
            cinema,
            to_platform,
            to_shop,
            sandbox,
            server,
            shop,
            _shop_server: shop_server,
            heard,
            refused,
            keeping,
        }
    }

    /// The process ends and another begins on what the store kept.
    async fn restart(&mut self) {
        let merchants = [&self.city, &self.cinema].map(|one| one.registered(self.to_shop.clone()));
        let parts = Parts {
            store: self.store.clone(),
            keys: self.platform.keys(),
            key_owner: PLATFORM.into(),
            environment: self.time.environment(),
            merchants: merchants.to_vec(),
            faults: self.faults.clone(),
            lifetime: LIFETIME,
            cards: None,
        };
        self.sandbox = PaymentSandbox::new(parts).unwrap();
        self.server = self.net.serve(routes(self.sandbox.clone()).into_router()).await;
        self.to_platform.leads_to(way(&self.net, &self.server));
    }

    pub fn merchant(&self) -> SandboxPlatform {
        self.city.sees(&self.platform, self.to_platform.clone(), self.time.environment())
    }

    pub fn other_merchant(&self) -> SandboxPlatform {
        self.cinema.sees(&self.platform, self.to_platform.clone(), self.time.environment())
    }

    pub fn person(&self) -> PaymentUser {
        PaymentUser::new(self.net.wallet(&self.server))
    }

    pub async fn pays(&self, order: u128) {
        self.person().pay(payment_id(order), &PAYS).await.unwrap();
    }

    pub async fn hears(&mut self) -> PlatformOrder {
        self.heard.recv().await.unwrap()
    }

    pub fn hears_nothing(&mut self) -> bool {
        self.heard.try_recv().is_err()
    }

    pub fn new_order(&self, order: u128, fen: u64) -> NewOrder {
        NewOrder {
            order: order_id(order),
            amount: Fen::new(fen),
            subject: "Transit card top-up".into(),
            expires_at: self.time.now() + SignedDuration::from_hours(9),
            means: PaymentMeans::Account,
            payer: None,
        }
    }

    /// Waits until the outbox is empty. A store that died is started again, with a new process.
    pub async fn outbox_empties(&mut self) {
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

fn way(net: &Net, server: &Server) -> Arc<dyn Transport> {
    let tls = pki::wallet_config(&net.authority.trust().unwrap()).unwrap();
    Arc::new(HttpsTransport::new(server.address(), "localhost", tls, TIMEOUT).unwrap())
}

pub fn order_id(number: u128) -> OrderId {
    OrderId::from_uuid(Uuid::from_u128(number))
}

pub fn payment_id(number: u128) -> PaymentId {
    PaymentId(Uuid::from_u128(number))
}

pub fn refund(number: u128, order: u128, fen: u64) -> NewRefund {
    NewRefund {
        order: order_id(order),
        payment: Uuid::from_u128(order).to_string().parse().unwrap(),
        refund: TransferId::from_uuid(Uuid::from_u128(number)),
        amount: Fen::new(fen),
        reason: "cancelled".into(),
    }
}

pub const PAYS: Pay = Pay { choice: PayChoice::Pay };
const DECLINES: Pay = Pay { choice: PayChoice::Decline };

fn refusal<T: std::fmt::Debug>(result: Result<T, PaymentError>) -> ProblemCode {
    let error = result.unwrap_err();
    error.code().unwrap_or_else(|| panic!("{error}"))
}

fn code<T: std::fmt::Debug>(result: Result<T, ClientError>) -> ProblemCode {
    let error = result.unwrap_err();
    error.code().unwrap_or_else(|| panic!("{error}"))
}

/// A person pays a merchant's order at the platform, which then tells the merchant under its signature; both
/// sides sign with RSA or with SM2.
///
/// req: B-7.4.1.a
#[tokio::test]
async fn a_person_pays_and_the_merchant_hears_of_it() {
    for scheme in [PaymentSignature::RsaSha256, SM2] {
        let mut world = World::with(scheme, MemoryPayment::new(), Faults::default(), &[]).await;
        let order = world.new_order(1, 5_000);
        let open = world.merchant().create_order(&order).await.unwrap();
        assert_eq!((open.order, open.amount, open.state), (order.order, order.amount, PlatformState::Open));
        assert_eq!(world.merchant().create_order(&order).await.unwrap(), open, "the same order again");
        assert_eq!(world.person().show(payment_id(1)).await.unwrap().state, PaymentState::Open);

        world.time.pass(SignedDuration::from_secs(40));
        world.pays(1).await;
        let paid = PlatformOrder { state: PlatformState::Paid, changed_at: world.time.now(), ..open };
        assert_eq!(world.hears().await, paid);
        world.outbox_empties().await;

        world.time.pass(SignedDuration::from_secs(40));
        world.pays(1).await;
        assert_eq!(world.merchant().query(order.order).await.unwrap(), paid, "paid once");
        assert_eq!(code(world.person().pay(payment_id(1), &DECLINES).await), ProblemCode::StateForbids);
        world.outbox_empties().await;
        assert!(world.hears_nothing(), "paying again tells nothing new");
        assert!(world.refused.try_recv().is_err());
    }
}

#[tokio::test]
async fn what_was_declined_or_has_expired_cannot_be_paid() {
    let world = World::new().await;
    let (merchant, person) = (world.merchant(), world.person());
    merchant.create_order(&world.new_order(1, 500)).await.unwrap();
    world.time.pass(SignedDuration::from_secs(5));
    let declined = person.pay(payment_id(1), &DECLINES).await.unwrap();
    assert_eq!((declined.state, declined.changed_at), (PaymentState::Closed, world.time.now()));
    world.time.pass(SignedDuration::from_secs(5));
    assert_eq!(person.pay(payment_id(1), &DECLINES).await.unwrap(), declined, "declined once");
    assert_eq!(code(person.pay(payment_id(1), &PAYS).await), ProblemCode::StateForbids);

    let open = merchant.create_order(&world.new_order(2, 500)).await.unwrap();
    let ends_at = open.changed_at.checked_add(LIFETIME).unwrap();
    world.time.pass(LIFETIME);
    let expired = PlatformOrder { state: PlatformState::Closed, changed_at: ends_at, ..open };
    assert_eq!(merchant.query(order_id(2)).await.unwrap(), expired);
    assert_eq!(code(person.pay(payment_id(2), &PAYS).await), ProblemCode::StateForbids);
    assert_eq!(merchant.query(order_id(2)).await.unwrap(), expired);
    assert_eq!(world.store.next_delivery_at().await, Ok(None), "there is nothing to tell");
}

/// The platform closes by itself what nobody paid in time; a merchant may set a shorter time.
#[tokio::test]
async fn a_job_closes_what_has_expired() {
    let world = World::new().await;
    let merchant = world.merchant();
    let soon = world.time.now() + SignedDuration::from_mins(2);
    merchant.create_order(&NewOrder { expires_at: soon, ..world.new_order(1, 500) }).await.unwrap();
    merchant.create_order(&world.new_order(2, 500)).await.unwrap();
    merchant.create_order(&world.new_order(3, 500)).await.unwrap();
    world.pays(3).await;
    for left in [2, 0] {
        world.time.end_next_pause().await;
        while !world.store.expired_orders(world.time.now(), 9).await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        let open = world.store.next_expiry().await.unwrap();
        assert_eq!(open.is_some(), left == 2, "{left}");
    }
    let row = world.store.order(order_id(1)).await.unwrap().unwrap();
    assert_eq!(row.closed_at, Some(soon));
    assert_eq!(merchant.query(order_id(3)).await.unwrap().state, PlatformState::Paid);
}

#[tokio::test]
async fn money_goes_back_in_parts_and_never_more_than_was_paid() {
    let world = World::new().await;
    let merchant = world.merchant();
    merchant.create_order(&world.new_order(1, 500)).await.unwrap();
    assert_eq!(refusal(merchant.refund(&refund(1, 1, 500)).await), ProblemCode::StateForbids, "not paid yet");
    world.pays(1).await;
    assert_eq!(refusal(merchant.refund(&refund(1, 1, 501)).await), ProblemCode::AmountRefused);
    assert_eq!(refusal(merchant.refund(&refund(1, 1, 0)).await), ProblemCode::ValueRefused);
    world.time.pass(SignedDuration::from_secs(5));
    let back = merchant.refund(&refund(1, 1, 200)).await.unwrap();
    assert_eq!((back.amount, back.at), (Fen::new(200), world.time.now()));
    world.time.pass(SignedDuration::from_secs(5));
    assert_eq!(merchant.refund(&refund(1, 1, 200)).await.unwrap(), back, "the same refund again");
    assert_eq!(refusal(merchant.refund(&refund(1, 1, 100)).await), ProblemCode::Duplicate);
    let part = merchant.query(order_id(1)).await.unwrap();
    assert_eq!(part.state, PlatformState::PartlyRefunded { refunded: Fen::new(200) });
    assert_eq!(part.held(), Fen::new(300));
    assert_eq!(refusal(merchant.refund(&refund(2, 1, 301)).await), ProblemCode::AmountRefused);
    merchant.refund(&refund(2, 1, 300)).await.unwrap();
    assert_eq!(merchant.query(order_id(1)).await.unwrap().state, PlatformState::Refunded);
    assert_eq!(refusal(merchant.refund(&refund(3, 1, 1)).await), ProblemCode::AmountRefused);
    assert_eq!(world.store.refunds_of(order_id(1)).await.unwrap().len(), 2);
}

/// Closing is for good. A payment that was faster is there; one that was under way comes back as a whole.
#[tokio::test]
async fn a_closed_payment_stays_closed() {
    let mut world = World::new().await;
    let merchant = world.merchant();
    for order in [1, 2] {
        merchant.create_order(&world.new_order(order, 500)).await.unwrap();
    }
    for _ in 0..2 {
        assert_eq!(merchant.close(order_id(1)).await.unwrap().state, PlatformState::Closed);
    }
    assert_eq!(code(world.person().pay(payment_id(1), &PAYS).await), ProblemCode::StateForbids);
    let again = merchant.create_order(&world.new_order(1, 500)).await.unwrap();
    assert_eq!(again.state, PlatformState::Closed, "opening it again does not open it");
    world.pays(2).await;
    assert_eq!(world.hears().await.state, PlatformState::Paid);
    assert_eq!(merchant.close(order_id(2)).await.unwrap().state, PlatformState::Paid, "a payment was faster");
    assert_eq!(refusal(merchant.close(order_id(9)).await), ProblemCode::UnknownId);

    world.sandbox.set_faults(Faults { raced: Raced::TakenAndGivenBack, ..Faults::default() });
    world.pays(1).await;
    let back = world.hears().await;
    assert_eq!((back.order, back.state, back.held()), (order_id(1), PlatformState::Refunded, Fen::ZERO));
    world.pays(1).await;
    assert_eq!(world.store.refunds_of(order_id(1)).await.unwrap().len(), 1, "given back once");
    assert_eq!(refusal(merchant.refund(&refund(1, 1, 1)).await), ProblemCode::AmountRefused);
}

/// A merchant that cannot take the word yet hears it again, after longer and longer pauses, until it can.
#[tokio::test]
async fn the_word_is_repeated_until_the_merchant_takes_it() {
    let refusals = [ProblemCode::Unavailable, ProblemCode::UnknownId, ProblemCode::Internal];
    let schedule = Faults { retry_after_s: vec![15, 15, 30], ..Faults::default() };
    for (faults, expected) in [(Faults::default(), None), (schedule, Some([15, 15, 30]))] {
        let mut world = World::with(SM2, MemoryPayment::new(), faults, &refusals).await;
        world.merchant().create_order(&world.new_order(1, 500)).await.unwrap();
        world.pays(1).await;
        let paid = world.hears().await;
        let mut pauses = Vec::new();
        for _ in refusals {
            // The job that closes expired payments sleeps longer.
            pauses.push(world.time.end_next_pause_within(SignedDuration::from_mins(5)).await);
            assert_eq!(world.hears().await, paid);
        }
        match expected {
            None => assert!(pauses.is_sorted_by(|shorter, longer| shorter < longer), "{pauses:?}"),
            Some(expected) => {
                let seconds: Vec<_> = pauses.iter().map(|pause| pause.as_millis()).collect();
                assert_eq!(seconds, expected.map(|seconds| seconds * 1_000));
            }
        }
        world.outbox_empties().await;
        assert!(world.hears_nothing());
    }
}

/// What the merchant refuses for good is not said again; the payment stands, and the merchant can ask.
#[tokio::test]
async fn a_word_that_is_refused_for_good_is_not_repeated() {
    let refusals = [ProblemCode::OrderUsed];
    let mut world = World::with(SM2, MemoryPayment::new(), Faults::default(), &refusals).await;
    world.merchant().create_order(&world.new_order(1, 500)).await.unwrap();
    world.pays(1).await;
    world.hears().await;
    world.outbox_empties().await;
    assert!(world.hears_nothing());
    assert_eq!(world.merchant().query(order_id(1)).await.unwrap().state, PlatformState::Paid);
}

/// Platforms say the same twice, in two signed messages, or late, or before the payer or the merchant has its
/// reply; and for a while they do not know themselves.
#[tokio::test]
async fn the_sandbox_can_be_like_the_world() {
    let mut world = World::failing(Faults::doubled()).await;
    world.merchant().create_order(&world.new_order(1, 500)).await.unwrap();
    world.pays(1).await;
    assert_eq!(world.hears().await, world.hears().await);
    world.outbox_empties().await;
    assert!(world.hears_nothing());

    world.sandbox.set_faults(Faults { notification_delay_ms: 90_000, ..Faults::default() });
    world.merchant().create_order(&world.new_order(2, 500)).await.unwrap();
    let paid_at = world.time.now();
    world.pays(2).await;
    while world.hears_nothing() {
        world.time.end_next_pause().await;
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
    }
    assert!(world.time.now().duration_since(paid_at) >= SignedDuration::from_secs(90), "late");

    world.sandbox.set_faults(Faults { heard: Heard::BeforePayReply, ..Faults::default() });
    world.merchant().create_order(&world.new_order(3, 500)).await.unwrap();
    world.pays(3).await;
    assert!(!world.hears_nothing(), "heard before the payer had its reply");
    world.sandbox.set_faults(Faults { heard: Heard::BeforeCreateReply, ..Faults::default() });
    let created = world.merchant().create_order(&world.new_order(4, 500)).await.unwrap();
    assert_eq!(created.state, PlatformState::Paid);
    assert!(!world.hears_nothing(), "heard before the merchant had its reply");

    world.sandbox.set_faults(Faults { unknown_for_ms: 5_000, ..Faults::default() });
    world.merchant().create_order(&world.new_order(5, 500)).await.unwrap();
    let answer = world.merchant().query(order_id(5)).await;
    assert!(matches!(answer, Err(PaymentError::Unknown(_))), "{answer:?}");
    world.time.pass(SignedDuration::from_secs(5));
    assert_eq!(world.merchant().query(order_id(5)).await.unwrap().state, PlatformState::Open);
}

/// What a lost reply answered was done all the same, and doing it again does it once.
#[tokio::test]
async fn a_lost_reply_leaves_the_outcome_unknown_and_repeating_is_safe() {
    let world = World::failing(Faults { lose_every: 2, ..Faults::default() }).await;
    let merchant = world.merchant();
    let order = world.new_order(1, 500);
    let create = [merchant.create_order(&order).await, merchant.create_order(&order).await];
    assert!(matches!(create, [Ok(_), Err(PaymentError::Unknown(_))]), "{create:?}");
    world.pays(1).await;
    assert_eq!(merchant.query(order.order).await.unwrap().state, PlatformState::Paid);
    let lost = merchant.refund(&refund(1, 1, 200)).await;
    assert!(matches!(lost, Err(PaymentError::Unknown(_))), "{lost:?}");
    merchant.refund(&refund(1, 1, 200)).await.unwrap();
    assert_eq!(world.store.order(order.order).await.unwrap().unwrap().order.held(), Fen::new(300), "once");
}

/// The platform dies before or after each of its commits: the person's payment counts once, and the merchant
/// hears of it at least once.
#[tokio::test]
async fn no_word_is_lost_when_the_platform_dies() {
    let mut cuts = 0;
    for crash in [Crash::BeforeCommit, Crash::AfterCommit] {
        for commit in 1..=4 {
            cuts += 1;
            let faults = Arc::new(StoreFaults::default());
            let store = MemoryPayment::with_faults(faults.clone());
            let mut world = World::with(SM2, store, Faults::default(), &[ProblemCode::Unavailable]).await;
            faults.crash_at(commit, crash);
            let order = world.new_order(1, 500);
            while let Err(error) = world.merchant().create_order(&order).await {
                assert!(matches!(error, PaymentError::Unknown(_)), "{error}");
                world.comes_back().await;
            }
            while let Err(error) = world.person().pay(payment_id(1), &PAYS).await {
                assert_eq!(error.code(), Some(ProblemCode::Unavailable), "{error}");
                world.comes_back().await;
            }
            let paid = world.hears().await;
            // The first message is refused for now, the second is taken; the process may die after either.
            let again = loop {
                tokio::select! {
                    biased;
                    again = world.heard.recv() => break again.unwrap(),
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
            assert_eq!(world.merchant().query(order.order).await.unwrap(), paid, "{crash:?} {commit}");
            assert!(world.shop.refusals.lock().unwrap().is_empty());
        }
    }
    println!("{cuts} cut points");
}

impl World {
    async fn comes_back(&mut self) {
        assert!(self.store.faults().is_down());
        self.store.faults().restart();
        self.restart().await;
    }
}

/// A payment exists for its merchant and for its payer, and for nobody else.
#[tokio::test]
async fn payments_of_others_and_unknown_ones_do_not_exist() {
    let world = World::new().await;
    let (merchant, other, person) = (world.merchant(), world.other_merchant(), world.person());
    let order = world.new_order(1, 500);
    merchant.create_order(&order).await.unwrap();
    for (case, found) in [
        ("query", refusal(merchant.query(order_id(9)).await)),
        ("close", refusal(merchant.close(order_id(9)).await)),
        ("refund", refusal(merchant.refund(&refund(1, 9, 1)).await)),
        ("pay", code(person.pay(payment_id(9), &PAYS).await)),
        ("show", code(person.show(payment_id(9)).await)),
        ("query of another's", refusal(other.query(order.order).await)),
        ("close of another's", refusal(other.close(order.order).await)),
        ("refund of another's", refusal(other.refund(&refund(1, 1, 1)).await)),
    ] {
        assert_eq!(found, ProblemCode::UnknownId, "{case}");
    }
    assert_eq!(refusal(other.create_order(&order).await), ProblemCode::StateForbids, "the number is taken");
    assert_eq!(refusal(merchant.create_order(&world.new_order(1, 501)).await), ProblemCode::StateForbids);
    assert_eq!(refusal(merchant.create_order(&world.new_order(2, 0)).await), ProblemCode::ValueRefused);
    let wordy = NewOrder { subject: "x".repeat(201), ..world.new_order(2, 500) };
    assert_eq!(refusal(merchant.create_order(&wordy).await), ProblemCode::ValueRefused);
    assert_eq!(merchant.query(order.order).await.unwrap().state, PlatformState::Open);
}

#[tokio::test]
async fn every_declared_endpoint_is_routed() {
    let world = World::new().await;
    let routed = routes(world.sandbox.clone());
    let declared: Vec<_> =
        payment::endpoints().iter().map(|endpoint| (endpoint.verb, endpoint.path)).collect();
    for endpoint in &declared {
        assert!(routed.routed().contains(endpoint), "{endpoint:?}");
    }
    assert_eq!(routed.routed().len(), declared.len());
    let open_to = payment::endpoints();
    assert!(open_to.iter().all(|one| matches!(one.access, Access::Payment | Access::Conversation)));
}

/// What a merchant writes stands on a payer's screen: it is one line of text, or it is refused.
#[tokio::test]
async fn what_a_payer_reads_is_one_line_of_text() {
    let world = World::new().await;
    let merchant = world.merchant();
    let hostile = ["tea\u{1b}[31mRED", "tea\nfake line: paid", "tea\r", "\u{202e}diap", "\u{9b}2J"];
    for (number, text) in (1..).zip(hostile) {
        let order = NewOrder { subject: text.into(), ..world.new_order(number, 500) };
        assert_eq!(refusal(merchant.create_order(&order).await), ProblemCode::MalformedRequest, "{text:?}");
    }
    let order = NewOrder { subject: "tea 茶".into(), ..world.new_order(90, 500) };
    merchant.create_order(&order).await.unwrap();
    world.pays(90).await;
    for text in hostile {
        let back = NewRefund { reason: text.into(), ..refund(91, 90, 100) };
        assert_eq!(refusal(merchant.refund(&back).await), ProblemCode::MalformedRequest, "{text:?}");
    }
    assert_eq!(merchant.query(order_id(90)).await.unwrap().state, PlatformState::Paid);
}

/// A platform starts only when it can answer every merchant that it knows.
#[tokio::test]
async fn a_merchant_that_cannot_be_answered_stops_the_start() {
    let (time, link) = (ManualTime::new(), Way::new());
    let (sm2, rsa) = (PaymentSignature::Sm2Sm3, PaymentSignature::RsaSha256);
    let started = |platform: &Signer, merchant: Merchant| {
        let parts = Parts {
            store: Arc::new(MemoryPayment::new()),
            keys: platform.keys(),
            key_owner: PLATFORM.into(),
            environment: time.environment(),
            merchants: vec![merchant],
            faults: Faults::default(),
            lifetime: LIFETIME,
            cards: None,
        };
        PaymentSandbox::new(parts).map(drop).map_err(|error| error.to_string())
    };
    let [in_sm2, in_rsa] = [sm2, rsa].map(|scheme| Signer::merchant("CITY", scheme));
    let platform = Signer::platform(sm2);
    assert_eq!(started(&platform, in_sm2.registered(link.clone())), Ok(()));
    let refused = started(&platform, in_rsa.registered(link.clone())).unwrap_err();
    let expected = "merchant CITY signs with RSA, and the platform has no RSA key to answer with: draw one for the \
                    platform, or register another key of the merchant";
    assert_eq!(refused, expected);
    assert_eq!(started(&Signer::platform(rsa), in_rsa.registered(link.clone())), Ok(()));
    let both = vec![in_sm2.public.clone(), in_rsa.public.clone()];
    let both = Merchant { keys: both, ..in_sm2.registered(link.clone()) };
    assert!(started(&platform, both).unwrap_err().contains("of one kind"));
    let none = Merchant { keys: Vec::new(), ..in_sm2.registered(link) };
    assert_eq!(started(&platform, none), Err("merchant CITY is registered without a key".into()));
}
