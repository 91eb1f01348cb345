//! Owns how long the agent waits before it dials again: longer after each failure, up to a limit, and never exactly
//! as long as its neighbours, so that a fleet does not come back in one instant.
//!
//! Pure: its chance comes from a seed.

use std::time::Duration;

/// The delay that grows by failures and varies by chance.
#[derive(Debug, Clone)]
pub struct BackOff {
    first: Duration,
    longest: Duration,
    failures: u32,
    chance: u64,
}

impl BackOff {
    /// Begins at about `first` and doubles up to `longest`.
    #[must_use]
    pub const fn new(first: Duration, longest: Duration, seed: u64) -> Self {
        Self { first, longest, failures: 0, chance: seed }
    }

    /// The delay after one more failure: between half of what is due and all of it.
    pub fn after_failure(&mut self) -> Duration {
        let due = self.first.saturating_mul(1 << self.failures.min(16)).min(self.longest);
        self.failures = self.failures.saturating_add(1);
        self.vary(due)
    }

    /// Whether there was a failure since the last success.
    #[must_use]
    pub const fn has_failures(&self) -> bool {
        self.failures > 0
    }

    /// Begins anew, after a success.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }

    /// Between half of `due` and all of it.
    pub fn vary(&mut self, due: Duration) -> Duration {
        let half = due / 2;
        let thousandths = u32::try_from(self.next_number() % 1001).unwrap_or(0);
        half + half * thousandths / 1000
    }

    /// The next number of a splitmix64 sequence: plenty for spreading delays, and no library.
    const fn next_number(&mut self) -> u64 {
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.chance;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_the_limit_and_vary_within_a_half() {
        let (first, longest) = (Duration::from_millis(200), Duration::from_secs(10));
        let mut back_off = BackOff::new(first, longest, 7);
        let mut due = first;
        for _ in 0..40 {
            let delay = back_off.after_failure();
            assert!(delay >= due / 2 && delay <= due, "{delay:?} of {due:?}");
            due = (due * 2).min(longest);
        }
        back_off.reset();
        assert!(back_off.after_failure() <= first);
    }

    #[test]
    fn neighbours_do_not_come_back_in_one_instant() {
        let delay =
            |seed| BackOff::new(Duration::from_secs(1), Duration::from_secs(10), seed).after_failure();
        let distinct: std::collections::BTreeSet<_> = (0..100).map(delay).collect();
        assert!(distinct.len() > 80, "{} of 100 differ", distinct.len());
        assert_eq!(delay(3), delay(3));
    }
}
