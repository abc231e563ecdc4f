//! Why a flow stops, and what the wallet is told.

use tsm_api::conversation::Outcome;
use tsm_api::problem::{Problem, ProblemCode};
use tsm_card::ProcedureError;
use tsm_storage::StorageError;

use crate::card_stop::{self, stopped_by_rules_card_and_store};
use crate::stored;

/// Why a flow stops.
#[derive(Debug)]
pub(super) enum Stop {
    /// The rules refuse it.
    Refused(Problem),
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
            Self::Card(error) => card_outcome(&error),
            Self::Storage(error) if error.is_outcome_unknown() => Outcome::unknown(stored::problem(&error)),
            Self::Storage(error) => Outcome::failed(stored::problem(&error)),
        }
    }

    /// What an endpoint answers.
    pub(super) fn into_problem(self) -> Problem {
        match self {
            Self::Refused(problem) => problem,
            Self::Card(error) => {
                let outcome = card_outcome(&error);
                outcome.problem.unwrap_or_else(|| ProblemCode::Internal.into())
            }
            Self::Storage(error) => stored::problem(&error),
        }
    }
}

fn card_outcome(error: &ProcedureError) -> Outcome {
    card_stop::card_outcome(error, |_| Outcome::failed(ProblemCode::CardFailed.into()))
}
