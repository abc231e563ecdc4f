//! Opening a card at the SP-TSM: hand-over, personalisation, the account at the centre, interruptions.

use tsm_api::clearing::AccountState;
use tsm_api::conversation::OutcomeResult;
use tsm_api::ids::OperationId;
use tsm_api::problem::ProblemCode;
use tsm_api::se_tsm::peer::{OperationKind, OperationResult};
use tsm_api::sp_tsm::peer::PreOperationReply;
use tsm_api::sp_tsm::wallet::{OpenCardOrder, Operation, OrderState};
use tsm_storage::memory::Crash;

use crate::issuer::city::{City, GREETING, PURSE};
use crate::issuer::phone::{Lost, Phone, installed, request_id, uuid};

/// The phone asks, the SP-TSM personalises over the same conversation, the centre has the account.
///
/// req: B-7.2.1.b, P-5.8.4.4.2.a, P-5.4.1.f
#[tokio::test]
async fn a_card_is_opened_after_the_hand_over() {
    let city = City::new().await;
    let mut phone = Phone::new(&city, 1);
    let outcome = phone.open(&city).await.unwrap();
    assert!(installed(&outcome), "{outcome:?}");
    let reading = phone.read().await;
    assert_eq!(reading.balance.fen(), 0);
    let number = reading.public_information.serial.digits();
    assert!(number.starts_with("31049990"));

    let account = city.centre_peer(&city.sp_tsm).account(&city.card_number(&number)).await.unwrap();
    assert_eq!((account.state, account.credited_fen), (AccountState::Live, 0));
    let results = city.told.results.lock().unwrap();
    assert_eq!(results.len(), 1);
    assert_eq!((results[0].kind, results[0].result), (OperationKind::Download, OutcomeResult::Done));
    let shown = &results[0].observation.as_ref().unwrap().applications;
    assert!(shown.iter().any(|entry| entry.aid == PURSE.into()));
    assert_eq!(city.told.notices.lock().unwrap().len(), 1);
}

/// Repeating a request of the hand-over gets the same answer, and the ticket is the right to the turns.
#[tokio::test]
async fn repeated_requests_of_the_hand_over_get_the_same_answer() {
    let city = City::new().await;
    let mut phone = Phone::new(&city, 1);
    let operation = OperationId(uuid());
    let peer = city.sp_peer(&city.se_tsm);
    let asked = phone.pre_operation(operation, OperationKind::Download, PURSE);
    let first = peer.pre_operation(&asked).await.unwrap();
    assert_eq!(peer.pre_operation(&asked).await.unwrap(), first);
    let request = phone.handover_request(&city, operation).await.unwrap();
    let reply = peer.handover(&request).await.unwrap();
    assert_eq!(peer.handover(&request).await.unwrap(), reply);

    let carried = phone.carry(reply.turn, &reply.steps, None);
    for ticket in [None, Some("another".to_owned())] {
        let request = tsm_api::conversation::TurnRequest { ticket, ..carried.clone() };
        let refused = phone.wallet.turn(reply.conversation, &request).await.unwrap_err();
        assert_eq!(refused.code(), Some(ProblemCode::TicketWrong));
    }
    let request =
        tsm_api::conversation::TurnRequest { ticket: Some(reply.ticket.clone()), ..carried.clone() };
    let ended = phone.wallet.turn(reply.conversation, &request).await.unwrap();
    assert!(installed(&phone.converse(ended, Some(&reply.ticket)).await));
}

/// Whatever breaks, the card keeps its number, and one card with one account comes of it.
///
/// req: B-7.2.1.c, P-5.8.4.6.a
#[tokio::test]
async fn an_opening_torn_at_every_apdu_goes_on_with_the_same_number() {
    let city = City::new().await;
    let mut phone = Phone::new(&city, 0);
    assert!(installed(&phone.open(&city).await.unwrap()));
    let apdus = phone.sent;
    assert!(apdus > 10);
    // A third of the list with the command lost, another with the response: the card crate tears them all.
    for at in 0..apdus {
        let lost = if at % 2 == 0 { Lost::Command(at) } else { Lost::Response(at) };
        let mut phone = Phone::new(&city, 1 + u8::try_from(at).unwrap());
        phone.lost = lost;
        let broken = phone.open(&city).await.unwrap();
        assert_eq!(broken.result, OutcomeResult::Unknown, "{lost:?}");
        let order = OpenCardOrder { request: request_id(), aid: PURSE.into(), card_kind: None };
        assert_eq!(phone.wallet.order_card(&order).await.unwrap().state, OrderState::InFlight);
        phone.lost = Lost::Nothing;
        let outcome = phone.open(&city).await.unwrap();
        assert!(installed(&outcome), "{lost:?}: {outcome:?}");
        let number = phone.card_number().await;
        let account = city.centre_peer(&city.sp_tsm).account(&city.card_number(&number)).await;
        assert_eq!(account.unwrap().state, AccountState::Live, "{lost:?}");
        // What the SP-TSM calls the card is what the card calls itself, or nothing could be loaded.
        assert_eq!(phone.top_up(&city, 100).await.result, OutcomeResult::Done, "{lost:?}");
    }
}

/// req: B-7.2.1.c
#[tokio::test]
async fn a_server_that_crashes_at_any_commit_of_an_opening_converges() {
    let mut city = City::new().await;
    let (mut number, mut crashes) = (0, 0);
    for commit in 1..=8 {
        for crash in [Crash::BeforeCommit, Crash::AfterCommit] {
            number += 1;
            let mut phone = Phone::new(&city, number);
            city.faults.crash_at(city.faults.commits() + commit, crash);
            let first = phone.open(&city).await;
            if city.faults.is_down() {
                crashes += 1;
                city.restart_sp_tsm().await;
                phone.reconnect(&city);
                let outcome = phone.open(&city).await.unwrap();
                assert!(installed(&outcome), "commit {commit}, {crash:?}: {outcome:?}");
            } else {
                city.faults.restart();
                assert!(installed(&first.unwrap()));
            }
            let outcome = phone.top_up(&city, 100).await;
            assert_eq!(outcome.result, OutcomeResult::Done, "commit {commit}, {crash:?}: {outcome:?}");
        }
    }
    assert!(crashes >= 8, "an opening has four commits at least, and only {crashes} crashes happened");
    let books = city.settled(100 * u64::from(number)).await;
    assert_eq!(books.paid_in_fen, 100 * u64::from(number));
}

/// A card that does not hold the issuer's keys changes nothing.
#[tokio::test]
async fn a_card_with_a_wrong_cryptogram_is_refused_before_anything_is_stored() {
    let city = City::new().await;
    let phone = Phone::new(&city, 1);
    let operation = OperationId(uuid());
    let mut request = phone.handover_request(&city, operation).await.unwrap();
    let last = request.initialize_update.0.len() - 6;
    request.initialize_update.0[last] ^= 1;
    let refused = city.sp_peer(&city.se_tsm).handover(&request).await.unwrap_err();
    assert_eq!(refused.code(), Some(ProblemCode::CardUnproven));
    let order = OpenCardOrder { request: request_id(), aid: PURSE.into(), card_kind: None };
    assert_eq!(phone.wallet.order_card(&order).await.unwrap().state, OrderState::Paid);
}

/// A hand-over that nobody prepared, or that was prepared before a restart, is refused.
#[tokio::test]
async fn a_hand_over_needs_its_consent_and_its_session() {
    let mut city = City::new().await;
    let phone = Phone::new(&city, 1);
    let operation = OperationId(uuid());
    let request = phone.handover_request(&city, operation).await.unwrap();
    let mut unknown = request.clone();
    unknown.operation = OperationId(uuid());
    let refused = city.sp_peer(&city.se_tsm).handover(&unknown).await.unwrap_err();
    assert_eq!(refused.code(), Some(ProblemCode::UnknownId));
    city.restart_sp_tsm().await;
    let refused = city.sp_peer(&city.se_tsm).handover(&request).await.unwrap_err();
    assert_eq!(refused.code(), Some(ProblemCode::StateForbids));
}

/// req: B-8.5.2.c
#[tokio::test]
async fn downloads_are_allowed_or_refused_with_a_reason() {
    let city = City::new().await;
    let phone = Phone::new(&city, 1);
    let peer = city.sp_peer(&city.se_tsm);
    let asked = phone.pre_operation(OperationId(uuid()), OperationKind::Download, GREETING);
    let allowed = peer.pre_operation(&asked).await.unwrap();
    assert!(matches!(allowed, PreOperationReply::Allowed { domain_keys: None, .. }), "{allowed:?}");

    let mut other_domain = phone.pre_operation(OperationId(uuid()), OperationKind::Download, PURSE);
    other_domain.domain_aid = crate::issuer::city::ISD.into();
    let mut unknown = phone.pre_operation(OperationId(uuid()), OperationKind::Download, PURSE);
    unknown.aid = crate::issuer::city::MODULE.into();
    for (request, code) in [(other_domain, ProblemCode::ProviderRefused), (unknown, ProblemCode::UnknownId)] {
        let reply = peer.pre_operation(&request).await.unwrap();
        let PreOperationReply::Refused { problem } = &reply else { panic!("{reply:?}") };
        assert_eq!(problem.code, code);
        assert_eq!(peer.pre_operation(&request).await.unwrap(), reply, "asked again, it answers the same");
    }
}

/// A deletion that would destroy value is refused; one of an application without value is allowed.
///
/// req: B-8.5.3.b
#[tokio::test]
async fn a_deletion_with_value_is_refused() {
    let city = City::new().await;
    let mut phone = Phone::new(&city, 1);
    let peer = city.sp_peer(&city.se_tsm);
    let code = async |phone: &Phone, aid| {
        let asked = phone.pre_operation(OperationId(uuid()), OperationKind::Delete, aid);
        match peer.pre_operation(&asked).await.unwrap() {
            PreOperationReply::Allowed { .. } => None,
            PreOperationReply::Refused { problem } => Some(problem.code),
        }
    };
    assert_eq!(code(&phone, GREETING).await, None);
    assert_eq!(code(&phone, PURSE).await, None, "nothing is there yet");
    phone.open(&city).await.unwrap();
    assert_eq!(code(&phone, PURSE).await, Some(ProblemCode::ValueRemains), "it is not closed");
    let order = phone.paid_order(&city, 500).await;
    assert_eq!(code(&phone, PURSE).await, Some(ProblemCode::ValueRemains), "a paid top-up is on its way");
    phone.operate(Operation::TopUp, Some(order)).await;
    assert_eq!(code(&phone, PURSE).await, Some(ProblemCode::ValueRemains), "five yuan are on it");
}

/// Reports of results are taken once, and an unfinished card is given up by its deletion.
#[tokio::test]
async fn results_are_taken_once() {
    let city = City::new().await;
    let mut phone = Phone::new(&city, 1);
    phone.lost = Lost::Command(8);
    phone.open(&city).await.unwrap();
    let peer = city.sp_peer(&city.se_tsm);
    let operation = OperationId(uuid());
    let asked = phone.pre_operation(operation, OperationKind::Delete, PURSE);
    assert!(matches!(peer.pre_operation(&asked).await.unwrap(), PreOperationReply::Allowed { .. }));
    let order = OpenCardOrder { request: request_id(), aid: PURSE.into(), card_kind: None };
    let before = phone.wallet.order_card(&order).await.unwrap();
    let result = OperationResult {
        operation,
        se_id: asked.se_id.clone(),
        aid: asked.aid.clone(),
        kind: OperationKind::Delete,
        result: OutcomeResult::Done,
        problem: None,
        observation: None,
        moved_from: None,
        number: None,
    };
    peer.result(&result).await.unwrap();
    peer.result(&result).await.unwrap();
    assert_eq!(phone.wallet.order(before.order).await.unwrap().state, OrderState::Cancelled);
    let unknown = OperationResult { operation: OperationId(uuid()), ..result };
    assert_eq!(peer.result(&unknown).await.unwrap_err().code(), Some(ProblemCode::UnknownId));
    // The next opening is another card.
    phone.lost = Lost::Nothing;
    let next = OpenCardOrder { request: request_id(), aid: PURSE.into(), card_kind: None };
    assert_ne!(phone.wallet.order_card(&next).await.unwrap().order, before.order);
}

/// The wallet asks the SP-TSM itself: it opens the channel with its own domain, personalises what is installed,
/// and reports to the SE-TSM.
///
/// req: B-8.5.5.a, B-8.5.5.b
#[tokio::test]
async fn a_wallet_asks_for_the_personalisation_that_broke_off() {
    let city = City::new().await;
    let mut whole = Phone::new(&city, 0);
    whole.open(&city).await.unwrap();
    let mut phone = Phone::new(&city, 1);
    // Eight commands end the list: two GET DATA, six GET STATUS. The one before is the last STORE DATA.
    phone.lost = Lost::Command(whole.sent - 9);
    assert_eq!(phone.open(&city).await.unwrap().result, OutcomeResult::Unknown);
    phone.lost = Lost::Nothing;
    let before = phone.wallet.client.counters().read().requests;
    let outcome = phone.operate(Operation::Personalise, None).await;
    assert!(installed(&outcome), "{outcome:?}");
    assert_eq!(phone.wallet.client.counters().read().requests - before, 3);
    let last = city.told.results.lock().unwrap().last().cloned().unwrap();
    assert_eq!((last.kind, last.result), (OperationKind::Personalise, OutcomeResult::Done));
    assert_eq!(phone.top_up(&city, 100).await.result, OutcomeResult::Done);
}

/// The provider's own commands reach the application byte for byte, and the platform holds no key for them.
///
/// req: P-5.8.4.6.1.a
#[tokio::test]
async fn the_providers_commands_are_passed_through_unchanged() {
    use tsm_api::conversation::{ConversationReply, Step, TurnRequest};
    let city = City::new().await;
    let phone = Phone::new(&city, 1);
    let mut start = Phone::start_request(Operation::Personalise, None);
    start.aid = GREETING.into();
    let reply = phone.wallet.start(&start).await.unwrap();
    let ConversationReply::Steps { conversation, turn, steps, .. } = reply else { panic!("{reply:?}") };
    let sent: Vec<_> = steps
        .iter()
        .filter_map(|step| match step {
            Step::Select { .. } => None,
            Step::Transmit { apdu, .. } => Some(apdu.0.clone()),
        })
        .collect();
    assert_eq!(sent, crate::issuer::city::greeting_commands());
    let responses = vec![tsm_api::HexBytes(vec![0x90, 0x00]); steps.len()];
    let request = TurnRequest { turn, responses, ..TurnRequest::default() };
    let ended = phone.wallet.turn(conversation, &request).await.unwrap();
    let ConversationReply::Outcome { outcome, .. } = ended else { panic!("{ended:?}") };
    assert!(installed(&outcome), "{outcome:?}");
    let last = city.told.results.lock().unwrap().last().cloned().unwrap();
    assert_eq!((last.kind, last.result), (OperationKind::Personalise, OutcomeResult::Done));
}
