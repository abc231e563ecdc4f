//! What the page shows, asked of the roles over their interfaces.
//!
//! A large city is shown as counts, which the centre keeps, and one page of cards; the page asks for no more than
//! it shows.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Mutex;
use tsm_api::HexBytes;
use tsm_api::clearing::Books;
use tsm_api::clearing::evidence::{CardFacts, CardLine, CardPage, CardQuery, CardsQuery, RecentTransaction};
use tsm_api::clearing::settlement::DifferenceRecord;
use tsm_api::clearing::watch::{Census, WatchRecord};
use tsm_api::client::SpTsmPeer;
use tsm_api::sp_tsm::evidence::FlowLine;
use uuid::Uuid;

use super::BEAT;
use super::traffic::{GateSeen, Streets};
use crate::city::centre::{self, Centre};
use crate::city::plan::CityPlan;
use crate::city::{CityError, in_step};

/// Differences that are shown; how many there are of each cause is told.
const DIFFERENCES: usize = 12;
/// Cards whose numbers are remembered behind the links to their pages.
const REMEMBERED: usize = 20_000;
/// Pages that are looked through for a card that a link names and nobody has listed.
const SEARCHED: usize = 400;

/// Which cards a person wants to see.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    /// The page, from 1.
    pub page: usize,
    /// Only cards whose numbers end with these digits.
    pub ending: Option<String>,
}

/// Some cards.
#[derive(Debug, Clone, Default)]
pub struct Cards {
    /// The cards.
    pub lines: Vec<CardLine>,
    /// Whether there are more after them.
    pub more: bool,
}

/// The city at one moment.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The money equation; none when it does not hold, which the watch then says.
    pub books: Option<Books>,
    /// Whether the books hold, the alarms, the differences by cause.
    pub watch: WatchRecord,
    /// All cards, counted.
    pub census: Census,
    /// The differences that somebody has to look at, the oldest of them.
    pub differences: Vec<DifferenceRecord>,
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
    /// Where each page of cards begins, as far as somebody has turned them.
    pages: Mutex<Vec<HexBytes>>,
    /// The cards behind the links. A card's number is in no address.
    numbers: Mutex<HashMap<Uuid, HexBytes>>,
}

impl Source {
    /// The roles of this city.
    pub fn of(plan: &CityPlan, streets: Arc<Streets>) -> Result<Self, CityError> {
        let (centre, issuer) = (Centre::of(plan)?, centre::issuer(plan)?);
        Ok(Self {
            centre,
            issuer,
            streets,
            seen: Mutex::default(),
            pages: Mutex::default(),
            numbers: Mutex::default(),
        })
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
        let watch = self.centre.watch().await?;
        // Books that do not balance are not shown as if they did: the alarm is.
        let books = match link.books().await {
            Ok(books) => Some(books),
            Err(_) if !watch.holds => None,
            Err(error) => return Err(in_step(step)(error)),
        };
        Ok(Seen {
            books,
            watch,
            census: self.centre.census().await?,
            differences: self.centre.open_differences(DIFFERENCES).await?,
            flows: self.issuer.flows().await.map_err(in_step(step))?.flows,
            last: link.activity().await.map_err(in_step(step))?.last,
            gates: self.streets.gates(),
            riders: self.streets.riders(),
        })
    }

    /// The cards that a person wants to see.
    pub async fn cards(&self, wanted: &Wanted) -> Result<Cards, CityError> {
        if let Some(ending) = &wanted.ending {
            let query = CardsQuery { after: None, ending: Some(ending.clone()) };
            let page = self.page(&query).await?;
            return Ok(Cards { more: page.next.is_some(), lines: page.cards });
        }
        let mut begins = self.pages.lock().await.clone();
        let wanted = wanted.page.max(1);
        loop {
            let at = wanted.min(begins.len() + 1);
            let after = at.checked_sub(2).and_then(|before| begins.get(before).cloned());
            let page = self.page(&CardsQuery { after, ending: None }).await?;
            if let (Some(next), true) = (&page.next, begins.len() + 1 == at) {
                begins.push(next.clone());
                self.pages.lock().await.clone_from(&begins);
            }
            if at == wanted || page.next.is_none() {
                return Ok(Cards { more: page.next.is_some(), lines: page.cards });
            }
        }
    }

    async fn page(&self, query: &CardsQuery) -> Result<CardPage, CityError> {
        let page = self.centre.link().cards(query).await.map_err(in_step("reading the cards"))?;
        let mut numbers = self.numbers.lock().await;
        if numbers.len() > REMEMBERED {
            numbers.clear();
        }
        numbers.extend(page.cards.iter().map(|line| (line.account.0, line.card.clone())));
        Ok(page)
    }

    /// A card explained, if the city has it.
    pub async fn card(&self, account: Uuid) -> Result<Option<CardFacts>, CityError> {
        let Some(card) = self.number(account).await? else { return Ok(None) };
        let facts = self.issuer.explanation(&CardQuery { card }).await;
        facts.map(Some).map_err(in_step("asking about the card"))
    }

    async fn number(&self, account: Uuid) -> Result<Option<HexBytes>, CityError> {
        let known = async || self.numbers.lock().await.get(&account).cloned();
        if let Some(card) = known().await {
            return Ok(Some(card));
        }
        let mut query = CardsQuery::default();
        for _ in 0..SEARCHED {
            let page = self.page(&query).await?;
            if let Some(card) = known().await {
                return Ok(Some(card));
            }
            match page.next {
                Some(next) => query.after = Some(next),
                None => break,
            }
        }
        Ok(None)
    }
}
