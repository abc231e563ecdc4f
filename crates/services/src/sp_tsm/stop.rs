//! Why a flow stops, and what the wallet is told.

use std::error::Error as _;

use tracing::warn;
use tsm_api::conversation::Outcome;
use tsm_api::problem::{Problem, ProblemCode};
use tsm_card::ProcedureError;
use tsm_keys::{KeyError, SessionError};
use tsm_storage::StorageError;

use crate::card_stop::{refused_by_card, stopped_by_key};
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

impl From<Problem> for Stop {
    fn from(problem: Problem) -> Self {
        Self::Refused(problem)
    }
}

impl From<ProblemCode> for Stop {
    fn from(code: ProblemCode) -> Self {
        Self::Refused(code.into())
    }
}

impl From<ProcedureError> for Stop {
    fn from(error: ProcedureError) -> Self {
        Self::Card(error)
    }
}

impl From<KeyError> for Stop {
    fn from(error: KeyError) -> Self {
        Self::Card(error.into())
    }
}

impl From<StorageError> for Stop {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

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
    warn!(%error, cause = error.source().map(ToString::to_string), "a card procedure stopped");
    match error {
        ProcedureError::NotSent => Outcome::failed(ProblemCode::CardUnreachable.into()),
        ProcedureError::OutcomeUnknown => Outcome::unknown(ProblemCode::OutcomeUnknown.into()),
        ProcedureError::Status { command, status } => {
            refused_by_card(command.name, *status, Outcome::failed(ProblemCode::CardFailed.into()))
        }
        ProcedureError::Answer { .. } | ProcedureError::Channel(_) => {
            Outcome::failed(Problem::because(ProblemCode::CardUnproven, error))
        }
        ProcedureError::Session(SessionError::Key(key)) | ProcedureError::Key(key) => stopped_by_key(key),
        ProcedureError::Session(reason) => {
            Outcome::failed(Problem::because(ProblemCode::CardUnproven, format_args!("In detail: {reason}.")))
        }
        ProcedureError::Impossible(reason) => {
            Outcome::failed(Problem::because(ProblemCode::StateForbids, format_args!("In detail: {reason}.")))
        }
    }
}
