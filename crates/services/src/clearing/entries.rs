//! What goes into the books: transfers whose identity follows from the order or the card transaction that
//! they book, and entries of the card's journal.

use serde_json::{Value, json};
use tsm_api::problem::{Problem, ProblemCode, both};
use tsm_domain::money::{CardTransaction, TransactionKey, Transfer, TransferCode, TransferRefusal};
use tsm_domain::{AsideId, CardNumber, Fen, IncidentId, OrderId, TransferId};
use tsm_epurse::KeyRole;
use tsm_epurse::host::purchase::{PurchaseFacts, tac_input};
use tsm_keys::KeyHandle;
use tsm_storage::StorageError;
use tsm_storage::clearing::AccountRow;
use tsm_storage::shared::{ChainKey, Incident, Note};

use super::Clearing;
use super::suspicions::incident_of_row;
use crate::names;
use crate::stored;

impl Clearing {
    pub(super) fn now(&self) -> jiff::Timestamp {
        self.environment.now()
    }

    /// The account of a card.
    pub(super) async fn known(&self, card: CardNumber) -> Result<AccountRow, Problem> {
        let row = self.store.account(card).await.map_err(|error| stored::problem(&error))?;
        row.ok_or_else(no_account)
    }

    /// The card's TAC key, inside the key service.
    pub(super) fn tac_key(&self, card: CardNumber) -> Result<KeyHandle, Problem> {
        let issuer = self.issuers.iter().find(|(prefix, _)| card.as_str().starts_with(prefix));
        let (_, keys) = issuer.ok_or_else(|| {
            Problem::because(
                ProblemCode::UnknownId,
                both("No issuer has card numbers that begin like this.", "没有发卡方使用此卡号前缀。"),
            )
        })?;
        keys.of_card(&*self.keys, KeyRole::Tac, card).map_err(|error| {
            tracing::error!(%error, "the key service refused");
            ProblemCode::Internal.into()
        })
    }

    /// A transfer about an order. An order is paid once, settled once and given back once; loading, with a
    /// payment or with cash, and cancelling are the ways of settling, and share an identity so that only one
    /// of them can be booked.
    pub(super) fn for_order(
        &self,
        code: TransferCode,
        order: OrderId,
        card: CardNumber,
        amount: Fen,
    ) -> Transfer {
        let settles =
            matches!(code, TransferCode::Loaded | TransferCode::CashLoaded | TransferCode::TopUpCancelled);
        let place = match code {
            _ if settles => "settled",
            // An order is paid once, whether its payment is reported or claimed.
            TransferCode::PaymentClaimed => TransferCode::PaymentConfirmed.name(),
            other => other.name(),
        };
        let id = TransferId::from_uuid(names::derived(&["transfer", place, &order.to_string()]));
        code.transfer(id, card, amount, self.now()).for_order(order)
    }

    /// The transfer of a purchase: one for each TAC.
    ///
    /// The TAC covers amount, type, terminal, terminal's number and time, and not the card's counter. So the
    /// identity follows from what the TAC covers, and the card transaction stands in the order's place: the
    /// same TAC under another counter is a different transfer with the same identity, which no ledger takes.
    pub(super) fn spent(&self, key: TransactionKey, facts: &PurchaseFacts) -> Transfer {
        let covered = hex::encode(tac_input(facts));
        let id = TransferId::from_uuid(names::derived(&["transfer", "spent", key.card.as_str(), &covered]));
        let transaction = format!("{:02X}/{}", key.kind.to_byte(), key.counter);
        let transaction = names::derived(&["transaction", key.card.as_str(), &transaction]);
        let amount = Fen::new(facts.amount.fen().into());
        TransferCode::Spent
            .transfer(id, key.card, amount, self.now())
            .for_order(OrderId::from_uuid(transaction))
    }

    /// The transfers of one order of a card, oldest first.
    pub(super) async fn transfers_of_order(
        &self,
        order: OrderId,
        card: CardNumber,
    ) -> Result<Vec<Transfer>, Problem> {
        let transfers = self.store.transfers_of(card).await.map_err(|error| stored::problem(&error))?;
        Ok(transfers.into_iter().filter(|transfer| transfer.order == Some(order)).collect())
    }

    /// What the centre says of a step in a card's journal. The store puts the step's changes of account, money
    /// and transactions into the same entry.
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
        let transaction = format!("{:02X}/{}", key.kind.to_byte(), key.counter);
        let words = ["incident", kind, key.card.as_str(), &transaction, &text];
        self.open_incident(IncidentId::from_uuid(names::derived(&words)), kind, key, text).await
    }

    /// The same, about a row that was kept aside.
    pub(super) async fn report_row(
        &self,
        row: AsideId,
        kind: &str,
        key: TransactionKey,
        text: String,
    ) -> Result<(), Problem> {
        self.open_incident(incident_of_row(row), kind, key, text).await
    }

    async fn open_incident(
        &self,
        id: IncidentId,
        kind: &str,
        key: TransactionKey,
        text: String,
    ) -> Result<(), Problem> {
        tracing::warn!(card = %key.card, kind, text, "a report was kept aside");
        let incident = Incident {
            id,
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

/// What a refused entry means to the institution that reported it: an order whose identity is taken by a
/// different entry was used otherwise.
pub(super) fn refused_entry(error: &StorageError) -> Problem {
    match error {
        StorageError::Transfer(TransferRefusal::ExistsWithDifferences(_)) => Problem::because(
            ProblemCode::OrderUsed,
            both("The books have another entry for this order.", "该订单在账上已有另一笔分录。"),
        ),
        other => stored::problem(other),
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

pub(super) fn no_account() -> Problem {
    Problem::because(
        ProblemCode::UnknownId,
        both("The centre has no account of this card.", "清算中心没有该卡账户。"),
    )
}
