//! What a card itself proves of a purchase that was reported with another TAC than its own (B-7.3.1): somebody
//! between card and centre changed it, or lost it.
//!
//! ```text
//! a purchase is kept aside: its TAC is wrong, or missing
//! the card's next contact, with its issuer or with who reported the purchase
//!         -> GET TRANSACTION PROOF
//!         <- a TAC that fits what was reported: recorded, and the row is dealt with
//! no proof any more: two people decide, and what they book is recorded on their word
//! ```
//!
//! Whoever brings a TAC is not believed: it proves itself.

use std::sync::Arc;

use tsm_api::clearing::purchases::{
    CardProof, CardProofReply, CardQuery, ProofVerdict, WantedProof, WantedProofs,
};
use tsm_api::problem::{Problem, ProblemCode, both};
use tsm_domain::money::{Tac, TransactionType};
use tsm_domain::{AsideId, CardNumber};
use tsm_storage::StorageError;
use tsm_storage::clearing::collection::{AsideReason, AsideRow, Judged, RowOutcome, RowStep, TakeStep};

use super::Clearing;
use super::access::Institution;
use super::collection::{Judge, Row};
use super::suspicions::incident_of_row;
use crate::purse::card_from_wire;
use crate::server::Call;
use crate::stored;

/// Rows of a card that are looked at.
const ROWS: usize = 1_000;
/// How the store says that a row was taken after all.
const TAKEN: &str = "taken";

/// Says which proofs are wanted of a card.
pub(super) async fn wanted(
    centre: Arc<Clearing>,
    call: Call<Institution, CardQuery>,
) -> Result<WantedProofs, Problem> {
    let card = card_from_wire(&call.request.card)?;
    let rows = centre.unproven(&call.caller.0, card).await?;
    let mut proofs: Vec<_> = rows.iter().map(|(_, purchase)| *purchase).collect();
    proofs.sort_by_key(|purchase| (u8::MAX - purchase.transaction_type, purchase.counter));
    proofs.dedup();
    proofs.reverse();
    Ok(WantedProofs { proofs })
}

/// Takes a card's proof.
pub(super) async fn card_proof(
    centre: Arc<Clearing>,
    call: Call<Institution, CardProof>,
) -> Result<CardProofReply, Problem> {
    let CardProof { card, purchase, tac } = call.request;
    let card = card_from_wire(&card)?;
    let tac: [u8; 4] = tac.as_bytes().try_into().map_err(|_| ProblemCode::ValueRefused)?;
    let mut verdict = ProofVerdict::ProvesNothing;
    for (row, reported) in centre.unproven(&call.caller.0, card).await? {
        if reported == purchase && centre.take_proven(&row, Tac(tac)).await? {
            verdict = ProofVerdict::Recorded;
        }
    }
    Ok(CardProofReply { verdict })
}

impl Clearing {
    /// The rows about a card that wait for its proof, of all reporters for the card's issuer and of its own for
    /// another institution.
    async fn unproven(
        &self,
        institution: &str,
        card: CardNumber,
    ) -> Result<Vec<(AsideRow, WantedProof)>, Problem> {
        let is_issuer = self.check_keeper_of(institution, card).is_ok();
        let rows = self.store.aside_of(card, ROWS).await.map_err(|error| stored::problem(&error))?;
        let waiting = rows.into_iter().filter(|row| {
            let is_wanted = matches!(row.reason, AsideReason::TacWrong | AsideReason::Unproven);
            let is_theirs = is_issuer || row.reported.institution.as_str() == institution;
            row.closed.is_none() && is_wanted && is_theirs
        });
        Ok(waiting.filter_map(|row| purchase_of(&row).map(|purchase| (row, purchase))).collect())
    }

    /// Takes a row whose purchase this TAC proves; says whether it does.
    async fn take_proven(&self, kept: &AsideRow, tac: Tac) -> Result<bool, Problem> {
        let reported = &kept.reported;
        let row = Row::kept(reported).with_tac(tac);
        let step = Judge::new(self, &reported.institution, None).step(&row).await?;
        if !matches!(step.judged, Judged::Purchase { .. }) {
            return Ok(false);
        }
        tracing::info!(row = %reported.id, "a card proved a purchase whose TAC was wrong on its way");
        self.take_aside_row(reported.id, step, "the card itself proved the purchase").await
    }

    /// Takes a row on the word of two people.
    pub(super) async fn take_decided(&self, id: AsideId, by: &str) -> Result<(), Problem> {
        let kept = self.store.aside(id).await.map_err(|error| stored::problem(&error))?;
        let kept = kept.ok_or(ProblemCode::UnknownId)?;
        if kept.closed.as_ref().is_some_and(|closed| closed.how == TAKEN) {
            return Ok(());
        }
        let reported = &kept.reported;
        let step = Judge::new(self, &reported.institution, None).decided(&Row::kept(reported), by).await?;
        if self.take_aside_row(reported.id, step, "two people booked the purchase").await? {
            return Ok(());
        }
        Err(Problem::because(
            ProblemCode::StateForbids,
            both("The card's account does not allow this purchase.", "该卡账户状态不允许此笔消费。"),
        ))
    }

    /// The incident goes first: a row that stays aside is a difference by itself, an incident without its row
    /// would become another.
    async fn take_aside_row(&self, id: AsideId, step: RowStep, why: &str) -> Result<bool, Problem> {
        let problem = |error: StorageError| stored::problem(&error);
        self.end_incident(incident_of_row(id), why).await.map_err(problem)?;
        let taken = self.store.take_rows(TakeStep { file: None, rows: vec![step] }).await.map_err(problem)?;
        Ok(matches!(taken[..], [RowOutcome::Recorded | RowOutcome::Duplicate]))
    }

    /// Whether an institution's purchase was kept aside and closed without being booked.
    pub(super) async fn has_dismissed(
        &self,
        institution: &str,
        card: CardNumber,
        counter: u16,
    ) -> Result<bool, Problem> {
        let rows = self.store.aside_of(card, ROWS).await.map_err(|error| stored::problem(&error))?;
        Ok(rows.iter().any(|row| {
            let is_dismissed = row.closed.as_ref().is_some_and(|closed| closed.how != TAKEN);
            let is_it = purchase_of(row).is_some_and(|purchase| purchase.counter == counter);
            is_dismissed && is_it && row.reported.institution.as_str() == institution
        }))
    }
}

fn purchase_of(row: &AsideRow) -> Option<WantedProof> {
    let told = Row::kept(&row.reported).row?;
    let kind = TransactionType::from_byte(told.transaction_type).filter(|kind| !kind.is_online())?;
    Some(WantedProof { counter: told.offline_counter, transaction_type: kind.to_byte() })
}
