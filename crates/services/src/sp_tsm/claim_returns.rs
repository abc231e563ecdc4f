//! A parked card whose data were sent to a phone that is gone (P-5.5.4.e, B-7.6.1.i): its balance goes back to the
//! rider, and its number is never used again.
//!
//! ```text
//! the claim is not released    frozen, and on the black list for good
//! one person proposes          the centre: every terminal has it on its list, and nothing was spent of it
//!                              since it was parked
//! another approves             the centre is asked again; the claim goes back, the refund is ordered, durable
//! ```
//!
//! The phone may hold a copy all the same. Nothing takes it: terminals refuse the number, the issuer has closed
//! the card, and no other phone ever gets it. So there is at most that one copy, and it cannot spend.

use std::sync::Arc;

use serde_json::json;
use tsm_api::clearing::closing::{ClaimEvidence, ClaimQuery};
use tsm_api::endpoint::Nothing;
use tsm_api::ids::ConversationId as WireConversation;
use tsm_api::problem::{Problem, ProblemCode, both};
use tsm_api::sp_tsm::desk::{CardMatter, DeskRecord};
use tsm_domain::arrival::{Arrival, ArrivalState};
use tsm_domain::card::{CardClosing, CardRecord, CardState};
use tsm_domain::desk::{DeskCase, DeskMatter, DeskStage};
use tsm_domain::money::ClosingPurpose;
use tsm_storage::sp_tsm::{SpChange, With};

use super::access::Caller;
use super::closing_card::closing_of;
use super::desk::{SERVICE, decided_otherwise, detail, problem, record, refused};
use super::stop::Stop;
use super::{SpTsm, reports};
use crate::purse::card_to_wire;
use crate::server::Call;

/// Proposes it.
pub(super) async fn propose(tsm: Arc<SpTsm>, call: Call<Caller, CardMatter>) -> Result<DeskRecord, Problem> {
    let at = tsm.at_desk(&call.caller, &call.request, SERVICE).await?;
    let claim = tsm.live_claim(&at.card).await?.operation;
    let matter = DeskMatter::ClaimReturned { claim };
    let words = ["claim-returned", &claim.to_string()];
    let check = async |card: &CardRecord| tsm.check_evidence(card).await.map(|_| matter);
    let event = "claim-return-proposed";
    tsm.propose_case(at, (&words, event), |known| known == matter, check).await.map(|case| record(&case))
}

/// Approves it.
pub(super) async fn approve(tsm: Arc<SpTsm>, call: Call<Caller, Nothing>) -> Result<DeskRecord, Problem> {
    let clerk = tsm.clerk(&call.caller, SERVICE)?;
    let case = tsm.case_of(&call, is_claim_return).await?;
    if matches!(&case.stage, DeskStage::Done(decided) if decided.by == clerk) {
        return Ok(record(&case));
    }
    let approved = case.done(tsm.decided(&clerk)).map_err(refused)?;
    let card = tsm.store.card(case.card).await.map_err(problem)?.ok_or(ProblemCode::UnknownId)?;
    if card.state != CardState::Closed || card.closing.is_none_or(|one| one.purpose != ClosingPurpose::Return)
    {
        let arrival = tsm.live_claim(&card).await?;
        if !tsm.engine.tasks(&arrival.se).is_empty() {
            let reason = both(
                "The phone is at work now; look again when it has ended.",
                "手机正在操作，请待其结束后再查看。",
            );
            return Err(Problem::because(ProblemCode::StateForbids, reason));
        }
        let evidence = tsm.check_evidence(&card).await?;
        tsm.return_claimed(&card, &arrival, &evidence, &case, &clerk).await.map_err(Stop::into_problem)?;
    }
    let note = tsm.note_by(&clerk, case.card, "claim-return-approved", &detail(&case));
    let with = With { notes: vec![note], ..With::default() };
    tsm.store.decide_case(&case, approved.clone(), with).await.map_err(decided_otherwise)?;
    Ok(record(&approved))
}

/// Rejects it.
pub(super) async fn reject(tsm: Arc<SpTsm>, call: Call<Caller, Nothing>) -> Result<DeskRecord, Problem> {
    let clerk = tsm.clerk(&call.caller, SERVICE)?;
    let case = tsm.case_of(&call, is_claim_return).await?;
    tsm.reject_case(case, &clerk, "claim-return-rejected").await.map(|case| record(&case))
}

impl SpTsm {
    /// The claim of a card that a person has refused to release, because its data were sent.
    async fn live_claim(&self, card: &CardRecord) -> Result<Arrival, Problem> {
        let forbidden = |reason| Problem::because(ProblemCode::StateForbids, reason);
        let arrival = self.store.arrival_of(card.card).await.map_err(problem)?;
        let arrival =
            arrival.ok_or_else(|| forbidden(both("No phone has claimed the card.", "没有手机领取该卡。")))?;
        match arrival.state {
            ArrivalState::Writing | ArrivalState::GivingUp | ArrivalState::Cleared
                if card.frozen.is_some() =>
            {
                Ok(arrival)
            }
            ArrivalState::Writing | ArrivalState::GivingUp | ArrivalState::Cleared => Err(forbidden(both(
                "The phone may still bring the card in; release the claim, which freezes the card.",
                "手机仍可能迁入该卡；请解除领取，卡片将被冻结。",
            ))),
            ArrivalState::Claiming | ArrivalState::Claimed => Err(forbidden(both(
                "Nothing was sent to the phone; the claim can be released.",
                "尚未向手机发送任何内容，可以解除领取。",
            ))),
            ArrivalState::Opened | ArrivalState::Told | ArrivalState::GivenUp => {
                Err(forbidden(both("No phone has claimed the card.", "没有手机领取该卡。")))
            }
        }
    }

    /// The centre's word that a copy has spent nothing and can spend nothing.
    async fn check_evidence(&self, card: &CardRecord) -> Result<ClaimEvidence, Problem> {
        let query = ClaimQuery { card: card_to_wire(card.card) };
        let evidence = self.links.centre.claim_evidence(&query).await.map_err(|error| error.to_problem())?;
        if evidence.is_harmless() {
            return Ok(evidence);
        }
        let ClaimEvidence { listed, terminals_behind, parked_counter, last_counter } = &evidence;
        let why = format!(
            "the card is listed as {listed:?}, {terminals_behind} terminals have an older list, it was parked at \
             counter {parked_counter} and seen at {last_counter}"
        );
        Err(Problem::because(ProblemCode::StateForbids, format_args!("In detail: {why}.")))
    }

    /// Takes the claim back and owes the balance to the rider. Each step is its own repetition.
    async fn return_claimed(
        &self,
        card: &CardRecord,
        arrival: &Arrival,
        evidence: &ClaimEvidence,
        case: &DeskCase,
        clerk: &tsm_domain::OperatorId,
    ) -> Result<(), Stop> {
        let closing = closing_of(card)?;
        let now = self.now();
        let release = reports::claim_release(arrival);
        self.links.centre.release_claim(&release).await.map_err(|error| error.to_problem())?;
        let refund = reports::refund_request(card, &closing);
        self.links.centre.order_refund(&refund).await.map_err(|error| error.to_problem())?;
        let conversation = WireConversation(case.id.as_uuid());
        let fence = self.take_link(card.se, conversation, "claim returned").await?;
        if arrival.state == ArrivalState::Writing {
            self.store.move_arrival(arrival.operation, ArrivalState::GivingUp, With::default()).await?;
        }
        let given_up = Arrival { state: ArrivalState::GivenUp, ..arrival.clone() };
        let closing = CardClosing { purpose: ClosingPurpose::Return, ..closing };
        let returned =
            CardRecord { state: CardState::Closed, closing: Some(closing), frozen: None, ..card.clone() };
        let said = json!({
            "case": case.id, "claim": arrival.operation, "parked_counter": evidence.parked_counter,
            "last_counter": evidence.last_counter,
        });
        let change = SpChange {
            deliveries: vec![reports::order_refund(&returned, &closing, now)],
            notes: vec![self.note_by(clerk, card.card, "claimed-card-returned", &said)],
            cards: vec![returned],
            arrivals: vec![given_up],
            end: Some(self.end("claim returned")),
            ..SpChange::default()
        };
        self.store.commit(fence, change).await?;
        self.store.set_frozen(card.card, None, With::default()).await?;
        self.outbox.kick();
        Ok(())
    }
}

const fn is_claim_return(matter: DeskMatter) -> bool {
    matches!(matter, DeskMatter::ClaimReturned { .. })
}
