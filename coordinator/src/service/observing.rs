//! Owns gathering what the metrics show: one walk through the hosts, some at a time, and what is counted already.
//!
//! Must not: walk through the VMs, which may be a million; they are counted as they change.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use reeve_common::clock::Timestamp;
use reeve_common::ids::HostId;
use reeve_scheduler::HostUsage;

use super::Service;
use super::core::{Core, HostEntry};
use super::lives::{Now, connection};
use super::warnings::open_warnings;
use crate::config::CoordinatorConfig;
use crate::metrics::state_word;
use crate::metrics::{
    CapacitySum, HOST_SERIES_MAX, HostSeries, Picture, Recorder, process_facts, render, store_sizes,
};
use crate::model::host::Connection;
use crate::model::warning::Severity;

/// Hosts that are looked at under one hold of the lock: some hundred microseconds, so that no decision waits for a scrape.
const HOSTS_AT_ONCE: usize = 256;

impl Service {
    /// What is counted.
    #[must_use]
    pub fn metrics(&self) -> &Recorder {
        &self.inner.metrics
    }

    /// Now, on a clock that is never set.
    pub(crate) fn monotonic(&self) -> Instant {
        self.inner.clock.monotonic()
    }

    /// Everything in the text that Prometheus reads. Takes time by the number of hosts.
    #[must_use]
    pub fn metrics_text(&self) -> String {
        render(&self.picture(), self.metrics())
    }

    /// When the coordinator's own certificate expires; none when nobody serves agents.
    pub(super) fn server_certificate_ends(&self) -> Option<Timestamp> {
        let ends = self.metrics().server_certificate_ends().load(Ordering::Relaxed);
        (ends > 0).then_some(Timestamp(ends))
    }

    fn certificates(&self) -> Vec<(&'static str, Timestamp)> {
        let authority = ("authority", self.inner.authority.not_after());
        let server = self.server_certificate_ends().map(|ends| ("server", ends));
        [authority].into_iter().chain(server).collect()
    }

    fn open_by_severity(&self) -> BTreeMap<&'static str, usize> {
        let open = open_warnings(&self.core());
        [(Severity::Failure, open.failures), (Severity::Warning, open.warnings)]
            .map(|(severity, count)| (severity.as_str(), count))
            .into()
    }

    fn picture(&self) -> Picture {
        let (config, now) = (self.config(), self.both_clocks());
        // Each asked by itself: two holds of the lock in one expression would wait for each other for ever.
        let vms = self.core().vm_tally().clone();
        let warnings = self.open_by_severity();
        let certificates = self.certificates();
        let mut picture = Picture {
            now: now.wall,
            started_at: self.inner.started_at,
            epoch: self.inner.epoch,
            realms: config.realms.len(),
            vms,
            warnings,
            certificates,
            store: store_sizes(&config.store_path()),
            process: process_facts(),
            ..Picture::default()
        };
        let mut after = None;
        while let Some(last) = self.picture_hosts(&mut picture, after, &config, now) {
            after = Some(last);
        }
        picture
    }

    /// Takes in the next hosts by id. Answers the last of them; none when there are no more.
    fn picture_hosts(
        &self,
        picture: &mut Picture,
        after: Option<HostId>,
        config: &Arc<CoordinatorConfig>,
        now: Now,
    ) -> Option<HostId> {
        let core = self.core();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut last = None;
        for (id, entry) in core.hosts.range((from, Bound::Unbounded)).take(HOSTS_AT_ONCE) {
            take_in(picture, &core, entry, connection(entry, config, now));
            last = Some(*id);
        }
        last
    }
}

fn take_in(picture: &mut Picture, core: &Core, entry: &HostEntry, connection: Connection) {
    let host = &entry.kept.value;
    let place = (host.realm.clone(), state_word(host.state), connection_word(connection));
    *picture.hosts.entry(place).or_default() += 1;
    picture.draining += usize::from(host.draining);
    let is_blind = entry.report.as_ref().is_some_and(|report| !report.hypervisor_reachable);
    picture.blind += usize::from(connection.is_connected() && is_blind);
    // A host that is away may be away for good: what its certificate does is told by the warnings.
    if let Some(ends) = entry.certificate_ends.filter(|_| connection.is_connected()) {
        picture.host_certificate = Some(picture.host_certificate.map_or(ends, |first| first.min(ends)));
    }
    if let Some(usage) = core.fleet.usage(host.id) {
        let sum = picture.capacity.entry((host.realm.clone(), host.profile.clone())).or_default();
        add(sum, &usage);
        if connection.is_lost() {
            picture.vms_on_lost_hosts += usage.vms;
        }
    }
    if picture.host_series.len() >= HOST_SERIES_MAX {
        picture.hosts_left_out += 1;
        return;
    }
    let found = entry.inventory.as_ref();
    picture.host_series.push(HostSeries {
        name: host.name.clone(),
        realm: host.realm.clone(),
        profile: host.profile.clone(),
        agent_version: found.map(|found| found.agent_version.clone()).unwrap_or_default(),
        hypervisor: found.map(|found| found.hypervisor.clone()).unwrap_or_default(),
        connected: connection.is_connected(),
    });
}

fn add(sum: &mut CapacitySum, usage: &HostUsage) {
    let (capacity, used) = (&usage.capacity, &usage.used);
    sum.millicores = sum.millicores.saturating_add(capacity.cores.0);
    sum.millicores_used = sum.millicores_used.saturating_add(used.cores.0);
    sum.memory = sum.memory.saturating_add(capacity.memory.bytes().0);
    sum.memory_used = sum.memory_used.saturating_add(used.memory.bytes().0);
    for (class, count) in &capacity.devices {
        let (all, promised) = sum.devices.entry(class.clone()).or_default();
        *all = all.saturating_add(u64::from(*count).saturating_mul(1000));
        let taken = used.devices_permille.get(class).copied().unwrap_or_default();
        *promised = promised.saturating_add(taken);
    }
}

const fn connection_word(connection: Connection) -> &'static str {
    match connection {
        Connection::NeverJoined => "never-joined",
        Connection::Connected { .. } => "connected",
        Connection::Suspected { .. } => "suspected",
        Connection::Lost { .. } => "lost",
        Connection::Fenced { .. } => "fenced",
        Connection::SelfFenced { .. } => "self-fenced",
    }
}

#[cfg(test)]
#[path = "observing_tests.rs"]
mod tests;
