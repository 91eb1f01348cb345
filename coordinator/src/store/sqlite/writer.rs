//! Owns writing: one thread that takes the batches that are waiting and commits them together, each with its own
//! preconditions and its own answer.
//!
//! ```text
//!   working ──no space──▶ working (the group is told, nothing of it happened)
//!      │ any other error: what is on the disk is not known
//!      ▼
//!   failed (every batch is refused until the service is restarted and reads what is there; `soundness.rs`)
//! ```
//!
//! Must not: answer a batch before the transaction it is in is durable, and never repeat a failed commit: after a
//! failed sync the kernel may have dropped the pages, and a second sync would succeed without them.

use reeve_common::logging::messages;
use std::path::PathBuf;
use std::sync::Arc;

use rusqlite::{Connection, ErrorCode};
use tokio::sync::{mpsc, oneshot};

use super::rows::{self, RowError};
use super::soundness::Soundness;
use crate::store::batch::{Action, Batch, Operation, Version};
use crate::store::chain;
use crate::store::error::{Conflict, EngineError, StoreError};
use crate::store::key::Key;
use crate::store::watch::{Change, Watchers};

/// Batches in one transaction: enough that one sync of some milliseconds carries tens of thousands of them a second.
const GROUP_BATCHES_MAX: usize = 256;
/// Bytes in one transaction, so that a few large batches do not hold up the rest for long.
const GROUP_BYTES_MAX: usize = 4 << 20;
/// Bytes written, by estimate, after which the log is carried over into the file. SQLite's own measure, 1000 pages.
const CHECKPOINT_BYTES: usize = 4 << 20;
/// What an operation writes besides its value, by estimate: a page of the table and one of its index.
const OPERATION_OVERHEAD_BYTES: usize = 8 << 10;

/// One caller's batch.
pub(super) struct Job {
    pub(super) batch: Batch,
    pub(super) answer: oneshot::Sender<Result<Version, StoreError>>,
}

type Answer = Result<Version, StoreError>;

/// Why a batch was not written.
enum WriteError {
    /// The engine failed.
    Engine(rusqlite::Error),
    /// This batch cannot be written; others can.
    Refused(StoreError),
}

impl From<rusqlite::Error> for WriteError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Engine(error)
    }
}

impl From<RowError> for WriteError {
    fn from(error: RowError) -> Self {
        match error {
            RowError::Engine(error) => Self::Engine(error),
            RowError::Damaged { key, reason } => Self::Refused(StoreError::Damaged { key, reason }),
        }
    }
}

/// The one that writes.
pub(super) struct Writer {
    path: PathBuf,
    connection: Connection,
    version: Version,
    watchers: Arc<Watchers>,
    soundness: Soundness,
    bytes_since_checkpoint: usize,
}

/// What a group of batches came to, before its commit.
struct Group {
    version: Version,
    answers: Vec<Answer>,
    changes: Vec<Change>,
}

impl Writer {
    pub(super) fn new(
        path: PathBuf,
        connection: Connection,
        version: Version,
        watchers: Arc<Watchers>,
        soundness: Soundness,
    ) -> Self {
        Self { path, connection, version, watchers, soundness, bytes_since_checkpoint: 0 }
    }

    /// Works until nobody can send any more.
    pub(super) fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        while let Some(first) = jobs.blocking_recv() {
            let (batches, callers) = collect_group(first, &mut jobs);
            let answers = self.write(&batches);
            for (caller, answer) in callers.into_iter().zip(answers) {
                // A caller who has stopped waiting does not mind.
                let _ = caller.send(answer);
            }
            self.checkpoint_when_due();
        }
    }

    /// One transaction for all batches; an answer for each.
    fn write(&mut self, batches: &[Batch]) -> Vec<Answer> {
        if let Some(failure) = self.soundness.failure() {
            return same_for_all(batches, &failure);
        }
        match self.write_group(batches) {
            Ok(group) => {
                self.version = group.version;
                self.bytes_since_checkpoint += batches.iter().map(estimate_bytes).sum::<usize>();
                self.watchers.publish(&group.changes);
                group.answers
            }
            Err(error) => {
                self.roll_back("ROLLBACK");
                same_for_all(batches, &self.classify(error))
            }
        }
    }

    fn write_group(&self, batches: &[Batch]) -> rusqlite::Result<Group> {
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        let mut group = Group { version: self.version, answers: Vec::new(), changes: Vec::new() };
        for batch in batches {
            let answer = self.write_batch(batch, &mut group)?;
            group.answers.push(answer);
        }
        if group.version > self.version {
            rows::write_version(&self.connection, group.version)?;
        }
        self.connection.execute_batch("COMMIT")?;
        Ok(group)
    }

    /// One batch within the group's transaction. A conflict, or a lack of space for this one, is its own answer; any
    /// other error ends the group.
    fn write_batch(&self, batch: &Batch, group: &mut Group) -> rusqlite::Result<Answer> {
        if let Some(conflict) = self.find_conflict(batch)? {
            return Ok(Err(StoreError::Conflict(conflict)));
        }
        let version = Version(group.version.0.saturating_add(1));
        self.connection.execute_batch("SAVEPOINT batch")?;
        match self.write_operations(batch, version) {
            Ok(changes) => {
                self.connection.execute_batch("RELEASE batch")?;
                if !changes.is_empty() {
                    group.version = version;
                    group.changes.extend(changes);
                }
                Ok(Ok(group.version))
            }
            Err(WriteError::Refused(refusal)) => {
                self.connection.execute_batch("ROLLBACK TO batch; RELEASE batch")?;
                Ok(Err(refusal))
            }
            // Some errors make SQLite end the whole transaction; then nothing of the group has happened.
            Err(WriteError::Engine(error)) if is_full(&error) && !self.connection.is_autocommit() => {
                self.connection.execute_batch("ROLLBACK TO batch; RELEASE batch")?;
                Ok(Err(StoreError::NoSpace { path: self.path.clone(), source: Arc::new(error) }))
            }
            Err(WriteError::Engine(error)) => Err(error),
        }
    }

    fn find_conflict(&self, batch: &Batch) -> rusqlite::Result<Option<Conflict>> {
        for Operation { key, precondition, .. } in batch.operations() {
            let found = rows::select_version(&self.connection, key)?;
            if !precondition.holds(found) {
                return Ok(Some(Conflict { key: key.clone(), expected: *precondition, found }));
            }
        }
        Ok(None)
    }

    fn write_operations(&self, batch: &Batch, version: Version) -> Result<Vec<Change>, WriteError> {
        let mut changes = Vec::with_capacity(batch.len());
        for Operation { key, action, .. } in batch.operations() {
            let value = match action {
                Action::Check => continue,
                Action::Put(value) => {
                    rows::put(&self.connection, key, version, value)?;
                    Some(Arc::clone(value))
                }
                Action::Delete if rows::delete(&self.connection, key)? => None,
                Action::Delete => continue,
            };
            changes.push(Change { version, key: key.clone(), value });
        }
        let read = |key: &Key| rows::select_one(&self.connection, key);
        let appended = chain::writes(batch.appends(), read)?.map_err(WriteError::Refused)?;
        for (key, value) in appended {
            rows::put(&self.connection, &key, version, &value)?;
            changes.push(Change { version, key, value: Some(value) });
        }
        Ok(changes)
    }

    /// Carries the log over into the file. Without space it is tried again later: the log still has everything.
    fn checkpoint_when_due(&mut self) {
        if self.bytes_since_checkpoint < CHECKPOINT_BYTES || self.soundness.failure().is_some() {
            return;
        }
        self.bytes_since_checkpoint = 0;
        let result = self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        if let Err(error) = result {
            // The batches before are durable in the log; what failed is announced to those that come next.
            let error = self.classify(error);
            log::warn!("the store's log could not be carried over into its file: {error}");
        }
    }

    fn roll_back(&self, statement: &str) {
        // Fails when SQLite has ended the transaction by itself, which is as good.
        if !self.connection.is_autocommit()
            && let Err(error) = self.connection.execute_batch(statement)
        {
            log::warn!("a transaction of the store could not be rolled back: {error}");
        }
    }

    /// What an engine's error means for the callers, and whether the writer may go on.
    fn classify(&self, error: rusqlite::Error) -> StoreError {
        let path = self.path.clone();
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => {
                log::error!(MESSAGE_ID:% = messages::STORE_FULL;
                    "there is no room for the store {}", path.display());
                StoreError::NoSpace { path, source: Arc::new(error) }
            }
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                StoreError::Busy { path, source: Arc::new(error) }
            }
            _ => {
                let source: EngineError = Arc::new(error);
                log::error!(
                    MESSAGE_ID:% = messages::STORE_BROKEN;
                    "writing to the store {} failed, it takes no more writes: {source}",
                    path.display()
                );
                let broken = StoreError::Broken { path, source };
                self.soundness.fail(broken.clone());
                broken
            }
        }
    }
}

fn collect_group(first: Job, jobs: &mut mpsc::Receiver<Job>) -> (Vec<Batch>, Vec<oneshot::Sender<Answer>>) {
    let mut bytes = estimate_bytes(&first.batch);
    let (mut batches, mut callers) = (vec![first.batch], vec![first.answer]);
    while batches.len() < GROUP_BATCHES_MAX && bytes < GROUP_BYTES_MAX {
        let Ok(job) = jobs.try_recv() else { break };
        bytes = bytes.saturating_add(estimate_bytes(&job.batch));
        batches.push(job.batch);
        callers.push(job.answer);
    }
    (batches, callers)
}

fn estimate_bytes(batch: &Batch) -> usize {
    let value = |operation: &Operation| match &operation.action {
        Action::Check => 0,
        Action::Put(value) => value.len() + OPERATION_OVERHEAD_BYTES,
        Action::Delete => OPERATION_OVERHEAD_BYTES,
    };
    let appended =
        batch.appends().iter().map(|append| append.entry.as_str().len() + 2 * OPERATION_OVERHEAD_BYTES);
    batch.operations().iter().map(value).chain(appended).sum()
}

fn same_for_all(batches: &[Batch], error: &StoreError) -> Vec<Answer> {
    batches.iter().map(|_| Err(error.clone())).collect()
}

fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
}
