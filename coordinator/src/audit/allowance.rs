//! Owns how many refusals of those who need not prove anything are recorded: enough to see an attack, too few to fill a
//! disk with it. What is left out is counted, and the count stands in the next record.
//!
//! ```text
//!   full (BURST places) ──a refusal takes one──▶ … ──▶ empty: refusals are counted only
//!     ▲                                                   │
//!     └──────────── one place comes back a minute ◀───────┘
//! ```
//!
//! Pure: time is an argument, as it has passed on a clock that is never set since any one beginning.

use std::time::Duration;

/// Refusals recorded at once: what a person who investigates wants to see of an attack's beginning.
const BURST: u32 = 60;
/// One more may be recorded after each such time. 1,440 a day, below 1 KiB each: under 500 MB a year, whatever is done.
const REFILL: Duration = Duration::from_secs(60);

/// How much may still be recorded of one sort of refusals.
#[derive(Debug, Clone)]
pub struct Allowance {
    places: u32,
    /// Until when places that came back are counted.
    counted_until: Duration,
    left_out: u64,
}

impl Allowance {
    /// A full one.
    #[must_use]
    pub const fn new(now: Duration) -> Self {
        Self { places: BURST, counted_until: now, left_out: 0 }
    }

    /// Whether one more may be recorded at `now`: if so, how many were left out before it.
    pub fn take(&mut self, now: Duration) -> Option<u64> {
        let passed = now.saturating_sub(self.counted_until);
        let back = u32::try_from(passed.as_secs() / REFILL.as_secs()).unwrap_or(u32::MAX);
        if self.places.saturating_add(back) >= BURST {
            self.places = BURST;
            self.counted_until = now;
        } else {
            self.places += back;
            self.counted_until += REFILL * back;
        }
        if self.places == 0 {
            self.left_out = self.left_out.saturating_add(1);
            return None;
        }
        self.places -= 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_recorded_at_its_beginning_and_counted_after() {
        let start = Duration::from_secs(9);
        let mut allowance = Allowance::new(start);
        for _ in 0..BURST {
            assert_eq!(allowance.take(start), Some(0));
        }
        for _ in 0..1000 {
            assert_eq!(allowance.take(start + REFILL / 2), None);
        }
        assert_eq!(allowance.take(start + REFILL), Some(1000));
        assert_eq!(allowance.take(start + REFILL), None);
        assert_eq!(allowance.take(start + REFILL * 2), Some(1));
    }

    #[test]
    fn a_day_of_refusals_is_a_bounded_number_of_records() {
        let start = Duration::from_secs(9);
        let mut allowance = Allowance::new(start);
        let seconds = 24 * 3600;
        let recorded =
            (0..seconds).filter_map(|second| allowance.take(start + Duration::from_secs(second))).count();
        assert!(recorded <= 1440 + 60, "{recorded}");
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing_away() {
        let start = Duration::from_secs(100);
        let mut allowance = Allowance::new(start);
        while allowance.take(start).is_some() {}
        assert_eq!(allowance.take(start - Duration::from_secs(50)), None);
    }
}
