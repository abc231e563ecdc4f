//! What the clearing centre is told by the gates, and what its books say.

use std::time::Duration;

use tsm_api::clearing::{Books, ConsumptionReport, ConsumptionVerdict};
use tsm_api::client::ClearingPeer;
use tsm_services::runtime::Environment;

use super::plan::{CityPlan, Role};
use super::{CityError, in_step, roles};
use crate::report::MoneyEquation;

/// How often, and how long apart, the centre is asked again.
const PATIENCE: u32 = 100;
const PAUSE: Duration = Duration::from_millis(50);

/// The clearing centre, as the card issuer reaches it.
pub struct Centre {
    link: ClearingPeer,
    environment: Environment,
}

impl Centre {
    /// The centre of this plan.
    pub fn of(plan: &CityPlan) -> Result<Self, CityError> {
        let environment = roles::runtime();
        let client = roles::partner(plan, Role::SpTsm, Role::Clearing, &environment);
        let link = ClearingPeer::new(client.map_err(in_step("reaching the clearing centre"))?);
        Ok(Self { link, environment })
    }

    /// Delivers a gate's transactions until the centre has taken them all. It takes them only after
    /// the credits that come before them on the card, which reach it through the SP-TSM's outbox.
    pub async fn deliver(&self, batch: &ConsumptionReport) -> Result<(), CityError> {
        let step = "delivering a gate's transactions";
        for _ in 0..PATIENCE {
            let receipt = self.link.consumption(batch).await.map_err(in_step(step))?;
            let refused = receipt.verdicts.iter().find(|verdict| match verdict {
                ConsumptionVerdict::Recorded | ConsumptionVerdict::Duplicate | ConsumptionVerdict::NotYet => {
                    false
                }
                ConsumptionVerdict::TacWrong
                | ConsumptionVerdict::UnknownCard
                | ConsumptionVerdict::Contradicts
                | ConsumptionVerdict::Malformed => true,
            });
            if let Some(verdict) = refused {
                return Err(in_step(step)(format!("the centre refused one: {verdict:?}")));
            }
            if !receipt.verdicts.contains(&ConsumptionVerdict::NotYet) {
                return Ok(());
            }
            self.environment.timer.sleep(PAUSE).await;
        }
        Err(in_step(step)("the centre still waits for what comes before them"))
    }

    /// The books at the end of a day, when nothing is in flight any more. Credits reach the centre
    /// through the SP-TSM's outbox, shortly after the rider has them.
    pub async fn settled(&self) -> Result<MoneyEquation, CityError> {
        self.books_when(|books| books.in_flight == 0 && books.holds()).await
    }

    /// The books in the middle of a day: riders may have paid for what is on no card yet.
    pub async fn balanced(&self) -> Result<MoneyEquation, CityError> {
        self.books_when(MoneyEquation::holds).await
    }

    /// The books, when they are as they should be or the patience is at its end.
    async fn books_when(&self, right: impl Fn(&MoneyEquation) -> bool) -> Result<MoneyEquation, CityError> {
        let mut books = self.books().await?;
        for _ in 0..PATIENCE {
            if right(&books) {
                break;
            }
            self.environment.timer.sleep(PAUSE).await;
            books = self.books().await?;
        }
        Ok(books)
    }

    async fn books(&self) -> Result<MoneyEquation, CityError> {
        let books = self.link.books().await.map_err(in_step("reading the clearing centre's books"))?;
        Ok(equation(&books))
    }
}

fn equation(books: &Books) -> MoneyEquation {
    let fen = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    MoneyEquation {
        paid_in: fen(books.paid_in_fen),
        cash_in: fen(books.cash_in_fen),
        purses: fen(books.purses_fen),
        in_flight: fen(books.in_flight_fen),
        parked: fen(books.parked_fen),
        refund_payable: fen(books.refund_payable_fen),
        spent: fen(books.spent_fen),
        refunded: fen(books.refunded_fen),
    }
}
