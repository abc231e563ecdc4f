//! Cards that contradict the records: frozen for value here, until two people at the centre release them.
//!
//! ```text
//! frozen          the centre is told through the outbox, and asked until it says that two people released the card
//! released        the card moves value again, and what it proved before does not bind it any more
//! frozen anew     another freeze, which that release does not lift
//! ```
//!
//! A claim whose data were sent is not among them: what ends it is the desk's own decision (`claim_returns.rs`).

use jiff::Timestamp;
use serde_json::json;
use tsm_api::clearing::freezes::IssuerFreeze;
use tsm_domain::card::CardRecord;
use tsm_domain::{CardNumber, IncidentId, SeId};
use tsm_storage::shared::{ChainKey, Delivery, Incident, IncidentClosed, Note};
use tsm_storage::sp_tsm::With;

use super::SpTsm;
use super::reports::{CENTRE, FREEZE, Reports, later, read, refused};
use super::stop::Stop;
use crate::names;
use crate::outbox::{Carried, delivery};
use crate::purse::{card_from_wire, card_to_wire};

/// The question that ends a freeze. `at` tells a freeze from an earlier one for the same reason.
fn question(card: CardNumber, reason: &str, at: Timestamp) -> Delivery {
    let freeze = names::derived(&["freeze", card.as_str(), reason, &at.to_string()]);
    let told = IssuerFreeze { freeze, card: card_to_wire(card), reason: reason.to_owned() };
    delivery(CENTRE, FREEZE, &freeze.to_string(), &told, at)
}

/// The incident of a card that contradicts the records.
fn incident_of(card: CardNumber, reason: &str) -> IncidentId {
    IncidentId::from_uuid(names::derived(&["suspicious-card", card.as_str(), reason]))
}

impl SpTsm {
    /// Freezes a card for value, with an incident, until two people release it. One that is frozen for that reason
    /// already stays so.
    pub(super) async fn freeze(&self, card: &CardRecord, reason: &str) -> Result<(), Stop> {
        let known = self.store.card(card.card).await?;
        let is_known = known.is_some_and(|known| known.frozen.as_deref() == Some(reason));
        let told = self.freeze_told(card.card, card.se, reason);
        let with = if is_known { With { deliveries: Vec::new(), ..told } } else { told };
        self.store.set_frozen(card.card, Some(reason.into()), with).await?;
        self.outbox.kick();
        Ok(())
    }

    /// The same, and nobody at the centre is asked to end it.
    pub(super) async fn freeze_for_desk(&self, card: &CardRecord, reason: &str) -> Result<(), Stop> {
        let with = With { deliveries: Vec::new(), ..self.freeze_told(card.card, card.se, reason) };
        self.store.set_frozen(card.card, Some(reason.into()), with).await?;
        self.outbox.kick();
        Ok(())
    }
}

impl SpTsm {
    /// What goes with a freeze, in the step that makes it: its entry in the journal, its incident, and the question
    /// that ends it.
    pub(super) fn freeze_told(&self, card: CardNumber, se: SeId, reason: &str) -> With {
        let at = self.now();
        let incident = Incident {
            id: incident_of(card, reason),
            se: Some(se),
            card: Some(card),
            kind: "suspicious-card".into(),
            text: reason.into(),
            at,
            closed: None,
        };
        let note = self.note(card, "card-frozen", &json!({ "reason": reason }));
        With { notes: vec![note], incidents: vec![incident], deliveries: vec![question(card, reason, at)] }
    }
}

impl Reports {
    /// Asks whether a card was released, and lifts the freeze that the question is about.
    pub(super) async fn carry_freeze(&self, sent: &Delivery) -> Result<Carried, Carried> {
        let told: IssuerFreeze = read(sent)?;
        let card = card_from_wire(&told.card).map_err(Carried::Refused)?;
        let is_frozen = async || {
            let known = self.store.card(card).await.map_err(later)?;
            Ok(known.and_then(|known| known.frozen).as_deref() == Some(told.reason.as_str()))
        };
        // Ended otherwise, or frozen for another reason, which has its own question.
        if !is_frozen().await? {
            return Ok(Carried::Delivered);
        }
        let standing = self.links.centre.issuer_freeze(&told).await.map_err(refused)?;
        let Some(release) = standing.released else {
            return Err(Carried::Later("nobody has released the card yet".into()));
        };
        if !is_frozen().await? {
            return Ok(Carried::Delivered);
        }
        let note = Note {
            chain: ChainKey::Card(card),
            at: release.at,
            actor: "centre".into(),
            event: "card-released".into(),
            detail: json!({ "freeze": told.freeze, "approved_by": release.by }).to_string(),
        };
        let with = With { notes: vec![note], ..With::default() };
        self.store.set_frozen(card, None, with).await.map_err(later)?;
        let centre = "centre".parse().expect("a short word is a name");
        let closed =
            IncidentClosed { by: centre, at: release.at, note: "two people released the card".into() };
        // The freeze is lifted; an incident that stays open is looked at by a person.
        match self.store.close_incident(incident_of(card, &told.reason), closed).await {
            Ok(()) | Err(tsm_storage::StorageError::Unknown { .. }) => {}
            Err(error) => tracing::warn!(%card, %error, "the incident of a released card stays open"),
        }
        Ok(Carried::Delivered)
    }
}
