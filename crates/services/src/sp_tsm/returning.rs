//! Returning a card (B-7.5): it is blocked and read, its balance is owed to the rider and goes back to the
//! payments that it came from, newest first, and the phone is told to delete it. What came in cash is paid
//! out at a hall.
//!
//! A card that was parked to migrate can be returned too; nothing is sent to a card then.

use tsm_api::conversation::{Outcome, OutcomeDetail};
use tsm_domain::money::{ClosingPurpose, TopUpStage};
use tsm_domain::{CardNumber, Fen, OrderId, PaymentReference, SeId};
use tsm_iso7816::Aid;
use tsm_storage::SpTsmStore;
use tsm_storage::shared::Fence;
use tsm_storage::sp_tsm::{TopUpOrder, TopUpOrderState};

use super::SpTsm;
use super::closing_card::{Place, ToClose, closing_of};
use super::stop::Stop;
use crate::conversation::Session;
use crate::purse::to_wire;

/// A part of a refund, and the order whose payment takes it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Share {
    pub order: OrderId,
    pub payment: PaymentReference,
    pub amount: Fen,
}

impl SpTsm {
    /// The flow.
    pub(super) async fn return_card(
        &self,
        session: &mut Session,
        fence: Fence,
        (se, application, place): (SeId, Aid, Place),
    ) -> Result<Outcome, Stop> {
        let wanted = ToClose { se, application, purpose: ClosingPurpose::Return, place };
        let card = self.close_card(session, fence, wanted).await?;
        let card = match closing_of(&card)?.purpose {
            ClosingPurpose::Return => card,
            ClosingPurpose::Migration => self.return_from_centre(&card).await?,
        };
        let back = self.goes_back(&card).await?;
        Ok(Outcome::done(OutcomeDetail::Returned {
            balance_fen: to_wire(back.balance),
            to_payments_fen: to_wire(back.to_payments),
            at_hall_fen: to_wire(back.at_hall),
            standing: back.standing,
        }))
    }
}

/// How a balance goes back: to the card's credited orders, newest first, each at most what it paid.
pub(super) async fn shares(
    store: &dyn SpTsmStore,
    card: CardNumber,
    balance: Fen,
) -> tsm_storage::Result<Vec<Share>> {
    let orders = store.top_ups_of(card, usize::MAX).await?;
    Ok(distribute(&orders, balance))
}

fn distribute(orders: &[TopUpOrder], balance: Fen) -> Vec<Share> {
    let mut left = balance;
    let mut shares = Vec::new();
    for (order, payment) in orders.iter().filter_map(credited_by) {
        let amount = order.amount.min(left);
        if amount.is_zero() {
            break;
        }
        left = left.checked_sub(amount).unwrap_or(Fen::ZERO);
        shares.push(Share { order: order.order, payment: payment.clone(), amount });
    }
    shares
}

/// The payment of an order that is on the card, if it can take money back. Cash cannot.
fn credited_by(order: &TopUpOrder) -> Option<(&TopUpOrder, &PaymentReference)> {
    match &order.state {
        TopUpOrderState::Paid { payment, stage: TopUpStage::Loaded(..) | TopUpStage::Told(..) } => {
            (!payment.is_cash()).then_some((order, payment))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use tsm_domain::money::{Attempt, LoadProof};
    use tsm_domain::{OnlineCounter, TerminalNumber};

    use super::*;

    fn order(number: u128, fen: u64, stage: Option<TopUpStage>) -> TopUpOrder {
        let state = stage.map_or(TopUpOrderState::AwaitingPayment, |stage| TopUpOrderState::Paid {
            payment: "payment".parse().unwrap(),
            stage,
        });
        TopUpOrder {
            order: OrderId::from_uuid(uuid::Uuid::from_u128(number)),
            card: "3104990000000000017".parse().unwrap(),
            se: SeId::new(&[1]).unwrap(),
            amount: Fen::new(fen),
            created_at: jiff::Timestamp::UNIX_EPOCH,
            state,
        }
    }

    /// req: B-7.5.1.b
    #[test]
    fn a_balance_goes_back_to_the_newest_payments_first() {
        let attempt = Attempt {
            terminal: TerminalNumber::for_attempt(1, 1).unwrap(),
            counter: OnlineCounter(0),
            balance: Fen::ZERO,
        };
        let told = Some(TopUpStage::Told(attempt, LoadProof::TacUnavailable));
        let newest_first = [
            order(5, 700, Some(TopUpStage::Cancelled)),
            order(4, 300, told),
            order(3, 900, None),
            order(2, 500, told),
            order(1, 100, told),
        ];
        let shares = |fen| -> Vec<(u128, u64)> {
            let shares = distribute(&newest_first, Fen::new(fen));
            shares.iter().map(|share| (share.order.as_uuid().as_u128(), share.amount.get())).collect()
        };
        assert_eq!(shares(0), []);
        assert_eq!(shares(300), [(4, 300)]);
        assert_eq!(shares(301), [(4, 300), (2, 1)]);
        assert_eq!(shares(1_000), [(4, 300), (2, 500), (1, 100)], "100 came in cash");
    }
}
