//! The first fare table of a city: one of the centre's clerks proposes it, the other publishes it.

use tsm_api::clearing::fares::{self, FareDecision, NewFares};
use tsm_api::clearing::lists::Decision;
use tsm_api::endpoint::Nothing;
use tsm_domain::money::fare::FareTable;
use tsm_domain::money::settlement::BusinessDay;

use super::clerks::{self, At};
use super::plan::CityPlan;
use super::{CityError, in_step, roles};

/// Publishes a fare table that is in force from the beginning of this day.
pub async fn publish(plan: &CityPlan, table: &FareTable) -> Result<(), CityError> {
    let step = "publishing the fare table";
    let text = serde_json::to_string(table).map_err(in_step(step))?;
    let today = BusinessDay::of(roles::runtime_of(plan).clock.now());
    let new = NewFares { valid_from: today.previous().cut(), valid_until: None, text };
    let [proposer, publisher] = clerks::CENTRE_PEOPLE;
    let proposer = clerks::log_in(At::Centre, plan, proposer, None).await?;
    let proposed = proposer.call(&fares::PROPOSE, &[], &new).await.map_err(in_step(step))?;
    let decision = FareDecision { digest: proposed.digest, decision: Decision::Approve };
    let publisher = clerks::log_in(At::Centre, plan, publisher, None).await?;
    let version = proposed.version.to_string();
    publisher.call(&fares::DECIDE, &[&version], &decision).await.map_err(in_step(step))?;
    for person in [proposer, publisher] {
        person.call(&At::Centre.endpoints().logout, &[], &Nothing {}).await.map_err(in_step(step))?;
    }
    Ok(())
}
