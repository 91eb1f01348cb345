//! Owns numbers that only grow and are never given out twice, across restarts: the coordinator's epoch and the ids of
//! hosts.
//!
//! Must not: give out a number before it is durable.

use reeve_common::ids::Epoch;

use super::batch::{Batch, Precondition, Version};
use super::error::StoreError;
use super::key::{Collection, InvalidKey, Key};
use super::records::{RecordError, decode, encode};
use super::{Store, Stored};

const COUNTERS: Collection = Collection::new("counters");
const KIND: &str = "counter";
const FORMAT: u32 = 1;
/// The counter that numbers the terms of coordinators.
pub(super) const EPOCH: &str = "epoch";

/// How often a number is asked for anew when others ask at the same time. Each attempt that fails means that somebody
/// else's succeeded, so this is the number of callers at once that are certain to be served.
const ATTEMPTS_MAX: u32 = 1000;

/// Why no number was given out.
#[derive(Debug, thiserror::Error)]
pub enum CounterError {
    /// The counter's name is no segment of a key.
    #[error("no counter can have this name")]
    Name(#[source] InvalidKey),
    /// The store failed.
    #[error("the counter {counter:?} could not be advanced")]
    Store {
        /// Which.
        counter: String,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// The counter's record is not one.
    #[error("the counter {counter:?} could not be read")]
    Record {
        /// Which.
        counter: String,
        /// Why.
        #[source]
        source: RecordError,
    },
    /// Its numbers are used up, or too many asked at once.
    #[error("the counter {counter:?} gave no number after {ATTEMPTS_MAX} attempts")]
    Contended {
        /// Which.
        counter: String,
    },
}

impl CounterError {
    /// Whether asking again may succeed.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Store { source, .. } => source.is_retryable(),
            Self::Contended { .. } => true,
            Self::Name(_) | Self::Record { .. } => false,
        }
    }
}

/// Begins a new term: one epoch per start of a coordinator, durable before it is returned, so that agents never see one
/// twice.
///
/// # Errors
/// [`CounterError`]: without an epoch the coordinator must not speak to any agent.
pub async fn next_epoch(store: &dyn Store) -> Result<Epoch, CounterError> {
    next_id(store, EPOCH).await.map(Epoch)
}

/// The next number of a counter, beginning with 1, durable before it is returned.
///
/// # Errors
/// [`CounterError`] says what stood in the way.
pub async fn next_id(store: &dyn Store, counter: &str) -> Result<u64, CounterError> {
    advance(store, counter, 1).await.map(|(number, _)| number)
}

/// Sees to it that a counter's numbers from now on are above `least`, as when a backup has forgotten some that were
/// given out.
///
/// # Errors
/// [`CounterError`] says what stood in the way.
pub async fn advance_beyond(store: &dyn Store, counter: &str, least: u64) -> Result<(), CounterError> {
    let last = read(store, &counter_key(counter)?, counter).await?.0;
    if last < least {
        advance(store, counter, least.saturating_sub(last)).await?;
    }
    Ok(())
}

/// The last number that a counter has given out; 0 before the first.
///
/// # Errors
/// [`CounterError`] when its record cannot be read.
pub async fn last_id(store: &dyn Store, counter: &str) -> Result<u64, CounterError> {
    Ok(read(store, &counter_key(counter)?, counter).await?.0)
}

/// The epoch of the last term; zero before the first.
///
/// # Errors
/// As for [`last_id`].
pub async fn last_epoch(store: &dyn Store) -> Result<Epoch, CounterError> {
    last_id(store, EPOCH).await.map(Epoch)
}

/// Leaves epochs out, before a term begins, as many as chance says. A store that was copied, and then served by two
/// coordinators, would give both the same next epoch, and agents could not tell them apart: so they obey the higher one
/// only, and the other is told that it is deposed. One start in 65,536 finds the gap of the other.
///
/// # Errors
/// As for [`next_epoch`].
pub async fn leave_out_epochs(store: &dyn Store, by_chance: u16) -> Result<(), CounterError> {
    advance(store, EPOCH, by_chance.into()).await.map(|_| ())
}

/// Sees to it that the next term's epoch is above `least`.
///
/// # Errors
/// As for [`advance_beyond`].
pub async fn advance_epoch_beyond(store: &dyn Store, least: Epoch) -> Result<(), CounterError> {
    advance_beyond(store, EPOCH, least.0).await
}

/// The key of a counter's record.
pub(super) fn counter_key(counter: &str) -> Result<Key, CounterError> {
    Key::new(format!("{}/{counter}", COUNTERS.prefix())).map_err(CounterError::Name)
}

async fn read(store: &dyn Store, key: &Key, counter: &str) -> Result<(u64, Precondition), CounterError> {
    let stored = store.get(key).await.map_err(|source| store_error(counter, source))?;
    let number = last_number(stored.as_ref()).map_err(|source| record_error(counter, source))?;
    Ok((number, stored.map_or(Precondition::Absent, |stored| Precondition::At(stored.version))))
}

/// Adds `step` to a counter; answers its number and the version of its record, both durable.
pub(super) async fn advance(
    store: &dyn Store,
    counter: &str,
    step: u64,
) -> Result<(u64, Version), CounterError> {
    let key = counter_key(counter)?;
    for _ in 0..ATTEMPTS_MAX {
        let (last, precondition) = read(store, &key, counter).await?;
        let number = last.saturating_add(step);
        let value = encode(KIND, FORMAT, &number).map_err(|source| record_error(counter, source))?;
        match store.apply(Batch::new().put(key.clone(), precondition, value)).await {
            Ok(version) => return Ok((number, version)),
            Err(StoreError::Conflict(_)) => {}
            Err(source) => return Err(store_error(counter, source)),
        }
    }
    Err(CounterError::Contended { counter: counter.to_owned() })
}

fn store_error(counter: &str, source: StoreError) -> CounterError {
    CounterError::Store { counter: counter.to_owned(), source }
}

fn record_error(counter: &str, source: RecordError) -> CounterError {
    CounterError::Record { counter: counter.to_owned(), source }
}

fn last_number(stored: Option<&Stored>) -> Result<u64, RecordError> {
    stored.map_or(Ok(0), |stored| decode(stored, KIND, FORMAT..=FORMAT))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;

    #[tokio::test]
    async fn numbers_grow_and_counters_are_apart() {
        let store = MemoryStore::new();
        assert_eq!(next_epoch(&store).await.unwrap(), Epoch(1));
        assert_eq!(next_id(&store, "host").await.unwrap(), 1);
        assert_eq!(next_epoch(&store).await.unwrap(), Epoch(2));
    }

    #[tokio::test]
    async fn copies_of_a_store_give_different_epochs() {
        let mut epochs = Vec::new();
        for by_chance in [0, 1, u16::MAX] {
            let copy = MemoryStore::new();
            assert_eq!(next_epoch(&copy).await.unwrap(), Epoch(1));
            leave_out_epochs(&copy, by_chance).await.unwrap();
            epochs.push(next_epoch(&copy).await.unwrap());
        }
        assert_eq!(epochs, [Epoch(2), Epoch(3), Epoch(65_537)]);
    }

    #[tokio::test]
    async fn a_counter_is_moved_forward_and_never_back() {
        let store = MemoryStore::new();
        advance_beyond(&store, "host", 7).await.unwrap();
        assert_eq!(next_id(&store, "host").await.unwrap(), 8);
        advance_beyond(&store, "host", 3).await.unwrap();
        assert_eq!(last_id(&store, "host").await.unwrap(), 8);
    }

    #[tokio::test]
    async fn a_damaged_counter_gives_no_number() {
        let store = MemoryStore::new();
        let key = Key::new("counters/epoch").unwrap();
        store.apply(Batch::new().put(key, Precondition::Absent, "{")).await.unwrap();
        assert!(matches!(next_epoch(&store).await, Err(CounterError::Record { .. })));
    }
}
