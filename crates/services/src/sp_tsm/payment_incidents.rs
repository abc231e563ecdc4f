//! What contradicts a payment: an incident here, with the card of the order, and a report to the centre, whose
//! reconciliation lists it. It moves no money.

use jiff::Timestamp;
use tsm_domain::{CardNumber, IncidentId};
use tsm_storage::SpTsmStore;
use tsm_storage::shared::Incident;

use super::reports;
use crate::names;

/// The longest text that the centre keeps.
const LONGEST_TEXT: usize = 480;

/// What is wrong with a payment.
pub(super) struct Contradiction<'a> {
    /// Its kind, stable: the reconciliation's cause follows from it.
    pub kind: &'a str,
    /// With the kind, what makes it one incident.
    pub key: String,
    /// What happened, in words.
    pub text: String,
    /// The card of the order, where that is known.
    pub card: Option<CardNumber>,
}

impl Contradiction<'_> {
    /// Leaves the incident, once for each kind and key, and has the centre told.
    pub(super) async fn keep(self, store: &dyn SpTsmStore, at: Timestamp) -> tsm_storage::Result<()> {
        let Self { kind, key, mut text, card } = self;
        if let Some((end, _)) = text.char_indices().find(|(start, c)| start + c.len_utf8() > LONGEST_TEXT) {
            text.truncate(end);
        }
        let id = IncidentId::from_uuid(names::derived(&["payment-incident", kind, &key]));
        let report = reports::incident(id, kind, &text, card, at);
        let incident = Incident { id, se: None, card, kind: kind.into(), text, at, closed: None };
        store.record_incident(incident).await?;
        store.put_delivery(report).await
    }
}
