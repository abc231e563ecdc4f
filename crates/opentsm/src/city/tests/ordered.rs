//! A migration that the rider orders by self-service: each of his phones is told at its login, and does its part
//! whatever breaks on the way. And the issuer's desk of the city at work.

use tsm_api::ids::RequestId;
use tsm_api::se_tsm::migrations::{MigrationPart, MigrationStage, NewMigration, Withdrawal};
use tsm_api::sp_tsm::desk::{CardMatter, DeskMatterKind};
use tsm_wallet::service::MigrationStep;

use super::super::centre::{self, Centre};
use super::super::{clerks, roles};
use super::*;

fn aid() -> HexBytes {
    HexBytes::from(transit())
}

fn se_id_of(phone: &Phone) -> HexBytes {
    phone.wallet.record().registration.as_ref().unwrap().se_id.clone()
}

/// Logs in until the platform tells the phone to do this part: its notice is on its way.
async fn told(phone: &mut Phone, part: MigrationPart) {
    for _ in 0..2_000 {
        phone.wallet.login(&mut Quiet).await.unwrap();
        if phone.wallet.due_migrations().iter().any(|due| due.part == part) {
            return;
        }
    }
    panic!("the phone was never told");
}

/// req: P-5.5.4.d, P-5.5.4.e, P-5.5.4.c
#[tokio::test]
async fn a_migration_ordered_elsewhere_goes_on_by_itself() {
    let town = Town::new("ordered").await;
    let element = town.element(70);
    let mut old = town.phone("phone-70", &element, &Arc::default()).await;
    register(&mut old, 70).await.unwrap();
    old.wallet.login(&mut Quiet).await.unwrap();
    let card = offer(&old, "Harbour Transit Card").await;
    old.wallet.open_card(&card, &mut Quiet).await.unwrap();
    let (order, payment) = old.wallet.order_top_up(&card.aid, 1_000).await.unwrap();
    let paid = old.wallet.pay(&card.aid, order, payment).await.unwrap();
    old.wallet.top_up(&paid, &mut Quiet).await.unwrap();
    let mut new = town.new_phone(71).await;
    register(&mut new, 70).await.unwrap();
    new.wallet.login(&mut Quiet).await.unwrap();

    let ordered = new.wallet.order_migration(&aid(), MigrationPart::In, &se_id_of(&old)).await.unwrap();
    assert_eq!(ordered.stage, MigrationStage::Ordered);
    assert_eq!(new.wallet.carry_migrations(&mut Quiet).await, Ok(Vec::new()), "nothing has left yet");
    drop(old);
    // The power goes while the old phone parks the card; it goes on at its next login.
    let battery = Arc::<Battery>::default();
    let mut old = town.phone("phone-70", &element, &battery).await;
    told(&mut old, MigrationPart::Out).await;
    battery.fail_after(6);
    old.wallet.carry_migrations(&mut Quiet).await.unwrap_err();
    battery.restore();
    element.lock().unwrap().power_on().unwrap();
    let mut old = town.phone("phone-70", &element, &Arc::default()).await;
    told(&mut old, MigrationPart::Out).await;
    assert_eq!(old.wallet.carry_migrations(&mut Quiet).await, Ok(vec![MigrationStep::Parked(aid())]));
    told(&mut new, MigrationPart::In).await;
    assert_eq!(new.wallet.carry_migrations(&mut Quiet).await, Ok(vec![MigrationStep::Arrived(aid())]));
    assert_eq!(new.wallet.view_card(&transit()).await.unwrap().balance_fen, 1_000);
    let known = new.wallet.ordered_migrations().await.unwrap();
    assert_eq!(known.iter().map(|known| known.stage).collect::<Vec<_>>(), [MigrationStage::Arrived]);
    old.wallet.login(&mut Quiet).await.unwrap();
    assert_eq!(old.wallet.delete_closed(&mut Quiet).await, Ok(vec![aid()]), "one copy, on one phone");

    // The issuer's desk of the same city: its certificate is not the issuer's, and its people have names.
    let plan = &town.city.plan;
    let desk = async |name: &str| {
        let person = clerks::log_in(clerks::At::IssuersDesk, plan, name, None).await.unwrap();
        tsm_api::client::SpTsmDesk::new(person)
    };
    let number = new.wallet.view_card(&transit()).await.unwrap().number_ending;
    let card = Centre::of(plan).unwrap().card(&number).await.unwrap();
    let request = RequestId(roles::runtime().uuid());
    let matter = CardMatter { request, card: card.clone(), reason: "left on a bus".to_owned() };
    let number = new.wallet.report_lost(&aid(), None).await.unwrap();
    let lost = desk("service-1").await.report_lost(&matter).await.unwrap();
    assert_eq!((lost.matter, lost.card_number), (DeskMatterKind::Lost, number), "the rider was first");
    assert!(desk("service-1").await.allow_unlock(&matter).await.is_err(), "that takes a hall");
    desk("hall-1").await.allow_unlock(&matter).await.unwrap();
    // The operator's own people order it back, and withdraw that.
    let operator = super::super::operator(plan).unwrap();
    let hall = tsm_api::StaffRole::Hall;
    let staff = super::super::desk::at_desk(&operator, hall).await.unwrap().unwrap();
    let back = NewMigration {
        request,
        aid: aid(),
        to: se_id_of(&old),
        desk: tsm_api::se_tsm::migrations::MigrationDesk::Hall,
        clerk: Some("hall-2".to_owned()),
    };
    let ordered = staff.order_migration(&se_id_of(&new), &back).await.unwrap();
    assert_eq!(ordered.stage, MigrationStage::Ordered);
    let reason = Withdrawal { reason: "he found his phone".to_owned(), clerk: None };
    let ended = staff.withdraw_migration(ordered.migration, &reason).await.unwrap();
    assert_eq!(ended.stage, MigrationStage::Withdrawn);
    let auditor = tsm_api::StaffRole::Auditor;
    assert!(super::super::desk::at_desk(&operator, auditor).await.unwrap().is_none());
    let tools = centre::issuer(plan).unwrap();
    assert!(tsm_api::client::SpTsmDesk::new(tools.client).report_lost(&matter).await.is_err());
}
