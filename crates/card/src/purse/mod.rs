//! Procedures with a purse (JT/T 978): top-up, reading, blocking.
//!
//! A purse proves what it says by MAC1 and TAC, under keys that only the card and the key service have.
//! Plain reads are hints.

mod block;
mod close;
mod issue;
mod look;
mod proof;
mod purchase;
mod read_card;
mod top_up;
mod unload;
mod update_holder;

pub use block::{
    ApplicationLock, BlockOrder, change_application_lock, prepare_application_lock, send_application_lock,
};
pub use close::{PurseClosing, block_and_read, read_proven, read_unproven};
pub use issue::{PurseIssue, purse_keys};
pub use look::{PurseLook, block_and_look, look};
pub use proof::ask_proofs;
pub use purchase::{
    BegunPurchase, DebitOutcome, PurchaseObservation, PurchaseTerms, begin_purchase, debit, observe_purchase,
};
pub use read_card::{CardReading, read_card};
pub use top_up::{
    CreditOutcome, LoadIntention, LoadObservation, LoadPurpose, PurseAnswer, credit, initialise, observe_load,
};
pub use unload::{UnloadOutcome, begin_unload, unload};
pub use update_holder::update_holder;
