//! The audit trail (P-7.4): hash chains, one for each person and each secure element.

use std::sync::Arc;

use tsm_api::HexBytes;
use tsm_api::problem::{Problem, ProblemCode};
use tsm_api::se_tsm::operator::{AuditEntry, AuditPage, AuditQuery};
use tsm_domain::OperatorId;
use tsm_storage::shared::{ChainKey, Entry, Note};

use super::SeTsm;
use super::access::Caller;
use super::convert::se_id;
use super::stop::{field, stored};
use crate::server::Call;

/// Entries on a page.
const PAGE: usize = 200;

/// GET /operator/v1/audit
pub(super) async fn trail(tsm: Arc<SeTsm>, call: Call<Caller, AuditQuery>) -> Result<AuditPage, Problem> {
    let query = call.request;
    let key = match (&query.account, &query.se_id) {
        (Some(account), None) => ChainKey::Operator(account.parse().map_err(|_| ProblemCode::UnknownId)?),
        (None, Some(se)) => ChainKey::Se(se_id(se)?),
        (Some(_), Some(_)) | (None, None) => return Err(field("Name one account or one secure element.")),
    };
    let entries = tsm.store.chain(key, query.after, PAGE).await.map_err(stored)?;
    Ok(AuditPage { entries: entries.into_iter().map(entry_to_wire).collect() })
}

fn entry_to_wire(entry: Entry) -> AuditEntry {
    AuditEntry {
        number: entry.number,
        at: entry.note.at,
        actor: entry.note.actor,
        action: entry.note.event,
        subject: entry.note.chain.to_string(),
        result: entry.note.detail,
        hash: HexBytes(entry.hash.0.to_vec()),
    }
}

impl SeTsm {
    /// Records what a person did, or tried to do.
    pub(super) async fn audit(
        &self,
        who: &OperatorId,
        event: &str,
        detail: &serde_json::Value,
    ) -> Result<(), Problem> {
        let note = Note {
            chain: ChainKey::Operator(who.clone()),
            at: self.now(),
            actor: who.to_string(),
            event: event.to_owned(),
            detail: detail.to_string(),
        };
        self.store.append(note).await.map(drop).map_err(stored)
    }
}
