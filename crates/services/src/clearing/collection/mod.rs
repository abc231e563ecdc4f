//! The collection of terminal transactions (B-7.3.1): notices, batches and files.
//!
//! ```text
//! notice ---------------------------------------+
//! batch --> recorded whole --+                  v
//! file  --> bytes, digest ---+--> rows, in chunks --> judged --> recorded, or kept aside with the reason
//!                                                                  |
//!                                      numbers counted, cards examined, results for the institution
//! ```
//!
//! A batch or file is recorded before a row of it is judged; each chunk is one step together with the file's
//! progress. Nothing here believes a terminal: a purchase counts by its TAC. What is delivered is the terminal's own
//! all the same: the batch of a terminal with a key carries its signature, and a file has a file of signatures beside
//! it.

mod batch;
mod examine;
mod files;
mod incoming;
mod judge;
mod receive;
mod refusals;
mod results;
mod signatures;
mod take;
mod transport;
mod unfinished;
mod views;

use tsm_api::problem::{Problem, ProblemCode};
use tsm_domain::InstitutionId;
use tsm_storage::StorageError;
use tsm_storage::clearing::collection::FileKey;

use crate::stored;

pub(super) use batch::{batch, batch_state};
pub(super) use files::{file, file_content, file_piece, results, verdict_of};
pub(super) use judge::{Judge, Row};
pub(super) use refusals::difference_of_unreadable;
pub use transport::{FileServer, Protection, TransportSettings, serve_files, serve_line};
pub(super) use views::{gaps, quarantine};

fn problem(error: StorageError) -> Problem {
    stored::problem(&error)
}

/// An institution's number as the store knows it.
pub(super) fn institution_id(institution: &str) -> Result<InstitutionId, Problem> {
    institution.parse().map_err(|_| {
        tracing::error!("an institution is registered with a number that is none");
        ProblemCode::Internal.into()
    })
}

fn file_key(institution: &InstitutionId, name: &str) -> FileKey {
    FileKey { institution: institution.clone(), name: name.to_owned() }
}
