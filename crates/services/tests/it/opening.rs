//! Opening an application in a provider's own domain: creation, the provider's keys, hand-over, resume.

use tsm_api::HexBytes;
use tsm_api::conversation::{ApplicationState, ConversationReply, OutcomeResult, Step};
use tsm_api::ids::OperationId;
use tsm_api::problem::ProblemCode;
use tsm_api::se_tsm::operator::{
    ApplicationDefinition, ApplicationRecord, DomainChange, DomainDeletionRule, DomainMode, DomainRecord,
    ManagingDomain, PersonalisationWay,
};
use tsm_api::se_tsm::peer::{CardEnd, Notice, OperationKind, OperationResult, StateQuery};
use tsm_api::se_tsm::wallet::{CatalogueQuery, Operation};
use tsm_api::sp_tsm::peer::HandoverWay;
use tsm_storage::se_tsm::SeTsmStore as _;

use crate::phone::{Lost, Phone};
use crate::provider::{Mood, Provider, Served, peer_client};
use crate::se_tsm::{done, outcome};
use crate::world::{World, definition};

const NUMBER: &str = "13800138000";
const INITIALIZE_UPDATE: u8 = 0x50;
const EXTERNAL_AUTHENTICATE: u8 = 0x82;
const PUT_KEY: u8 = 0xD8;
const DELETE: u8 = 0xE4;
const GET_STATUS: u8 = 0xF2;

pub struct Opening {
    pub world: World,
    pub served: Served,
    application: ApplicationRecord,
    domain: DomainRecord,
    institution: String,
}

impl Opening {
    pub async fn new() -> Self {
        let (mode, managing) = (DomainMode::AuthorizedManagement, ManagingDomain::Own);
        Self::with(HandoverWay::LoadAndPersonalise, mode, managing, PersonalisationWay::None).await
    }

    async fn with(
        way: HandoverWay,
        mode: DomainMode,
        managing: ManagingDomain,
        personalisation: PersonalisationWay,
    ) -> Self {
        let world = World::new().await;
        let served = Provider::serve(&world, way).await;
        let (record, person) = world.provider(&served.address()).await;
        let institution = record.institution.clone().unwrap();
        served.connect(&world, &institution);
        let domain = world.domain(&record, mode).await;
        let definition = ApplicationDefinition { personalisation, ..definition(Some(&domain), managing) };
        let application = world.publish(&person, definition).await;
        Self { world, served, application, domain, institution }
    }

    pub async fn phone(&self, number: u8) -> Phone {
        let mut phone = self.world.phone(number);
        self.served.reach(&self.world, &mut phone);
        done(phone.register(NUMBER).await);
        phone
    }

    pub fn aid(&self) -> HexBytes {
        self.application.aid.clone().unwrap()
    }

    pub fn institution(&self) -> &str {
        &self.institution
    }

    pub async fn ticket(&self, phone: &Phone) -> String {
        let page = phone.wallet.applications(&CatalogueQuery::default()).await.unwrap();
        page.entries[0].ticket.clone().unwrap_or_else(|| panic!("{:?}", page.entries[0].condition))
    }
}

/// A domain that may load by itself: six requests, the last to the SP-TSM.
///
/// req: B-8.5.2.a, B-8.5.2.b, B-8.5.2.d, B-8.5.3.a, B-8.5.3.c, B-8.5.3.d, B-5.2.2.a
/// req: P-5.3.1.e, P-5.8.3.1.1.d, P-5.8.3.1.1.g, P-5.8.3.2.1.c, P-5.8.3.3.1.c
#[tokio::test]
async fn a_card_is_opened_in_six_round_trips() {
    let opening = Opening::new().await;
    let mut phone = opening.phone(1).await;
    let ticket = opening.ticket(&phone).await;
    let before = phone.round_trips();
    done(phone.operate(Operation::Download, &opening.aid(), &ticket).await);
    assert_eq!(phone.round_trips() - before, 6);

    let peer = peer_client(&opening.world, &opening.institution);
    let query = StateQuery { se_id: HexBytes(phone.se_id.clone()), aid: opening.aid() };
    assert_eq!(peer.state(&query).await.unwrap().state, ApplicationState::Useable);
    assert_eq!(phone.login().await.installed.len(), 1);
    let element = opening.world.people.auditor.element(&HexBytes(phone.se_id.clone())).await.unwrap();
    assert!(element.domains.contains(&opening.domain.aid));
    let se = tsm_domain::SeId::new(&phone.se_id).unwrap();
    let what = tsm_domain::subscription::Subscribed::Domain(opening.domain.aid.to_aid().unwrap());
    let subscribed = async || {
        let all = opening.world.store.subscriptions_of(se).await.unwrap();
        all.iter().any(|subscription| subscription.what == what && subscription.is_active())
    };
    assert!(subscribed().await, "the provider has its domain on this element");

    // Deletion asks the provider, and the domain goes with its last application.
    let lists = phone.wallet.lists().await.unwrap();
    let before = phone.round_trips();
    phone.seen.clear();
    done(phone.operate(Operation::Delete, &opening.aid(), &lists.delete[0].ticket).await);
    assert_eq!(phone.round_trips() - before, 3);
    let order = [INITIALIZE_UPDATE, EXTERNAL_AUTHENTICATE, DELETE];
    let sent: Vec<u8> = phone.seen.iter().copied().filter(|ins| order.contains(ins)).collect();
    assert_eq!(sent[..3], order, "the card and the platform prove themselves before the script");
    let element = opening.world.people.auditor.element(&HexBytes(phone.se_id.clone())).await.unwrap();
    assert!(!element.domains.contains(&opening.domain.aid));
    assert!(!subscribed().await);
    let told = opening.served.provider.told.lock().unwrap();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].result, OutcomeResult::Done);
}

/// What the provider does not allow does not happen, and says why.
///
/// req: B-8.5.2.c, B-8.5.3.b
#[tokio::test]
async fn the_provider_may_refuse_download_and_deletion() {
    let opening = Opening::new().await;
    let mut phone = opening.phone(1).await;
    let ticket = opening.ticket(&phone).await;
    opening.served.provider.set_mood(Mood::Refusing);
    phone.seen.clear();
    let refused = outcome(phone.operate(Operation::Download, &opening.aid(), &ticket).await);
    assert_eq!(refused.problem.unwrap().code, ProblemCode::ValueRemains);
    assert!(phone.seen.is_empty(), "no command reached the card");

    opening.served.provider.set_mood(Mood::Willing);
    done(phone.operate(Operation::Download, &opening.aid(), &ticket).await);
    opening.served.provider.set_mood(Mood::Refusing);
    let lists = phone.wallet.lists().await.unwrap();
    phone.seen.clear();
    let refused = outcome(phone.operate(Operation::Delete, &opening.aid(), &lists.delete[0].ticket).await);
    assert_eq!(
        (refused.result, refused.problem.unwrap().code),
        (OutcomeResult::Refused, ProblemCode::ValueRemains)
    );
    assert!(phone.seen.is_empty(), "no command reached the card");
}

/// The power goes at any command of an opening; the next attempt goes on from what the card holds.
///
/// req: P-5.8.7.2.a, P-5.8.7.1.d
#[tokio::test]
async fn an_opening_that_breaks_off_goes_on() {
    let opening = Opening::new().await;
    let mut whole = opening.phone(200).await;
    let ticket = opening.ticket(&whole).await;
    whole.seen.clear();
    done(whole.operate(Operation::Download, &opening.aid(), &ticket).await);
    let commands = whole.seen.len();

    for cut in 0..commands {
        let mut phone = opening.phone(u8::try_from(cut + 1).unwrap()).await;
        let ticket = opening.ticket(&phone).await;
        phone.seen.clear();
        phone.power_cut_before = Some(cut);
        let broken = phone.operate(Operation::Download, &opening.aid(), &ticket).await;
        assert_ne!(outcome(broken).result, OutcomeResult::Done, "cut before command {cut}");
        phone.restore_power();
        phone.seen.clear();
        let ticket = opening.ticket(&phone).await;
        let end = phone.operate(Operation::Download, &opening.aid(), &ticket).await;
        assert!(matches!(end, ConversationReply::Outcome { .. }), "cut before command {cut}: {end:?}");
        let end = outcome(end);
        assert_eq!(
            end.result,
            OutcomeResult::Done,
            "cut before command {cut} of {commands}: {end:?} {:02X?}",
            phone.seen
        );
        assert_eq!(phone.login().await.installed.len(), 1, "cut before command {cut}");
    }
}

/// The SE-TSM looks itself which domain there is: the first download creates it and replaces its keys, the
/// next finds it. This domain stays when its last application goes.
///
/// req: B-8.4.2.a, B-8.4.2.b, P-5.3.1.e
#[tokio::test]
async fn a_domain_is_created_only_where_it_is_missing() {
    let opening = Opening::new().await;
    let change =
        DomainChange { deletion_rule: Some(DomainDeletionRule::Separately), ..DomainChange::default() };
    opening.world.people.clerk.change_domain(&opening.domain.domain, &change).await.unwrap();
    let mut phone = opening.phone(1).await;
    for has_domain in [false, true] {
        let ticket = opening.ticket(&phone).await;
        phone.seen.clear();
        done(phone.operate(Operation::Download, &opening.aid(), &ticket).await);
        assert_eq!(phone.seen.contains(&PUT_KEY), !has_domain, "{:02X?}", phone.seen);
        let lists = phone.wallet.lists().await.unwrap();
        done(phone.operate(Operation::Delete, &opening.aid(), &lists.delete[0].ticket).await);
        let element = opening.world.people.auditor.element(&HexBytes(phone.se_id.clone())).await.unwrap();
        assert_eq!(element.domains.iter().filter(|aid| **aid == opening.domain.aid).count(), 1);
    }
}

/// A phone that hides the domain from the SE-TSM gets no second one, and the next honest contact goes on.
///
/// req: B-8.4.2.c
#[tokio::test]
async fn a_lying_phone_gets_no_second_domain() {
    let opening = Opening::new().await;
    let mut phone = opening.phone(1).await;
    let ticket = opening.ticket(&phone).await;
    phone.seen.clear();
    done(phone.operate(Operation::Download, &opening.aid(), &ticket).await);
    // Without its application, and with its domain.
    let change =
        DomainChange { deletion_rule: Some(DomainDeletionRule::Separately), ..DomainChange::default() };
    opening.world.people.clerk.change_domain(&opening.domain.domain, &change).await.unwrap();
    let lists = phone.wallet.lists().await.unwrap();
    done(phone.operate(Operation::Delete, &opening.aid(), &lists.delete[0].ticket).await);

    let ticket = opening.ticket(&phone).await;
    phone.seen.clear();
    phone.tamper = Some(Box::new(|steps: &[Step], responses: &mut Vec<HexBytes>| {
        for (step, response) in steps.iter().zip(responses) {
            if matches!(step, Step::Transmit { apdu, .. } if apdu.0[1] == GET_STATUS) {
                *response = HexBytes(vec![0x6A, 0x88]);
            }
        }
    }));
    let lied = outcome(phone.operate(Operation::Download, &opening.aid(), &ticket).await);
    phone.tamper = None;
    assert_ne!(lied.result, OutcomeResult::Done);
    assert!(!phone.seen.contains(&PUT_KEY), "{:02X?}", phone.seen);
    let ticket = opening.ticket(&phone).await;
    done(phone.operate(Operation::Download, &opening.aid(), &ticket).await);
    let element = opening.world.people.auditor.element(&HexBytes(phone.se_id.clone())).await.unwrap();
    assert_eq!(element.domains.iter().filter(|aid| **aid == opening.domain.aid).count(), 1);
}

/// A domain that may not load by itself: the issuer loads and installs, the provider personalises, in seven
/// requests; cut before any command it goes on too.
#[tokio::test]
async fn the_issuer_loads_where_the_domain_may_not() {
    let (mode, managing) = (DomainMode::Plain, ManagingDomain::Issuer);
    let opening = Opening::with(HandoverWay::Personalise, mode, managing, PersonalisationWay::BySpTsm).await;
    let mut phone = opening.phone(200).await;
    let ticket = opening.ticket(&phone).await;
    let before = phone.round_trips();
    phone.seen.clear();
    done(phone.operate(Operation::Download, &opening.aid(), &ticket).await);
    assert_eq!(phone.round_trips() - before, 7);
    assert_eq!(phone.login().await.installed[0].state, ApplicationState::Useable);
    let commands = phone.seen.len();
    for cut in 0..commands {
        let mut phone = opening.phone(u8::try_from(cut + 1).unwrap()).await;
        let ticket = opening.ticket(&phone).await;
        phone.seen.clear();
        phone.power_cut_before = Some(cut);
        let broken = phone.operate(Operation::Download, &opening.aid(), &ticket).await;
        assert_ne!(outcome(broken).result, OutcomeResult::Done, "cut before command {cut}");
        phone.restore_power();
        phone.seen.clear();
        let ticket = opening.ticket(&phone).await;
        let end = outcome(phone.operate(Operation::Download, &opening.aid(), &ticket).await);
        assert_eq!(
            end.result,
            OutcomeResult::Done,
            "cut before command {cut} of {commands}: {end:?} {:02X?}",
            phone.seen
        );
    }
}

/// Reports and notices: of one's own applications only, each once, and never what table S.1 does not have.
///
/// req: B-8.5.2.e
#[tokio::test]
async fn an_sp_tsm_tells_of_its_own_and_repeats_itself_in_vain() {
    let opening = Opening::new().await;
    let mut phone = opening.phone(1).await;
    let ticket = opening.ticket(&phone).await;
    done(phone.operate(Operation::Download, &opening.aid(), &ticket).await);
    let peer = peer_client(&opening.world, &opening.institution);
    assert_eq!(peer.whoami().await.unwrap().institution, opening.institution);
    let se_id = HexBytes(phone.se_id.clone());
    let report = |operation: u128, kind| OperationResult {
        operation: OperationId(uuid::Uuid::from_u128(operation)),
        se_id: se_id.clone(),
        aid: opening.aid(),
        kind,
        result: OutcomeResult::Done,
        problem: None,
        observation: None,
        moved_from: None,
        number: None,
    };
    let unknown = peer.result(&report(1, OperationKind::Download)).await.unwrap_err();
    assert_eq!(unknown.code(), Some(ProblemCode::UnknownId), "a download that we never handed over");
    for _ in 0..3 {
        let locked = peer.result(&report(2, OperationKind::Lock)).await.unwrap();
        assert_eq!(locked.state, ApplicationState::Locked);
    }
    assert_eq!(
        peer.result(&report(3, OperationKind::Unlock)).await.unwrap().state,
        ApplicationState::Useable
    );

    // While a conversation holds the card the sender keeps what is not stored: the line is in memory.
    phone.login().await;
    let lists = phone.wallet.lists().await.unwrap();
    let start = Phone::start_request(Operation::Lock, &opening.aid(), &lists.lock[0].ticket);
    let held = phone.wallet.start(&start).await.unwrap();
    let busy = peer.result(&report(6, OperationKind::Lock)).await.unwrap_err();
    assert_eq!(busy.code(), Some(ProblemCode::Busy), "{busy}");
    phone.converse_torn(held, Lost::Command, 0).await;
    let locked = peer.result(&report(6, OperationKind::Lock)).await.unwrap();
    assert_eq!(locked.state, ApplicationState::Locked);
    assert_eq!(
        peer.result(&report(7, OperationKind::Unlock)).await.unwrap().state,
        ApplicationState::Useable
    );

    // The provider has closed the card, whose holder had locked it: the lock protects nothing any more.
    let locked = peer.result(&report(5, OperationKind::Lock)).await.unwrap();
    assert_eq!(locked.state, ApplicationState::Locked);
    let notice = Notice {
        operation: OperationId(uuid::Uuid::from_u128(4)),
        se_id: se_id.clone(),
        aid: opening.aid(),
        end: None,
        number: None,
    };
    for _ in 0..2 {
        assert_eq!(peer.unsubscribe_notice(&notice).await.unwrap().state, ApplicationState::Instantiated);
    }
    let refused = peer.open_notice(&notice).await.unwrap_err();
    assert_eq!(refused.code(), Some(ProblemCode::StateForbids), "it needs no opening");
    assert_eq!(phone.login().await.pending_deletions, [opening.aid()]);

    let others = HexBytes(vec![0xA0; 7]);
    let foreign = StateQuery { se_id: se_id.clone(), aid: others };
    assert_eq!(peer.state(&foreign).await.unwrap_err().code(), Some(ProblemCode::UnknownId));
    let nobody = StateQuery { se_id: HexBytes(vec![1]), aid: opening.aid() };
    assert_eq!(peer.state(&nobody).await.unwrap_err().code(), Some(ProblemCode::UnknownId));
    let impostor = peer_client(&opening.world, "SP00000099");
    assert_eq!(impostor.whoami().await.unwrap_err().code(), Some(ProblemCode::PeerCertificateRequired));
}

/// A provider whose domain cannot prove it hears that its application is not on a card: when the wallet names it, when
/// it said before that it waits for the word, and when the card itself says so.
#[tokio::test]
async fn a_provider_hears_that_its_application_is_not_there() {
    let opening = Opening::new().await;
    let mut phone = opening.phone(1).await;
    let (aid, ticket) = (opening.aid(), opening.ticket(&phone).await);
    let told = || opening.served.provider.told.lock().unwrap().len();
    opening.served.provider.set_mood(Mood::Refusing);
    done(phone.operate(Operation::Synchronise, &aid, "").await);
    assert_eq!(told(), 0, "it does not wait for the word");
    opening.served.provider.set_mood(Mood::Willing);
    done(phone.operate(Operation::Synchronise, &aid, "").await);
    let word = opening.served.provider.told.lock().unwrap()[0].clone();
    let said = (word.kind, word.result, word.aid, word.se_id);
    let se_id = HexBytes(phone.se_id.clone());
    assert_eq!(said, (OperationKind::Synchronise, OutcomeResult::Done, aid.clone(), se_id));

    done(phone.operate(Operation::Download, &aid, &ticket).await);
    done(phone.operate(Operation::Synchronise, &aid, "").await);
    assert_eq!(told(), 1, "it is there");
}

/// Of two reports about a lock the later counts, whichever arrives first; and a lock that is the provider's own,
/// which no registry shows, outlasts the operator's look at the card.
///
/// req: B-8.5.4.b
#[tokio::test]
async fn a_lock_report_that_was_overtaken_changes_nothing() {
    let opening = Opening::new().await;
    let mut phone = opening.phone(1).await;
    let ticket = opening.ticket(&phone).await;
    done(phone.operate(Operation::Download, &opening.aid(), &ticket).await);
    let peer = peer_client(&opening.world, &opening.institution);
    let report = |operation: u128, kind, number| OperationResult {
        operation: OperationId(uuid::Uuid::from_u128(operation)),
        se_id: HexBytes(phone.se_id.clone()),
        aid: opening.aid(),
        kind,
        result: OutcomeResult::Done,
        problem: None,
        observation: None,
        moved_from: None,
        number: Some(number),
    };
    let reports = [
        (report(1, OperationKind::Unlock, 5), ApplicationState::Useable),
        (report(2, OperationKind::Lock, 4), ApplicationState::Useable),
        (report(3, OperationKind::Lock, 8), ApplicationState::Locked),
        (report(4, OperationKind::Unlock, 7), ApplicationState::Locked),
    ];
    for (report, expected) in reports {
        assert_eq!(peer.result(&report).await.unwrap().state, expected, "{report:?}");
    }
    done(phone.operate(Operation::Synchronise, &opening.aid(), "").await);
    let query = StateQuery { se_id: HexBytes(phone.se_id.clone()), aid: opening.aid() };
    assert_eq!(peer.state(&query).await.unwrap().state, ApplicationState::Locked);
}

/// The end of a card's use counts, also when the word of its beginning comes after it: the phone is asked to delete
/// what is left, and nothing that was said before opens the application again.
///
/// req: P-5.8.7.2.k
#[tokio::test]
async fn an_end_that_overtakes_the_beginning_counts() {
    let opening = Opening::new().await;
    let mut phone = opening.phone(1).await;
    let peer = peer_client(&opening.world, &opening.institution);
    let ended = |operation: u128, number| Notice {
        operation: OperationId(uuid::Uuid::from_u128(operation)),
        se_id: HexBytes(phone.se_id.clone()),
        aid: opening.aid(),
        end: Some(CardEnd::Parked),
        number: Some(number),
    };
    let (first, second) = (ended(1, 20), ended(2, 40));
    *opening.served.provider.kept.lock().unwrap() = Some(Vec::new());
    for (end, begun) in [(&first, 12), (&second, 32)] {
        let ticket = opening.ticket(&phone).await;
        done(phone.operate(Operation::Download, &opening.aid(), &ticket).await);
        let report = opening.served.provider.kept.lock().unwrap().as_mut().and_then(Vec::pop).unwrap();
        let late = OperationResult { number: Some(begun), ..report };
        assert_eq!(peer.unsubscribe_notice(end).await.unwrap().state, ApplicationState::Instantiated);
        let opened = Notice { end: None, number: Some(begun + 1), ..end.clone() };
        for _ in 0..2 {
            assert_eq!(peer.result(&late).await.unwrap().state, ApplicationState::Instantiated);
            assert_eq!(peer.open_notice(&opened).await.unwrap().state, ApplicationState::Instantiated);
            assert_eq!(phone.login().await.pending_deletions, [opening.aid()]);
        }
        let lists = phone.wallet.lists().await.unwrap();
        done(phone.operate(Operation::Delete, &opening.aid(), &lists.delete[0].ticket).await);
        for again in [&first, end] {
            let state = peer.unsubscribe_notice(again).await.unwrap().state;
            assert_ne!(state, ApplicationState::Instantiated, "it is gone");
        }
    }
}

/// A provider is served from its approval on, not before.
///
/// req: B-8.1.a, B-8.2.b
#[tokio::test]
async fn no_sp_tsm_is_served_before_its_approval() {
    let world = World::new().await;
    let record = world.people.clerk.add_provider(&world.new_provider("127.0.0.1:9")).await.unwrap();
    assert_eq!(record.institution, None);
    let peer = peer_client(&world, &record.provider.0);
    assert_eq!(peer.whoami().await.unwrap_err().code(), Some(ProblemCode::ProviderNotApproved));
    world.people.auditor.audit_provider(&record.provider, &crate::world::pass()).await.unwrap();
    assert_eq!(peer.whoami().await.unwrap().institution, record.provider.0);
}

/// A migration is a deletion there and a download here, of one subscription; between phones of two numbers it
/// is refused before a command reaches the card.
///
/// req: P-5.5.4.a, P-5.5.4.b, P-5.5.4.c, B-7.6.1.g
#[tokio::test]
async fn a_migration_keeps_its_subscription_between_phones_of_one_number() {
    use tsm_domain::subscription::Subscribed;
    let opening = Opening::new().await;
    let mut old = opening.phone(1).await;
    let ticket = opening.ticket(&old).await;
    done(old.operate(Operation::Download, &opening.aid(), &ticket).await);
    let what = Subscribed::Application(opening.aid().to_aid().unwrap());
    let subscription = async |phone: &Phone| {
        let se = tsm_domain::SeId::new(&phone.se_id).unwrap();
        let all = opening.world.store.subscriptions_of(se).await.unwrap();
        all.into_iter().find(|subscription| subscription.what == what)
    };
    let before = subscription(&old).await.unwrap();

    let peer = peer_client(&opening.world, &opening.institution);
    let (operation, se_id) = (OperationId(uuid::Uuid::from_u128(7)), HexBytes(old.se_id.clone()));
    peer.unsubscribe_notice(&Notice { operation, se_id, aid: opening.aid(), end: None, number: None })
        .await
        .unwrap();
    let lists = old.wallet.lists().await.unwrap();
    done(old.operate(Operation::Delete, &opening.aid(), &lists.delete[0].ticket).await);
    assert!(!subscription(&old).await.unwrap().is_active());
    *opening.served.provider.moved_from.lock().unwrap() = Some(HexBytes(old.se_id.clone()));

    let mut stranger = opening.world.phone(3);
    opening.served.reach(&opening.world, &mut stranger);
    done(stranger.register("13900139000").await);
    let ticket = opening.ticket(&stranger).await;
    stranger.seen.clear();
    let refused = outcome(stranger.operate(Operation::Download, &opening.aid(), &ticket).await);
    assert_eq!(refused.problem.unwrap().code, ProblemCode::NotAllowed);
    assert!(stranger.seen.is_empty(), "no command reached the card");

    let mut new = opening.phone(2).await;
    let ticket = opening.ticket(&new).await;
    done(new.operate(Operation::Download, &opening.aid(), &ticket).await);
    let after = subscription(&new).await.unwrap();
    assert_eq!((after.id, after.number.clone(), after.is_active()), (before.id, before.number, true));
    assert!(subscription(&old).await.is_none(), "one subscription, on one phone");
}

/// A phone that was left without its application being deleted is asked to delete it at its next login,
/// although the subscription has gone with the card.
///
/// req: B-7.6.1.g
#[tokio::test]
async fn what_a_migration_left_behind_is_deleted_at_the_next_login() {
    let opening = Opening::new().await;
    let mut old = opening.phone(1).await;
    let ticket = opening.ticket(&old).await;
    done(old.operate(Operation::Download, &opening.aid(), &ticket).await);
    assert_eq!(old.login().await.pending_deletions, []);
    // The notice that the card has left this phone never came.
    *opening.served.provider.moved_from.lock().unwrap() = Some(HexBytes(old.se_id.clone()));

    let mut new = opening.phone(2).await;
    let ticket = opening.ticket(&new).await;
    done(new.operate(Operation::Download, &opening.aid(), &ticket).await);
    assert_eq!(new.login().await.pending_deletions, []);
    assert_eq!(old.login().await.pending_deletions, [opening.aid()]);
    let lists = old.wallet.lists().await.unwrap();
    done(old.operate(Operation::Delete, &opening.aid(), &lists.delete[0].ticket).await);
    assert_eq!(old.login().await.pending_deletions, []);
}
