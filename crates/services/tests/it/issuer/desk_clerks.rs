//! People at the issuer's desk: they log in over the desk's own connection, and what is decided stands under the name
//! that the session has.

use serde_json::{Value, json};
use tsm_api::clearing::clerks::{
    ClerkDecision, ClerkLogin, ClerkPassword, ClerkRole, ClerkSession, NewClerk,
};
use tsm_api::clearing::lists::Decision;
use tsm_api::client::{Client, ClientError};
use tsm_api::endpoint::{Access, Endpoint, Nothing};
use tsm_api::problem::ProblemCode;
use tsm_api::sp_tsm::{clerks as api, desk};
use tsm_domain::CardNumber;
use tsm_services::sp_tsm::FirstClerk;
use tsm_storage::shared::{ChainKey, Chains as _};

use crate::issuer::city::City;
use crate::issuer::phone::{Phone, installed};
use crate::support::environment;

fn code<T: std::fmt::Debug>(result: Result<T, ClientError>) -> ProblemCode {
    result.unwrap_err().code().unwrap()
}

async fn log_in(city: &City, person: &str, password: &str) -> Result<ClerkSession, ClientError> {
    let login = ClerkLogin { person: person.into(), password: password.into() };
    desk(city).call(&api::LOGIN, &[], &login).await
}

/// The desk's system, with nobody at it.
fn desk(city: &City) -> Client {
    city.at_desk().by("").client
}

/// A person who was added and has chosen a password.
async fn person(city: &City, root: &Client, name: &str, role: ClerkRole) -> Client {
    let first_password = format!("first day of {name}");
    let new = NewClerk { person: name.into(), roles: vec![role], first_password: first_password.clone() };
    root.call(&api::ADD_CLERK, &[], &new).await.unwrap();
    approve(city, name).await;
    let session = log_in(city, name, &first_password).await.unwrap();
    let client = desk(city).with_bearer(session.session);
    let change = ClerkPassword { old: first_password, new: format!("own password of {name}") };
    client.call(&api::PASSWORD, &[], &change).await.unwrap();
    client
}

/// Another administrator agrees.
async fn approve(city: &City, name: &str) {
    let decision = ClerkDecision { decision: Decision::Approve };
    city.at_desk().by("root-1").client.call(&api::DECIDE_CLERK, &[name], &decision).await.unwrap();
}

async fn root(city: &City) -> Client {
    let first = FirstClerk {
        institution: "DESK".parse().unwrap(),
        person: "root".parse().unwrap(),
        password: "first password".into(),
    };
    let tsm = city.sp_tsm_with(city.payment_platform(), environment());
    tsm.install_clerk(&first).await.unwrap();
    tsm.install_clerk(&FirstClerk { password: "another one".into(), ..first }).await.unwrap();
    let session = log_in(city, "root", "first password").await.unwrap();
    assert!(session.password_change_required);
    let root = desk(city).with_bearer(session.session);
    assert_eq!(code(root.call(&api::CLERKS, &[], &Nothing {}).await), ProblemCode::PasswordChangeRequired);
    let change = ClerkPassword { old: "first password".into(), new: "roots own password".into() };
    root.call(&api::PASSWORD, &[], &change).await.unwrap();
    assert_eq!(code(log_in(city, "root", "first password").await), ProblemCode::WrongCredentials);
    root
}

/// The first administrator changes the assigned password and adds people; each does what the roles of this desk say,
/// under the own name, over the desk's connection, until the session ends.
#[tokio::test]
async fn people_log_in_at_the_issuers_desk() {
    let city = City::new().await;
    let root = root(&city).await;
    let new = |person: &str, role| NewClerk {
        person: person.into(),
        roles: vec![role],
        first_password: "for the first time".into(),
    };
    for refused in
        [new("ann", ClerkRole::Approver), new("rider", ClerkRole::Hall), new("a/b", ClerkRole::Hall)]
    {
        let refused = root.call(&api::ADD_CLERK, &[], &refused).await;
        assert_eq!(code(refused), ProblemCode::ValueRefused);
    }
    let own = root.call(&api::ADD_CLERK, &[], &new("root", ClerkRole::Hall)).await;
    assert_eq!(code(own), ProblemCode::NotAllowed, "nobody gives roles to oneself");
    let ann = person(&city, &root, "ann", ClerkRole::Hall).await;
    let own = ann.call(&api::WHOAMI, &[], &Nothing {}).await.unwrap();
    assert_eq!((own.institution.as_str(), own.person.as_str()), ("DESK", "ann"));
    assert_eq!(own.roles, [ClerkRole::Hall]);
    assert_eq!(code(ann.call(&api::CLERKS, &[], &Nothing {}).await), ProblemCode::NotAllowed);
    let people = root.call(&api::CLERKS, &[], &Nothing {}).await.unwrap().clerks;
    assert!(people.iter().any(|one| one.person == "ann" && one.roles == [ClerkRole::Hall]));

    let session = log_in(&city, "ann", "own password of ann").await.unwrap().session;
    let elsewhere = city.sp_peer(&city.se_tsm).client.with_bearer(&session);
    let refused = elsewhere.call(&api::WHOAMI, &[], &Nothing {}).await;
    assert_eq!(code(refused), ProblemCode::NotAllowed, "a session counts over the desk's connection only");
    ann.call(&api::LOGOUT, &[], &Nothing {}).await.unwrap();
    assert_eq!(code(ann.call(&api::WHOAMI, &[], &Nothing {}).await), ProblemCode::SessionExpired);

    for _ in 0..10 {
        assert_eq!(code(log_in(&city, "ann", "a guess at it").await), ProblemCode::WrongCredentials);
    }
    let right = log_in(&city, "ann", "own password of ann").await;
    assert_eq!(code(right), ProblemCode::WrongCredentials, "closed after too many guesses");
    root.call(&api::ADD_CLERK, &[], &new("ann", ClerkRole::Hall)).await.unwrap();
    let alone = ClerkDecision { decision: Decision::Approve };
    let alone = root.call(&api::DECIDE_CLERK, &["ann"], &alone).await;
    assert_eq!(code(alone), ProblemCode::FourEyes);
    approve(&city, "ann").await;
    assert!(log_in(&city, "ann", "for the first time").await.unwrap().password_change_required);
}

/// A name in the body is nobody's: the case, the journal and the four eyes have the session's.
#[tokio::test]
async fn what_is_decided_stands_under_the_sessions_name() {
    let city = City::new().await;
    let root = root(&city).await;
    let mut phone = Phone::new(&city, 1);
    assert!(installed(&phone.open(&city).await.unwrap()));
    let card = city.card_number(&phone.card_number().await);
    let ann = person(&city, &root, "ann", ClerkRole::CustomerService).await;
    let lost = Endpoint::<Value, Value>::post(desk::REPORT_LOST.path, Access::Peer, "");
    let id = uuid::Uuid::from_u128(7);
    let body = json!({ "request": id, "card": card, "clerk": "bob", "reason": "the rider called" });
    assert_eq!(
        code(desk(&city).call(&lost, &[], &body).await),
        ProblemCode::SessionRequired,
        "a name is no session"
    );
    assert_eq!(code(root.call(&lost, &[], &body).await), ProblemCode::NotAllowed, "not an administrator's");
    assert_eq!(ann.call(&lost, &[], &body).await.unwrap()["by"], "ann");
    let number: CardNumber = card.to_string()[1..].parse().unwrap();
    let chain = city.store.chain(ChainKey::Card(number), 0, 1_000).await.unwrap();
    let entry = chain.iter().find(|entry| entry.note.event == "card-lost").unwrap();
    assert_eq!(entry.note.actor, "ann");
    let own = city.store.chain(ChainKey::Operator("DESK/ann".parse().unwrap()), 0, 10).await.unwrap();
    assert_eq!(
        own.iter().map(|entry| entry.note.event.as_str()).collect::<Vec<_>>(),
        ["login", "password-changed"]
    );
}
