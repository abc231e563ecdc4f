//! Locks whose end was lost: at the next contact card, issuer and operator agree again.

use tsm_api::conversation::{ApplicationState, OutcomeDetail, OutcomeResult};
use tsm_api::problem::ProblemCode;
use tsm_api::se_tsm::peer::OperationKind;
use tsm_api::sp_tsm::wallet::{Operation, WorkKind};
use tsm_card::purse::{ApplicationLock, change_application_lock};
use tsm_domain::CardNumber;
use tsm_epurse::KeyRole;
use tsm_iso7816::StatusWord;

use crate::issuer::city::{City, PURSE, purse_keys};
use crate::issuer::phone::{Lost, Phone};
use crate::issuer::returning::another;
use crate::issuer::top_up::opened;

async fn is_blocked(phone: &Phone) -> bool {
    let status = phone.read().await.select_status;
    phone.reset();
    status == StatusWord::SELECTED_FILE_INVALIDATED
}

/// What the operator was told last of this phone's card, by the reports' own order.
fn told(city: &City, phone: &Phone) -> Option<OperationKind> {
    let results = city.told.results.lock().unwrap();
    let of_locks = [OperationKind::Lock, OperationKind::Unlock];
    let own = results
        .iter()
        .filter(|result| result.se_id.as_bytes() == phone.se_id && of_locks.contains(&result.kind));
    own.max_by_key(|result| result.number).map(|result| result.kind)
}

/// Card, issuer and operator say the same, and nothing is left open.
async fn agreed(city: &City, phone: &Phone, point: &str) {
    let blocked = is_blocked(phone).await;
    let expected = if blocked { ApplicationState::Locked } else { ApplicationState::Useable };
    assert_eq!(phone.wallet.card(&PURSE.into()).await.unwrap().state, expected, "{point}");
    assert_eq!(phone.wallet.interrupted().await.unwrap().works, [], "{point}");
    let expected = if blocked { OperationKind::Lock } else { OperationKind::Unlock };
    for _ in 0..20_000 {
        if told(city, phone).is_none_or(|told| told == expected) {
            break;
        }
        let _ = phone.wallet.interrupted().await;
    }
    // Of a card that was never locked the operator hears nothing.
    let last = told(city, phone);
    assert!(last == Some(expected) || (last.is_none() && !blocked), "{point}: {last:?}");
}

/// Every command and every answer of a lock and of an unlock is lost once; then the rider goes on, gives up,
/// synchronises, or does the same again.
///
/// req: W-9.3.b, W-9.3.d, B-8.5.4.a, B-8.5.4.b
#[tokio::test]
async fn a_lock_torn_anywhere_is_settled_by_the_next_contact() {
    let city = City::new().await;
    let mut phone = opened(&city).await;
    phone.top_up(&city, 500).await;
    let mut points = 0;
    for torn in [Operation::Lock, Operation::Unlock] {
        let before = if torn == Operation::Lock { Operation::Unlock } else { Operation::Lock };
        for next in [Operation::Synchronise, Operation::Lock, Operation::Unlock] {
            for lost in (0..10).flat_map(|at| [Lost::Command(at), Lost::Response(at)]) {
                let point = format!("{torn:?} with {lost:?} lost, then {next:?}");
                let ready = phone.operate(before, None).await;
                assert_eq!(ready.result, OutcomeResult::Done, "{point}: {ready:?}");
                (phone.lost, phone.sent) = (lost, 0);
                let ended = phone.operate(torn, None).await;
                let was_torn = ended.result != OutcomeResult::Done;
                (phone.lost, phone.sent) = (Lost::Nothing, 0);
                for work in phone.wallet.interrupted().await.unwrap().works {
                    let kind = if torn == Operation::Lock { WorkKind::Lock } else { WorkKind::Unlock };
                    assert_eq!((work.kind, work.needs_card), (kind, true), "{point}");
                    assert!(work.may_continue && work.may_cancel, "{point}");
                    points += 1;
                }
                if !was_torn {
                    continue;
                }
                let settled = phone.operate(next, None).await;
                assert_eq!(settled.result, OutcomeResult::Done, "{point}: {settled:?}");
                agreed(&city, &phone, &point).await;
                if next != Operation::Synchronise {
                    assert_eq!(is_blocked(&phone).await, next == Operation::Lock, "{point}");
                }
            }
        }
    }
    println!("locks and unlocks whose outcome was not known: {points}");
    assert!(points >= 20, "{points}");
    assert_eq!(phone.operate(Operation::Unlock, None).await.result, OutcomeResult::Done);
    assert_eq!(phone.balance().await, 500);
}

/// The phone says that the purse is blocked, and never told the purse: nothing is believed.
#[tokio::test]
async fn a_lock_that_the_card_does_not_prove_is_none() {
    let city = City::new().await;
    let phone = opened(&city).await;
    let mut liar = Liar(phone);
    let ended = liar.lock_without_the_card().await;
    let code = ended.problem.unwrap().code;
    assert_eq!((ended.result, code), (OutcomeResult::Refused, ProblemCode::CardUnproven));
    agreed(&city, &liar.0, "a lock that never came").await;
    assert_eq!(told(&city, &liar.0), None);
}

struct Liar(Phone);

impl Liar {
    /// Carries out a lock, but answers APPLICATION BLOCK itself.
    async fn lock_without_the_card(&mut self) -> tsm_api::conversation::Outcome {
        use tsm_api::conversation::{ConversationReply, TurnRequest};
        let phone = &mut self.0;
        let mut reply = phone.wallet.start(&Phone::start_request(Operation::Lock, None)).await.unwrap();
        loop {
            let (conversation, turn, steps) = match reply {
                ConversationReply::Outcome { outcome, .. } => return outcome,
                ConversationReply::Steps { conversation, turn, steps, .. } => (conversation, turn, steps),
                other => panic!("{other:?}"),
            };
            let is_block =
                |step: &tsm_api::conversation::Step| crate::issuer::phone::command_of(step).0.ins == 0x1E;
            let mut responses = Vec::new();
            for step in &steps {
                if is_block(step) {
                    responses.push(crate::issuer::phone::forged(&[]));
                } else {
                    responses.extend(phone.carry(turn, std::slice::from_ref(step), None).responses);
                }
            }
            let request = TurnRequest { turn, responses, ..TurnRequest::default() };
            reply = phone.wallet.turn(conversation, &request).await.unwrap();
        }
    }
}

async fn block_as_a_gate(city: &City, phone: &Phone) {
    let number: CardNumber = phone.card_number().await.parse().unwrap();
    let key = purse_keys().of_card(&city.provider, KeyRole::ApplicationBlock, number).unwrap();
    phone.reset();
    let block = ApplicationLock::Block;
    change_application_lock(&mut phone.channel(), &city.provider, &key, PURSE, block).await.unwrap();
    phone.reset();
}

/// A gate blocks the purse of a card that was on the black list, and nobody tells the issuer. The next contact
/// sees it; released by the centre, it is the holder's to unlock.
///
/// req: B-8.5.4.a
#[tokio::test]
async fn a_purse_that_a_gate_has_blocked_is_found_locked() {
    let city = City::new().await;
    let mut phone = another(&city, 1).await;
    phone.top_up(&city, 500).await;
    block_as_a_gate(&city, &phone).await;
    assert!(is_blocked(&phone).await);
    let seen = phone.operate(Operation::Synchronise, None).await;
    assert_eq!(seen.detail, OutcomeDetail::PurseSynchronised { balance_fen: 500, counter: 1, corrected: 1 });
    agreed(&city, &phone, "blocked by a gate").await;
    assert_eq!(told(&city, &phone), Some(OperationKind::Lock));
    let again = phone.operate(Operation::Synchronise, None).await;
    assert_eq!(again.detail, OutcomeDetail::PurseSynchronised { balance_fen: 500, counter: 1, corrected: 0 });
    assert_eq!(phone.operate(Operation::Unlock, None).await.result, OutcomeResult::Done);
    agreed(&city, &phone, "unlocked").await;
    assert_eq!(phone.balance().await, 500);
}

/// A return of a locked card is cancelled: the lock went with it, and the operator hears of that too.
///
/// req: W-9.3.b
#[tokio::test]
async fn a_cancelled_return_of_a_locked_card_tells_that_the_lock_is_gone() {
    let city = City::new().await;
    let mut phone = opened(&city).await;
    phone.top_up(&city, 500).await;
    assert_eq!(phone.operate(Operation::Lock, None).await.result, OutcomeResult::Done);
    (phone.lost, phone.sent) = (Lost::Response(4), 0);
    phone.operate(Operation::Return, None).await;
    (phone.lost, phone.sent) = (Lost::Nothing, 0);
    let cancelled = phone.operate(Operation::CancelClosing, None).await;
    assert_eq!(cancelled.result, OutcomeResult::Done, "{cancelled:?}");
    assert!(!is_blocked(&phone).await);
    agreed(&city, &phone, "a cancelled return").await;
    assert_eq!(told(&city, &phone), Some(OperationKind::Unlock));
}
