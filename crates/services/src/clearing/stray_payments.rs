//! A payment that its order could not use any more and that went back as a whole: booked in one step as paid,
//! owed and given back, so that books and payment statement say the same and no card ever has the money.
//!
//! The entries follow from the payment and not from the order alone, which another payment may have paid.

use std::sync::Arc;

use serde_json::json;
use tsm_api::clearing::payments::StrayPayment;
use tsm_api::endpoint::Nothing;
use tsm_api::problem::{Problem, ProblemCode};
use tsm_domain::money::TransferCode;
use tsm_domain::{Fen, OrderId, PaymentReference, TransferId};
use tsm_storage::clearing::Books;

use super::Clearing;
use super::access::Institution;
use super::entries::refused_entry;
use crate::names;
use crate::purse::card_from_wire;
use crate::server::Call;

/// What the money of a stray payment did.
const WAY: [TransferCode; 3] =
    [TransferCode::PaymentConfirmed, TransferCode::TopUpCancelled, TransferCode::RefundPaid];

/// Books the payment and its refund.
pub(super) async fn stray_payment(
    centre: Arc<Clearing>,
    call: Call<Institution, StrayPayment>,
) -> Result<Nothing, Problem> {
    let Institution(institution, _) = call.caller;
    let StrayPayment { order, card, payment, amount_fen } = call.request;
    let card = card_from_wire(&card)?;
    centre.check_issuer(&institution, card)?;
    centre.known(card).await?;
    let payment: PaymentReference = payment.parse().map_err(|_| ProblemCode::ValueRefused)?;
    if amount_fen == 0 || payment.is_cash() {
        return Err(Problem::because(
            ProblemCode::ValueRefused,
            "A stray payment is one of the payment platform, of at least one fen.",
        ));
    }
    let order = OrderId::from_uuid(order.0);
    let (amount, at) = (Fen::new(amount_fen.into()), centre.now());
    let transfers = WAY.map(|code| {
        let words = ["transfer", "stray", code.name(), &order.to_string(), payment.as_str()];
        let id = TransferId::from_uuid(names::derived(&words));
        code.transfer(id, card, amount, at).for_order(order)
    });
    let booked = centre.transfers_of_order(order, card).await?;
    if let Some(known) = booked.iter().find(|known| known.id == transfers[0].id) {
        if known.amount == amount {
            return Ok(Nothing {});
        }
        let reason = format!("The payment was {} yuan.", known.amount);
        return Err(Problem::because(ProblemCode::AmountRefused, reason));
    }
    let detail = json!({ "order": order, "payment": payment, "amount_fen": amount_fen });
    let notes = vec![centre.note(card, &institution, "stray-payment-returned", &detail)];
    let books = Books { transfers: transfers.to_vec(), notes, ..Books::default() };
    centre.store.transfer(books).await.map_err(|error| refused_entry(&error))?;
    Ok(Nothing {})
}
