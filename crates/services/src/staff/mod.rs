//! What every desk with people has in common: passwords, sessions, and that an assigned password opens nothing
//! but its own change.

pub(crate) mod clerks;
pub(crate) mod passwords;

use jiff::SignedDuration;
use tsm_api::problem::{Problem, ProblemCode};
use tsm_domain::{OperatorId, SessionId};
use tsm_storage::StorageError;
use tsm_storage::se_tsm::PasswordState;
use tsm_storage::shared::{Session, SessionHolder, Sessions};

use crate::runtime::Environment;

/// Opens a session for a person whose password was right.
pub(crate) async fn open_session<S: Sessions + ?Sized>(
    store: &S,
    environment: &Environment,
    holder: OperatorId,
    lifetime: SignedDuration,
) -> Result<Session, StorageError> {
    let now = environment.now();
    let session = Session {
        id: SessionId::generate(&*environment.entropy),
        holder: SessionHolder::Operator(holder),
        created_at: now,
        expires_at: now.checked_add(lifetime).unwrap_or(now),
    };
    store.put_session(session.clone()).await?;
    Ok(session)
}

/// The only thing that an assigned password opens is its own change.
pub(crate) fn check_password_state(state: PasswordState, path: &str) -> Result<(), Problem> {
    let changing = path.ends_with("/password") || path.ends_with("/logout");
    match state {
        PasswordState::Assigned if !changing => Err(ProblemCode::PasswordChangeRequired.into()),
        PasswordState::Assigned | PasswordState::Own => Ok(()),
    }
}
