//! The SP-TSM's steps.

use tsm_domain::card::{
    CardClosing, CardOrder, CardOrderState, CardRecord, CardState, ClosingProgress, LockChange,
    LockIntention, ProvenPurse,
};
use tsm_domain::money::{
    Attempt, ClosingPurpose, Evidence, LoadProof, ProvenObservation, Resolution, Tac, TopUpRefusal,
    TopUpStage,
};
use tsm_domain::{ConversationId, Fen, OnlineCounter, OperationId, PaymentReference};
use tsm_storage::shared::{ChainKey, Fence};
use tsm_storage::sp_tsm::*;
use tsm_storage::{SpTsmStore, StorageError};

use crate::on_sp_tsm;
use crate::sample::*;

const LIMIT: Fen = Fen::new(100_000);

fn with(n: u128) -> With {
    With { deliveries: vec![delivery(n, 0)], notes: vec![note(se(1), "step")], incidents: vec![] }
}

fn outcome() -> WithOutcome {
    WithOutcome { always: with(1), credited: with(2), suspicious: with(3) }
}

async fn sent(store: &dyn SpTsmStore) -> Vec<u128> {
    let due = store.due_deliveries(at(99), 100).await.unwrap();
    due.into_iter().map(|delivery| delivery.id.as_uuid().as_u128()).collect()
}

fn payment(text: &str) -> PaymentReference {
    text.parse().unwrap()
}

#[tokio::test]
async fn a_consent_is_given_once() {
    on_sp_tsm(async |store| {
        let conversation = ConversationId::from_uuid(uuid(1));
        let allowed = Consent {
            conversation,
            se: se(1),
            application: aid(0x30),
            to: ConsentTo::Download,
            refused: None,
            at: at(1),
            result: None,
            server: None,
        };
        assert_eq!(store.record_consent(allowed.clone()).await, Ok(allowed.clone()));
        let refused = Consent { refused: Some("no".into()), at: at(2), ..allowed.clone() };
        assert_eq!(
            store.record_consent(refused.clone()).await,
            Ok(allowed.clone()),
            "asked again: the same answer"
        );
        let absence = Consent { to: ConsentTo::Absence, ..refused.clone() };
        let deletion = Consent { to: ConsentTo::Deletion, ..refused };
        for other in [&deletion, &absence] {
            assert_eq!(store.record_consent(other.clone()).await, Ok(other.clone()));
        }
        for result in ["installed", "failed"] {
            let reported =
                store.report_result(conversation, ConsentTo::Download, result.into(), with(1)).await;
            reported.unwrap();
        }
        let stored = store.consent(conversation, ConsentTo::Download).await.unwrap().unwrap();
        assert_eq!(stored.result.as_deref(), Some("installed"), "the first report counts");
        assert_eq!(store.consent(conversation, ConsentTo::Deletion).await.unwrap(), Some(deletion));
        assert_eq!(store.consent(conversation, ConsentTo::Absence).await.unwrap(), Some(absence));
        let unknown = ConversationId::from_uuid(uuid(9));
        let reported = store.report_result(unknown, ConsentTo::Download, "x".into(), With::default()).await;
        assert!(matches!(reported, Err(StorageError::Unknown { .. })));
    })
    .await;
}

#[tokio::test]
async fn a_card_number_is_given_once() {
    on_sp_tsm(async |store| {
        let order = card_order(1, se(1), card_number(1));
        assert_eq!(store.order_card(order.clone(), with(1)).await, Ok(CardOrdered::Accepted(order.clone())));
        let changed = CardOrder { card: card_number(2), ..order.clone() };
        assert_eq!(
            store.order_card(changed, with(2)).await,
            Ok(CardOrdered::Accepted(order.clone())),
            "run again"
        );
        let taken = card_order(2, se(2), card_number(1));
        assert_eq!(store.order_card(taken.clone(), with(3)).await, Ok(CardOrdered::NumberTaken));
        assert_eq!(store.card_order(taken.order).await, Ok(None));
        assert_eq!(sent(store).await, [1]);
        assert_eq!(store.open_card_order(se(1), aid(0x30)).await.unwrap(), Some(order));
        assert_eq!(store.open_card_order(se(1), aid(0x31)).await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn cards_and_orders_move_along_their_tables() {
    on_sp_tsm(async |store| {
        let fence = link(store, 1, se(1)).await;
        let order = card_order(1, se(1), card_number(1));
        store.order_card(order.clone(), With::default()).await.unwrap();
        let at_state = |state, card_state| SpChange {
            cards: vec![CardRecord { state: card_state, ..card(se(1), card_number(1)) }],
            orders: vec![CardOrder { state, ..order.clone() }],
            ..SpChange::default()
        };
        let skip = at_state(CardOrderState::Opened, CardState::Issuing);
        assert!(matches!(store.commit(fence, skip).await, Err(StorageError::Card(_))));
        assert_eq!(store.card(card_number(1)).await, Ok(None), "a refused change changes nothing");
        let intended = at_state(CardOrderState::PersonalisationIntended, CardState::Issuing);
        store.commit(fence, intended.clone()).await.unwrap();
        store.commit(fence, intended).await.unwrap();
        let opened = at_state(CardOrderState::Opened, CardState::Active);
        store.commit(fence, SpChange { deliveries: vec![delivery(1, 0)], ..opened }).await.unwrap();
        assert_eq!(store.card(card_number(1)).await.unwrap().unwrap().state, CardState::Active);
        for _ in 0..2 {
            assert_eq!(store.card_told(order.order).await.unwrap().state, CardOrderState::Told);
        }
        assert_eq!(store.open_card_order(se(1), aid(0x30)).await.unwrap(), None);
        assert_eq!(store.cards_on(se(1)).await.unwrap().len(), 1);
        assert_eq!(store.cards(None, 10).await.unwrap().len(), 1);
        assert_eq!(store.cards(Some(card_number(1)), 10).await.unwrap(), []);
        store.set_frozen(card_number(1), Some("odd".into()), with(2)).await.unwrap();
        assert_eq!(store.card(card_number(1)).await.unwrap().unwrap().frozen.as_deref(), Some("odd"));
        store.set_frozen(card_number(1), None, With::default()).await.unwrap();
        let proven = ProvenPurse { balance: Fen::new(7), counter: OnlineCounter(2), at: at(3) };
        store.record_proven(fence, card_number(1), proven).await.unwrap();
        assert_eq!(store.card(card_number(1)).await.unwrap().unwrap().proven, Some(proven));
        store.set_frozen(card_number(1), Some("odd again".into()), With::default()).await.unwrap();
        assert_eq!(store.card(card_number(1)).await.unwrap().unwrap().proven, Some(proven));
        store.set_frozen(card_number(1), None, With::default()).await.unwrap();
        let released = store.card(card_number(1)).await.unwrap().unwrap();
        assert_eq!((released.frozen, released.proven), (None, None), "it was examined, and begins anew");
        let domain = tsm_domain::security_domain::DomainOnSe::created(aid(0xD0), 1, at(1));
        store.commit(fence, SpChange { domains: vec![domain], ..SpChange::default() }).await.unwrap();
        assert_eq!(store.domains_on(se(1)).await.unwrap(), [domain]);
    })
    .await;
}

/// A card that is in use and a paid order for it, and the link to its SE.
async fn paid(store: &dyn SpTsmStore, order: u128) -> Fence {
    let fence = link(store, 100 + order, se(1)).await;
    let change = SpChange { cards: vec![card(se(1), card_number(1))], ..SpChange::default() };
    if store.card(card_number(1)).await.unwrap().is_none() {
        store.commit(fence, change).await.unwrap();
    }
    store.order_top_up(top_up(order, se(1), card_number(1))).await.unwrap();
    let reference = payment(&format!("P{order}"));
    store.confirm_payment(order_id(order), reference, Fen::new(5_000), With::default()).await.unwrap();
    fence
}

async fn attempt(store: &dyn SpTsmStore, n: u16, balance: u64) -> Attempt {
    let terminal = store.next_terminal_number(card_number(1), 3001).await.unwrap();
    Attempt { terminal, counter: OnlineCounter(n), balance: Fen::new(balance) }
}

#[tokio::test]
async fn one_payment_pays_once() {
    on_sp_tsm(async |store| {
        let order = top_up(1, se(1), card_number(1));
        assert_eq!(store.order_top_up(order.clone()).await, Ok(order.clone()));
        assert_eq!(store.order_top_up(order.clone()).await, Ok(order.clone()));
        let confirm = async |reference: &str, fen, n| {
            store.confirm_payment(order.order, payment(reference), Fen::new(fen), with(n)).await.unwrap()
        };
        let expected = PaymentConfirmed::WrongAmount { expected: Fen::new(5_000) };
        assert_eq!(confirm("P1", 4_999, 1).await, expected);
        assert!(matches!(confirm("P1", 5_000, 2).await, PaymentConfirmed::Now(_)));
        assert!(matches!(confirm("P1", 5_000, 3).await, PaymentConfirmed::Before(_)));
        assert_eq!(confirm("P2", 5_000, 4).await, PaymentConfirmed::PaidByAnother(payment("P1")));
        assert_eq!(sent(store).await, [2], "one report of the payment");
        assert!(matches!(store.close_top_up(order.order).await, Err(StorageError::Conflict { .. })));
        store.order_top_up(top_up(2, se(1), card_number(1))).await.unwrap();
        store.close_top_up(order_id(2)).await.unwrap();
        let late = store.confirm_payment(order_id(2), payment("P3"), Fen::new(5_000), with(5)).await;
        assert_eq!(late, Ok(PaymentConfirmed::Closed));
        // A payment that has paid an order pays no other, wherever that one stands.
        store.order_top_up(top_up(3, se(1), card_number(1))).await.unwrap();
        for other in [2, 3] {
            let again = store.confirm_payment(order_id(other), payment("P1"), Fen::new(5_000), with(7)).await;
            assert_eq!(again, Ok(PaymentConfirmed::UsedFor(order.order)));
        }
        assert_eq!(sent(store).await, [2]);
        assert_eq!(store.order_paid_by(&payment("P1")).await, Ok(Some(order.order)));
        for unused in ["P2", "P3"] {
            assert_eq!(store.order_paid_by(&payment(unused)).await, Ok(None));
        }
        let unknown = store.confirm_payment(order_id(9), payment("P4"), Fen::new(1), with(6)).await;
        assert!(matches!(unknown, Err(StorageError::Unknown { .. })));
    })
    .await;
}

#[tokio::test]
async fn orders_that_nobody_paid_are_found_oldest_first() {
    on_sp_tsm(async |store| {
        let mut orders = Vec::new();
        for number in 1..=4 {
            let order =
                TopUpOrder { created_at: at(10 - number), ..top_up(number as u128, se(1), card_number(1)) };
            orders.push(store.order_top_up(order).await.unwrap());
        }
        let unpaid = async |before, limit| {
            let found = store.unpaid_top_ups(at(before), limit).await.unwrap();
            found.into_iter().map(|order| order.order).collect::<Vec<_>>()
        };
        assert_eq!(unpaid(99, 9).await, [order_id(4), order_id(3), order_id(2), order_id(1)]);
        assert_eq!(unpaid(99, 2).await, [order_id(4), order_id(3)]);
        assert_eq!(unpaid(8, 9).await, [order_id(4), order_id(3)], "those made before");
        store.confirm_payment(order_id(4), payment("P4"), Fen::new(5_000), with(1)).await.unwrap();
        store.close_top_up(order_id(2)).await.unwrap();
        assert_eq!(unpaid(99, 9).await, [order_id(3), order_id(1)]);
    })
    .await;
}

#[tokio::test]
async fn a_terminal_number_never_returns() {
    on_sp_tsm(async |store| {
        let first = store.next_terminal_number(card_number(1), 3001).await.unwrap();
        let second = store.next_terminal_number(card_number(1), 3001).await.unwrap();
        assert_eq!([first, second].map(|number| number.to_string()), ["300100000001", "300100000002"]);
        let other = store.next_terminal_number(card_number(2), 3001).await.unwrap();
        assert_eq!(other, first, "each card counts for itself");
        let refused = store.next_terminal_number(card_number(1), 10_000).await;
        assert!(matches!(refused, Err(StorageError::Conflict { .. })));
    })
    .await;
}

#[tokio::test]
async fn a_top_up_from_payment_to_report() {
    on_sp_tsm(async |store| {
        let fence = paid(store, 1).await;
        let tried = attempt(store, 9, 100).await;
        let intended = store.intend_load(fence, order_id(1), tried, LIMIT, at(5), with(1)).await.unwrap();
        assert_eq!(intended.stage, TopUpStage::Intended(tried));
        let again = store.intend_load(fence, order_id(1), tried, LIMIT, at(5), with(1)).await;
        assert_eq!(again, Ok(intended), "the same step again");
        assert!(matches!(store.cancel_top_up(order_id(1), with(9)).await, Err(StorageError::TopUp(_))));
        let tac = Tac([1, 2, 3, 4]);
        for _ in 0..2 {
            let loaded =
                store.record_loaded(fence, order_id(1), tried.terminal, tac, at(6), with(2)).await.unwrap();
            assert_eq!(loaded.stage, TopUpStage::Loaded(tried, LoadProof::Tac(tac)));
        }
        let proven = store.card(card_number(1)).await.unwrap().unwrap().proven.unwrap();
        assert_eq!((proven.balance, proven.counter), (Fen::new(5_100), OnlineCounter(10)));
        assert_eq!(store.open_top_ups(card_number(1)).await.unwrap().len(), 1);
        for _ in 0..2 {
            assert_eq!(
                store.top_up_told(order_id(1)).await.unwrap().stage,
                TopUpStage::Told(tried, LoadProof::Tac(tac))
            );
        }
        assert_eq!(store.open_top_ups(card_number(1)).await.unwrap(), []);
        assert_eq!(sent(store).await, [1, 2]);
        let journal = store.chain(ChainKey::Se(se(1)), 0, 10).await.unwrap();
        assert!(!journal.is_empty());
        assert_eq!(store.top_ups_of(card_number(1), 10).await.unwrap().len(), 1);
        assert!(store.top_up(order_id(1)).await.unwrap().unwrap().paid().is_some());
    })
    .await;
}

#[tokio::test]
async fn an_attempt_needs_payment_the_newest_terminal_number_and_the_link() {
    on_sp_tsm(async |store| {
        let fence = paid(store, 1).await;
        store.order_top_up(top_up(2, se(1), card_number(1))).await.unwrap();
        let stale = attempt(store, 9, 100).await;
        let fresh = attempt(store, 9, 100).await;
        let intend = async |fence, order, tried| {
            store.intend_load(fence, order_id(order), tried, LIMIT, at(5), with(9)).await.unwrap_err()
        };
        assert!(
            matches!(intend(fence, 2, fresh).await, StorageError::TopUp(TopUpRefusal::Stage { .. })),
            "unpaid"
        );
        assert_eq!(intend(fence, 1, stale).await, StorageError::TopUp(TopUpRefusal::AnotherAttempt));
        let poor = Attempt { balance: Fen::new(99_999), ..fresh };
        assert!(matches!(intend(fence, 1, poor).await, StorageError::TopUp(TopUpRefusal::TooMuch(_))));
        let elsewhere = link(store, 50, se(2)).await;
        assert!(
            matches!(intend(elsewhere, 1, fresh).await, StorageError::Conflict { .. }),
            "another SE's link"
        );
        let newer = link(store, 51, se(1)).await;
        assert!(matches!(intend(fence, 1, fresh).await, StorageError::Fenced { .. }));
        store.set_frozen(card_number(1), Some("odd".into()), With::default()).await.unwrap();
        assert!(matches!(intend(newer, 1, fresh).await, StorageError::Card(_)), "a frozen card");
        store.set_frozen(card_number(1), None, With::default()).await.unwrap();
        assert_eq!(sent(store).await, [], "refused steps send nothing");
        store.intend_load(newer, order_id(1), fresh, LIMIT, at(5), with(1)).await.unwrap();
        let third = paid(store, 3).await;
        let later = attempt(store, 9, 100).await;
        assert_eq!(
            intend(third, 3, later).await,
            StorageError::TopUp(TopUpRefusal::OutcomeUnknown),
            "one after another"
        );
    })
    .await;
}

#[tokio::test]
async fn an_unknown_outcome_is_settled_by_the_card() {
    let cases = [
        (9, 100, Resolution::NotCredited, vec![1]),
        (10, 5_100, Resolution::Credited(LoadProof::TacUnavailable), vec![1, 2]),
    ];
    for (counter, balance, expected, messages) in cases {
        on_sp_tsm(async |store| {
            let fence = paid(store, 1).await;
            let tried = attempt(store, 9, 100).await;
            store.intend_load(fence, order_id(1), tried, LIMIT, at(5), With::default()).await.unwrap();
            let seen = ProvenObservation::after_mac1(OnlineCounter(counter), Fen::new(balance));
            for _ in 0..2 {
                let settled = store
                    .settle_attempt(fence, order_id(1), seen, Evidence::Overwritten, at(7), outcome())
                    .await;
                assert_eq!(settled.unwrap().1, expected, "and again the same");
            }
            let proven = store.card(card_number(1)).await.unwrap().unwrap().proven.unwrap();
            assert_eq!((proven.balance, proven.counter), (Fen::new(balance), OnlineCounter(counter)));
            assert_eq!(sent(store).await, messages);
        })
        .await;
    }
}

#[tokio::test]
async fn a_suspicious_card_is_frozen() {
    on_sp_tsm(async |store| {
        let fence = paid(store, 1).await;
        let tried = attempt(store, 9, 100).await;
        store.intend_load(fence, order_id(1), tried, LIMIT, at(5), With::default()).await.unwrap();
        let seen = ProvenObservation::after_mac1(OnlineCounter(9), Fen::new(101));
        for _ in 0..2 {
            let settled =
                store.settle_attempt(fence, order_id(1), seen, Evidence::Overwritten, at(7), outcome()).await;
            assert!(matches!(settled.unwrap().1, Resolution::Suspicious(_)));
        }
        assert_eq!(sent(store).await, [1, 3], "the question goes with the freeze");
        let frozen = store.card(card_number(1)).await.unwrap().unwrap();
        assert!(frozen.frozen.is_some());
        assert_eq!(frozen.proven.unwrap().balance, Fen::new(100), "what it claims is not believed");
        assert!(matches!(store.cancel_top_up(order_id(1), with(4)).await, Err(StorageError::TopUp(_))));
    })
    .await;
}

/// Two people release a card that an attempt has frozen: the attempt rests on what the card proved before, and the
/// same word of the card settles it then. A worse one freezes it anew.
#[tokio::test]
async fn a_released_card_settles_the_attempt_that_froze_it() {
    let cases = [
        (9, 101, Resolution::NotCredited, vec![1, 3]),
        (9, 60, Resolution::NotCredited, vec![1, 3]),
        (10, 5_100, Resolution::Credited(LoadProof::TacUnavailable), vec![1, 2, 3]),
    ];
    for (counter, balance, expected, messages) in cases {
        on_sp_tsm(async |store| {
            let fence = paid(store, 1).await;
            let tried = attempt(store, 9, 100).await;
            store.intend_load(fence, order_id(1), tried, LIMIT, at(5), With::default()).await.unwrap();
            let settle = async |counter, balance| {
                let seen = ProvenObservation::after_mac1(OnlineCounter(counter), Fen::new(balance));
                let step =
                    store.settle_attempt(fence, order_id(1), seen, Evidence::Overwritten, at(7), outcome());
                step.await.unwrap().1
            };
            assert!(matches!(settle(9, 101).await, Resolution::Suspicious(_)));
            assert!(
                matches!(settle(counter, balance).await, Resolution::Suspicious(_)),
                "it is frozen still"
            );
            store.set_frozen(card_number(1), None, With::default()).await.unwrap();
            let released = store.card(card_number(1)).await.unwrap().unwrap();
            assert_eq!(released.proven.unwrap().at, at(5), "the attempt rests on it");
            assert!(matches!(settle(9, 102).await, Resolution::Suspicious(_)), "nobody has looked at that");
            assert!(store.card(card_number(1)).await.unwrap().unwrap().frozen.is_some());
            store.set_frozen(card_number(1), None, With::default()).await.unwrap();
            for _ in 0..2 {
                assert_eq!(settle(counter, balance).await, expected, "{counter} {balance}");
            }
            let card = store.card(card_number(1)).await.unwrap().unwrap();
            assert_eq!((card.frozen, card.proven.unwrap().balance), (None, Fen::new(balance)));
            assert_eq!(sent(store).await, messages);
        })
        .await;
    }
}

#[tokio::test]
async fn a_cancel_follows_the_cards_proof() {
    on_sp_tsm(async |store| {
        let fence = paid(store, 1).await;
        let tried = attempt(store, 9, 100).await;
        store.intend_load(fence, order_id(1), tried, LIMIT, at(5), With::default()).await.unwrap();
        let refused = store.cancel_top_up(order_id(1), with(1)).await;
        assert_eq!(refused, Err(StorageError::TopUp(TopUpRefusal::OutcomeUnknown)));
        let seen = ProvenObservation::after_mac1(OnlineCounter(9), Fen::new(100));
        let none = With::default;
        store
            .settle_attempt(fence, order_id(1), seen, Evidence::Overwritten, at(7), WithOutcome::default())
            .await
            .unwrap();
        for _ in 0..2 {
            assert_eq!(store.cancel_top_up(order_id(1), with(2)).await.unwrap().stage, TopUpStage::Cancelled);
        }
        assert_eq!(sent(store).await, [2], "one refund is asked for");
        let next = attempt(store, 9, 100).await;
        let after = store.intend_load(fence, order_id(1), next, LIMIT, at(8), none()).await;
        assert!(matches!(after, Err(StorageError::TopUp(_))), "what was cancelled is not credited");
    })
    .await;
}

/// What follows from the centre's word about a closed card is put once, however often the word comes.
///
/// req: B-7.5.1.b
#[tokio::test]
async fn the_centres_word_about_a_closing_counts_once() {
    on_sp_tsm(async |store| {
        let fence = link(store, 1, se(1)).await;
        let operation = OperationId::from_uuid(uuid(9));
        let closing = CardClosing {
            operation,
            purpose: ClosingPurpose::Return,
            before: CardState::Active,
            begun_at: at(2),
            progress: ClosingProgress::Intended,
            end_number: None,
        };
        let live = card(se(1), card_number(1));
        let put = async |card: CardRecord| {
            store.commit(fence, SpChange { cards: vec![card], ..SpChange::default() }).await
        };
        put(live.clone()).await.unwrap();
        let closed = CardRecord { state: CardState::Closing, closing: Some(closing), ..live };
        put(closed.clone()).await.unwrap();
        let early = store.card_closing_told(card_number(1), operation, with(5)).await;
        assert!(matches!(early, Err(StorageError::Unknown { .. })), "it is not parked");
        let proven = ProvenPurse { balance: Fen::new(30), counter: OnlineCounter(1), at: at(3) };
        let parked = closed.parked(proven, 9);
        assert_eq!(parked.closing.and_then(|closing| closing.end_number), Some(9));
        put(parked.clone()).await.unwrap();
        let other = store.card_closing_told(card_number(1), OperationId::from_uuid(uuid(8)), with(5)).await;
        assert!(matches!(other, Err(StorageError::Unknown { .. })), "another closing");
        let told = parked.with_progress(ClosingProgress::Told(Fen::new(30)));
        for _ in 0..2 {
            assert_eq!(store.card_closing_told(card_number(1), operation, with(5)).await.unwrap(), told);
        }
        assert_eq!(sent(store).await.len(), 1);
        assert_eq!(store.card(card_number(1)).await.unwrap(), Some(told.clone()));
        assert_eq!(told.open_closing(), None);
        assert!(parked.open_closing().is_some());
    })
    .await;
}

/// A lock is intended before the card is asked; while nobody has seen the card it stays what it was, whatever
/// else is stored of it, and only whoever holds the link says what came of it.
#[tokio::test]
async fn an_intended_lock_stays_until_the_card_was_seen() {
    on_sp_tsm(async |store| {
        let fence = link(store, 1, se(1)).await;
        let put = async |fence: Fence, card: CardRecord| {
            store.commit(fence, SpChange { cards: vec![card], ..SpChange::default() }).await
        };
        let live = card(se(1), card_number(1));
        put(fence, live.clone()).await.unwrap();
        let operation = OperationId::from_uuid(uuid(9));
        let intention = LockIntention { operation, change: LockChange::Lock, begun_at: at(2) };
        let asked = live.with_lock_intended(intention).unwrap();
        put(fence, asked.clone()).await.unwrap();
        let proven = ProvenPurse { balance: Fen::new(30), counter: OnlineCounter(1), at: at(3) };
        store.record_proven(fence, card_number(1), proven).await.unwrap();
        let kept = store.card(card_number(1)).await.unwrap().unwrap();
        assert_eq!(kept, CardRecord { proven: Some(proven), ..asked.clone() });
        let later = link(store, 2, se(1)).await;
        let seen = kept.with_lock_seen(LockChange::Lock).unwrap();
        assert!(matches!(put(fence, seen.clone()).await, Err(StorageError::Fenced { .. })));
        assert_eq!(store.cards_on(se(1)).await.unwrap(), [kept]);
        put(later, seen.clone()).await.unwrap();
        assert_eq!(store.card(card_number(1)).await.unwrap(), Some(seen));
    })
    .await;
}
