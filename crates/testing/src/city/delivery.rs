//! What terminals bring to the centre and fetch from it: notices, batches, files over a line that breaks at any
//! byte, and the list of refused cards. Some of them are away for hours or days.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::DuplexStream;
use tsm_api::clearing::ConsumptionVerdict;
use tsm_api::clearing::collection::{BatchReceipt, BatchRow, FileStage, RowVerdict, TerminalBatch};
use tsm_api::clearing::lists::LockedCard;
use tsm_api::clearing_files::LOCK;
use tsm_api::clearing_transport::Outcome;
use tsm_api::client::files::{FileClient, NamedFile, Organisation};
use tsm_api::client::{ClearingPeer, ClientError};
use tsm_api::signature::MessageVerifier;
use tsm_terminal::round::{Centre as FromCentre, RoundError};
use tsm_terminal::upload::{self, Delivery};

use super::counts::{Doing, Kind};
use super::executor::Executor;
use super::fares::InPost;
use super::keys;
use super::line::{Cut, LineMac, Lines};
use super::lock;
use super::meddling::{DATE, RECEIVER, ending_of};
use super::random::Random;
use super::terminals::{self, RAIL, Terminals};
use super::trace::Event;
use super::violation::Violation;

/// Transactions in one delivery.
const BATCH: usize = 200;
/// Deliveries in one round.
const ROUND: usize = 50;
/// How long a terminal waits on a line that says nothing.
const PATIENCE: Duration = Duration::from_secs(90);

/// The operators' ways to the centre.
#[derive(Clone)]
pub struct Centre {
    /// That of the gates' operator.
    pub rail: ClearingPeer,
    /// That of the shops' and buses'.
    pub shops: ClearingPeer,
    /// Lines for files.
    pub lines: Lines,
}

impl Centre {
    pub(super) fn of(&self, number: [u8; 6]) -> &ClearingPeer {
        if terminals::operator_of(number) == RAIL { &self.rail } else { &self.shops }
    }
}

/// What reaches the centre before a terminal's batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    /// Its purchases as a notice.
    Notice,
    /// The batch itself.
    Itself,
    /// The batch, altered by somebody.
    Altered,
}

/// How a terminal delivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Notices only.
    Notices,
    /// Batches, some of them twice, with notices beside them.
    Batches,
    /// Files over a line.
    Files,
}

impl Way {
    const fn of(index: usize) -> Self {
        match index % 3 {
            0 => Self::Notices,
            1 => Self::Batches,
            _ => Self::Files,
        }
    }

    const fn doing(self) -> Doing {
        match self {
            Self::Notices => Doing::Notices,
            Self::Batches => Doing::Batch,
            Self::Files => Doing::File,
        }
    }
}

/// How a city's days go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Days {
    /// Anything may go wrong.
    Rough,
    /// Nothing does any more, and riders settle.
    Calm,
    /// Every rider has.
    Over,
}

/// Lets so many rounds pass, while anything may go wrong; else one.
async fn away(executor: &Executor, rounds: u32, round: Duration, days: impl Fn() -> Days) {
    for _ in 0..rounds {
        executor.sleep(round).await;
        if days() != Days::Rough {
            return;
        }
    }
}

impl Terminals {
    /// Lets every terminal deliver to the centre now and then, with hours and days in which it cannot. While riders
    /// settle none is away: one of them may wait for the word of the till that debited his card.
    pub fn deliver(
        self: &Arc<Self>,
        centre: &Centre,
        every: Duration,
        days: impl Fn() -> Days + Clone + Send + Sync + 'static,
    ) {
        for index in 0..self.posts.len() {
            let (terminals, centre, days) = (self.clone(), centre.clone(), days.clone());
            self.executor.spawn(self.executor.owner(), async move {
                loop {
                    let rounds = terminals.random.draw(|random| match random.below(200) {
                        0 => 150,
                        1..=5 => 30,
                        _ => 1,
                    });
                    let jitter = terminals.random.draw(|random| random.between(50, 150));
                    away(&terminals.executor, rounds, every * jitter as u32 / 100, &days).await;
                    // Somebody brings what is left.
                    if days() == Days::Over {
                        return;
                    }
                    terminals.deliver_one(index, &centre).await;
                    if terminals.random.draw(|random| random.once_in(3)) {
                        let _ = terminals.fetch_list(index, &centre).await;
                    }
                    terminals.fetch_fares(index, &centre).await;
                }
            });
        }
    }

    /// Lets every terminal deliver until nothing is left, or the patience is at its end.
    pub async fn deliver_all(&self, centre: &Centre) {
        for post in &self.posts {
            let _ = lock(post).terminal_mut().abandon_pending();
        }
        for _ in 0..20 {
            for index in 0..self.posts.len() {
                self.deliver_one(index, centre).await;
            }
            if self.undelivered() == 0 {
                return;
            }
            self.executor.sleep(Duration::from_secs(600)).await;
        }
    }

    /// A terminal delivers its next batch whole, once.
    pub(super) async fn deliver_batch(&self, index: usize, centre: &Centre) {
        if let Ok(Some(brought)) =
            self.round(index, centre, None).bring(&mut InPost(&self.posts[index])).await
            && brought.delivery == Delivery::Taken
        {
            self.trace.aside(&Event::Delivered(index as u32 + 1, brought.batch.rows.len() as u32));
        }
    }

    pub(super) async fn deliver_one(&self, index: usize, centre: &Centre) {
        for _ in 0..ROUND {
            let brought = match Way::of(index) {
                Way::Batches => self.bring_batch(index, centre).await,
                Way::Notices | Way::Files => self.bring_otherwise(index, centre).await,
            };
            let Some((batch, receipt)) = brought else { return };
            self.tally.doing(Way::of(index).doing());
            self.check_verdicts(&batch, &receipt.verdicts);
            let number = number_of(&batch);
            for row in batch.rows.iter().filter(|row| row.tac.is_none()) {
                if let Ok(card) = row.card.as_bytes().try_into() {
                    self.truth.unproven(card, row.offline_counter, number, row.amount_fen);
                }
            }
            self.trace.aside(&Event::Delivered(index as u32 + 1, batch.rows.len() as u32));
        }
    }

    /// The centre, as this terminal makes its rounds with it.
    fn round<'a>(
        &self,
        index: usize,
        centre: &'a Centre,
        key: Option<&'a MessageVerifier>,
    ) -> FromCentre<'a> {
        let own = &keys::terminal_keys()[index];
        let line = centre.of(lock(&self.posts[index]).number);
        FromCentre { line, key: key.unwrap_or(&own.verifier), signer: Some(&own.signer) }
    }

    /// The batch that the terminal delivers next, as it signs it.
    fn signed_batch(&self, index: usize) -> Option<TerminalBatch> {
        let signer = &keys::terminal_keys()[index].signer;
        let batch = upload::next_batch(lock(&self.posts[index]).terminal_mut(), BATCH, Some(signer));
        batch.ok().flatten()
    }

    /// Delivers as notices or as a file; gives what the centre has now, and the terminal has forgotten.
    async fn bring_otherwise(&self, index: usize, centre: &Centre) -> Option<(TerminalBatch, BatchReceipt)> {
        let batch = self.signed_batch(index)?;
        let receipt = match Way::of(index) {
            Way::Notices => self.notify(&batch, centre).await?,
            Way::Batches | Way::Files => self.bring_file(&batch, centre).await?,
        };
        let _ = upload::delivered(lock(&self.posts[index]).terminal_mut(), &receipt);
        Some((batch, receipt))
    }

    /// Tells the proven purchases of a batch. What the centre cannot take yet is told again.
    async fn notify(&self, batch: &TerminalBatch, centre: &Centre) -> Option<BatchReceipt> {
        let report = upload::notice_of(batch);
        let mut told = Vec::new();
        if !report.transactions.is_empty() {
            let receipt = centre.of(number_of(batch)).consumption(&report).await.ok()?;
            told = receipt.verdicts.into_iter().map(of_notice).collect();
            if self.waits_for_credit(batch, &told) {
                return None;
            }
        }
        self.report_locks(batch, centre).await?;
        let mut told = told.into_iter();
        let verdict = |row: &BatchRow| match row.tac {
            Some(_) => told.next().unwrap_or(RowVerdict::Malformed),
            None => RowVerdict::Unproven,
        };
        let verdicts = batch.rows.iter().map(verdict).collect();
        Some(BatchReceipt { verdicts, ..received(batch, FileStage::Taken) })
    }

    /// Whether something is to be told again. Of a copied card it is not: no credit of it is on its way, and the
    /// centre keeps aside what it was told.
    fn waits_for_credit(&self, batch: &TerminalBatch, told: &[RowVerdict]) -> bool {
        let rows = batch.rows.iter().filter(|row| row.tac.is_some()).zip(told);
        rows.filter(|(_, verdict)| **verdict == RowVerdict::NotYet).any(|(row, _)| !self.is_of_copied(row))
    }

    fn is_of_copied(&self, row: &BatchRow) -> bool {
        row.card.as_bytes().try_into().is_ok_and(|serial| self.truth.is_copied(serial))
    }

    /// Notices have no place for locks, which are reported one by one.
    async fn report_locks(&self, batch: &TerminalBatch, centre: &Centre) -> Option<()> {
        for row in batch.rows.iter().filter(|row| row.transaction_type == LOCK) {
            let lock = LockedCard {
                terminal: batch.header.terminal.clone(),
                number: row.number,
                card: row.card.clone(),
                list_version: 0,
                date: row.date.clone(),
                time: row.time.clone(),
            };
            centre.of(number_of(batch)).report_locked(&lock).await.ok()?;
        }
        Some(())
    }

    /// Brings a batch as terminals do on their rounds: now and then with its notices before it, now and then after
    /// somebody has brought another in its place, and now and then twice.
    async fn bring_batch(&self, index: usize, centre: &Centre) -> Option<(TerminalBatch, BatchReceipt)> {
        let before = self.random.draw(|random| match random.below(16) {
            0..=3 => Some(Before::Notice),
            4..=6 => Some(Before::Itself),
            7 if centre.lines.may_break() => Some(Before::Altered),
            _ => None,
        });
        if let Some(before) = before {
            let batch = self.signed_batch(index)?;
            let (peer, notice) = (centre.of(number_of(&batch)), upload::notice_of(&batch));
            match before {
                Before::Notice if notice.transactions.is_empty() => {}
                Before::Notice => drop(peer.consumption(&notice).await),
                Before::Itself => drop(peer.batch(&batch).await),
                Before::Altered => self.bring_altered_batch(&batch, peer).await,
            }
        }
        let brought = self.round(index, centre, None).bring(&mut InPost(&self.posts[index])).await;
        let brought = brought.ok().flatten().filter(|brought| brought.delivery == Delivery::Taken)?;
        Some((brought.batch, brought.receipt))
    }

    /// Brings the same as a file, with its terminal's signature beside it.
    async fn bring_file(&self, batch: &TerminalBatch, centre: &Centre) -> Option<BatchReceipt> {
        let meddles = self.random.draw(|random| random.once_in(16));
        if meddles
            && centre.lines.may_break()
            && let Some(altered) = self.altered_files(batch)
        {
            let refused = self.carry_files(batch, &altered.files, centre).await;
            self.heard_of_altered(altered, refused.as_deref());
        }
        let ending = ending_of(batch);
        let files = upload::files_of(batch, &ending, DATE, RECEIVER).ok()?;
        self.meddled.set_out(&ending);
        let refused = self.carry_files(batch, &files, centre).await?;
        if let Some((place, outcome)) = refused.first() {
            let verdict = format!("{outcome:?} for the file {}", files[*place].name);
            self.truth.find(None, Violation::HonestRefused { verdict });
            return None;
        }
        Some(received(batch, FileStage::Received))
    }

    /// Carries files over a line. It may break after any byte; the next one goes on. Gives those that the centre
    /// refused.
    async fn carry_files(
        &self,
        batch: &TerminalBatch,
        files: &[NamedFile],
        centre: &Centre,
    ) -> Option<Vec<(usize, Outcome)>> {
        let code = terminals::operator_of(number_of(batch));
        let organisation = Organisation { name: code, code };
        let mac = LineMac(centre.lines.keys());
        let size = files.iter().map(|file| file.content.len()).sum();
        for _ in 0..4 {
            let left = self.random.draw(|random| break_after(random, size));
            let line = centre.lines.open()?;
            let line: Cut<DuplexStream> = Cut::new(line, left.filter(|_| centre.lines.may_break()));
            let upload = FileClient::new(line, &mac, organisation).upload(files);
            let ended = tokio::select! {
                biased;
                ended = upload => ended,
                () = self.executor.sleep(PATIENCE) => return None,
            };
            match ended {
                // It cannot take them now, which is no refusal: they are brought again.
                Ok(refused) if refused.iter().any(|(_, outcome)| *outcome == Outcome::Unavailable) => {
                    return None;
                }
                Ok(refused) => return Some(refused),
                Err(_) => self.tally.fault(Kind::Line),
            }
        }
        None
    }

    /// Fetches what changed on the list since the terminal's own version.
    pub(super) async fn fetch_list(&self, index: usize, centre: &Centre) -> Result<(), ClientError> {
        let known = lock(&self.list_key).clone();
        let key = match known {
            Some(key) => key,
            None => {
                let number = lock(&self.posts[index]).number;
                let told = centre.of(number).list_key().await?;
                let Ok(key) = MessageVerifier::from_point(told.point.as_bytes()) else { return Ok(()) };
                lock(&self.list_key).insert(key).clone()
            }
        };
        let round = self.round(index, centre, Some(&key));
        match round.fetch_list(&mut InPost(&self.posts[index])).await {
            Err(RoundError::List(error)) => Err(error),
            Err(RoundError::ListRefused(error)) => {
                let verdict = format!("terminal {} does not take the list: {error}", index + 1);
                self.truth.find(None, Violation::HonestRefused { verdict });
                Ok(())
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// All that the city's terminals deliver is true, so none of it may be refused for good, but for what a card
    /// and its copy both say of themselves. What needs a report that is still on its way, a load's or that of the
    /// card's opening, waits for it at the centre; the books show in the end whether it was taken.
    fn check_verdicts(&self, batch: &TerminalBatch, verdicts: &[RowVerdict]) {
        use RowVerdict as Verdict;
        for (row, verdict) in batch.rows.iter().zip(verdicts) {
            let is_taken = matches!(
                verdict,
                Verdict::Recorded | Verdict::Duplicate | Verdict::LockRecorded | Verdict::NotYet
            );
            let is_contradicted = *verdict == Verdict::Contradicts && self.is_of_copied(row);
            let serial = row.card.as_bytes().try_into().ok();
            let is_early =
                *verdict == Verdict::UnknownCard && serial.is_some_and(|it| self.truth.is_opened(it));
            if is_taken || is_contradicted || is_early || row.tac.is_none() {
                continue;
            }
            let rider = serial.and_then(|serial| self.truth.holder(serial));
            let verdict = format!("{verdict:?} for {row:?}");
            self.truth.find(rider, Violation::HonestRefused { verdict });
        }
    }
}

const fn of_notice(verdict: ConsumptionVerdict) -> RowVerdict {
    match verdict {
        ConsumptionVerdict::Recorded => RowVerdict::Recorded,
        ConsumptionVerdict::Duplicate => RowVerdict::Duplicate,
        ConsumptionVerdict::NotYet => RowVerdict::NotYet,
        ConsumptionVerdict::TacWrong => RowVerdict::TacWrong,
        ConsumptionVerdict::UnknownCard => RowVerdict::UnknownCard,
        ConsumptionVerdict::Contradicts => RowVerdict::Contradicts,
        ConsumptionVerdict::Unproven => RowVerdict::Unproven,
        ConsumptionVerdict::Malformed => RowVerdict::Malformed,
    }
}

/// After how many bytes a line breaks, if it does.
fn break_after(random: &mut Random, size: usize) -> Option<usize> {
    random.once_in(3).then(|| random.below(size as u64 + 400) as usize)
}

fn number_of(batch: &TerminalBatch) -> [u8; 6] {
    batch.header.terminal.as_bytes().try_into().unwrap_or_default()
}

fn received(batch: &TerminalBatch, stage: FileStage) -> BatchReceipt {
    BatchReceipt {
        terminal: batch.header.terminal.clone(),
        sequence: batch.header.sequence,
        stage,
        verdicts: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use jiff::{SignedDuration, Timestamp};

    use super::*;

    const ROUND: Duration = Duration::from_secs(900);

    /// A terminal that is away for a day and a half is back within a round when riders begin to settle, for one of
    /// them may wait for its word.
    #[test]
    fn a_terminal_that_is_away_comes_back_when_riders_settle() {
        let executor = Executor::new(Timestamp::UNIX_EPOCH, Random::new(1, 1));
        let (clock, timer) = (executor.clone(), executor.clone());
        let days = move || if clock.now().as_second() < 7_000 { Days::Rough } else { Days::Calm };
        let there = Arc::new(AtomicBool::new(false));
        let back = there.clone();
        executor.spawn(executor.owner(), async move {
            away(&timer, 150, ROUND, days).await;
            back.store(true, Ordering::Relaxed);
        });
        let at = |seconds| Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds);
        executor.run_until(at(7_100), |_| {});
        assert!(!there.load(Ordering::Relaxed), "nothing has called it back before");
        executor.run_until(at(7_900), |_| {});
        assert!(there.load(Ordering::Relaxed));
    }
}
