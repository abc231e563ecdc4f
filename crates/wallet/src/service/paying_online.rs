//! Paying a merchant's order from a transit card (B-7.3.1): the payment platform debits the card through this
//! wallet, and the card itself says what came of it.

use tsm_api::HexBytes;
use tsm_api::conversation::{OutcomeDetail, Party, StartOptions, UnpaidOrder};
use tsm_api::endpoint::Nothing;
use tsm_api::ids::{OrderId, PaymentId};
use tsm_api::payment::purse::{ADDRESSED, CardChoice, CardPayment, PAY_FROM_CARD};
use tsm_api::payment::{PaymentRecord, PaymentState, SHOW};

use super::interrupted::{Interrupted, InterruptedKind};
use super::{ONLY_THIS_WALLET, Wallet, WalletError};
use crate::interaction::Interaction;
use crate::network::{Host, NetworkError};
use crate::se_operation::SecureElementAccess;
use crate::storage::{InterruptedWork, WalletStorage, WorkKind};

/// What came of paying from a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnlinePayment {
    /// The card proved that it paid.
    Paid {
        /// What was paid.
        amount_fen: u32,
        /// What the card holds now.
        balance_fen: u32,
    },
    /// The card did not pay; the order can be paid again.
    NotPaid,
    /// The card did not pay, and the order is closed.
    Closed,
}

impl<A: SecureElementAccess, S: WalletStorage> Wallet<A, S> {
    /// What a merchant is shown to address an order to this wallet. It is drawn once.
    pub async fn payer_token(&mut self) -> Result<HexBytes, WalletError> {
        if let Some(token) = &self.record.payer_token {
            return Ok(token.clone());
        }
        let mut bytes = [0; 16];
        self.entropy.fill(&mut bytes);
        let token = HexBytes(bytes.to_vec());
        self.record.payer_token = Some(token.clone());
        self.keep().await?;
        Ok(token)
    }

    /// What merchants have addressed to this wallet and is neither paid nor closed, oldest first.
    pub async fn merchant_orders(&mut self) -> Result<Vec<PaymentRecord>, WalletError> {
        let payer = self.payer_token().await?.to_string();
        let parameters = [payer.as_str()];
        let listed = self.network.call(Host::Payment, &ADDRESSED, &parameters, None, &Nothing {}).await?;
        Ok(listed.payments)
    }

    /// What a merchant wants to be paid.
    pub async fn merchant_order(&self, payment: PaymentId) -> Result<PaymentRecord, WalletError> {
        let payment = payment.to_string();
        let parameters = [payment.as_str()];
        Ok(self.network.call(Host::Payment, &SHOW, &parameters, None, &Nothing {}).await?)
    }

    /// Pays an order from the card `aid`: three requests.
    ///
    /// After any break, call it again: the card says whether it has paid, and it never pays twice.
    pub async fn pay_online(
        &mut self,
        aid: &HexBytes,
        payment: PaymentId,
        shown: &mut dyn Interaction,
    ) -> Result<OnlinePayment, WalletError> {
        self.card_payment(aid, payment, CardChoice::Pay, shown).await
    }

    /// Gives an order up: it is closed, unless the card proves that it has paid.
    pub async fn give_online_payment_up(
        &mut self,
        aid: &HexBytes,
        payment: PaymentId,
        shown: &mut dyn Interaction,
    ) -> Result<OnlinePayment, WalletError> {
        self.card_payment(aid, payment, CardChoice::GiveUp, shown).await
    }

    async fn card_payment(
        &mut self,
        aid: &HexBytes,
        payment: PaymentId,
        choice: CardChoice,
        shown: &mut dyn Interaction,
    ) -> Result<OnlinePayment, WalletError> {
        let number = payment.to_string();
        let parameters = [number.as_str()];
        let options = StartOptions { request: self.request_id(), if_busy: ONLY_THIS_WALLET };
        let request = CardPayment { options, aid: aid.clone(), choice };
        // Kept before the card can pay, so that a phone that dies here still knows of it.
        self.begin_work(WorkKind::PayOnline, aid, Some(number.clone())).await?;
        let reply = self.network.call(Host::Payment, &PAY_FROM_CARD, &parameters, None, &request).await;
        let outcome = match reply {
            Ok(reply) => self.converse(Party::Payment, reply, shown).await,
            Err(error) => Err(error.into()),
        };
        let paid = match outcome {
            Ok(OutcomeDetail::PaidFromCard { amount_fen, balance_fen, .. }) => {
                OnlinePayment::Paid { amount_fen, balance_fen }
            }
            Ok(OutcomeDetail::NotPaidFromCard { order: UnpaidOrder::Open }) => {
                return Ok(OnlinePayment::NotPaid);
            }
            Ok(OutcomeDetail::NotPaidFromCard { order: UnpaidOrder::Closed }) => OnlinePayment::Closed,
            Ok(_) => return Err(WalletError::UnexpectedOutcome),
            Err(error) => {
                self.forget_if_nothing_began(payment, &error).await?;
                return Err(error);
            }
        };
        self.end_work().await?;
        Ok(paid)
    }

    /// A payment that was refused before anything reached the card is no interrupted work, unless an earlier
    /// attempt is still open at the platform.
    async fn forget_if_nothing_began(
        &mut self,
        payment: PaymentId,
        error: &WalletError,
    ) -> Result<(), WalletError> {
        let refused = match error {
            WalletError::Refused(_) => true,
            WalletError::Network(network) => matches!(network, NetworkError::Refused(_)),
            _ => false,
        };
        if !refused {
            return Ok(());
        }
        let is_open = match self.merchant_order(payment).await {
            Ok(record) => record.card == Some(tsm_api::payment::purse::CardOffer::Unknown),
            Err(WalletError::Network(NetworkError::Refused(_))) => false,
            Err(_) => true,
        };
        if is_open { Ok(()) } else { self.end_work().await }
    }

    /// A payment that this phone remembers, as the platform knows it; none when it ended unseen.
    pub(super) async fn interrupted_payment(
        &self,
        work: &InterruptedWork,
    ) -> Result<Option<Interrupted>, WalletError> {
        let payment: Option<PaymentId> = work.order.as_ref().and_then(|order| order.parse().ok());
        let Some(payment) = payment else { return Ok(None) };
        let record = match self.merchant_order(payment).await {
            Ok(record) => Some(record),
            Err(WalletError::Network(NetworkError::NoReply(_))) => None,
            Err(error) => return Err(error),
        };
        if record.as_ref().is_some_and(|record| record.state != PaymentState::Open) {
            return Ok(None);
        }
        Ok(Some(Interrupted {
            kind: InterruptedKind::PayOnline,
            aid: work.aid.clone(),
            order: Some(OrderId(payment.0)),
            amount_fen: record.map(|record| record.amount_fen),
            may_continue: true,
            may_cancel: true,
        }))
    }
}
