//! Examining the cards whose balance or counter does not follow, and freezing those that nothing explains.

use serde_json::json;
use tsm_api::problem::Problem;
use tsm_domain::money::{
    AccountKind, CardAccountState, CardTransaction, Doubt, Examined, Finding, ListReason, TransactionType,
    examine,
};
use tsm_domain::{Fen, IncidentId};
use tsm_storage::clearing::Books;
use tsm_storage::clearing::collection::{Counted, DoubtRow};
use tsm_storage::shared::Incident;

use super::problem;
use crate::clearing::Clearing;
use crate::names;

/// Cards that are looked at in one go.
const MOST: usize = 1_000;

impl Clearing {
    pub(super) async fn examine_doubts(&self) -> Result<(), Problem> {
        // All of them: any number of cards may wait, and one that was copied must not stand behind them.
        let mut after = None;
        loop {
            let doubts = self.store.doubts(after, MOST).await.map_err(problem)?;
            let Some(last) = doubts.last() else { return Ok(()) };
            after = Some(*last);
            for doubt in doubts {
                match self.examine(doubt).await? {
                    Some(Finding::Waits) => {}
                    Some(Finding::Suspicious(reason)) => self.freeze(doubt, reason).await?,
                    Some(Finding::Follows) | None => {
                        self.store.settle_doubt(doubt, None, Books::default()).await.map_err(problem)?;
                    }
                }
            }
        }
    }

    /// What is found about a card; nothing about one that is no longer in use.
    async fn examine(&self, doubt: DoubtRow) -> Result<Option<Finding>, Problem> {
        let Some(row) = self.store.account(doubt.card).await.map_err(problem)? else { return Ok(None) };
        match row.account.state {
            CardAccountState::Live { .. } | CardAccountState::Opening { .. } => {}
            // Two cards with one number are two wherever the money is: what is kept here must not go to either before
            // somebody has looked.
            CardAccountState::Closing { .. } | CardAccountState::Parked { .. }
                if doubt.doubt != Doubt::Balance => {}
            // While it is being closed its last purchases may still be on their way.
            CardAccountState::Closing { .. } | CardAccountState::Parked { .. } => {
                return Ok(Some(Finding::Waits));
            }
            CardAccountState::RefundPayable { .. } | CardAccountState::Refunded => return Ok(None),
        }
        let numbering = self.store.numbering(Counted::Card(doubt.card)).await.map_err(problem)?;
        // Cards wait for days until every terminal has delivered; only then are their transactions worth reading.
        if doubt.doubt == Doubt::Balance && !numbering.is_whole() {
            return Ok(Some(Finding::Waits));
        }
        let transactions = self.store.transactions_of(doubt.card, usize::MAX).await.map_err(problem)?;
        let purse = self.store.balance(doubt.card, AccountKind::Purse).await.map_err(problem)?;
        let in_flight = self.store.balance(doubt.card, AccountKind::InFlight).await.map_err(problem)?;
        let last = transactions.iter().find(|transaction| {
            !transaction.key.kind.is_online() && u64::from(transaction.key.counter) == numbering.highest()
        });
        let credits = credits_of(&transactions);
        Ok(Some(examine(&Examined {
            doubt: doubt.doubt,
            since: doubt.since,
            now: self.now(),
            numbering: &numbering,
            last_balance: last.and_then(|transaction| transaction.balance_after),
            credits: &credits,
            purse: purse.posted,
            in_flight: in_flight.posted,
        })))
    }

    async fn freeze(&self, doubt: DoubtRow, reason: ListReason) -> Result<(), Problem> {
        let words = match reason {
            ListReason::Copied => "two proven purchases have the same counter",
            ListReason::CounterWentBack => "a proven purchase has a counter that was used before",
            ListReason::BalanceDoesNotFollow
            | ListReason::Lost
            | ListReason::Frozen
            | ListReason::Closed
            | ListReason::Decided => "the balance does not follow from the card's transactions",
        };
        tracing::warn!(card = %doubt.card, words, "a card was frozen");
        let id = names::derived(&["suspicious", doubt.card.as_str(), &doubt.since.to_string()]);
        let incident = Incident {
            id: IncidentId::from_uuid(id),
            se: None,
            card: Some(doubt.card),
            kind: "suspicious-card".into(),
            text: words.into(),
            at: self.now(),
            closed: None,
        };
        let note = self.note(doubt.card, "centre", "suspicious-card", &json!({ "reason": reason.name() }));
        let books = Books { notes: vec![note], incidents: vec![incident], ..Books::default() };
        let freeze = Some(format!("{}: {words}", reason.name()));
        self.store.settle_doubt(doubt, freeze, books).await.map_err(problem)
    }
}

/// The credits of a card by online counter.
fn credits_of(transactions: &[CardTransaction]) -> Vec<(u16, Fen)> {
    let loads = transactions.iter().filter(|transaction| transaction.key.kind == TransactionType::Load);
    let mut credits: Vec<_> = loads.map(|load| (load.key.counter, load.amount)).collect();
    credits.sort_unstable();
    credits
}
