//! What the page shows, asked of the roles over their interfaces.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Mutex;
use tsm_api::clearing::Books;
use tsm_api::clearing::evidence::{CardFacts, CardLine, CardQuery, CardsQuery, RecentTransaction};
use tsm_api::client::SpTsmPeer;
use tsm_api::sp_tsm::evidence::FlowLine;
use uuid::Uuid;

use super::BEAT;
use super::traffic::{GateSeen, Streets};
use crate::city::centre::{self, Centre};
use crate::city::plan::CityPlan;
use crate::city::{CityError, in_step};

/// Pages of cards that are read; a larger city is shown in part, and says so.
const PAGES: usize = 4;

/// The city at one moment.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The money equation.
    pub books: Books,
    /// Cards, and the phones that carry them.
    pub cards: Vec<CardLine>,
    /// Whether there are more cards than these.
    pub more: bool,
    /// What is being done.
    pub flows: Vec<FlowLine>,
    /// What was recorded last.
    pub last: Vec<RecentTransaction>,
    /// The gates.
    pub gates: Vec<GateSeen>,
    /// Riders who live in the city now.
    pub riders: u32,
}

/// Where the page learns it.
pub struct Source {
    centre: Centre,
    issuer: SpTsmPeer,
    streets: Arc<Streets>,
    // Several people may look at once; the roles are asked once a beat.
    seen: Mutex<Option<(Instant, Seen)>>,
}

impl Source {
    /// The roles of this city.
    pub fn of(plan: &CityPlan, streets: Arc<Streets>) -> Result<Self, CityError> {
        let (centre, issuer) = (Centre::of(plan)?, centre::issuer(plan)?);
        Ok(Self { centre, issuer, streets, seen: Mutex::default() })
    }

    /// The city now, at most one beat old.
    pub async fn city(&self) -> Result<Seen, CityError> {
        let mut kept = self.seen.lock().await;
        if let Some((at, seen)) = kept.as_ref()
            && at.elapsed() < BEAT
        {
            return Ok(seen.clone());
        }
        let seen = self.look().await?;
        *kept = Some((Instant::now(), seen.clone()));
        Ok(seen)
    }

    async fn look(&self) -> Result<Seen, CityError> {
        let step = "looking at the city";
        let link = self.centre.link();
        let mut cards = Vec::new();
        let mut query = CardsQuery::default();
        let mut more = false;
        for _ in 0..PAGES {
            let page = link.cards(&query).await.map_err(in_step(step))?;
            cards.extend(page.cards);
            more = page.next.is_some();
            match page.next {
                Some(next) => query.after = Some(next),
                None => break,
            }
        }
        Ok(Seen {
            books: link.books().await.map_err(in_step(step))?,
            cards,
            more,
            flows: self.issuer.flows().await.map_err(in_step(step))?.flows,
            last: link.activity().await.map_err(in_step(step))?.last,
            gates: self.streets.gates(),
            riders: self.streets.riders(),
        })
    }

    /// A card explained, if the city has it.
    pub async fn card(&self, account: Uuid) -> Result<Option<CardFacts>, CityError> {
        let seen = self.city().await?;
        let Some(line) = seen.cards.iter().find(|line| line.account.0 == account) else { return Ok(None) };
        let facts = self.issuer.explanation(&CardQuery { card: line.card.clone() }).await;
        facts.map(Some).map_err(in_step("asking about the card"))
    }
}
