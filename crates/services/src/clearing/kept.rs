//! The endpoints of cards that somebody has to look at: parked, owed, suspicious.

use std::sync::Arc;

use tsm_api::HexBytes;
use tsm_api::clearing::AccountState;
use tsm_api::clearing::kept::{KeptCard, KeptClosing, KeptPage, KeptQuery, KeptStanding};
use tsm_api::endpoint::Nothing;
use tsm_api::problem::{Problem, ProblemCode};
use tsm_domain::Fen;
use tsm_domain::money::{AccountKind, Closing};
use tsm_storage::StorageError;
use tsm_storage::clearing::{AccountRow, Standing};

use super::Clearing;
use super::access::Institution;
use super::closing::{StateOnTheWire as _, record};
use crate::purse::{card_from_wire, card_to_wire};
use crate::server::Call;
use crate::stored;

/// Cards listed at once.
const PAGE: usize = 100;
/// Closings of a card that are shown in a list.
const NEWEST: usize = 1;

/// The cards that stand so.
pub(super) async fn kept_cards(
    centre: Arc<Clearing>,
    call: Call<Institution, KeptQuery>,
) -> Result<KeptPage, Problem> {
    call.caller.someone()?;
    let institution = &call.caller.0;
    centre.check_keeper(institution)?;
    let standing = match call.request.standing {
        KeptStanding::Parked => Standing::Parked,
        KeptStanding::RefundPayable => Standing::RefundPayable,
        KeptStanding::Suspicious => Standing::Frozen,
    };
    let after = call.request.after.as_ref().map(card_from_wire).transpose()?;
    let mut found = Vec::new();
    if centre.duties.is_desk(institution) {
        found = centre.store.accounts_that(standing, None, after, PAGE).await.map_err(problem)?;
    } else {
        for prefix in centre.duties.prefixes_of(institution) {
            let page = centre.store.accounts_that(standing, Some(prefix), after, PAGE).await;
            found.extend(page.map_err(problem)?);
        }
        found.sort_by_key(|row| row.card);
        found.truncate(PAGE);
    }
    let next = found.last().filter(|_| found.len() == PAGE).map(|row| card_to_wire(row.card));
    let mut cards = Vec::new();
    for row in &found {
        cards.push(centre.kept_card_of(row, NEWEST).await?);
    }
    Ok(KeptPage { cards, next })
}

/// One card.
pub(super) async fn kept_card(
    centre: Arc<Clearing>,
    call: Call<Institution, Nothing>,
) -> Result<KeptCard, Problem> {
    call.caller.someone()?;
    let card = call.parameters.first().and_then(|text| hex::decode(text).ok());
    let card = card_from_wire(&HexBytes(card.ok_or(ProblemCode::UnknownId)?))?;
    centre.check_keeper_of(&call.caller.0, card)?;
    let row = centre.store.account(card).await.map_err(problem)?.ok_or(ProblemCode::UnknownId)?;
    centre.kept_card_of(&row, usize::MAX).await
}

impl Clearing {
    async fn kept_card_of(&self, row: &AccountRow, most: usize) -> Result<KeptCard, Problem> {
        let card = row.card;
        let kept =
            [self.held(card, AccountKind::Parked).await?, self.held(card, AccountKind::RefundPayable).await?];
        let closings = self.store.closings_of(card).await.map_err(problem)?;
        Ok(KeptCard {
            card: card_to_wire(card),
            masked: card.to_string(),
            state: AccountState::of(&row.account.state),
            kept_fen: kept.into_iter().sum::<Fen>().get(),
            frozen: row.account.freeze.as_ref().map(|freeze| freeze.reason.clone()),
            listed: self.list_standing(card).await?.listed,
            closings: closings.iter().take(most).map(|closing| line(closing, row)).collect(),
        })
    }
}

fn line(closing: &Closing, row: &AccountRow) -> KeptClosing {
    let told = record(closing, &row.account);
    KeptClosing {
        operation: told.operation,
        purpose: told.purpose,
        stage: told.stage,
        begun_at: closing.begun_at,
        balance_fen: told.balance_fen,
        refunded_fen: told.refunded_fen,
    }
}

fn problem(error: StorageError) -> Problem {
    stored::problem(&error)
}
