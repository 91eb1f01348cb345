//! Owns the only readings of the clock in the product: wall time for records and people, monotonic time for leases
//! and timeouts. Everything else takes `now` as an argument, so that tests and the simulation can choose it.

use std::fmt;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A moment of wall time in milliseconds since 1970. It may jump when the clock is set: never decide ownership by it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The moment `duration` later.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        let milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(milliseconds))
    }

    /// How long after `earlier` this is; zero when it is before it.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// As calendar time in UTC; the last representable second where it is beyond the calendar.
    #[must_use]
    pub fn to_offset_date_time(self) -> OffsetDateTime {
        let seconds = i64::try_from(self.0 / 1000).unwrap_or(i64::MAX);
        OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(time::PrimitiveDateTime::MAX.assume_utc())
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC, to the second.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.to_offset_date_time().format(&Rfc3339).unwrap_or_else(|_| self.0.to_string());
        formatter.pad(&text)
    }
}

/// Where the time comes from.
pub trait Clock: Send + Sync + 'static {
    /// Wall time.
    fn now(&self) -> Timestamp;
    /// Time that only moves forward, whatever is done to the wall clock.
    fn monotonic(&self) -> Instant;
}

/// The machine's own clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods)] // this is the one place that may
    fn now(&self) -> Timestamp {
        let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
    }

    #[allow(clippy::disallowed_methods)] // this is the one place that may
    fn monotonic(&self) -> Instant {
        Instant::now()
    }
}

/// Where the time since the machine's boot comes from. It counts while the machine is suspended, nobody can set it, and
/// it means something to every process until the next boot.
pub trait BootClock: Send + Sync + 'static {
    /// How long ago the machine was booted, suspension included. When it cannot be told, the longest time there is: to
    /// whoever waits for an end, it has come.
    fn since_boot(&self) -> Duration;
    /// Which boot that was.
    fn boot_id(&self) -> String;
}

/// The monotonic clock's own count, by which other processes of this machine measure too; zero should there be none.
#[must_use]
pub fn monotonic_count() -> Duration {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from)
}

/// The machine's own.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemBootClock;

/// A name that the kernel makes up at each boot.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

impl BootClock for SystemBootClock {
    fn since_boot(&self) -> Duration {
        nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).map_or(Duration::MAX, Duration::from)
    }

    fn boot_id(&self) -> String {
        std::fs::read_to_string(BOOT_ID).unwrap_or_default().trim().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_shown_in_utc() {
        assert_eq!(Timestamp(1_700_000_000_999).to_string(), "2023-11-14T22:13:20Z");
        assert!(!Timestamp(u64::MAX).to_string().is_empty());
    }

    #[test]
    fn time_since_boot_goes_on_and_is_of_this_boot() {
        let before = SystemBootClock.since_boot();
        assert!(before > Duration::ZERO && before < Duration::MAX, "{before:?}");
        assert!(SystemBootClock.since_boot() >= before);
        assert_eq!(SystemBootClock.boot_id().len(), 36);
        assert_eq!(SystemBootClock.boot_id(), SystemBootClock.boot_id());
        // The kernel tells the same in a file, in seconds with two decimals.
        let told = std::fs::read_to_string("/proc/uptime").unwrap();
        let told: f64 = told.split(' ').next().unwrap().parse().unwrap();
        assert!((SystemBootClock.since_boot().as_secs_f64() - told).abs() < 5.0, "{told} s");
    }

    #[test]
    fn the_monotonic_count_moves_forward() {
        let before = monotonic_count();
        assert!(before > Duration::ZERO && monotonic_count() >= before);
    }

    #[test]
    fn differences_never_go_below_zero() {
        assert_eq!(Timestamp(5).since(Timestamp(9)), Duration::ZERO);
        assert_eq!(Timestamp(9).since(Timestamp(5)), Duration::from_millis(4));
    }
}
