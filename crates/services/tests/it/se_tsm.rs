//! The SE-TSM with real cards over TLS: registration, login, download, deletion, locks, and what a hostile
//! phone achieves (nothing).

use tsm_api::HexBytes;
use tsm_api::conversation::{ApplicationState, ConversationReply, Outcome, OutcomeDetail, OutcomeResult};
use tsm_api::problem::ProblemCode;
use tsm_api::se_tsm::operator::{ApplicationRecord, ManagingDomain, NumberStanding, NumberState};
use tsm_api::se_tsm::wallet::{
    CatalogueQuery, InstallationCondition, LoginRequest, Operation, SessionRights,
};

use crate::phone::Phone;
use crate::world::{Options, World, definition};

pub fn outcome(reply: ConversationReply) -> Outcome {
    match reply {
        ConversationReply::Outcome { outcome, .. } => outcome,
        other => panic!("no outcome: {other:?}"),
    }
}

pub fn done(reply: ConversationReply) -> OutcomeDetail {
    let outcome = outcome(reply);
    assert_eq!(outcome.result, OutcomeResult::Done, "{outcome:?}");
    outcome.detail
}

const NUMBER: &str = "13800138000";

/// A world with one published application of the operator, in the issuer's domain.
async fn with_application() -> (World, ApplicationRecord) {
    let world = World::new().await;
    let person = world.operator_desk().await;
    let application = world.publish(&person, definition(None, ManagingDomain::Issuer)).await;
    (world, application)
}

async fn ticket(phone: &Phone, aid: &HexBytes) -> String {
    let page = phone.wallet.applications(&CatalogueQuery::default()).await.unwrap();
    let entry = page.entries.into_iter().find(|entry| entry.aid == *aid).unwrap();
    entry.ticket.unwrap_or_else(|| panic!("{:?}", entry.condition))
}

/// The SE-ID is the card's own, the token comes back at each login, and a login is one request.
///
/// req: W-6.1.d, W-6.2.a, P-5.8.2.1.d, B-8.1.c
#[tokio::test]
async fn a_card_registers_and_logs_in() {
    let world = World::new().await;
    let mut phone = world.phone(1);
    let OutcomeDetail::Registered { token, .. } = done(phone.register(NUMBER).await) else { panic!() };
    assert_eq!(token.0.len(), 16);
    let before = phone.round_trips();
    let reply = phone.login().await;
    assert_eq!(phone.round_trips() - before, 1);
    assert_eq!(reply.rights, SessionRights::Full);
    assert!(reply.first.is_none() && reply.installed.is_empty() && reply.assertion.is_some());
    assert!(phone.wallet.lists().await.is_ok(), "the session is usable at once");

    let wrong_token = LoginRequest { token: HexBytes(vec![0; 16]), ..phone.login_request() };
    let wrong_se = LoginRequest { se_id: HexBytes(vec![0x10, 9, 9, 9, 9, 9, 9, 9]), ..phone.login_request() };
    for request in [wrong_token, wrong_se] {
        let refused = phone.wallet.login(&request).await.unwrap_err();
        assert_eq!(refused.code(), Some(ProblemCode::WrongCredentials));
    }
}

/// Download, list, lock, unlock, delete: the record follows the card through every step.
///
/// req: B-8.3.3.c, P-5.8.4.3.2.a, P-5.8.4.2.2.a, W-6.2.e, W-6.6.d, B-8.4.2.a
#[tokio::test]
async fn an_application_comes_and_goes() {
    let (world, application) = with_application().await;
    let aid = application.aid.clone().unwrap();
    let mut phone = world.phone(1);
    done(phone.register(NUMBER).await);
    let ticket = ticket(&phone, &aid).await;

    let before = phone.round_trips();
    let installed = done(phone.operate(Operation::Download, &aid, &ticket).await);
    assert_eq!(installed, OutcomeDetail::Installed { aid: aid.clone(), state: ApplicationState::Useable });
    assert_eq!(phone.round_trips() - before, 4, "start, observe, load and install, end");

    let login = phone.login().await;
    assert_eq!((login.installed.len(), login.rights), (1, SessionRights::Full));
    let page = phone.wallet.applications(&CatalogueQuery::default()).await.unwrap();
    assert_eq!(page.entries[0].condition, InstallationCondition::Installed);

    let lists = phone.wallet.lists().await.unwrap();
    assert_eq!(
        (lists.download.len(), lists.delete.len(), lists.lock.len(), lists.unlock.len()),
        (0, 1, 1, 0)
    );
    let locked = done(phone.operate(Operation::Lock, &aid, &lists.lock[0].ticket).await);
    assert_eq!(locked, OutcomeDetail::LockChanged { aid: aid.clone(), state: ApplicationState::Locked });
    let lists = phone.wallet.lists().await.unwrap();
    assert_eq!(
        (lists.download.len(), lists.delete.len(), lists.lock.len(), lists.unlock.len()),
        (0, 0, 0, 1)
    );
    done(phone.operate(Operation::Unlock, &aid, &lists.unlock[0].ticket).await);

    let lists = phone.wallet.lists().await.unwrap();
    let before = phone.round_trips();
    let deleted = done(phone.operate(Operation::Delete, &aid, &lists.delete[0].ticket).await);
    assert_eq!(phone.round_trips() - before, 3);
    let OutcomeDetail::Deleted { state: ApplicationState::Ready, .. } = deleted else {
        panic!("{deleted:?}")
    };
    assert!(phone.login().await.installed.is_empty());
}

/// An expired token that is right is renewed on the card at the next login; a wrong one is refused; and when
/// the power goes in between, the one that the card has still counts.
///
/// req: P-5.5.2.u
#[tokio::test]
async fn an_expired_token_is_renewed_on_the_card() {
    // The token of a day is out of date the moment it is written.
    let policy = tsm_domain::policy::Policy {
        token_validity: tsm_domain::user::TokenValidity { days: 0 },
        ..tsm_domain::policy::Policy::default()
    };
    let clock = std::sync::Arc::new(crate::support::ShiftedClock::default());
    let world = World::with(Options { policy, clock: Some(clock.clone()), ..Options::default() }).await;
    let mut phone = world.phone(1);
    done(phone.register(NUMBER).await);
    assert!(phone.login().await.first.is_none(), "it is still the day of the token");
    clock.shift_days(2);

    let old = phone.token.clone();
    let login = phone.login().await;
    phone.power_cut_before = Some(phone.seen.len() + 2);
    let broken = outcome(phone.converse(*login.first.unwrap()).await);
    assert_ne!(broken.result, OutcomeResult::Done);
    phone.restore_power();

    let login = phone.login().await;
    let renewed = done(phone.converse(*login.first.unwrap()).await);
    let OutcomeDetail::TokenRenewed { token } = renewed else { panic!("{renewed:?}") };
    assert_ne!(token, old);
    let refused = phone.wallet.login(&phone.login_request()).await.unwrap_err();
    assert_eq!(refused.code(), Some(ProblemCode::WrongCredentials), "the old token is dead");
    phone.token = token;
    assert!(phone.login().await.first.is_none());
}

/// Where the SE belongs to another number that is in the network, queries are all there is; once that number
/// is cancelled, the new one registers.
///
/// req: P-5.5.2.c, P-5.5.2.l, P-5.5.2.m
#[tokio::test]
async fn an_element_of_another_number_only_answers_queries() {
    let world = World::new().await;
    let mut phone = world.phone(1);
    done(phone.register(NUMBER).await);
    let other = phone.registration(Some("13900139000"));
    let refused = phone.wallet.register(&other).await.unwrap_err();
    assert_eq!(refused.code(), Some(ProblemCode::BoundElsewhere));
    let login = LoginRequest { msisdn: Some("13900139000".into()), ..phone.login_request() };
    let reply = phone.wallet.login(&login).await.unwrap();
    assert_eq!((reply.rights, reply.assertion), (SessionRights::QueryOnly, None));
    let wallet =
        tsm_api::client::SeTsmWallet::new(world.net.wallet(&world.server).with_bearer(&reply.session));
    assert!(wallet.applications(&CatalogueQuery::default()).await.is_ok());
    assert_eq!(wallet.lists().await.unwrap_err().code(), Some(ProblemCode::BoundElsewhere));
    let start = Phone::start_request(Operation::Download, &HexBytes(vec![0xA0; 7]), "");
    assert_eq!(wallet.start(&start).await.unwrap_err().code(), Some(ProblemCode::BoundElsewhere));

    let cancelled = NumberState { standing: NumberStanding::Cancelled };
    world.people.auditor.number_state(&HexBytes(phone.se_id.clone()), &cancelled).await.unwrap();
    done(phone.register("13900139000").await);
    assert_eq!(phone.login().await.rights, SessionRights::Full);
}

/// Declining the agreement, a card of no batch, and a stale agreement register nothing.
///
/// req: W-6.1.h
#[tokio::test]
async fn a_refused_registration_leaves_nothing_behind() {
    let world = World::new().await;
    let mut phone = world.phone(1);
    let mut request = phone.registration(Some(NUMBER));
    request.agreement_version = "0".into();
    let refused = phone.wallet.register(&request).await.unwrap_err();
    assert_eq!(refused.code(), Some(ProblemCode::AgreementRequired));
    let mut request = phone.registration(Some(NUMBER));
    request.se_id = HexBytes(vec![0x99; 8]);
    assert_eq!(phone.wallet.register(&request).await.unwrap_err().code(), Some(ProblemCode::BatchUnknown));
    let mut whole = world.phone(2);
    done(whole.register("13900139000").await);
    phone.power_cut_before = Some(whole.seen.len() - 1);
    assert_ne!(outcome(phone.register(NUMBER).await).result, OutcomeResult::Done);
    phone.restore_power();
    let refused = phone.wallet.login(&phone.login_request()).await.unwrap_err();
    assert_eq!(refused.code(), Some(ProblemCode::WrongCredentials));
    done(phone.register(NUMBER).await);
}
