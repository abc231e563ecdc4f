//! Why a card payment stops, and what the wallet is told.

use tsm_api::conversation::Outcome;
use tsm_api::problem::{Problem, ProblemCode};
use tsm_card::ProcedureError;
use tsm_iso7816::StatusWord;
use tsm_storage::StorageError;

use crate::card_stop::{self, stopped_by_rules_card_and_store};
use crate::stored;

/// Why a flow stops.
#[derive(Debug)]
pub(super) enum Stop {
    /// The rules refuse it.
    Refused(Problem),
    /// Whether a card has paid stays unknown.
    Unknown(Problem),
    /// A card procedure stopped.
    Card(ProcedureError),
    /// The store refused, or did not answer.
    Storage(StorageError),
}

stopped_by_rules_card_and_store!(Stop);

impl Stop {
    /// How the flow ends for the wallet.
    pub(super) fn into_outcome(self) -> Outcome {
        match self {
            Self::Refused(problem) => Outcome::refused(problem),
            Self::Unknown(problem) => Outcome::unknown(problem),
            Self::Card(error) => {
                card_stop::card_outcome(&error, |status| Outcome::refused(meaning(status).into()))
            }
            Self::Storage(error) if error.is_outcome_unknown() => Outcome::unknown(stored::problem(&error)),
            Self::Storage(error) => Outcome::refused(stored::problem(&error)),
        }
    }
}

/// What a card's refusal of SELECT or INITIALIZE FOR PURCHASE means to its holder. Nothing has changed then.
const fn meaning(status: StatusWord) -> ProblemCode {
    match status {
        StatusWord::AMOUNT_INSUFFICIENT | StatusWord::INSUFFICIENT_BALANCE => ProblemCode::BalanceTooLow,
        StatusWord::SELECTED_FILE_INVALIDATED
        | StatusWord::FUNCTION_NOT_SUPPORTED
        | StatusWord::APPLICATION_PERMANENTLY_LOCKED
        | StatusWord::CONDITIONS_NOT_SATISFIED => ProblemCode::CardLocked,
        StatusWord::NOT_FOUND => ProblemCode::NotInstalled,
        _ => ProblemCode::CardFailed,
    }
}
