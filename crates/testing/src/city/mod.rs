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
//! trace           what happened, in sentences           trace.rs
//! ```
//!
//! The services, the wallet core, the terminals and the cards are the ones that ship. The city gives them
//! their time, their randomness, their tasks, their network and their power, and takes each of them away.

pub mod desk;
pub mod executor;
pub mod keys;
pub mod network;
pub mod random;
pub mod servers;

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
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use super::executor::Executor;
    use super::network::Network;
    use super::random::{Random, Stream};
    use super::servers::Servers;

    #[test]
    fn every_server_comes_up() {
        let executor = Executor::new("2026-11-20T00:00:00Z".parse().unwrap(), Random::new(1, 1));
        let network = Network::new(executor.clone(), Stream::new(1, 2), 0);
        let servers = Servers::new(&executor, &network, 1, BTreeSet::new(), Default::default());
        let servers = Arc::new(servers);
        executor.complete(async move { servers.bring_up().await.unwrap() });
    }
}
