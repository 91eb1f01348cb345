//! Owns the clock by which VMs are kept: wall time that does not jump. When somebody sets the machine's clock, as time
//! synchronisation does soon after boot, no guest must seem late and no patience end for it.
//!
//! It begins at the wall clock's time and goes on at the pace of monotonic time. After the clock was set it differs from
//! the wall clock until the agent is restarted; certificates and samples go by the wall clock itself.

use std::sync::Arc;
use std::time::Instant;

use reeve_common::clock::{Clock, Timestamp};

/// Wall time that does not jump.
pub struct SteadyClock {
    clock: Arc<dyn Clock>,
    wall_at_first: Timestamp,
    monotonic_at_first: Instant,
}

impl SteadyClock {
    /// Begins now, by `clock`.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let (wall_at_first, monotonic_at_first) = (clock.now(), clock.monotonic());
        Self { clock, wall_at_first, monotonic_at_first }
    }
}

impl Clock for SteadyClock {
    fn now(&self) -> Timestamp {
        self.wall_at_first.after(self.monotonic().saturating_duration_since(self.monotonic_at_first))
    }

    fn monotonic(&self) -> Instant {
        self.clock.monotonic()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use reeve_common::clock::SystemClock;

    use super::*;

    /// A machine's clock as somebody sets it.
    struct MachineClock {
        wall: Mutex<Timestamp>,
        began: Instant,
        elapsed: Mutex<Duration>,
    }

    impl Clock for MachineClock {
        fn now(&self) -> Timestamp {
            *self.wall.lock().unwrap()
        }

        fn monotonic(&self) -> Instant {
            self.began + *self.elapsed.lock().unwrap()
        }
    }

    #[test]
    fn setting_the_clock_makes_nobody_late() {
        let machine = Arc::new(MachineClock {
            wall: Mutex::new(Timestamp(1_000_000)),
            began: SystemClock.monotonic(),
            elapsed: Mutex::new(Duration::ZERO),
        });
        let steady = SteadyClock::new(Arc::clone(&machine) as _);
        *machine.elapsed.lock().unwrap() = Duration::from_secs(5);
        for wall in [0, 1_005_000, 99_000_000] {
            *machine.wall.lock().unwrap() = Timestamp(wall);
            assert_eq!(steady.now(), Timestamp(1_005_000));
        }
    }
}
