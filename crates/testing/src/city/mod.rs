//! The city: every role, every phone and every gate of a transit city in one process, on virtual time, with
//! everything that can go wrong going wrong. One seed says all of it, so that a run can be repeated.
//!
//! ```text
//! riders          what people do in a day               rider.rs
//!   wallet core   -> handset -> software SE             phone.rs, card.rs
//!   gates, POS    -> terminal -> the same SE            terminals.rs
//! network         in process, with faults               network.rs
//! servers         the real roles over memory stores     servers.rs, setup.rs
//! executor        tasks, timers, processes, time        executor.rs
//! checks          what must always be true              checks.rs, truth.rs
//! cuts            one fault at each place, in turn      cuts/, placed.rs
//! trace           what happened, in sentences           trace.rs
//! ```
//!
//! The services, the wallet core, the terminals and the cards are the ones that ship. The city gives them
//! their time, their randomness, their tasks, their network and their power, and takes each of them away.

pub mod card;
mod checks;
pub mod cuts;
pub mod desk;
pub mod executor;
pub mod keys;
pub mod kiosk;
pub mod network;
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
pub mod world;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks; a panic elsewhere must not hide its own message behind a poisoned lock.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The SE-ID of phone `number`.
pub const fn se_id(number: u32) -> [u8; 8] {
    let [e, f, g, h] = number.to_be_bytes();
    [0x09, 0x99, 0x00, 0x01, e, f, g, h]
}

#[cfg(test)]
mod tests;
