//! Who has reported a purchase, for a terminal that could not see the end of its own (B-7.3.1). Only what a TAC
//! proved is recorded, so what is said here is proven, too.

use std::sync::Arc;

use tsm_api::clearing::purchases::{PurchaseAnswer, PurchaseQuery, ReportedBy};
use tsm_api::problem::Problem;
use tsm_domain::money::{TransactionKey, TransactionType};

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
    // Either kind of purchase is found by the counter that both share.
    let key = TransactionKey { card, counter, kind: TransactionType::Purchase };
    let purchase = centre.store.transaction(key).await.map_err(|error| stored::problem(&error))?;
    let reported = match purchase.map(|known| centre.terminals.operator(known.terminal)) {
        None if centre.has_dismissed(&call.caller.0, card, counter).await? => ReportedBy::Dismissed,
        None => ReportedBy::Nobody,
        Some(Some(operator)) if operator == call.caller.0 => ReportedBy::You,
        Some(_) => ReportedBy::Another,
    };
    Ok(PurchaseAnswer { reported })
}
