//! Owns a coordinator's term of office in the store: every batch written in it happens only while the epoch's record is
//! as this coordinator wrote it.
//!
//! ```text
//!   begin: epoch N is durable ──▶ in office ──another begins epoch N+1──▶ deposed (nothing is written any more)
//! ```
//!
//! The comparison is made by the store inside the batch's own transaction, so there is no moment between looking and
//! writing. What a deposed coordinator has decided and not written is lost with it, and was never acknowledged.
//!
//! Must not: be left out. The coordinator's service has its store only through this.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use reeve_common::ids::Epoch;
use reeve_common::mutation::Mutation;
use tokio::sync::{Mutex, watch};

use super::batch::{Batch, Precondition, Version};
use super::counters::{CounterError, EPOCH, advance, counter_key};
use super::error::StoreError;
use super::key::Key;
use super::watch::Watch;
use super::{Store, StoreFailure, StoreFuture, Stored};

/// The store, as one coordinator may use it as long as no other has followed it.
pub struct Term {
    store: Arc<dyn Store>,
    epoch: Epoch,
    key: Key,
    /// The epoch's record as this term wrote it.
    version: Version,
    over: watch::Sender<bool>,
    /// How often it was asked whether the term goes on.
    asked: AtomicU64,
    /// Up to which question the store has said so; held while the store is asked.
    confirmed: Mutex<u64>,
}

impl std::fmt::Debug for Term {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Term").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

impl Term {
    /// Begins a new term, in the next epoch. It is durable before this returns, and ends the term before it.
    ///
    /// # Errors
    /// [`CounterError`]: without an epoch the coordinator must not speak to any agent.
    pub async fn begin(store: Arc<dyn Store>) -> Result<Self, CounterError> {
        let (number, version) = advance(store.as_ref(), EPOCH, 1).await?;
        let key = counter_key(EPOCH)?;
        let over = watch::Sender::new(false);
        let (asked, confirmed) = (AtomicU64::new(0), Mutex::new(0));
        Ok(Self { store, epoch: Epoch(number), key, version, over, asked, confirmed })
    }

    /// Its epoch.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Makes sure that no other term has begun by now. Who is connected with this coordinator cannot be told by another what
    /// has changed meanwhile; so this is asked before an agent that connects hears anything. When a whole fleet comes back,
    /// one look into the store answers everybody who asked before it began.
    ///
    /// # Errors
    /// [`StoreError::Deposed`] when one has; another when the store cannot be read.
    pub async fn confirm(&self) -> Result<(), StoreError> {
        let question = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let mut confirmed = self.confirmed.lock().await;
        if *confirmed >= question {
            return Ok(());
        }
        // Only what was asked by now: whoever asks later may not be answered by what is read from here on.
        let answered = self.asked.load(Ordering::SeqCst);
        let current = self.store.get(&self.key).await?;
        if current.is_some_and(|stored| stored.version == self.version)
            || Mutation::WriteWhenDeposed.is_active()
        {
            *confirmed = answered;
            return Ok(());
        }
        self.over.send_replace(true);
        Err(StoreError::Deposed { epoch: self.epoch })
    }

    /// Returns when it has shown that another coordinator's term has begun.
    pub async fn deposed(&self) {
        let mut over = self.over.subscribe();
        // The sender lives as long as `self`.
        let _ = over.wait_for(|over| *over).await;
    }
}

impl Store for Term {
    fn get<'a>(&'a self, key: &'a Key) -> StoreFuture<'a, Option<Stored>> {
        self.store.get(key)
    }

    fn list<'a>(&'a self, prefix: &'a str) -> StoreFuture<'a, Vec<Stored>> {
        self.store.list(prefix)
    }

    fn page<'a>(&'a self, prefix: &'a str, from: &'a Key, count_max: usize) -> StoreFuture<'a, Vec<Stored>> {
        self.store.page(prefix, from, count_max)
    }

    fn last<'a>(&'a self, prefix: &'a str, count_max: usize) -> StoreFuture<'a, Vec<Stored>> {
        self.store.last(prefix, count_max)
    }

    /// As the store's, with one operation more: a batch may have one less than [`super::BATCH_OPERATIONS_MAX`].
    fn apply(&self, batch: Batch) -> StoreFuture<'_, Version> {
        if Mutation::WriteWhenDeposed.is_active() {
            return self.store.apply(batch);
        }
        let guarded = batch.check(self.key.clone(), Precondition::At(self.version));
        Box::pin(async move {
            match self.store.apply(guarded).await {
                Err(StoreError::Conflict(conflict)) if conflict.key == self.key => {
                    self.over.send_replace(true);
                    Err(StoreError::Deposed { epoch: self.epoch })
                }
                answer => answer,
            }
        })
    }

    fn watch<'a>(&'a self, prefix: &'a str) -> StoreFuture<'a, Watch> {
        self.store.watch(prefix)
    }

    fn failed(&self) -> StoreFailure<'_> {
        self.store.failed()
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;
    use tokio::task::JoinSet;

    use super::*;
    use crate::store::{BATCH_OPERATIONS_MAX, MemoryStore, next_id};

    fn put(name: &str) -> Batch {
        Batch::new().put(Key::new(name).unwrap(), Precondition::Any, "{}")
    }

    #[tokio::test]
    async fn who_has_been_followed_writes_nothing_any_more_and_is_told() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let first = Term::begin(Arc::clone(&store)).await.unwrap();
        first.apply(put("vms/1")).await.unwrap();
        assert_eq!(next_id(&first, "host").await.unwrap(), 1, "its own writes do not end a term");
        let second = Term::begin(Arc::clone(&store)).await.unwrap();
        assert!(second.epoch() > first.epoch());
        let error = first.apply(put("vms/2")).await.unwrap_err();
        assert!(matches!(error, StoreError::Deposed { epoch: Epoch(1) }) && !error.is_retryable(), "{error}");
        assert!(next_id(&first, "host").await.is_err());
        first.deposed().await;
        assert_eq!(store.list("vms").await.unwrap().len(), 1);
        second.apply(put("vms/2")).await.unwrap();
        assert_eq!(next_id(&second, "host").await.unwrap(), 2);
    }

    #[tokio::test]
    async fn who_has_been_followed_finds_out_by_asking_before_it_writes() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let first = Term::begin(Arc::clone(&store)).await.unwrap();
        first.apply(put("vms/1")).await.unwrap();
        first.confirm().await.unwrap();
        let second = Term::begin(Arc::clone(&store)).await.unwrap();
        assert!(matches!(first.confirm().await, Err(StoreError::Deposed { epoch: Epoch(1) })));
        first.deposed().await;
        second.confirm().await.unwrap();
    }

    /// A store that has read and tells what when it is let.
    #[derive(Debug)]
    struct Slow {
        inner: Arc<MemoryStore>,
        gate: Semaphore,
        reads: AtomicU64,
    }

    impl Store for Slow {
        fn get<'a>(&'a self, key: &'a Key) -> StoreFuture<'a, Option<Stored>> {
            Box::pin(async move {
                let read = self.inner.get(key).await;
                self.reads.fetch_add(1, Ordering::SeqCst);
                self.gate.acquire().await.unwrap().forget();
                read
            })
        }

        fn list<'a>(&'a self, prefix: &'a str) -> StoreFuture<'a, Vec<Stored>> {
            self.inner.list(prefix)
        }

        fn apply(&self, batch: Batch) -> StoreFuture<'_, Version> {
            self.inner.apply(batch)
        }

        fn watch<'a>(&'a self, prefix: &'a str) -> StoreFuture<'a, Watch> {
            self.inner.watch(prefix)
        }
    }

    async fn asks(term: &Arc<Term>, count: usize) -> JoinSet<Result<(), StoreError>> {
        let mut asking = JoinSet::new();
        for _ in 0..count {
            let term = Arc::clone(term);
            asking.spawn(async move { term.confirm().await });
        }
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        asking
    }

    #[tokio::test]
    async fn one_look_answers_all_who_asked_before_it_and_nobody_who_asked_later() {
        let inner = Arc::new(MemoryStore::new());
        let term = Term::begin(Arc::clone(&inner) as Arc<dyn Store>).await.unwrap();
        let slow = Arc::new(Slow { inner: Arc::clone(&inner), gate: Semaphore::new(0), reads: 0.into() });
        let term = Arc::new(Term { store: Arc::clone(&slow) as Arc<dyn Store>, ..term });
        let first = asks(&term, 1).await;
        let second = asks(&term, 9).await;
        slow.gate.add_permits(2);
        let answers = [first.join_all().await, second.join_all().await].concat();
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        assert_eq!(slow.reads.load(Ordering::SeqCst), 2, "each asked the store for itself");
        let before = asks(&term, 1).await;
        Term::begin(inner).await.unwrap();
        let after = asks(&term, 2).await;
        slow.gate.add_permits(9);
        assert!(before.join_all().await.iter().all(Result::is_ok), "it was in office when it was asked");
        let after = after.join_all().await;
        let deposed = |answer: &Result<(), StoreError>| matches!(answer, Err(StoreError::Deposed { .. }));
        assert!(after.iter().all(deposed), "{after:?}");
    }

    #[tokio::test]
    async fn another_conflict_is_no_end_of_a_term() {
        let term = Term::begin(Arc::new(MemoryStore::new())).await.unwrap();
        let batch = Batch::new().put(Key::new("vms/1").unwrap(), Precondition::At(Version(99)), "{}");
        assert!(matches!(term.apply(batch).await, Err(StoreError::Conflict(_))));
        assert!(!*term.over.borrow());
        let own = Batch::new().put(term.key.clone(), Precondition::Any, "{}");
        assert!(matches!(term.apply(own).await, Err(StoreError::RepeatedKey { .. })));
    }

    #[tokio::test]
    async fn the_guard_is_one_operation_of_the_batch() {
        let term = Term::begin(Arc::new(MemoryStore::new())).await.unwrap();
        let of = |count: usize| {
            (0..count).fold(Batch::new(), |batch, number| {
                batch.put(Key::new(format!("many/{number}")).unwrap(), Precondition::Any, "{}")
            })
        };
        term.apply(of(BATCH_OPERATIONS_MAX - 1)).await.unwrap();
        assert!(term.apply(of(BATCH_OPERATIONS_MAX)).await.is_err());
    }
}
