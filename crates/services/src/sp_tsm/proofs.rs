//! At every contact the card is asked for the proofs that the centre misses: of purchases that were reported with
//! a wrong TAC or none (B-7.3.1).
//!
//! The centre verifies what the card gives; this role only brings it. Whatever goes wrong here is tried again at
//! the next contact, and stops no flow.

use tracing::{debug, info};
use tsm_api::clearing::purchases::{CardProof, CardQuery, ProofVerdict};
use tsm_card::purse::ask_proofs;
use tsm_domain::SeId;
use tsm_domain::card::{CardRecord, CardState};
use tsm_epurse::TransactionSequence;
use tsm_iso7816::Aid;

use super::SpTsm;
use super::stop::Stop;
use crate::conversation::Session;
use crate::purse::card_to_wire;

/// Proofs that a card is asked for at once; it keeps the last of each type of transaction.
const MOST: usize = 4;

impl SpTsm {
    /// Brings the centre what it misses of the card on an SE.
    pub(super) async fn bring_proofs(&self, session: &mut Session, se: SeId, application: Aid) {
        let card = match self.card_on(se, application).await {
            Ok(Some(card)) if card.state == CardState::Active => card,
            Ok(_) => return,
            Err(stop) => {
                debug!(problem = ?stop.into_problem(), "a card cannot be read");
                return;
            }
        };
        if let Err(stop) = self.bring_proofs_of(session, &card).await {
            debug!(card = %card.card, problem = ?stop.into_problem(), "a card's proofs are asked for later");
        }
    }

    async fn bring_proofs_of(&self, session: &mut Session, card: &CardRecord) -> Result<(), Stop> {
        let number = card_to_wire(card.card);
        let wanted = self.links.centre.wanted_proofs(&CardQuery { card: number.clone() }).await;
        let mut wanted = wanted.map_err(|error| error.to_problem())?.proofs;
        if wanted.is_empty() {
            return Ok(());
        }
        wanted.truncate(MOST);
        let asked: Vec<_> = wanted
            .iter()
            .map(|purchase| (purchase.transaction_type.into(), TransactionSequence::new(purchase.counter)))
            .collect();
        let (serial, proofs) = ask_proofs(&mut session.card, card.instance, &asked).await?;
        if serial.0 != card.card.application_serial() {
            return Ok(());
        }
        for (purchase, proof) in wanted.into_iter().zip(proofs) {
            let Some(proof) = proof else { continue };
            let tac = tsm_api::HexBytes(proof.tac.to_bytes().to_vec());
            let given = CardProof { card: number.clone(), purchase, tac };
            let reply = self.links.centre.card_proof(&given).await.map_err(|error| error.to_problem())?;
            if reply.verdict == ProofVerdict::Recorded {
                info!(card = %card.card, counter = purchase.counter, "a card proved a purchase");
            }
        }
        Ok(())
    }
}
