//! Cards that somebody has copied. The card and its copy spend one money twice; the centre cannot tell which of
//! the two is false, and must not pay both. It takes the first of two transactions that cannot both be, keeps
//! the other aside, lists it for people to look at, and freezes the card.

use futures_util::FutureExt as _;
use tsm_domain::CardNumber;
use tsm_domain::money::CardAccountState;
use tsm_domain::money::ledger::TransferCode;
use tsm_domain::money::reconciliation::{Cause, Difference};
use tsm_storage::ClearingStore as _;
use tsm_storage::clearing::collection::Collection as _;
use tsm_storage::clearing::settlement::{DifferenceQuery, Settlements as _};

use super::checks::now;
use super::truth::bodies::Bought;
use super::violation::Violation;
use super::world::World;

/// A copied card, what it and its copy paid, and what the centre made of it.
struct Copied {
    rider: u32,
    card: CardNumber,
    /// Each with whether the centre has taken it.
    bought: Vec<(Bought, bool)>,
    /// What the centre has and neither of the two paid.
    too_much: Vec<String>,
}

impl World {
    fn copied(&self) -> Vec<Copied> {
        let cards = self.truth.copied_cards().into_iter();
        cards.filter_map(|(rider, serial)| self.copied_card(rider, serial)).collect()
    }

    fn copied_card(&self, rider: u32, serial: [u8; 10]) -> Option<Copied> {
        let card = CardNumber::from_application_serial(&serial).ok()?;
        let recorded = now(self.servers.stores.clearing.transactions_of(card, usize::MAX))?;
        let bought = self.truth.bought(serial).into_iter();
        let mut bought: Vec<(Bought, bool)> = bought.map(|one| (one, false)).collect();
        // The two may have paid the same at one terminal, at one place in their count. Then what it has no word of is
        // not what the centre has taken.
        bought.sort_by_key(|(one, _)| one.is_denied);
        let mut too_much = Vec::new();
        for taken in recorded.iter().filter(|taken| !taken.key.kind.is_online()) {
            let is_it = |one: &Bought| {
                (one.counter, u64::from(one.amount), one.terminal)
                    == (taken.key.counter, taken.amount.get(), taken.terminal.to_bcd())
            };
            let is_twice = bought.iter().any(|(one, known)| *known && one.counter == taken.key.counter);
            match bought.iter_mut().find(|(one, known)| !known && is_it(one)).filter(|_| !is_twice) {
                Some((_, known)) => *known = true,
                None => too_much.push(format!("{taken:?}")),
            }
        }
        Some(Copied { rider, card, bought, too_much })
    }

    /// What copied cards paid at these terminals and the centre did not take.
    pub(super) fn refused_at(&self, is_of: impl Fn([u8; 6]) -> bool) -> i128 {
        let copied = self.copied();
        let all = copied.iter().flat_map(|card| &card.bought);
        let refused = all.filter(|(one, taken)| !taken && is_of(one.terminal));
        refused.map(|(one, _)| i128::from(one.amount)).sum()
    }

    /// What may be listed of a card that was copied.
    pub(super) const fn may_be_of_copied(cause: Cause) -> bool {
        matches!(
            cause,
            Cause::CardCopied
                | Cause::SuspiciousCard
                | Cause::AwaitsCredit
                | Cause::CounterGap
                | Cause::Unproven
                | Cause::InFlightTooLong
        )
    }

    /// Nothing of a copied card is paid that neither of the two paid, and no place in its count twice.
    pub(super) fn check_paid_once(&self) {
        for copied in self.copied() {
            if let Some(what) = copied.too_much.first() {
                let violation = Violation::CopyPaid { what: what.clone() };
                return self.truth.find(Some(copied.rider), violation);
            }
        }
    }

    /// The centre has taken over what a card held when it was blocked, once: of a card and its copy one, and neither
    /// while the card is in use.
    pub(super) fn check_parked_once(&self) {
        for (rider, serial, held) in self.truth.cards() {
            let Ok(card) = CardNumber::from_application_serial(&serial) else { continue };
            let Some(transfers) = now(self.servers.stores.clearing.transfers_of(card)) else { continue };
            let sum = |code: TransferCode| -> i128 {
                let of_code = transfers.iter().filter(|transfer| transfer.code == code);
                of_code.map(|transfer| i128::from(transfer.amount.get())).sum()
            };
            let taken_over = sum(TransferCode::Parked) - sum(TransferCode::Unparked);
            let is_one = held.iter().any(|held| i128::from(*held) == taken_over);
            if taken_over != 0 && !is_one {
                let violation = Violation::ParkedTwice { sums: (taken_over, held) };
                return self.truth.find(Some(rider), violation);
            }
        }
    }

    /// What is not paid of a copied card is listed, and one that was proven to be copied moves no more money.
    pub(super) fn check_copied(&self) {
        self.check_paid_once();
        for copied in self.copied() {
            if let Some(what) = self.unnoticed(&copied) {
                return self.truth.find(Some(copied.rider), Violation::CopyUnnoticed { what });
            }
        }
    }

    fn unnoticed(&self, copied: &Copied) -> Option<String> {
        let listed = self.listed(copied.card);
        let is_taken = |counter| copied.bought.iter().any(|(one, taken)| *taken && one.counter == counter);
        let refused = copied.bought.iter().filter(|(_, taken)| !taken).map(|(one, _)| one);
        let account = now(self.servers.stores.clearing.account(copied.card)).flatten()?;
        for one in refused {
            let of_it: Vec<_> = listed.iter().filter(|difference| is_of(difference, one)).collect();
            // The terminal did not see the end of it: it has asked the other of the two, or still waits to ask one.
            let serial = copied.card.application_serial();
            let has_no_word = one.is_denied || self.terminals.awaits(one.terminal, serial, one.counter);
            if of_it.is_empty() && has_no_word {
                continue;
            }
            if of_it.is_empty() {
                let aside = now(self.servers.stores.clearing.aside_of(copied.card, usize::MAX));
                let aside = aside.unwrap_or_default().into_iter().map(|row| (row.reported.text, row.reason));
                let aside: Vec<_> = aside.collect();
                return Some(format!("{one:?} is not listed; kept aside: {aside:?}"));
            }
            if !is_taken(one.counter) {
                continue;
            }
            // Of a card that lies with the centre or is returned, some other reason may come first.
            if !matches!(account.account.state, CardAccountState::Live { .. }) {
                continue;
            }
            if of_it.iter().all(|difference| difference.cause != Cause::CardCopied) {
                return Some(format!("{one:?} is not listed as that of a copied card"));
            }
            if account.account.freeze.is_none() {
                return Some(format!("{one:?} contradicts another purchase, and the card is not frozen"));
            }
        }
        None
    }
}

impl World {
    /// What is listed of a card, that which waits included.
    pub(super) fn listed(&self, card: CardNumber) -> Vec<Difference> {
        let states = [None, Some("waiting".to_owned())];
        let listed = states.into_iter().filter_map(|state| {
            let prefix = Some(card.as_str().to_owned());
            let query = DifferenceQuery { state, prefix, ..DifferenceQuery::default() };
            let listed = self.servers.stores.clearing.differences(&query, usize::MAX);
            listed.now_or_never()?.ok()
        });
        listed.flatten().collect()
    }
}

fn is_of(difference: &Difference, one: &Bought) -> bool {
    difference.transaction.is_some_and(|transaction| transaction.counter == one.counter)
        && difference.text.contains(&hex::encode(one.terminal))
}
