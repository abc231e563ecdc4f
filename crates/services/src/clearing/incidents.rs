//! Incidents that end by themselves: what they were about came after all.

use tsm_domain::IncidentId;
use tsm_storage::StorageError;
use tsm_storage::shared::IncidentClosed;

use super::Clearing;

impl Clearing {
    /// Ends an incident in the centre's own name. One that nobody opened, or that people have closed, stays as it is.
    pub(super) async fn end_incident(&self, id: IncidentId, why: &str) -> Result<(), StorageError> {
        let by = "centre".parse().expect("a short word is a name");
        let closed = IncidentClosed { by, at: self.now(), note: why.to_owned() };
        match self.store.close_incident(id, closed).await {
            Ok(()) | Err(StorageError::Unknown { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
