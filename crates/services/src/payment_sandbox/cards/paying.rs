//! The flow: what is open is settled, then a card is debited or the order is given up.

use std::sync::Arc;

use tracing::info;
use tsm_api::clearing::lists::WireListKind;
use tsm_api::conversation::{Outcome, OutcomeDetail, Stage, UnpaidOrder};
use tsm_api::payment::purse::CardChoice;
use tsm_api::problem::{Both, Problem, ProblemCode, both};
use tsm_card::purse::{BegunPurchase, DebitOutcome, PurchaseTerms, begin_purchase, debit};
use tsm_domain::money::{PaymentState as State, PurchaseBegun, PurseAttempt, Tac};
use tsm_domain::{CardNumber, Fen, OfflineCounter};
use tsm_epurse::host::purchase::PurchaseFacts;
use tsm_epurse::{CardRandom, KeyIndex, TerminalSequence, TransactionType};
use tsm_keys::purse::PurchaseAttempt;
use tsm_storage::payment::PaymentRow;

use super::settling::Settled;
use super::stop::Stop;
use super::unproven::watch;
use super::{CardRequest, Cards};
use crate::conversation::Session;
use crate::payment_sandbox::PaymentSandbox;
use crate::purse::{card_time, card_to_wire, to_purse, to_wire};

impl PaymentSandbox {
    /// The flow.
    pub(super) async fn card_payment(self: Arc<Self>, mut session: Session, request: CardRequest) -> Outcome {
        let fence = match self.enlist(session.conversation, request.order).await {
            Ok(fence) => fence,
            Err(stop) => return stop.into_outcome(),
        };
        let outcome = self.carry_card_payment(&mut session, request).await.unwrap_or_else(Stop::into_outcome);
        self.strike_off(fence, &outcome).await;
        outcome
    }

    async fn carry_card_payment(&self, session: &mut Session, request: CardRequest) -> Result<Outcome, Stop> {
        let row = self.payment(request.order).await?;
        if let Some(outcome) = ended(&row, request.choice)? {
            return Ok(outcome);
        }
        let mut begun = None;
        if let Some(open) = open_attempt(&row) {
            session.progress.say(Stage::Observing, 10);
            match self.settle(session, request.purse, &row, &open).await? {
                Settled::Paid(row) => return Ok(paid(&row)),
                Settled::NotPaid(fresh) => begun = fresh,
            }
        }
        match request.choice {
            CardChoice::GiveUp => {
                self.store.close_order(request.order, self.now()).await?;
                Ok(not_paid(UnpaidOrder::Closed))
            }
            CardChoice::Pay => self.pay_from(session, request, &row, begun).await,
        }
    }

    /// Debits the card: the attempt is durable before MAC1 exists.
    async fn pay_from(
        &self,
        session: &mut Session,
        request: CardRequest,
        row: &PaymentRow,
        begun: Option<BegunPurchase>,
    ) -> Result<Outcome, Stop> {
        let cards = self.cards()?;
        if row.expires_at <= self.now() {
            self.store.close_order(request.order, row.expires_at).await?;
            return Err(Problem::because(
                ProblemCode::StateForbids,
                both("The payment has expired.", "支付已过期。"),
            )
            .into());
        }
        let terms = cards.terms(row.order.amount)?;
        let mut begun = match begun {
            Some(begun) => begun,
            None => begin_purchase(&mut session.card, request.purse, terms).await?,
        };
        let (card, key) = cards.accepted(&begun.card)?;
        self.check_listing(card).await?;
        let known = self.store.purse_card(card).await?;
        let other = known.open.filter(|other| *other != request.order);
        if let Some(other) = other {
            self.settle_other(session, request.purse, other).await?;
        }
        self.ask_about_disputes(session, request.purse, &known.disputed).await?;
        if other.is_some() || !known.disputed.is_empty() {
            begun = begin_purchase(&mut session.card, request.purse, terms).await?;
            if cards.accepted(&begun.card)?.0 != card {
                return Err(ProblemCode::AnotherCard.into());
            }
        }
        let said = PurchaseBegun {
            card,
            terminal: cards.terminal,
            counter: OfflineCounter(begun.answer.counter.value()),
            random: begun.answer.random.to_bytes(),
            balance: Fen::new(begun.answer.balance.fen().into()),
        };
        session.progress.say(Stage::Paying, 50);
        let now = self.now();
        let due = now.saturating_add(cards.unproven_after).unwrap_or(now);
        let watch = watch(request.order, said, now, due);
        let intended = self.store.intend_purchase(request.order, said, now, watch).await;
        let intended = match intended {
            Ok(intended) => intended,
            Err(error) => return Err(self.refused_beginning(card, error).await),
        };
        self.outbox.kick();
        let attempt = cards.attempt(row.order.amount, &intended)?;
        let outcome = debit(&mut session.card, &*cards.keys, &key, &attempt).await;
        session.progress.say(Stage::Closing, 90);
        match outcome {
            Ok(DebitOutcome::Debited(tac)) => {
                let row = self.prove(row, &intended, Tac(tac.to_bytes())).await?;
                Ok(paid(&row))
            }
            Ok(DebitOutcome::Unproven | DebitOutcome::SaidToBeRefused(_)) => {
                info!(order = %request.order, "the answer to the debit proves nothing; the card is asked");
                self.ask_the_card(session, request, &intended).await
            }
            // The attempt stays open, and nothing that the phone says closes it.
            Err(error) => Ok(unknown(error.into())),
        }
    }

    /// A card on the black list is not debited. While the centre cannot be asked none is: nobody stands at a till
    /// here, and another way to pay is at hand.
    async fn check_listing(&self, card: CardNumber) -> Result<(), Stop> {
        let standing = self.cards()?.centre.standing(&card_to_wire(card)).await;
        let standing = standing.map_err(|error| error.to_problem())?;
        match standing.listed {
            Some(listed) if listed.kind == WireListKind::Black => Err(ProblemCode::CardListed.into()),
            Some(_) | None => Ok(()),
        }
    }

    /// The answer to DEBIT FOR PURCHASE proved nothing either way; only the card knows.
    async fn ask_the_card(
        &self,
        session: &mut Session,
        request: CardRequest,
        intended: &PurseAttempt,
    ) -> Result<Outcome, Stop> {
        let row = self.payment(request.order).await?;
        match self.settle(session, request.purse, &row, intended).await {
            Ok(Settled::Paid(row)) => Ok(paid(&row)),
            Ok(Settled::NotPaid(_)) => Ok(not_paid(UnpaidOrder::Open)),
            Err(stop @ (Stop::Refused(_) | Stop::Unknown(_) | Stop::Storage(_))) => Err(stop),
            Err(stop @ Stop::Card(_)) => Ok(unknown(stop)),
        }
    }
}

impl Cards {
    /// What INITIALIZE FOR PURCHASE announces.
    pub(super) fn terms(&self, amount: Fen) -> Result<PurchaseTerms, Stop> {
        let amount = to_purse(amount).ok_or(ProblemCode::AmountRefused)?;
        Ok(PurchaseTerms { key_index: KeyIndex::FIRST, amount, terminal: self.terminal.to_bcd().into() })
    }

    /// An attempt as the key service knows it.
    pub(super) fn attempt(&self, amount: Fen, intended: &PurseAttempt) -> Result<PurchaseAttempt, Stop> {
        let facts = PurchaseFacts {
            amount: to_purse(amount).ok_or(ProblemCode::AmountRefused)?,
            transaction_type: TransactionType::Purchase,
            terminal: intended.begun.terminal.to_bcd().into(),
            terminal_sequence: TerminalSequence::new(intended.sequence),
            at: card_time(intended.at),
        };
        Ok(PurchaseAttempt {
            facts,
            counter: tsm_epurse::OfflineCounter::new(intended.begun.counter.0),
            random: CardRandom::new(intended.begun.random),
        })
    }
}

/// The attempt whose outcome is unknown.
pub(super) fn open_attempt(row: &PaymentRow) -> Option<PurseAttempt> {
    row.purse.as_ref().and_then(|purse| purse.open()).copied()
}

/// What is told of an order that is paid or closed: a wallet that missed the end hears it again.
fn ended(row: &PaymentRow, choice: CardChoice) -> Result<Option<Outcome>, Stop> {
    let used = |why: Both| Err(Problem::because(ProblemCode::OrderUsed, why).into());
    match (&row.order.state, choice) {
        (State::Created, _) => Ok(None),
        (State::Paid(_) | State::Refunded { .. }, _) if row.debited().is_some() => Ok(Some(paid(row))),
        (State::Paid(_) | State::Refunded { .. }, _) => {
            used(both("It is paid, and not from a transit card.", "订单已支付，且不是用交通卡支付。"))
        }
        (State::Closed, CardChoice::GiveUp) => Ok(Some(not_paid(UnpaidOrder::Closed))),
        (State::Closed, CardChoice::Pay) => {
            used(both("It is closed and cannot be paid any more.", "订单已关闭，无法再支付。"))
        }
    }
}

/// What the wallet is told of an order that a card has paid.
fn paid(row: &PaymentRow) -> Outcome {
    match (row.debited(), &row.order.state) {
        (Some(attempt), State::Paid(_) | State::Refunded { .. }) => {
            let left = attempt.begun.balance.checked_sub(row.order.amount).unwrap_or(Fen::ZERO);
            Outcome::done(OutcomeDetail::PaidFromCard {
                amount_fen: to_wire(row.order.amount),
                balance_fen: to_wire(left),
                counter: attempt.begun.counter.0.saturating_add(1),
            })
        }
        (_, State::Created | State::Closed | State::Paid(_) | State::Refunded { .. }) => {
            let why = both(
                "The card has paid for an order that was closed; the platform gives the money back.",
                "卡片支付了已关闭的订单，平台将退款。",
            );
            Outcome::failed(Problem::because(ProblemCode::OrderUsed, why))
        }
    }
}

fn not_paid(order: UnpaidOrder) -> Outcome {
    Outcome::done(OutcomeDetail::NotPaidFromCard { order })
}

fn unknown(stop: Stop) -> Outcome {
    Outcome::unknown(stop.into_outcome().problem.unwrap_or_else(|| ProblemCode::OutcomeUnknown.into()))
}
