//! The books equation in production: card by card, all the time, in constant memory.
//!
//! A sweep goes through the cards in order of number, a page at a time, and checks that each card's balances
//! follow from its transfers and its transfers from its transactions. What does not hold is an incident, is
//! told as an error, and freezes the card for value. A finished sweep has added up every term of the equation.

use std::fmt::Write as _;

use tsm_api::clearing::AccountState;
use tsm_domain::money::audit::{Breach, CardSums};
use tsm_domain::money::{AccountKind, MoneyTotals};
use tsm_domain::{CardNumber, IncidentId};
use tsm_storage::StorageError;
use tsm_storage::clearing::Books;
use tsm_storage::shared::Incident;

use super::Clearing;
use super::closing::StateOnTheWire as _;
use super::watch::place_of;
use crate::names;

/// Cards checked in one step of a sweep.
pub const CARDS_PER_STEP: usize = 256;

/// So long a count that takes one step is not repeated for those who look.
const FRESH: jiff::SignedDuration = jiff::SignedDuration::from_secs(1);

/// The states by which cards are counted.
pub(super) const COUNTED_STATES: [AccountState; 6] = [
    AccountState::Opening,
    AccountState::Live,
    AccountState::Closing,
    AccountState::Parked,
    AccountState::RefundPayable,
    AccountState::Refunded,
];

/// Cards counted by state, with what their purses hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CardCounts {
    /// Number and fen, in the order of the states.
    pub states: [(u64, u64); COUNTED_STATES.len()],
    /// Of them frozen for value.
    pub frozen: u64,
}

/// Where the sweep is, and what it found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Watch {
    /// The card after which it goes on; none before the first.
    after: Option<CardNumber>,
    /// What the cards so far add up to.
    sum: MoneyTotals,
    /// The cards so far.
    counting: CardCounts,
    /// The cards of the last finished sweep.
    pub census: CardCounts,
    /// Whether the last finished sweep found the equation broken, or a card's books.
    pub alarm: bool,
    /// Cards whose books did not hold, in this sweep.
    broken_now: u64,
    /// The terms of the last finished sweep.
    pub totals: MoneyTotals,
    /// When it finished.
    pub swept_at: Option<jiff::Timestamp>,
    /// Sweeps.
    pub sweeps: u64,
    /// Cards checked in all.
    pub cards: u64,
    /// Cards whose books did not hold, in all.
    pub breaks: u64,
}

impl Watch {
    /// Whether somebody who looks now makes the watch go on: nothing was counted to the end yet, or all cards are
    /// counted in one step and that was some time ago.
    pub(super) fn goes_on_when_looked_at(&self, now: jiff::Timestamp) -> bool {
        let Some(swept_at) = self.swept_at else { return true };
        let cards: u64 = self.census.states.iter().map(|(cards, _)| cards).sum();
        let is_short = self.after.is_none() && cards < CARDS_PER_STEP as u64;
        is_short && now.duration_since(swept_at) >= FRESH
    }
}

impl CardCounts {
    fn count(&mut self, card: &CardSums) {
        let place = card.state.as_ref().and_then(|state| place_of(AccountState::of(state)));
        if let Some((cards, fen)) = place.map(|place| &mut self.states[place]) {
            *cards += 1;
            *fen += card.held.get(&AccountKind::Purse).map_or(0, |held| held.get());
        }
        self.frozen += u64::from(card.is_frozen);
    }
}

impl Clearing {
    /// Checks the next cards. Says whether the sweep has come to its end.
    pub async fn watch_books(&self) -> Result<bool, StorageError> {
        let mut watch = *self.watch.lock().await;
        let page = self.store.card_sums(watch.after, CARDS_PER_STEP).await?;
        for card in &page.cards {
            watch.cards += 1;
            watch.sum.add_all(&card.terms());
            watch.counting.count(card);
            let breaches = card.check();
            if !breaches.is_empty() {
                watch.breaks += 1;
                watch.broken_now += 1;
                self.raise(card, &breaches).await?;
            }
        }
        watch.after = page.next;
        if page.next.is_none() {
            self.end_sweep(&mut watch).await?;
        }
        *self.watch.lock().await = watch;
        Ok(page.next.is_none())
    }

    /// Checks all cards from wherever the sweep is to its end.
    pub async fn sweep_books(&self) -> Result<Watch, StorageError> {
        while !self.watch_books().await? {}
        Ok(*self.watch.lock().await)
    }

    async fn end_sweep(&self, watch: &mut Watch) -> Result<(), StorageError> {
        watch.sum.add_all(&self.store.cardless_totals().await?);
        watch.totals = std::mem::take(&mut watch.sum);
        watch.census = std::mem::take(&mut watch.counting);
        watch.alarm = std::mem::take(&mut watch.broken_now) > 0 || watch.totals.check().is_err();
        watch.swept_at = Some(self.now());
        watch.sweeps += 1;
        if let Err(imbalance) = watch.totals.check() {
            tracing::error!(%imbalance, "the money equation does not hold");
            let words = ["incident", "ledger-imbalance", &imbalance.to_string()];
            let id = IncidentId::from_uuid(names::derived(&words));
            self.store
                .record_incident(self.alarm(id, None, "ledger-imbalance", imbalance.to_string()))
                .await?;
        }
        Ok(())
    }

    /// An alarm: an incident, an error in the log, and no more value for the card.
    async fn raise(&self, sums: &CardSums, breaches: &[Breach]) -> Result<(), StorageError> {
        let words: Vec<_> = breaches.iter().map(ToString::to_string).collect();
        let text = words.join("; ");
        let kind =
            if breaches.iter().any(Breach::is_of_money) { "books-broken" } else { "parked-inconsistent" };
        tracing::error!(card = %sums.card, kind, text, "the books of a card do not hold");
        let id = IncidentId::from_uuid(names::derived(&["incident", kind, sums.card.as_str(), &text]));
        self.store.record_incident(self.alarm(id, Some(sums.card), kind, text.clone())).await?;
        if sums.is_frozen || sums.state.is_none() {
            return Ok(());
        }
        let note = self.note(sums.card, "centre", "frozen", &serde_json::json!({ "reason": kind }));
        let books = Books { notes: vec![note], ..Books::default() };
        self.store.set_frozen(sums.card, Some(text), books).await.map(drop)
    }

    fn alarm(&self, id: IncidentId, card: Option<CardNumber>, kind: &str, text: String) -> Incident {
        Incident { id, se: None, card, kind: kind.into(), text, at: self.now(), closed: None }
    }

    /// The watch as the text that Prometheus reads (exposition format 0.0.4).
    pub async fn metrics(&self) -> String {
        let watch = *self.watch.lock().await;
        let mut out = String::with_capacity(2048);
        let head = |out: &mut String, name: &str, kind: &str, help: &str| {
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        };
        head(
            &mut out,
            "opentsm_books_fen",
            "gauge",
            "Terms of the money equation at the last full check, in fen.",
        );
        for (kind, fen) in watch.totals.terms() {
            let _ = writeln!(out, "opentsm_books_fen{{term=\"{}\"}} {fen}", kind.name());
        }
        let gap = match watch.totals.check() {
            Ok(()) => 0,
            Err(imbalance) => imbalance.paid - imbalance.found,
        };
        let swept = watch.swept_at.map_or(0, jiff::Timestamp::as_second);
        for (name, kind, help, value) in [
            (
                "opentsm_books_alarm",
                "gauge",
                "1 when the last full check found the equation or a card's books broken.",
                watch.alarm.into(),
            ),
            ("opentsm_books_gap_fen", "gauge", "What came in less what is accounted for: zero.", gap),
            ("opentsm_books_breaks_total", "counter", "Cards whose books did not hold.", watch.breaks.into()),
            ("opentsm_books_cards_checked_total", "counter", "Cards checked.", watch.cards.into()),
            ("opentsm_books_checks_total", "counter", "Full checks.", watch.sweeps.into()),
            (
                "opentsm_books_checked_timestamp_seconds",
                "gauge",
                "When the last full check ended.",
                swept.into(),
            ),
        ] {
            head(&mut out, name, kind, help);
            let _ = writeln!(out, "{name} {value}");
        }
        match self.count_alarms().await {
            Ok(counts) => {
                head(&mut out, "opentsm_alarms_open", "gauge", "Alarms that nobody has ended, by kind.");
                for (kind, open) in counts {
                    let _ = writeln!(out, "opentsm_alarms_open{{kind=\"{kind}\"}} {open}");
                }
            }
            Err(error) => tracing::error!(%error, "the open alarms could not be counted"),
        }
        out
    }
}

/// A router with `/metrics` and nothing else, for a listener of its own on loopback: it asks for no identity.
pub fn metrics_router(centre: std::sync::Arc<Clearing>) -> axum::Router {
    let answer = move || {
        let centre = centre.clone();
        async move {
            let kind = [(hyper::header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
            (kind, centre.metrics().await)
        }
    };
    axum::Router::new().route("/metrics", axum::routing::get(answer))
}
