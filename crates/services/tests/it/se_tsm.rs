//! The SE-TSM with real cards over TLS: registration, login, download, deletion, locks, and what a hostile
//! phone achieves (nothing).

use tsm_api::HexBytes;
use tsm_api::conversation::{ApplicationState, ConversationReply, Outcome, OutcomeDetail, OutcomeResult};
use tsm_api::problem::ProblemCode;
use tsm_api::se_tsm::operator::{ApplicationRecord, Listing, LossReport, ManagingDomain};
use tsm_api::se_tsm::wallet::{
    CatalogueQuery, InstallationCondition, LoginRequest, Operation, SessionRights,
};

use crate::phone::Phone;
use crate::world::{World, definition};

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

fn code(outcome: &Outcome) -> ProblemCode {
    outcome.problem.as_ref().unwrap().code
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
/// req: W-6.1.d, W-6.2.a
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

    let wrong_token = LoginRequest { token: HexBytes(vec![0; 16]), ..phone.login_request() };
    let wrong_se = LoginRequest { se_id: HexBytes(vec![0x10, 9, 9, 9, 9, 9, 9, 9]), ..phone.login_request() };
    for request in [wrong_token, wrong_se] {
        let refused = phone.wallet.login(&request).await.unwrap_err();
        assert_eq!(refused.code(), Some(ProblemCode::WrongCredentials));
    }
}

/// Download, list, lock, unlock, delete: the record follows the card through every step.
///
/// req: B-8.3.3.c, P-5.8.4.3.2.a, P-5.8.4.2.2.a
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
    assert_eq!(login.installed.len(), 1);
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
