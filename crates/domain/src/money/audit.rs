//! The books equation, card by card: what a card's accounts hold must follow from its transfers, and its
//! transfers from its transactions.
//!
//! Every transfer gives as much as it takes, so the sum of all transfers balances by itself. What can break is
//! a balance beside them, a transfer without its transaction, or a state that the money does not fit. All of it
//! shows on one card, so the check goes through the cards and never holds more than a page of them.

use std::collections::BTreeMap;
use std::fmt;

use super::card_account::CardAccountState;
use super::equation::MoneyTotals;
use super::ledger::AccountKind;
use super::transaction::TransactionType;
use crate::amount::Fen;
use crate::id::CardNumber;

/// Everything that a card's rows add up to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardSums {
    /// The card.
    pub card: CardNumber,
    /// Where it is; none when money moved for a card that has no account.
    pub state: Option<CardAccountState>,
    /// Whether it is frozen already.
    pub is_frozen: bool,
    /// What was moved from which kind of account to which.
    pub moved: Vec<(AccountKind, AccountKind, Fen)>,
    /// What its accounts hold.
    pub held: BTreeMap<AccountKind, Fen>,
    /// The sums of its transactions.
    pub transactions: BTreeMap<TransactionType, Fen>,
}

/// What does not hold on a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Breach {
    /// An account does not hold what was moved to it less what was moved from it.
    Balance {
        /// The account.
        account: AccountKind,
        /// What the transfers come to.
        booked: i128,
        /// What it holds.
        held: Fen,
    },
    /// Loads and their transactions differ.
    Loads {
        /// What was booked.
        booked: Fen,
        /// What the card's transactions say.
        proven: Fen,
    },
    /// Purchases and their transactions differ.
    Purchases {
        /// What was booked.
        booked: Fen,
        /// What the card's transactions say.
        proven: Fen,
    },
    /// The card is parked with another amount than is parked for it.
    Parked {
        /// What its state says.
        stated: Fen,
        /// What is parked.
        held: Fen,
    },
    /// Money moved for a card that has no account.
    NoAccount,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Balance { account, booked, held } => {
                write!(f, "{} holds {} fen and its transfers come to {booked}", account.name(), held.get())
            }
            Self::Loads { booked, proven } => {
                write!(f, "{booked} yuan of loads are booked and {proven} proven")
            }
            Self::Purchases { booked, proven } => {
                write!(f, "{booked} yuan of purchases are booked and {proven} proven")
            }
            Self::Parked { stated, held } => {
                write!(f, "it is parked with {stated} yuan and {held} are parked")
            }
            Self::NoAccount => f.write_str("money moved and the card has no account"),
        }
    }
}

impl Breach {
    /// Whether the money itself is wrong, not only the card's state.
    pub const fn is_of_money(&self) -> bool {
        match self {
            Self::Balance { .. } | Self::Loads { .. } | Self::Purchases { .. } | Self::NoAccount => true,
            Self::Parked { .. } => false,
        }
    }
}

impl CardSums {
    /// A card of which nothing is known yet.
    pub const fn new(card: CardNumber) -> Self {
        let held = BTreeMap::new();
        let transactions = BTreeMap::new();
        Self { card, state: None, is_frozen: false, moved: Vec::new(), held, transactions }
    }

    /// The card's part of the equation's terms, from its transfers.
    pub fn terms(&self) -> MoneyTotals {
        let mut totals = MoneyTotals::default();
        for (from, to, amount) in &self.moved {
            totals.add_sums(*from, *amount, Fen::ZERO);
            totals.add_sums(*to, Fen::ZERO, *amount);
        }
        totals
    }

    /// What does not hold.
    pub fn check(&self) -> Vec<Breach> {
        let mut breaches = Vec::new();
        for account in AccountKind::ALL.into_iter().filter(|kind| kind.is_of_a_card()) {
            let booked = self.booked(account);
            let held = self.held(account);
            if booked != i128::from(held.get()) {
                breaches.push(Breach::Balance { account, booked, held });
            }
        }
        let moved = |from: AccountKind, to: AccountKind| {
            let between = self.moved.iter().filter(|(debit, credit, _)| (*debit, *credit) == (from, to));
            between.map(|(.., amount)| *amount).sum::<Fen>()
        };
        let proven = |kinds: &[TransactionType]| {
            kinds.iter().filter_map(|kind| self.transactions.get(kind)).copied().sum::<Fen>()
        };
        let loads = [
            moved(AccountKind::InFlight, AccountKind::Purse),
            moved(AccountKind::CashIn, AccountKind::Purse),
        ];
        let (booked, loaded) = (loads.into_iter().sum(), proven(&[TransactionType::Load]));
        if booked != loaded {
            breaches.push(Breach::Loads { booked, proven: loaded });
        }
        let purchases = [TransactionType::Purchase, TransactionType::CompositePurchase];
        let (booked, spent) = (moved(AccountKind::Purse, AccountKind::Spent), proven(&purchases));
        if booked != spent {
            breaches.push(Breach::Purchases { booked, proven: spent });
        }
        match &self.state {
            None if !self.moved.is_empty() || self.held.values().any(|held| !held.is_zero()) => {
                breaches.push(Breach::NoAccount);
            }
            Some(CardAccountState::Parked { balance, .. }) if *balance != self.held(AccountKind::Parked) => {
                breaches.push(Breach::Parked { stated: *balance, held: self.held(AccountKind::Parked) });
            }
            _ => {}
        }
        breaches
    }

    fn held(&self, kind: AccountKind) -> Fen {
        self.held.get(&kind).copied().unwrap_or(Fen::ZERO)
    }

    fn booked(&self, kind: AccountKind) -> i128 {
        let part = |(from, to, amount): &(AccountKind, AccountKind, Fen)| {
            let amount = i128::from(amount.get());
            i128::from(*to == kind) * amount - i128::from(*from == kind) * amount
        };
        self.moved.iter().map(part).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::SeId;

    fn whole() -> CardSums {
        use AccountKind as A;
        CardSums {
            state: Some(CardAccountState::Live { se: SeId::new(&[1]).unwrap() }),
            moved: vec![
                (A::PaidIn, A::InFlight, Fen::new(100)),
                (A::InFlight, A::Purse, Fen::new(80)),
                (A::CashIn, A::Purse, Fen::new(20)),
                (A::Purse, A::Spent, Fen::new(30)),
            ],
            held: [(A::InFlight, Fen::new(20)), (A::Purse, Fen::new(70))].into(),
            transactions: [(TransactionType::Load, Fen::new(100)), (TransactionType::Purchase, Fen::new(30))]
                .into(),
            ..CardSums::new(CardNumber::compose("31049900", 1).unwrap())
        }
    }

    #[test]
    fn each_breach_is_seen() {
        use AccountKind as A;
        assert_eq!(whole().check(), []);
        assert_eq!(whole().terms().check(), Ok(()));
        let mut more = whole();
        more.held.insert(A::Purse, Fen::new(71));
        assert_eq!(more.check(), [Breach::Balance { account: A::Purse, booked: 70, held: Fen::new(71) }]);
        let mut unproven = whole();
        unproven.transactions.remove(&TransactionType::Purchase);
        assert_eq!(unproven.check(), [Breach::Purchases { booked: Fen::new(30), proven: Fen::ZERO }]);
        let mut unbooked = whole();
        unbooked.transactions.insert(TransactionType::Load, Fen::new(101));
        assert_eq!(unbooked.check(), [Breach::Loads { booked: Fen::new(100), proven: Fen::new(101) }]);
        let nobodys = CardSums { state: None, ..whole() };
        assert_eq!(nobodys.check(), [Breach::NoAccount]);
        assert_eq!(CardSums::new(whole().card).check(), []);
    }
}
