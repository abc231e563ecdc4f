//! What becomes of the money of an order that is not on a card: paid, cancelled, given back.

use std::sync::Arc;

use serde_json::json;
use tsm_api::clearing::OrderReport;
use tsm_api::endpoint::Nothing;
use tsm_api::problem::Problem;
use tsm_domain::money::TransferCode;
use tsm_domain::{Fen, OrderId};
use tsm_storage::clearing::Books;

use super::Clearing;
use super::access::Institution;
use crate::purse::card_from_wire;
use crate::server::Call;
use crate::stored;

/// The payment platform confirmed a payment for a card.
pub(super) async fn payment(
    centre: Arc<Clearing>,
    call: Call<Institution, OrderReport>,
) -> Result<Nothing, Problem> {
    centre.book_order(call, TransferCode::PaymentConfirmed, "payment-confirmed").await
}

/// A paid order was cancelled, as its card proved.
pub(super) async fn cancellation(
    centre: Arc<Clearing>,
    call: Call<Institution, OrderReport>,
) -> Result<Nothing, Problem> {
    centre.book_order(call, TransferCode::TopUpCancelled, "top-up-cancelled").await
}

/// A cancelled order's money went back.
pub(super) async fn refund(
    centre: Arc<Clearing>,
    call: Call<Institution, OrderReport>,
) -> Result<Nothing, Problem> {
    centre.book_order(call, TransferCode::RefundPaid, "refunded").await
}

impl Clearing {
    async fn book_order(
        &self,
        call: Call<Institution, OrderReport>,
        code: TransferCode,
        event: &str,
    ) -> Result<Nothing, Problem> {
        let Institution(institution) = call.caller;
        let OrderReport { order, card, amount_fen } = call.request;
        let card = card_from_wire(&card)?;
        self.known(card).await?;
        let order = OrderId::from_uuid(order.0);
        let transfer = self.for_order(code, order, card, Fen::new(amount_fen.into()));
        let known = self.store.transfers_of(card).await.map_err(|error| stored::problem(&error))?;
        // Repeated: the journal has its entry already.
        let repeated = known.iter().any(|known| known.id == transfer.id);
        let note = self.note(card, &institution, event, &json!({ "order": order, "amount_fen": amount_fen }));
        let notes = if repeated { Vec::new() } else { vec![note] };
        let books = Books { transfers: vec![transfer], notes, ..Books::default() };
        self.store.transfer(books).await.map_err(|error| stored::problem(&error))?;
        Ok(Nothing {})
    }
}
