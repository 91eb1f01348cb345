//! Owns what can go wrong with a store, in words that hold for every engine.
//!
//! Must not: name an engine's types; an engine's own error is only the source.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use reeve_common::ids::Epoch;

use super::batch::{BATCH_BYTES_MAX, BATCH_OPERATIONS_MAX, Precondition, Version};
use super::key::Key;

/// An engine's error. Shared, since all callers whose batches were to be committed together get the same one.
pub type EngineError = Arc<dyn Error + Send + Sync>;

/// A precondition that did not hold. Nothing of its batch has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The record.
    pub key: Key,
    /// What the batch required.
    pub expected: Precondition,
    /// The record's version, if there is one.
    pub found: Option<Version>,
}

impl std::fmt::Display for Conflict {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "the record {} was changed by somebody else: expected {}, found ",
            self.key, self.expected
        )?;
        match self.found {
            Some(version) => write!(formatter, "version {version}"),
            None => formatter.write_str("no record"),
        }
    }
}

/// Why the store did not do what it was asked to.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// A precondition did not hold; read again and decide again.
    #[error("{0}")]
    Conflict(Conflict),
    /// A batch with too many operations.
    #[error("a batch holds at most {BATCH_OPERATIONS_MAX} operations, this one has {count}; divide it")]
    TooManyOperations {
        /// How many.
        count: usize,
    },
    /// A batch with too many bytes.
    #[error("a batch holds at most {BATCH_BYTES_MAX} bytes, this one has {bytes}; divide it")]
    TooManyBytes {
        /// How many.
        bytes: usize,
    },
    /// One key twice in a batch.
    #[error("the record {key} stands in one batch twice; each may stand there once")]
    RepeatedKey {
        /// Which.
        key: Key,
    },
    /// No space for the batch. Nothing of it has happened.
    #[error("there is no space left for the store {}; free some, nothing was written", path.display())]
    NoSpace {
        /// The store's file.
        path: PathBuf,
        /// The engine's error.
        #[source]
        source: EngineError,
    },
    /// The engine was busy for longer than it may be. Nothing has happened.
    #[error("the store {} is held by another program; nothing was done, try again", path.display())]
    Busy {
        /// The store's file.
        path: PathBuf,
        /// The engine's error.
        #[source]
        source: EngineError,
    },
    /// Reading failed.
    #[error("the store {} cannot be read; see to its disk", path.display())]
    Read {
        /// The store's file.
        path: PathBuf,
        /// The engine's error.
        #[source]
        source: EngineError,
    },
    /// Writing failed in a way that leaves open what reached the disk. The store takes no more writes until the
    /// service is restarted, which reads what is really there.
    #[error(
        "writing to the store {} failed and it is not known what reached the disk; see to the disk, then restart the service",
        path.display()
    )]
    Broken {
        /// The store's file.
        path: PathBuf,
        /// The engine's error.
        #[source]
        source: EngineError,
    },
    /// A record is not what was written.
    #[error("the store's record {key:?} is damaged: {reason}; restore the store from a backup")]
    Damaged {
        /// Its key as found.
        key: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The store is not what was written, as was found when it was read to its end.
    #[error("the store {} is damaged: {problem}; restore it from a backup", path.display())]
    Unsound {
        /// The store's file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// Another coordinator has begun its term on this store. Nothing of the batch has happened.
    #[error(
        "another coordinator has taken over the store from this one, whose epoch was {epoch}; nothing was written"
    )]
    Deposed {
        /// The epoch of the one that is deposed.
        epoch: Epoch,
    },
    /// The store has been closed.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// Whether the same call may succeed later without anything being decided anew.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::NoSpace { .. } | Self::Busy { .. })
    }

    /// The conflict, if that is what it is.
    #[must_use]
    pub const fn conflict(&self) -> Option<&Conflict> {
        match self {
            Self::Conflict(conflict) => Some(conflict),
            _ => None,
        }
    }
}
