//! Transfers and card transactions as the columns of either engine say them.

use tsm_domain::CardNumber;
use tsm_domain::money::{
    Account, AccountKind, CardTransaction, LoadProof, Tac, TransactionKey, TransactionType, Transfer,
    TransferCode, TransferKind,
};

use super::collection::DoubtRow;
use crate::columns::{amount, from_text, instant, nanoseconds};
use crate::error::{Result, StorageError};

/// The columns of a [`TransferRow`], in order.
pub(crate) const TRANSFER_COLUMNS: &str =
    "id, debit, debit_card, credit, credit_card, amount_fen, kind, pending, code, order_id, at";

/// A transfer as its columns say it.
pub(crate) struct TransferRow {
    pub(crate) id: String,
    pub(crate) debit: String,
    pub(crate) debit_card: Option<String>,
    pub(crate) credit: String,
    pub(crate) credit_card: Option<String>,
    pub(crate) amount_fen: i64,
    pub(crate) kind: String,
    pub(crate) pending: Option<String>,
    pub(crate) code: String,
    pub(crate) order_id: Option<String>,
    pub(crate) at: i64,
}

impl TransferRow {
    pub(crate) fn transfer(&self) -> Result<Transfer> {
        let pending = || from_text("transfer", self.pending.as_deref().unwrap_or_default());
        let kind = match self.kind.as_str() {
            "single" => TransferKind::Single,
            "pending" => TransferKind::Pending,
            "post" => TransferKind::Post(pending()?),
            "void" => TransferKind::Void(pending()?),
            other => return Err(StorageError::corrupt("transfer", format!("kind {other}"))),
        };
        let code = TransferCode::from_name(&self.code);
        Ok(Transfer {
            id: from_text("transfer", &self.id)?,
            debit: account(&self.debit, self.debit_card.as_deref())?,
            credit: account(&self.credit, self.credit_card.as_deref())?,
            amount: amount(self.amount_fen)?,
            kind,
            code: code.ok_or_else(|| StorageError::corrupt("transfer", format!("code {}", self.code)))?,
            order: self.order_id.as_deref().map(|order| from_text("transfer", order)).transpose()?,
            at: instant(self.at)?,
        })
    }
}

/// The kind of an account out of its column.
pub(crate) fn account_kind(name: &str) -> Result<AccountKind> {
    AccountKind::from_name(name).ok_or_else(|| StorageError::corrupt("account", name))
}

fn account(kind: &str, card: Option<&str>) -> Result<Account> {
    let kind = account_kind(kind)?;
    Ok(match card {
        Some(card) => Account::Card(from_text("account", card)?, kind),
        None => Account::Control(kind),
    })
}

/// After which place of the doubts, as columns; before all of them where none is named.
pub(crate) fn place_of(after: Option<&DoubtRow>) -> (i64, &str) {
    after.map_or((i64::MIN, ""), |doubt| (nanoseconds(doubt.since), doubt.card.as_str()))
}

/// The columns of a [`TransactionRow`], in order.
pub(crate) const TRANSACTION_COLUMNS: &str =
    "counter, kind, amount_fen, balance_after_fen, terminal, at, tac";

/// A card transaction as its columns say it.
pub(crate) struct TransactionRow {
    pub(crate) counter: u16,
    pub(crate) kind: u8,
    pub(crate) amount_fen: i64,
    pub(crate) balance_after_fen: Option<i64>,
    pub(crate) terminal: String,
    pub(crate) at: i64,
    pub(crate) tac: Option<Vec<u8>>,
}

impl TransactionRow {
    pub(crate) fn transaction(&self, card: CardNumber) -> Result<CardTransaction> {
        let kind = TransactionType::from_byte(self.kind);
        let kind =
            kind.ok_or_else(|| StorageError::corrupt("transaction", format!("type {:02X}", self.kind)))?;
        Ok(CardTransaction {
            key: TransactionKey { card, counter: self.counter, kind },
            amount: amount(self.amount_fen)?,
            balance_after: self.balance_after_fen.map(amount).transpose()?,
            terminal: from_text("transaction", &self.terminal)?,
            at: instant(self.at)?,
            proof: self.proof()?,
        })
    }

    fn proof(&self) -> Result<LoadProof> {
        let Some(tac) = &self.tac else { return Ok(LoadProof::TacUnavailable) };
        let tac =
            <[u8; 4]>::try_from(&tac[..]).map_err(|error| StorageError::corrupt("transaction", error))?;
        Ok(LoadProof::Tac(Tac(tac)))
    }
}
