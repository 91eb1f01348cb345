//! Owns a change to the store: several puts, deletes and checks that happen together or not at all, and what each of
//! them requires of the record as it is.
//!
//! Must not: know an engine. The limits are those of the smallest engine planned for (etcd's defaults), so that what
//! is accepted by one store is accepted by all.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use super::chain::{APPEND_OPERATIONS, APPEND_OVERHEAD_BYTES, Append, Entry};
use super::error::StoreError;
use super::key::{Collection, Key};

/// Operations in one batch; etcd's default for one transaction.
pub const BATCH_OPERATIONS_MAX: usize = 128;
/// Bytes of keys and values in one batch: a third below etcd's default request limit of 1.5 MiB.
pub const BATCH_BYTES_MAX: usize = 1 << 20;

/// The state of the whole store after a batch, as a number that only grows. A record's version is that of the batch
/// which last wrote it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version(pub u64);

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// What must be true of a record for an operation on it to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precondition {
    /// There is no such record.
    Absent,
    /// The record was last written by this version.
    At(Version),
    /// Nothing.
    Any,
}

impl Precondition {
    /// Whether it holds for a record found at this version, or not found.
    #[must_use]
    pub fn holds(self, found: Option<Version>) -> bool {
        match self {
            Self::Absent => found.is_none(),
            Self::At(version) => found == Some(version),
            Self::Any => true,
        }
    }
}

impl fmt::Display for Precondition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => formatter.write_str("no record"),
            Self::At(version) => write!(formatter, "version {version}"),
            Self::Any => formatter.write_str("anything"),
        }
    }
}

/// What is done to a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Nothing; its precondition is all that matters.
    Check,
    /// Write this value.
    Put(Arc<str>),
    /// Remove it; a record that is not there is success.
    Delete,
}

/// One operation of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// On which record.
    pub key: Key,
    /// What must be true of it.
    pub precondition: Precondition,
    /// What is done.
    pub action: Action,
}

/// Operations that happen together or not at all. Each key at most once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    operations: Vec<Operation>,
    appends: Vec<Append>,
}

impl Batch {
    /// One that does nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the writing of a record.
    #[must_use]
    pub fn put(self, key: Key, precondition: Precondition, value: impl Into<Arc<str>>) -> Self {
        self.with(Operation { key, precondition, action: Action::Put(value.into()) })
    }

    /// Adds the removal of a record.
    #[must_use]
    pub fn delete(self, key: Key, precondition: Precondition) -> Self {
        self.with(Operation { key, precondition, action: Action::Delete })
    }

    /// Adds a condition on a record that is not written.
    #[must_use]
    pub fn check(self, key: Key, precondition: Precondition) -> Self {
        self.with(Operation { key, precondition, action: Action::Check })
    }

    /// Several batches as one.
    #[must_use]
    pub fn joined(batches: &[Self]) -> Self {
        Self {
            operations: batches.iter().flat_map(|batch| batch.operations.iter().cloned()).collect(),
            appends: batches.iter().flat_map(|batch| batch.appends.iter().cloned()).collect(),
        }
    }

    /// Adds an entry to a log, after all that are there when the batch is written: where that is need not be known.
    #[must_use]
    pub fn append(mut self, log: Collection, entry: Entry) -> Self {
        self.appends.push(Append { log, entry });
        self
    }

    fn with(mut self, operation: Operation) -> Self {
        self.operations.push(operation);
        self
    }

    /// The operations in the order in which they were added.
    #[must_use]
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// The entries for logs, in the order in which they were added.
    #[must_use]
    pub fn appends(&self) -> &[Append] {
        &self.appends
    }

    /// How many operations there are, without the entries for logs.
    #[must_use]
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty() && self.appends.is_empty()
    }

    /// Refuses what no store takes: too many operations, too many bytes, one key twice. Every store calls this first.
    pub(super) fn validate(&self) -> Result<(), StoreError> {
        let count = self.operations.len() + APPEND_OPERATIONS * self.appends.len();
        if count > BATCH_OPERATIONS_MAX {
            return Err(StoreError::TooManyOperations { count });
        }
        let mut keys = HashSet::with_capacity(self.operations.len());
        let entries = self.appends.iter().map(|append| append.entry.as_str().len() + APPEND_OVERHEAD_BYTES);
        let mut bytes = entries.fold(0_usize, usize::saturating_add);
        for operation in &self.operations {
            if !keys.insert(&operation.key) {
                return Err(StoreError::RepeatedKey { key: operation.key.clone() });
            }
            let value = if let Action::Put(value) = &operation.action { value.len() } else { 0 };
            bytes = bytes.saturating_add(operation.key.as_str().len()).saturating_add(value);
        }
        if bytes > BATCH_BYTES_MAX { Err(StoreError::TooManyBytes { bytes }) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        Key::new(text).unwrap()
    }

    #[test]
    fn a_key_may_stand_in_a_batch_once() {
        let batch = Batch::new().put(key("a"), Precondition::Any, "1").delete(key("a"), Precondition::Any);
        assert!(matches!(batch.validate(), Err(StoreError::RepeatedKey { key }) if key.as_str() == "a"));
    }

    #[test]
    fn batches_are_bounded() {
        let mut batch = Batch::new();
        for number in 0..BATCH_OPERATIONS_MAX {
            batch = batch.check(key(&number.to_string()), Precondition::Any);
        }
        assert!(batch.validate().is_ok());
        let batch = batch.check(key("more"), Precondition::Any);
        assert!(matches!(batch.validate(), Err(StoreError::TooManyOperations { .. })));
        let large = Batch::new().put(key("a"), Precondition::Any, "x".repeat(BATCH_BYTES_MAX));
        assert!(matches!(large.validate(), Err(StoreError::TooManyBytes { .. })));
    }
}
