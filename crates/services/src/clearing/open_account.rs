//! Opening the account of a card (B-7.2.1.c): once, however often it is asked for.

use std::sync::Arc;

use serde_json::json;
use tsm_api::clearing::{AccountRecord, NewAccount};
use tsm_api::problem::{Problem, ProblemCode};
use tsm_domain::money::CardAccountEvent;
use tsm_storage::StorageError;
use tsm_storage::clearing::Books;

use super::Clearing;
use super::access::Institution;
use crate::purse::{card_from_wire, se_from_wire};
use crate::server::Call;
use crate::stored;

/// Opens an account.
pub(super) async fn open_account(
    centre: Arc<Clearing>,
    call: Call<Institution, NewAccount>,
) -> Result<AccountRecord, Problem> {
    let Institution(institution, _) = call.caller;
    let malformed = |problem: Problem| Problem { code: ProblemCode::ValueRefused, ..problem };
    let card = card_from_wire(&call.request.card).map_err(malformed)?;
    let se = se_from_wire(&call.request.se_id)?;
    // An account without a key could never have a credit verified.
    centre.tac_key(card)?;
    centre.check_issuer(&institution, card)?;
    let note = centre.note(card, &institution, "account-opened", &json!({}));
    let books = Books { notes: vec![note], ..Books::default() };
    let problem = |error: StorageError| stored::problem(&error);
    centre.store.open_account(card, se, centre.now(), books).await.map_err(problem)?;
    if centre.arrived(&institution, card, se).await? {
        return centre.account_record(card).await;
    }
    let note = centre.note(card, &institution, "card-live", &json!({}));
    let books = Books { notes: vec![note], ..Books::default() };
    centre.store.apply_event(card, CardAccountEvent::Opened(se), books).await.map_err(problem)?;
    centre.account_record(card).await
}
