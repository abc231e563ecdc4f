//! How a flow stops, and what a wallet is told when the card or a key stops a procedure: the same from every role.

use std::error::Error as _;

use tracing::{error, warn};
use tsm_api::HexBytes;
use tsm_api::conversation::{CardRefusal, Outcome};
use tsm_api::problem::{Problem, ProblemCode, both};
use tsm_card::ProcedureError;
use tsm_iso7816::StatusWord;
use tsm_keys::{KeyError, SessionError};

/// What stops a flow of any role: the rules (`Refused`), a card procedure or a key (`Card`), the store
/// (`Storage`). A role's own `Stop` has these three, and says itself how they end.
macro_rules! stopped_by_rules_card_and_store {
    ($stop:ty) => {
        impl From<tsm_api::problem::Problem> for $stop {
            fn from(problem: tsm_api::problem::Problem) -> Self {
                Self::Refused(problem)
            }
        }

        impl From<tsm_api::problem::ProblemCode> for $stop {
            fn from(code: tsm_api::problem::ProblemCode) -> Self {
                Self::Refused(code.into())
            }
        }

        impl From<tsm_card::ProcedureError> for $stop {
            fn from(error: tsm_card::ProcedureError) -> Self {
                Self::Card(error)
            }
        }

        impl From<tsm_keys::KeyError> for $stop {
            fn from(error: tsm_keys::KeyError) -> Self {
                Self::Card(error.into())
            }
        }

        impl From<tsm_storage::StorageError> for $stop {
            fn from(error: tsm_storage::StorageError) -> Self {
                Self::Storage(error)
            }
        }
    };
}
pub(crate) use stopped_by_rules_card_and_store;

/// How a flow with a purse ends that a card procedure stopped; `refused` says what the card's own refusal means
/// there.
pub(crate) fn card_outcome(error: &ProcedureError, refused: impl FnOnce(StatusWord) -> Outcome) -> Outcome {
    warn!(%error, cause = error.source().map(ToString::to_string), "a card procedure stopped");
    match error {
        ProcedureError::NotSent => Outcome::failed(ProblemCode::CardUnreachable.into()),
        ProcedureError::OutcomeUnknown => Outcome::unknown(ProblemCode::OutcomeUnknown.into()),
        ProcedureError::Status { command, status } => {
            refused_by_card(command.name, *status, refused(*status))
        }
        ProcedureError::Answer { .. } | ProcedureError::Channel(_) => {
            Outcome::failed(Problem::because(ProblemCode::CardUnproven, error))
        }
        ProcedureError::UsedMeanwhile => Outcome::failed(Problem::because(
            ProblemCode::Busy,
            both(
                "The card was used at a terminal meanwhile; nothing was changed.",
                "卡片其间在终端上使用，未作任何更改。",
            ),
        )),
        ProcedureError::Session(SessionError::Key(key)) | ProcedureError::Key(key) => stopped_by_key(key),
        ProcedureError::Session(reason) => {
            Outcome::failed(Problem::because(ProblemCode::CardUnproven, format_args!("In detail: {reason}.")))
        }
        ProcedureError::Impossible(reason) => {
            Outcome::failed(Problem::because(ProblemCode::StateForbids, format_args!("In detail: {reason}.")))
        }
    }
}

/// The outcome with the command that the card refused and the card's own word.
pub(crate) fn refused_by_card(command: impl Into<String>, status: StatusWord, outcome: Outcome) -> Outcome {
    let refusal = CardRefusal {
        command: command.into(),
        status: HexBytes(status.0.to_be_bytes().to_vec()),
        meaning_en: status.meaning().into(),
        meaning_zh: status.meaning_zh().into(),
    };
    Outcome { card_error: Some(refusal), ..outcome }
}

/// A wrong MAC is the card's or the phone's affair; anything else is ours.
fn stopped_by_key(key: &KeyError) -> Outcome {
    match key {
        KeyError::CardMac(_) => {
            Outcome::failed(Problem::because(ProblemCode::CardUnproven, format_args!("In detail: {key}.")))
        }
        other => {
            error!(error = %other, "the key service refused");
            Outcome::failed(ProblemCode::Internal.into())
        }
    }
}
