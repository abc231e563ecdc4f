//! What a wallet is told when the card, or a key, stops a procedure: the same from every role.

use tracing::error;
use tsm_api::HexBytes;
use tsm_api::conversation::{CardRefusal, Outcome};
use tsm_api::problem::{Problem, ProblemCode};
use tsm_iso7816::StatusWord;
use tsm_keys::KeyError;

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
pub(crate) fn stopped_by_key(key: &KeyError) -> Outcome {
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
