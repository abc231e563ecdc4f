//! Every place at which a flow can break, one after the other: each command to the card, each write of its
//! memory, each message with each fault, each commit of each store. After each break the rider makes one next
//! contact, and then all must be in order and known to everybody.
//!
//! ```text
//! a small world, up and paid        stage.rs
//! the flow, once                    flows.rs      without a fault: the places are counted
//!                                   trial.rs      with one: a fault at one of them
//! one next contact                  contact.rs    continue what is open, or cancel it
//! time passes, all is delivered
//! everything is compared            settled.rs, and the city's own checks
//! all places, all flows             sweep.rs
//! ```
//!
//! A place is named by kind and number, and the same seed leads to it again, so that one that fails can be
//! repeated alone.

mod contact;
mod flows;
mod hall;
mod point;
mod settled;
mod stage;
pub mod sweep;
mod trial;

pub use flows::Flow;
pub use point::{CommandFault, Kind, Next, Point};
pub use trial::{Counted, Cut, Failure, Tried, count, try_cut};

#[cfg(test)]
mod tests;
