//! Owns the coordinator's door to its store in a simulation: a disk that takes its time, that may be full, and behind
//! which records outlive the coordinator. A batch whose coordinator dies before the disk has answered has happened or
//! not, as chance has it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reeve_coordinator::store::{
    Batch, Key, MemoryStore, Store, StoreError, StoreFuture, Stored, Version, Watch,
};
use tokio::time::sleep;

use super::chance::Chance;
use super::signal::Signal;

/// The disk of the coordinator's machine, and whether its process runs.
pub struct Disk {
    records: Arc<MemoryStore>,
    chance: Mutex<Chance>,
    slow: AtomicBool,
    full: AtomicBool,
    frozen: Signal<bool>,
}

impl Disk {
    /// A disk with these records.
    #[must_use]
    pub fn new(seed: u64, records: MemoryStore) -> Arc<Self> {
        Self::on(Arc::new(records), Chance::new(seed, 2))
    }

    /// Another machine's way to the same records.
    #[must_use]
    pub fn another_way(&self, seed: u64, number: u64) -> Arc<Self> {
        Self::on(Arc::clone(&self.records), Chance::new(seed, 200 + number))
    }

    fn on(records: Arc<MemoryStore>, chance: Chance) -> Arc<Self> {
        Arc::new(Self {
            records,
            chance: Mutex::new(chance),
            slow: AtomicBool::new(false),
            full: AtomicBool::new(false),
            frozen: Signal::new(false),
        })
    }

    /// Makes it slow, or quick again.
    pub fn set_slow(&self, slow: bool) {
        self.slow.store(slow, Ordering::Relaxed);
    }

    /// Fills it, or makes room.
    pub fn set_full(&self, full: bool) {
        self.full.store(full, Ordering::Relaxed);
    }

    /// Stops the process that uses it, or lets it go on.
    pub fn set_frozen(&self, frozen: bool) {
        self.frozen.change(|is_frozen| *is_frozen = frozen);
    }

    /// What is on it.
    #[must_use]
    pub fn records(&self) -> &MemoryStore {
        &self.records
    }

    async fn take_time(&self) {
        let time = {
            let mut chance = self.chance.lock().unwrap_or_else(PoisonError::into_inner);
            if self.slow.load(Ordering::Relaxed) {
                chance.milliseconds(200..=3000)
            } else {
                Duration::from_micros(chance.within(200..=3000))
            }
        };
        sleep(time).await;
    }

    async fn until_thawed(&self) {
        self.frozen.until(|frozen| !frozen).await;
    }
}

/// One life of a coordinator at its disk.
pub struct DiskDoor {
    disk: Arc<Disk>,
    dead: Arc<AtomicBool>,
}

impl DiskDoor {
    /// The door of a coordinator that lives until `dead` comes true.
    #[must_use]
    pub const fn new(disk: Arc<Disk>, dead: Arc<AtomicBool>) -> Self {
        Self { disk, dead }
    }

    /// A process that is gone does nothing any more.
    async fn if_alive(&self) {
        self.disk.until_thawed().await;
        if self.dead.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    }
}

impl Store for DiskDoor {
    fn get<'a>(&'a self, key: &'a Key) -> StoreFuture<'a, Option<Stored>> {
        Box::pin(async move {
            self.if_alive().await;
            self.disk.records.get(key).await
        })
    }

    fn list<'a>(&'a self, prefix: &'a str) -> StoreFuture<'a, Vec<Stored>> {
        Box::pin(async move {
            self.if_alive().await;
            self.disk.records.list(prefix).await
        })
    }

    fn apply(&self, batch: Batch) -> StoreFuture<'_, Version> {
        Box::pin(async move {
            self.disk.take_time().await;
            self.if_alive().await;
            if self.disk.full.load(Ordering::Relaxed) {
                let source = Arc::new(std::io::Error::from(std::io::ErrorKind::StorageFull));
                return Err(StoreError::NoSpace { path: PathBuf::from("the simulated store"), source });
            }
            let applied = self.disk.records.apply(batch).await;
            self.disk.take_time().await;
            self.if_alive().await;
            applied
        })
    }

    fn watch<'a>(&'a self, prefix: &'a str) -> StoreFuture<'a, Watch> {
        self.disk.records.watch(prefix)
    }
}
