//! Comparing the issuer's records with the purse: what was unknown is settled, what it proves is kept
//! (P-5.8.4.5; the purse's part of it).

use serde_json::json;
use tsm_api::clearing::closing::UndoEvidence;
use tsm_api::conversation::{Outcome, OutcomeDetail, Stage};
use tsm_api::problem::ProblemCode;
use tsm_card::ProcedureError;
use tsm_card::purse::read_proven;
use tsm_domain::card::{CardRecord, CardState, ProvenPurse};
use tsm_domain::money::Resolution;
use tsm_domain::{Fen, OnlineCounter, SeId};
use tsm_epurse::commands::PurseAvailability;
use tsm_iso7816::Aid;
use tsm_storage::shared::Fence;

use super::SpTsm;
use super::attempts::suspicious;
use super::stop::Stop;
use crate::conversation::Session;
use crate::purse::to_wire;

impl SpTsm {
    /// The flow.
    pub(super) async fn synchronise(
        &self,
        session: &mut Session,
        fence: Fence,
        se: SeId,
        application: Aid,
    ) -> Result<Outcome, Stop> {
        let card = self.card_on(se, application).await?.ok_or(ProblemCode::UnknownId)?;
        let card = match card.state {
            CardState::Closing => return self.synchronise_closing(session, fence, card).await,
            CardState::Active | CardState::Locked => card,
            CardState::Issuing | CardState::Parked | CardState::Closed => {
                return Err(ProblemCode::StateForbids.into());
            }
        };
        session.progress.say(Stage::Observing, 10);
        let before = card.clone();
        let card = match card.state {
            // A locked purse loads nothing, so it is looked at.
            CardState::Locked => self.look_at_lock(session, fence, card).await?,
            _ => self.settle_lock(session, fence, card).await?,
        };
        if card.state == CardState::Locked {
            return Ok(locked(&before, &card));
        }
        let keys = self.load_keys(&card)?;
        // Nothing is loaded: the amount of an INITIALIZE FOR LOAD that is not followed says nothing.
        let contact = match self.contact(&mut session.card, fence, &card, &keys, Fen::new(1)).await {
            Ok(contact) => contact,
            // A gate may have blocked it, and nobody told the issuer.
            Err(Stop::Card(refusal @ ProcedureError::Status { .. })) => {
                let card = self.look_at_lock(session, fence, card).await?;
                return if card.state == CardState::Locked {
                    Ok(locked(&before, &card))
                } else {
                    Err(refusal.into())
                };
            }
            Err(stop) => return Err(stop),
        };
        let balance = Fen::new(contact.attempt.answer.balance.fen().into());
        let counter = OnlineCounter(contact.attempt.answer.counter.value());
        let corrected = match contact.settled {
            Some((_, Resolution::Suspicious(suspicion))) => return Err(suspicious(&suspicion.to_string())),
            Some((_, Resolution::Credited(_) | Resolution::NotCredited)) => 1,
            None => {
                let before = card.proven.map(|proven| (proven.balance, proven.counter));
                let proven = ProvenPurse { balance, counter, at: self.now() };
                self.store.record_proven(fence, card.card, proven).await?;
                u32::from(before != Some((balance, counter)))
            }
        };
        tracing::debug!(card = %card.card, detail = %json!({ "corrected": corrected }), "a purse was synchronised");
        Ok(Outcome::done(OutcomeDetail::PurseSynchronised {
            balance_fen: to_wire(balance),
            counter: counter.0,
            corrected,
        }))
    }

    /// A closing that was interrupted: the card itself says whether it is blocked. Blocked, what it holds is
    /// parked, as was wanted; not blocked, it is in use as before.
    async fn synchronise_closing(
        &self,
        session: &mut Session,
        fence: Fence,
        card: CardRecord,
    ) -> Result<Outcome, Stop> {
        if card.frozen.is_some() {
            return Err(ProblemCode::SuspiciousCard.into());
        }
        session.progress.say(Stage::Observing, 10);
        if !self.proves_content(&card)? {
            let card = self.undo_debit(session, fence, card).await?;
            let seen = card.proven.filter(|_| card.state != CardState::Parked);
            return Ok(Outcome::done(OutcomeDetail::PurseSynchronised {
                balance_fen: seen.map_or(0, |seen| to_wire(seen.balance)),
                counter: card.proven.map_or(0, |proven| proven.counter.0),
                corrected: 1,
            }));
        }
        let request = self.purse_session(&card)?;
        let read = read_proven(&mut session.card, &*self.keys, &request, card.instance).await?;
        let (status, image) = read;
        let state = image.state();
        let (balance_fen, counter) = (state.purse().fen(), state.online().value());
        match status.availability {
            PurseAvailability::Blocked => {
                self.park(fence, card, &image).await?;
            }
            PurseAvailability::Open => {
                let evidence = UndoEvidence::NotBlocked { balance_fen, online_counter: counter };
                let balance = Fen::new(balance_fen.into());
                let proven = ProvenPurse { balance, counter: OnlineCounter(counter), at: self.now() };
                self.put_back(fence, &card, evidence, Some(proven)).await?;
            }
        }
        Ok(Outcome::done(OutcomeDetail::PurseSynchronised { balance_fen, counter, corrected: 1 }))
    }
}

/// What the wallet is told of a card that is locked.
fn locked(before: &CardRecord, card: &CardRecord) -> Outcome {
    let proven = card.proven.map_or((Fen::ZERO, 0), |proven| (proven.balance, proven.counter.0));
    let (balance, counter) = proven;
    let seen = |card: &CardRecord| {
        (card.state, card.lock, card.proven.map(|proven| (proven.balance, proven.counter)))
    };
    Outcome::done(OutcomeDetail::PurseSynchronised {
        balance_fen: to_wire(balance),
        counter,
        corrected: u32::from(seen(before) != seen(card)),
    })
}
