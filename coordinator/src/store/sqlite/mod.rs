//! Owns the store that is a SQLite file: opening it, and the store's calls on it.
//!
//! ```text
//!   apply ──▶ bounded queue ──▶ writer thread ── many batches, one durable transaction ──▶ store.sqlite(-wal)
//!   get, list ──▶ reader connections (a few, on blocking threads) ────────────────────────────┘
//! ```
//!
//! Must not: let anything else in the service name rusqlite. One process at a time (`lock.rs`); other programs may
//! read the file meanwhile, and a program that writes to it is waited for, for some seconds.

mod backup;
mod lock;
mod migrations;
mod reader;
mod rows;
mod schema;
mod soundness;
mod writer;

use reeve_common::logging::messages;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

pub use backup::{Attachment, BackupError, Contents, back_up, extract, present_form, read_contents};
pub use lock::StoreLock;
pub use schema::OpenError;

use self::reader::Readers;
use self::soundness::{Prover, Soundness};
use self::writer::{Job, Writer};
use super::batch::{Batch, Version};
use super::error::StoreError;
use super::key::Key;
use super::watch::{Watch, Watchers};
use super::{Store, StoreFailure, StoreFuture, Stored};

/// Batches waiting for the writer. As many as one group takes twice: one group being written, one being collected; who
/// comes later waits for a place.
const WRITE_QUEUE_LENGTH: usize = 512;

/// Records in a SQLite file.
#[derive(Debug)]
pub struct SqliteStore {
    jobs: Option<mpsc::Sender<Job>>,
    writer: Option<JoinHandle<()>>,
    readers: Arc<Readers>,
    watchers: Arc<Watchers>,
    soundness: Soundness,
    prover: Option<Prover>,
}

impl SqliteStore {
    /// Makes a new, empty store, readable by its owner only. Never touches one that is there.
    ///
    /// # Errors
    /// [`OpenError`] when there is one already, or it cannot be written.
    pub fn create(path: &Path) -> Result<Self, OpenError> {
        let lock = StoreLock::take(path)?;
        schema::create(path)?;
        Self::start(path, lock, true)
    }

    /// Opens a store that is there, after reading all of it once: its structure and every record's digest.
    /// Takes as long as reading the file does.
    ///
    /// # Errors
    /// [`OpenError`] when it is missing, damaged, newer than this release, not ours, or in use.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let lock = StoreLock::take(path)?;
        Self::start(path, lock, true)
    }

    /// Opens a store that is there to work with it at once, however much there is in it. All of it is read while it is in
    /// use; if it turns out to be damaged, nothing more is written and [`Store::failed`] says so.
    ///
    /// # Errors
    /// [`OpenError`] when it is missing, newer than this release, not ours, in use, or clearly damaged.
    pub fn open_at_once(path: &Path) -> Result<Self, OpenError> {
        let lock = StoreLock::take(path)?;
        Self::start(path, lock, false)
    }

    fn start(path: &Path, mut lock: StoreLock, prove_first: bool) -> Result<Self, OpenError> {
        let connection = schema::open(path)?;
        let version = if prove_first {
            schema::verify(path, &connection)?
        } else {
            soundness::check_ends(path, &connection)?;
            rows::read_version(&connection).map_err(|source| schema::engine(path, source))?
        };
        let soundness = Soundness::new(prove_first);
        lock.mark_open().map_err(|source| OpenError::Lock { path: beside(path, ".lock"), source })?;
        let readers = Arc::new(Readers::new(path.to_owned()));
        let watchers = Arc::new(Watchers::default());
        let (sender, receiver) = mpsc::channel(WRITE_QUEUE_LENGTH);
        let writer =
            Writer::new(path.to_owned(), connection, version, Arc::clone(&watchers), soundness.clone());
        let run = move || {
            writer.run(receiver);
            // Held until the writer's connection is closed.
            drop(lock);
        };
        let thread = std::thread::Builder::new().name("store-writer".to_owned()).spawn(run);
        let thread = thread.map_err(|source| OpenError::Thread { path: path.to_owned(), source })?;
        let mut store =
            Self { jobs: Some(sender), writer: Some(thread), readers, watchers, soundness, prover: None };
        if !prove_first {
            store.prover = Some(Prover::start(path.to_owned(), store.soundness.clone())?);
        }
        Ok(store)
    }

    /// Returns when all of the store has been read and was found to be whole.
    ///
    /// # Errors
    /// [`StoreError`] when it is damaged, or cannot be written any more.
    pub async fn proved(&self) -> Result<(), StoreError> {
        self.soundness.proved().await
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.readers.path()
    }
}

impl Drop for SqliteStore {
    /// Waits for the writer, so that the file is whole and free when this returns. Nobody can be waiting for an answer:
    /// every call borrows the store.
    fn drop(&mut self) {
        // The writer's connection is the last to go: it carries the log over into the file.
        self.prover = None;
        self.readers.close();
        self.jobs = None;
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            log::error!(MESSAGE_ID:% = messages::STORE_BROKEN; "the store's writer ended with a panic");
        }
    }
}

impl Store for SqliteStore {
    fn get<'a>(&'a self, key: &'a Key) -> StoreFuture<'a, Option<Stored>> {
        let key = key.clone();
        Box::pin(self.readers.read(move |connection| rows::select_one(connection, &key)))
    }

    fn list<'a>(&'a self, prefix: &'a str) -> StoreFuture<'a, Vec<Stored>> {
        let prefix = prefix.to_owned();
        Box::pin(self.readers.read(move |connection| rows::select_under(connection, &prefix)))
    }

    fn page<'a>(&'a self, prefix: &'a str, from: &'a Key, count_max: usize) -> StoreFuture<'a, Vec<Stored>> {
        let (prefix, from) = (prefix.to_owned(), from.clone());
        Box::pin(
            self.readers.read(move |connection| rows::select_page(connection, &prefix, &from, count_max)),
        )
    }

    fn last<'a>(&'a self, prefix: &'a str, count_max: usize) -> StoreFuture<'a, Vec<Stored>> {
        let prefix = prefix.to_owned();
        Box::pin(self.readers.read(move |connection| rows::select_last(connection, &prefix, count_max)))
    }

    fn apply(&self, batch: Batch) -> StoreFuture<'_, Version> {
        Box::pin(async move {
            batch.validate()?;
            let (answer, answered) = oneshot::channel();
            let jobs = self.jobs.as_ref().ok_or(StoreError::Closed)?;
            jobs.send(Job { batch, answer }).await.map_err(|_| StoreError::Closed)?;
            answered.await.map_err(|_| StoreError::Closed)?
        })
    }

    fn watch<'a>(&'a self, prefix: &'a str) -> StoreFuture<'a, Watch> {
        Box::pin(std::future::ready(Ok(self.watchers.watch(prefix))))
    }

    fn failed(&self) -> StoreFailure<'_> {
        Box::pin(self.soundness.failed())
    }
}

/// The name of the file that lies beside the store's and is locked.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Precondition;

    /// Values that together make the log be carried over several times.
    async fn write_many(store: &SqliteStore, count: u64) {
        for number in 0..count {
            let key = Key::new(format!("vms/{}", number % 10)).unwrap();
            store.apply(Batch::new().put(key, Precondition::Any, "x".repeat(100_000))).await.unwrap();
        }
    }

    #[tokio::test]
    async fn the_log_is_carried_over_and_does_not_grow_for_ever() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.sqlite");
        let store = SqliteStore::create(&path).unwrap();
        write_many(&store, 300).await;
        let log = std::fs::metadata(beside(&path, "-wal")).unwrap().len();
        assert!(log < 10 << 20, "{log} bytes of log after 30 MB written");
    }

    #[tokio::test]
    async fn a_program_that_reads_for_long_sees_one_state_and_holds_up_nobody() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.sqlite");
        let store = SqliteStore::create(&path).unwrap();
        write_many(&store, 1).await;
        let reader = schema::connect(&path).unwrap();
        let count = || reader.query_row("SELECT count(*) FROM records", [], |row| row.get::<_, i64>(0));
        reader.execute_batch("BEGIN").unwrap();
        assert_eq!(count().unwrap(), 1);
        write_many(&store, 100).await;
        assert_eq!(count().unwrap(), 1);
        reader.execute_batch("COMMIT").unwrap();
        assert_eq!(count().unwrap(), 10);
    }

    #[tokio::test]
    async fn a_program_that_writes_is_no_more_than_a_delay() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.sqlite");
        let store = SqliteStore::create(&path).unwrap();
        let other = schema::connect(&path).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let batch = Batch::new().put(Key::new("a").unwrap(), Precondition::Absent, "{}");
        let error = store.apply(batch.clone()).await.unwrap_err();
        assert!(matches!(error, StoreError::Busy { .. }) && error.is_retryable(), "{error:?}");
        other.execute_batch("ROLLBACK").unwrap();
        store.apply(batch).await.unwrap();
    }

    #[tokio::test]
    async fn a_closed_store_says_so() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = SqliteStore::create(&directory.path().join("store.sqlite")).unwrap();
        store.jobs = None;
        store.readers.close();
        let key = Key::new("a").unwrap();
        assert!(matches!(store.get(&key).await, Err(StoreError::Closed)));
        assert!(matches!(store.apply(Batch::new()).await, Err(StoreError::Closed)));
    }
}
