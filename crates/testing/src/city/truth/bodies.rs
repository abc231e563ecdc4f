//! Cards of which somebody has made a copy: the card and its copy go their own ways, each with the money that
//! was on it then, and only one of the two was paid for.

use tsm_se::inspect::PurseReading;

use super::{Account, Purse, Serial, State, Truth};
use crate::city::trace::Event;
use crate::city::violation::Violation;
use crate::city::{Element, lock};

/// Where a card's memory is: in the card itself, or in the copy that somebody made of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Body {
    /// The card's number, which both have.
    pub(super) serial: Serial,
    /// Whether it is the copy.
    is_copy: bool,
}

/// A debit that a card left without an answer at a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Debit {
    /// The card's number.
    pub serial: [u8; 10],
    /// The offline counter after it.
    pub counter: u16,
    /// How much.
    pub amount: u32,
    /// The terminal.
    pub terminal: [u8; 6],
    /// The terminal's own number for it.
    pub sequence: u32,
}

/// What one of the two has paid, and the terminal has proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bought {
    /// The offline counter after it.
    pub counter: u16,
    /// How much.
    pub amount: u32,
    /// The terminal.
    pub terminal: [u8; 6],
    /// Whether the copy paid.
    pub by_copy: bool,
    /// Whether the terminal has asked the other of the two, and forgotten it.
    pub is_denied: bool,
}

/// Whether anybody can prove a purchase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// Somebody can, or may still.
    Here,
    /// Nobody can.
    Gone,
}

impl Body {
    /// The card itself.
    pub const fn own(serial: Serial) -> Self {
        Self { serial, is_copy: false }
    }

    /// The card, and a copy of it.
    pub const fn both(serial: Serial) -> [Self; 2] {
        [Self::own(serial), Self { serial, is_copy: true }]
    }

    /// What an element holds.
    pub const fn in_element(element: Element, serial: Serial) -> Self {
        Self { serial, is_copy: element.is_copy() }
    }

    /// What happened to it, as traces say it.
    pub fn event(self, event: Event) -> Event {
        if self.is_copy { Event::OfCopy(Box::new(event)) } else { event }
    }
}

impl Truth {
    /// Somebody has copied the memory of a card, and holds this from now on as well.
    pub fn copied(&self, copy: Element, reading: PurseReading) {
        let mut state = lock(&self.state);
        let body = Body::in_element(copy, reading.serial);
        state.purses.insert(body, Purse { rider: copy.rider, state: reading.state });
        state.spendable.entry(body).or_default().insert(copy);
        let account = &mut state.accounts[copy.rider as usize];
        account.readings[copy.slot()] = Some(reading);
        account.copied += u64::from(reading.state.purse().fen());
    }

    /// Whether somebody has made a copy of the card with this number.
    pub fn is_copied(&self, serial: [u8; 10]) -> bool {
        lock(&self.state).is_copied(serial)
    }

    /// Every card, with its rider and what it holds, and its copy if there is one.
    pub fn cards(&self) -> Vec<(u32, [u8; 10], Vec<u32>)> {
        let state = lock(&self.state);
        let own = state.purses.iter().filter(|(body, _)| !body.is_copy);
        let held = |serial| {
            let bodies = Body::both(serial).into_iter().filter_map(|body| state.purses.get(&body));
            bodies.map(|purse| purse.state.purse().fen()).collect()
        };
        own.map(|(body, purse)| (purse.rider, body.serial, held(body.serial))).collect()
    }

    /// The cards that were copied, each with its rider.
    pub fn copied_cards(&self) -> Vec<(u32, [u8; 10])> {
        let state = lock(&self.state);
        let copies = state.purses.iter().filter(|(body, _)| body.is_copy);
        copies.map(|(body, purse)| (purse.rider, body.serial)).collect()
    }

    /// Which of a card and its copy have paid what a terminal does not know the end of.
    pub fn payers(&self, debit: &Debit) -> Vec<Body> {
        let state = lock(&self.state);
        let Some(rider) = state.holder(debit.serial) else { return Vec::new() };
        let paid = &state.accounts[rider as usize].paid;
        let is_payer =
            |body: &Body| paid.get(&(*body, debit.counter)) == Some(&(debit.amount, debit.terminal));
        Body::both(debit.serial).into_iter().filter(is_payer).collect()
    }

    /// A terminal has asked a card about a debit that it did not know the end of, and forgotten it on the card's
    /// word. Where the card that paid was its copy, or the other way round, the word is true of whom it asked, and
    /// nobody but the rider, who did not pass, can ever know of the debit: there is nothing to deliver and nothing
    /// to list, whatever the amount.
    pub fn denied(&self, by: Element, debit: &Debit, payers: &[Body]) {
        let mut state = lock(&self.state);
        let asked = Body::in_element(by, debit.serial);
        if payers == [asked] && !state.is_copied(debit.serial) {
            drop(state);
            return self.find(Some(by.rider), Violation::DebitForgotten { amount: debit.amount });
        }
        let denied = payers.iter().filter(|body| **body != asked).map(|body| (*body, debit.counter));
        let account = &mut state.accounts[by.rider as usize];
        account.denied.extend(denied);
    }

    /// Whether a card has paid something after this.
    pub fn has_paid_after(&self, serial: [u8; 10], counter: u16) -> bool {
        let state = lock(&self.state);
        let body = Body::own(serial);
        let later = (body, counter.saturating_add(1))..=(body, u16::MAX);
        let account = state.holder(serial).map(|rider| &state.accounts[rider as usize]);
        account.is_some_and(|account| account.paid.range(later).next().is_some())
    }

    /// What cards that nobody copied have paid at a terminal: the card's number, the offline counter after it, and how
    /// much. Those that are proven, or those that are not.
    pub fn paid_at(&self, terminal: [u8; 6], proof: Proof) -> Vec<([u8; 10], u16, u32)> {
        let state = lock(&self.state);
        let of_account = |account: &Account| {
            let paid = account.paid.iter().filter(|(place, (_, at))| {
                let is_proven = !account.unproven.contains_key(place);
                *at == terminal && is_proven == (proof == Proof::Here) && !state.is_copied(place.0.serial)
            });
            paid.map(|((body, counter), (amount, _))| (body.serial, *counter, *amount)).collect::<Vec<_>>()
        };
        state.accounts.iter().flat_map(of_account).collect()
    }

    /// What a card and its copy have paid and a terminal has proven.
    pub fn bought(&self, serial: [u8; 10]) -> Vec<Bought> {
        let state = lock(&self.state);
        let Some(rider) = state.holder(serial) else { return Vec::new() };
        let account = &state.accounts[rider as usize];
        let of_card = account.paid.iter().filter(|((body, _), _)| body.serial == serial);
        let proven = of_card.filter(|(place, _)| !account.unproven.contains_key(place));
        let bought = proven.map(|((body, counter), (amount, terminal))| Bought {
            counter: *counter,
            amount: *amount,
            terminal: *terminal,
            by_copy: body.is_copy,
            is_denied: account.denied.contains(&(*body, *counter)),
        });
        bought.collect()
    }
}

impl State {
    /// The rider who has or had the card with this number.
    pub(super) fn holder(&self, serial: Serial) -> Option<u32> {
        self.purses.get(&Body::own(serial)).map(|purse| purse.rider)
    }

    pub(super) fn is_copied(&self, serial: Serial) -> bool {
        self.purses.contains_key(&Body::both(serial)[1])
    }
}
