//! A debit is proven: what is stored with it in one commit. The order is paid, the merchant hears of it, and so does
//! the centre where it is the card that proved it.

use jiff::Timestamp;
use tsm_api::payment::purse::CardOffer;
use tsm_api::payment::{PaymentNotification, PaymentRecord, PaymentState};
use tsm_api::problem::{Problem, ProblemCode};
use tsm_domain::money::PurseAttempt;
use tsm_domain::{CardNumber, Fen, IncidentId, PaymentReference};
use tsm_storage::payment::{DebitProof, PaymentRow, ProvenDebit};
use tsm_storage::shared::Incident;

use super::stop::Stop;
use super::unproven::watch_of;
use crate::names;
use crate::payment_sandbox::faults::Faults;
use crate::payment_sandbox::{notifications, record_of};

/// The step that stores it.
pub(super) fn debited(
    row: &PaymentRow,
    attempt: &PurseAttempt,
    proof: DebitProof,
    at: Timestamp,
    faults: &Faults,
) -> Result<ProvenDebit, Stop> {
    let (order, card) = (row.order.order, attempt.begun.card);
    let payment: PaymentReference =
        order.to_string().parse().map_err(|_| Problem::new(ProblemCode::Internal))?;
    let paid = record_of(row, PaymentState::Paid, at, Fen::ZERO);
    let word = PaymentNotification { payment: PaymentRecord { card: Some(CardOffer::Paid), ..paid } };
    let text = format!("card {card} paid for order {order}, which was closed meanwhile");
    Ok(ProvenDebit {
        order,
        number: attempt.number,
        proof,
        watch: watch_of(order, attempt),
        payment,
        at,
        notifications: notifications::messages(&row.notify_url, &word, at, faults),
        for_nothing: incident(card, "debited-for-nothing", text, at),
    })
}

/// An incident; the same one again is the same.
pub(super) fn incident(card: CardNumber, kind: &str, text: String, at: Timestamp) -> Incident {
    let id = IncidentId::from_uuid(names::derived(&[kind, card.as_str(), &text]));
    Incident { id, se: None, card: Some(card), kind: kind.into(), text, at, closed: None }
}
