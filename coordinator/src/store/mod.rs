//! Owns the one door to what must survive a restart: get, list by prefix, watch, and an atomic batch under
//! preconditions. Behind it stand SQLite (the default) and a twin in memory for tests and the simulation.
//!
//! Must not: know what the records mean; that is `records.rs` and those who call it. Only `sqlite/` names rusqlite.
//!
//! ```text
//!   caller ── apply(batch) ──▶ store ── one durable transaction ──▶ disk
//!      ▲                         │ changes, in the order of the commits
//!      └── version or conflict   └──▶ watchers
//! ```
//!
//! What holds for every store, and is tested on every store by one suite (`tests/contracts/store.rs`):
//! - a batch happens whole or not at all, and a batch that was answered with a version is still there after a crash;
//! - the store's version grows with every batch that changed something, and a record carries that of its last writing;
//! - what is appended to a log gets the next number and the hash of the record before it, within the batch's transaction;
//! - of several batches that require the same version of a record exactly one succeeds;
//! - a read that begins after a batch was answered sees it;
//! - watchers get every change under their prefix once, in order, or are told that they missed some.

mod batch;
mod chain;
mod counters;
mod error;
mod key;
mod memory;
mod records;
mod sqlite;
mod term;
mod watch;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

pub use batch::{Action, BATCH_BYTES_MAX, BATCH_OPERATIONS_MAX, Batch, Operation, Precondition, Version};
pub use chain::{Append, Entry, Link, head_key, link_key, read_head, read_link};
pub use counters::{
    CounterError, advance_beyond, advance_epoch_beyond, last_epoch, last_id, leave_out_epochs, next_epoch,
    next_id,
};
pub use error::{Conflict, EngineError, StoreError};
pub use key::{Collection, InvalidKey, KEY_LENGTH_MAX, Key, RecordId};
pub use memory::MemoryStore;
pub use records::{RecordError, decode, encode};
pub use sqlite::{
    Attachment, BackupError, Contents, OpenError, SqliteStore, StoreLock, back_up, extract, present_form,
    read_contents,
};
pub use term::Term;
pub use watch::{Change, Watch, WatchEnd};

/// The answer of a store, later. Boxed, so that the coordinator can hold an `Arc<dyn Store>`.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Why a store cannot be gone on with, later or never.
pub type StoreFailure<'a> = Pin<Box<dyn Future<Output = StoreError> + Send + 'a>>;

/// A record as the store has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its key.
    pub key: Key,
    /// The batch that last wrote it.
    pub version: Version,
    /// Its value: versioned JSON, see [`encode`].
    pub value: Arc<str>,
}

/// Where the coordinator's records are.
///
/// A call that is dropped before it was answered may have happened or not, as after a crash.
pub trait Store: Send + Sync + 'static {
    /// One record.
    fn get<'a>(&'a self, key: &'a Key) -> StoreFuture<'a, Option<Stored>>;

    /// All records under a prefix of whole segments (`vms` holds `vms/1` and not `vms-past/1`; the empty prefix holds
    /// everything), in the order of their keys.
    fn list<'a>(&'a self, prefix: &'a str) -> StoreFuture<'a, Vec<Stored>>;

    /// The first records under a prefix, from a key on, at most so many, in the order of their keys: for collections that
    /// are too large to be listed whole. A store on a disk reads no more than that.
    fn page<'a>(&'a self, prefix: &'a str, from: &'a Key, count_max: usize) -> StoreFuture<'a, Vec<Stored>> {
        Box::pin(async move {
            let listed = self.list(prefix).await?;
            Ok(listed.into_iter().filter(|stored| stored.key >= *from).take(count_max).collect())
        })
    }

    /// The last records under a prefix, at most so many, in the order of their keys. A store on a disk reads no more than
    /// that.
    fn last<'a>(&'a self, prefix: &'a str, count_max: usize) -> StoreFuture<'a, Vec<Stored>> {
        Box::pin(async move {
            let mut listed = self.list(prefix).await?;
            Ok(listed.split_off(listed.len().saturating_sub(count_max)))
        })
    }

    /// Does all of a batch or nothing of it; the version is the store's after it. An error other than
    /// [`StoreError::Broken`] and [`StoreError::Closed`] means that nothing has happened.
    fn apply(&self, batch: Batch) -> StoreFuture<'_, Version>;

    /// All changes under a prefix from now on. Watch first and list second to miss nothing.
    fn watch<'a>(&'a self, prefix: &'a str) -> StoreFuture<'a, Watch>;

    /// Returns when the store cannot be gone on with: it is damaged, or it is not known what of a batch reached the disk.
    /// Whoever works on it must stop then, since what it has in memory may be something else than what is kept.
    fn failed(&self) -> StoreFailure<'_> {
        Box::pin(std::future::pending())
    }
}
