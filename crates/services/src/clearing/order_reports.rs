//! What becomes of the money of an order that is not on a card: paid, cancelled, given back.

use std::sync::Arc;

use serde_json::json;
use tsm_api::clearing::OrderReport;
use tsm_api::endpoint::Nothing;
use tsm_api::problem::{Problem, ProblemCode, both};
use tsm_domain::money::{Transfer, TransferCode};
use tsm_domain::{CardNumber, Fen, OrderId};
use tsm_storage::clearing::Books;

use super::Clearing;
use super::access::Institution;
use super::entries::refused_entry;
use crate::purse::card_from_wire;
use crate::server::Call;

/// A kind of entry about an order.
struct Entry {
    code: TransferCode,
    /// What must be booked for the order before it.
    follows: Option<TransferCode>,
    /// Its name in the card's journal.
    event: &'static str,
}

const PAYMENT: Entry =
    Entry { code: TransferCode::PaymentConfirmed, follows: None, event: "payment-confirmed" };
const CANCELLATION: Entry = Entry {
    code: TransferCode::TopUpCancelled,
    follows: Some(TransferCode::PaymentConfirmed),
    event: "top-up-cancelled",
};
const REFUND: Entry =
    Entry { code: TransferCode::RefundPaid, follows: Some(TransferCode::TopUpCancelled), event: "refunded" };

/// The payment platform confirmed a payment for a card.
pub(super) async fn payment(
    centre: Arc<Clearing>,
    call: Call<Institution, OrderReport>,
) -> Result<Nothing, Problem> {
    centre.book_order(call, PAYMENT).await
}

/// A paid order was cancelled, as its card proved.
pub(super) async fn cancellation(
    centre: Arc<Clearing>,
    call: Call<Institution, OrderReport>,
) -> Result<Nothing, Problem> {
    centre.book_order(call, CANCELLATION).await
}

/// A cancelled order's money went back.
pub(super) async fn refund(
    centre: Arc<Clearing>,
    call: Call<Institution, OrderReport>,
) -> Result<Nothing, Problem> {
    centre.book_order(call, REFUND).await
}

impl Clearing {
    async fn book_order(
        &self,
        call: Call<Institution, OrderReport>,
        entry: Entry,
    ) -> Result<Nothing, Problem> {
        let Institution(institution, _) = call.caller;
        let OrderReport { order, card, amount_fen } = call.request;
        let card = card_from_wire(&card)?;
        self.check_issuer(&institution, card)?;
        self.known(card).await?;
        if amount_fen == 0 {
            return Err(Problem::because(
                ProblemCode::ValueRefused,
                both("An order is for at least one fen.", "订单金额至少一分。"),
            ));
        }
        let order = OrderId::from_uuid(order.0);
        let transfer = self.for_order(entry.code, order, card, Fen::new(amount_fen.into()));
        let booked = self.transfers_of_order(order, card).await?;
        if let Some(known) = booked.iter().find(|known| known.id == transfer.id) {
            if (known.code, entry.code) == (TransferCode::PaymentClaimed, TransferCode::PaymentConfirmed) {
                check_amount(known, &transfer)?;
                return self.confirm(&institution, card, order, &transfer).await;
            }
            // Repeated: the books and the journal have their entry already.
            return check_same(known, &transfer).map(|()| Nothing {});
        }
        if let Some(before) = entry.follows {
            // The order's own entry: one of a stray payment that named it says nothing of it.
            let own = self.for_order(before, order, card, transfer.amount).id;
            let before = booked.iter().find(|known| known.id == own && known.code == before);
            check_follows(before, &transfer)?;
        }
        let note =
            self.note(card, &institution, entry.event, &json!({ "order": order, "amount_fen": amount_fen }));
        let books = Books { transfers: vec![transfer], notes: vec![note], ..Books::default() };
        self.store.transfer(books).await.map_err(|error| refused_entry(&error))?;
        Ok(Nothing {})
    }
}

impl Clearing {
    /// The payment's own report confirms what was booked on the issuer's word. Its money is booked already.
    async fn confirm(
        &self,
        institution: &str,
        card: CardNumber,
        order: OrderId,
        reported: &Transfer,
    ) -> Result<Nothing, Problem> {
        let amount = reported.amount;
        let said = json!({ "order": order, "amount_fen": amount });
        let notes = vec![self.note(card, institution, PAYMENT.event, &said)];
        let books = Books { notes, ..Books::default() };
        let confirmed = self.store.confirm_payment(order, card, amount, books, self.now()).await;
        confirmed.map(|_| Nothing {}).map_err(|error| refused_entry(&error))
    }
}

/// A report that comes again says the same, or contradicts the books.
fn check_same(known: &Transfer, again: &Transfer) -> Result<(), Problem> {
    if known.code != again.code {
        return Err(Problem::because(
            ProblemCode::OrderUsed,
            both("The order was settled in another way.", "订单已以其他方式了结。"),
        ));
    }
    check_amount(known, again)
}

// Only the money of the same order moves on: the card's account may hold that of others too.
fn check_follows(before: Option<&Transfer>, next: &Transfer) -> Result<(), Problem> {
    let before = before.ok_or_else(|| {
        Problem::because(
            ProblemCode::StateForbids,
            both("What comes before it has not been reported.", "其前一步尚未上报。"),
        )
    })?;
    check_amount(before, next)
}

fn check_amount(known: &Transfer, reported: &Transfer) -> Result<(), Problem> {
    if known.amount == reported.amount {
        return Ok(());
    }
    Err(Problem::because(
        ProblemCode::AmountRefused,
        both(format!("The order is for {} yuan.", known.amount), format!("该订单为 {} 元。", known.amount)),
    ))
}
