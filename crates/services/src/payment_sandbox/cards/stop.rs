//! Why a card payment stops, and what the wallet is told.

use std::error::Error as _;

use tracing::warn;
use tsm_api::conversation::Outcome;
use tsm_api::problem::{Problem, ProblemCode};
use tsm_card::ProcedureError;
use tsm_iso7816::StatusWord;
use tsm_keys::{KeyError, SessionError};
use tsm_storage::StorageError;

use crate::card_stop::{refused_by_card, stopped_by_key};
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
            Self::Unknown(problem) => Outcome::unknown(problem),
            Self::Card(error) => card_outcome(&error),
            Self::Storage(error) if error.is_outcome_unknown() => Outcome::unknown(stored::problem(&error)),
            Self::Storage(error) => Outcome::refused(stored::problem(&error)),
        }
    }
}

fn card_outcome(error: &ProcedureError) -> Outcome {
    warn!(%error, cause = error.source().map(ToString::to_string), "a card procedure stopped");
    match error {
        ProcedureError::NotSent => Outcome::failed(ProblemCode::CardUnreachable.into()),
        ProcedureError::OutcomeUnknown => Outcome::unknown(ProblemCode::OutcomeUnknown.into()),
        ProcedureError::Status { command, status } => {
            refused_by_card(command.name, *status, Outcome::refused(meaning(*status).into()))
        }
        ProcedureError::Session(SessionError::Key(key)) | ProcedureError::Key(key) => stopped_by_key(key),
        ProcedureError::Answer { .. } | ProcedureError::Channel(_) | ProcedureError::Session(_) => {
            Outcome::failed(Problem::because(ProblemCode::CardUnproven, format_args!("In detail: {error}.")))
        }
        ProcedureError::Impossible(reason) => {
            Outcome::failed(Problem::because(ProblemCode::StateForbids, format_args!("In detail: {reason}.")))
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
