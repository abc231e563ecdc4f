//! Accounts that somebody has to look at are found by how they stand, a page at a time.

use tsm_domain::Fen;
use tsm_domain::money::{CardAccountEvent, ClosingPurpose};
use tsm_storage::ClearingStore;
use tsm_storage::clearing::{Books, Standing};

use crate::on_clearing;
use crate::sample::{at, card_number, se};

async fn live(store: &dyn ClearingStore, number: u64) {
    let carrier = se(number as u8);
    store.open_account(card_number(number), carrier, at(1), Books::default()).await.unwrap();
    apply(store, number, CardAccountEvent::Opened(carrier)).await;
}

async fn apply(store: &dyn ClearingStore, number: u64, event: CardAccountEvent) {
    store.apply_event(card_number(number), event, Books::default()).await.unwrap();
}

async fn parked(store: &dyn ClearingStore, number: u64) {
    live(store, number).await;
    apply(store, number, CardAccountEvent::ClosingBegun(ClosingPurpose::Return)).await;
    apply(store, number, CardAccountEvent::Parked(Fen::ZERO)).await;
}

#[tokio::test]
async fn cards_are_found_by_how_they_stand() {
    on_clearing(async |store| {
        for number in 1..=2 {
            live(store, number).await;
        }
        for number in 3..=7 {
            parked(store, number).await;
        }
        for number in [6, 7] {
            apply(store, number, CardAccountEvent::RefundOrdered).await;
        }
        for number in [2, 5] {
            store.set_frozen(card_number(number), Some("copied".into()), Books::default()).await.unwrap();
        }
        let prefix = &card_number(1).as_str()[..8].to_owned();
        let find = async |standing, after: Option<u64>, most| {
            let found =
                store.accounts_that(standing, Some(prefix), after.map(card_number), most).await.unwrap();
            let all = store.accounts_that(standing, None, after.map(card_number), most).await.unwrap();
            assert_eq!(found, all, "all cards are of one issuer");
            found.iter().map(|row| row.card).collect::<Vec<_>>()
        };
        let cards = |numbers: &[u64]| numbers.iter().map(|number| card_number(*number)).collect::<Vec<_>>();
        assert_eq!(find(Standing::Parked, None, 10).await, cards(&[3, 4, 5]));
        assert_eq!(find(Standing::Parked, None, 2).await, cards(&[3, 4]));
        assert_eq!(find(Standing::Parked, Some(4), 2).await, cards(&[5]));
        assert_eq!(find(Standing::RefundPayable, None, 10).await, cards(&[6, 7]));
        assert_eq!(find(Standing::Frozen, None, 10).await, cards(&[2, 5]));
        store.set_frozen(card_number(2), None, Books::default()).await.unwrap();
        assert_eq!(find(Standing::Frozen, None, 10).await, cards(&[5]));
        let others = store.accounts_that(Standing::Parked, Some("99999999"), None, 10).await.unwrap();
        assert_eq!(others, [], "another issuer has none");
    })
    .await;
}
