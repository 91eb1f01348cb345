//! Owns the chance of a simulation: a sequence of numbers that follows from a seed and nothing else.

use std::ops::RangeInclusive;
use std::time::Duration;

/// A splitmix64 sequence: good enough to vary what happens, and the same on every machine.
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// The sequence of a seed. `purpose` keeps sequences of one seed apart, so that drawing more of one changes no other.
    #[must_use]
    pub const fn new(seed: u64, purpose: u64) -> Self {
        Self(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ purpose.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// The next number.
    pub const fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number of a range.
    pub const fn within(&mut self, range: RangeInclusive<u64>) -> u64 {
        let (from, to) = (*range.start(), *range.end());
        from + self.number() % (to - from + 1)
    }

    /// True so many times in a thousand.
    pub const fn permille(&mut self, thousandths: u64) -> bool {
        self.number() % 1000 < thousandths
    }

    /// So many milliseconds.
    pub const fn milliseconds(&mut self, range: RangeInclusive<u64>) -> Duration {
        Duration::from_millis(self.within(range))
    }

    /// One of several; none of none.
    pub fn pick<'a, T>(&mut self, several: &'a [T]) -> Option<&'a T> {
        let count = u64::try_from(several.len()).ok().filter(|count| *count > 0)?;
        several.get(usize::try_from(self.number() % count).ok()?)
    }
}
