//! What contradicts a payment, kept for reconciliation until a person has looked at it.

use std::sync::Arc;

use tsm_api::clearing::payments::PaymentIncident;
use tsm_api::endpoint::Nothing;
use tsm_api::problem::{Problem, ProblemCode};
use tsm_domain::IncidentId;
use tsm_storage::shared::Incident;

use super::Clearing;
use super::access::Institution;
use crate::purse::card_from_wire;
use crate::server::Call;
use crate::stored;

/// The longest text that is kept.
const LONGEST_TEXT: usize = 500;

/// Keeps the incident.
pub(super) async fn payment_incident(
    centre: Arc<Clearing>,
    call: Call<Institution, PaymentIncident>,
) -> Result<Nothing, Problem> {
    let Institution(institution, _) = call.caller;
    centre.check_keeper(&institution)?;
    let PaymentIncident { incident, kind, text, card, at } = call.request;
    let card = card.as_ref().map(card_from_wire).transpose()?;
    if let Some(card) = card {
        centre.check_issuer(&institution, card)?;
    }
    if text.len() > LONGEST_TEXT || !kind.starts_with("payment-") || kind.len() > 64 {
        return Err(ProblemCode::ValueRefused.into());
    }
    let text = format!("{institution}: {text}");
    let id = IncidentId::from_uuid(incident);
    let incident = Incident { id, se: None, card, kind, text, at, closed: None };
    centre.store.record_incident(incident).await.map_err(|error| stored::problem(&error))?;
    Ok(Nothing {})
}
