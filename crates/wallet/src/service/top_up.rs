//! Topping up over the air (B-7.4, B-9.2.4).

use tsm_api::HexBytes;
use tsm_api::conversation::{OutcomeDetail, Party};
use tsm_api::ids::{OrderId, PaymentId};
use tsm_api::payment::{PAY, Pay, PayChoice, PaymentState};
use tsm_api::sp_tsm::wallet::{ORDER_TOP_UP, Operation, START, StartRequest, TopUpOrder};

use super::{ONLY_THIS_WALLET, Wallet, WalletError};
use crate::interaction::Interaction;
use crate::network::Host;
use crate::se_operation::SecureElementAccess;
use crate::storage::{WalletStorage, WorkKind};

/// A top-up that has been paid for and can be carried to the card, however often it is tried: the
/// card is credited once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaidTopUp {
    /// The application.
    pub aid: HexBytes,
    /// The order.
    pub order: OrderId,
}

/// What came of carrying a top-up to the card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopUpResult {
    /// The card proved that it was credited.
    Credited {
        /// What was added.
        amount_fen: u32,
        /// What is on the card now.
        balance_fen: u32,
    },
    /// The card proved that it was not; the order can be used again.
    NotCredited {
        /// What is on the card.
        balance_fen: u32,
    },
}

impl<A: SecureElementAccess, S: WalletStorage> Wallet<A, S> {
    /// Orders a top-up. The payment is what the rider must now confirm.
    pub async fn order_top_up(
        &self,
        aid: &HexBytes,
        amount_fen: u32,
    ) -> Result<(OrderId, PaymentId), WalletError> {
        self.require_full_rights()?;
        let request = TopUpOrder { request: self.request_id(), aid: aid.clone(), amount_fen };
        let bearer = self.assertion()?;
        let record = self.network.call(Host::SpTsm, &ORDER_TOP_UP, &[], Some(bearer), &request).await?;
        let payment = record.payment.ok_or(WalletError::UnexpectedOutcome)?;
        Ok((record.order, payment))
    }

    /// Pays at the payment platform and remembers the order until the card has been credited.
    pub async fn pay(
        &mut self,
        aid: &HexBytes,
        order: OrderId,
        payment: PaymentId,
    ) -> Result<PaidTopUp, WalletError> {
        let id = payment.to_string();
        let parameters = [id.as_str()];
        let request = Pay { choice: PayChoice::Pay };
        // Kept before the money leaves, so that a phone that dies here still knows its order.
        self.begin_work(WorkKind::TopUp, aid, Some(order.to_string())).await?;
        let record = self.network.call(Host::Payment, &PAY, &parameters, None, &request).await?;
        match record.state {
            PaymentState::Paid => Ok(PaidTopUp { aid: aid.clone(), order }),
            PaymentState::Open
            | PaymentState::Closed
            | PaymentState::PartlyRefunded
            | PaymentState::Refunded => {
                self.end_work().await?;
                Err(WalletError::Cancelled)
            }
        }
    }

    /// Carries a paid top-up to the card: three requests.
    ///
    /// After any break, call it again with the same order: the card itself says whether it was
    /// credited, and it is never credited twice.
    pub async fn top_up(
        &mut self,
        paid: &PaidTopUp,
        shown: &mut dyn Interaction,
    ) -> Result<TopUpResult, WalletError> {
        self.require_full_rights()?;
        let mut request =
            StartRequest::on(Operation::TopUp, paid.aid.clone(), Some(paid.order), self.request_id());
        request.options.if_busy = ONLY_THIS_WALLET;
        let bearer = self.assertion()?;
        let reply = self.network.call(Host::SpTsm, &START, &[], Some(bearer), &request).await?;
        let result = match self.converse(Party::SpTsm, reply, shown).await? {
            OutcomeDetail::ToppedUp { amount_fen, balance_fen, .. } => {
                TopUpResult::Credited { amount_fen, balance_fen }
            }
            OutcomeDetail::NotToppedUp { balance_fen } => TopUpResult::NotCredited { balance_fen },
            _ => return Err(WalletError::UnexpectedOutcome),
        };
        if matches!(result, TopUpResult::Credited { .. }) {
            self.end_work().await?;
        }
        Ok(result)
    }

    /// The paid top-up that was interrupted, if one was.
    pub fn interrupted_top_up(&self) -> Option<PaidTopUp> {
        let work = self.record.interrupted.as_ref().filter(|work| work.kind == WorkKind::TopUp)?;
        let order = work.order.as_ref()?.parse().ok()?;
        Some(PaidTopUp { aid: work.aid.clone(), order })
    }
}
