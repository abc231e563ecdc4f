//! Who has reported a purchase, for a terminal that could not see the end of its own (B-7.3.1). Only what a TAC
//! proved is recorded, so what is said here is proven, too.

use std::sync::Arc;

use tsm_api::clearing::purchases::{PurchaseAnswer, PurchaseQuery, ReportedBy};
use tsm_api::problem::Problem;

use super::Clearing;
use super::access::Institution;
use crate::purse::card_from_wire;
use crate::server::Call;
use crate::stored;

/// Says it.
pub(super) async fn purchase(
    centre: Arc<Clearing>,
    call: Call<Institution, PurchaseQuery>,
) -> Result<PurchaseAnswer, Problem> {
    let PurchaseQuery { card, counter } = call.request;
    let card = card_from_wire(&card)?;
    let known = centre.store.transactions_of(card, usize::MAX).await;
    let known = known.map_err(|error| stored::problem(&error))?;
    let purchase = known.iter().find(|known| !known.key.kind.is_online() && known.key.counter == counter);
    let reported = match purchase.map(|known| centre.terminals.operator(known.terminal)) {
        None if centre.has_dismissed(&call.caller.0, card, counter).await? => ReportedBy::Dismissed,
        None => ReportedBy::Nobody,
        Some(Some(operator)) if operator == call.caller.0 => ReportedBy::You,
        Some(_) => ReportedBy::Another,
    };
    Ok(PurchaseAnswer { reported })
}
