//! Owns the clocks of simulated machines: virtual time, with a wall clock that can be set.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use reeve_common::clock::{BootClock, Clock, Timestamp};
use tokio::time::Instant as VirtualInstant;

/// The wall time at which every simulation begins, in milliseconds.
const BEGINNING: u64 = 1_700_000_000_000;

/// How long a machine is up when a simulation begins, and how long booting takes at least.
const UP_AT_FIRST: Duration = Duration::from_secs(20);

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

/// One machine's time since its boot, which nobody can set and which runs a little slower than the coordinator's: so its
/// lease seems to hold for longer.
#[derive(Debug)]
pub struct MachineBoot {
    booted: Mutex<(VirtualInstant, u32)>,
    slower_permille: u32,
}

impl MachineBoot {
    /// A machine that was booted a while ago, whose clock is so much slower.
    #[must_use]
    pub fn new(slower_permille: u32) -> Self {
        Self { booted: Mutex::new((VirtualInstant::now(), 0)), slower_permille }
    }

    /// It is booted again.
    pub fn boot(&self) {
        let mut booted = self.booted();
        *booted = (VirtualInstant::now(), booted.1 + 1);
    }

    fn booted(&self) -> MutexGuard<'_, (VirtualInstant, u32)> {
        self.booted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BootClock for MachineBoot {
    fn since_boot(&self) -> Duration {
        let elapsed = self.booted().0.elapsed();
        UP_AT_FIRST + elapsed - elapsed * self.slower_permille / 1000
    }

    fn boot_id(&self) -> String {
        format!("boot {}", self.booted().1)
    }
}

/// Waits in virtual time.
pub async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}
