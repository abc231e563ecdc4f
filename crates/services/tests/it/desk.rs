//! The operator's and provider's desks: rights, four eyes, life cycles, the audit trail. Every endpoint is
//! asked without authority and with an identification that nobody has.

use std::collections::HashSet;

use tsm_api::client::{Client, ClientError, SeTsmStaff, SeTsmWallet};
use tsm_api::conversation::ApplicationState;
use tsm_api::endpoint::{Access, Endpoint, EndpointInfo, Nothing, Verb};
use tsm_api::openapi::Role;
use tsm_api::problem::ProblemCode;
use tsm_api::se_tsm::operator::{
    ApplicationLifeCycle, AuditQuery, BlacklistEntry, Decision, DomainChange, DomainDeletionRule, DomainMode,
    Listing, LossReport, ManagingDomain, NewDomain, NewStaff, ProviderQuery, ProviderState, Publication,
    StaffLogin, Suspension, Verdict,
};
use tsm_api::se_tsm::provider::Upload;
use tsm_api::se_tsm::wallet::{CatalogueQuery, Operation, SessionRights};
use tsm_api::{HexBytes, se_tsm};
use tsm_services::se_tsm::routes;

use crate::se_tsm::done;
use crate::world::{Desk, GREETING_MODULE, GREETING_PACKAGE, World, definition, log_in_first, pass, upload};

const NUMBER: &str = "13800138000";

fn code(error: &ClientError) -> ProblemCode {
    error.code().unwrap_or_else(|| panic!("{error}"))
}

/// Asks an endpoint by its description, with a body that fits nothing.
async fn ask(client: &Client, info: &EndpointInfo, parameter: &str) -> Option<ProblemCode> {
    let endpoint: Endpoint<serde_json::Value, serde_json::Value> = match info.verb {
        Verb::Get => Endpoint::get(info.path, info.access, ""),
        Verb::Post => Endpoint::post(info.path, info.access, ""),
    };
    match client.call(&endpoint, &[parameter], &serde_json::json!({})).await {
        Ok(_) => None,
        Err(error) => Some(code(&error)),
    }
}

/// Nothing that is declared is missing, and nothing answers a stranger but what must.
#[tokio::test]
async fn every_endpoint_is_routed_and_refuses_a_stranger() {
    let world = World::new().await;
    let routed: HashSet<_> =
        routes(world.tsm.clone()).routed().iter().map(|(verb, path)| (verb.name(), *path)).collect();
    let declared: HashSet<_> =
        Role::SeTsm.endpoints().iter().map(|endpoint| (endpoint.verb.name(), endpoint.path)).collect();
    assert_eq!(routed, declared);

    let stranger = world.net.wallet(&world.server);
    let wrong_session = stranger.clone().with_bearer(uuid::Uuid::from_u128(7).to_string());
    let nonsense = stranger.clone().with_bearer("nonsense");
    for endpoint in Role::SeTsm.endpoints() {
        let path = endpoint.path;
        let refusal = ask(&stranger, &endpoint, "00").await;
        match endpoint.access {
            Access::Public | Access::Conversation => {
                assert_ne!(refusal, Some(ProblemCode::SessionRequired), "{path}");
            }
            Access::Wallet | Access::Staff(_) | Access::Provider => {
                assert_eq!(refusal, Some(ProblemCode::SessionRequired), "{path}");
                assert_eq!(
                    ask(&wrong_session, &endpoint, "00").await,
                    Some(ProblemCode::SessionExpired),
                    "{path}"
                );
                assert_eq!(
                    ask(&nonsense, &endpoint, "00").await,
                    Some(ProblemCode::SessionExpired),
                    "{path}"
                );
            }
            Access::Payment => panic!("{path}"),
            Access::Peer => assert_eq!(refusal, Some(ProblemCode::PeerCertificateRequired), "{path}"),
        }
    }
}

/// The whole matrix: each role reaches what its endpoint names and nothing else.
///
/// req: P-7.1.a, P-5.3.4.a
#[tokio::test]
async fn every_role_reaches_its_own_and_nothing_else() {
    let world = World::new().await;
    let person = world.operator_desk().await;
    let mut phone = world.phone(1);
    done(phone.register(NUMBER).await);
    let roles = [
        (&world.people.admin, vec![tsm_api::StaffRole::SystemAdministrator]),
        (
            &world.people.clerk,
            vec![
                tsm_api::StaffRole::BusinessManager,
                tsm_api::StaffRole::Tester,
                tsm_api::StaffRole::ReleaseOperator,
            ],
        ),
        (
            &world.people.auditor,
            vec![
                tsm_api::StaffRole::Auditor,
                tsm_api::StaffRole::Supervisor,
                tsm_api::StaffRole::CustomerService,
            ],
        ),
    ];
    for endpoint in Role::SeTsm.endpoints() {
        let path = endpoint.path;
        if path.ends_with("/logout") {
            continue;
        }
        for (staff, roles) in &roles {
            let refused = ask(&staff.client, &endpoint, "00").await;
            let may = match endpoint.access {
                Access::Staff(allowed) => allowed.iter().any(|role| roles.contains(role)),
                Access::Public | Access::Conversation => true,
                Access::Wallet | Access::Provider | Access::Peer | Access::Payment => false,
            };
            let kept_out = matches!(
                refused,
                Some(
                    ProblemCode::NotAllowed
                        | ProblemCode::PeerCertificateRequired
                        | ProblemCode::SessionRequired
                )
            );
            assert_eq!(!kept_out, may, "{path} for {roles:?}: {refused:?}");
        }
        if matches!(endpoint.access, Access::Staff(_)) {
            assert_eq!(ask(&person.client, &endpoint, "00").await, Some(ProblemCode::NotAllowed), "{path}");
            assert_eq!(
                ask(&phone.wallet.client, &endpoint, "00").await,
                Some(ProblemCode::NotAllowed),
                "{path}"
            );
        }
    }
}

/// Every endpoint that names something says when there is no such thing.
#[tokio::test]
async fn an_unknown_identification_is_unknown_everywhere() {
    let world = World::new().await;
    let person = world.operator_desk().await;
    let mut phone = world.phone(1);
    done(phone.register(NUMBER).await);
    let nobody = uuid::Uuid::from_u128(0xDEAD);
    let id = tsm_api::ids::ApplicationId(nobody);
    let (admin, clerk, auditor) = (&world.people.admin, &world.people.clerk, &world.people.auditor);
    let se = HexBytes(vec![0x10, 9, 9, 9, 9, 9, 9, 9]);
    let provider = tsm_api::ids::ProviderId("NOBODY".into());
    let domain = tsm_api::ids::DomainId("F000000000".into());
    let entry = BlacklistEntry { listing: Listing::On, reason: "x".into() };
    let suspension = Suspension { listing: Listing::On, reason: "x".into() };
    let loss = LossReport { listing: Listing::On, change: 1, reason: "x".into() };
    let test = se_tsm::operator::TestResult {
        verdict: Verdict::Pass,
        reason: "x".into(),
        batches: vec![],
        test_numbers: vec![],
    };
    let number = se_tsm::operator::NumberState { standing: se_tsm::operator::NumberStanding::Cancelled };
    let conversation = tsm_api::ids::ConversationId(nobody);
    let refusals = [
        auditor.audit_provider(&provider, &pass()).await.map(drop),
        clerk.blacklist(&provider, &entry).await.map(drop),
        auditor.audit_domain(&domain, &pass()).await.map(drop),
        clerk.change_domain(&domain, &DomainChange::default()).await.map(drop),
        clerk.remove_domain(&domain).await.map(drop),
        auditor.audit_application(id, &pass()).await.map(drop),
        clerk.assign_aids(id).await.map(drop),
        clerk.define(id, &definition(None, ManagingDomain::Issuer)).await.map(drop),
        clerk.test(id, &test).await.map(drop),
        auditor.confirm_test(id, &pass()).await.map(drop),
        clerk.publish(id, &Publication::default()).await.map(drop),
        clerk.suspend(id, &suspension).await.map(drop),
        clerk.archive(id).await.map(drop),
        admin.element(&se).await.map(drop),
        admin.element_tasks(&se).await.map(drop),
        admin.report_loss(&se, &loss).await.map(drop),
        admin.number_state(&se, &number).await.map(drop),
        admin.terminate(tsm_api::ids::TaskId(nobody)).await.map(drop),
        person.own_application(id).await.map(drop),
        phone.wallet.application(&HexBytes(vec![0xA0; 7])).await.map(drop),
        phone.wallet.cancel(conversation).await.map(drop),
    ];
    for (index, refusal) in refusals.into_iter().enumerate() {
        assert_eq!(code(&refusal.unwrap_err()), ProblemCode::UnknownId, "call {index}");
    }
}

/// Who entered something cannot approve it; nobody logs in before the approval; the first password opens
/// nothing but its own change.
///
/// req: P-5.3.3.a, P-5.3.3.b, P-5.6.3.a, B-8.2.a, P-5.3.1.b, P-5.3.2.a
#[tokio::test]
async fn four_eyes_see_every_provider_and_domain() {
    let world = World::new().await;
    let (record, person) = world.provider("127.0.0.1:9").await;
    assert_eq!(record.state, ProviderState::Approved);
    assert_eq!(record.institution.as_deref(), Some(record.provider.0.as_str()));
    let other =
        world.people.clerk.providers(&ProviderQuery { state: Some(ProviderState::InAudit) }).await.unwrap();
    assert!(other.providers.is_empty());
    // An auditor who is also a business manager may not approve what is his own.
    let refused = world.people.clerk.audit_provider(&record.provider, &pass()).await.unwrap_err();
    assert_eq!(code(&refused), ProblemCode::NotAllowed);

    // A person with both roles enters and may not approve it.
    let both = NewStaff {
        account: "both".into(),
        first_password: "first password".into(),
        roles: vec![tsm_api::StaffRole::BusinessManager, tsm_api::StaffRole::Auditor],
    };
    world.people.admin.add_staff(&both).await.unwrap();
    let first = StaffLogin { account: "both".into(), password: "first password".into() };
    let both = log_in_first(&world.net.wallet(&world.server), first, Desk::Operator).await;
    let own = both.add_provider(&world.new_provider("127.0.0.1:9")).await.unwrap();
    assert_ne!(own.provider, record.provider);
    let refused = both.audit_provider(&own.provider, &pass()).await.unwrap_err();
    assert_eq!(code(&refused), ProblemCode::FourEyes);
    let own = both.add_domain(&world.new_domain(&record, DomainMode::Plain)).await.unwrap();
    let refused = both.audit_domain(&own.domain, &pass()).await.unwrap_err();
    assert_eq!(code(&refused), ProblemCode::FourEyes);
    assert!(person.own_domains().await.unwrap().domains.is_empty(), "it has not passed its audit");

    let good = world.new_domain(&record, DomainMode::Plain);
    let unwritten = NewDomain { documents: vec![], ..good.clone() };
    assert_eq!(
        code(&world.people.clerk.add_domain(&unwritten).await.unwrap_err()),
        ProblemCode::ValueRefused
    );
    let nobodys = NewDomain { provider: tsm_api::ids::ProviderId("NOBODY".into()), ..good };
    assert_eq!(code(&world.people.clerk.add_domain(&nobodys).await.unwrap_err()), ProblemCode::UnknownId);
    let domain = world.domain(&record, DomainMode::Plain).await;
    assert_eq!(person.own_domains().await.unwrap().domains, std::slice::from_ref(&domain));
    let again = world.people.auditor.audit_domain(&domain.domain, &pass()).await.unwrap_err();
    assert_eq!(code(&again), ProblemCode::StateForbids);
    let change =
        DomainChange { deletion_rule: Some(DomainDeletionRule::Separately), ..DomainChange::default() };
    let changed = world.people.clerk.change_domain(&domain.domain, &change).await.unwrap();
    assert_eq!(changed.deletion_rule, DomainDeletionRule::Separately);
    assert_ne!(world.domain(&record, DomainMode::Plain).await.aid, domain.aid, "AIDs are unique");
}

/// Only the legal steps in their order, each by a person with its right; suspension hides, resumption shows.
///
/// req: P-5.4.4.a, P-5.4.4.2.a, P-5.4.4.3.a, P-5.4.4.3.c, P-5.4.4.4.a, P-5.4.4.5.a, P-5.4.4.5.b, B-8.3.1.a
/// req: B-8.1.b, B-8.3.3.a, B-8.3.3.b, P-5.4.4.1.b
#[tokio::test]
async fn an_application_lives_by_its_steps() {
    let world = World::new().await;
    let person = world.operator_desk().await;
    let (clerk, auditor) = (&world.people.clerk, &world.people.auditor);
    let mut phone = world.phone(1);
    done(phone.register(NUMBER).await);
    let id = person.upload(&upload()).await.unwrap().application;
    assert_eq!(shown_to(&person, id).await, (ApplicationLifeCycle::Initial, None));
    let forbidden = [
        clerk.assign_aids(id).await,
        clerk.define(id, &definition(None, ManagingDomain::Issuer)).await,
        auditor.confirm_test(id, &pass()).await,
        clerk.publish(id, &Publication::default()).await,
        clerk.archive(id).await,
    ];
    for refusal in forbidden {
        assert_eq!(code(&refusal.unwrap_err()), ProblemCode::StateForbids);
    }
    let failed = Decision { verdict: Verdict::Fail, reason: "no manual".into() };
    assert_eq!(
        auditor.audit_application(id, &failed).await.unwrap().life_cycle,
        ApplicationLifeCycle::AuditFailed
    );

    // Once more, from the start, with another package.
    let record = {
        let mut second = upload();
        let cap = tsm_capfile::CapBuilder::new(tsm_iso7816::Aid::constant(&[0xF0, 1, 2, 3, 4, 5, 6]))
            .applet(tsm_iso7816::Aid::constant(&[0xF0, 1, 2, 3, 4, 5, 6, 1]))
            .build()
            .unwrap();
        second.sha1 =
            HexBytes(sha1::Digest::finalize(<sha1::Sha1 as sha1::Digest>::new_with_prefix(&cap)).to_vec());
        second.cap = HexBytes(cap);
        let id = person.upload(&second).await.unwrap().application;
        let audited = auditor.audit_application(id, &pass()).await.unwrap();
        assert_eq!(audited.life_cycle, ApplicationLifeCycle::Audited);
        assert!(audited.aid.is_some() && !audited.load_file_aid.0.is_empty(), "no audit without its AIDs");
        assert!(audited.modules.iter().all(|module| !module.instance_aid.0.is_empty()), "{audited:?}");
        assert_eq!(shown_to(&person, id).await, (ApplicationLifeCycle::Audited, audited.aid));
        clerk.assign_aids(id).await.unwrap();
        clerk.define(id, &definition(None, ManagingDomain::Issuer)).await.unwrap();
        let test = se_tsm::operator::TestResult {
            verdict: Verdict::Pass,
            reason: "x".into(),
            batches: vec![tsm_api::ids::BatchId("development".into())],
            test_numbers: vec![],
        };
        let tested = clerk.test(id, &test).await.unwrap();
        assert_eq!(tested.life_cycle, ApplicationLifeCycle::AwaitsConfirmation);
        let early = clerk.publish(id, &Publication::default()).await.unwrap_err();
        assert_eq!(code(&early), ProblemCode::StateForbids, "the test is not confirmed");
        auditor.confirm_test(id, &pass()).await.unwrap();
        assert!(catalogue(&phone.wallet).await.is_empty(), "it is not published");
        clerk.publish(id, &Publication { recommendation: Some(1), ..Publication::default() }).await.unwrap()
    };
    assert_eq!(catalogue(&phone.wallet).await, [record.aid.clone().unwrap()]);
    let on = Suspension { listing: Listing::On, reason: "a fault".into() };
    let off = Suspension { listing: Listing::Off, reason: "mended".into() };
    let suspended = clerk.suspend(record.application, &on).await.unwrap();
    assert_eq!(suspended.life_cycle, ApplicationLifeCycle::Suspended);
    assert!(catalogue(&phone.wallet).await.is_empty());
    clerk.suspend(record.application, &off).await.unwrap();
    assert_eq!(catalogue(&phone.wallet).await.len(), 1);
    clerk.archive(record.application).await.unwrap();
    assert!(catalogue(&phone.wallet).await.is_empty());
    let finished = clerk.archive(record.application).await;
    // Finishing needs the right to confirm, which the release operator has.
    assert_eq!(finished.unwrap().life_cycle, ApplicationLifeCycle::ArchiveFinished);
}

/// What the provider sees of its application.
async fn shown_to(
    person: &SeTsmStaff,
    id: tsm_api::ids::ApplicationId,
) -> (ApplicationLifeCycle, Option<HexBytes>) {
    let own = person.own_application(id).await.unwrap();
    (own.life_cycle, own.aid)
}

async fn catalogue(wallet: &SeTsmWallet) -> Vec<HexBytes> {
    let page = wallet.applications(&CatalogueQuery::default()).await.unwrap();
    page.entries.into_iter().map(|entry| entry.aid).collect()
}

/// An upload must be a sound CAP file with the hash that comes with it, under AIDs that nobody has.
///
/// req: P-5.4.2.g, P-5.4.2.b, P-5.4.4.1.a
#[tokio::test]
async fn a_wrong_upload_is_refused_with_its_reason() {
    let world = World::new().await;
    let person = world.operator_desk().await;
    let good = upload();
    let wrong_hash = Upload { sha1: HexBytes(vec![0; 20]), ..good.clone() };
    assert_eq!(code(&person.upload(&wrong_hash).await.unwrap_err()), ProblemCode::HashMismatch);
    let mut cut = good.clone();
    cut.cap.0.truncate(100);
    cut.sha1 = HexBytes(<sha1::Sha1 as sha1::Digest>::digest(&cut.cap.0).to_vec());
    assert_eq!(code(&person.upload(&cut).await.unwrap_err()), ProblemCode::CapRefused);
    let two = tsm_capfile::CapBuilder::new(GREETING_PACKAGE)
        .applet(GREETING_MODULE)
        .applet(tsm_iso7816::Aid::constant(&[0xF0, 0x4F, 0x54, 0x53, 0x4D, 0x01, 0x05, 0x02]))
        .build()
        .unwrap();
    let sha1 = HexBytes(<sha1::Sha1 as sha1::Digest>::digest(&two).to_vec());
    let no_main = Upload { cap: HexBytes(two), sha1, ..good.clone() };
    assert_eq!(code(&person.upload(&no_main).await.unwrap_err()), ProblemCode::ValueRefused);
    let wrong_main = Upload { main_module: Some(HexBytes(vec![0xA0; 7])), ..no_main };
    assert_eq!(code(&person.upload(&wrong_main).await.unwrap_err()), ProblemCode::ValueRefused);
    person.upload(&good).await.unwrap();
    assert_eq!(code(&person.upload(&good).await.unwrap_err()), ProblemCode::Duplicate);
    assert_eq!(person.own_applications().await.unwrap().applications.len(), 1);
}

/// A lost phone: the first commands lock everything, nothing else can be done, and the trail says who did it.
///
/// req: P-5.5.2.o, P-5.8.4.3.1.c, P-7.4.b
#[tokio::test]
async fn a_lost_phone_is_locked_at_its_next_contact() {
    let world = World::new().await;
    let person = world.operator_desk().await;
    let record = world.publish(&person, definition(None, ManagingDomain::Issuer)).await;
    let aid = record.aid.unwrap();
    let mut phone = world.phone(1);
    done(phone.register(NUMBER).await);
    let page = phone.wallet.applications(&CatalogueQuery::default()).await.unwrap();
    done(phone.operate(Operation::Download, &aid, page.entries[0].ticket.as_ref().unwrap()).await);

    let se = HexBytes(phone.se_id.clone());
    let loss = LossReport { listing: Listing::On, change: 1, reason: "stolen".into() };
    world.people.auditor.report_loss(&se, &loss).await.unwrap();
    let ended = phone.wallet.lists().await.unwrap_err();
    assert_eq!(code(&ended), ProblemCode::SessionExpired, "its sessions ended");
    let login = phone.login().await;
    assert_eq!((login.rights, login.assertion), (SessionRights::LockOnly, None));
    done(phone.converse(*login.first.unwrap()).await);
    let element = world.people.auditor.element(&se).await.unwrap();
    assert_eq!(element.applications[0].state, ApplicationState::Locked);
    assert!(phone.wallet.lists().await.is_err());

    let query = AuditQuery { account: Some("auditor".into()), ..AuditQuery::default() };
    let trail = world.people.auditor.audit_trail(&query).await.unwrap();
    assert!(trail.entries.iter().any(|entry| entry.action == "loss" && entry.actor == "auditor"));
    let query = AuditQuery { se_id: Some(se), ..AuditQuery::default() };
    let trail = world.people.auditor.audit_trail(&query).await.unwrap();
    let words: Vec<_> = trail.entries.iter().map(|entry| entry.action.as_str()).collect();
    for word in ["registered", "installed", "loss", "login", "locked"] {
        assert!(words.contains(&word), "{word} in {words:?}");
    }
}

/// A wrong password is refused and written down.
#[tokio::test]
async fn a_wrong_password_is_refused_and_written_down() {
    let world = World::new().await;
    let anyone = SeTsmStaff::new(world.net.wallet(&world.server));
    for (account, password) in [("auditor", "wrong password"), ("nobody", "a better password"), ("", "")] {
        let login = StaffLogin { account: account.into(), password: password.into() };
        assert_eq!(code(&anyone.login(&login).await.unwrap_err()), ProblemCode::WrongCredentials);
        assert_eq!(code(&anyone.provider_login(&login).await.unwrap_err()), ProblemCode::WrongCredentials);
    }
    let query = AuditQuery { account: Some("auditor".into()), ..AuditQuery::default() };
    let trail = world.people.auditor.audit_trail(&query).await.unwrap();
    assert!(trail.entries.iter().any(|entry| entry.action == "login-refused"));
    let _: Nothing =
        world.people.clerk.client.call(&se_tsm::operator::LOGOUT, &[], &Nothing {}).await.unwrap();
    assert!(world.people.clerk.domains().await.is_err());
}
