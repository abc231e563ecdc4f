//! The account of a card, as its transfers and transactions make it.

use std::sync::Arc;

use tsm_api::HexBytes;
use tsm_api::clearing::{AccountRecord, AccountState};
use tsm_api::endpoint::Nothing;
use tsm_api::ids::AccountId;
use tsm_api::problem::{Problem, ProblemCode};
use tsm_domain::money::{AccountKind, TransactionType, TransferCode};
use tsm_domain::{CardNumber, Fen};
use tsm_storage::StorageError;

use super::Clearing;
use super::access::Institution;
use super::closing::StateOnTheWire as _;
use crate::names;
use crate::purse::{card_from_wire, card_to_wire, to_wire};
use crate::server::Call;
use crate::stored;

/// The account of a card.
pub(super) async fn account(
    centre: Arc<Clearing>,
    call: Call<Institution, Nothing>,
) -> Result<AccountRecord, Problem> {
    let card =
        call.parameters.first().and_then(|text| hex::decode(text).ok()).ok_or(ProblemCode::UnknownId)?;
    centre.account_record(card_from_wire(&HexBytes(card))?).await
}

impl Clearing {
    pub(super) async fn account_record(&self, card: CardNumber) -> Result<AccountRecord, Problem> {
        let problem = |error: StorageError| stored::problem(&error);
        let row = self.known(card).await?;
        let transfers = self.store.transfers_of(card).await.map_err(problem)?;
        let transactions = self.store.transactions_of(card, usize::MAX).await.map_err(problem)?;
        let purse = self.store.balance(card, AccountKind::Purse).await.map_err(problem)?;
        let sum = |code: TransferCode| {
            transfers
                .iter()
                .filter(|transfer| transfer.code == code)
                .map(|transfer| transfer.amount)
                .sum::<Fen>()
        };
        let loads = transactions.iter().filter(|transaction| transaction.key.kind == TransactionType::Load);
        Ok(AccountRecord {
            account: AccountId(names::derived(&["account", card.as_str()])),
            card: card_to_wire(card),
            state: AccountState::of(&row.account.state),
            credited_fen: sum(TransferCode::Loaded).get() + sum(TransferCode::CashLoaded).get(),
            spent_fen: sum(TransferCode::Spent).get(),
            proven_balance_fen: to_wire(purse.posted),
            online_counter: loads.map(|load| load.key.counter).max().unwrap_or(0),
            held: row.account.freeze.map(|freeze| freeze.reason),
        })
    }
}
