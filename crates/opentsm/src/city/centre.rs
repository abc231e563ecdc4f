//! What the clearing centre is told by the gates, and what its books say.

use std::time::Duration;

use tokio::sync::OnceCell;
use tsm_api::HexBytes;
use tsm_api::clearing::Books;
use tsm_api::clearing::collection::{FileStage, RowVerdict};
use tsm_api::clearing::evidence::{CardLine, CardsQuery, ComparisonPage, ComparisonQuery, SealsQuery};
use tsm_api::clearing::settlement::{self, DifferenceQuery, DifferenceRecord, SettlementRecord};
use tsm_api::clearing::watch::{self, Census, WatchRecord};
use tsm_api::client::{ClearingPeer, SpTsmPeer};
use tsm_api::endpoint::Nothing;
use tsm_api::signature::{MessageSigner, MessageVerifier};
use tsm_domain::money::settlement::BusinessDay;
use tsm_services::runtime::Environment;
use tsm_terminal::round::{self, Lent, Round};

use super::plan::{CityPlan, Role};
use super::terminals::Signed;
use super::{CityError, in_step, roles};
use crate::errors;
use crate::report::MoneyEquation;

/// How often, and how long apart, the centre is asked again.
const PATIENCE: u32 = 100;
const PAUSE: Duration = Duration::from_millis(50);

/// What came of a day.
pub struct DayEnd {
    /// What each operator gets.
    pub settlements: Vec<SettlementRecord>,
    /// How many lines the payment platform's statement has.
    pub statement_lines: u64,
    /// What differs between statement, ledger and cards.
    pub differences: Vec<DifferenceRecord>,
}

/// The clearing centre, as the card issuer reaches it.
pub struct Centre {
    link: ClearingPeer,
    environment: Environment,
    /// With which the centre signs lists and fares; asked for once.
    terminal_key: OnceCell<MessageVerifier>,
}

impl Centre {
    /// The centre of this plan.
    pub fn of(plan: &CityPlan) -> Result<Self, CityError> {
        let environment = roles::runtime_of(plan);
        let client = roles::partner(plan, Role::SpTsm, Role::Clearing, &environment);
        let link = ClearingPeer::new(client.map_err(in_step("reaching the clearing centre"))?);
        Ok(Self { link, environment, terminal_key: OnceCell::new() })
    }

    /// The centre's own interface.
    pub const fn link(&self) -> &ClearingPeer {
        &self.link
    }

    /// The key with which the centre signs receipts and seals.
    pub async fn receipt_key(&self) -> Result<HexBytes, CityError> {
        let page = self.link.seals(&SealsQuery::default()).await;
        Ok(page.map_err(in_step("asking for the centre's key"))?.key)
    }

    /// The card that this number, or its last digits, names.
    pub async fn card(&self, number: &str) -> Result<HexBytes, CityError> {
        let step = "finding the card";
        let mut query = CardsQuery::default();
        let mut found = Vec::new();
        loop {
            let page = self.link.cards(&query).await.map_err(in_step(step))?;
            // An application serial is a zero and the nineteen digits.
            let named = |line: &CardLine| number.len() >= 4 && line.card.to_string().ends_with(number);
            found.extend(page.cards.iter().filter(|line| named(line)).map(|line| line.card.clone()));
            match page.next {
                Some(next) => query.after = Some(next),
                None => break,
            }
        }
        match found.as_slice() {
            [card] => Ok(card.clone()),
            [] => Err(in_step(step)(format!("no card's number ends with {number}"))),
            several => {
                Err(in_step(step)(format!("{} cards end with {number}: give more digits", several.len())))
            }
        }
    }

    /// Whether the books hold, the open alarms, the open differences.
    pub async fn watch(&self) -> Result<WatchRecord, CityError> {
        let client = &self.link.client;
        client.call(&watch::WATCH, &[], &Nothing {}).await.map_err(in_step("asking for alarms"))
    }

    /// The cards counted.
    pub async fn census(&self) -> Result<Census, CityError> {
        let client = &self.link.client;
        client.call(&watch::CENSUS, &[], &Nothing {}).await.map_err(in_step("counting the cards"))
    }

    /// The first differences that nobody has settled, at most `limit`.
    pub async fn open_differences(&self, limit: usize) -> Result<Vec<DifferenceRecord>, CityError> {
        let found = self.link.client.open_differences(limit).await;
        found.map_err(in_step("reading the differences"))
    }

    /// Follows and replays the whole journal, and compares it with the books.
    pub async fn compare(&self) -> Result<ComparisonPage, CityError> {
        let step = "comparing the journal with the books";
        let mut all = self.link.comparison(&ComparisonQuery::default()).await.map_err(in_step(step))?;
        while let Some(after) = all.next.take() {
            let query = ComparisonQuery { after: Some(after) };
            let page = self.link.comparison(&query).await.map_err(in_step(step))?;
            all.chains += page.chains;
            all.entries += page.entries;
            all.transfers += page.transfers;
            all.transactions += page.transactions;
            all.paid_in_fen += page.paid_in_fen;
            all.findings.extend(page.findings);
            all.next = page.next;
        }
        Ok(all)
    }

    /// A terminal delivers what it has recorded, in batches that it signs, and fetches the list of refused cards and
    /// the fare tables.
    pub async fn round(&self, terminal: &mut impl Signed) -> Result<Round, CityError> {
        let step = "the terminal's round";
        let key = self.terminal_key.get_or_try_init(async || {
            let key = self.link.list_key().await.map_err(in_step(step))?;
            MessageVerifier::from_point(key.point.as_bytes()).map_err(in_step(step))
        });
        let key = key.await?;
        let signer = terminal.signer();
        let signer = signer.as_ref().map(|signer| signer as &dyn MessageSigner);
        let centre = round::Centre { line: &self.link, key, signer };
        let round = centre.round(terminal, self.environment.clock.now()).await;
        round.map_err(|error| in_step(step)(errors::chain(&error)))
    }

    /// Waits until the centre has taken every row of a terminal's last batch. It takes them only after the credits
    /// that come before them on the card, which reach it through the SP-TSM's outbox.
    pub async fn has_worked_through(&self, terminal: &mut impl Lent) -> Result<(), CityError> {
        let step = "delivering a gate's transactions";
        let (number, last) = terminal.lend(|terminal| (terminal.number(), terminal.state().batches().last));
        if last == 0 {
            return Ok(());
        }
        let batch = format!("{}-{last}", hex::encode(number.to_bytes()));
        for _ in 0..PATIENCE {
            let state = self.link.batch_state(&batch).await.map_err(in_step(step))?;
            let refused = state.verdicts.iter().find(|verdict| !is_taken(**verdict));
            if let Some(verdict) = refused {
                return Err(in_step(step)(format!("the centre refused one: {verdict:?}")));
            }
            if state.stage == FileStage::Taken && !state.verdicts.contains(&RowVerdict::NotYet) {
                return Ok(());
            }
            self.environment.timer.sleep(PAUSE).await;
        }
        Err(in_step(step)("the centre still waits for what comes before them"))
    }

    /// Closes and settles a day that is over, holds it against the payment statement, and says what came of
    /// both: what each operator gets, and what differs.
    pub async fn close_day(&self, day: BusinessDay) -> Result<DayEnd, CityError> {
        let day = day.to_string();
        let client = &self.link.client;
        let closed = client.call(&settlement::CLOSE_DAY, &[&day], &Nothing {}).await;
        closed.map_err(in_step("settling the day"))?;
        let step = "reconciling the day";
        let reconciled = client.call(&settlement::RECONCILE_DAY, &[&day], &Nothing {}).await;
        let reconciled = reconciled.map_err(in_step(step))?;
        let settled = client.call(&settlement::SETTLEMENTS, &[&day], &Nothing {}).await;
        let settled = settled.map_err(in_step(step))?;
        let query = DifferenceQuery { day: Some(day), ..DifferenceQuery::default() };
        let different = client.call(&settlement::DIFFERENCES, &[], &query).await.map_err(in_step(step))?;
        Ok(DayEnd {
            settlements: settled.settlements,
            statement_lines: reconciled.statement_lines,
            differences: different.differences,
        })
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

/// Whether the centre has a row, or will have it without anybody's doing.
const fn is_taken(verdict: RowVerdict) -> bool {
    matches!(
        verdict,
        RowVerdict::Recorded | RowVerdict::Duplicate | RowVerdict::LockRecorded | RowVerdict::NotYet
    )
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
        // What riders spent stays spent when operators are owed it and paid it.
        spent: [books.spent_fen, books.operator_payable_fen, books.operator_paid_fen, books.fees_fen]
            .map(fen)
            .iter()
            .sum(),
        kept_aside: fen(books.deposits_fen) + books.write_offs_fen,
        refunded: fen(books.refunded_fen),
    }
}

/// The card issuer's SP-TSM, as its own tools reach it.
pub fn issuer(plan: &CityPlan) -> Result<SpTsmPeer, CityError> {
    let environment = roles::runtime();
    let client = roles::partner(plan, Role::SpTsm, Role::SpTsm, &environment);
    Ok(SpTsmPeer::new(client.map_err(in_step("reaching the SP-TSM"))?))
}
