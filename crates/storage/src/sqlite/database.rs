//! One SQLite file: its writer thread, its read connections, its migrations.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rusqlite::{Connection, OpenFlags};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::oneshot;

use super::schema::Schema;
use crate::error::{Result, StorageError};

/// At most so many steps share one commit, which bounds how long the first of them waits.
const STEPS_PER_COMMIT: usize = 256;

/// At most so many steps wait for the writer; further callers wait before they hand theirs in.
const STEPS_WAITING: usize = 1_024;

/// How much of a file its writer keeps at hand.
const WRITER_CACHE_KIB: i64 = 32 * 1024;

/// So many pages of 4 KiB are written to the log before they go to their places.
const PAGES_BEFORE_CHECKPOINT: i64 = 8_192;

/// Why a file is not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// SQLite refuses.
    #[error("{path} cannot be opened as an SQLite file")]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// SQLite's own words.
        source: rusqlite::Error,
    },
    /// The file cannot be made.
    #[error("{path} cannot be created")]
    Create {
        /// The file.
        path: PathBuf,
        /// The system's own words.
        source: std::io::Error,
    },
    /// Another service's file.
    #[error("{path} is not a file of the {service}")]
    AnotherService {
        /// The file.
        path: PathBuf,
        /// The service that wanted it.
        service: &'static str,
    },
    /// A newer program's file.
    #[error("{path} was migrated to version {found}; this program knows versions up to {known}")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: usize,
        /// The last version that this program knows.
        known: usize,
    },
}

/// Of every file that this process writes.
static COMMITS_OF_PROCESS: AtomicU64 = AtomicU64::new(0);

#[derive(Debug)]
pub(super) struct Database {
    path: PathBuf,
    // `None` only while dropping: closing the channel ends the thread.
    jobs: Option<Sender<Box<dyn Job>>>,
    thread: Option<JoinHandle<()>>,
    readers: Mutex<Vec<Connection>>,
    commits: Arc<AtomicU64>,
}

impl Database {
    pub(super) fn open<S: Schema>(path: &Path) -> std::result::Result<Self, OpenError> {
        create_private(path)?;
        let sqlite = |source| OpenError::Sqlite { path: path.to_owned(), source };
        let mut connection = Connection::open(path).map_err(sqlite)?;
        configure(&connection).map_err(sqlite)?;
        migrate::<S>(&mut connection, path)?;
        let (jobs, mut receiver) = channel(STEPS_WAITING);
        let commits = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&commits);
        let thread = std::thread::Builder::new()
            .name(format!("sqlite-{}", S::FILE))
            .spawn(move || write_until_closed(&connection, &mut receiver, &counter))
            .map_err(|source| OpenError::Create { path: path.to_owned(), source })?;
        Ok(Self {
            path: path.to_owned(),
            jobs: Some(jobs),
            thread: Some(thread),
            readers: Mutex::default(),
            commits,
        })
    }

    pub(super) fn commits_of_process() -> u64 {
        COMMITS_OF_PROCESS.load(Ordering::Relaxed)
    }

    pub(super) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// Hands a step to the writer and waits until it is committed. Once it is handed in, dropping the future
    /// does not cancel it.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        step: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        let job = Box::new(Step { step: Some(step), result: None, reply });
        let stopped = || StorageError::Unavailable("the writer has stopped".into());
        self.jobs.as_ref().ok_or_else(stopped)?.send(job).await.map_err(|_| stopped())?;
        answer.await.unwrap_or_else(|_| Err(stopped()))
    }

    /// Looks at one moment, however many statements that takes: a read transaction. Point look-ups take
    /// microseconds, so they run where they are called.
    pub(super) fn read<T>(&self, step: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let idle = self.readers().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => self.open_reader()?,
        };
        let result = {
            let moment = connection.unchecked_transaction()?;
            step(&moment)
        };
        self.readers().push(connection);
        result
    }

    fn readers(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open_reader(&self) -> Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        connection.set_prepared_statement_cache_capacity(128);
        Ok(connection)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // The thread ends with the channel; if it panicked, its message is on standard error already.
            let _ = thread.join();
        }
    }
}

// Riders' numbers and sealed tokens are inside: the file is for its owner only.
fn create_private(path: &Path) -> std::result::Result<(), OpenError> {
    let mut options = std::fs::OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    let created = options.open(path);
    created.map(|_| ()).map_err(|source| OpenError::Create { path: path.to_owned(), source })
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", "ON")?;
    // A day's sheets are cut into 1024 buckets, so lines that come in any order touch as many pages. With
    // SQLite's 2 MiB of cache and a checkpoint after 4 MiB each of them is read and written again and again,
    // the more so the larger the file is. Memory is taken as it is used.
    connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
    connection.pragma_update(None, "wal_autocheckpoint", PAGES_BEFORE_CHECKPOINT)?;
    connection.set_prepared_statement_cache_capacity(128);
    Ok(())
}

fn migrate<S: Schema>(connection: &mut Connection, path: &Path) -> std::result::Result<(), OpenError> {
    let sqlite = |source| OpenError::Sqlite { path: path.to_owned(), source };
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0)).map_err(sqlite);
    let (mark, version) = (number("application_id")?, number("user_version")?);
    let found = usize::try_from(version).unwrap_or(usize::MAX);
    let is_new = mark == 0 && found == 0;
    if !is_new && mark != S::MARK {
        return Err(OpenError::AnotherService { path: path.to_owned(), service: S::SERVICE });
    }
    let known = S::MIGRATIONS.len();
    if found > known {
        return Err(OpenError::Newer { path: path.to_owned(), found, known });
    }
    for (index, migration) in S::MIGRATIONS.iter().enumerate().skip(found) {
        let db_tx = connection.transaction().map_err(sqlite)?;
        for part in *migration {
            db_tx.execute_batch(part).map_err(sqlite)?;
        }
        db_tx.pragma_update(None, "application_id", S::MARK).map_err(sqlite)?;
        // There are a handful of migrations, so the number fits.
        db_tx.pragma_update(None, "user_version", index as i32 + 1).map_err(sqlite)?;
        db_tx.commit().map_err(sqlite)?;
    }
    Ok(())
}

/// A step that waits for the writer, whatever it gives back.
trait Job: Send {
    /// Runs inside a savepoint. Says whether the step's changes are to be kept.
    fn run(&mut self, connection: &Connection) -> Kept;
    /// Answers the caller, after the commit.
    fn answer(self: Box<Self>, committed: std::result::Result<(), &str>);
}

enum Kept {
    Yes,
    No,
}

struct Step<T, F> {
    step: Option<F>,
    result: Option<Result<T>>,
    reply: oneshot::Sender<Result<T>>,
}

impl<T: Send, F: FnOnce(&Connection) -> Result<T> + Send> Job for Step<T, F> {
    fn run(&mut self, connection: &Connection) -> Kept {
        let result = self.step.take().map(|step| step(connection));
        let kept = if matches!(result, Some(Ok(_))) { Kept::Yes } else { Kept::No };
        self.result = result;
        kept
    }

    fn answer(self: Box<Self>, committed: std::result::Result<(), &str>) {
        let unknown = |reason: &str| Err(StorageError::Unavailable(reason.to_owned()));
        let result = match (committed, self.result) {
            (Ok(()), Some(result)) => result,
            (Ok(()), None) => unknown("the step did not run"),
            (Err(reason), _) => unknown(reason),
        };
        // The caller may have gone; the step is stored all the same.
        let _ = self.reply.send(result);
    }
}

fn write_until_closed(connection: &Connection, jobs: &mut Receiver<Box<dyn Job>>, commits: &AtomicU64) {
    while let Some(first) = jobs.blocking_recv() {
        let mut batch = Vec::new();
        let committed = write_batch(connection, first, jobs, &mut batch);
        commits.fetch_add(1, Ordering::Relaxed);
        COMMITS_OF_PROCESS.fetch_add(1, Ordering::Relaxed);
        let committed = committed.map_err(|error| {
            tracing::error!(%error, "a commit failed");
            error.to_string()
        });
        for job in batch {
            job.answer(committed.as_ref().copied().map_err(String::as_str));
        }
    }
}

/// Runs `first` and whatever else waits in one transaction. All that ran are in `batch`.
fn write_batch(
    connection: &Connection,
    first: Box<dyn Job>,
    jobs: &mut Receiver<Box<dyn Job>>,
    batch: &mut Vec<Box<dyn Job>>,
) -> rusqlite::Result<()> {
    batch.push(first);
    execute(connection, "BEGIN IMMEDIATE")?;
    let mut next = 0;
    while next < batch.len() {
        if let Err(error) = run_step(connection, batch[next].as_mut()) {
            let _ = execute(connection, "ROLLBACK");
            return Err(error);
        }
        next += 1;
        if batch.len() < STEPS_PER_COMMIT {
            batch.extend(jobs.try_recv());
        }
    }
    execute(connection, "COMMIT").inspect_err(|_| {
        let _ = execute(connection, "ROLLBACK");
    })
}

fn run_step(connection: &Connection, job: &mut dyn Job) -> rusqlite::Result<()> {
    execute(connection, "SAVEPOINT step")?;
    match job.run(connection) {
        Kept::Yes => {}
        // After some failures (a full disk) SQLite has rolled the whole transaction back; then there is no
        // savepoint any more, this fails, and every step of the batch is answered as not known.
        Kept::No => execute(connection, "ROLLBACK TO step")?,
    }
    execute(connection, "RELEASE step")
}

fn execute(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute([]).map(|_| ())
}
