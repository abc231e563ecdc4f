//! Cards that their issuer has frozen itself. Only two people at the centre let a suspicious card move value again,
//! and the issuer asks for their word until it has it.
//!
//! ```text
//! the issuer freezes a card   -> told, written in the card's journal, and a difference to be looked at
//! two people release it       the journal says so after it; a release before it is about something else
//! the issuer asks again       <- released, by whom and when
//! ```

use std::sync::Arc;

use serde_json::{Value, json};
use tsm_api::clearing::freezes::{CardRelease, FreezeStanding, IssuerFreeze};
use tsm_api::problem::{Problem, ProblemCode};
use tsm_domain::{CardNumber, IncidentId};
use tsm_storage::clearing::Books;
use tsm_storage::shared::{ChainKey, Entry, Incident};

use super::Clearing;
use super::access::Institution;
use super::resolution::RESOLVED;
use crate::purse::card_from_wire;
use crate::server::Call;
use crate::stored;

/// How a card's journal names the issuer's freeze.
const FROZEN: &str = "frozen-by-issuer";
/// The kind of the incident of such a freeze.
const SUSPICIOUS_CARD: &str = "suspicious-card";
/// How it names the decision that ends it.
const RELEASE: &str = "release_card";
/// Entries read at once.
const PAGE: usize = 1_000;
/// The longest reason.
const LONGEST_REASON: usize = 500;

/// Hears of a freeze, and says what became of it.
pub(super) async fn issuer_freeze(
    centre: Arc<Clearing>,
    call: Call<Institution, IssuerFreeze>,
) -> Result<FreezeStanding, Problem> {
    let Institution(institution, _) = call.caller;
    let IssuerFreeze { freeze, card, reason } = call.request;
    let card = card_from_wire(&card)?;
    centre.check_issuer(&institution, card)?;
    centre.known(card).await?;
    if reason.len() > LONGEST_REASON {
        return Err(ProblemCode::ValueRefused.into());
    }
    let incident = IncidentId::from_uuid(freeze);
    let freeze = freeze.to_string();
    let journal = centre.whole_journal(card).await?;
    let Some(told) = journal.iter().position(|entry| is_freeze(entry, &freeze)) else {
        // Whoever releases it finds it in the reconciliation view.
        let text = format!("{institution} has frozen it: {reason}");
        let kind = SUSPICIOUS_CARD.to_owned();
        let incident =
            Incident { id: incident, se: None, card: Some(card), kind, text, at: centre.now(), closed: None };
        centre.store.record_incident(incident).await.map_err(|error| stored::problem(&error))?;
        let note = centre.note(card, &institution, FROZEN, &json!({ "freeze": freeze, "reason": reason }));
        let books = Books { notes: vec![note], ..Books::default() };
        centre.store.transfer(books).await.map_err(|error| stored::problem(&error))?;
        return Ok(FreezeStanding { released: None });
    };
    let released = journal[told..].iter().find(|entry| is_release(entry));
    let released = released.map(|entry| CardRelease { by: entry.note.actor.clone(), at: entry.note.at });
    Ok(FreezeStanding { released })
}

fn is_freeze(entry: &Entry, freeze: &str) -> bool {
    entry.note.event == FROZEN && said(entry, "/said/freeze").as_deref() == Some(freeze)
}

fn is_release(entry: &Entry) -> bool {
    entry.note.event == RESOLVED && said(entry, "/said/action").as_deref() == Some(RELEASE)
}

/// What was said of the step of an entry.
fn said(entry: &Entry, at: &str) -> Option<String> {
    let detail: Value = serde_json::from_str(&entry.note.detail).ok()?;
    detail.pointer(at)?.as_str().map(str::to_owned)
}

impl Clearing {
    async fn whole_journal(&self, card: CardNumber) -> Result<Vec<Entry>, Problem> {
        let mut journal: Vec<Entry> = Vec::new();
        loop {
            let after = journal.last().map_or(0, |last| last.number);
            let page = self.store.chain(ChainKey::Card(card), after, PAGE).await;
            let page = page.map_err(|error| stored::problem(&error))?;
            let is_last = page.len() < PAGE;
            journal.extend(page);
            if is_last {
                return Ok(journal);
            }
        }
    }
}
