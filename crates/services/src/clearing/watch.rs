//! The endpoints of the watch: the equation, the alarms, the differences by cause, the cards counted, and the
//! gaps in the counters of cards.

use std::collections::BTreeMap;
use std::sync::Arc;

use tsm_api::clearing::AccountState;
use tsm_api::clearing::watch::{
    Alarm, CardGap, CardGapPage, CardGapQuery, CauseCount, Census, StateCount, WatchRecord,
};
use tsm_api::endpoint::Nothing;
use tsm_api::problem::Problem;
use tsm_domain::money::reconciliation::Cause;
use tsm_storage::StorageError;
use tsm_storage::clearing::collection::Counted;
use tsm_storage::clearing::settlement::DifferenceQuery;
use tsm_storage::shared::{Incident, IncidentFilter};

use super::Clearing;
use super::access::Institution;
use super::alarm::COUNTED_STATES;
use super::missing_statements::STATEMENT_OVERDUE;
use crate::purse::{card_from_wire, card_to_wire};
use crate::server::Call;
use crate::stored;

/// What is told as an alarm; other incidents are in the reconciliation view only.
const ALARMS: [&str; 5] =
    ["books-broken", "ledger-imbalance", "parked-inconsistent", "suspicious-card", STATEMENT_OVERDUE];
/// Incidents looked at, and alarms told.
const INCIDENTS: usize = 1_000;
const TOLD: usize = 50;
/// Rows read at once.
const PAGE: usize = 512;
/// Differences of one state that are counted; more are told as so many.
const MOST: usize = 20_000;

/// How the centre stands.
pub(super) async fn watch(
    centre: Arc<Clearing>,
    call: Call<Institution, Nothing>,
) -> Result<WatchRecord, Problem> {
    centre.check_desk(&call.caller.0)?;
    centre.watch_record().await.map_err(|error| stored::problem(&error))
}

/// The cards counted. A small city is counted when somebody looks, a large one a step at each round.
pub(super) async fn census(
    centre: Arc<Clearing>,
    call: Call<Institution, Nothing>,
) -> Result<Census, Problem> {
    centre.check_desk(&call.caller.0)?;
    if centre.watch.lock().await.goes_on_when_looked_at(centre.now()) {
        centre.watch_books().await.map_err(|error| stored::problem(&error))?;
    }
    let watch = *centre.watch.lock().await;
    let states = COUNTED_STATES.into_iter().zip(watch.census.states);
    Ok(Census {
        states: states.map(|(state, (cards, purses_fen))| StateCount { state, cards, purses_fen }).collect(),
        cards: watch.census.states.iter().map(|(cards, _)| cards).sum(),
        frozen: watch.census.frozen,
        counted_at: watch.swept_at,
    })
}

/// The missing transactions of the caller's cards.
pub(super) async fn card_gaps(
    centre: Arc<Clearing>,
    call: Call<Institution, CardGapQuery>,
) -> Result<CardGapPage, Problem> {
    let institution = &call.caller.0;
    let is_desk = centre.duties.is_desk(institution);
    let own: Vec<&str> = centre.duties.prefixes_of(institution).collect();
    let mut after = call.request.after.as_ref().map(card_from_wire).transpose()?.map(Counted::Card);
    let mut page = CardGapPage { gaps: Vec::new(), next: None };
    loop {
        let found = centre.store.gaps(after, PAGE).await.map_err(|error| stored::problem(&error))?;
        for (counted, numbering) in &found {
            let Counted::Card(card) = counted else { continue };
            if !is_desk && !own.iter().any(|prefix| card.as_str().starts_with(prefix)) {
                continue;
            }
            page.gaps.extend(numbering.missing().iter().map(|gap| CardGap {
                card: card_to_wire(*card),
                masked: card.to_string(),
                from: gap.from,
                to: gap.to,
                since: gap.since,
            }));
        }
        match found.last() {
            Some((Counted::Card(last), _)) if found.len() == PAGE && page.gaps.len() >= PAGE => {
                page.next = Some(card_to_wire(*last));
                return Ok(page);
            }
            Some((last, _)) if found.len() == PAGE => after = Some(*last),
            Some(_) | None => return Ok(page),
        }
    }
}

impl Clearing {
    async fn watch_record(&self) -> Result<WatchRecord, StorageError> {
        let totals = self.store.totals().await?;
        let gap = match totals.check() {
            Ok(()) => 0,
            Err(imbalance) => imbalance.paid - imbalance.found,
        };
        let narrow = |fen: i128| i64::try_from(fen).unwrap_or(if fen < 0 { i64::MIN } else { i64::MAX });
        let watch = *self.watch.lock().await;
        let alarms = self.open_alarms().await?.into_iter().take(TOLD);
        Ok(WatchRecord {
            holds: gap == 0,
            gap_fen: narrow(gap),
            written_off_fen: narrow(self.store.cardless_totals().await?.write_offs),
            checked_at: watch.swept_at,
            cards_checked: watch.cards,
            alarms: alarms
                .map(|one| Alarm {
                    kind: one.kind,
                    text: one.text,
                    card: one.card.map(|card| card.to_string()),
                    at: one.at,
                })
                .collect(),
            differences: self.count_differences().await?,
        })
    }

    /// The alarms that nobody has ended, newest first.
    async fn open_alarms(&self) -> Result<Vec<Incident>, StorageError> {
        let mut open = self.store.incidents(IncidentFilter::Open, INCIDENTS).await?;
        open.retain(|one| ALARMS.contains(&one.kind.as_str()));
        Ok(open)
    }

    /// How many alarms of each kind are open.
    pub(super) async fn count_alarms(&self) -> Result<[(&'static str, usize); ALARMS.len()], StorageError> {
        let open = self.open_alarms().await?;
        Ok(ALARMS.map(|kind| (kind, open.iter().filter(|one| one.kind == kind).count())))
    }

    async fn count_differences(&self) -> Result<Vec<CauseCount>, StorageError> {
        let mut counts: BTreeMap<Cause, CauseCount> = BTreeMap::new();
        for state in ["open", "proposed", "waiting"] {
            let (mut after, mut seen) = (None, 0);
            loop {
                let state = Some(state.to_owned());
                let query = DifferenceQuery { state, after, ..DifferenceQuery::default() };
                let page = self.store.differences(&query, PAGE).await?;
                for one in &page {
                    let cause = one.cause;
                    let count = counts.entry(cause).or_insert_with(|| CauseCount {
                        cause: cause.name().into(),
                        cause_en: cause.en().into(),
                        cause_zh: cause.zh().into(),
                        open: 0,
                        proposed: 0,
                        waiting: 0,
                    });
                    match query.state.as_deref() {
                        Some("waiting") => count.waiting += 1,
                        Some("proposed") => {
                            (count.open, count.proposed) = (count.open + 1, count.proposed + 1)
                        }
                        _ => count.open += 1,
                    }
                }
                seen += page.len();
                after = page.last().map(|last| (last.day, last.id));
                if page.len() < PAGE || seen >= MOST {
                    break;
                }
            }
        }
        Ok(counts.into_values().collect())
    }
}

/// The place of a state among those that are counted.
pub(super) fn place_of(state: AccountState) -> Option<usize> {
    COUNTED_STATES.iter().position(|counted| *counted == state)
}
