//! A parked card that a phone claimed and never got: a person gives it back (P-5.5.4.e, B-7.6.1.i).
//!
//! Legal only while nothing of the card was sent to that phone. From then on the phone may hold a copy that can
//! spend, and no person knows better: the card stays where it is, frozen and on the black list, until the phone
//! itself has proved what it holds.

use std::sync::Arc;

use serde_json::json;
use tsm_api::problem::{Problem, ProblemCode, both};
use tsm_api::sp_tsm::desk::CardMatter;
use tsm_api::sp_tsm::migration::MigrationRecord;
use tsm_domain::arrival::ArrivalState;
use tsm_storage::sp_tsm::With;

use super::SpTsm;
use super::access::Caller;
use super::attempts::suspicious;
use super::desk::{SERVICE, problem};
use super::migration_orders::record;
use super::stop::Stop;
use crate::server::Call;

/// Releases a dead claim.
pub(super) async fn release(
    tsm: Arc<SpTsm>,
    call: Call<Caller, CardMatter>,
) -> Result<MigrationRecord, Problem> {
    let at = tsm.at_desk(&call.caller, &call.request, SERVICE).await?;
    let arrival = tsm.store.arrival_of(at.card.card).await.map_err(problem)?;
    let arrival = arrival.ok_or_else(|| {
        Problem::because(
            ProblemCode::StateForbids,
            both("No phone has claimed the card.", "没有手机领取该卡。"),
        )
    })?;
    if !tsm.engine.tasks(&arrival.se).is_empty() {
        let reason = both(
            "The phone is at work now; look again when it has ended.",
            "手机正在操作，请待其结束后再查看。",
        );
        return Err(Problem::because(ProblemCode::StateForbids, reason));
    }
    let said = json!({ "claim": arrival.operation, "on": arrival.se, "reason": at.reason });
    match arrival.state {
        ArrivalState::Claiming | ArrivalState::Claimed => {
            let note = tsm.note_by(&at.clerk, arrival.card, "claim-released-at-desk", &said);
            // A phone that begins to write meanwhile is refused here, or is itself refused by the store.
            let ended = tsm.release_arrival(&arrival, note).await.map_err(Stop::into_problem)?;
            Ok(record(&ended))
        }
        ArrivalState::Writing | ArrivalState::GivingUp | ArrivalState::Cleared => {
            let note = tsm.note_by(&at.clerk, arrival.card, "claim-not-released", &said);
            let why = "its data were sent to a phone that has not proved whether it holds them";
            tsm.freeze_for_desk(&at.card, why).await.map_err(Stop::into_problem)?;
            tsm.store
                .set_frozen(at.card.card, Some(why.into()), With { notes: vec![note], ..With::default() })
                .await
                .map_err(problem)?;
            tsm.lose(&at.card, &at.clerk, &at.reason, &call.request.request).await?;
            Err(suspicious(why).into_problem())
        }
        ArrivalState::Opened | ArrivalState::Told | ArrivalState::GivenUp => Err(Problem::because(
            ProblemCode::StateForbids,
            both("The card is in use on the phone.", "卡片正在该手机上使用。"),
        )),
    }
}
