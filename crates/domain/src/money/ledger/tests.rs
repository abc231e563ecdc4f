//! The guards, one by one, and the conservation of money.

use proptest::prelude::*;

use super::*;
use crate::money::equation::MoneyTotals;

fn id(n: u128) -> TransferId {
    TransferId::from_uuid(uuid::Uuid::from_u128(n))
}

fn card(n: u64) -> CardNumber {
    CardNumber::compose("31049900", n).unwrap()
}

fn moved(n: u128, code: TransferCode, amount: u64) -> Transfer {
    code.transfer(id(n), card(1), Fen::new(amount), jiff::Timestamp::UNIX_EPOCH)
}

fn posted(ledger: &Ledger, kind: AccountKind) -> u64 {
    let Ok(balance) = ledger.balance(card(1), kind);
    balance.posted.get()
}

/// A ledger with 100 fen in flight on card 1.
fn paid() -> Ledger {
    let mut ledger = Ledger::default();
    ledger.record(&moved(1, TransferCode::PaymentConfirmed, 100)).unwrap();
    ledger
}

#[test]
fn each_guard_has_its_result_and_they_run_in_order() {
    use TransferRefusal as Refusal;
    let mut ledger = paid();
    ledger.record(&moved(2, TransferCode::Loaded, 60).pending()).unwrap();
    let reserve = moved(2, TransferCode::Loaded, 60).pending();
    let at = jiff::Timestamp::UNIX_EPOCH;
    let mut other = moved(9, TransferCode::Loaded, 10);
    other.credit = Account::Card(card(2), AccountKind::Purse);
    let mut itself = moved(9, TransferCode::Loaded, 10);
    itself.credit = itself.debit;
    let wrong = Transfer { code: TransferCode::Spent, ..moved(9, TransferCode::Loaded, 10) };
    let fits = |code, from, to| Refusal::AccountsDoNotFit { code, from, to };
    let cases = [
        (moved(1, TransferCode::PaymentConfirmed, 99), Refusal::ExistsWithDifferences(id(1))),
        (moved(9, TransferCode::Loaded, 0), Refusal::AmountZero),
        (itself, Refusal::AccountsEqual),
        (wrong, fits(TransferCode::Spent, AccountKind::Purse, AccountKind::Spent)),
        (other, Refusal::AnotherCard),
        (moved(7, TransferCode::Loaded, 1).post(id(9), Fen::new(1), at), Refusal::PendingUnknown(id(7))),
        (
            Transfer { kind: TransferKind::Post(id(2)), ..moved(9, TransferCode::TopUpCancelled, 1) },
            Refusal::PendingDiffers(id(2)),
        ),
        (
            reserve.post(id(9), Fen::new(61), at),
            Refusal::ExceedsPending { asked: Fen::new(61), reserved: Fen::new(60) },
        ),
        (
            moved(9, TransferCode::TopUpCancelled, 41),
            Refusal::ExceedsBalance { asked: Fen::new(41), available: Fen::new(40) },
        ),
    ];
    for (transfer, refusal) in cases {
        assert_eq!(ledger.clone().record(&transfer), Err(refusal), "{transfer:?}");
    }
    let mut posted = ledger.clone();
    posted.record(&reserve.post(id(3), Fen::new(60), at)).unwrap();
    assert_eq!(posted.record(&reserve.void(id(4), at)), Err(Refusal::PendingPosted(id(2))));
    ledger.record(&reserve.void(id(3), at)).unwrap();
    assert_eq!(ledger.record(&reserve.post(id(4), Fen::new(60), at)), Err(Refusal::PendingVoided(id(2))));
}

#[test]
fn pending_post_and_void() {
    let at = jiff::Timestamp::UNIX_EPOCH;
    let mut ledger = paid();
    let reserve = moved(2, TransferCode::Loaded, 60).pending();
    ledger.record(&reserve).unwrap();
    assert_eq!((posted(&ledger, AccountKind::InFlight), posted(&ledger, AccountKind::Purse)), (100, 0));
    ledger.record(&reserve.post(id(3), Fen::new(50), at)).unwrap();
    assert_eq!((posted(&ledger, AccountKind::InFlight), posted(&ledger, AccountKind::Purse)), (50, 50));
    ledger.record(&moved(4, TransferCode::TopUpCancelled, 50)).unwrap();
    assert_eq!(posted(&ledger, AccountKind::RefundPayable), 50);
}

#[test]
fn a_repeated_transfer_changes_nothing() {
    let mut ledger = paid();
    let later = Transfer {
        at: "2026-01-01T00:00:00Z".parse().unwrap(),
        ..moved(1, TransferCode::PaymentConfirmed, 100)
    };
    ledger.record(&later).unwrap();
    assert_eq!(ledger.transfers().len(), 1);
    assert_eq!(posted(&ledger, AccountKind::InFlight), 100);
}

#[test]
fn a_list_of_transfers_is_made_as_a_whole_or_not_at_all() {
    let mut ledger = Ledger::default();
    let paid_and_loaded =
        [moved(1, TransferCode::PaymentConfirmed, 100), moved(2, TransferCode::Loaded, 100)];
    let too_much = [moved(3, TransferCode::Spent, 60), moved(4, TransferCode::Spent, 60)];
    ledger.record_all(&paid_and_loaded).unwrap();
    let refused = ledger.record_all(&too_much);
    assert_eq!(
        refused,
        Err(TransferRefusal::ExceedsBalance { asked: Fen::new(60), available: Fen::new(40) })
    );
    assert_eq!((posted(&ledger, AccountKind::Purse), ledger.transfers().len()), (100, 2));
    ledger.record_all(&paid_and_loaded).unwrap();
    assert_eq!(ledger.transfers().len(), 2, "a repeated list changes nothing");
}

#[test]
fn names_round_trip() {
    for kind in AccountKind::ALL {
        assert_eq!(AccountKind::from_name(kind.name()), Some(kind));
    }
    assert_eq!(AccountKind::from_name("elsewhere"), None);
    for code in TransferCode::all() {
        assert_eq!(TransferCode::from_name(code.name()), Some(code));
    }
}

proptest! {
    /// Whatever is tried in whatever order, the equation holds and no balance is negative.
    #[test]
    fn money_is_conserved(tries in prop::collection::vec((0..13usize, 0..200u64, 1..4u64, 0..4u8, 0..60u128), 0..80)) {
        let mut ledger = Ledger::default();
        let codes: Vec<_> = TransferCode::all().collect();
        let at = jiff::Timestamp::UNIX_EPOCH;
        for (index, (code, amount, owner, kind, pending)) in tries.into_iter().enumerate() {
            let own = id(index as u128);
            let made = codes[code].transfer(own, card(owner), Fen::new(amount), at);
            let known = ledger.transfers().iter().find(|known| known.id == id(pending)).cloned();
            let made = match (kind, known) {
                (1, _) => made.pending(),
                (2, Some(known)) => known.post(own, Fen::new(amount), at),
                (3, Some(known)) => known.void(own, at),
                _ => made,
            };
            let _ = ledger.record(&made);
        }
        for (.., balance) in ledger.balances() {
            prop_assert!(balance.reserved <= balance.posted);
        }
        let totals = MoneyTotals::of_transfers(ledger.transfers());
        prop_assert_eq!(totals.check(), Ok(()));
        let purses: Fen =
            ledger.balances().filter(|row| row.1 == AccountKind::Purse).map(|row| row.2.posted).sum();
        prop_assert_eq!(totals.purses, i128::from(purses.get()));
    }
}
