//! Parked cards on their way to another SE.

use tsm_domain::Fen;
use tsm_domain::OperationId;
use tsm_domain::arrival::{Arrival, ArrivalState};
use tsm_domain::card::{CardClosing, CardRecord, CardState, ClosingProgress};
use tsm_domain::money::ClosingPurpose;
use tsm_storage::StorageError;
use tsm_storage::sp_tsm::*;

use crate::on_sp_tsm;
use crate::sample::*;

fn arrival(n: u128, to: u8, card: u64) -> Arrival {
    Arrival {
        operation: OperationId::from_uuid(uuid(n)),
        card: card_number(card),
        from: se(1),
        se: se(to),
        application: aid(0x30),
        number: number(1),
        state: ArrivalState::Claiming,
        created_at: at(3),
    }
}

fn in_state(arrival: &Arrival, state: ArrivalState) -> Arrival {
    Arrival { state, ..arrival.clone() }
}

/// Two phones claim one parked card: one gets it. One SE takes one card for an application.
#[tokio::test]
async fn a_card_is_on_its_way_to_one_se() {
    on_sp_tsm(async |store| {
        let first = arrival(1, 2, 1);
        let accepted = Ok(ArrivalOrdered::Accepted(first.clone()));
        assert_eq!(store.order_arrival(first.clone(), With::default()).await, accepted);
        assert_eq!(store.order_arrival(first.clone(), With::default()).await, accepted, "run again");
        let busy = Ok(ArrivalOrdered::Busy(first.clone()));
        assert_eq!(store.order_arrival(arrival(2, 3, 1), With::default()).await, busy, "the same card");
        assert_eq!(store.order_arrival(arrival(3, 2, 2), With::default()).await, busy, "the same SE");
        let other = arrival(4, 3, 2);
        let accepted = Ok(ArrivalOrdered::Accepted(other.clone()));
        assert_eq!(store.order_arrival(other.clone(), With::default()).await, accepted);
        assert_eq!(store.open_arrival(se(2), aid(0x30)).await, Ok(Some(first.clone())));
        assert_eq!(store.open_arrival(se(2), aid(0x31)).await, Ok(None));
        assert_eq!(store.arrival_of(card_number(2)).await, Ok(Some(other)));
        let ended = store.give_up_arrival(first.operation, With::default()).await.unwrap();
        assert_eq!(ended.state, ArrivalState::GivenUp);
        assert_eq!(store.open_arrival(se(2), aid(0x30)).await, Ok(None));
        let again = store.order_arrival(arrival(2, 3, 1), With::default()).await.unwrap();
        assert!(matches!(again, ArrivalOrdered::Busy(_)), "the second SE is taken by another card");
        let again = store.order_arrival(arrival(5, 4, 1), With::default()).await.unwrap();
        assert!(matches!(again, ArrivalOrdered::Accepted(_)));
        assert_eq!(store.arrival(first.operation).await, Ok(Some(ended)));
    })
    .await;
}

#[tokio::test]
async fn arrivals_move_along_their_table_and_bring_the_card_back() {
    on_sp_tsm(async |store| {
        let fence = link(store, 1, se(1)).await;
        let card = card(se(1), card_number(1));
        for state in [CardState::Issuing, CardState::Active, CardState::Closing, CardState::Parked] {
            let cards = vec![CardRecord { state, ..card.clone() }];
            store.commit(fence, SpChange { cards, ..SpChange::default() }).await.unwrap();
        }
        let first = arrival(1, 2, 1);
        store.order_arrival(first.clone(), With::default()).await.unwrap();
        let early = store.move_arrival(first.operation, ArrivalState::Opened, With::default()).await;
        assert!(matches!(early, Err(StorageError::Arrival(_))));
        let claimed = store.move_arrival(first.operation, ArrivalState::Claimed, With::default()).await;
        assert_eq!(claimed, Ok(in_state(&first, ArrivalState::Claimed)));
        let fence = link(store, 2, se(2)).await;
        let here = CardRecord { state: CardState::Issuing, se: se(2), ..card.clone() };
        let change =
            |arrivals: Vec<Arrival>| SpChange { cards: vec![here.clone()], arrivals, ..SpChange::default() };
        let alone = store.commit(fence, change(vec![])).await;
        assert!(matches!(alone, Err(StorageError::Conflict { .. })), "nothing brings it back by itself");
        let other_place = Arrival { se: se(3), ..in_state(&first, ArrivalState::Writing) };
        assert!(store.commit(fence, change(vec![other_place])).await.is_err());
        assert_eq!(store.card(card_number(1)).await.unwrap().unwrap().se, se(1));
        let writing = in_state(&first, ArrivalState::Writing);
        store.commit(fence, change(vec![writing.clone()])).await.unwrap();
        store.commit(fence, change(vec![writing])).await.unwrap();
        assert_eq!(store.cards_on(se(2)).await.unwrap(), std::slice::from_ref(&here));
        let at_once = store.give_up_arrival(first.operation, With::default()).await;
        assert!(matches!(at_once, Err(StorageError::Arrival(_))), "the SE may hold it");
        store.move_arrival(first.operation, ArrivalState::GivingUp, With::default()).await.unwrap();
        for _ in 0..2 {
            store.give_up_arrival(first.operation, With::default()).await.unwrap();
            let gone = store.card(card_number(1)).await.unwrap().unwrap();
            assert_eq!((gone.state, gone.se), (CardState::Closed, se(1)));
        }
        let unknown = OperationId::from_uuid(uuid(9));
        let moved = store.move_arrival(unknown, ArrivalState::Claimed, With::default()).await;
        assert!(matches!(moved, Err(StorageError::Unknown { .. })));
    })
    .await;
}

/// A parked card goes to a phone or back to its rider: whichever is stored first shuts the other out.
#[tokio::test]
async fn a_parked_card_is_claimed_or_returned() {
    on_sp_tsm(async |store| {
        let fence = link(store, 1, se(1)).await;
        let card = card(se(1), card_number(1));
        let closing = |purpose, progress| CardClosing {
            operation: OperationId::from_uuid(uuid(9)),
            purpose,
            before: CardState::Active,
            begun_at: at(2),
            progress,
            end_number: None,
        };
        let parked = closing(ClosingPurpose::Migration, ClosingProgress::Parked(Fen::new(5)));
        for state in [CardState::Issuing, CardState::Active, CardState::Closing, CardState::Parked] {
            let away = matches!(state, CardState::Closing | CardState::Parked);
            let cards = vec![CardRecord { state, closing: away.then_some(parked), ..card.clone() }];
            store.commit(fence, SpChange { cards, ..SpChange::default() }).await.unwrap();
        }
        let number = card_number(1);
        let early = store.return_parked(number, With::default()).await;
        assert!(matches!(early, Err(StorageError::Conflict { .. })), "the centre does not have it yet");
        store.card_closing_told(number, parked.operation, With::default()).await.unwrap();
        let phone = arrival(1, 2, 1);
        store.order_arrival(phone.clone(), With::default()).await.unwrap();
        let busy = Ok(ParkedReturned::Busy(phone.clone()));
        assert_eq!(store.return_parked(number, With::default()).await, busy);
        store.give_up_arrival(phone.operation, With::default()).await.unwrap();
        let with = || With { notes: vec![note(se(1), "returned")], ..With::default() };
        let before = store.chain(note(se(1), "returned").chain, 0, 99).await.unwrap().len();
        for _ in 0..2 {
            let Ok(ParkedReturned::Returned(returned)) = store.return_parked(number, with()).await else {
                panic!("it is parked, and nobody claims it");
            };
            let told = closing(ClosingPurpose::Return, ClosingProgress::Told(Fen::new(5)));
            assert_eq!(returned.closing, Some(told));
            assert_eq!(store.card(number).await, Ok(Some(returned)));
        }
        assert_eq!(
            store.chain(note(se(1), "returned").chain, 0, 99).await.unwrap().len(),
            before + 1,
            "once"
        );
        let late = store.order_arrival(arrival(2, 3, 1), With::default()).await;
        assert!(matches!(late, Err(StorageError::Conflict { .. })), "its money goes back");
        let unknown = store.return_parked(card_number(7), With::default()).await;
        assert!(matches!(unknown, Err(StorageError::Unknown { .. })));
    })
    .await;
}

#[tokio::test]
async fn cards_are_found_by_their_holder() {
    on_sp_tsm(async |store| {
        let order = card_order(1, se(1), card_number(1));
        let number_of_order = order.number.clone();
        store.order_card(order, With::default()).await.unwrap();
        let first = number_of_order.map(|number| CardHolder { number, data: HolderData::Current });
        assert_eq!(store.holder(card_number(1)).await.unwrap(), first);
        let due = CardHolder { number: number(7), data: HolderData::Due };
        store.set_holder(card_number(1), due.clone(), With::default()).await.unwrap();
        store.holder_written(card_number(1), number(6), With::default()).await.unwrap();
        assert_eq!(store.holder(card_number(1)).await.unwrap(), Some(due.clone()), "he has another by now");
        store.holder_written(card_number(1), number(7), With::default()).await.unwrap();
        let current = CardHolder { data: HolderData::Current, ..due };
        assert_eq!(store.holder(card_number(1)).await.unwrap(), Some(current));
        assert_eq!(store.cards_of(&number(7)).await.unwrap(), [], "it was never made");
        let fence = link(store, 1, se(1)).await;
        let known = card(se(1), card_number(1));
        let change = SpChange { cards: vec![known.clone()], ..SpChange::default() };
        store.commit(fence, change).await.unwrap();
        assert_eq!(store.cards_of(&number(7)).await.unwrap(), [known]);
        assert_eq!(store.cards_of(&number(8)).await.unwrap(), []);
        assert_eq!(store.holder(card_number(2)).await.unwrap(), None);
    })
    .await;
}
