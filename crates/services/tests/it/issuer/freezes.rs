//! A card that its issuer has frozen: two people at the centre release it, and the issuer follows.

use tsm_api::clearing::freezes::IssuerFreeze;
use tsm_api::clearing::settlement as api;
use tsm_api::client::Client;
use tsm_api::conversation::OutcomeResult;
use tsm_api::endpoint::Nothing;
use tsm_api::ids::OrderId;
use tsm_api::problem::ProblemCode;
use tsm_api::sp_tsm::wallet::{Operation, TopUpOrder};
use tsm_domain::environment::Clock as _;
use tsm_domain::money::reconciliation::{Cause, Difference, DifferenceState};
use tsm_domain::money::settlement::BusinessDay;
use tsm_domain::{CardNumber, DifferenceId};
use tsm_storage::SpTsmStore as _;
use tsm_storage::clearing::Settlements as _;
use tsm_storage::clerks::ClerkRole;
use tsm_storage::memory::Crash;
use tsm_storage::shared::{ChainKey, Chains as _, IncidentFilter, Incidents as _, Outbox as _};

use crate::centre_clerks::session_of;
use crate::issuer::city::{City, PURSE};
use crate::issuer::phone::{Lost, Phone, request_id, uuid};
use crate::issuer::returning::books_where;
use crate::issuer::top_up::opened;
use crate::support::SystemClock;

/// The card's memory is what it was.
fn roll_back(phone: &Phone, image: &[u8]) {
    let randomness = Box::new(|bytes: &mut [u8]| getrandom::fill(bytes).unwrap());
    let library = tsm_se::memory::LoadFileLibrary::default();
    *phone.card.lock().unwrap() = tsm_se::SecureElement::open(image, library, randomness).unwrap();
}

/// A card that came back in time, and was frozen for it.
async fn frozen(city: &City) -> (Phone, CardNumber) {
    let mut phone = opened(city).await;
    let order = phone.paid_order(city, 5_000).await;
    let image = phone.card.lock().unwrap().image();
    assert_eq!(phone.operate(Operation::TopUp, Some(order)).await.result, OutcomeResult::Done);
    roll_back(&phone, &image);
    let next = phone.paid_order(city, 5_000).await;
    let refused = phone.operate(Operation::TopUp, Some(next)).await;
    assert_eq!(refused.problem.unwrap().code, ProblemCode::SuspiciousCard);
    let card = city.card_number(&phone.card_number().await).to_string()[1..].parse().unwrap();
    (phone, card)
}

/// The question that waits for an answer.
async fn question(city: &City) -> Option<(tsm_domain::DeliveryId, IssuerFreeze)> {
    let waiting = city.store.due_deliveries(jiff::Timestamp::MAX, 100).await.unwrap();
    let asked = waiting.into_iter().find(|delivery| delivery.kind == "freeze")?;
    Some((asked.id, serde_json::from_str(&asked.body).unwrap()))
}

/// Time passes, and the issuer asks again.
async fn ask_again(city: &mut City) {
    let (id, _) = question(city).await.expect("the question waits");
    city.store.postpone_delivery(id, jiff::Timestamp::UNIX_EPOCH).await.unwrap();
    city.restart_sp_tsm().await;
}

async fn is_frozen(city: &City, card: CardNumber) -> bool {
    city.store.card(card).await.unwrap().unwrap().frozen.is_some()
}

/// A person at the centre, for the issuer, who proposes and approves.
pub async fn person(city: &City, name: &str) -> Client {
    let [.., centre] = city.places();
    let roles = [ClerkRole::Proposer, ClerkRole::Approver];
    let of = &city.sp_tsm;
    let session = session_of(&*city.centre_store, of.name, name, &roles, SystemClock.now()).await;
    city.client(centre, of).with_bearer(session)
}

fn difference(card: CardNumber) -> Difference {
    Difference {
        id: DifferenceId::from_uuid(uuid()),
        day: BusinessDay::of(SystemClock.now()),
        cause: Cause::OtherSuspicion,
        reference: None,
        card: Some(card),
        transaction: None,
        ours: None,
        theirs: None,
        text: "its counter went back".into(),
        evidence: None,
        found_at: SystemClock.now(),
        state: DifferenceState::Open,
    }
}

/// A card that came back in time while nobody knew what had become of a top-up. Gives that top-up.
async fn rolled_back_in_doubt(city: &City) -> (Phone, CardNumber, OrderId) {
    let mut phone = opened(city).await;
    let image = phone.card.lock().unwrap().image();
    assert_eq!(phone.top_up(city, 5_000).await.result, OutcomeResult::Done);
    let card = city.card_number(&phone.card_number().await).to_string()[1..].parse().unwrap();
    let order = phone.paid_order(city, 300).await;
    (phone.lost, phone.sent) = (Lost::Command(2), 0);
    assert_eq!(phone.operate(Operation::TopUp, Some(order)).await.result, OutcomeResult::Unknown);
    phone.lost = Lost::Nothing;
    roll_back(&phone, &image);
    (phone, card, order)
}

/// Two people at the centre release the card, and the issuer hears of it.
async fn release(city: &mut City, card: CardNumber) {
    let one = difference(card);
    city.centre_store.put_differences(vec![one.clone()]).await.unwrap();
    let (ann, bob) = (person(city, "ann").await, person(city, "bob").await);
    let id = one.id.to_string();
    let note = "examined: the phone was restored from a copy".to_owned();
    let proposal = api::NewProposal { action: api::ActionKind::ReleaseCard, card: None, note };
    // The centre has heard of the freeze before it is ended.
    let (_, told) = question(city).await.expect("the centre is asked");
    city.centre_peer(&city.sp_tsm).issuer_freeze(&told).await.unwrap();
    ann.call(&api::PROPOSE, &[&id], &proposal).await.unwrap();
    bob.call(&api::APPROVE, &[&id], &Nothing {}).await.unwrap();
    ask_again(city).await;
    for _ in 0..20_000 {
        if question(city).await.is_none() {
            return;
        }
        city.centre_peer(&city.sp_tsm).issuer_freeze(&told).await.unwrap();
    }
    panic!("the issuer never heard of the release");
}

/// Two people release a card that a top-up of unknown outcome has frozen. What they have looked at freezes it no more,
/// however it is looked at; the card's counter says that nothing was credited, and the rider has the money back, once.
#[tokio::test]
async fn a_released_card_ends_the_top_up_that_froze_it() {
    for by_lock in [false, true] {
        let mut city = City::new().await;
        let (mut phone, card, order) = rolled_back_in_doubt(&city).await;
        let seen = phone.operate(Operation::Synchronise, None).await;
        assert_eq!(seen.problem.unwrap().code, ProblemCode::SuspiciousCard);
        let refused = phone.operate(Operation::TopUp, Some(order)).await;
        assert_eq!(refused.problem.unwrap().code, ProblemCode::SuspiciousCard);
        assert_eq!(phone.wallet.interrupted().await.unwrap().works, [], "people have it in hand");
        assert!(phone.wallet.cancel_order(order).await.is_err(), "nothing goes back while nobody knows");

        release(&mut city, card).await;
        phone.reconnect(&city);
        let works = phone.wallet.interrupted().await.unwrap().works;
        let [work] = &works[..] else { panic!("{works:?}") };
        assert!(work.order == Some(order) && work.may_continue && work.may_cancel && work.needs_card);
        if by_lock {
            assert_eq!(phone.operate(Operation::Lock, None).await.result, OutcomeResult::Done);
            assert_eq!(phone.operate(Operation::Unlock, None).await.result, OutcomeResult::Done);
        }
        let seen = phone.operate(Operation::Synchronise, None).await;
        assert_eq!(seen.result, OutcomeResult::Done, "{seen:?}");
        assert!(!is_frozen(&city, card).await);
        for _ in 0..2 {
            phone.wallet.cancel_order(order).await.unwrap();
        }
        books_where(&city, |books| books.refunded_fen == 300 && books.in_flight_fen == 0).await;
        let spent = phone.operate(Operation::TopUp, Some(order)).await;
        assert_eq!(spent.problem.unwrap().code, ProblemCode::OrderUsed);
        assert_eq!(phone.wallet.interrupted().await.unwrap().works, []);
        let again = phone.operate(Operation::Synchronise, None).await;
        assert_eq!(again.result, OutcomeResult::Done, "{again:?}");
    }
}

/// The rider goes on with it instead: the payment comes to the card that was released, once.
#[tokio::test]
async fn a_released_card_takes_the_top_up_that_froze_it() {
    let mut city = City::new().await;
    let (mut phone, card, order) = rolled_back_in_doubt(&city).await;
    let refused = phone.operate(Operation::TopUp, Some(order)).await;
    assert_eq!(refused.problem.unwrap().code, ProblemCode::SuspiciousCard);
    release(&mut city, card).await;
    phone.reconnect(&city);
    for _ in 0..2 {
        assert_eq!(phone.operate(Operation::TopUp, Some(order)).await.result, OutcomeResult::Done);
        assert_eq!(phone.balance().await, 300);
    }
    assert!(phone.wallet.cancel_order(order).await.is_err(), "it is on the card");
    assert!(!is_frozen(&city, card).await);
}

/// The issuer dies at each commit of the contact that freezes a card: a card that is frozen has its question waiting,
/// and its incident.
#[tokio::test]
async fn a_freeze_is_never_without_its_question() {
    let mut frozen = 0;
    for crash in [Crash::BeforeCommit, Crash::AfterCommit] {
        for commit in 1..=8 {
            let mut city = City::new().await;
            let (mut phone, card, order) = rolled_back_in_doubt(&city).await;
            city.faults.crash_at(city.faults.commits() + commit, crash);
            let _ = phone.operate(Operation::TopUp, Some(order)).await;
            let was_down = city.faults.is_down();
            city.restart_sp_tsm().await;
            if is_frozen(&city, card).await {
                frozen += usize::from(was_down);
                let (_, asked) = question(&city).await.expect("the question of a frozen card");
                assert!(asked.reason.contains("counter"), "commit {commit}, {crash:?}: {}", asked.reason);
                let incidents = city.store.incidents(IncidentFilter::Open, 10).await.unwrap();
                assert!(incidents.iter().any(|one| one.card == Some(card) && one.text == asked.reason));
            }
        }
    }
    assert!(frozen > 0, "no crash came between");
}

/// Two people release a card at the centre, and its issuer hears of it by itself, once; a card that was frozen only
/// after that stays frozen.
#[tokio::test]
async fn what_two_people_release_the_issuer_releases_too() {
    let mut city = City::new().await;
    let (phone, card) = frozen(&city).await;
    let (_, told) = question(&city).await.expect("the centre is asked");
    let released = async |city: &City, told: &IssuerFreeze| {
        city.centre_peer(&city.sp_tsm).issuer_freeze(told).await.unwrap().released
    };
    for _ in 0..2 {
        assert_eq!(released(&city, &told).await, None);
    }
    ask_again(&mut city).await;
    let listed = city.centre_store.incidents(IncidentFilter::Open, 10).await.unwrap();
    let listed: Vec<_> = listed.iter().map(|one| (one.kind.as_str(), one.card)).collect();
    assert_eq!(listed, [("suspicious-card", Some(card))], "once, for whoever releases it");

    let one = difference(card);
    city.centre_store.put_differences(vec![one.clone()]).await.unwrap();
    let (ann, bob) = (person(&city, "ann").await, person(&city, "bob").await);
    let id = one.id.to_string();
    let note = "examined: the reader was broken".to_owned();
    let proposal = api::NewProposal { action: api::ActionKind::ReleaseCard, card: None, note };
    ann.call(&api::PROPOSE, &[&id], &proposal).await.unwrap();
    assert_eq!(released(&city, &told).await, None, "one person decides nothing");
    assert!(is_frozen(&city, card).await);
    bob.call(&api::APPROVE, &[&id], &Nothing {}).await.unwrap();
    for _ in 0..2 {
        assert_eq!(released(&city, &told).await.unwrap().by, "bob");
    }
    ask_again(&mut city).await;
    for _ in 0..20_000 {
        if question(&city).await.is_none() {
            break;
        }
        released(&city, &told).await;
    }
    assert!(!is_frozen(&city, card).await);
    let journal = city.store.chain(ChainKey::Card(card), 0, 1_000).await.unwrap();
    let last = &journal.last().unwrap().note;
    assert_eq!(last.event, "card-released");
    assert!(last.detail.contains("bob"), "{}", last.detail);
    assert_eq!(city.store.incidents(IncidentFilter::Open, 10).await.unwrap(), []);
    assert_eq!(city.store.card(card).await.unwrap().unwrap().proven, None, "its old word binds it no more");
    let phone = Phone { wallet: city.wallet(&phone.se_id), ..phone };
    let order = TopUpOrder { request: request_id(), aid: PURSE.into(), amount_fen: 100 };
    phone.wallet.order_top_up(&order).await.unwrap();

    // A freeze after the release is another matter.
    let later = IssuerFreeze { freeze: uuid(), ..told };
    for _ in 0..2 {
        assert_eq!(released(&city, &later).await, None);
    }
}
