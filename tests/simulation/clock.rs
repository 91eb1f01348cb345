//! Owns the clocks of simulated machines: virtual time, with a wall clock that can be set.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use reeve_common::clock::{Clock, Timestamp};
use tokio::time::Instant as VirtualInstant;

/// The wall time at which every simulation begins, in milliseconds.
const BEGINNING: u64 = 1_700_000_000_000;

/// One machine's clock.
#[derive(Debug)]
pub struct MachineClock {
    began: VirtualInstant,
    /// By how many milliseconds the wall clock has been set forward.
    set_forward: AtomicI64,
}

impl MachineClock {
    /// A clock that is right.
    #[must_use]
    pub fn right() -> Self {
        Self { began: VirtualInstant::now(), set_forward: AtomicI64::new(0) }
    }

    /// Sets the wall clock forward, or back. Monotonic time is not touched.
    pub fn set_forward(&self, milliseconds: i64) {
        self.set_forward.fetch_add(milliseconds, Ordering::Relaxed);
    }
}

impl Clock for MachineClock {
    fn now(&self) -> Timestamp {
        let right = Timestamp(BEGINNING).after(self.began.elapsed());
        let wrong = right.0.saturating_add_signed(self.set_forward.load(Ordering::Relaxed));
        Timestamp(wrong)
    }

    fn monotonic(&self) -> Instant {
        VirtualInstant::now().into_std()
    }
}

/// Waits in virtual time.
pub async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}
