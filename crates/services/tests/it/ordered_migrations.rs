//! Migrations that are ordered where the phone is not: at customer service, in a hall, and by the rider from
//! another phone of his.

use tsm_api::HexBytes;
use tsm_api::client::SeTsmStaff;
use tsm_api::endpoint::StaffRole;
use tsm_api::ids::OperationId;
use tsm_api::problem::ProblemCode;
use tsm_api::se_tsm::migrations::{
    MigrationChannel, MigrationDesk, MigrationPart, MigrationStage, NewMigration, OrderedMigration,
    OwnMigration, Withdrawal,
};
use tsm_api::se_tsm::operator::{
    AuditQuery, Listing, LossReport, ManagingDomain, NewStaff, Publication, StaffLogin,
};
use tsm_api::se_tsm::peer::{CardEnd, Notice};
use tsm_api::se_tsm::wallet::{CatalogueQuery, Operation};
use tsm_api::sp_tsm::peer::LossStanding;
use tsm_iso7816::Aid;

use crate::opening::Opening;
use crate::phone::Phone;
use crate::provider::peer_client;
use crate::se_tsm::done;
use crate::world::{Desk, People, World, definition, log_in_first, upload_of};

const STRANGER: &str = "13900139000";

async fn hire(world: &World, account: &str, role: StaffRole) -> SeTsmStaff {
    let first = StaffLogin { account: account.into(), password: "first password".into() };
    let roles = vec![role];
    let new = NewStaff { account: account.into(), first_password: first.password.clone(), roles };
    world.people.admin.add_staff(&new).await.unwrap();
    log_in_first(&world.net.wallet(&world.server), first, Desk::Operator).await
}

fn to(phone: &Phone, aid: &HexBytes, desk: MigrationDesk) -> NewMigration {
    let to = HexBytes(phone.se_id.clone());
    NewMigration { request: Phone::request_id(), aid: aid.clone(), to, desk, clerk: None }
}

fn se(phone: &Phone) -> HexBytes {
    HexBytes(phone.se_id.clone())
}

async fn download(opening: &Opening, phone: &mut Phone, aid: &HexBytes) {
    let page = phone.wallet.applications(&CatalogueQuery::default()).await.unwrap();
    let entry = page.entries.into_iter().find(|entry| entry.aid == *aid).unwrap();
    let ticket = entry.ticket.unwrap_or_else(|| panic!("{:?}", entry.condition));
    opening.served.reach(&opening.world, phone);
    done(phone.operate(Operation::Download, aid, &ticket).await);
}

/// What the login tells a phone to do.
async fn due(phone: &mut Phone) -> Vec<(HexBytes, MigrationPart)> {
    let due = phone.login().await.migrations;
    due.into_iter().map(|due| (due.aid, due.part)).collect()
}

/// The provider closes the application on a phone, as its SP-TSM does when the card is parked.
async fn leave(opening: &Opening, phone: &mut Phone, aid: &HexBytes) {
    let peer = peer_client(&opening.world, opening.institution());
    let notice = Notice {
        operation: OperationId(Phone::request_id().0),
        se_id: se(phone),
        aid: aid.clone(),
        end: None,
        number: None,
    };
    for _ in 0..2 {
        peer.unsubscribe_notice(&notice).await.unwrap();
    }
    let lists = phone.wallet.lists().await.unwrap();
    let listed = lists.delete.iter().find(|listed| listed.aid == *aid).unwrap();
    done(phone.operate(Operation::Delete, aid, &listed.ticket).await);
}

async fn stage(staff: &SeTsmStaff, phone: &Phone, ordered: &OrderedMigration) -> MigrationStage {
    let known = staff.migrations(&se(phone)).await.unwrap().migrations;
    known.into_iter().find(|known| known.migration == ordered.migration).unwrap().stage
}

/// Customer service and a hall order it with their own roles only, and see how far it has come; both phones are
/// told in their turn; the whole is in the audit trail.
///
/// req: P-5.5.4.d
#[tokio::test]
async fn customer_service_and_a_hall_order_a_migration() {
    let opening = Opening::new().await;
    let service = hire(&opening.world, "service", StaffRole::CustomerService).await;
    let hall = hire(&opening.world, "hall", StaffRole::Hall).await;
    let aid = opening.aid();
    for (number, staff, desk, channel) in [
        (1, &service, MigrationDesk::CustomerService, MigrationChannel::CustomerService),
        (3, &hall, MigrationDesk::Hall, MigrationChannel::Hall),
    ] {
        *opening.served.provider.moved_from.lock().unwrap() = None;
        let mut old = opening.phone(number).await;
        download(&opening, &mut old, &aid).await;
        let mut new = opening.phone(number + 1).await;
        let order = to(&new, &aid, desk);
        let ordered = staff.order_migration(&se(&old), &order).await.unwrap();
        assert_eq!((ordered.channel, ordered.stage), (channel, MigrationStage::Ordered));
        assert_eq!(staff.order_migration(&se(&old), &order).await.unwrap(), ordered, "asked again");
        assert_eq!(due(&mut new).await, [], "nothing has left yet");
        assert_eq!(due(&mut old).await, [(aid.clone(), MigrationPart::Out)]);
        leave(&opening, &mut old, &aid).await;
        assert_eq!(stage(staff, &old, &ordered).await, MigrationStage::Left);
        assert_eq!(due(&mut old).await, []);
        assert_eq!(due(&mut new).await, [(aid.clone(), MigrationPart::In)]);
        *opening.served.provider.moved_from.lock().unwrap() = Some(se(&old));
        download(&opening, &mut new, &aid).await;
        assert_eq!(stage(staff, &new, &ordered).await, MigrationStage::Arrived);
        assert_eq!(due(&mut new).await, []);
        let late = staff.withdraw_migration(ordered.migration, &reason()).await.unwrap_err();
        assert_eq!(late.code(), Some(ProblemCode::StateForbids), "it has arrived");
    }
    let query = AuditQuery { account: Some("hall".into()), ..AuditQuery::default() };
    let trail = opening.world.people.auditor.audit_trail(&query).await.unwrap().entries;
    assert!(trail.iter().any(|entry| entry.action == "migration-ordered"));
}

/// A card that is returned while a migration of it is ordered goes nowhere any more: the order ends, whether the
/// card was still on its phone, parked, or deleted from its phone long since.
///
/// req: P-5.5.4.d
#[tokio::test]
async fn a_returned_card_ends_the_order_of_its_migration() {
    let opening = Opening::new().await;
    let hall = hire(&opening.world, "hall", StaffRole::Hall).await;
    let aid = opening.aid();
    let peer = peer_client(&opening.world, opening.institution());
    for (number, was_parked) in [(1, false), (3, true)] {
        *opening.served.provider.moved_from.lock().unwrap() = None;
        let mut old = opening.phone(number).await;
        download(&opening, &mut old, &aid).await;
        let mut new = opening.phone(number + 1).await;
        let ordered = hall.order_migration(&se(&old), &to(&new, &aid, MigrationDesk::Hall)).await.unwrap();
        if was_parked {
            leave(&opening, &mut old, &aid).await;
            assert_eq!(stage(&hall, &old, &ordered).await, MigrationStage::Left);
        }
        let operation = OperationId(Phone::request_id().0);
        let notice = Notice {
            operation,
            se_id: se(&old),
            aid: aid.clone(),
            end: Some(CardEnd::Returned),
            number: None,
        };
        for _ in 0..2 {
            peer.unsubscribe_notice(&notice).await.unwrap();
        }
        assert_eq!(stage(&hall, &old, &ordered).await, MigrationStage::Withdrawn);
        assert_eq!((due(&mut old).await, due(&mut new).await), (vec![], vec![]));
    }
}

fn reason() -> Withdrawal {
    Withdrawal { reason: "the rider changed his mind".into(), clerk: None }
}

/// The logged-in rider orders it for another phone of his, in either direction, and nobody else's.
///
/// req: P-5.5.4.d
#[tokio::test]
async fn the_rider_orders_a_migration_by_self_service() {
    let opening = Opening::new().await;
    let aid = opening.aid();
    let mut old = opening.phone(1).await;
    download(&opening, &mut old, &aid).await;
    let new = opening.phone(2).await;
    let order = |from: Option<&Phone>, to: Option<&Phone>| OwnMigration {
        request: Phone::request_id(),
        aid: aid.clone(),
        from: from.map(se),
        to: to.map(se),
    };
    let fetched = new.wallet.order_migration(&order(Some(&old), None)).await.unwrap();
    assert_eq!(fetched.channel, MigrationChannel::SelfService);
    assert_eq!(due(&mut old).await, [(aid.clone(), MigrationPart::Out)]);
    let busy = old.wallet.order_migration(&order(None, Some(&new))).await.unwrap_err();
    assert_eq!(busy.code(), Some(ProblemCode::StateForbids), "it is on its way already");
    let withdrawn = old.wallet.withdraw_migration(fetched.migration).await.unwrap();
    assert_eq!(withdrawn.stage, MigrationStage::Withdrawn);
    assert_eq!(due(&mut old).await, []);
    old.wallet.order_migration(&order(None, Some(&new))).await.unwrap();
    assert_eq!(new.wallet.migrations().await.unwrap().migrations.len(), 2);

    let mut stranger = opening.world.phone(3);
    done(stranger.register(STRANGER).await);
    for wrong in [order(Some(&old), None), order(None, Some(&new)), order(Some(&old), Some(&new))] {
        let refused = stranger.wallet.order_migration(&wrong).await.unwrap_err();
        assert_eq!(refused.code(), Some(ProblemCode::UnknownId), "another's phone is nobody's business");
    }
    let refused = stranger.wallet.withdraw_migration(fetched.migration).await.unwrap_err();
    assert_eq!(refused.code(), Some(ProblemCode::UnknownId));
    let refused = old.wallet.order_migration(&order(None, Some(&stranger))).await.unwrap_err();
    assert_eq!(refused.code(), Some(ProblemCode::UnknownId), "nor is a card sent to another rider");
}

/// What no desk may order, and who may not order at all.
///
/// req: P-5.5.4.b
#[tokio::test]
async fn a_desk_orders_between_phones_of_one_number_only() {
    let opening = Opening::new().await;
    let hall = hire(&opening.world, "hall", StaffRole::Hall).await;
    let aid = opening.aid();
    let mut old = opening.phone(1).await;
    download(&opening, &mut old, &aid).await;
    let new = opening.phone(2).await;
    let mut stranger = opening.world.phone(3);
    done(stranger.register(STRANGER).await);
    let unregistered = opening.world.phone(4);
    let asked = async |staff: &SeTsmStaff, from: &Phone, to_phone: &Phone, desk| {
        staff
            .order_migration(&se(from), &to(to_phone, &aid, desk))
            .await
            .map_err(|error| error.code().unwrap())
    };
    let desk = MigrationDesk::Hall;
    for (from, to, expected) in [
        (&old, &stranger, ProblemCode::NotAllowed),
        (&old, &unregistered, ProblemCode::UnknownId),
        (&unregistered, &new, ProblemCode::UnknownId),
        (&new, &old, ProblemCode::NotInstalled),
        (&old, &old, ProblemCode::ValueRefused),
    ] {
        assert_eq!(asked(&hall, from, to, desk).await, Err(expected));
    }
    let People { admin, clerk, auditor } = &opening.world.people;
    for (staff, desk) in [
        (admin, MigrationDesk::Hall),
        (clerk, MigrationDesk::Hall),
        (auditor, MigrationDesk::Hall),
        (&hall, MigrationDesk::CustomerService),
    ] {
        assert_eq!(asked(staff, &old, &new, desk).await, Err(ProblemCode::NotAllowed), "{desk:?}");
    }
    let nothing = hall.migrations(&se(&old)).await.unwrap().migrations;
    assert_eq!(nothing, [], "what was refused left nothing behind");
    let loss = LossReport { listing: Listing::On, change: 1, reason: "stolen".into() };
    hall.report_loss(&se(&old), &loss).await.unwrap();
    assert_eq!(asked(&hall, &old, &new, desk).await, Err(ProblemCode::OnLossList));
    let losses = &opening.served.provider.losses;
    for _ in 0..20_000 {
        if !losses.lock().unwrap().is_empty() {
            break;
        }
        hall.element(&se(&old)).await.unwrap();
    }
    let told = losses.lock().unwrap().first().cloned().unwrap();
    let expected = (se(&old), LossStanding::Lost, 1);
    assert_eq!((told.se_id, told.standing, told.change), expected, "the issuer learns of the loss");
    // The same change again is one change; one that was overtaken is refused, so that it cannot come late.
    assert_eq!(hall.report_loss(&se(&old), &loss).await.unwrap().loss_changes, 1);
    let off = LossReport { listing: Listing::Off, change: 2, reason: "found".into() };
    assert_eq!(hall.report_loss(&se(&old), &off).await.unwrap().loss, Listing::Off);
    let late = hall.report_loss(&se(&old), &loss).await.unwrap_err();
    assert_eq!(late.code(), Some(ProblemCode::StateForbids));
    assert_eq!(hall.element(&se(&old)).await.unwrap().loss, Listing::Off);
    for _ in 0..20_000 {
        if losses.lock().unwrap().len() > 1 {
            break;
        }
        hall.element(&se(&old)).await.unwrap();
    }
    let told = losses.lock().unwrap().last().cloned().unwrap();
    assert_eq!((told.standing, told.change), (LossStanding::Found, 2), "and of its end, with a later number");
}

/// Two applications are two orders: one is withdrawn while the other arrives, and is ordered again.
///
/// req: P-5.5.4.e
#[tokio::test]
async fn several_applications_move_by_several_orders() {
    let opening = Opening::new().await;
    let service = hire(&opening.world, "service", StaffRole::CustomerService).await;
    let person = opening.world.operator_desk().await;
    let package = Aid::new(&[0xF0, 1, 2, 3, 4, 5, 9]).unwrap();
    let module = Aid::new(&[0xF0, 1, 2, 3, 4, 5, 9, 1]).unwrap();
    let other = opening
        .world
        .publish_package(
            &person,
            &upload_of("Library", package, module),
            &definition(None, ManagingDomain::Issuer),
            &Publication { recommendation: Some(2), ..Publication::default() },
        )
        .await;
    let (first, second) = (opening.aid(), other.aid.unwrap());
    let mut old = opening.phone(1).await;
    download(&opening, &mut old, &first).await;
    download(&opening, &mut old, &second).await;
    let mut new = opening.phone(2).await;
    let desk = MigrationDesk::CustomerService;
    let one = service.order_migration(&se(&old), &to(&new, &first, desk)).await.unwrap();
    let two = service.order_migration(&se(&old), &to(&new, &second, desk)).await.unwrap();
    assert_ne!(one.migration, two.migration);
    let both = [(first.clone(), MigrationPart::Out), (second.clone(), MigrationPart::Out)];
    assert_eq!(due(&mut old).await, both, "each is due by itself");
    leave(&opening, &mut old, &first).await;
    assert_eq!(due(&mut old).await, both[1..], "the one that broke off before it began is due again");
    assert_eq!(due(&mut new).await, [(first.clone(), MigrationPart::In)]);
    service.withdraw_migration(two.migration, &reason()).await.unwrap();
    *opening.served.provider.moved_from.lock().unwrap() = Some(se(&old));
    download(&opening, &mut new, &first).await;
    assert_eq!(stage(&service, &new, &one).await, MigrationStage::Arrived);
    assert_eq!(stage(&service, &new, &two).await, MigrationStage::Withdrawn);
    let again = service.order_migration(&se(&old), &to(&new, &second, desk)).await.unwrap();
    assert_ne!(again.migration, two.migration);
    assert_eq!(due(&mut old).await, both[1..]);
}
