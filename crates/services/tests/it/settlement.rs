//! Days at the centre: settled once whatever happens, reconciled three ways, resolved by two people, watched
//! card by card.

mod days;
mod differences;
mod fare_check;
mod institutions;
mod noted;
mod statements;
mod suspicions;
mod watch;
pub mod world;
