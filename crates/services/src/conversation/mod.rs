//! Conversations: each is its own task, fed by a mailbox.
//!
//! ```text
//! wallet -- turn n: responses -->  Engine -- mailbox -->  task: flow(procedures) -- durable writes
//! wallet <-- turn n+1: steps ----  Engine <-- slot -----  task
//! ```
//!
//! A dropped request never cancels a conversation; the flow runs to its end and says itself what is known.
//! One conversation runs per secure element, others wait in order (P-5.8.8.a). Turns are numbered and the
//! last reply is kept, so a repeated request gets the same reply. After a restart the wallet is told to
//! begin again, and the flow begins with an observation.

mod engine;
mod lease;
mod queue;
mod slot;
mod task;
mod wire;

pub use engine::{Engine, Limits, RunningTask, Start};
pub use lease::{Epoch, Holder, LeaseError, Leases, MemoryLeases};
pub use task::{Ending, Flow, Handover, ProgressHandle, Session, StopReason};
pub use wire::{responses_from_wire, steps_to_wire};
