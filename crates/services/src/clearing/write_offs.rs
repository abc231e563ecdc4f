//! What a card that is closed for good spent, and nobody reported. The card proved what it held when it was blocked, so
//! what the books still show on it went to terminals that were lost before they delivered. Two people write it off, and
//! a terminal that delivers after all finds its money.

use serde_json::json;
use tsm_api::problem::{Problem, ProblemCode, both};
use tsm_domain::money::reconciliation::{Action, Cause, Difference};
use tsm_domain::money::{CardAccountState, CardTransaction, Transfer, TransferCode};
use tsm_domain::{CardNumber, Fen, TransferId};
use tsm_storage::clearing::Books;

use super::Clearing;
use crate::names;
use crate::stored;

impl Clearing {
    /// The card whose rest an action writes off, where that is what it does.
    pub(super) fn writes_off(difference: &Difference, action: &Action) -> Option<CardNumber> {
        difference.card.filter(|_| difference.cause == Cause::CounterGap && *action == Action::WriteOff)
    }

    /// The transfer that writes off what the books still show on a card; none where nothing is left.
    pub(super) async fn write_off(
        &self,
        difference: &Difference,
        card: CardNumber,
    ) -> Result<Option<Transfer>, Problem> {
        let books = self.card_books(card).await?;
        let state = &books.row.account.state;
        let is_gone = matches!(state, CardAccountState::RefundPayable { .. } | CardAccountState::Refunded);
        if !is_gone || books.blocked_after().is_none() {
            let reason = both(
                "The card is not closed for good with a proof of what it held; what is missing may still show.",
                "卡片未永久关闭，或关闭时余额未经证明，缺失的交易仍可能出现。",
            );
            return Err(Problem::because(ProblemCode::StateForbids, reason));
        }
        let code = TransferCode::WrittenOff;
        let words = ["transfer", "difference", &difference.id.to_string(), code.name()];
        let id = TransferId::from_uuid(names::derived(&words));
        Ok((!books.purse.is_zero()).then(|| code.transfer(id, card, books.purse, self.now())))
    }

    /// A purchase of a card that is on no SE is to be taken: what of it was written off goes back to where the purchase
    /// takes it from. Run again it changes nothing.
    pub(super) async fn write_back(
        &self,
        purchase: &CardTransaction,
        spent: Option<&Transfer>,
    ) -> Result<(), Problem> {
        let (card, counter) = (purchase.key.card, purchase.key.counter);
        let Some(spent) = spent else { return Ok(()) };
        let transfers = self.store.transfers_of(card).await.map_err(|error| stored::problem(&error))?;
        if written_off(&transfers) < spent.amount {
            return Ok(());
        }
        let code = TransferCode::WrittenBack;
        let place = format!("{:02X}/{counter}", purchase.key.kind.to_byte());
        let id = TransferId::from_uuid(names::derived(&["transfer", code.name(), card.as_str(), &place]));
        // The books refuse a row whose place or TAC is taken, whatever is on the purse.
        let is_there = |id| transfers.iter().any(|known| known.id == id);
        let is_taken =
            self.card_books(card).await?.transactions.iter().any(|known| known.key == purchase.key);
        if is_there(id) || is_there(spent.id) || is_taken {
            return Ok(());
        }
        let said = json!({ "counter": counter, "terminal": purchase.terminal, "amount_fen": spent.amount });
        let books = Books {
            transfers: vec![code.transfer(id, card, spent.amount, self.now())],
            notes: vec![self.note(card, "centre", "written-back", &said)],
            ..Books::default()
        };
        self.store.transfer(books).await.map_err(|error| stored::problem(&error))
    }
}

/// What of a card is written off and did not come back.
pub(super) fn written_off(transfers: &[Transfer]) -> Fen {
    let sum = |code: TransferCode| -> Fen {
        transfers.iter().filter(|transfer| transfer.code == code).map(|transfer| transfer.amount).sum()
    };
    sum(TransferCode::WrittenOff).checked_sub(sum(TransferCode::WrittenBack)).unwrap_or(Fen::ZERO)
}
