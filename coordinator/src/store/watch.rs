//! Owns how changes reach those who watch: in the order of their commits, each at most once, never silently dropped.
//!
//! ```text
//!   following ──queue full──▶ lagging (what was queued is still delivered, then `Lagged`)
//!       └──────store closed──▶ closed
//! ```
//!
//! Must not: block the writer for a slow watcher. One that falls behind is told so and has to list again.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;

use super::batch::Version;
use super::key::Key;

/// Changes queued for one watcher: several full batches, and more than a list of a collection takes to be answered.
const WATCH_QUEUE_LENGTH: usize = 4096;

/// A record was written or removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The batch that did it. Several changes of one batch carry the same version.
    pub version: Version,
    /// Which record.
    pub key: Key,
    /// Its value now; `None` when it was removed.
    pub value: Option<Arc<str>>,
}

/// Why there are no more changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WatchEnd {
    /// The watcher was too slow and has missed changes: watch again, then list again.
    #[error("too many changes at once, some were missed; list again")]
    Lagged,
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

/// Changes under a prefix, from the moment of the call to [`super::Store::watch`] on. To miss nothing, watch first
/// and list second; a change whose version is not above that of the listed record is then already in the list.
#[derive(Debug)]
pub struct Watch {
    changes: mpsc::Receiver<Change>,
    lagged: Arc<Mutex<bool>>,
}

impl Watch {
    /// The next change.
    ///
    /// # Errors
    /// [`WatchEnd`] when there will be no more.
    pub async fn next(&mut self) -> Result<Change, WatchEnd> {
        match self.changes.recv().await {
            Some(change) => Ok(change),
            None if *self.lagged.lock().unwrap_or_else(PoisonError::into_inner) => Err(WatchEnd::Lagged),
            None => Err(WatchEnd::Closed),
        }
    }
}

#[derive(Debug)]
struct Watcher {
    prefix: String,
    changes: mpsc::Sender<Change>,
    lagged: Arc<Mutex<bool>>,
}

/// Those who watch one store.
#[derive(Debug, Default)]
pub(super) struct Watchers {
    watchers: Mutex<Vec<Watcher>>,
}

impl Watchers {
    /// A new watcher of what is under `prefix`.
    pub(super) fn watch(&self, prefix: &str) -> Watch {
        let (sender, receiver) = mpsc::channel(WATCH_QUEUE_LENGTH);
        let lagged = Arc::new(Mutex::new(false));
        let watcher = Watcher { prefix: prefix.to_owned(), changes: sender, lagged: Arc::clone(&lagged) };
        self.watchers.lock().unwrap_or_else(PoisonError::into_inner).push(watcher);
        Watch { changes: receiver, lagged }
    }

    /// Hands committed changes to those who watch them. Called in the order of the commits, before the caller of the
    /// batch is answered: who has been answered finds his own change in his queue.
    pub(super) fn publish(&self, changes: &[Change]) {
        if changes.is_empty() {
            return;
        }
        let mut watchers = self.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        watchers.retain(|watcher| {
            changes
                .iter()
                .filter(|change| change.key.is_under(&watcher.prefix))
                .all(|change| watcher.send(change))
        });
    }
}

impl Watcher {
    /// False when the watcher is to be forgotten: gone, or too slow.
    fn send(&self, change: &Change) -> bool {
        match self.changes.try_send(change.clone()) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Closed(_)) => false,
            Err(mpsc::error::TrySendError::Full(_)) => {
                *self.lagged.lock().unwrap_or_else(PoisonError::into_inner) = true;
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(version: u64, key: &str) -> Change {
        Change { version: Version(version), key: Key::new(key).unwrap(), value: None }
    }

    #[tokio::test]
    async fn a_slow_watcher_gets_what_was_queued_and_is_then_told_that_it_missed_some() {
        let watchers = Watchers::default();
        let mut watch = watchers.watch("vms");
        for version in 0..=WATCH_QUEUE_LENGTH as u64 {
            watchers.publish(&[change(version, "vms/1"), change(version, "hosts/1")]);
        }
        for version in 0..WATCH_QUEUE_LENGTH as u64 {
            assert_eq!(watch.next().await, Ok(change(version, "vms/1")));
        }
        assert_eq!(watch.next().await, Err(WatchEnd::Lagged));
        assert!(watchers.watchers.lock().unwrap().is_empty(), "a lagging watcher is forgotten");
    }

    #[tokio::test]
    async fn the_end_of_the_store_is_not_taken_for_a_lag() {
        let watchers = Watchers::default();
        let mut watch = watchers.watch("");
        drop(watchers);
        assert_eq!(watch.next().await, Err(WatchEnd::Closed));
    }
}
