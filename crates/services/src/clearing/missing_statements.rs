//! A payment statement that does not come: it holds up the reconciliation of its day and of all days after it, so
//! somebody is told.
//!
//! ```text
//! the statement is overdue      an alarm, and a difference in the reconciliation view
//! it comes after all            the alarm ends by itself, and so does the difference
//! two people go on without it   the alarm ends; each payment of the day that nothing else confirms is a difference
//! it comes even then            the day is compared again with it (late_statements.rs)
//! ```
//!
//! Nobody but two people lets a day go on without what proves its payments.

use tsm_domain::money::reconciliation::{Action, DifferenceState, Explanation};
use tsm_domain::money::settlement::BusinessDay;
use tsm_domain::{DifferenceId, IncidentId};
use tsm_storage::StorageError;
use tsm_storage::clearing::Books;
use tsm_storage::shared::Incident;

use super::Clearing;
use super::statements::Wait;
use super::suspicions::difference_of_incident;
use crate::names;
use crate::payment::StatementFailure;

/// The kind of the incident.
pub(super) const STATEMENT_OVERDUE: &str = "statement-overdue";
/// How it ends by itself.
const HAS_COME: &str = "the statement has come";

impl Clearing {
    /// Raises the alarm. Raised again, it is the same one.
    pub(super) async fn statement_is_overdue(
        &self,
        day: BusinessDay,
        why: &StatementFailure,
    ) -> Result<(), StorageError> {
        let text = format!("the payment statement of {day} has not come, and the days after it wait: {why}");
        let incident = Incident {
            id: incident_of(day),
            se: None,
            card: None,
            kind: STATEMENT_OVERDUE.into(),
            text,
            at: self.now(),
            closed: None,
        };
        self.store.record_incident(incident).await
    }

    /// Whether two people have decided to go on without what is missing.
    pub(super) async fn wait_for_statements(&self, day: BusinessDay) -> Result<Wait, StorageError> {
        let decided = self.store.difference(difference_of(day)).await?;
        Ok(match decided.map(|difference| difference.state) {
            Some(DifferenceState::Resolved { proposal, .. }) if proposal.action == Action::GoOnWithout => {
                Wait::NoLonger
            }
            _ => Wait::ForAll,
        })
    }

    /// All statements of the day are here: whatever was told of them is over.
    pub(super) async fn statements_have_come(&self, day: BusinessDay) -> Result<(), StorageError> {
        let Some(known) = self.store.difference(difference_of(day)).await? else {
            return self.end_incident(incident_of(day), HAS_COME).await;
        };
        let explained = known.clone().explained(day, Explanation::LaterStatement);
        if explained != known {
            self.store.change_difference(&known, explained, Books::default()).await?;
        }
        self.end_incident(incident_of(day), HAS_COME).await
    }
}

fn incident_of(day: BusinessDay) -> IncidentId {
    IncidentId::from_uuid(names::derived(&["incident", STATEMENT_OVERDUE, &day.to_string()]))
}

fn difference_of(day: BusinessDay) -> DifferenceId {
    difference_of_incident(incident_of(day))
}
