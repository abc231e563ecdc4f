//! What was kept aside and what is missing, as differences: each row that a terminal reported and the centre
//! did not take, each gap in the numbers of a card or a terminal, and each incident, with its cause. They
//! stand in the same view as what the comparison of the books finds, and two people settle them the same way.
//!
//! The identity of each follows from what it stands on, so looking again finds nothing twice. When the row is
//! taken after all, or the missing numbers come, that explains the difference.

use std::collections::{BTreeMap, HashSet};

use tsm_api::clearing::collection::BatchRow;
use tsm_domain::money::MissingNumbers;
use tsm_domain::money::reconciliation::{
    Cause, Difference, DifferenceState, Evidence, Explanation, Numbered,
};
use tsm_domain::money::settlement::BusinessDay;
use tsm_domain::money::{Numbering, TransactionKey, TransactionType};
use tsm_domain::{AsideId, DifferenceId, Fen, IncidentId};
use tsm_storage::StorageError;
use tsm_storage::clearing::Books;
use tsm_storage::clearing::collection::{AsideClosed, AsideReason, AsideRow, Counted};
use tsm_storage::clearing::settlement::DifferenceQuery;
use tsm_storage::shared::{Incident, IncidentFilter};

use super::Clearing;
use super::collection::difference_of_unreadable;
use super::parking::waiting_incident;
use crate::names;

/// Rows read at once.
const PAGE: usize = 256;
/// Incidents looked at.
const INCIDENTS: usize = 10_000;

impl Clearing {
    /// Lists what was kept aside and what is missing as differences of `day`, and explains those whose reason
    /// is gone; gives how many are new and how many were explained.
    pub(super) async fn take_suspicions(&self, day: BusinessDay) -> Result<(u64, u64), StorageError> {
        // A row that was kept aside stands for the incident that was opened for it, too.
        let mut of_rows = HashSet::new();
        let rows = self.take_aside(day, &mut of_rows).await?;
        let missing = self.take_gaps(day).await? + self.take_unfinished().await?;
        let others = missing + self.take_incidents(day, &of_rows).await?;
        Ok((rows + others, self.explain_arrivals(day).await?))
    }

    async fn take_aside(
        &self,
        day: BusinessDay,
        incidents: &mut HashSet<IncidentId>,
    ) -> Result<u64, StorageError> {
        let (mut found, mut after) = (0, None);
        loop {
            let rows = self.store.kept_aside(None, after, PAGE).await?;
            let Some(last) = rows.last() else { return Ok(found) };
            after = Some(last.place());
            incidents.extend(rows.iter().map(|row| incident_of_row(row.reported.id)));
            // Rows that cannot be read stand in the view together, as one difference of their file.
            let (of_files, own): (Vec<_>, Vec<_>) =
                rows.iter().partition(|row| difference_of_unreadable(row).is_some());
            for row in of_files {
                self.follow_its_file(row).await?;
            }
            let mut all = Vec::new();
            for row in own {
                if !self.end_unproven(row).await? {
                    all.push(self.difference_of_row(day, row));
                }
            }
            found += self.keep_new(all).await?;
        }
    }

    /// A row without TAC is over when a purchase with its counter is known: it was that one, or none at all. Says
    /// whether it is.
    async fn end_unproven(&self, row: &AsideRow) -> Result<bool, StorageError> {
        let Some(key) = key_of(row).filter(|_| row.reason == AsideReason::Unproven) else { return Ok(false) };
        if self.store.transaction(key).await?.is_none() {
            return Ok(false);
        }
        let closed = AsideClosed { at: self.now(), how: "a purchase with its counter is known".into() };
        self.store.close_aside(row.reported.id, closed, Books::default()).await?;
        Ok(true)
    }

    fn difference_of_row(&self, day: BusinessDay, row: &AsideRow) -> Difference {
        let reported = &row.reported;
        let told = told(row);
        let cause = cause_of(row.reason);
        let state = match cause {
            // Its report may still be on its way.
            Cause::AwaitsCredit | Cause::UnknownCard => {
                DifferenceState::Waiting { until: day.plus(self.duties.in_flight_days) }
            }
            _ => DifferenceState::Open,
        };
        let terminal =
            reported.terminal.map_or_else(|| "no terminal".into(), |one| format!("terminal {one}"));
        let way = reported.file.as_ref().map_or_else(|| "a notice".into(), |name| format!("file {name}"));
        Difference {
            id: identity("aside", &reported.id.to_string()),
            day,
            cause,
            reference: None,
            card: reported.card,
            transaction: key_of(row),
            ours: None,
            theirs: told.as_ref().map(|told| Fen::new(told.amount_fen.into())),
            text: format!("{}: {terminal} of {}, in {way}", row.reason.words(), reported.institution),
            evidence: Some(Evidence::Aside { row: reported.id, incident: incident_of_row(reported.id) }),
            found_at: reported.at,
            state,
        }
    }

    async fn take_gaps(&self, day: BusinessDay) -> Result<u64, StorageError> {
        let (mut found, mut after) = (0, None);
        loop {
            let page = self.store.gaps(after, PAGE).await?;
            let Some((last, _)) = page.last() else { return Ok(found) };
            after = Some(*last);
            let mut all = Vec::new();
            for (counted, numbering) in &page {
                all.extend(self.differences_of_gaps(day, *counted, numbering));
            }
            found += self.keep_new(all).await?;
        }
    }

    /// One difference for what was found missing at one time. Records come out of order, so a gap is a
    /// difference only when the next day is over.
    fn differences_of_gaps(
        &self,
        day: BusinessDay,
        counted: Counted,
        numbering: &Numbering,
    ) -> Vec<Difference> {
        let mut by_time: BTreeMap<jiff::Timestamp, Vec<&MissingNumbers>> = BTreeMap::new();
        for gap in numbering.missing() {
            by_time.entry(gap.since).or_default().push(gap);
        }
        let (of, card) = match counted {
            Counted::Card(card) => (Numbered::Card(card), Some(card)),
            Counted::Terminal(terminal) => (Numbered::Terminal(terminal), None),
            Counted::Batches(terminal) => (Numbered::Batches(terminal), None),
        };
        let of_one = |(since, gaps): (jiff::Timestamp, Vec<&MissingNumbers>)| {
            let range = |gap: &&MissingNumbers| match gap.from == gap.to {
                true => gap.from.to_string(),
                false => format!("{} to {}", gap.from, gap.to),
            };
            let missing: Vec<_> = gaps.iter().map(range).collect();
            Difference {
                id: identity("gap", &format!("{of:?} {since}")),
                day,
                cause: Cause::CounterGap,
                reference: None,
                card,
                transaction: None,
                ours: None,
                theirs: None,
                text: format!("{counted}: {} missing", missing.join(", ")),
                evidence: Some(Evidence::Missing { of, since }),
                found_at: since,
                state: DifferenceState::Waiting { until: day.next() },
            }
        };
        by_time.into_iter().map(of_one).collect()
    }

    async fn take_incidents(
        &self,
        day: BusinessDay,
        of_rows: &HashSet<IncidentId>,
    ) -> Result<u64, StorageError> {
        let open = self.store.incidents(IncidentFilter::Open, INCIDENTS).await?;
        let own = open.into_iter().filter(|incident| !of_rows.contains(&incident.id));
        self.keep_new(own.filter_map(|incident| self.standing_of(day, incident)).collect()).await
    }

    /// The difference as which an incident stands; none for kinds that reconciliation finds itself.
    fn standing_of(&self, day: BusinessDay, incident: Incident) -> Option<Difference> {
        let cause = Cause::of_incident(&incident.kind)?;
        let state = match cause {
            // The report of a load may still be on its way.
            Cause::ParkingAwaitsCredit => {
                DifferenceState::Waiting { until: day.plus(self.duties.in_flight_days) }
            }
            _ => DifferenceState::Open,
        };
        Some(Difference {
            // One incident is one difference, on the day that first saw it.
            id: difference_of_incident(incident.id),
            day,
            cause,
            reference: None,
            card: incident.card,
            transaction: None,
            ours: None,
            theirs: None,
            text: format!("{}: {}", incident.kind, incident.text),
            evidence: Some(Evidence::Incident(incident.id)),
            found_at: incident.at,
            state,
        })
    }

    /// Records an incident that stands in the view at once, since it may be over before anybody looks again.
    pub(super) async fn list_incident(&self, incident: Incident) -> Result<(), StorageError> {
        self.store.record_incident(incident.clone()).await?;
        let listed = self.standing_of(BusinessDay::of(self.now()), incident);
        self.keep_new(listed.into_iter().collect()).await.map(drop)
    }

    /// Keeps those that no day has seen.
    pub(super) async fn keep_new(&self, all: Vec<Difference>) -> Result<u64, StorageError> {
        let mut new = Vec::new();
        for one in all {
            if self.store.difference(one.id).await?.is_none() {
                new.push(one);
            }
        }
        if new.is_empty() { Ok(0) } else { Ok(self.store.put_differences(new).await? as u64) }
    }

    /// What was taken after all, and what is not missing any more.
    async fn explain_arrivals(&self, day: BusinessDay) -> Result<u64, StorageError> {
        let mut explained = 0;
        for cause in Cause::ALL.iter().copied().filter(|cause| cause.has_evidence() || cause.ends_by_itself())
        {
            for state in ["waiting", "open", "proposed"] {
                explained += self.explain_arrivals_of(day, cause, state).await?;
            }
        }
        Ok(explained)
    }

    async fn explain_arrivals_of(
        &self,
        day: BusinessDay,
        cause: Cause,
        state: &str,
    ) -> Result<u64, StorageError> {
        let (mut explained, mut after) = (0, None);
        loop {
            let query = DifferenceQuery {
                state: Some(state.to_owned()),
                cause: Some(cause),
                after,
                ..DifferenceQuery::default()
            };
            let page = self.store.differences(&query, PAGE).await?;
            let Some(last) = page.last() else { return Ok(explained) };
            after = Some((last.day, last.id));
            for known in &page {
                let Some(arrived) = self.explained_by(day, known).await? else { continue };
                self.store.change_difference(known, arrived, Books::default()).await?;
                explained += 1;
            }
        }
    }

    /// The difference with what explains it by now, if something does.
    async fn explained_by(
        &self,
        day: BusinessDay,
        known: &Difference,
    ) -> Result<Option<Difference>, StorageError> {
        if let Some((by, found_out)) = self.ended(known).await? {
            let text = found_out.map_or_else(|| known.text.clone(), |what| format!("{}; {what}", known.text));
            return Ok(Some(Difference { text, ..known.clone() }.explained(day, by)));
        }
        let arrived = self.has_arrived(known).await?;
        Ok(arrived.then(|| known.clone().explained(day, Explanation::Arrived)))
    }

    async fn has_arrived(&self, known: &Difference) -> Result<bool, StorageError> {
        match known.evidence {
            Some(Evidence::Aside { row, .. }) => {
                Ok(self.store.aside(row).await?.is_some_and(|row| row.closed.is_some()))
            }
            Some(Evidence::Missing { of, since }) => {
                let counted = match of {
                    Numbered::Card(card) => Counted::Card(card),
                    Numbered::Terminal(terminal) => Counted::Terminal(terminal),
                    Numbered::Batches(terminal) => Counted::Batches(terminal),
                };
                let numbering = self.store.numbering(counted).await?;
                Ok(numbering.missing().iter().all(|gap| gap.since != since))
            }
            Some(Evidence::Incident(incident)) => self.is_parked(known, incident).await,
            None => Ok(false),
        }
    }
}

impl Clearing {
    /// Whether the parking that an incident waits for was taken.
    async fn is_parked(&self, known: &Difference, incident: IncidentId) -> Result<bool, StorageError> {
        let Some(card) = known.card.filter(|_| known.cause == Cause::ParkingAwaitsCredit) else {
            return Ok(false);
        };
        let closings = self.store.closings_of(card).await?;
        let awaited = closings.iter().find(|closing| waiting_incident(card, closing.operation) == incident);
        Ok(awaited.is_some_and(|closing| closing.stage.parking().is_some()))
    }
}

fn told(row: &AsideRow) -> Option<BatchRow> {
    serde_json::from_str(&row.reported.text).ok()
}

/// Which transaction a row tells of, where it can be read.
fn key_of(row: &AsideRow) -> Option<TransactionKey> {
    let told = told(row)?;
    let kind = TransactionType::from_byte(told.transaction_type)?;
    Some(TransactionKey { card: row.reported.card?, counter: told.offline_counter, kind })
}

/// The incident that is opened for a row that was kept aside.
pub(super) fn incident_of_row(row: AsideId) -> IncidentId {
    IncidentId::from_uuid(names::derived(&["incident", "aside", &row.to_string()]))
}

/// The difference that an incident stands as.
pub(super) fn difference_of_incident(incident: IncidentId) -> DifferenceId {
    DifferenceId::from_uuid(names::derived(&["difference", &incident.to_string()]))
}

fn identity(kind: &str, subject: &str) -> DifferenceId {
    DifferenceId::from_uuid(names::derived(&["difference", kind, subject]))
}

const fn cause_of(reason: AsideReason) -> Cause {
    match reason {
        AsideReason::TacWrong => Cause::WrongTac,
        AsideReason::UnknownCard => Cause::UnknownCard,
        AsideReason::UnknownTerminal => Cause::UnknownTerminal,
        AsideReason::Contradicts => Cause::CardCopied,
        AsideReason::NotYet => Cause::AwaitsCredit,
        AsideReason::Unproven => Cause::Unproven,
        AsideReason::Malformed => Cause::Malformed,
    }
}
