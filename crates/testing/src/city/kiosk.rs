//! A machine that takes cash: it asks the card issuer, carries the steps to the card in its field, and keeps
//! what it does not know until it does.

use std::sync::Arc;

use tsm_api::HexBytes;
use tsm_api::client::{ClientError, SpTsmTerminal};
use tsm_api::conversation::{ConversationReply, TurnRequest};
use tsm_api::ids::{OperationId, RequestId};
use tsm_api::sp_tsm::terminal::{CashTopUpRecord, CashTopUpRequest, CashTopUpState};
use tsm_se::Interface;
use tsm_wallet::SeOperation;

use super::card::Card;
use super::phone::Handset;
use super::world::World;

/// The kiosk's terminal number.
const KIOSK: [u8; 6] = [0x09, 0x99, 0, 0, 0x90, 0x01];
/// How often the kiosk asks again before it lets the card go.
const TRIES: u32 = 3;

/// Cash that a kiosk has taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cash {
    operation: OperationId,
    card: [u8; 10],
    /// How much, in fen.
    pub amount: u32,
}

/// What became of cash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// It is on the card.
    OnCard,
    /// It went back to the rider.
    GivenBack,
    /// The kiosk does not know yet.
    Unknown,
}

impl World {
    /// A rider puts cash into a kiosk for the card with this number.
    pub(super) fn take_cash(&self, rider: u32, card: [u8; 10], amount: u32) -> Cash {
        let cash = Cash { operation: OperationId(self.uuid()), card, amount };
        self.truth.cash_taken(rider, cash.operation.0, amount);
        cash
    }

    /// Brings cash to the card, or goes on with it; what cannot be brought is given back if the issuer says so.
    pub(super) async fn bring_cash(&self, card: &Arc<Card>, cash: Cash) -> Kept {
        let kiosk = self.kiosk();
        for _ in 0..TRIES {
            match self.try_cash(&kiosk, card, cash).await {
                Ok(CashTopUpState::Credited) => return Kept::OnCard,
                Ok(CashTopUpState::Cancelled) => return self.give_cash_back(cash),
                Ok(_) | Err(_) => {}
            }
        }
        match kiosk.cancel(&self.request(cash)).await {
            Ok(CashTopUpRecord { state: CashTopUpState::Cancelled, .. }) => self.give_cash_back(cash),
            Ok(CashTopUpRecord { state: CashTopUpState::Credited, .. }) => Kept::OnCard,
            Ok(_) | Err(_) => Kept::Unknown,
        }
    }

    fn give_cash_back(&self, cash: Cash) -> Kept {
        self.truth.cash_given_back(cash.operation.0);
        Kept::GivenBack
    }

    async fn try_cash(
        &self,
        kiosk: &SpTsmTerminal,
        card: &Arc<Card>,
        cash: Cash,
    ) -> Result<CashTopUpState, ClientError> {
        let begun = kiosk.begin(&self.request(cash)).await?;
        let mut element = SeOperation::new(Handset::contactless(&self.executor, card));
        let carried = Self::carry(kiosk, &mut element, begun.conversation).await;
        // The card leaves the field.
        card.reset(Interface::Contactless);
        carried?;
        Ok(kiosk.status(cash.operation).await?.state)
    }

    async fn carry(
        kiosk: &SpTsmTerminal,
        element: &mut SeOperation<Handset>,
        mut reply: Option<ConversationReply>,
    ) -> Result<(), ClientError> {
        while let Some(ConversationReply::Steps { conversation, turn, steps, .. }) = reply {
            let answers = element.carry(&steps).await;
            let request =
                TurnRequest { turn, responses: answers.responses, fault: answers.fault, ticket: None };
            reply = Some(kiosk.turn(conversation, &request).await?);
        }
        Ok(())
    }

    fn request(&self, cash: Cash) -> CashTopUpRequest {
        CashTopUpRequest {
            operation: cash.operation,
            request: RequestId(self.uuid()),
            terminal: HexBytes(KIOSK.to_vec()),
            card: HexBytes(cash.card.to_vec()),
            amount_fen: cash.amount,
        }
    }
}
