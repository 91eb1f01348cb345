//! Owns the store's twin in memory: the same rules without a disk, for tests and the simulation.
//!
//! Must not: be used where something has to survive.

use std::collections::BTreeMap;
use std::future::ready;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::batch::{Action, Batch, Version};
use super::error::{Conflict, StoreError};
use super::key::Key;
use super::watch::{Change, Watch, Watchers};
use super::{Store, StoreFuture, Stored, chain};

/// Records in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    state: Mutex<State>,
    watchers: Watchers,
}

#[derive(Debug, Default)]
struct State {
    version: Version,
    records: BTreeMap<Key, (Version, Arc<str>)>,
}

impl MemoryStore {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn apply_now(&self, batch: &Batch) -> Result<Version, StoreError> {
        batch.validate()?;
        let mut state = self.state();
        let changes = state.apply(batch)?;
        // Published under the lock, so that the watchers' order is that of the versions.
        self.watchers.publish(&changes);
        Ok(state.version)
    }
}

impl State {
    fn apply(&mut self, batch: &Batch) -> Result<Vec<Change>, StoreError> {
        for operation in batch.operations() {
            let found = self.records.get(&operation.key).map(|(version, _)| *version);
            if !operation.precondition.holds(found) {
                let key = operation.key.clone();
                return Err(StoreError::Conflict(Conflict { key, expected: operation.precondition, found }));
            }
        }
        let appended = chain::writes(batch.appends(), |key| {
            Ok::<_, StoreError>(self.records.get(key).map(|record| stored(key, record)))
        })??;
        let version = Version(self.version.0.saturating_add(1));
        let mut changes = Vec::new();
        for operation in batch.operations() {
            let key = operation.key.clone();
            match &operation.action {
                Action::Check => {}
                Action::Put(value) => {
                    self.records.insert(key.clone(), (version, Arc::clone(value)));
                    changes.push(Change { version, key, value: Some(Arc::clone(value)) });
                }
                Action::Delete => {
                    if self.records.remove(&key).is_some() {
                        changes.push(Change { version, key, value: None });
                    }
                }
            }
        }
        for (key, value) in appended {
            self.records.insert(key.clone(), (version, Arc::clone(&value)));
            changes.push(Change { version, key, value: Some(value) });
        }
        if !changes.is_empty() {
            self.version = version;
        }
        Ok(changes)
    }
}

fn stored(key: &Key, (version, value): &(Version, Arc<str>)) -> Stored {
    Stored { key: key.clone(), version: *version, value: Arc::clone(value) }
}

impl Store for MemoryStore {
    fn get<'a>(&'a self, key: &'a Key) -> StoreFuture<'a, Option<Stored>> {
        Box::pin(ready(Ok(self.state().records.get(key).map(|record| stored(key, record)))))
    }

    fn list<'a>(&'a self, prefix: &'a str) -> StoreFuture<'a, Vec<Stored>> {
        let state = self.state();
        let records = state.records.iter().filter(|(key, _)| key.is_under(prefix));
        Box::pin(ready(Ok(records.map(|(key, record)| stored(key, record)).collect())))
    }

    fn page<'a>(&'a self, prefix: &'a str, from: &'a Key, count_max: usize) -> StoreFuture<'a, Vec<Stored>> {
        let state = self.state();
        let records = state.records.range(from..).filter(|(key, _)| key.is_under(prefix));
        Box::pin(ready(Ok(records.take(count_max).map(|(key, record)| stored(key, record)).collect())))
    }

    fn last<'a>(&'a self, prefix: &'a str, count_max: usize) -> StoreFuture<'a, Vec<Stored>> {
        let state = self.state();
        let records = state.records.iter().rev().filter(|(key, _)| key.is_under(prefix));
        let mut last: Vec<Stored> =
            records.take(count_max).map(|(key, record)| stored(key, record)).collect();
        last.reverse();
        Box::pin(ready(Ok(last)))
    }

    fn apply(&self, batch: Batch) -> StoreFuture<'_, Version> {
        Box::pin(async move { self.apply_now(&batch) })
    }

    fn watch<'a>(&'a self, prefix: &'a str) -> StoreFuture<'a, Watch> {
        Box::pin(ready(Ok(self.watchers.watch(prefix))))
    }
}
