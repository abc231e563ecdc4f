//! Opening an application in a provider's own domain: creation, the provider's keys, hand-over, resume.

use tsm_api::HexBytes;
use tsm_api::conversation::{ApplicationState, ConversationReply, OutcomeResult};
use tsm_api::problem::ProblemCode;
use tsm_api::se_tsm::operator::{ApplicationRecord, DomainMode, DomainRecord, ManagingDomain};
use tsm_api::se_tsm::peer::StateQuery;
use tsm_api::se_tsm::wallet::{CatalogueQuery, Operation};

use crate::phone::Phone;
use crate::provider::{Mood, Provider, Served, peer_client};
use crate::se_tsm::{done, outcome};
use crate::world::{World, definition};

const NUMBER: &str = "13800138000";

struct Opening {
    world: World,
    served: Served,
    application: ApplicationRecord,
    domain: DomainRecord,
    institution: String,
}

impl Opening {
    async fn new() -> Self {
        let world = World::new().await;
        let served = Provider::serve(&world).await;
        let (record, person) = world.provider(&served.address()).await;
        let institution = record.institution.clone().unwrap();
        served.connect(&world, &institution);
        let domain = world.domain(&record, DomainMode::AuthorizedManagement).await;
        let application = world.publish(&person, definition(Some(&domain), ManagingDomain::Own)).await;
        Self { world, served, application, domain, institution }
    }

    async fn phone(&self, number: u8) -> Phone {
        let mut phone = self.world.phone(number);
        self.served.reach(&self.world, &mut phone);
        done(phone.register(NUMBER).await);
        phone
    }

    fn aid(&self) -> HexBytes {
        self.application.aid.clone().unwrap()
    }

    async fn ticket(&self, phone: &Phone) -> String {
        let page = phone.wallet.applications(&CatalogueQuery::default()).await.unwrap();
        page.entries[0].ticket.clone().unwrap_or_else(|| panic!("{:?}", page.entries[0].condition))
    }
}

/// A domain that may load by itself: six requests, the last to the SP-TSM.
///
/// req: B-8.5.2.a, B-8.5.2.b, B-8.5.2.d, P-5.8.3.1.1.d, P-5.8.3.2.1.c
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

    // Deletion asks the provider, and the domain goes with its last application.
    let lists = phone.wallet.lists().await.unwrap();
    let before = phone.round_trips();
    done(phone.operate(Operation::Delete, &opening.aid(), &lists.delete[0].ticket).await);
    assert_eq!(phone.round_trips() - before, 3);
    let element = opening.world.people.auditor.element(&HexBytes(phone.se_id.clone())).await.unwrap();
    assert!(!element.domains.contains(&opening.domain.aid));
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
