//! A card on a hall's own reader: a lock is lifted with the same visit, and a card whose domain has no R-MAC
//! migrates, proved by MAC1 before and MAC3 after.

use tsm_api::HexBytes;
use tsm_api::clearing::{AccountState, ConsumptionVerdict as Verdict};
use tsm_api::conversation::{ConversationReply, Outcome, OutcomeDetail, OutcomeResult, TurnRequest};
use tsm_api::ids::OperationId;
use tsm_api::problem::ProblemCode;
use tsm_api::se_tsm::peer::{OperationKind, OperationResult};
use tsm_api::sp_tsm::desk::{CardMatter, CasesQuery, DeskState, HallSession, HallWork};
use tsm_api::sp_tsm::migration::MigrationState;
use tsm_api::sp_tsm::peer::{PreOperationReply, PreOperationRequest};
use tsm_api::sp_tsm::wallet::Operation;
use tsm_epurse::image::ImagePart;
use tsm_globalplatform::security_level::SecurityLevel;
use tsm_storage::memory::Crash;
use tsm_storage::shared::{IncidentFilter, Incidents as _};

use crate::issuer::centre::report;
use crate::issuer::city::{City, PURSE};
use crate::issuer::migrating_in::{BALANCE, live, state, used};
use crate::issuer::phone::{Lost, Phone, installed, request_id, uuid};

/// SELECT and INITIALIZE FOR LOAD, SELECT and INITIALIZE FOR UNLOAD, DEBIT FOR UNLOAD come before the reading.
const DEBIT: usize = 5;

/// A city whose cards cannot prove their content.
async fn city() -> City {
    let mut city = City::new().await;
    city.level = SecurityLevel::C_DECRYPTION_C_MAC;
    city.restart_sp_tsm().await;
    city
}

/// The card lies on the hall's reader.
async fn visit(
    city: &City,
    phone: &mut Phone,
    (card, clerk, work): (&HexBytes, &str, HallWork),
) -> Result<Outcome, ProblemCode> {
    let desk = city.at_desk().by(clerk);
    let reason = "the rider is here".to_owned();
    let matter = CardMatter { request: request_id(), card: card.clone(), reason };
    let code = |error: tsm_api::client::ClientError| error.code().unwrap_or(ProblemCode::OutcomeUnknown);
    phone.reset();
    let mut reply = desk.hall_session(&HallSession { matter, work }).await.map_err(code)?;
    loop {
        let (conversation, request) = match reply {
            ConversationReply::Outcome { outcome, .. } => return Ok(outcome),
            ConversationReply::Steps { conversation, turn, steps, .. } => {
                (conversation, phone.carry(turn, &steps, None))
            }
            ConversationReply::Queued { conversation, turn, .. } => {
                (conversation, TurnRequest { turn, ..TurnRequest::default() })
            }
            other => panic!("{other:?}"),
        };
        reply = desk.turn(conversation, &request).await.map_err(code)?;
    }
}

async fn with_card(city: &City, number: u8) -> (Phone, HexBytes) {
    let mut phone = used(city, number).await;
    let card = city.card_number(&phone.card_number().await);
    (phone.lost, phone.sent) = (Lost::Nothing, 0);
    phone.reset();
    (phone, card)
}

/// Parks a card in a hall.
async fn migrate_out(city: &City, phone: &mut Phone, card: &HexBytes) {
    let outcome = visit(city, phone, (card, "hall-1", HallWork::MigrateOut)).await.unwrap();
    assert_eq!((outcome.result, outcome.detail), (OutcomeResult::Done, parked()));
}

fn parked() -> OutcomeDetail {
    OutcomeDetail::MigratedOut { balance_fen: BALANCE }
}

/// Parked between two visits, the card is the same on its new phone: its balance, its records and its counters,
/// but for the debit that the hall made.
///
/// req: P-5.5.4.d
#[tokio::test]
async fn a_card_without_r_mac_migrates_in_a_hall() {
    let city = city().await;
    let (mut old, card) = with_card(&city, 1).await;
    let before = old.image(&city).await;
    old.reset();
    let alone = old.operate(Operation::MigrateOut, None).await;
    assert_eq!(alone.problem.unwrap().code, ProblemCode::HallOnly);
    let refused = visit(&city, &mut old, (&card, "service-1", HallWork::MigrateOut)).await;
    assert_eq!(refused, Err(ProblemCode::NotAllowed), "customer service has no card before it");
    migrate_out(&city, &mut old, &card).await;
    assert_eq!(old.balance().await, 0, "the old purse is empty");
    let again = visit(&city, &mut old, (&card, "hall-1", HallWork::MigrateOut)).await.unwrap();
    assert_eq!(again.detail, parked(), "its outcome is told again");
    let books = city.settled(0).await;
    assert_eq!(books.parked_fen, u64::from(BALANCE));

    let mut new = Phone::new(&city, 2);
    new.order_migration().await;
    let arrived = new.open(&city).await.unwrap();
    assert!(installed(&arrived), "{arrived:?}");
    live(&city, &card).await;
    let after = new.image(&city).await;
    let parts = before.differences(&after);
    assert!(
        parts.iter().all(|part| matches!(part, ImagePart::OnlineCounter | ImagePart::Log)),
        "the debit is a transaction, and all else is the same: {parts:?}"
    );
    assert_eq!(after.state().online().value(), before.state().online().value() + 1);
    new.reset();
    assert_eq!(new.top_up(&city, 700).await.result, OutcomeResult::Done);
    assert_eq!(new.balance().await, BALANCE + 700);
    assert_eq!(city.centre_store.incidents(IncidentFilter::Open, 9).await.unwrap(), []);
}

/// Such a card is used at a gate between its writing and its MAC1, and has arrived.
#[tokio::test]
async fn a_card_without_r_mac_is_used_while_it_arrives() {
    let city = city().await;
    let (mut old, card) = with_card(&city, 1).await;
    migrate_out(&city, &mut old, &card).await;
    let mut new = Phone::new(&city, 2);
    new.order_migration().await;
    let (arrived, tap) = new.open_with_tap(&city, 300, 3).await;
    assert!(installed(&arrived), "{arrived:?}");
    live(&city, &card).await;
    let gates = city.centre_peer(&city.gate_operator);
    assert_eq!(gates.consumption(&report(vec![tap])).await.unwrap().verdicts, [Verdict::Recorded]);
    new.reset();
    assert_eq!(new.top_up(&city, 700).await.result, OutcomeResult::Done, "it is not frozen");
    assert_eq!(new.balance().await, BALANCE + 400);
    assert_eq!(city.centre_store.incidents(IncidentFilter::Open, 9).await.unwrap(), []);
}

/// Such a card is spent to nothing between its writing and its MAC1, by which it proves the same as a purse that it
/// was emptied out of: it has arrived, and nobody gets its balance again.
#[tokio::test]
async fn a_card_without_r_mac_that_is_spent_to_nothing_while_it_arrives() {
    let city = city().await;
    let (mut old, card) = with_card(&city, 1).await;
    migrate_out(&city, &mut old, &card).await;
    let mut new = Phone::new(&city, 2);
    new.order_migration().await;
    let (arrived, tap) = new.open_with_tap(&city, BALANCE, 3).await;
    assert!(installed(&arrived), "{arrived:?}");
    live(&city, &card).await;
    let gates = city.centre_peer(&city.gate_operator);
    assert_eq!(gates.consumption(&report(vec![tap])).await.unwrap().verdicts, [Verdict::Recorded]);
    assert_eq!(new.balance().await, 0);
    city.settled(0).await;
    assert_eq!(city.centre_store.incidents(IncidentFilter::Open, 9).await.unwrap(), []);
}

/// Such a card comes back to the phone that it left, where the emptied purse still is: nothing is sent before that
/// is gone, so that the two are never mistaken for each other.
#[tokio::test]
async fn a_card_without_r_mac_comes_back_to_a_phone_without_its_old_copy() {
    let city = city().await;
    let (mut phone, card) = with_card(&city, 1).await;
    migrate_out(&city, &mut phone, &card).await;
    let mut other = Phone::new(&city, 2);
    other.order_migration().await;
    assert!(installed(&other.open(&city).await.unwrap()));
    live(&city, &card).await;
    migrate_out(&city, &mut other, &card).await;
    phone.order_migration().await;
    for _ in 0..2 {
        let refused = phone.open(&city).await.unwrap_err();
        assert_eq!(refused.code(), Some(ProblemCode::StateForbids));
        let waiting = phone.wallet.interrupted().await.unwrap().works;
        assert!(waiting[0].may_continue && !waiting[0].needs_card, "nothing was sent");
    }
    phone.delete(&city).await.unwrap();
    assert!(installed(&phone.open(&city).await.unwrap()));
    live(&city, &card).await;
    assert_eq!(phone.balance().await, BALANCE);
}

/// The arrival of such a card breaks before anything of it is on the phone, and its rider cancels. Its domain cannot
/// show that nothing is there, so the SE-TSM looks: its word ends the arrival for which it asked before, and no other.
///
/// req: W-9.3.b
#[tokio::test]
async fn the_word_of_the_platform_ends_an_arrival_that_left_nothing() {
    let city = city().await;
    let (mut old, card) = with_card(&city, 1).await;
    migrate_out(&city, &mut old, &card).await;
    let peer = city.sp_peer(&city.se_tsm);
    let mut new = Phone::new(&city, 2);
    let ask = async |phone: &Phone| {
        let asked = phone.pre_operation(OperationId(uuid()), OperationKind::Synchronise, PURSE);
        let reply = peer.pre_operation(&asked).await.unwrap();
        (asked, matches!(reply, PreOperationReply::Allowed { .. }))
    };
    let (early, is_awaited) = ask(&new).await;
    assert!(!is_awaited, "nothing is under way");

    let mut late = None;
    for _ in 0..2 {
        new.order_migration().await;
        // The first command after the hand-over is lost.
        (new.lost, new.sent) = (Lost::Command(0), 0);
        assert!(!installed(&new.open(&city).await.unwrap()));
        new.lost = Lost::Nothing;
        assert!(!ask(&new).await.1, "the rider may still go on");
        let asked = new.operate(Operation::GiveUpMigrationIn, None).await;
        let OutcomeDetail::MigrationIn { state: so_far, .. } = asked.detail else { panic!("{asked:?}") };
        assert_eq!(so_far, MigrationState::GivingUp, "its own domain proves nothing");
        for word in [Some(&early), late.as_ref()].into_iter().flatten() {
            peer.result(&absent(word)).await.unwrap();
            assert_eq!(
                state(&city, &card).await,
                AccountState::Opening,
                "that word was not about this arrival"
            );
        }
        let (first, is_awaited) = ask(&new).await;
        assert!(is_awaited);
        let (second, _) = ask(&new).await;
        for _ in 0..2 {
            peer.result(&absent(&second)).await.unwrap();
            assert_eq!(state(&city, &card).await, AccountState::Parked);
        }
        assert_eq!(new.wallet.interrupted().await.unwrap().works, []);
        // Its word is still on its way.
        late = Some(first);
    }
    new.order_migration().await;
    assert!(installed(&new.open(&city).await.unwrap()));
    live(&city, &card).await;
}

/// What the SE-TSM says when the application is not on the card.
fn absent(asked: &PreOperationRequest) -> OperationResult {
    OperationResult {
        operation: asked.operation,
        se_id: asked.se_id.clone(),
        aid: asked.aid.clone(),
        kind: OperationKind::Synchronise,
        result: OutcomeResult::Done,
        problem: None,
        observation: None,
        moved_from: None,
        number: None,
    }
}

/// The visit breaks at every command, before and after the card acted. The rider comes back to the hall, or
/// cancels at his phone; either way his money is in one place, and once.
///
/// req: W-9.3.b
#[tokio::test]
async fn a_visit_torn_at_every_command_moves_the_money_once() {
    let city = city().await;
    let (mut cuts, mut number, mut kept, mut moved) = (0, 0, 0, 0);
    for at in 0.. {
        let mut is_past_the_end = false;
        for lost in [Lost::Command(at), Lost::Response(at)] {
            for cancel in [false, true] {
                // What follows the debit only reads: one cut each is enough.
                if at >= DEBIT && (cancel, lost) != (at % 7 == 0, Lost::Command(at)) {
                    continue;
                }
                number += 1;
                let (mut phone, card) = with_card(&city, number).await;
                phone.lost = lost;
                let torn = visit(&city, &mut phone, (&card, "hall-1", HallWork::MigrateOut)).await.unwrap();
                (phone.lost, phone.sent) = (Lost::Nothing, 0);
                phone.reset();
                if torn.result == OutcomeResult::Done {
                    is_past_the_end = true;
                    moved += u64::from(BALANCE);
                    continue;
                }
                cuts += 1;
                let debited = phone.balance().await == 0;
                phone.reset();
                if cancel {
                    let ended = phone.operate(Operation::CancelClosing, None).await;
                    if debited {
                        let code = ended.problem.as_ref().map(|problem| problem.code);
                        assert_eq!(code, Some(ProblemCode::HallOnly), "only a hall reads it: {ended:?}");
                    } else {
                        assert_eq!(ended.result, OutcomeResult::Done, "{lost:?}: {ended:?}");
                        kept += u64::from(BALANCE);
                        continue;
                    }
                }
                let outcome =
                    visit(&city, &mut phone, (&card, "hall-2", HallWork::MigrateOut)).await.unwrap();
                assert_eq!((outcome.result, outcome.detail), (OutcomeResult::Done, parked()), "{lost:?}");
                assert_eq!(phone.balance().await, 0);
                moved += u64::from(BALANCE);
            }
        }
        if is_past_the_end {
            break;
        }
    }
    assert!(cuts > 40, "{cuts}");
    let books = city.settled(kept).await;
    assert_eq!(books.parked_fen, moved);
    println!("{cuts} cut points at commands of a visit to a hall");
}

/// The server dies before and after each commit of the visit.
#[tokio::test]
async fn a_visit_survives_a_crash_at_every_commit() {
    let mut crashes = 0;
    for commit in 1..=6 {
        for crash in [Crash::BeforeCommit, Crash::AfterCommit] {
            let mut city = city().await;
            let (mut phone, card) = with_card(&city, 1).await;
            city.faults.crash_at(city.faults.commits() + commit, crash);
            let _ = visit(&city, &mut phone, (&card, "hall-1", HallWork::MigrateOut)).await;
            if city.faults.is_down() {
                crashes += 1;
                city.restart_sp_tsm().await;
                phone.reconnect(&city);
            }
            city.faults.restart();
            let outcome = visit(&city, &mut phone, (&card, "hall-1", HallWork::MigrateOut)).await.unwrap();
            assert_eq!(
                (outcome.result, outcome.detail),
                (OutcomeResult::Done, parked()),
                "{commit} {crash:?}"
            );
            let books = city.settled(0).await;
            assert_eq!(books.parked_fen, u64::from(BALANCE), "{commit} {crash:?}");
        }
    }
    println!("{crashes} crashes at commits of a visit to a hall");
    assert!(crashes >= 8, "{crashes}");
}

/// A locked card without R-MAC answers to no debit: a hall lifts the lock and returns it in one visit, or only
/// lifts the lock.
///
/// req: B-7.5.1.a
#[tokio::test]
async fn a_locked_card_is_unlocked_and_returned_in_one_visit() {
    let city = city().await;
    for (number, work) in [(1, HallWork::Return), (2, HallWork::MigrateOut), (3, HallWork::Unlock)] {
        let (mut phone, card) = with_card(&city, number).await;
        assert_eq!(phone.operate(Operation::Lock, None).await.result, OutcomeResult::Done);
        phone.reset();
        let alone = phone.operate(Operation::Return, None).await;
        assert_eq!(alone.problem.unwrap().code, ProblemCode::StateForbids);
        let outcome = visit(&city, &mut phone, (&card, "hall-1", work)).await.unwrap();
        assert_eq!(outcome.result, OutcomeResult::Done, "{work:?}: {outcome:?}");
        let left = if work == HallWork::Unlock { BALANCE } else { 0 };
        assert_eq!(phone.balance().await, left, "{work:?}");
        let cases = city.at_desk().by("hall-1").cases(&CasesQuery { card }).await.unwrap().cases;
        assert_eq!(cases.iter().map(|case| case.state).collect::<Vec<_>>(), [DeskState::Done], "{work:?}");
    }
    let refused = visit_unlocked(&city).await;
    assert_eq!(refused, Err(ProblemCode::StateForbids), "nothing is to be unlocked");
}

async fn visit_unlocked(city: &City) -> Result<Outcome, ProblemCode> {
    let (mut phone, card) = with_card(city, 9).await;
    visit(city, &mut phone, (&card, "hall-1", HallWork::Unlock)).await
}

/// A card that can prove its content is served in a hall as anywhere.
#[tokio::test]
async fn a_card_with_r_mac_is_served_in_a_hall_too() {
    let city = City::new().await;
    let (mut phone, card) = with_card(&city, 1).await;
    let image = phone.image(&city).await;
    migrate_out(&city, &mut phone, &card).await;
    let mut new = Phone::new(&city, 2);
    new.order_migration().await;
    assert!(installed(&new.open(&city).await.unwrap()));
    live(&city, &card).await;
    assert_eq!(new.image(&city).await.encode(), image.encode());
}
