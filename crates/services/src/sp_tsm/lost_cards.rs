//! Lost cards (D-5, S.6): whoever reports a card lost has it put on the centre's black list, and only a hall
//! lets it be unlocked again, which takes it off the list.
//!
//! The report is durable with its notice to the centre. The notice says how the card stands when it is sent, so
//! that two which overtake each other end with the last word.

use std::sync::Arc;

use jiff::SignedDuration;
use serde_json::json;
use tsm_api::endpoint::Nothing;
use tsm_api::ids::RequestId;
use tsm_api::problem::{Problem, ProblemCode};
use tsm_api::sp_tsm::desk::{CardMatter, DeskRecord, LostCard};
use tsm_api::sp_tsm::peer::{LossStanding, SeLoss};
use tsm_domain::card::{CardRecord, CardState};
use tsm_domain::desk::{DeskCase, DeskMatter, DeskStage};
use tsm_domain::{CardNumber, OperationId, OperatorId};
use tsm_storage::StorageError;
use tsm_storage::sp_tsm::With;

use super::access::Caller;
use super::clerks::{RIDER, SE_TSM, WALLET};
use super::desk::{AtDesk, HALL, SERVICE, detail, problem, record, refused};
use super::stop::Stop;
use super::{SpTsm, reports};
use crate::names;
use crate::purse::{aid_from_wire, se_from_wire};
use crate::server::Call;

/// How long a permission to unlock counts.
const PERMISSION: SignedDuration = SignedDuration::from_hours(1);

/// Customer service or a hall reports a card lost.
pub(super) async fn report(tsm: Arc<SpTsm>, call: Call<Caller, CardMatter>) -> Result<DeskRecord, Problem> {
    let at = tsm.at_desk(&call.caller, &call.request, SERVICE).await?;
    tsm.lose(&at.card, &at.clerk, &at.reason).await.map(|case| record(&case))
}

/// The rider reports a card of his lost.
pub(super) async fn report_own(tsm: Arc<SpTsm>, call: Call<Caller, LostCard>) -> Result<DeskRecord, Problem> {
    let number = call.caller.wallet()?.number;
    let number = number.ok_or_else(|| {
        Problem::because(ProblemCode::NotAllowed, "A rider reports the cards of his registered number.")
    })?;
    let LostCard { aid, card_number, .. } = call.request;
    let application = aid_from_wire(&aid)?;
    let own = tsm.store.cards_of(&number).await.map_err(problem)?;
    let mut fitting = own.into_iter().filter(|card| {
        let is_named = card_number.as_ref().is_none_or(|named| card.card.to_string() == *named);
        card.instance == application && is_carried(card) && is_named
    });
    match (fitting.next(), fitting.next()) {
        (None, _) => Err(ProblemCode::UnknownId.into()),
        (Some(_), Some(_)) => {
            Err(Problem::because(ProblemCode::ValueRefused, "Several cards fit; name one."))
        }
        (Some(card), None) => {
            tsm.lose(&card, &name(RIDER), "reported by the rider").await.map(|case| record(&case))
        }
    }
}

/// The platform's loss list has a secure element, or has it no more.
pub(super) async fn loss(tsm: Arc<SpTsm>, call: Call<Caller, SeLoss>) -> Result<Nothing, Problem> {
    call.caller.require_se_tsm()?;
    let SeLoss { se_id, standing } = call.request;
    let cards = tsm.store.cards_on(se_from_wire(&se_id)?).await.map_err(problem)?;
    for card in cards.iter().filter(|card| is_carried(card)) {
        match standing {
            LossStanding::Lost => {
                tsm.lose(card, &name(SE_TSM), "its secure element is on the loss list").await?;
            }
            LossStanding::Found => tsm.find(card.card, &name(SE_TSM)).await?,
        }
    }
    Ok(Nothing {})
}

/// A hall allows a card to be unlocked.
pub(super) async fn allow_unlock(
    tsm: Arc<SpTsm>,
    call: Call<Caller, CardMatter>,
) -> Result<DeskRecord, Problem> {
    let at = tsm.at_desk(&call.caller, &call.request, HALL).await?;
    if at.card.frozen.is_some() {
        return Err(ProblemCode::SuspiciousCard.into());
    }
    tsm.permit_unlock(at, &call.request.request).await.map(|case| record(&case))
}

impl SpTsm {
    /// A hall's permission to unlock a card that is locked or lost; a lost one is found by it.
    pub(super) async fn permit_unlock(&self, at: AtDesk, request: &RequestId) -> Result<DeskCase, Problem> {
        let is_lost = self.is_lost(at.card.card).await.map_err(Stop::into_problem)?;
        if at.card.state != CardState::Locked && !is_lost {
            let reason = "The card is neither locked nor lost.";
            let known = self.known_permission(&at.card, request).await?;
            return known.ok_or_else(|| Problem::because(ProblemCode::StateForbids, reason));
        }
        let opened = self.decided(&at.clerk);
        let until = opened.at.saturating_add(PERMISSION).unwrap_or(opened.at);
        let case = DeskCase {
            id: permission_number(at.card.card, request),
            card: at.card.card,
            matter: DeskMatter::Unlock { until },
            opened,
            reason: at.reason,
            stage: DeskStage::Open,
        };
        let note = self.note_by(&at.clerk, case.card, "unlock-allowed", &detail(&case));
        let with = With { notes: vec![note], ..With::default() };
        let case = self.store.open_case(case, with).await.map_err(problem)?;
        self.find(at.card.card, &at.clerk).await?;
        Ok(case)
    }

    /// Whether a card is lost.
    pub(super) async fn is_lost(&self, card: CardNumber) -> Result<bool, Stop> {
        Ok(self.store.cases_of(card).await?.iter().any(DeskCase::is_lost))
    }

    /// The hall's permission to unlock a card, when there is one that still counts.
    pub(super) async fn unlock_permission(&self, card: CardNumber) -> Result<Option<DeskCase>, Stop> {
        let now = self.now();
        Ok(self.store.cases_of(card).await?.into_iter().find(|case| case.allows_unlock(now)))
    }

    /// The card is unlocked: the permission is used up.
    pub(super) async fn use_permission(&self, card: CardNumber) -> Result<(), Stop> {
        let Some(case) = self.unlock_permission(card).await? else { return Ok(()) };
        let by = name(WALLET);
        let Ok(used) = case.done(self.decided(&by)) else { return Ok(()) };
        match self.store.decide_case(&case, used, With::default()).await {
            // Another unlock used it.
            Ok(()) | Err(StorageError::Conflict { .. }) => Ok(()),
            Err(other) => Err(other.into()),
        }
    }

    /// Records that a card is lost. One that is lost already stays so.
    pub(super) async fn lose(
        &self,
        card: &CardRecord,
        by: &OperatorId,
        reason: &str,
    ) -> Result<DeskCase, Problem> {
        if !is_carried(card) {
            return Err(Problem::because(ProblemCode::StateForbids, "The card is on no phone."));
        }
        let cases = self.store.cases_of(card.card).await.map_err(problem)?;
        if let Some(lost) = cases.iter().find(|case| case.is_lost()) {
            return Ok(lost.clone());
        }
        // Its number follows from how often it was lost before, so that two reports are one.
        let before = cases.iter().filter(|case| case.matter == DeskMatter::Lost).count();
        let id = names::derived(&["lost-card", card.card.as_str(), &before.to_string()]);
        let case = DeskCase {
            id: OperationId::from_uuid(id),
            card: card.card,
            matter: DeskMatter::Lost,
            opened: self.decided(by),
            reason: reason.to_owned(),
            stage: DeskStage::Open,
        };
        let notice = reports::listing(card.card, &format!("{}/lost", case.id), self.now());
        let with = With {
            notes: vec![self.note_by(by, card.card, "card-lost", &detail(&case))],
            deliveries: vec![notice.clone()],
            ..With::default()
        };
        let case = self.store.open_case(case, with).await.map_err(problem)?;
        self.outbox.send_now(&[notice]).await;
        Ok(case)
    }

    /// A lost card is seen again.
    async fn find(&self, card: CardNumber, by: &OperatorId) -> Result<(), Problem> {
        let cases = self.store.cases_of(card).await.map_err(problem)?;
        for lost in cases.iter().filter(|case| case.is_lost()) {
            let found = lost.done(self.decided(by)).map_err(refused)?;
            let notice = reports::listing(card, &format!("{}/found", lost.id), self.now());
            let note = self.note_by(by, card, "card-found", &json!({ "case": lost.id }));
            let with = With { notes: vec![note], deliveries: vec![notice.clone()], ..With::default() };
            match self.store.decide_case(lost, found, with).await {
                Ok(()) => self.outbox.send_now(&[notice]).await,
                // Another person found it.
                Err(StorageError::Conflict { .. }) => {}
                Err(other) => return Err(problem(other)),
            }
        }
        Ok(())
    }

    async fn known_permission(
        &self,
        card: &CardRecord,
        request: &RequestId,
    ) -> Result<Option<DeskCase>, Problem> {
        self.store.desk_case(permission_number(card.card, request)).await.map_err(problem)
    }
}

fn permission_number(card: CardNumber, request: &RequestId) -> OperationId {
    OperationId::from_uuid(names::derived(&["unlock-permission", card.as_str(), &request.to_string()]))
}

/// Whether some phone carries it.
const fn is_carried(card: &CardRecord) -> bool {
    matches!(card.state, CardState::Issuing | CardState::Active | CardState::Locked | CardState::Closing)
}

/// One who is no person of the desk, as the journal calls him.
fn name(word: &str) -> OperatorId {
    word.parse().expect("a short word is a name")
}
