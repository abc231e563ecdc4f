//! Secure elements: their batches, what is on each of them, and how record and card are brought together.

mod batch;
mod inventory;
mod reconcile;

#[cfg(test)]
pub(crate) use batch::tests::batch as batch_for_tests;
pub use batch::{
    Batch, BatchBook, BatchError, IssuerKeyScheme, PresetApplication, PresetDomain, SeIdRange, SeKind,
};
pub use inventory::{
    Binding, Inventory, LossReport, MirrorEntry, MirrorKind, NumberChange, SeRecord, SeStanding,
};
pub use reconcile::{
    Difference, Presence, Reconciled, presence, reconcile_application, registry_differences,
};
