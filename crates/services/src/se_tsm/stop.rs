//! Why a flow or a request stops, and what the caller is told.

use tracing::{error, warn};
use tsm_api::conversation::Outcome;
use tsm_api::problem::{Problem, ProblemCode, Reason};
use tsm_card::error::ProcedureError;
use tsm_keys::KeyError;
use tsm_storage::StorageError;

use crate::card_stop::{refused_by_card, stopped_by_rules_card_and_store};
use crate::conversation::Ending;

/// Why a flow stops.
#[derive(Debug, thiserror::Error)]
pub(super) enum Stop {
    /// The rules refuse it; the card was not changed by this step.
    #[error("refused: {0}")]
    Refused(Problem),
    /// A card procedure stopped.
    #[error("a card procedure stopped: {0}")]
    Card(#[source] ProcedureError),
    /// The store refused or did not answer.
    #[error("the store stopped the flow: {0}")]
    Storage(#[source] StorageError),
}

stopped_by_rules_card_and_store!(Stop);

/// Whether something was durably intended before the flow stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Intent {
    /// Nothing was: the card holds what it held.
    None,
    /// Something was, and whether it happened is for the next contact to see.
    Open,
}

impl Stop {
    /// How the flow ends.
    pub(super) fn into_ending(self, intent: Intent) -> Ending {
        let outcome = match self {
            Self::Refused(problem) if intent == Intent::None => Outcome::refused(problem),
            Self::Refused(problem) => Outcome::failed(problem),
            Self::Storage(error) => Outcome::unknown(stored(error)),
            Self::Card(error) => card_outcome(error, intent),
        };
        outcome.into()
    }
}

fn card_outcome(error: ProcedureError, intent: Intent) -> Outcome {
    warn!(%error, source = ?std::error::Error::source(&error), "a card procedure stopped");
    let why = match std::error::Error::source(&error) {
        Some(source) => format!("({error}: {source})"),
        None => format!("({error})"),
    };
    let problem = |code| Problem::because(code, &why);
    match &error {
        ProcedureError::NotSent => Outcome::failed(problem(ProblemCode::CardUnreachable)),
        ProcedureError::OutcomeUnknown | ProcedureError::Channel(_) => match intent {
            Intent::None => Outcome::failed(problem(ProblemCode::CardUnreachable)),
            Intent::Open => Outcome::unknown(problem(ProblemCode::OutcomeUnknown)),
        },
        ProcedureError::Status { command, status } => {
            refused_by_card(command.to_string(), *status, Outcome::failed(problem(ProblemCode::CardFailed)))
        }
        ProcedureError::Session(_) | ProcedureError::Answer { .. } => match intent {
            Intent::None => Outcome::failed(problem(ProblemCode::CardUnproven)),
            Intent::Open => Outcome::unknown(problem(ProblemCode::CardUnproven)),
        },
        ProcedureError::UsedMeanwhile => Outcome::failed(problem(ProblemCode::Busy)),
        ProcedureError::Impossible(_) => Outcome::failed(problem(ProblemCode::StateForbids)),
        ProcedureError::Key(_) => {
            error!(%error, "the key service stopped a procedure");
            Outcome::failed(ProblemCode::Unavailable.into())
        }
    }
}

/// What a caller is told of a store's refusal.
pub(super) fn stored(error: StorageError) -> Problem {
    match &error {
        StorageError::Unavailable(_) => {
            error!(%error, "the store did not answer");
            ProblemCode::Unavailable.into()
        }
        StorageError::Corrupt { .. } => {
            error!(%error, "the store holds what cannot be read");
            ProblemCode::Internal.into()
        }
        StorageError::Unknown { .. } => Problem::because(ProblemCode::UnknownId, &error),
        StorageError::Conflict { .. } => Problem::because(ProblemCode::Duplicate, &error),
        StorageError::Fenced { .. } => ProblemCode::LeaseLost.into(),
        StorageError::Batch(_)
        | StorageError::TopUp(_)
        | StorageError::Payment(_)
        | StorageError::CardAccount(_)
        | StorageError::Card(_)
        | StorageError::Arrival(_)
        | StorageError::Transfer(_) => Problem::because(ProblemCode::ValueRefused, &error),
    }
}

/// What a caller is told when the key service refuses.
pub(super) fn keyed(error: KeyError) -> Problem {
    error!(%error, "the key service refused");
    ProblemCode::Unavailable.into()
}

/// A refusal by the rules of a state machine.
pub(super) fn forbidden(reason: impl Reason) -> Problem {
    Problem::because(ProblemCode::StateForbids, reason)
}

/// A field that does not hold what it should.
pub(super) fn field(reason: impl Reason) -> Problem {
    Problem::because(ProblemCode::ValueRefused, reason)
}
