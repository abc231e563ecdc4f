//! What people at the centre see of cards that somebody has to look at: parked, owed, suspicious.

use tsm_api::HexBytes;
use tsm_api::clearing::AccountState;
use tsm_api::clearing::closing::ClosingStage;
use tsm_api::clearing::kept::{self, KeptCard, KeptQuery, KeptStanding};
use tsm_api::client::{Client, ClientError};
use tsm_api::endpoint::Nothing;
use tsm_api::problem::ProblemCode;
use tsm_domain::environment::Clock as _;
use tsm_storage::ClearingStore as _;
use tsm_storage::clearing::Books;
use tsm_storage::clerks::ClerkRole;

use crate::centre_clerks::session_of;
use crate::issuer::city::{City, Organisation};
use crate::issuer::desk::returned;
use crate::issuer::migrating_in::{BALANCE, parked};
use crate::issuer::phone::{Phone, installed};
use crate::support::SystemClock;

async fn person(city: &City, of: &Organisation) -> Client {
    let [.., centre] = city.places();
    let roles = [ClerkRole::Proposer];
    let session = session_of(&*city.centre_store, of.name, "ann", &roles, SystemClock.now()).await;
    city.client(centre, of).with_bearer(session)
}

async fn list(client: &Client, standing: KeptStanding) -> Result<Vec<KeptCard>, ClientError> {
    let query = KeptQuery { standing, after: None };
    client.call(&kept::KEPT_CARDS, &[], &query).await.map(|page| page.cards)
}

fn cards(found: &[KeptCard]) -> Vec<&HexBytes> {
    found.iter().map(|one| &one.card).collect()
}

#[tokio::test]
async fn people_of_the_issuer_see_what_waits_for_them() {
    let city = City::new().await;
    let (_old, _, waiting) = parked(&city, 1).await;
    let mut phone = Phone::new(&city, 2);
    assert!(installed(&phone.open(&city).await.unwrap()));
    let frozen = city.card_number(&phone.card_number().await);
    let number: tsm_domain::CardNumber = frozen.to_string()[1..].parse().unwrap();
    let reason = Some("a counter went back".to_owned());
    city.centre_store.set_frozen(number, reason, Books::default()).await.unwrap();

    let ann = person(&city, &city.sp_tsm).await;
    let found = list(&ann, KeptStanding::Parked).await.unwrap();
    assert_eq!(cards(&found), [&waiting]);
    let one = &found[0];
    assert_eq!((one.state, one.kept_fen, &one.frozen), (AccountState::Parked, BALANCE.into(), &None));
    assert_eq!((one.closings.len(), one.closings[0].stage), (1, ClosingStage::Parked));
    assert_eq!(one.closings[0].balance_fen, Some(BALANCE));
    assert!(one.masked.contains('*'));
    let found = list(&ann, KeptStanding::Suspicious).await.unwrap();
    assert_eq!(cards(&found), [&frozen]);
    assert_eq!(found[0].frozen.as_deref(), Some("a counter went back"));
    assert!(found[0].listed.is_some(), "terminals refuse it");
    assert_eq!(list(&ann, KeptStanding::RefundPayable).await.unwrap(), []);
    let shown = ann.call(&kept::KEPT_CARD, &[&frozen.to_string()], &Nothing {}).await.unwrap();
    assert_eq!(shown, found[0]);

    // The operator of the gates issues no card, and a person of nobody is nobody.
    let code = |error: ClientError| error.code().unwrap();
    let gates = person(&city, &city.gate_operator).await;
    assert_eq!(code(list(&gates, KeptStanding::Parked).await.unwrap_err()), ProblemCode::NotAllowed);
    let other = gates.call(&kept::KEPT_CARD, &[&frozen.to_string()], &Nothing {}).await.unwrap_err();
    assert_eq!(code(other), ProblemCode::NotAllowed);
    for unknown in ["0310499999999999999F", "odd"] {
        let refused = ann.call(&kept::KEPT_CARD, &[unknown], &Nothing {}).await;
        assert!(refused.is_err(), "{unknown}");
    }
}

#[tokio::test]
async fn what_is_owed_to_riders_is_listed_until_it_is_paid_out() {
    let city = City::new().await;
    let card = returned(&city).await;
    let ann = person(&city, &city.sp_tsm).await;
    let found = list(&ann, KeptStanding::RefundPayable).await.unwrap();
    assert_eq!(cards(&found), [&card]);
    assert_eq!((found[0].kept_fen, found[0].closings[0].refunded_fen), (4_000, 1_000));
    assert_eq!(found[0].closings[0].stage, ClosingStage::RefundOrdered);
}
