//! What stands against a copy of a parked card on a phone that is gone: whether every terminal refuses the card's
//! number, and whether anybody has reported a purchase of it since it was parked.
//!
//! A terminal that never told which list it has is none that is behind: one that reaches nobody spends its own
//! operator's money. Purchases that were kept aside count like others.

use std::sync::Arc;

use tsm_api::clearing::closing::{ClaimEvidence, ClaimQuery};
use tsm_api::problem::{Problem, ProblemCode, both};

use super::Clearing;
use super::access::Institution;
use super::collection::{Row, institution_id};
use crate::purse::card_from_wire;
use crate::server::Call;
use crate::stored;

/// Rows of a card that are looked at.
const ROWS: usize = 1_000;

/// Says it.
pub(super) async fn evidence(
    centre: Arc<Clearing>,
    call: Call<Institution, ClaimQuery>,
) -> Result<ClaimEvidence, Problem> {
    let problem = |error| stored::problem(&error);
    let card = card_from_wire(&call.request.card)?;
    centre.check_keeper_of(&call.caller.0, card)?;
    centre.known(card).await?;
    let closings = centre.closings(card).await?;
    let parking = closings.iter().find_map(|closing| closing.stage.parking());
    let parked = parking.and_then(|parking| parking.offline);
    let parked = parked.ok_or_else(|| {
        Problem::because(ProblemCode::StateForbids, both("The card is not parked.", "卡片未寄存。"))
    })?;
    let recorded = centre.store.transactions_of(card, usize::MAX).await.map_err(problem)?;
    let recorded = recorded.iter().filter(|known| !known.key.kind.is_online()).map(|known| known.key.counter);
    let aside = centre.store.aside_of(card, ROWS).await.map_err(problem)?;
    let aside = aside.iter().filter_map(|row| Row::kept(&row.reported).row.map(|told| told.offline_counter));
    let listing = centre.store.listing(card).await.map_err(problem)?;
    let mut terminals_behind = 0;
    if let Some(listing) = &listing {
        for peer in &centre.institutions {
            let statuses = centre.store.terminal_statuses(&institution_id(&peer.institution)?).await;
            let statuses = statuses.map_err(problem)?;
            terminals_behind += statuses.iter().filter(|one| one.list_version < listing.version).count();
        }
    }
    Ok(ClaimEvidence {
        listed: listing.map(|listing| listing.listed.kind.into()),
        terminals_behind: u32::try_from(terminals_behind).unwrap_or(u32::MAX),
        parked_counter: parked,
        last_counter: recorded.chain(aside).max().unwrap_or(0),
    })
}
