//! Returning a card that the centre keeps, from whichever phone of its rider (B-7.5, P-5.5.4.b): the one that it
//! left, the one on which its arrival was given up, or another.
//!
//! Nothing is sent to a card. The issuer's own row decides between a return and a phone that brings the card to
//! itself: one of them is stored, and the other is refused. The centre hears of it through the outbox, after the
//! release of a claim that was given up before.

use std::sync::Arc;

use serde_json::json;
use tsm_api::clearing::closing::{ClosingQuery, ClosingStage};
use tsm_api::conversation::RefundStanding;
use tsm_api::problem::{Problem, ProblemCode, both};
use tsm_api::sp_tsm::migration::{ParkedReturn, ReturnedCard};
use tsm_domain::card::{CardRecord, CardState, ClosingProgress};
use tsm_domain::money::ClosingPurpose;
use tsm_domain::{Fen, Msisdn, OperationId};
use tsm_iso7816::Aid;
use tsm_storage::sp_tsm::{ParkedReturned, With};

use super::access::Caller;
use super::closing_card::{closing_of, operation_to_wire};
use super::migration_orders::registered;
use super::returning::shares;
use super::stop::Stop;
use super::{SpTsm, reports};
use crate::purse::{aid_from_wire, card_to_wire, to_wire};
use crate::server::Call;

/// What goes back for a card.
pub(super) struct GoesBack {
    pub balance: Fen,
    pub to_payments: Fen,
    pub at_hall: Fen,
    pub standing: RefundStanding,
}

/// Returns a parked card of the caller's number.
pub(super) async fn return_parked(
    tsm: Arc<SpTsm>,
    call: Call<Caller, ParkedReturn>,
) -> Result<ReturnedCard, Problem> {
    let (_, number) = registered(call.caller.wallet()?)?;
    let ParkedReturn { aid, card_number, .. } = call.request;
    let application = aid_from_wire(&aid)?;
    let returned = async {
        let card = tsm.parked_one(&number, application, card_number.as_deref()).await?;
        let card = tsm.return_from_centre(&card).await?;
        let back = tsm.goes_back(&card).await?;
        Ok::<_, Stop>(ReturnedCard {
            card_number: card.card.to_string(),
            balance_fen: to_wire(back.balance),
            to_payments_fen: to_wire(back.to_payments),
            at_hall_fen: to_wire(back.at_hall),
            standing: back.standing,
        })
    };
    returned.await.map_err(Stop::into_problem)
}

impl SpTsm {
    /// The card of a number that is meant. One that is returned already is meant when no other is parked: its
    /// wallet did not hear of it.
    async fn parked_one(
        &self,
        number: &Msisdn,
        application: Aid,
        named: Option<&str>,
    ) -> Result<CardRecord, Stop> {
        let cards = self.store.cards_of(number).await?;
        let kept = |purpose: ClosingPurpose| {
            let mut kept: Vec<_> = cards
                .iter()
                .filter(|card| {
                    let is_named = named.is_none_or(|named| card.card.to_string() == named);
                    is_named && card.instance == application && is_kept(card, purpose)
                })
                .cloned()
                .collect();
            kept.sort_by_key(|card| card.closing.map(|closing| closing.begun_at));
            kept
        };
        let mut parked = kept(ClosingPurpose::Migration);
        if parked.len() > 1 {
            let reason = both(
                "Several cards of this number are parked; name one.",
                "此号码有多张寄存卡片，请指明一张。",
            );
            return Err(Problem::because(ProblemCode::ValueRefused, reason).into());
        }
        parked.pop().or_else(|| kept(ClosingPurpose::Return).pop()).ok_or_else(|| {
            Problem::because(
                ProblemCode::UnknownId,
                both("No card of this number is parked at the centre.", "清算中心没有寄存此号码的卡片。"),
            )
            .into()
        })
    }

    /// A card that the centre keeps for another phone is returned; refused while one is bringing it to itself.
    pub(super) async fn return_from_centre(&self, card: &CardRecord) -> Result<CardRecord, Stop> {
        if card.frozen.is_some() {
            return Err(ProblemCode::SuspiciousCard.into());
        }
        let closing = closing_of(card)?;
        if closing.purpose == ClosingPurpose::Migration {
            self.check_unclaimed(card, closing.operation).await?;
        }
        let with = With {
            deliveries: vec![reports::order_refund(card, &closing, self.now())],
            notes: vec![self.note(card.card, "returned-instead", &json!({}))],
            ..With::default()
        };
        match self.store.return_parked(card.card, with).await? {
            ParkedReturned::Returned(returned) => {
                self.outbox.kick();
                Ok(returned)
            }
            ParkedReturned::Busy(_) => Err(claimed()),
        }
    }

    /// The centre must not keep the card for a phone, whatever the issuer's own rows say. A claim that was given up
    /// just now may still be on its way back.
    async fn check_unclaimed(&self, card: &CardRecord, closing: OperationId) -> Result<(), Stop> {
        let query =
            ClosingQuery { card: card_to_wire(card.card), operation: Some(operation_to_wire(closing)) };
        let known = self.links.centre.closing(&query).await.map_err(|error| error.to_problem())?;
        match known.stage {
            ClosingStage::Parked | ClosingStage::RefundOrdered | ClosingStage::Refunded => Ok(()),
            _ => Err(claimed()),
        }
    }

    /// What goes back for a card, and where.
    pub(super) async fn goes_back(&self, card: &CardRecord) -> Result<GoesBack, Stop> {
        let balance = card.proven.map_or(Fen::ZERO, |proven| proven.balance);
        let shares = shares(&*self.store, card.card, balance).await?;
        let to_payments: Fen = shares.iter().map(|share| share.amount).sum();
        let at_hall = balance.checked_sub(to_payments).unwrap_or(Fen::ZERO);
        let standing = self.refund_standing(card).await?;
        Ok(GoesBack { balance, to_payments, at_hall, standing })
    }

    /// Whether the centre lets the balance go back. One that froze the card keeps it until two people have looked; one
    /// that does not answer now is asked by the refund's own order.
    async fn refund_standing(&self, card: &CardRecord) -> Result<RefundStanding, Stop> {
        let operation = Some(operation_to_wire(closing_of(card)?.operation));
        let query = ClosingQuery { card: card_to_wire(card.card), operation };
        Ok(self.links.centre.closing(&query).await.map(|known| known.standing).unwrap_or_default())
    }
}

fn claimed() -> Stop {
    let reason =
        both("A phone is bringing the card to itself; give that up first.", "有手机正在迁入该卡，请先放弃。");
    Problem::because(ProblemCode::StateForbids, reason).into()
}

/// Whether the centre keeps the card, closed for this.
fn is_kept(card: &CardRecord, purpose: ClosingPurpose) -> bool {
    matches!(card.state, CardState::Parked | CardState::Closed)
        && card.closing.is_some_and(|closing| {
            closing.purpose == purpose && matches!(closing.progress, ClosingProgress::Told(_))
        })
}
