//! Claiming a parked card for another secure element (B-7.6.1.f and i): one gets it, with all its data, and
//! its money follows when it is in use there.

use std::sync::Arc;

use serde_json::json;
use tsm_api::HexBytes;
use tsm_api::clearing::closing::{ClaimParked, ClaimedCard, ClosingRecord, ReleaseClaim};
use tsm_api::ids::OperationId as WireOperation;
use tsm_api::problem::{Problem, ProblemCode, both};
use tsm_domain::money::{Claim, ClosingStage, Parking};
use tsm_domain::{CardNumber, SeId};
use tsm_keys::transfer::SealedValue;

use super::Clearing;
use super::access::Institution;
use super::closing::{Decided, operation_from_wire, refused};
use super::parking::seal_context;
use crate::purse::{card_from_wire, card_to_wire, se_from_wire, to_wire};
use crate::server::Call;
use crate::stored;

/// Claims a parked card.
pub(super) async fn claim_parked(
    centre: Arc<Clearing>,
    call: Call<Institution, ClaimParked>,
) -> Result<ClaimedCard, Problem> {
    let Institution(institution, _) = call.caller;
    let card = card_from_wire(&call.request.card)?;
    centre.check_issuer(&institution, card)?;
    let se = se_from_wire(&call.request.se_id)?;
    let claim = Claim { se, operation: operation_from_wire(call.request.operation) };
    let closings = centre.closings(card).await?;
    let newest = closings.iter().find(|closing| closing.stage != ClosingStage::Undone);
    let newest = newest.ok_or_else(|| {
        Problem::because(ProblemCode::StateForbids, both("The card is not parked.", "卡片未寄存。"))
    })?;
    let detail = json!({ "claim": claim.operation, "se": se });
    let claimed = centre
        .step_closing(&institution, card, newest.operation, |_, known| {
            let known = known.ok_or(ProblemCode::StateForbids)?;
            let made = known.claim(claim).map_err(refused)?;
            Ok(made.map(|made| Decided::new(made, "parked-card-claimed", detail.clone())))
        })
        .await;
    if let Err(problem) = claimed {
        if problem.code == ProblemCode::BoundElsewhere {
            let noted = centre.note_second_claim(card, newest.operation, claim).await;
            noted.map_err(|error| stored::problem(&error))?;
        }
        return Err(problem);
    }
    let parking = newest.stage.parking().ok_or(ProblemCode::StateForbids)?;
    centre.claimed(card, WireOperation(newest.operation.as_uuid()), parking)
}

/// Gives a claimed card back, and remembers the claim, which may still be on its way.
pub(super) async fn release_claim(
    centre: Arc<Clearing>,
    call: Call<Institution, ReleaseClaim>,
) -> Result<ClosingRecord, Problem> {
    let Institution(institution, _) = call.caller;
    let ReleaseClaim { card, se_id, operation } = call.request;
    let card = card_from_wire(&card)?;
    centre.check_issuer(&institution, card)?;
    let claim = Claim { se: se_from_wire(&se_id)?, operation: operation_from_wire(operation) };
    let closings = centre.closings(card).await?;
    let newest = closings.iter().find(|closing| closing.stage != ClosingStage::Undone);
    let newest = newest.ok_or(ProblemCode::StateForbids)?;
    let detail = json!({ "claim": claim.operation, "se": claim.se });
    centre
        .step_closing(&institution, card, newest.operation, |_, known| {
            let known = known.ok_or(ProblemCode::StateForbids)?;
            let made = known.release(claim).map_err(refused)?;
            Ok(made.map(|made| Decided::new(made, "claim-released", detail.clone())))
        })
        .await
}

impl Clearing {
    fn claimed(
        &self,
        card: CardNumber,
        closing: WireOperation,
        parking: &Parking,
    ) -> Result<ClaimedCard, Problem> {
        let internal = |reason: &dyn std::fmt::Display| {
            tracing::error!(%card, %reason, "a parked card's data cannot be read");
            Problem::new(ProblemCode::Internal)
        };
        let (Some(sealed), Some(offline)) = (&parking.sealed_image, parking.offline) else {
            return Err(ProblemCode::StateForbids.into());
        };
        let sealed = SealedValue(hex::decode(sealed).map_err(|error| internal(&error))?);
        let image = self.keys.unseal(&self.sealing_key, &seal_context(card), &sealed);
        let image = image.map_err(|error| internal(&error))?;
        Ok(ClaimedCard {
            card: card_to_wire(card),
            closing,
            balance_fen: to_wire(parking.balance),
            online_counter: parking.online,
            offline_counter: offline,
            image: HexBytes(image.to_vec()),
        })
    }

    /// A card that another SE claimed is in use there now: its parked money goes to its purse. True when the
    /// card came by such a way.
    pub(super) async fn arrived(
        &self,
        institution: &str,
        card: CardNumber,
        se: SeId,
    ) -> Result<bool, Problem> {
        let closings = self.closings(card).await?;
        let claimed = closings.iter().find(|closing| match &closing.stage {
            ClosingStage::Claimed(_, claim) | ClosingStage::Arrived(_, claim) => claim.se == se,
            _ => false,
        });
        let Some(claimed) = claimed else { return Ok(false) };
        self.step_closing(institution, card, claimed.operation, |_, known| {
            let known = known.ok_or(ProblemCode::StateForbids)?;
            let made = known.arrive(se).map_err(refused)?;
            Ok(made.map(|made| Decided::new(made, "card-arrived", json!({ "se": se }))))
        })
        .await?;
        Ok(true)
    }
}
