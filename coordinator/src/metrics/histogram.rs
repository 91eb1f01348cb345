//! Owns counting how long things took: observations below fixed bounds, added up without a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::exposition::{Series, count};

/// Most bounds of one histogram: each is a series.
const BOUNDS_MAX: usize = 16;

/// How long some sort of thing takes.
#[derive(Debug)]
pub struct Histogram {
    /// Upper bounds in microseconds, ascending.
    bounds: &'static [u64],
    /// Observations at most as long as the bound and longer than the one before; the last for those beyond all.
    counts: [AtomicU64; BOUNDS_MAX + 1],
    microseconds: AtomicU64,
}

impl Histogram {
    /// One with these upper bounds in microseconds, ascending, [`BOUNDS_MAX`] at most.
    #[must_use]
    pub const fn new(bounds: &'static [u64]) -> Self {
        assert!(bounds.len() <= BOUNDS_MAX, "a histogram has at most 16 bounds");
        Self {
            bounds,
            counts: [const { AtomicU64::new(0) }; BOUNDS_MAX + 1],
            microseconds: AtomicU64::new(0),
        }
    }

    /// Something took so long.
    pub fn observe(&self, took: Duration) {
        let microseconds = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let place = self.bounds.partition_point(|bound| *bound < microseconds);
        if let Some(count) = self.counts.get(place) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        // It would wrap after half a million years of waiting.
        self.microseconds.fetch_add(microseconds, Ordering::Relaxed);
    }

    /// Its series: cumulative, as Prometheus wants them.
    pub fn write(&self, series: &mut Series<'_>) {
        let mut below = 0;
        for (bound, counted) in self.bounds.iter().zip(&self.counts) {
            below += counted.load(Ordering::Relaxed);
            let bound = seconds(*bound).to_string();
            series.add_with_suffix("_bucket", &[("le", &bound)], count(below));
        }
        below += self.counts.get(self.bounds.len()).map_or(0, |beyond| beyond.load(Ordering::Relaxed));
        series.add_with_suffix("_bucket", &[("le", "+Inf")], count(below));
        series.add_with_suffix("_sum", &[], seconds(self.microseconds.load(Ordering::Relaxed)));
        series.add_with_suffix("_count", &[], count(below));
    }
}

fn seconds(microseconds: u64) -> f64 {
    count(microseconds) / 1e6
}

#[cfg(test)]
mod tests {
    use super::super::exposition::{Exposition, Family, Kind};
    use super::*;

    #[test]
    fn observations_are_counted_below_each_bound() {
        let histogram = Histogram::new(&[100, 1_000]);
        for microseconds in [1, 100, 101, 5_000, u64::MAX / 4] {
            histogram.observe(Duration::from_micros(microseconds));
        }
        let family = Family { name: "h_seconds", kind: Kind::Histogram, help: "h" };
        let mut exposition = Exposition::default();
        histogram.write(&mut exposition.family(&family));
        let text = exposition.into_text();
        let lines: Vec<&str> = text.lines().skip(2).collect();
        assert_eq!(
            lines[..3],
            [
                "h_seconds_bucket{le=\"0.0001\"} 2",
                "h_seconds_bucket{le=\"0.001\"} 3",
                "h_seconds_bucket{le=\"+Inf\"} 5"
            ]
        );
        assert!(lines[3].starts_with("h_seconds_sum ") && lines[4] == "h_seconds_count 5", "{text}");
    }
}
