//! What a phone tried with a card and was refused: nothing was believed, booked or frozen for it, and the centre is
//! told, so that it stands in the reconciliation view with its card, order and amount. The freeze of a card that
//! contradicts the records is another word (`freezes.rs`).

use tsm_api::clearing::card_incidents::{CardIncident, CardIncidentKind};
use tsm_api::ids::OrderId as WireOrder;
use tsm_card::ProcedureError;
use tsm_domain::arrival::Arrival;
use tsm_domain::card::CardRecord;
use tsm_domain::money::TopUpStage;
use tsm_domain::{CardNumber, Fen, OnlineCounter, OrderId, SeId};
use tsm_iso7816::Aid;
use tsm_keys::{KeyError, SessionError};
use tsm_storage::Result;
use tsm_storage::sp_tsm::{TopUpOrder, TopUpOrderState};

use super::{SpTsm, reports};
use crate::names;
use crate::purse::{card_to_wire, to_wire};

/// Orders of a card that are looked at, newest first.
const ORDERS: usize = 64;
/// The longest text of an error that is told.
const LONGEST_REASON: usize = 240;

/// What is told.
struct Tried<'a> {
    kind: CardIncidentKind,
    /// With the kind, what makes it one.
    key: String,
    card: CardNumber,
    order: Option<(OrderId, Fen)>,
    text: &'a str,
}

impl SpTsm {
    /// A phone asks for a parked card that another one is bringing to itself.
    pub(super) async fn tell_second_claim(&self, first: &Arrival, second: SeId) -> Result<()> {
        if first.se == second {
            return Ok(());
        }
        let text = format!(
            "secure element {second} asked for the card, which {} has been bringing to itself since {:.0}",
            first.se, first.created_at
        );
        let key = format!("{}/{second}", first.operation);
        let (kind, card) = (CardIncidentKind::ClaimedTwice, first.card);
        self.tell(Tried { kind, key, card, order: None, text: &text }).await
    }

    /// A phone says that the card has credited an order, and no TAC proves it.
    pub(super) async fn tell_unproven_credit(
        &self,
        card: &CardRecord,
        order: OrderId,
        amount: Fen,
    ) -> Result<()> {
        let text = format!(
            "secure element {}: CREDIT FOR LOAD of order {order} over {amount} yuan was said to be carried out, and \
             no TAC proves it",
            card.se
        );
        let (kind, order_of) = (CardIncidentKind::ProofMissing, Some((order, amount)));
        self.tell(Tried {
            kind,
            key: format!("credit/{order}"),
            card: card.card,
            order: order_of,
            text: &text,
        })
        .await
    }

    /// A phone says that the card was emptied, and no MAC3 proves it.
    pub(super) async fn tell_unproven_debit(&self, card: &CardRecord, amount: Fen) -> Result<()> {
        let closing = card.closing.map(|closing| closing.operation.to_string()).unwrap_or_default();
        let text = format!(
            "secure element {}: DEBIT FOR UNLOAD of {amount} yuan in closing {closing} was said to be carried out, \
             and no MAC3 proves it",
            card.se
        );
        let (kind, key) = (CardIncidentKind::ProofMissing, format!("debit/{closing}"));
        self.tell(Tried { kind, key, card: card.card, order: None, text: &text }).await
    }

    /// A flow stopped. When that was because an answer that says *done* does not carry the card's proof, the centre
    /// is told, once a day for each kind of flow; a store that cannot keep it is no reason to answer otherwise.
    pub(super) async fn tell_unproven(
        &self,
        (se, application): (SeId, Aid),
        purpose: &str,
        error: &ProcedureError,
    ) {
        if !lacks_proof(error) {
            return;
        }
        let Ok(Some(card)) = self.card_on(se, application).await else { return };
        let reason: String = describe(error).chars().take(LONGEST_REASON).collect();
        let text = format!("{purpose} on secure element {se}: {reason}");
        let day = self.now().strftime("%Y%m%d").to_string();
        let (kind, key) = (CardIncidentKind::ProofMissing, format!("{}/{purpose}/{day}", card.card));
        let told = self.tell(Tried { kind, key, card: card.card, order: None, text: &text }).await;
        if let Err(error) = told {
            tracing::warn!(%error, "the centre is not told of a missing proof");
        }
    }

    /// An order is asked back. While the outcome of its credit is not known, nothing goes back, and the centre is
    /// told.
    pub(super) async fn tell_cancel_in_doubt(&self, order: OrderId) -> Result<()> {
        let Some(order) = self.store.top_up(order).await? else { return Ok(()) };
        if !matches!(order.state, TopUpOrderState::Paid { stage: TopUpStage::Intended(_), .. }) {
            return Ok(());
        }
        let text = format!(
            "order {} over {} yuan was asked back while only the card knew whether it had taken it in",
            order.order, order.amount
        );
        let (kind, key) = (CardIncidentKind::CancelInDoubt, order.order.to_string());
        let about = Some((order.order, order.amount));
        self.tell(Tried { kind, key, card: order.card, order: about, text: &text }).await
    }

    /// A card has taken in something that no record knows, one load after it had proved that it took in nothing:
    /// when an order was cancelled on that word, the centre hears which. Whether the card is frozen is decided
    /// elsewhere.
    pub(super) async fn tell_credit_after_cancel(
        &self,
        card: &CardRecord,
        counter: OnlineCounter,
        balance: Fen,
    ) -> Result<()> {
        let Some(proven) = card.proven.filter(|proven| proven.counter.next() == Some(counter)) else {
            return Ok(());
        };
        let orders = self.store.top_ups_of(card.card, ORDERS).await?;
        let could_be = |order: &&TopUpOrder| {
            let is_cancelled =
                matches!(order.state, TopUpOrderState::Paid { stage: TopUpStage::Cancelled, .. });
            let most = proven.balance.checked_add(order.amount);
            is_cancelled && most.is_some_and(|most| balance <= most)
        };
        let Some(order) = orders.iter().find(could_be) else { return Ok(()) };
        let text = format!(
            "order {} over {} yuan was cancelled when the card proved counter {} and {} yuan; it proves {counter} \
             and {balance} yuan now",
            order.order, order.amount, proven.counter, proven.balance
        );
        let (kind, key) = (CardIncidentKind::CreditAfterCancel, format!("{}/{counter}", order.order));
        let about = Some((order.order, order.amount));
        self.tell(Tried { kind, key, card: card.card, order: about, text: &text }).await
    }

    async fn tell(&self, tried: Tried<'_>) -> Result<()> {
        let Tried { kind, key, card, order, text } = tried;
        let at = self.now();
        let report = CardIncident {
            incident: names::derived(&["card-incident", &format!("{kind:?}"), &key]),
            kind,
            card: card_to_wire(card),
            order: order.map(|(order, _)| WireOrder(order.as_uuid())),
            amount_fen: order.map(|(_, amount)| to_wire(amount)),
            text: text.to_owned(),
            at,
        };
        self.store.put_delivery(reports::card_incident(&report, at)).await?;
        self.outbox.kick();
        Ok(())
    }
}

/// Whether an answer claimed success and did not carry what the card would have given with it.
const fn lacks_proof(error: &ProcedureError) -> bool {
    match error {
        ProcedureError::Session(reason) => matches!(
            reason,
            SessionError::CardCryptogram
                | SessionError::ResponseMac { .. }
                | SessionError::Malformed(_)
                | SessionError::Key(KeyError::CardMac(_))
        ),
        ProcedureError::Key(KeyError::CardMac(_)) | ProcedureError::Answer { .. } => true,
        ProcedureError::NotSent
        | ProcedureError::OutcomeUnknown
        | ProcedureError::Status { .. }
        | ProcedureError::UsedMeanwhile
        | ProcedureError::Channel(_)
        | ProcedureError::Impossible(_)
        | ProcedureError::Key(_) => false,
    }
}

fn describe(error: &ProcedureError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
