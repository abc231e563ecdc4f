//! The city: every role, every phone and every gate of a transit city in one process, on virtual time, with
//! everything that can go wrong going wrong. One seed says all of it, so that a run can be repeated.
//!
//! ```text
//! riders          what people do in a day               rider/
//!   wallet core   -> handset -> software SE             phone.rs, card.rs
//!   gates, POS    -> terminal -> the same SE            terminals.rs
//!     notices, batches, files, lists -> the centre      delivery.rs, line.rs
//!     batches and files that somebody alters            meddling.rs
//!     fare tables                    <- the centre      fares.rs
//! network         in process, with faults               network.rs
//! servers         the real roles over memory stores     servers.rs, shop.rs
//! executor        tasks, timers, processes, time        executor.rs
//! checks          what must always be true              checks.rs, truth.rs, copied.rs, beyond_proof.rs
//! cuts            one fault at each place, in turn      cuts/, placed.rs
//! nights          settlement and reconciliation         nights.rs
//! trace           what happened, in sentences           trace.rs
//! counts          what was done and met, by kind        counts.rs
//! ```
//!
//! The services, the wallet core, the terminals and the cards are the ones that ship. The city gives them
//! their time, their randomness, their tasks, their network and their power, and takes each of them away.

mod beyond_proof;
pub mod card;
mod checks;
mod copied;
pub mod counts;
pub mod cuts;
mod delivery;
pub mod desk;
pub mod executor;
mod fares;
pub mod keys;
pub mod kiosk;
pub mod line;
mod meddling;
pub mod network;
mod nights;
mod noted;
pub mod phone;
pub mod placed;
pub mod planted;
pub mod random;
pub mod report;
pub mod rider;
pub mod servers;
mod shop;
pub mod terminals;
pub mod trace;
pub mod truth;
pub mod violation;
pub mod world;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks; a panic elsewhere must not hide its own message behind a poisoned lock.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Phones that a rider can have.
pub const PHONES: usize = 3;

/// The place of the copy that a rider may have made of the card's memory; it is in no phone.
const COPY: u8 = PHONES as u8;

/// A secure element: which rider's, in which of his phones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Element {
    /// The rider.
    pub rider: u32,
    /// The phone, counted from 0.
    pub phone: u8,
}

impl Element {
    /// Its SE-ID.
    pub const fn id(self) -> [u8; 8] {
        se_id(self.number())
    }

    /// A number that is no other element's. Nobody has sixteen million riders.
    const fn number(self) -> u32 {
        (self.phone as u32) << 24 | self.rider
    }

    /// Whether it is a copy that somebody made of another element's memory.
    pub const fn is_copy(self) -> bool {
        self.phone == COPY
    }

    const fn slot(self) -> usize {
        self.phone as usize
    }
}

/// The copy that a rider made of an element's memory.
const fn copy_of(rider: u32) -> Element {
    Element { rider, phone: COPY }
}

/// The SE-ID with this number.
const fn se_id(number: u32) -> [u8; 8] {
    let [e, f, g, h] = number.to_be_bytes();
    [0x09, 0x99, 0x00, 0x01, e, f, g, h]
}

#[cfg(test)]
mod tests;
