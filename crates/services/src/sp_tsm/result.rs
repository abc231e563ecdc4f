//! Results that the SE-TSM reports (B-8.5.2.e, B-8.5.3.d). Repeating a report changes nothing.

use std::sync::Arc;

use serde_json::json;
use tsm_api::conversation::OutcomeResult;
use tsm_api::endpoint::Nothing;
use tsm_api::ids::{ConversationId as WireConversation, OperationId};
use tsm_api::problem::{Problem, ProblemCode};
use tsm_api::se_tsm::peer::{OperationKind, OperationResult};
use tsm_domain::ConversationId;
use tsm_domain::card::{CardOrder, CardOrderState, CardRecord, CardState};
use tsm_storage::StorageError;
use tsm_storage::sp_tsm::{Consent, ConsentTo, SpChange, With};

use super::SpTsm;
use super::access::Caller;
use super::stop::Stop;
use crate::server::Call;
use crate::stored;

/// Takes a result.
pub(super) async fn result(tsm: Arc<SpTsm>, call: Call<Caller, OperationResult>) -> Result<Nothing, Problem> {
    call.caller.require_se_tsm()?;
    let report = call.request;
    let to = match report.kind {
        OperationKind::Download | OperationKind::Personalise => ConsentTo::Download,
        OperationKind::Delete => ConsentTo::Deletion,
        OperationKind::Synchronise => ConsentTo::Absence,
        // Locks need no consent, so there is nothing here to close.
        OperationKind::Lock | OperationKind::Unlock => return Ok(Nothing {}),
    };
    let problem = |error: StorageError| stored::problem(&error);
    let conversation = ConversationId::from_uuid(report.operation.0);
    let consent = tsm.store.consent(conversation, to).await.map_err(problem)?;
    let consent = consent.ok_or(ProblemCode::UnknownId)?;
    if (report.result, &consent.result) == (OutcomeResult::Done, &None) {
        match to {
            ConsentTo::Download => Ok(()),
            ConsentTo::Deletion => tsm.close_deleted(report.operation, &consent).await,
            ConsentTo::Absence => tsm.arrival_is_gone(&consent).await,
        }
        .map_err(Stop::into_problem)?;
    }
    let words = format!("{:?}", report.result).to_lowercase();
    tsm.store.report_result(conversation, to, words, With::default()).await.map_err(problem)?;
    Ok(Nothing {})
}

impl SpTsm {
    /// A deleted application's card is closed and its order given up. The consent was given for nothing of
    /// value, and no card with value is closed by a report; nor is one that came there after the consent, when the
    /// report was long under way.
    async fn close_deleted(&self, operation: OperationId, consent: &Consent) -> Result<(), Stop> {
        let (se, application) = (consent.se, consent.application);
        self.arrival_is_gone(consent).await?;
        let is_arriving = self.store.open_arrival(se, application).await?.is_some();
        let card = self.card_on(se, application).await?;
        let card = card.filter(|card| !is_arriving && card.issued_at <= consent.at);
        let order = self.store.open_card_order(se, application).await?;
        let order = order.filter(|order| order.created_at <= consent.at);
        let cards: Vec<CardRecord> = card.and_then(closed).into_iter().collect();
        let orders: Vec<CardOrder> = order.and_then(given_up).into_iter().collect();
        if cards.is_empty() && orders.is_empty() {
            return Ok(());
        }
        let notes =
            cards.iter().map(|card| self.note(card.card, "card-deleted", &json!({ "operation": operation })));
        let notes = notes.collect();
        let fence =
            self.take_link(se, WireConversation(operation.0), &format!("deletion of {application}")).await?;
        let change = SpChange { cards, orders, notes, end: Some(self.end("deleted")), ..SpChange::default() };
        Ok(self.store.commit(fence, change).await?)
    }
}

fn closed(card: CardRecord) -> Option<CardRecord> {
    let state = card.state.moved_to(CardState::Closed).ok()?;
    Some(CardRecord { state, ..card })
}

fn given_up(order: CardOrder) -> Option<CardOrder> {
    let state = order.state.moved_to(CardOrderState::GivenUp).ok()?;
    Some(CardOrder { state, ..order })
}
