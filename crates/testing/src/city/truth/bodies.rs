//! Cards of which somebody has made a copy: the card and its copy go their own ways, each with the money that
//! was on it then, and only one of the two was paid for.

use tsm_se::inspect::PurseReading;

use super::{Purse, Serial, State, Truth};
use crate::city::trace::Event;
use crate::city::{Element, lock};

/// Where a card's memory is: in the card itself, or in the copy that somebody made of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Body {
    /// The card's number, which both have.
    pub serial: Serial,
    /// Whether it is the copy.
    is_copy: bool,
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

    /// The cards that were copied, each with its rider.
    pub fn copied_cards(&self) -> Vec<(u32, [u8; 10])> {
        let state = lock(&self.state);
        let copies = state.purses.iter().filter(|(body, _)| body.is_copy);
        copies.map(|(body, purse)| (purse.rider, body.serial)).collect()
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
