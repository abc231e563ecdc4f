//! Paying in: orders, top-ups, cash.

use std::sync::Arc;

use tsm_api::HexBytes;
use tsm_api::ids::{OrderId, PaymentId};
use tsm_api::problem::ProblemCode;
use tsm_wallet::service::{PaidTopUp, TopUpResult};
use tsm_wallet::{Quiet, WalletError};

use super::wallet::{Ended, code_of};
use super::{LOW, Rider};
use crate::city::card::Card;
use crate::city::counts::Doing;
use crate::city::keys::TRANSIT;
use crate::city::kiosk::Kept;
use crate::city::trace::{Event, Flow};

/// A top-up that is not on the card yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pending {
    order: OrderId,
    payment: PaymentId,
    amount: u32,
    /// Whether it is paid.
    pub paid: bool,
}

impl Rider {
    /// Goes on with an open top-up, or begins one when the purse holds little.
    pub(super) async fn top_up_if_low(&mut self) {
        if self.pending.is_some() {
            self.top_up().await;
        } else if self.balance() < LOW || self.random.once_in(150) {
            if self.random.once_in(8) {
                self.pay_cash().await;
            } else {
                self.pay().await;
            }
            if self.pending.is_some() {
                self.top_up().await;
            }
        }
    }

    /// An amount that this rider never paid before, so that a credit says what it is for.
    fn new_amount(&mut self) -> u32 {
        let mut amount = self.random.between(3_000, 15_000) as u32;
        while !self.amounts.insert(amount) {
            amount += 1;
        }
        amount
    }

    async fn pay(&mut self) {
        let amount = self.new_amount();
        let aid: HexBytes = TRANSIT.into();
        let ordered = self.flow(Flow::Pay, async |wallet| wallet.order_top_up(&aid, amount).await).await;
        let Ended::Well((order, payment)) = ordered else { return };
        self.world.truth.ordered(self.number, tsm_domain::OrderId::from_uuid(order.0), amount);
        self.pending = Some(Pending { order, payment, amount, paid: false });
    }

    async fn pay_cash(&mut self) {
        let card = self.card().clone();
        self.pay_cash_onto(&card).await;
    }

    /// Puts cash into a kiosk, with this card or copy in its field.
    pub(super) async fn pay_cash_onto(&mut self, card: &Arc<Card>) {
        let Some(reading) = self.world.truth.reading(card.element()) else { return };
        if self.cash.is_none() && reading.spendable {
            let amount = self.new_amount();
            self.cash = Some(self.world.take_cash(self.number, reading.serial, amount));
            self.bring_cash_to(card).await;
        }
    }

    /// Holds the card to the kiosk until it knows where the cash is.
    pub(super) async fn bring_cash(&mut self) {
        let card = self.card().clone();
        self.bring_cash_to(&card).await;
    }

    async fn bring_cash_to(&mut self, card: &Arc<Card>) {
        let Some(cash) = self.cash else { return };
        if !card.is_powered() {
            card.power_on();
        }
        // The phone's own death does not concern the kiosk.
        let _ = self.prepare_mishap();
        self.world.trace.rider(self.number, Event::Began(Flow::Cash));
        let kept = self.world.bring_cash(card, cash).await;
        self.hand().calm();
        if !card.is_powered() {
            card.power_on();
        }
        // What the phone kept from the kiosk it gives to the card when the cash is back.
        card.play_kept();
        match kept {
            Kept::OnCard => {
                if card.element().is_copy() {
                    self.world.tally.doing(Doing::LoadCopy);
                }
                self.world.finished(Flow::Cash);
                self.world.trace.rider(self.number, Event::Done(Flow::Cash));
                self.cash = None;
            }
            Kept::GivenBack => {
                self.world.tally.doing(Doing::CashGivenBack);
                self.world.trace.rider(self.number, Event::Cancelled(cash.amount));
                self.cash = None;
            }
            Kept::Unknown => {
                self.last_failure = "Cash: the kiosk does not know where it is".into();
                self.world.trace.rider(self.number, Event::Failed(Flow::Cash, "not known yet".into()));
            }
        }
        self.world.truth.check_proven(self.number);
    }

    pub(super) async fn top_up(&mut self) {
        let Some(pending) = self.pending else { return };
        let aid: HexBytes = TRANSIT.into();
        if !pending.paid {
            let Pending { order, payment, amount, .. } = pending;
            match self.flow(Flow::Pay, async |wallet| wallet.pay(&aid, order, payment).await).await {
                Ended::Well(_) => {
                    self.world.trace.rider(self.number, Event::Paid(amount));
                    self.pending = Some(Pending { paid: true, ..pending });
                }
                Ended::Badly(error) => return self.give_up_if_closed(&error),
                Ended::PhoneDied => return,
            }
        }
        let paid = PaidTopUp { aid, order: pending.order };
        match self.flow(Flow::TopUp, async |wallet| wallet.top_up(&paid, &mut Quiet).await).await {
            Ended::Well(TopUpResult::Credited { .. }) => self.pending = None,
            Ended::Well(TopUpResult::NotCredited { .. }) | Ended::PhoneDied => {}
            Ended::Badly(error) => {
                self.give_up_if_closed(&error);
                if self.pending.is_some() && (self.card().has_kept() || self.random.once_in(4)) {
                    self.prepare_cheat();
                    self.cancel(pending).await;
                }
            }
        }
        self.card().play_kept();
    }

    /// A phone that has kept the credit may give it to the card before the cancellation, in the middle of it, or
    /// after it.
    fn prepare_cheat(&mut self) {
        let (when, commands) = (self.random.below(4), self.random.below(6));
        match when {
            0 => self.card().play_kept(),
            1 | 2 if self.card().has_kept() => self.card().play_kept_after(commands),
            _ => {}
        }
    }

    /// Cancels a top-up that did not go well. The card has the last word.
    async fn cancel(&mut self, pending: Pending) {
        let ended = self
            .flow(Flow::Cancel, async |wallet| {
                let works = wallet.interrupted().await?;
                match works.iter().find(|work| work.order == Some(pending.order)) {
                    Some(work) => wallet.cancel_interrupted(work, &mut Quiet).await.map(drop),
                    None => Ok(()),
                }
            })
            .await;
        if matches!(ended, Ended::Well(())) {
            self.world.trace.rider(self.number, Event::Cancelled(pending.amount));
            self.pending = None;
        }
    }

    /// An order that the server will never take again is forgotten.
    fn give_up_if_closed(&mut self, error: &WalletError) {
        let code = code_of(error);
        if code.is_none() && !matches!(error, WalletError::Cancelled) {
            return;
        }
        let paid = self.pending.is_some_and(|pending| pending.paid);
        let closed = matches!(code, Some(ProblemCode::OrderUsed));
        let unpaid = !paid && matches!(code, None | Some(ProblemCode::StateForbids | ProblemCode::UnknownId));
        if closed || unpaid {
            self.pending = None;
        }
    }
}
