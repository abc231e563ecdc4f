//! What terminals bring to the centre and fetch from it: notices, batches, files over a line that breaks at any
//! byte, and the list of refused cards. Some of them are away for hours or days.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::DuplexStream;
use tsm_api::clearing::ConsumptionVerdict;
use tsm_api::clearing::collection::{BatchReceipt, BatchRow, FileStage, RowVerdict, TerminalBatch};
use tsm_api::clearing::lists::{ChangesQuery, LockedCard};
use tsm_api::clearing_files::{LOCK, TransactionRecord, write_file};
use tsm_api::client::files::{FileClient, NamedFile, Organisation};
use tsm_api::client::{ClearingPeer, ClientError};
use tsm_api::signature::MessageVerifier;
use tsm_domain::TerminalNumber;
use tsm_terminal::upload;

use super::line::{Cut, LineMac, Lines};
use super::lock;
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
    fn of(&self, number: [u8; 6]) -> &ClearingPeer {
        if terminals::operator_of(number) == RAIL { &self.rail } else { &self.shops }
    }
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
}

impl Terminals {
    /// Lets every terminal deliver to the centre now and then, with hours and days in which it cannot.
    pub fn deliver(self: &Arc<Self>, centre: &Centre, every: Duration) {
        for index in 0..self.posts.len() {
            let (terminals, centre) = (self.clone(), centre.clone());
            self.executor.spawn(self.executor.owner(), async move {
                loop {
                    let factor = terminals.random.draw(|random| match random.below(200) {
                        0 => 150,
                        1..=5 => 30,
                        _ => 1,
                    });
                    let jitter = terminals.random.draw(|random| random.between(50, 150));
                    terminals.executor.sleep(every * factor * jitter as u32 / 100).await;
                    // When the days are over, somebody brings what is left.
                    if !centre.lines.may_break() {
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
        let batch = upload::next_batch(lock(&self.posts[index]).terminal_mut(), BATCH, None);
        let Ok(Some(batch)) = batch else { return };
        let Ok(receipt) = centre.of(number_of(&batch)).batch(&batch).await else { return };
        let taken = upload::delivered(lock(&self.posts[index]).terminal_mut(), &receipt);
        if taken.is_ok() {
            self.trace.aside(&Event::Delivered(index as u32 + 1, batch.rows.len() as u32));
        }
    }

    pub(super) async fn deliver_one(&self, index: usize, centre: &Centre) {
        for _ in 0..ROUND {
            let batch = upload::next_batch(lock(&self.posts[index]).terminal_mut(), BATCH, None);
            let Ok(Some(batch)) = batch else { return };
            let receipt = match Way::of(index) {
                Way::Notices => self.notify(&batch, centre).await,
                Way::Batches => self.bring_batch(&batch, centre).await,
                Way::Files => self.bring_file(&batch, centre).await,
            };
            let Some(receipt) = receipt else { return };
            self.check_verdicts(&batch, &receipt.verdicts);
            let mut post = lock(&self.posts[index]);
            for row in batch.rows.iter().filter(|row| row.tac.is_none()) {
                if let Ok(card) = row.card.as_bytes().try_into() {
                    self.truth.unproven(card, row.offline_counter, post.number, row.amount_fen);
                }
            }
            let _ = upload::delivered(post.terminal_mut(), &receipt);
            self.trace.aside(&Event::Delivered(index as u32 + 1, batch.rows.len() as u32));
        }
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

    /// Brings a batch, now and then with its notices before it, and now and then twice.
    async fn bring_batch(&self, batch: &TerminalBatch, centre: &Centre) -> Option<BatchReceipt> {
        let peer = centre.of(number_of(batch));
        let (beside, twice) = self.random.draw(|random| (random.once_in(4), random.once_in(4)));
        let notice = upload::notice_of(batch);
        if beside && !notice.transactions.is_empty() {
            let _ = peer.consumption(&notice).await;
        }
        let mut receipt = peer.batch(batch).await.ok()?;
        if twice {
            receipt = peer.batch(batch).await.ok()?;
        }
        Some(receipt)
    }

    /// Brings the same as a file. The line may break after any byte; the next one goes on.
    async fn bring_file(&self, batch: &TerminalBatch, centre: &Centre) -> Option<BatchReceipt> {
        let file = file_of(batch)?;
        let code = terminals::operator_of(number_of(batch));
        let organisation = Organisation { name: code, code };
        let mac = LineMac(centre.lines.keys());
        for _ in 0..4 {
            let left = self.random.draw(|random| break_after(random, file.content.len()));
            let line = centre.lines.open()?;
            let line: Cut<DuplexStream> = Cut::new(line, left.filter(|_| centre.lines.may_break()));
            let upload = FileClient::new(line, &mac, organisation).upload(std::slice::from_ref(&file));
            let ended = tokio::select! {
                biased;
                ended = upload => ended,
                () = self.executor.sleep(PATIENCE) => return None,
            };
            match ended {
                Ok(refused) if refused.is_empty() => return Some(received(batch, FileStage::Received)),
                Ok(refused) => {
                    let verdict = format!("{refused:?} for the file {}", file.name);
                    self.truth.find(None, Violation::HonestRefused { verdict });
                    return None;
                }
                Err(_) => {
                    self.faults.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        None
    }

    /// Fetches what changed on the list since the terminal's own version.
    pub(super) async fn fetch_list(&self, index: usize, centre: &Centre) -> Result<(), ClientError> {
        let peer = centre.of(lock(&self.posts[index]).number);
        let known = lock(&self.list_key).clone();
        let key = match known {
            Some(key) => key,
            None => {
                let told = peer.list_key().await?;
                let Ok(key) = MessageVerifier::from_point(told.point.as_bytes()) else { return Ok(()) };
                lock(&self.list_key).insert(key).clone()
            }
        };
        let since = lock(&self.posts[index]).terminal().list().list.version().0;
        let update = peer.list_changes(&ChangesQuery { since }).await?;
        let taken = lock(&self.posts[index]).terminal_mut().update_list(&update, &key);
        if let Err(error) = taken {
            let verdict = format!("terminal {} does not take the list: {error}", index + 1);
            self.truth.find(None, Violation::HonestRefused { verdict });
        }
        Ok(())
    }

    /// All that the city's terminals deliver is true, so none of it may be refused for good, but for what a card
    /// and its copy both say of themselves.
    fn check_verdicts(&self, batch: &TerminalBatch, verdicts: &[RowVerdict]) {
        use RowVerdict as Verdict;
        for (row, verdict) in batch.rows.iter().zip(verdicts) {
            let is_taken = matches!(
                verdict,
                Verdict::Recorded | Verdict::Duplicate | Verdict::LockRecorded | Verdict::NotYet
            );
            let is_contradicted = *verdict == Verdict::Contradicts && self.is_of_copied(row);
            if is_taken || is_contradicted || row.tac.is_none() {
                continue;
            }
            let serial = row.card.as_bytes().try_into().ok();
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
        _ => RowVerdict::Malformed,
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

/// The batch as a file of its own. The name follows from the batch, so that it goes on where it broke.
fn file_of(batch: &TerminalBatch) -> Option<NamedFile> {
    let terminal = TerminalNumber::from_bcd(number_of(batch)).ok()?;
    let records: Result<Vec<_>, _> =
        batch.rows.iter().map(|row| TransactionRecord::of_row(terminal, row)).collect();
    let text = write_file(20_261_121, "CENTRE", &records.ok()?).ok()?;
    let name = format!("UP{terminal}{:08}", batch.header.sequence);
    Some(NamedFile { name, content: text.into_bytes() })
}
