//! A card is here whose TAC the centre had refused: somebody changed it on its way. MAC2 had proved the debit, so
//! the card is asked for its proof again, and the centre judges the TAC that it gives.

use tracing::warn;
use tsm_api::HexBytes;
use tsm_api::clearing::purchases::{CardProof, ProofVerdict, WantedProof};
use tsm_api::problem::ProblemCode;
use tsm_card::purse::PurchaseObservation;
use tsm_domain::OrderId;
use tsm_domain::money::{CentreWord, PurseAttempt, Tac, TransactionType};
use tsm_iso7816::Aid;
use tsm_storage::payment::PaymentRow;

use super::notices::{Dispute, Notices};
use super::stop::Stop;
use crate::conversation::Session;
use crate::payment_sandbox::PaymentSandbox;
use crate::purse::card_to_wire;

impl PaymentSandbox {
    /// Settles what can be settled of these orders' disputes. What cannot waits for the next contact, or for two
    /// people at the centre.
    pub(super) async fn ask_about_disputes(
        &self,
        session: &mut Session,
        purse: Aid,
        orders: &[OrderId],
    ) -> Result<(), Stop> {
        for order in orders {
            let row = self.payment(*order).await?;
            let Some(attempt) = row.debited().copied() else { continue };
            let notices = self.notices()?;
            if notices.dispute(*order, attempt.number).await? != Dispute::Open {
                continue;
            }
            if let Some(tac) = self.proof_again(session, purse, &row, &attempt).await?
                && self.proves(&attempt, tac).await?
            {
                notices.end_dispute(*order, attempt.number, CentreWord::TakenWith(tac)).await?;
            }
        }
        Ok(())
    }

    /// The TAC of an attempt from the card itself, if it still has it.
    async fn proof_again(
        &self,
        session: &mut Session,
        purse: Aid,
        row: &PaymentRow,
        attempt: &PurseAttempt,
    ) -> Result<Option<Tac>, Stop> {
        Ok(match self.observe(session, purse, row, attempt).await? {
            PurchaseObservation::Debited(tac) => Some(Tac(tac.to_bytes())),
            PurchaseObservation::SaidNotToBeDebited { .. }
            | PurchaseObservation::Unknown { .. }
            | PurchaseObservation::AnotherCard => None,
        })
    }

    /// Whether the centre finds that a TAC proves an attempt's debit.
    async fn proves(&self, attempt: &PurseAttempt, tac: Tac) -> Result<bool, Stop> {
        let after = attempt.begun.counter.next().ok_or(ProblemCode::Internal)?;
        let transaction_type = TransactionType::Purchase.to_byte();
        let proof = CardProof {
            card: card_to_wire(attempt.begun.card),
            purchase: WantedProof { counter: after.0, transaction_type },
            tac: HexBytes(tac.0.to_vec()),
        };
        match self.cards()?.centre.card_proof(&proof).await {
            Ok(reply) => Ok(reply.verdict == ProofVerdict::Recorded),
            Err(error) => {
                warn!(%error, "the centre does not say what a card's proof is worth");
                Ok(false)
            }
        }
    }

    pub(super) fn notices(&self) -> Result<Notices, Stop> {
        Ok(Notices {
            store: self.store.clone(),
            centre: self.cards()?.centre.clone(),
            environment: self.environment.clone(),
            faults: self.faults.clone(),
        })
    }
}
