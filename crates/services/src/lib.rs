//! The server roles: SE-TSM, SP-TSM, clearing centre and the payment sandbox.
//!
//! A service is given its store, its keys, its clock, its randomness, its tasks and its timers
//! ([`runtime::Environment`]); it takes none of them itself, so that the simulator runs the same code on
//! virtual time. No handler touches SQL or a card; no service opens another service's storage.

mod card_stop;
pub mod clearing;
pub mod conversation;
pub mod explain;
pub mod names;
pub mod outbox;
pub mod payment;
pub mod payment_sandbox;
pub mod purse;
pub mod runtime;
pub mod se_tsm;
pub mod server;
pub mod siblings;
pub mod sp_tsm;
mod staff;
pub mod stored;
