//! People at the centre: they log in over their institution's own connection, and what needs two people is done by
//! nobody who is not logged in.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tsm_api::clearing::clerks::{self as api, ClerkLogin, ClerkPassword, ClerkRole as WireRole, NewClerk};
use tsm_api::clearing::lists::Decision;
use tsm_api::clearing::settlement as days;
use tsm_api::client::{Client, ClientError};
use tsm_api::endpoint::{Access, Endpoint, Nothing};
use tsm_api::problem::ProblemCode;
use tsm_domain::environment::Clock as _;
use tsm_domain::money::reconciliation::Clerk;
use tsm_domain::{OperatorId, SessionId};
use tsm_services::clearing::FirstClerk;
use tsm_storage::clerks::{ClerkAccount, ClerkRole, Clerks};
use tsm_storage::memory::MemoryClearing;
use tsm_storage::se_tsm::PasswordState;
use tsm_storage::shared::{Session, SessionHolder, Sessions};

use crate::purse_card::PurseCard;
use crate::settlement::world::{World, day, report};
use crate::support::SystemEntropy;

/// A session of a person who has these roles, without going through the login.
pub async fn session_of(
    store: &(impl Clerks + Sessions + ?Sized),
    institution: &str,
    person: &str,
    roles: &[ClerkRole],
    now: jiff::Timestamp,
) -> String {
    let clerk = Clerk { institution: institution.parse().unwrap(), person: person.parse().unwrap() };
    let account = ClerkAccount {
        clerk: clerk.clone(),
        roles: roles.iter().copied().collect::<BTreeSet<_>>(),
        password_hash: "no password fits this".into(),
        password_state: PasswordState::Own,
        failures: 0,
        closed_until: None,
        proposed: None,
    };
    let known = store.clerk(&clerk).await.unwrap();
    store.put_clerk(known, account).await.unwrap();
    let holder: OperatorId = format!("{institution}/{person}").parse().unwrap();
    let session = Session {
        id: SessionId::generate(&SystemEntropy),
        holder: SessionHolder::Operator(holder),
        created_at: now,
        expires_at: now + jiff::SignedDuration::from_hours(24 * 30),
    };
    store.put_session(session.clone()).await.unwrap();
    session.id.to_string()
}

fn code<T: std::fmt::Debug>(result: Result<T, ClientError>) -> ProblemCode {
    result.unwrap_err().code().unwrap()
}

async fn log_in(client: Client, person: &str, password: &str) -> Result<api::ClerkSession, ClientError> {
    let login = ClerkLogin { person: person.into(), password: password.into() };
    client.call(&api::LOGIN, &[], &login).await
}

/// An administrator begins with an assigned password, which opens nothing but its own change; adds people with
/// roles; each does what the roles say and nothing else, and only for the institution.
#[tokio::test]
async fn people_log_in_with_passwords_and_do_what_their_roles_say() {
    let world = World::on(MemoryClearing::new()).await;
    let first = FirstClerk {
        institution: "CENTRE".parse().unwrap(),
        person: "root".parse().unwrap(),
        password: "first password".into(),
    };
    world.centre.install_clerk(&first).await.unwrap();
    world.centre.install_clerk(&FirstClerk { password: "another one".into(), ..first }).await.unwrap();
    let desk = || world.client(&world.desk);
    assert_eq!(code(log_in(desk(), "root", "another one").await), ProblemCode::WrongCredentials);
    assert_eq!(code(log_in(desk(), "nobody", "first password").await), ProblemCode::WrongCredentials);
    assert_eq!(
        code(log_in(world.client(&world.city), "root", "first password").await),
        ProblemCode::WrongCredentials,
        "at another institution nobody knows root"
    );
    let root = log_in(desk(), "root", "first password").await.unwrap();
    assert!(root.password_change_required && !format!("{root:?}").contains(&root.session));
    let root = desk().with_bearer(root.session);
    assert_eq!(code(root.call(&api::CLERKS, &[], &Nothing {}).await), ProblemCode::PasswordChangeRequired);
    let change = ClerkPassword { old: "first password".into(), new: "roots own password".into() };
    root.call(&api::PASSWORD, &[], &change).await.unwrap();
    assert_eq!(code(log_in(desk(), "root", "first password").await), ProblemCode::WrongCredentials);

    let ann = NewClerk {
        person: "ann".into(),
        roles: vec![WireRole::Proposer],
        first_password: "for the first time".into(),
    };
    let proposed = root.call(&api::ADD_CLERK, &[], &ann).await.unwrap();
    assert_eq!((proposed.proposed_by.as_deref(), &proposed.roles[..]), (Some("root"), &[][..]));
    assert_eq!(code(log_in(desk(), "ann", "for the first time").await), ProblemCode::WrongCredentials);
    let approve = api::ClerkDecision { decision: Decision::Approve };
    let alone = root.call(&api::DECIDE_CLERK, &["ann"], &approve).await;
    assert_eq!(code(alone), ProblemCode::FourEyes, "nobody makes a second person alone");
    let second =
        session_of(&*world.store, "CENTRE", "root-2", &[ClerkRole::Administrator], world.clock.now());
    let second = desk().with_bearer(second.await);
    let nothing = second.call(&api::DECIDE_CLERK, &["root"], &approve).await;
    assert_eq!(code(nothing), ProblemCode::StateForbids);
    assert_eq!(code(second.call(&api::DECIDE_CLERK, &["nobody"], &approve).await), ProblemCode::UnknownId);
    let refuse = api::ClerkDecision { decision: Decision::Refuse };
    second.call(&api::DECIDE_CLERK, &["ann"], &refuse).await.unwrap();
    let listed = root.call(&api::CLERKS, &[], &Nothing {}).await.unwrap().clerks;
    assert!(listed.iter().all(|one| one.person != "ann"), "one who was refused is nobody");
    root.call(&api::ADD_CLERK, &[], &ann).await.unwrap();
    let added = second.call(&api::DECIDE_CLERK, &["ann"], &approve).await.unwrap();
    assert_eq!((added.proposed_by, &added.roles[..]), (None, &[WireRole::Proposer][..]));
    let refused = root.call(&api::ADD_CLERK, &[], &NewClerk { person: "root".into(), ..ann.clone() }).await;
    assert_eq!(code(refused), ProblemCode::NotAllowed, "nobody gives roles to oneself");
    let listed = root.call(&api::CLERKS, &[], &Nothing {}).await.unwrap().clerks;
    assert_eq!(listed.iter().map(|one| one.person.as_str()).collect::<Vec<_>>(), ["ann", "root", "root-2"]);
    let session = log_in(desk(), "ann", "for the first time").await.unwrap();
    let ann = desk().with_bearer(&session.session);
    let change = ClerkPassword { old: "for the first time".into(), new: "anns own password".into() };
    ann.call(&api::PASSWORD, &[], &change).await.unwrap();
    assert_eq!(code(ann.call(&api::CLERKS, &[], &Nothing {}).await), ProblemCode::NotAllowed);
    let elsewhere = world.client(&world.city).with_bearer(&session.session);
    assert_eq!(
        code(elsewhere.call(&api::LOGOUT, &[], &Nothing {}).await),
        ProblemCode::NotAllowed,
        "a session counts over the connection of its institution only"
    );
    ann.call(&api::LOGOUT, &[], &Nothing {}).await.unwrap();
    assert_eq!(code(ann.call(&api::LOGOUT, &[], &Nothing {}).await), ProblemCode::SessionExpired);
}

/// Ten wrong passwords close an account for half an hour, the right password included; a newly assigned one opens
/// it at once. Wrong ones that are tried at the same time all count.
#[tokio::test]
async fn an_account_is_closed_after_too_many_wrong_passwords() {
    let world = World::on(MemoryClearing::new()).await;
    let clerk = |person: &str| FirstClerk {
        institution: "CENTRE".parse().unwrap(),
        person: person.parse().unwrap(),
        password: "the right one".into(),
    };
    for person in ["ann", "bob"] {
        world.centre.install_clerk(&clerk(person)).await.unwrap();
    }
    let desk = || world.client(&world.desk);
    for person in ["ann", "bob"] {
        let tries = (0..10).map(|_| log_in(desk(), person, "a wrong one"));
        for refused in futures_util::future::join_all(tries).await {
            assert_eq!(code(refused), ProblemCode::WrongCredentials);
        }
        assert_eq!(code(log_in(desk(), person, "the right one").await), ProblemCode::WrongCredentials);
    }
    let now = world.clock.now();
    let eve = session_of(&*world.store, "CENTRE", "eve", &[ClerkRole::Administrator], now).await;
    let eve = desk().with_bearer(eve);
    let people = eve.call(&api::CLERKS, &[], &Nothing {}).await.unwrap().clerks;
    assert_eq!(people.iter().filter(|one| one.closed_until.is_some()).count(), 2);
    let again = NewClerk {
        person: "ann".into(),
        roles: vec![WireRole::Proposer],
        first_password: "a new beginning".into(),
    };
    let proposed = eve.call(&api::ADD_CLERK, &[], &again).await.unwrap();
    assert!(proposed.closed_until.is_some(), "closed until another administrator agrees");
    let fay = session_of(&*world.store, "CENTRE", "fay", &[ClerkRole::Administrator], now).await;
    let approve = api::ClerkDecision { decision: Decision::Approve };
    let opened = desk().with_bearer(fay).call(&api::DECIDE_CLERK, &["ann"], &approve).await.unwrap();
    assert_eq!(opened.closed_until, None);
    assert!(log_in(desk(), "ann", "a new beginning").await.is_ok());
    world.clock.set(&(now + jiff::SignedDuration::from_mins(31)).to_string());
    assert_eq!(code(log_in(desk(), "bob", "a wrong one").await), ProblemCode::WrongCredentials);
    assert_eq!(
        code(log_in(desk(), "bob", "the right one").await),
        ProblemCode::WrongCredentials,
        "closed again"
    );
    world.clock.set(&(now + jiff::SignedDuration::from_mins(62)).to_string());
    assert!(log_in(desk(), "bob", "the right one").await.is_ok());
}

/// Without a session, with one that is not there, with the wrong role, with a name in the body: nothing is proposed
/// or decided. A session ends.
#[tokio::test]
async fn nobody_acts_under_a_name_alone() {
    let world = World::on(MemoryClearing::new()).await;
    let now = world.clock.now();
    let card = world.card(1).await;
    let difference = open_difference(&world, &card).await;
    let proposal = json!({ "person": "ann", "action": "ignore", "note": "as agreed" });
    let named = json!({ "person": "ann" });
    let endpoint = |path| Endpoint::<Value, Value>::post(path, Access::Peer, "");
    let all = async |client: Client| {
        let mut codes = Vec::new();
        for (path, body) in
            [(days::PROPOSE.path, &proposal), (days::APPROVE.path, &named), (days::REJECT.path, &named)]
        {
            codes.push(code(client.call(&endpoint(path), &[&difference], body).await));
        }
        codes
    };
    let desk = || world.client(&world.desk);
    let id = uuid::Uuid::from_u128(1).to_string();
    assert_eq!(all(desk()).await, [ProblemCode::SessionRequired; 3], "a name is no session");
    assert_eq!(all(desk().with_bearer(&id)).await, [ProblemCode::SessionExpired; 3]);
    let admin = session_of(&*world.store, "CENTRE", "root", &[ClerkRole::Administrator], now).await;
    assert_eq!(all(desk().with_bearer(&admin)).await, [ProblemCode::NotAllowed; 3], "not an administrator's");
    let city = world.person(&world.city, "ann").await;
    let elsewhere = session_of(&*world.store, "METRO", "ann", &[ClerkRole::Proposer], now).await;
    assert_eq!(
        all(desk().with_bearer(&elsewhere)).await,
        [ProblemCode::NotAllowed; 3],
        "another institution's"
    );

    // The name in the body is nobody's: it is bob who proposes, and bob may not approve.
    let bob = world.person(&world.desk, "bob").await;
    let made = bob.call(&endpoint(days::PROPOSE.path), &[&difference], &proposal).await.unwrap();
    assert_eq!(made["proposed_by"], json!({ "institution": "CENTRE", "person": "bob" }));
    let own = bob.call(&endpoint(days::APPROVE.path), &[&difference], &named).await;
    assert_eq!(code(own), ProblemCode::FourEyes);
    bob.call(&api::LOGOUT, &[], &Nothing {}).await.unwrap();
    assert_eq!(all(bob).await, [ProblemCode::SessionExpired; 3], "logged out");
    let ann = city.call(&endpoint(days::APPROVE.path), &[&difference], &json!({ "person": "bob" })).await;
    assert_eq!(ann.unwrap()["approved_by"], json!({ "institution": "CITY", "person": "ann" }));
}

async fn open_difference(world: &World<MemoryClearing>, card: &PurseCard) -> String {
    world.peer(&world.city).payment(&report(1, card, 500)).await.unwrap();
    world.clock.set("2026-11-20T16:10:00Z");
    world.centre.settle_day(day()).await.unwrap();
    world.centre.reconcile_day(day()).await.unwrap();
    let query = days::DifferenceQuery::default();
    let found = world.client(&world.desk).call(&days::DIFFERENCES, &[], &query).await.unwrap();
    found.differences[0].difference.to_string()
}
