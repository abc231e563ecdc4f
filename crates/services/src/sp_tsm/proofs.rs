//! At every contact the card is asked for the proofs that the centre misses: of purchases that were reported with
//! a wrong TAC or none (B-7.3.1).
//!
//! The centre is asked while the flow does its own work with the card, so that nobody waits when nothing is missed,
//! which is nearly always. It verifies what the card gives; this role only brings it. Whatever goes wrong here is
//! tried again at the next contact, and stops no flow.

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Either, select};
use tracing::{debug, info};
use tsm_api::clearing::purchases::{CardProof, CardQuery, ProofVerdict, WantedProof};
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
/// How long a flow that has ended waits for a centre that has not said yet what it misses.
const PATIENCE: Duration = Duration::from_secs(2);

/// A card, and what the centre misses of it.
pub(super) struct Wanted {
    card: CardRecord,
    proofs: Vec<WantedProof>,
}

impl SpTsm {
    /// What the centre misses of the card on an SE; none when that is nothing, or cannot be told now.
    pub(super) async fn wanted_of(&self, se: SeId, application: Aid) -> Option<Wanted> {
        let card = match self.card_on(se, application).await {
            Ok(card) => card.filter(|card| card.state == CardState::Active)?,
            Err(stop) => {
                debug!(problem = ?stop.into_problem(), "a card cannot be read");
                return None;
            }
        };
        match self.links.centre.wanted_proofs(&CardQuery { card: card_to_wire(card.card) }).await {
            Ok(wanted) if wanted.proofs.is_empty() => None,
            Ok(mut wanted) => {
                wanted.proofs.truncate(MOST);
                Some(Wanted { card, proofs: wanted.proofs })
            }
            Err(error) => {
                debug!(card = %card.card, %error, "a card's proofs are asked for later");
                None
            }
        }
    }

    /// Does something with the card on an SE, and asks the centre meanwhile what it misses of it.
    pub(super) async fn ask_beside<T>(
        &self,
        work: BoxFuture<'_, T>,
        se: SeId,
        application: Aid,
    ) -> (T, Option<Wanted>) {
        let asking = self.wanted_of(se, application).boxed();
        match select(work, asking).await {
            Either::Right((wanted, work)) => (work.await, wanted),
            Either::Left((done, asking)) => {
                let patience = self.environment.timer.sleep(PATIENCE);
                let wanted = match select(asking, patience).await {
                    Either::Left((wanted, _)) => wanted,
                    Either::Right(_) => None,
                };
                (done, wanted)
            }
        }
    }

    /// Asks the card for what the centre misses of it, and brings it there.
    pub(super) async fn bring_proofs(&self, session: &mut Session, wanted: Option<Wanted>) {
        let Some(Wanted { card, proofs }) = wanted else { return };
        if let Err(stop) = self.bring_proofs_of(session, &card, proofs).await {
            debug!(card = %card.card, problem = ?stop.into_problem(), "a card's proofs are asked for later");
        }
    }

    async fn bring_proofs_of(
        &self,
        session: &mut Session,
        card: &CardRecord,
        wanted: Vec<WantedProof>,
    ) -> Result<(), Stop> {
        let number = card_to_wire(card.card);
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
