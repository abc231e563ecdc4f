//! A terminal's round with the clearing centre, when there is a network: what it recorded goes up in batches that it
//! signs; the list of refused cards and the fare tables come down, each verified with the centre's key.
//!
//! The terminal is lent for a moment at a time, so that it serves cards between two requests. A round that breaks
//! anywhere has lost nothing: the next one asks again.

use jiff::Timestamp;
use tsm_api::{
    HexBytes,
    clearing::{
        collection::{BatchReceipt, TerminalBatch},
        lists::{ChangesQuery, TerminalStatus},
    },
    client::{ClearingPeer, ClientError},
    signature::{MessageSigner, MessageVerifier},
};
use tsm_domain::money::fare::FareBook;

use crate::{
    centre_fares::FaresUpdateError,
    psam::CardKeys,
    store::{StoreError, TerminalStore},
    terminal::{ListUpdateError, Terminal},
    upload::{self, Delivery, UploadError},
};

/// Records in one batch.
const BATCH: usize = 500;

/// A terminal that somebody keeps, and lends.
pub trait Lent {
    /// The keys of its PSAM.
    type Keys: CardKeys;
    /// Where it writes things down.
    type Store: TerminalStore;

    /// Lends it for one piece of work.
    fn lend<T>(&mut self, work: impl FnOnce(&mut Terminal<Self::Keys, Self::Store>) -> T) -> T;
}

impl<K: CardKeys, S: TerminalStore> Lent for Terminal<K, S> {
    type Keys = K;
    type Store = S;

    fn lend<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> T {
        work(self)
    }
}

/// The centre, as a terminal reaches it.
#[derive(Clone, Copy)]
pub struct Centre<'a> {
    /// The line of the terminal's operator.
    pub line: &'a ClearingPeer,
    /// The key with which the centre signs lists and fares. A terminal in the field has it in its configuration.
    pub key: &'a MessageVerifier,
    /// Signs the terminal's batches; a centre that knows a key of the terminal wants them signed.
    pub signer: Option<&'a dyn MessageSigner>,
}

/// What a round came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Round {
    /// Records that the centre has now, and the terminal has forgotten.
    pub delivered: usize,
    /// Records that the terminal still has.
    pub waiting: usize,
}

/// A batch that was brought to the centre.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Brought {
    /// The batch.
    pub batch: TerminalBatch,
    /// What the centre said of it.
    pub receipt: BatchReceipt,
    /// What the terminal made of that.
    pub delivery: Delivery,
}

/// Why a round ended early. What was done before stays done.
#[derive(Debug, thiserror::Error)]
pub enum RoundError {
    /// A batch was not taken.
    #[error("the centre did not take the batch")]
    Batch(#[source] ClientError),
    /// The list was not told.
    #[error("the centre's list could not be read")]
    List(#[source] ClientError),
    /// The terminal's state was not taken, and the fares not told.
    #[error("the centre did not answer the terminal")]
    Status(#[source] ClientError),
    /// A fare table was not told.
    #[error("the fare table could not be read")]
    Fares(#[source] ClientError),
    /// No batch can be made.
    #[error(transparent)]
    Upload(#[from] UploadError),
    /// The list is not taken.
    #[error(transparent)]
    ListRefused(#[from] ListUpdateError),
    /// A fare table is not taken.
    #[error(transparent)]
    FaresRefused(#[from] FaresUpdateError),
    /// The terminal's store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Centre<'_> {
    /// Delivers everything, then brings list and fares up to date.
    pub async fn round(&self, terminal: &mut impl Lent, now: Timestamp) -> Result<Round, RoundError> {
        let mut delivered = 0;
        while let Some(count) = self.deliver(terminal).await? {
            delivered += count;
        }
        self.fetch_list(terminal).await?;
        self.fetch_fares(terminal, now).await?;
        let waiting = terminal.lend(|terminal| terminal.state().undelivered());
        Ok(Round { delivered, waiting })
    }

    /// Delivers one batch: how many records the centre took, or none when nothing more can be delivered now.
    pub async fn deliver(&self, terminal: &mut impl Lent) -> Result<Option<usize>, RoundError> {
        let brought = self.bring(terminal).await?;
        let taken = brought.filter(|brought| brought.delivery == Delivery::Taken);
        Ok(taken.map(|brought| brought.batch.rows.len()))
    }

    /// Brings one batch, and says what became of it; none when there is nothing to deliver.
    pub async fn bring(&self, terminal: &mut impl Lent) -> Result<Option<Brought>, RoundError> {
        let signer = self.signer;
        let batch = terminal.lend(|terminal| upload::next_batch(terminal, BATCH, signer))?;
        let Some(batch) = batch else { return Ok(None) };
        let receipt = self.line.batch(&batch).await.map_err(RoundError::Batch)?;
        let delivery = terminal.lend(|terminal| upload::delivered(terminal, &receipt))?;
        Ok(Some(Brought { batch, receipt, delivery }))
    }

    /// Fetches what changed on the list of refused cards since the terminal's own version.
    pub async fn fetch_list(&self, terminal: &mut impl Lent) -> Result<(), RoundError> {
        let since = terminal.lend(|terminal| terminal.list().list.version().0);
        let update = self.line.list_changes(&ChangesQuery { since }).await.map_err(RoundError::List)?;
        Ok(terminal.lend(|terminal| terminal.update_list(&update, self.key))?)
    }

    /// Tells what the terminal has, learns which fare tables there are, and fetches those that it does not hold. A
    /// terminal that takes no fares from the centre tells only what it has.
    pub async fn fetch_fares(&self, terminal: &mut impl Lent, now: Timestamp) -> Result<(), RoundError> {
        let (has, takes_fares) =
            terminal.lend(|terminal| (status(terminal, now), terminal.fare_book().is_some()));
        let told = self.line.terminal_status(&has).await.map_err(RoundError::Status)?;
        if !takes_fares {
            return Ok(());
        }
        let wanted = terminal.lend(|terminal| terminal.announce_fares(&told.fares, self.key, now))?;
        for version in &wanted {
            let fetched = self.line.fares(*version).await.map_err(RoundError::Fares)?;
            terminal.lend(|terminal| terminal.take_fares(&fetched, self.key, now))?;
        }
        if !wanted.is_empty() {
            let has = terminal.lend(|terminal| status(terminal, now));
            self.line.terminal_status(&has).await.map_err(RoundError::Status)?;
        }
        Ok(())
    }
}

fn status<K: CardKeys, S: TerminalStore>(terminal: &Terminal<K, S>, now: Timestamp) -> TerminalStatus {
    TerminalStatus {
        terminal: HexBytes(terminal.number().to_bytes().to_vec()),
        list_version: terminal.list().list.version().0,
        fare_version: terminal.fare_version(now),
        fares_held: terminal.fare_book().map_or(0, FareBook::highest_held),
        undelivered: terminal.state().undelivered() as u64,
    }
}
