//! A card that its issuer has frozen: two people at the centre release it, and the issuer follows.

use tsm_api::clearing::freezes::IssuerFreeze;
use tsm_api::clearing::settlement as api;
use tsm_api::client::Client;
use tsm_api::conversation::OutcomeResult;
use tsm_api::endpoint::Nothing;
use tsm_api::problem::ProblemCode;
use tsm_api::sp_tsm::wallet::{Operation, TopUpOrder};
use tsm_domain::environment::Clock as _;
use tsm_domain::money::reconciliation::{Cause, Difference, DifferenceState};
use tsm_domain::money::settlement::BusinessDay;
use tsm_domain::{CardNumber, DifferenceId};
use tsm_storage::SpTsmStore as _;
use tsm_storage::clearing::Settlements as _;
use tsm_storage::clerks::ClerkRole;
use tsm_storage::shared::{ChainKey, Chains as _, IncidentFilter, Incidents as _, Outbox as _};

use crate::centre_clerks::session_of;
use crate::issuer::city::{City, PURSE};
use crate::issuer::phone::{Phone, request_id, uuid};
use crate::issuer::top_up::opened;
use crate::support::SystemClock;

/// A card that came back in time, and was frozen for it.
async fn frozen(city: &City) -> (Phone, CardNumber) {
    let mut phone = opened(city).await;
    let order = phone.paid_order(city, 5_000).await;
    let image = phone.card.lock().unwrap().image();
    assert_eq!(phone.operate(Operation::TopUp, Some(order)).await.result, OutcomeResult::Done);
    let randomness = Box::new(|bytes: &mut [u8]| getrandom::fill(bytes).unwrap());
    let library = tsm_se::memory::LoadFileLibrary::default();
    let rolled_back = tsm_se::SecureElement::open(&image, library, randomness).unwrap();
    *phone.card.lock().unwrap() = rolled_back;
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

async fn person(city: &City, name: &str) -> Client {
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
