//! Resolving a difference with four eyes: one person proposes, another approves, and the books move in the
//! same step as the approval.

use tsm_api::problem::{Problem, ProblemCode, both};
use tsm_domain::money::TransferCode;
use tsm_domain::money::reconciliation::{
    Action, Clerk, Difference, DifferenceRefusal, DifferenceState, Evidence, MoneyIs, Proposal,
};
use tsm_domain::{CardNumber, DifferenceId, Fen, TransferId};
use tsm_storage::clearing::Books;

use super::Clearing;
use super::entries::refused_entry;
use crate::names;
use crate::stored;

/// A note has at most so many characters.
pub(super) const LONGEST_NOTE: usize = 500;

/// How a card's journal names what two people decided about it.
pub(super) const RESOLVED: &str = "difference-resolved";

impl Clearing {
    /// A difference that the institution may see: one of its cards', or any for the centre's desk.
    pub(super) async fn difference_for(
        &self,
        institution: &str,
        id: DifferenceId,
    ) -> Result<Difference, Problem> {
        let found = self.store.difference(id).await.map_err(|error| stored::problem(&error))?;
        let found = found.ok_or(ProblemCode::UnknownId)?;
        if self.duties.is_desk(institution) {
            return Ok(found);
        }
        match found.card {
            Some(card) => self.check_issuer(institution, card).map(|()| found),
            None => self.check_desk(institution).map(|()| found),
        }
    }

    pub(super) async fn propose(
        &self,
        difference: Difference,
        by: Clerk,
        action: Action,
        note: String,
    ) -> Result<Difference, Problem> {
        if note.trim().is_empty() || note.chars().count() > LONGEST_NOTE {
            return Err(Problem::because(
                ProblemCode::ValueRefused,
                both("A proposal says why, in a few sentences.", "提议须用几句话说明理由。"),
            ));
        }
        if let Some(card) = difference.card_for(&action).map_err(|error| refused(error.into()))? {
            self.check_issuer_or_desk(&by, card)?;
        }
        if let Some(card) = Self::writes_off(&difference, &action) {
            self.write_off(&difference, card).await?;
        }
        if let DifferenceState::Proposed(known) = &difference.state
            && (&known.by, &known.action, &known.note) == (&by, &action, &note)
        {
            return Ok(difference);
        }
        let proposal = Proposal { by, action, note, at: self.now() };
        let proposed = difference.clone().propose(proposal).map_err(refused)?;
        self.change(&difference, proposed, Books::default()).await
    }

    pub(super) async fn approve(&self, difference: Difference, by: Clerk) -> Result<Difference, Problem> {
        if let DifferenceState::Resolved { approved_by, .. } = &difference.state
            && *approved_by == by
        {
            // The answer was lost; it was done.
            return Ok(difference);
        }
        let DifferenceState::Proposed(proposal) = difference.state.clone() else {
            return difference.approve(by, self.now()).map_err(refused);
        };
        let resolved = difference.clone().approve(by.clone(), self.now()).map_err(refused)?;
        let card = difference.card_for(&proposal.action).map_err(|error| refused(error.into()))?;
        if let Some(card) = card {
            self.check_issuer_or_desk(&by, card)?;
        }
        let transfers = self.transfers_for(&difference, &proposal.action, card).await?;
        if let (Action::Book { .. }, Some(Evidence::Aside { row, .. })) =
            (&proposal.action, difference.evidence)
        {
            self.take_decided(row, &format!("{} and {}", proposal.by.person, by.person)).await?;
        }
        let freeze = match &proposal.action {
            Action::FreezeCard => Some(Some(format!("{} {}", difference.cause.en(), proposal.note))),
            Action::ReleaseCard => Some(None),
            Action::Book { .. }
            | Action::Refund { .. }
            | Action::WriteOff
            | Action::Ignore
            | Action::GoOnWithout => None,
        };
        if let (Some(reason), Some(card)) = (freeze, card) {
            let event = if reason.is_some() { "frozen" } else { "released" };
            let note = self.note(card, &by.person.to_string(), event, &serde_json::json!({}));
            let books = Books { notes: vec![note], ..Books::default() };
            let frozen = self.store.set_frozen(card, reason, books).await;
            frozen.map_err(|error| stored::problem(&error))?;
        }
        let note = card.map(|card| {
            let said = serde_json::json!({
                "difference": difference.id, "cause": difference.cause.name(), "note": proposal.note,
                "action": proposal.action,
                "proposed_by": proposal.by, "approved_by": by,
            });
            self.note(card, &by.person.to_string(), RESOLVED, &said)
        });
        let books = Books { transfers, notes: note.into_iter().collect(), ..Books::default() };
        self.change(&difference, resolved, books).await
    }

    pub(super) async fn reject(&self, difference: Difference) -> Result<Difference, Problem> {
        if difference.state == DifferenceState::Open {
            return Ok(difference);
        }
        let open = difference.clone().reject().map_err(refused)?;
        self.change(&difference, open, Books::default()).await
    }

    async fn change(
        &self,
        before: &Difference,
        after: Difference,
        books: Books,
    ) -> Result<Difference, Problem> {
        let changed = self.store.change_difference(before, after.clone(), books).await;
        changed.map(|()| after).map_err(|error| refused_entry(&error))
    }

    fn check_issuer_or_desk(&self, by: &Clerk, card: CardNumber) -> Result<(), Problem> {
        let institution = by.institution.as_str();
        if self.duties.is_desk(institution) { Ok(()) } else { self.check_issuer(institution, card) }
    }

    async fn transfers_for(
        &self,
        difference: &Difference,
        action: &Action,
        card: Option<CardNumber>,
    ) -> Result<Vec<tsm_domain::money::Transfer>, Problem> {
        if let Some(card) = Self::writes_off(difference, action) {
            return Ok(self.write_off(difference, card).await?.into_iter().collect());
        }
        let money = match (difference.reference, card) {
            (Some(order), Some(card)) => {
                let booked = self.transfers_of_order(order, card).await?;
                let is_load = |code| matches!(code, TransferCode::Loaded | TransferCode::CashLoaded);
                if booked.iter().any(|transfer| is_load(transfer.code)) {
                    MoneyIs::OnCard
                } else {
                    MoneyIs::InFlight
                }
            }
            _ => MoneyIs::OnCard,
        };
        let entries = difference.entries(action, money).map_err(|error| refused(error.into()))?;
        let transfer = |(code, amount): (TransferCode, Fen)| {
            let words = ["transfer", "difference", &difference.id.to_string(), code.name()];
            let id = TransferId::from_uuid(names::derived(&words));
            let of_card = card.map(|card| code.transfer(id, card, amount, self.now()));
            let transfer = code.between_controls(id, amount, self.now()).or(of_card)?;
            Some(tsm_domain::money::Transfer { order: difference.reference, ..transfer })
        };
        Ok(entries.into_iter().filter_map(transfer).collect())
    }
}

fn refused(refusal: DifferenceRefusal) -> Problem {
    let code = match refusal {
        DifferenceRefusal::FourEyes => ProblemCode::FourEyes,
        DifferenceRefusal::Settled | DifferenceRefusal::NothingProposed => ProblemCode::StateForbids,
        DifferenceRefusal::Action(_) => ProblemCode::ValueRefused,
    };
    Problem::because(code, format_args!("In detail: {refusal}."))
}
