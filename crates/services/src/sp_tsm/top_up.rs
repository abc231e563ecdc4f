//! Topping up (B-7.4.1): three requests of the wallet.
//!
//! ```text
//! START   -> SELECT, INITIALIZE FOR LOAD with a fresh terminal number
//! turn 1  <- balance, counter, random, MAC1: proven
//!            load intended, durable
//!         -> CREDIT FOR LOAD with MAC2
//! turn 2  <- TAC: proven; loaded, durable; the centre is told through the outbox
//!         -> outcome
//! ```
//!
//! When the answer to CREDIT FOR LOAD proves nothing, the card is asked at once; when it is gone, the next
//! contact asks. A timeout neither refunds nor fails.

use std::time::Duration;

use serde_json::json;
use tracing::info;
use tsm_api::clearing::CreditMeans;
use tsm_api::conversation::{Outcome, OutcomeDetail, Stage};
use tsm_api::problem::{Problem, ProblemCode};
use tsm_card::purse::{CreditOutcome, credit};
use tsm_domain::card::CardRecord;
use tsm_domain::money::{Resolution, Tac, TopUpStage};
use tsm_domain::{Fen, OrderId, SeId};
use tsm_iso7816::Aid;
use tsm_keys::purse::LoadAttempt;
use tsm_storage::shared::Fence;
use tsm_storage::sp_tsm::{TopUpOrder, TopUpOrderState, With};

use super::attempts::{LoadKeys, attempt_of, suspicious, topped_up};
use super::stop::Stop;
use super::{SpTsm, reports};
use crate::conversation::Session;
use crate::payment::PaymentError;
use crate::purse::{card_time, to_wire};

/// How long a start waits for the platform's signed word when the platform cannot answer.
const NOTIFICATION_WAIT: Duration = Duration::from_secs(5);

/// Which top-up is carried to which card.
#[derive(Debug, Clone, Copy)]
pub(super) struct TopUpRequest {
    pub se: SeId,
    pub application: Aid,
    pub order: OrderId,
}

impl SpTsm {
    /// The flow.
    pub(super) async fn top_up(
        &self,
        session: &mut Session,
        fence: Fence,
        request: TopUpRequest,
    ) -> Result<Outcome, Stop> {
        let (order, card) = self.own_order(request).await?;
        let order = self.confirmed(order).await?;
        let means = reports::means(&order);
        let top_up = match order.paid() {
            Some(top_up) => top_up,
            None => return Err(ProblemCode::PaymentNotConfirmed.into()),
        };
        match top_up.stage {
            TopUpStage::Paid | TopUpStage::Intended(_) => {}
            TopUpStage::Loaded(..) | TopUpStage::Told(..) => {
                // The wallet missed the end; it hears it again.
                let balance = card.proven.map(|proven| proven.balance);
                return Ok(topped_up(&top_up, balance).map_or_else(unknown, Outcome::done));
            }
            TopUpStage::Cancelled => return Err(ProblemCode::OrderUsed.into()),
            TopUpStage::Suspicious(_, suspicion) if card.frozen.is_some() => {
                return Err(suspicious(&suspicion.to_string()));
            }
            // Two people have released the card: it is asked once more what came of the attempt.
            TopUpStage::Suspicious(..) => {}
        }
        let card = self.settle_lock(session, fence, card).await?;
        card.may_move_value().map_err(tsm_storage::StorageError::from)?;
        let keys = self.load_keys(&card)?;
        session.progress.say(Stage::Observing, 10);
        let contact = self.contact(&mut session.card, fence, &card, &keys, top_up.amount).await?;
        let balance = Fen::new(contact.attempt.answer.balance.fen().into());
        match contact.settled {
            Some((_, Resolution::Suspicious(suspicion))) => return Err(suspicious(&suspicion.to_string())),
            Some((settled, Resolution::Credited(_))) if settled.order == top_up.order => {
                return Ok(topped_up(&settled, Some(balance)).map_or_else(unknown, Outcome::done));
            }
            Some((_, Resolution::Credited(_) | Resolution::NotCredited)) | None => {}
        }
        session.progress.say(Stage::ToppingUp, 50);
        self.load(session, fence, &card, &keys, (top_up.order, means), &contact.attempt).await
    }

    /// Carries out a proven attempt: the intention is durable before MAC2 exists.
    async fn load(
        &self,
        session: &mut Session,
        fence: Fence,
        card: &CardRecord,
        keys: &LoadKeys,
        (order, means): (OrderId, CreditMeans),
        proven: &LoadAttempt,
    ) -> Result<Outcome, Stop> {
        let attempt = attempt_of(proven)?;
        let at = self.now();
        let note =
            self.note(card.card, "load-intended", &json!({ "order": order, "counter": attempt.counter }));
        let with = With { notes: vec![note], ..With::default() };
        let limit = self.settings.top_up.purse_maximum;
        let intended = self.store.intend_load(fence, order, attempt, limit, at, with).await?;
        let credited =
            credit(&mut session.card, &*self.keys, &keys.load, &keys.tac, proven, card_time(at)).await;
        session.progress.say(Stage::Closing, 90);
        let tac = match credited {
            Ok(CreditOutcome::Credited(tac)) => Tac(tac.to_bytes()),
            Ok(unproven @ (CreditOutcome::Unproven | CreditOutcome::SaidToBeRefused(_))) => {
                if unproven == CreditOutcome::Unproven {
                    self.tell_unproven_credit(card, order, intended.amount).await?;
                }
                info!(card = %card.card, "the answer to the credit proves nothing; the card is asked");
                return self.ask_the_card(session, fence, card, keys, order).await;
            }
            // The intention stays open, and nothing that the phone says closes it.
            Err(error) => {
                let said = Stop::from(error).into_outcome().problem;
                return Ok(Outcome::unknown(said.unwrap_or_else(|| ProblemCode::OutcomeUnknown.into())));
            }
        };
        let report =
            reports::credit((order, card.card, intended.amount), means, &attempt, at, Some(tac), self.now());
        let note = self.note(
            card.card,
            "loaded",
            &json!({ "order": order, "counter": attempt.counter.0.saturating_add(1) }),
        );
        let with = With { deliveries: vec![report], notes: vec![note], ..With::default() };
        let loaded = self.store.record_loaded(fence, order, attempt.terminal, tac, self.now(), with).await?;
        self.outbox.kick();
        Ok(topped_up(&loaded, None).map_or_else(unknown, Outcome::done))
    }

    /// The answer to CREDIT FOR LOAD proved nothing either way; only the card knows.
    async fn ask_the_card(
        &self,
        session: &mut Session,
        fence: Fence,
        card: &CardRecord,
        keys: &LoadKeys,
        order: OrderId,
    ) -> Result<Outcome, Stop> {
        let current = self.store.card(card.card).await?.ok_or(ProblemCode::UnknownId)?;
        let amount = self.store.top_up(order).await?.ok_or(ProblemCode::UnknownId)?.amount;
        let contact = match self.contact(&mut session.card, fence, &current, keys, amount).await {
            Ok(contact) => contact,
            Err(stop @ (Stop::Refused(_) | Stop::Storage(_))) => return Err(stop),
            Err(stop @ Stop::Card(_)) => {
                let said = stop.into_outcome().problem;
                return Ok(Outcome::unknown(said.unwrap_or_else(|| ProblemCode::OutcomeUnknown.into())));
            }
        };
        let balance = Fen::new(contact.attempt.answer.balance.fen().into());
        match contact.settled {
            Some((top_up, Resolution::Credited(_))) => {
                Ok(topped_up(&top_up, Some(balance)).map_or_else(unknown, Outcome::done))
            }
            Some((_, Resolution::Suspicious(suspicion))) => Err(suspicious(&suspicion.to_string())),
            Some((_, Resolution::NotCredited)) | None => {
                Ok(Outcome::done(OutcomeDetail::NotToppedUp { balance_fen: to_wire(balance) }))
            }
        }
    }

    /// The caller's own order, and the card that it is for.
    async fn own_order(&self, request: TopUpRequest) -> Result<(TopUpOrder, CardRecord), Stop> {
        let order = self.store.top_up(request.order).await?.ok_or(ProblemCode::UnknownId)?;
        let card = self.store.card(order.card).await?.ok_or(ProblemCode::UnknownId)?;
        if card.se != request.se || card.instance != request.application {
            return Err(ProblemCode::UnknownId.into());
        }
        Ok((order, card))
    }

    /// The order with the platform's signed word. A wallet that comes from paying may be faster than that
    /// word: then the platform is asked, and when it cannot answer its word is awaited.
    async fn confirmed(&self, order: TopUpOrder) -> Result<TopUpOrder, Stop> {
        match &order.state {
            TopUpOrderState::Paid { .. } => return Ok(order),
            TopUpOrderState::Closed => return Err(ProblemCode::OrderUsed.into()),
            TopUpOrderState::AwaitingPayment => {}
        }
        let mut confirmations = self.confirmed.subscribe();
        match self.links.payment.query(order.order).await {
            // The platform's signed answer is its word, as its notification is.
            Ok(word) if word.was_paid() => self.take_word(&word).await?,
            Ok(_) => return Err(ProblemCode::PaymentNotConfirmed.into()),
            Err(error @ PaymentError::Refused(_)) => {
                return Err(Problem::because(ProblemCode::PaymentNotConfirmed, error).into());
            }
            // Not known yet: its notification may come.
            Err(PaymentError::Unknown(_) | PaymentError::NotSent(_)) => {}
        }
        let patience = self.environment.timer.sleep(NOTIFICATION_WAIT);
        tokio::pin!(patience);
        loop {
            let now = self.store.top_up(order.order).await?.ok_or(ProblemCode::UnknownId)?;
            if let TopUpOrderState::Paid { .. } = now.state {
                return Ok(now);
            }
            tokio::select! {
                biased;
                changed = confirmations.changed() => if changed.is_err() { break },
                () = &mut patience => break,
            }
        }
        Err(ProblemCode::PaymentNotConfirmed.into())
    }
}

fn unknown() -> Outcome {
    Outcome::unknown(ProblemCode::OutcomeUnknown.into())
}
