//! The account of a card, as its transfers and transactions make it.

use std::fmt;
use std::sync::Arc;

use tsm_api::HexBytes;
use tsm_api::clearing::{AccountRecord, AccountState};
use tsm_api::endpoint::Nothing;
use tsm_api::ids::AccountId;
use tsm_api::problem::{Problem, ProblemCode};
use tsm_domain::money::{AccountKind, ListKind, ListReason, TransactionType, TransferCode};
use tsm_domain::{CardNumber, Fen};
use tsm_storage::StorageError;
use tsm_storage::clearing::AccountRow;

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
    let card = card_from_wire(&HexBytes(card))?;
    centre.check_issuer(&call.caller.0, card)?;
    centre.account_record(card).await
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
            held: self.hold_on(&row).await?.map(|hold| hold.to_string()),
        })
    }

    /// Why nothing may be done with a card, while somebody has to look at it first: it is frozen, or listed for
    /// another reason than that it is closed.
    pub(super) async fn hold_on(&self, row: &AccountRow) -> Result<Option<Hold>, Problem> {
        if let Some(freeze) = &row.account.freeze {
            return Ok(Some(Hold::Frozen(freeze.reason.clone())));
        }
        let listing = self.store.listing(row.card).await.map_err(|error| stored::problem(&error))?;
        let listed =
            listing.map(|listing| listing.listed).filter(|listed| listed.reason != ListReason::Closed);
        Ok(listed.map(|listed| Hold::Listed(listed.kind)))
    }
}

/// Why nothing may be done with a card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Hold {
    /// It is frozen, for this reason.
    Frozen(String),
    /// It is on a list of refused cards.
    Listed(ListKind),
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frozen(reason) => f.write_str(reason),
            Self::Listed(ListKind::Black) => f.write_str("the card is on the black list"),
            Self::Listed(ListKind::Grey) => f.write_str("the card is on the grey list"),
        }
    }
}

impl Hold {
    /// What a caller is told.
    pub(super) fn problem(&self) -> Problem {
        match self {
            Self::Listed(ListKind::Black) => ProblemCode::CardListed.into(),
            Self::Frozen(_) | Self::Listed(ListKind::Grey) => {
                Problem::because(ProblemCode::SuspiciousCard, format_args!("In detail: {self}."))
            }
        }
    }
}
