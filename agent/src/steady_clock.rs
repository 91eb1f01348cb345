//! Owns the clock by which VMs are kept: wall time that does not jump. When somebody sets the machine's clock, as time
//! synchronisation does soon after boot, no guest must seem late and no patience end for it.
//!
//! ```text
//!   first agent of a boot ── the wall clock, then the pace of monotonic time ──▶ its end
//!                │ anchor, on the disk before any deadline is                      │
//!                ▼                                                                 ▼
//!   next agent of it ──────── anchor, and the time since boot that has passed ──▶ its end
//! ```
//!
//! Deadlines outlive the agent in the domains' ledgers, so the clock that they were taken from has to: an agent that
//! began anew at a wall clock set meanwhile would end guests that are only booting. After the clock was set the two
//! differ until the machine is booted; certificates and samples go by the wall clock itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reeve_common::clock::{BootClock, Clock, Timestamp};
use reeve_common::logging::messages;
use reeve_common::text::chain;

use crate::state_directory::StateDirectory;

/// A moment by which the clock of a later agent goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClockAnchor {
    /// Which boot of the machine it was in.
    pub boot: String,
    /// How long after that boot it was.
    pub since_boot: Duration,
    /// What the clock said.
    pub said: Timestamp,
}

impl ClockAnchor {
    /// What the clock says so long after a boot; none in another boot, or before the anchor itself.
    fn says(&self, boot: &str, since_boot: Duration) -> Option<Timestamp> {
        let passed = since_boot.checked_sub(self.since_boot)?;
        (self.boot == boot).then(|| self.said.after(passed))
    }
}

/// From this difference on somebody has set the wall clock; less is how evenly clocks run.
const SET_BY_SOMEBODY: Duration = Duration::from_secs(2);

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
        let now = clock.now();
        Self::saying(now, clock)
    }

    /// Goes on with the clock of an earlier agent since the same boot, and otherwise begins now and sees to it that a
    /// later one can go on. Where that cannot be written, a later one begins anew.
    #[must_use]
    pub fn of_this_boot(clock: Arc<dyn Clock>, boot: &dyn BootClock, state: &StateDirectory) -> Self {
        let (id, since_boot, wall) = (boot.boot_id(), boot.since_boot(), clock.now());
        if id.is_empty() || since_boot == Duration::MAX {
            return Self::saying(wall, clock);
        }
        if let Some(said) = state.clock_anchor().and_then(|anchor| anchor.says(&id, since_boot)) {
            let apart = said.since(wall).max(wall.since(said));
            if apart >= SET_BY_SOMEBODY {
                log::info!(
                    "the wall clock was set by {} s since an agent first ran after this boot; VMs are kept by the time as it went on, {said}",
                    apart.as_secs()
                );
            }
            return Self::saying(said, clock);
        }
        let anchor = ClockAnchor { boot: id, since_boot, said: wall };
        if let Err(error) = state.keep_clock_anchor(anchor) {
            log::error!(MESSAGE_ID:% = messages::STATE_NOT_WRITTEN;
                "should the wall clock be set before the agent is restarted, guests that are booting then may seem late: {}", chain(&error));
        }
        Self::saying(wall, clock)
    }

    fn saying(now: Timestamp, clock: Arc<dyn Clock>) -> Self {
        Self { wall_at_first: now, monotonic_at_first: clock.monotonic(), clock }
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

    fn machine() -> Arc<MachineClock> {
        Arc::new(MachineClock {
            wall: Mutex::new(Timestamp(1_000_000)),
            began: SystemClock.monotonic(),
            elapsed: Mutex::new(Duration::ZERO),
        })
    }

    /// So long after the boot of this name.
    struct Boot(&'static str, Duration);

    impl BootClock for Boot {
        fn since_boot(&self) -> Duration {
            self.1
        }

        fn boot_id(&self) -> String {
            self.0.to_owned()
        }
    }

    #[test]
    fn the_next_agent_goes_on_with_the_clock_until_the_machine_is_booted() {
        let (machine, directory) = (machine(), tempfile::tempdir().unwrap());
        let agent = |boot, since_boot| {
            // Each reads what the one before has left on the disk.
            let state = StateDirectory::open(directory.path()).unwrap();
            let boot = Boot(
                boot,
                if since_boot == u64::MAX { Duration::MAX } else { Duration::from_secs(since_boot) },
            );
            SteadyClock::of_this_boot(Arc::clone(&machine) as _, &boot, &state)
        };
        assert_eq!(agent("a", 30).now(), Timestamp(1_000_000));
        *machine.wall.lock().unwrap() = Timestamp(99_000_000);
        *machine.elapsed.lock().unwrap() = Duration::from_secs(5);
        let second = agent("a", 37);
        assert_eq!(second.now(), Timestamp(1_007_000), "by the time since boot, whatever was set");
        *machine.elapsed.lock().unwrap() = Duration::from_secs(6);
        assert_eq!(second.now(), Timestamp(1_008_000));
        // Not by the anchor: a boot that cannot be told, the anchor's time not reached, another boot.
        for (boot, since_boot) in [("", 40), ("a", u64::MAX), ("a", 29), ("b", 31)] {
            assert_eq!(agent(boot, since_boot).now(), Timestamp(99_000_000), "{boot} {since_boot}");
        }
        *machine.wall.lock().unwrap() = Timestamp(5);
        assert_eq!(agent("b", 33).now(), Timestamp(99_002_000), "the new boot has an anchor of its own");
    }

    #[test]
    fn setting_the_clock_makes_nobody_late() {
        let machine = machine();
        let steady = SteadyClock::new(Arc::clone(&machine) as _);
        *machine.elapsed.lock().unwrap() = Duration::from_secs(5);
        for wall in [0, 1_005_000, 99_000_000] {
            *machine.wall.lock().unwrap() = Timestamp(wall);
            assert_eq!(steady.now(), Timestamp(1_005_000));
        }
    }
}
