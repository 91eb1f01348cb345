//! Owns the fewest hosts that could do, by volume alone.
//!
//! Must not: look at how anything was placed.

use super::outcome::{HostsBound, Moment, Resource, Resources};
use super::trace::TraceHost;

/// Follows how much is asked for.
#[derive(Debug)]
pub(super) struct Demanded {
    now: Resources<u64>,
    peak: Resources<u64>,
    peak_at: Resources<Moment>,
}

impl Demanded {
    pub(super) fn new() -> Self {
        Self { now: Resources::default(), peak: Resources::default(), peak_at: Resources::default() }
    }

    /// Somebody comes.
    pub(super) fn come(&mut self, size: Resources<u64>, at: Moment) {
        self.now = self.now.plus(size);
        let (now, peak) = (self.now, self.peak);
        self.peak_at = Resources::make(|resource| {
            if now.of(resource) > peak.of(resource) { at } else { *self.peak_at.of(resource) }
        });
        self.peak = peak.or_more(now);
    }

    /// Somebody leaves.
    pub(super) fn leave(&mut self, size: Resources<u64>) {
        self.now = self.now.minus(size);
    }

    /// What is asked for now by all who came and have not left.
    pub(super) fn now(&self) -> &Resources<u64> {
        &self.now
    }

    /// The most that was asked for at the same time, of each for itself.
    pub(super) fn peak(&self) -> &Resources<u64> {
        &self.peak
    }

    /// The fewest hosts that could hold that.
    pub(super) fn bound(&self, hosts: &[TraceHost]) -> HostsBound {
        let mut worst =
            HostsBound { hosts: 0, resource: Resource::Cores, at: self.peak_at.cores, exceeds_fleet: false };
        for resource in Resource::ALL {
            let peak = *self.peak.of(resource);
            let (count, suffices) = largest_needed(hosts, resource, peak);
            worst.exceeds_fleet |= !suffices;
            if count > worst.hosts {
                worst = HostsBound { hosts: count, resource, at: *self.peak_at.of(resource), ..worst };
            }
        }
        worst
    }
}

/// How many of the largest hosts hold `demand`, and whether all of them do.
fn largest_needed(hosts: &[TraceHost], resource: Resource, demand: u64) -> (usize, bool) {
    let mut sizes: Vec<u64> = hosts.iter().map(|host| *host.size().of(resource)).collect();
    sizes.sort_unstable_by(|left, right| right.cmp(left));
    let (mut count, mut held) = (0, 0_u64);
    while held < demand {
        let Some(size) = sizes.get(count) else { return (count, false) };
        held = held.saturating_add(*size);
        count += 1;
    }
    (count, true)
}
