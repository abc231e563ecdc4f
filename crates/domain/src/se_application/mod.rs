//! An application on one SE: where it stands (table S.1) and which lists show it (table S.2).

mod listing;
mod state;

pub use listing::{Lists, shown_in};
pub use state::{
    Actor, DeletionPolicy, HeldValue, OpeningNeed, PersoOnSe, PersonalisationNeed, Preset, Refusal,
    SeApplication, SeEvent, SeOperation, SeState, Transition, Transition19, UnlockPolicy,
};
