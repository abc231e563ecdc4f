//! A lost phone that is found: taking it off the loss list is the hall's word, and the next login unlocks what the
//! loss had locked, cut anywhere.

use tsm_api::HexBytes;
use tsm_api::conversation::{ApplicationState, ConversationReply, OutcomeDetail, OutcomeResult};
use tsm_api::se_tsm::operator::{Listing, LossReport, ManagingDomain};
use tsm_api::se_tsm::wallet::{CatalogueQuery, LoginReply, Operation, SessionRights};
use tsm_domain::SeId;
use tsm_storage::se_tsm::SeTsmStore as _;

use crate::phone::{Lost, Phone};
use crate::se_tsm::{done, outcome};
use crate::world::{World, definition};

const SET_STATUS: u8 = 0xF0;

/// A city with one application.
struct Place {
    world: World,
    aid: HexBytes,
}

impl Place {
    async fn new() -> Self {
        let world = World::new().await;
        let person = world.operator_desk().await;
        let record = world.publish(&person, definition(None, ManagingDomain::Issuer)).await;
        Self { world, aid: record.aid.unwrap() }
    }

    /// A registered phone with the application on it.
    async fn phone(&self, number: u8) -> Phone {
        let mut phone = self.world.phone(number);
        done(phone.register(&format!("138001380{number:02}")).await);
        let page = phone.wallet.applications(&CatalogueQuery::default()).await.unwrap();
        let ticket = page.entries[0].ticket.clone().unwrap();
        done(phone.operate(Operation::Download, &self.aid, &ticket).await);
        phone
    }

    async fn list(&self, phone: &Phone, listing: Listing, change: u64) {
        let report = LossReport { listing, change, reason: "said at the counter".into() };
        self.world.people.auditor.report_loss(&HexBytes(phone.se_id.clone()), &report).await.unwrap();
    }

    /// A phone that was lost, whose next contact has locked it, and that is found.
    async fn found(&self, number: u8) -> Phone {
        let mut phone = self.phone(number).await;
        self.list(&phone, Listing::On, 1).await;
        done(first(&mut phone).await.unwrap().1);
        assert_eq!(self.state(&phone).await, ApplicationState::Locked);
        self.list(&phone, Listing::Off, 2).await;
        phone
    }

    async fn state(&self, phone: &Phone) -> ApplicationState {
        let element = self.world.people.auditor.element(&HexBytes(phone.se_id.clone())).await.unwrap();
        element.applications[0].state
    }

    /// Nothing is left to do, and nothing is open.
    async fn is_settled(&self, phone: &mut Phone) {
        assert_eq!(self.state(phone).await, ApplicationState::Useable);
        assert!(phone.login().await.first.is_none());
        let se = SeId::new(&phone.se_id).unwrap();
        let open = self.world.store.open_intentions(se).await.unwrap();
        assert!(open.is_empty(), "{open:?}");
    }
}

/// A login, and what its first work came to.
async fn first(phone: &mut Phone) -> Option<(LoginReply, ConversationReply)> {
    let mut login = phone.login().await;
    let work = login.first.take()?;
    let ended = phone.converse(*work).await;
    Some((login, ended))
}

/// Until then neither the rider nor the issuer could reach what was locked.
#[tokio::test]
async fn a_phone_that_is_found_is_unlocked_at_its_next_login() {
    let place = Place::new().await;
    let mut phone = place.found(1).await;
    let (login, ended) = first(&mut phone).await.unwrap();
    assert_eq!(login.rights, SessionRights::Full);
    let unlocked = OutcomeDetail::LockChanged { aid: place.aid.clone(), state: ApplicationState::Useable };
    assert_eq!(done(ended), unlocked);
    place.is_settled(&mut phone).await;
}

/// What the user had locked is the user's to unlock, however often the phone is lost and found.
#[tokio::test]
async fn a_lock_of_the_users_own_stays() {
    let place = Place::new().await;
    let mut phone = place.phone(1).await;
    phone.login().await;
    let lists = phone.wallet.lists().await.unwrap();
    done(phone.operate(Operation::Lock, &place.aid, &lists.lock[0].ticket).await);
    place.list(&phone, Listing::On, 1).await;
    assert!(phone.login().await.first.is_none(), "it is locked already");
    place.list(&phone, Listing::Off, 2).await;
    assert!(phone.login().await.first.is_none());
    assert_eq!(place.state(&phone).await, ApplicationState::Locked);
    let lists = phone.wallet.lists().await.unwrap();
    done(phone.operate(Operation::Unlock, &place.aid, &lists.unlock[0].ticket).await);
    place.is_settled(&mut phone).await;
}

/// The card is asked first: what an earlier login had unlocked is not unlocked again.
#[tokio::test]
async fn an_unlocking_cut_at_any_command_is_settled_at_the_next_login() {
    let place = Place::new().await;
    let (mut cuts, mut phones) = (0, 0_u8);
    for lost in [Lost::Command, Lost::Answer] {
        for command in 0.. {
            phones += 1;
            let mut phone = place.found(phones).await;
            let work = *phone.login().await.first.unwrap();
            let broken = outcome(phone.converse_torn(work, lost, command).await);
            let (reached, acted) = (phone.seen.len(), phone.seen.contains(&SET_STATUS));
            if broken.result == OutcomeResult::Done {
                assert!(reached <= command, "the cut was never reached");
                break;
            }
            cuts += 1;
            phone.seen.clear();
            let (_, ended) = first(&mut phone).await.unwrap();
            done(ended);
            assert_eq!(phone.seen.contains(&SET_STATUS), !acted, "{lost:?} {command}");
            place.is_settled(&mut phone).await;
        }
    }
    println!("an unlocking: {cuts} cuts between phone and card");
    assert!(cuts >= 20, "only {cuts} cuts");
}
