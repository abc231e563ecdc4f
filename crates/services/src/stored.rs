//! What a refusal of a store means to a caller.

use tracing::error;
use tsm_api::problem::{Problem, ProblemCode};
use tsm_domain::card::{CardRefusal, CardState};
use tsm_domain::money::{CardAccountRefusal, PaymentRefusal, TopUpRefusal};
use tsm_storage::StorageError;

/// The problem that a caller is told.
pub fn problem(error: &StorageError) -> Problem {
    let code = match error {
        StorageError::Unavailable(_) => ProblemCode::Unavailable,
        StorageError::Corrupt { .. } => ProblemCode::Internal,
        StorageError::Unknown { .. } => ProblemCode::UnknownId,
        StorageError::Conflict { .. } => ProblemCode::StateForbids,
        StorageError::Fenced { .. } => ProblemCode::LeaseLost,
        StorageError::TopUp(refusal) => top_up(refusal),
        StorageError::Payment(PaymentRefusal::AttemptOpen | PaymentRefusal::CardHasOpenAttempt) => {
            ProblemCode::OutcomeUnknown
        }
        StorageError::Payment(PaymentRefusal::TooManyAttempts) => ProblemCode::TooManyRequests,
        StorageError::Payment(_) => ProblemCode::StateForbids,
        StorageError::CardAccount(CardAccountRefusal::Frozen) => ProblemCode::SuspiciousCard,
        StorageError::CardAccount(_) => ProblemCode::StateForbids,
        StorageError::Card(CardRefusal::Frozen) => ProblemCode::SuspiciousCard,
        StorageError::Card(CardRefusal::HoldsValue(_)) => ProblemCode::ValueRemains,
        StorageError::Card(CardRefusal::Card { from: CardState::Locked, to: CardState::Active }) => {
            return ProblemCode::CardLocked.into();
        }
        StorageError::Card(_) => ProblemCode::StateForbids,
        StorageError::Arrival(_) => ProblemCode::StateForbids,
        StorageError::Transfer(_) => ProblemCode::StateForbids,
        StorageError::Batch(_) => ProblemCode::ValueRefused,
    };
    match error {
        // The inside of a store is for the log, not for a caller.
        StorageError::Unavailable(_) | StorageError::Corrupt { .. } => {
            error!(%error, "the store failed");
            code.into()
        }
        said => Problem::because(code, format_args!("In detail: {said}.")),
    }
}

const fn top_up(refusal: &TopUpRefusal) -> ProblemCode {
    match refusal {
        TopUpRefusal::Stage { .. } => ProblemCode::StateForbids,
        TopUpRefusal::OutcomeUnknown => ProblemCode::OutcomeUnknown,
        TopUpRefusal::CounterExhausted | TopUpRefusal::TooMuch(_) => ProblemCode::AmountRefused,
        TopUpRefusal::AnotherAttempt => ProblemCode::CardUnproven,
    }
}
