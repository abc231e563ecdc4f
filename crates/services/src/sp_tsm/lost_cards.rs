//! Lost cards (D-5, S.6): whoever reports a card lost has it put on the centre's black list, and only a hall
//! lets it be unlocked again, which takes it off the list.
//!
//! The report is durable with its notice to the centre. Every word about a loss has its place in a count: the
//! SE-TSM counts the changes of its loss list, the cases here count those of a card, and whoever hears a word
//! remembers the last one, so that an older word changes nothing, however late it comes. A report that comes again
//! after its card was found is known by its request.

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
use tsm_domain::{CardNumber, OperationId, OperatorId, SeId};
use tsm_storage::StorageError;
use tsm_storage::shared::{Delivery, Note};
use tsm_storage::sp_tsm::{LossFollowed, LossWord, With};

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
    let request = &call.request.request;
    tsm.lose(&at.card, &at.clerk, &at.reason, request).await.map(|case| record(&case))
}

/// The rider reports a card of his lost.
pub(super) async fn report_own(tsm: Arc<SpTsm>, call: Call<Caller, LostCard>) -> Result<DeskRecord, Problem> {
    let number = call.caller.wallet()?.number;
    let number = number.ok_or_else(|| {
        Problem::because(ProblemCode::NotAllowed, "A rider reports the cards of his registered number.")
    })?;
    let LostCard { aid, card_number, request } = call.request;
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
            let reported = tsm.lose(&card, &name(RIDER), "reported by the rider", &request).await;
            reported.map(|case| record(&case))
        }
    }
}

/// The platform's loss list has a secure element, or has it no more. A word that is not newer than the last one is
/// acknowledged and changes nothing.
pub(super) async fn loss(tsm: Arc<SpTsm>, call: Call<Caller, SeLoss>) -> Result<Nothing, Problem> {
    call.caller.require_se_tsm()?;
    let SeLoss { se_id, standing, change } = call.request;
    let se = se_from_wire(&se_id)?;
    loop {
        let word = tsm.loss_word(se, standing, change).await?;
        let notices = word.with.deliveries.clone();
        match tsm.store.follow_loss(word).await {
            Ok(LossFollowed::Now) => {
                tsm.outbox.send_now(&notices).await;
                return Ok(Nothing {});
            }
            Ok(LossFollowed::Before) => return Ok(Nothing {}),
            // Somebody has lost or found one of its cards meanwhile: look again.
            Err(StorageError::Conflict { .. }) => {}
            Err(other) => return Err(problem(other)),
        }
    }
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
            requests: Vec::new(),
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

    /// Records that a card is lost. One that is lost already stays so, and a request that comes again is the same
    /// report.
    pub(super) async fn lose(
        &self,
        card: &CardRecord,
        by: &OperatorId,
        reason: &str,
        request: &RequestId,
    ) -> Result<DeskCase, Problem> {
        loop {
            let cases = self.store.cases_of(card.card).await.map_err(problem)?;
            if let Some(same) = cases.iter().find(|case| case.requests.contains(&request.0)) {
                return Ok(same.clone());
            }
            if !is_carried(card) {
                return Err(Problem::because(ProblemCode::StateForbids, "The card is on no phone."));
            }
            let Some(lost) = cases.iter().find(|case| case.is_lost()) else {
                let case = DeskCase { requests: vec![request.0], ..self.loss(card.card, &cases, by, reason) };
                let (note, notice) = self.lost(&case);
                let deliveries = vec![notice.clone()];
                let with = With { notes: vec![note], deliveries, ..With::default() };
                let opened = self.store.open_case(case.clone(), with).await.map_err(problem)?;
                if opened != case {
                    // Another report opened it.
                    continue;
                }
                self.outbox.send_now(&[notice]).await;
                return Ok(case);
            };
            let mut known = lost.clone();
            known.requests.push(request.0);
            match self.store.decide_case(lost, known.clone(), With::default()).await {
                Ok(()) => return Ok(known),
                // Found, or reported by another request: look again.
                Err(StorageError::Conflict { .. }) => {}
                Err(other) => return Err(problem(other)),
            }
        }
    }

    /// What a word of the SE-TSM does to the cards on a secure element, as they are now.
    async fn loss_word(&self, se: SeId, standing: LossStanding, change: u64) -> Result<LossWord, Problem> {
        let by = name(SE_TSM);
        let mut word =
            LossWord { se, change, opened: Vec::new(), decided: Vec::new(), with: With::default() };
        let cards = self.store.cards_on(se).await.map_err(problem)?;
        for card in cards.iter().filter(|card| is_carried(card)) {
            let cases = self.store.cases_of(card.card).await.map_err(problem)?;
            let mut lost = cases.iter().filter(|case| case.is_lost()).peekable();
            if standing == LossStanding::Lost && lost.peek().is_none() {
                let case = self.loss(card.card, &cases, &by, "its secure element is on the loss list");
                let (note, notice) = self.lost(&case);
                word.with.notes.push(note);
                word.with.deliveries.push(notice);
                word.opened.push(case);
            } else if standing == LossStanding::Found {
                for case in lost {
                    let (found, note, notice) = self.found(case, &by)?;
                    word.with.notes.push(note);
                    word.with.deliveries.push(notice);
                    word.decided.push((case.clone(), found));
                }
            }
        }
        Ok(word)
    }

    /// A new case of a card that is not lost. Its number follows from how often the card was lost before, so that
    /// two reports are one.
    fn loss(&self, card: CardNumber, cases: &[DeskCase], by: &OperatorId, reason: &str) -> DeskCase {
        let before = cases.iter().filter(|case| case.matter == DeskMatter::Lost).count();
        let id = names::derived(&["lost-card", card.as_str(), &before.to_string()]);
        DeskCase {
            id: OperationId::from_uuid(id),
            card,
            matter: DeskMatter::Lost,
            opened: self.decided(by),
            reason: reason.to_owned(),
            requests: Vec::new(),
            stage: DeskStage::Open,
        }
    }

    /// What goes with a new case of a lost card: the journal's note, and the notice to the centre.
    fn lost(&self, case: &DeskCase) -> (Note, Delivery) {
        let note = self.note_by(&case.opened.by, case.card, "card-lost", &detail(case));
        (note, reports::listing(case.card, &format!("{}/lost", case.id), self.now()))
    }

    /// A case whose card is found, and what goes with it.
    fn found(&self, lost: &DeskCase, by: &OperatorId) -> Result<(DeskCase, Note, Delivery), Problem> {
        let found = lost.done(self.decided(by)).map_err(refused)?;
        let note = self.note_by(by, lost.card, "card-found", &json!({ "case": lost.id }));
        Ok((found, note, reports::listing(lost.card, &format!("{}/found", lost.id), self.now())))
    }

    /// A lost card is seen again.
    async fn find(&self, card: CardNumber, by: &OperatorId) -> Result<(), Problem> {
        loop {
            let cases = self.store.cases_of(card).await.map_err(problem)?;
            let Some(lost) = cases.iter().find(|case| case.is_lost()) else { return Ok(()) };
            let (found, note, notice) = self.found(lost, by)?;
            let with = With { notes: vec![note], deliveries: vec![notice.clone()], ..With::default() };
            match self.store.decide_case(lost, found, with).await {
                Ok(()) => self.outbox.send_now(&[notice]).await,
                // Another person found it, or another report came: look again.
                Err(StorageError::Conflict { .. }) => {}
                Err(other) => return Err(problem(other)),
            }
        }
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
