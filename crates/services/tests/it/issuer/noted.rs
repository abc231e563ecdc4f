//! What a phone tries and the issuer refuses stands in the centre's view, with card, order and amount.

use tsm_api::conversation::{CardFault, OutcomeResult, TurnRequest};
use tsm_api::problem::ProblemCode;
use tsm_api::sp_tsm::wallet::{Operation, OrderState};
use tsm_domain::environment::Clock as _;
use tsm_domain::money::reconciliation::{Cause, Difference};
use tsm_domain::money::{Evidence, ProvenObservation, TopUpStage};
use tsm_domain::{ConversationId, OnlineCounter, OrderId, SeId};
use tsm_storage::SpTsmStore as _;
use tsm_storage::clearing::Settlements as _;
use tsm_storage::clearing::settlement::DifferenceQuery;
use tsm_storage::shared::{Begun, Claim, Conversation, Conversations as _};
use tsm_storage::sp_tsm::WithOutcome;

use crate::issuer::city::{City, PURSE};
use crate::issuer::hostile_phone::{answer, begin, credit_command, list, outcome, up_to_the_credit};
use crate::issuer::migrating_in::{BALANCE, parked};
use crate::issuer::phone::{Phone, command_of, forged, uuid};
use crate::issuer::top_up::opened;
use crate::support::SystemClock;

/// All lines of the view, whatever state they are in, the oldest causes first.
async fn view(city: &City) -> Vec<Difference> {
    let mut all = Vec::new();
    for state in [None, Some("waiting".to_owned())] {
        let query = DifferenceQuery { state, ..DifferenceQuery::default() };
        all.extend(city.centre_store.differences(&query, 100).await.unwrap());
    }
    all.sort_by_key(|one| one.cause);
    all
}

/// The view once it has so many lines: they come through the outbox.
async fn view_of(city: &City, lines: usize) -> Vec<Difference> {
    for _ in 0..20_000 {
        let all = view(city).await;
        if all.len() >= lines {
            return all;
        }
        // A request lets the outbox's task run.
        let _ = city.centre_peer(&city.sp_tsm).books().await;
    }
    panic!("not in the view: {:?}", view(city).await);
}

fn causes(all: &[Difference]) -> Vec<Cause> {
    all.iter().map(|one| one.cause).collect()
}

/// The second of two phones of one rider is told no before the centre is asked, and stands in the view with the
/// first; neither of them does for asking again.
#[tokio::test]
async fn two_phones_that_claim_one_parked_card() {
    let city = City::new().await;
    let (_old, _, _) = parked(&city, 1).await;
    let (first, second) = (Phone::new(&city, 2), Phone::new(&city, 3));
    let claimed = first.order_migration().await;
    first.order_migration().await;
    assert_eq!(view(&city).await, []);
    for _ in 0..2 {
        assert_eq!(second.try_order_migration().await, Err(ProblemCode::StateForbids));
    }
    let all = view_of(&city, 1).await;
    assert_eq!(causes(&all), [Cause::ClaimedTwice]);
    for se in [&first.se_id, &second.se_id] {
        assert!(all[0].text.contains(&SeId::new(se).unwrap().to_string()), "{}", all[0].text);
    }
    assert!(all[0].card.is_some());
    first.wallet.cancel_migration(claimed.migration).await.unwrap();
    second.order_migration().await;
    assert_eq!(view(&city).await.len(), 1);
    assert_eq!(city.centre_peer(&city.sp_tsm).books().await.unwrap().parked_fen, u64::from(BALANCE));
}

/// A phone says that the card credited, without a TAC and with an invented one; the view has the order and its
/// amount once. A refusal that is said is nothing of the kind.
#[tokio::test]
async fn a_credit_that_is_said_to_be_done() {
    let city = City::new().await;
    let mut phone = opened(&city).await;
    let order = phone.paid_order(&city, 5000).await;
    for said in [forged(&[]), forged(&[1, 2, 3, 4])] {
        let credit = up_to_the_credit(&mut phone, order).await;
        let asked = list(answer(&phone, &credit, vec![said]).await);
        let honest = phone.carry(asked.turn, &asked.steps, None);
        outcome(answer(&phone, &asked, honest.responses).await);
    }
    let all = view_of(&city, 1).await;
    assert_eq!(causes(&all), [Cause::ProofMissing]);
    assert_eq!((all[0].reference, all[0].theirs.unwrap().get()), (Some(OrderId::from_uuid(order.0)), 5000));
    let card = city.store.card(all[0].card.unwrap()).await.unwrap().unwrap();
    assert_eq!(card.frozen, None);
    assert_eq!(phone.operate(Operation::TopUp, Some(order)).await.result, OutcomeResult::Done);
    city.settled(5000).await;
    assert_eq!(view(&city).await.len(), 1);
}

/// The same of the first answer of a top-up, of a lock and of a return, once a day each: MAC1, R-MAC.
#[tokio::test]
async fn proofs_of_other_flows_that_are_missing() {
    let city = City::new().await;
    let mut phone = opened(&city).await;
    assert_eq!(phone.top_up(&city, 5000).await.result, OutcomeResult::Done);
    city.settled(5000).await;
    let order = phone.paid_order(&city, 100).await;
    for _ in 0..2 {
        let first = begin(&phone, order).await;
        let mut lie = phone.carry(first.turn, &first.steps, None).responses;
        lie[1].0[3] ^= 1;
        let ended = outcome(answer(&phone, &first, lie).await);
        assert_eq!(ended.problem.unwrap().code, ProblemCode::CardUnproven);
    }
    phone.wallet.cancel_order(order).await.unwrap();
    for operation in [Operation::Lock, Operation::Return] {
        let mut reply = phone.wallet.start(&Phone::start_request(operation, None)).await.unwrap();
        let ended = loop {
            let steps = match reply {
                tsm_api::conversation::ConversationReply::Outcome { outcome, .. } => break outcome,
                other => list(other),
            };
            // Each command of the list was carried out, the phone says.
            let is_said = |step| command_of(step).0.cla & 0x04 != 0;
            let request = if steps.steps.iter().all(is_said) {
                let responses = steps.steps.iter().map(|_| forged(&[0; 8])).collect();
                TurnRequest { turn: steps.turn, responses, ..TurnRequest::default() }
            } else {
                phone.carry(steps.turn, &steps.steps, None)
            };
            reply = phone.wallet.turn(steps.conversation, &request).await.unwrap();
        };
        assert_ne!(ended.result, OutcomeResult::Done, "{operation:?}: {ended:?}");
    }
    let all = view_of(&city, 3).await;
    assert_eq!(causes(&all), [Cause::ProofMissing; 3], "{all:?}");
    for flow in ["top-up on", "lock on", "return on"] {
        assert!(all.iter().any(|one| one.text.contains(flow)), "{flow}: {all:?}");
    }
}

/// A card that is gone, and one that says no, lack no proof.
#[tokio::test]
async fn a_lost_card_is_no_lie() {
    let city = City::new().await;
    let mut phone = opened(&city).await;
    let order = phone.paid_order(&city, 100).await;
    let first = begin(&phone, order).await;
    let fault = Some(CardFault::CardLost);
    let lost = TurnRequest { turn: first.turn, fault, ..TurnRequest::default() };
    outcome(phone.wallet.turn(first.conversation, &lost).await.unwrap());
    assert_eq!(phone.operate(Operation::TopUp, Some(order)).await.result, OutcomeResult::Done);
    city.settled(100).await;
    assert_eq!(view(&city).await, []);
}

/// A phone keeps CREDIT FOR LOAD, asks the order back, and spends the command: nothing goes back, the view says so
/// and with which order, and the next contact finds the credit.
#[tokio::test]
async fn an_order_that_is_asked_back_while_its_credit_is_withheld() {
    let city = City::new().await;
    let mut phone = opened(&city).await;
    let order = phone.paid_order(&city, 5000).await;
    let withheld = up_to_the_credit(&mut phone, order).await;
    phone.wallet.cancel(withheld.conversation).await.unwrap();
    for _ in 0..2 {
        let refused = phone.wallet.cancel_order(order).await.unwrap_err();
        assert_eq!(refused.code(), Some(ProblemCode::OutcomeUnknown));
    }
    let all = view_of(&city, 1).await;
    assert_eq!(causes(&all), [Cause::CancelInDoubt]);
    assert_eq!((all[0].reference, all[0].theirs.unwrap().get()), (Some(OrderId::from_uuid(order.0)), 5000));
    assert!(phone.transmit(&credit_command(&withheld)).status.is_success());
    phone.operate(Operation::TopUp, Some(order)).await;
    let refused = phone.wallet.cancel_order(order).await.unwrap_err();
    assert_eq!(refused.code(), Some(ProblemCode::StateForbids), "its outcome is known");
    let books = city.settled(5000).await;
    assert_eq!((books.paid_in_fen, books.refunded_fen), (5000, 0));
    assert_eq!(view(&city).await.len(), 1);
}

/// A card that proved that it has nothing, and has it all the same when its order has gone back, is none of ours:
/// it is frozen, and the view names the order.
#[tokio::test]
async fn a_credit_that_is_spent_after_its_order_went_back() {
    let city = City::new().await;
    let mut phone = opened(&city).await;
    let order = phone.paid_order(&city, 5000).await;
    let withheld = up_to_the_credit(&mut phone, order).await;
    phone.wallet.cancel(withheld.conversation).await.unwrap();
    lie_of_the_card(&city, &phone, OrderId::from_uuid(order.0)).await;
    assert_eq!(phone.wallet.cancel_order(order).await.unwrap().state, OrderState::Refunding);
    assert!(phone.transmit(&credit_command(&withheld)).status.is_success());
    let refused = phone.operate(Operation::Synchronise, None).await;
    assert_eq!(refused.problem.unwrap().code, ProblemCode::SuspiciousCard);
    let all = view_of(&city, 1).await;
    let line = all.iter().find(|one| one.cause == Cause::CreditAfterCancel).unwrap();
    assert_eq!((line.reference, line.theirs.unwrap().get()), (Some(OrderId::from_uuid(order.0)), 5000));
    assert!(line.text.contains("proves 1 and 50.00 yuan now"), "{}", line.text);
    let card = city.store.card(line.card.unwrap()).await.unwrap().unwrap();
    assert!(card.frozen.is_some(), "as before");
    let books = city.centre_peer(&city.sp_tsm).books().await.unwrap();
    assert_eq!((books.purses_fen, books.spent_fen), (0, 0));
}

/// A forged card proves that it took in nothing.
async fn lie_of_the_card(city: &City, phone: &Phone, order: OrderId) {
    let se = SeId::new(&phone.se_id).unwrap();
    let now = SystemClock.now();
    let conversation = Conversation {
        id: ConversationId::from_uuid(uuid()),
        se,
        purpose: "synchronise".into(),
        started_at: now,
        ended: None,
        server: None,
    };
    let begun = city.store.begin_conversation(conversation, Claim::TakeOver, now, now).await.unwrap();
    let Begun::Granted(fence) = begun else { panic!("{begun:?}") };
    let seen = ProvenObservation::after_mac1(OnlineCounter(0), tsm_domain::Fen::ZERO);
    let with = WithOutcome::default();
    let settled =
        city.store.settle_attempt(fence, order, seen, Evidence::Overwritten, now, with).await.unwrap();
    assert_eq!(settled.0.stage, TopUpStage::Paid);
    assert!(city.store.cards_on(se).await.unwrap().iter().any(|card| card.instance == PURSE));
}
