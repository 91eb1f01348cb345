//! Owns a value that several wait for, who are woken in the order in which they began to wait. (Tokio's `watch` wakes its
//! waiters in an order of chance, and two runs of one seed would differ.)

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

struct Inside<T> {
    value: Mutex<T>,
    changed: Notify,
}

/// A value, and those who wait for it. Clones are one.
pub struct Signal<T>(Arc<Inside<T>>);

impl<T> Clone for Signal<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Clone> Signal<T> {
    /// The value at first.
    #[must_use]
    pub fn new(value: T) -> Self {
        Self(Arc::new(Inside { value: Mutex::new(value), changed: Notify::new() }))
    }

    fn value(&self) -> MutexGuard<'_, T> {
        self.0.value.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The value now.
    #[must_use]
    pub fn get(&self) -> T {
        self.value().clone()
    }

    /// Changes it.
    pub fn change(&self, change: impl FnOnce(&mut T)) {
        change(&mut self.value());
        self.0.changed.notify_waiters();
    }

    /// Waits until it is as wanted, and answers it.
    pub async fn until(&self, wanted: impl Fn(&T) -> bool) -> T {
        loop {
            // Whoever is made before the look misses no change after it.
            let changed = self.0.changed.notified();
            let value = self.get();
            if wanted(&value) {
                return value;
            }
            changed.await;
        }
    }
}
