//! What goes into the books: transfers whose identity follows from the order or the card transaction that
//! they book, and entries of the card's journal.

use serde_json::{Value, json};
use tsm_api::problem::{Problem, ProblemCode};
use tsm_domain::money::{CardTransaction, TransactionKey, Transfer, TransferCode};
use tsm_domain::{CardNumber, Fen, IncidentId, OrderId, TransferId};
use tsm_epurse::KeyRole;
use tsm_keys::KeyHandle;
use tsm_storage::clearing::AccountRow;
use tsm_storage::shared::{ChainKey, Incident, Note};

use super::Clearing;
use crate::names;
use crate::stored;

impl Clearing {
    pub(super) fn now(&self) -> jiff::Timestamp {
        self.environment.now()
    }

    /// The account of a card.
    pub(super) async fn known(&self, card: CardNumber) -> Result<AccountRow, Problem> {
        let row = self.store.account(card).await.map_err(|error| stored::problem(&error))?;
        row.ok_or_else(|| Problem::because(ProblemCode::UnknownId, "The centre has no account of this card."))
    }

    /// The card's TAC key, inside the key service.
    pub(super) fn tac_key(&self, card: CardNumber) -> Result<KeyHandle, Problem> {
        let issuer = self.issuers.iter().find(|(prefix, _)| card.as_str().starts_with(prefix));
        let (_, keys) = issuer.ok_or_else(|| {
            Problem::because(ProblemCode::UnknownId, "No issuer has card numbers that begin like this.")
        })?;
        keys.of_card(&*self.keys, KeyRole::Tac, card).map_err(|error| {
            tracing::error!(%error, "the key service refused");
            ProblemCode::Internal.into()
        })
    }

    /// A transfer about an order: one for each code.
    pub(super) fn for_order(
        &self,
        code: TransferCode,
        order: OrderId,
        card: CardNumber,
        amount: Fen,
    ) -> Transfer {
        let id =
            TransferId::from_uuid(names::derived(&["transfer", &format!("{code:?}"), &order.to_string()]));
        code.transfer(id, card, amount, self.now()).for_order(order)
    }

    /// The transfer of a purchase: one for each card transaction.
    pub(super) fn spent(&self, key: TransactionKey, amount: Fen) -> Transfer {
        let words = ["transfer", "Spent", key.card.as_str(), &format!("{:?}/{}", key.kind, key.counter)];
        let id = TransferId::from_uuid(names::derived(&words));
        TransferCode::Spent.transfer(id, key.card, amount, self.now())
    }

    /// An entry of a card's journal.
    pub(super) fn note(&self, card: CardNumber, actor: &str, event: &str, detail: &Value) -> Note {
        Note {
            chain: ChainKey::Card(card),
            at: self.now(),
            actor: actor.into(),
            event: event.into(),
            detail: detail.to_string(),
        }
    }

    /// What somebody has to look at: a report that contradicts the records.
    pub(super) async fn report(&self, kind: &str, key: TransactionKey, text: String) -> Result<(), Problem> {
        tracing::warn!(card = %key.card, kind, text, "a report was kept aside");
        let words = ["incident", kind, key.card.as_str(), &format!("{:?}/{}", key.kind, key.counter), &text];
        let incident = Incident {
            id: IncidentId::from_uuid(names::derived(&words)),
            se: None,
            card: Some(key.card),
            kind: kind.into(),
            text,
            at: self.now(),
            closed: None,
        };
        self.store.record_incident(incident).await.map_err(|error| stored::problem(&error))
    }
}

/// A transaction in a journal, without the card number.
pub(super) fn detail_of(transaction: &CardTransaction) -> Value {
    json!({
        "kind": format!("{:?}", transaction.key.kind),
        "counter": transaction.key.counter,
        "amount_fen": transaction.amount,
        "terminal": transaction.terminal,
    })
}
