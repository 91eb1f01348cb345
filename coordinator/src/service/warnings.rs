//! Owns standing warnings as the coordinator keeps them: it looks at the fleet from time to time, has it judged, and makes
//! the changes durable. What is found and what becomes of it is decided in `model`.
//!
//! Must not: raise a warning from what is logged, or judge anything by itself.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Duration;

use reeve_common::ids::{HostId, VmId};
use reeve_common::logging::messages;
use reeve_common::storage::PoolState;

use super::acting::acting_on;
use super::core::{Core, HostEntry};
use super::description::capacity;
use super::failing_over::wants_decision;
use super::lives::{Now, connection};
use super::{Actor, Service, ServiceError};
use crate::config::CoordinatorConfig;
use crate::metrics::store_sizes;
use crate::model::host::{Connection, may_be_told};
use crate::model::warning::{self, Change, Kept, Severity, Warning, WarningId, WarningKind};
use crate::model::warning_findings::{
    self, CoordinatorFacts, Hearing, HostFacts, LEFTOVER_PATIENCE, of_coordinator, of_host,
};
use crate::pki::HOST_CERTIFICATE_LIFETIME;
use crate::records::{Record, warning_key};
use crate::store::{Batch, Precondition, Version};

/// How often the fleet is looked at: soon enough for people, seldom enough to cost nothing.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);
/// Hosts, or VMs, that are looked at under one hold of the lock: no decision waits for longer than some hundred
/// microseconds.
const LOOKED_AT_ONCE: usize = 256;
/// An agent that was turned away tries again about every minute: after so long each has.
const SETTLED_AFTER: Duration = Duration::from_secs(180);
/// Changes in one transaction: far below what a batch holds.
const CHANGES_AT_ONCE: usize = 64;

/// A warning in memory, and the version of its record.
#[derive(Debug, Clone)]
pub(crate) struct StandingWarning {
    pub(crate) kept: Kept,
    pub(crate) version: Version,
}

impl StandingWarning {
    pub(crate) fn new(warning: Warning, version: Version) -> Self {
        Self { kept: Kept { stored_last_seen: warning.last_seen, warning }, version }
    }
}

/// How many warnings stand that nobody has acknowledged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OpenWarnings {
    /// Something does not work.
    pub failures: usize,
    /// It should be seen to.
    pub warnings: usize,
}

/// Those of the whole fleet.
pub(super) fn open_warnings(core: &Core) -> OpenWarnings {
    let mut open = OpenWarnings::default();
    for warning in core.warnings.values().map(|standing| &standing.kept.warning) {
        match warning.severity {
            _ if !warning.is_open() => {}
            Severity::Failure => open.failures += 1,
            Severity::Warning => open.warnings += 1,
        }
    }
    open
}

/// How many of them are of one host.
pub(super) fn open_of(core: &Core, host: &str) -> usize {
    if core.warnings.is_empty() {
        return 0;
    }
    // Looked up kind by kind: all hosts may be asked about at once.
    let mut id = WarningId { kind: WarningKind::SilentHost, subject: host.to_owned() };
    let is_open = |kind: &&WarningKind| {
        id.kind = **kind;
        core.warnings.get(&id).is_some_and(|standing| standing.kept.warning.is_open())
    };
    WarningKind::ALL.iter().filter(is_open).count()
}

impl Service {
    /// All warnings that are kept, also those that are gone, by kind and subject.
    #[must_use]
    pub fn warnings(&self) -> Vec<Warning> {
        self.core().warnings.values().map(|standing| standing.kept.warning.clone()).collect()
    }

    /// Notes that somebody knows of a warning.
    ///
    /// # Errors
    /// [`ServiceError`] when there is no such warning, it is not open, or the store fails.
    pub async fn acknowledge_warning(&self, id: &WarningId, actor: &Actor) -> Result<Warning, ServiceError> {
        acting_on(|| format!("warning {id}"));
        let _writer = self.inner.warning_writer.lock().await;
        let Some(standing) = self.core().warnings.get(id).cloned() else {
            return Err(ServiceError::not_found("warning", id, "reeve warning list"));
        };
        let Some(next) = standing.kept.warning.acknowledged(&actor.name, self.now()) else {
            return Err(ServiceError::conflict(format!("warning {id} is not open")).advise(
                "`reeve warning list --all` says who has acknowledged it, or since when it is gone",
            ));
        };
        self.store_warnings(vec![Change::Write(next.clone())]).await?;
        log::info!(REEVE_OPERATOR:% = actor.name; "warning {id} acknowledged by {}", actor.name);
        Ok(next)
    }

    /// Looks at the fleet from time to time; never returns.
    pub async fn keep_warnings(self) {
        loop {
            if let Err(error) = self.look_for_warnings().await {
                log::error!(MESSAGE_ID:% = messages::NOT_RECORDED; "warnings cannot be recorded: {error}");
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// Looks at everything once.
    pub(crate) async fn look_for_warnings(&self) -> Result<(), ServiceError> {
        let _writer = self.inner.warning_writer.lock().await;
        let coordinator = self.coordinator_facts();
        let hosts = self.host_facts();
        let mut findings = of_coordinator(&coordinator);
        findings.extend(hosts.iter().flat_map(|host| of_host(host, &coordinator)));
        let by_name: BTreeMap<&str, &HostFacts> =
            hosts.iter().map(|host| (host.name.as_str(), host)).collect();
        // Whoever is not a host any more, or never was, has been judged.
        let can_judge = |id: &WarningId| {
            by_name.get(id.subject.as_str()).is_none_or(|host| warning_findings::can_judge(host, id.kind))
        };
        let kept: BTreeMap<WarningId, Kept> = {
            let core = self.core();
            core.warnings.iter().map(|(id, standing)| (id.clone(), standing.kept.clone())).collect()
        };
        let changes = warning::follow(&kept, findings, can_judge, coordinator.now);
        self.store_warnings(changes).await
    }

    /// Makes changes durable, and shows them. The caller holds the writers' lock.
    async fn store_warnings(&self, changes: Vec<Change>) -> Result<(), ServiceError> {
        let (shown, stored): (Vec<Change>, Vec<Change>) =
            changes.into_iter().partition(|change| matches!(change, Change::Show(_)));
        for change in shown {
            let Change::Show(warning) = change else { continue };
            if let Some(standing) = self.core().warnings.get_mut(&warning.id()) {
                standing.kept.warning = warning;
            }
        }
        for some in stored.chunks(CHANGES_AT_ONCE) {
            let mut batch = Batch::new();
            for change in some {
                batch = self.add_to(batch, change)?;
            }
            let version = self.write(batch).await?;
            let mut core = self.core();
            for change in some {
                match change {
                    Change::Write(warning) => {
                        core.warnings.insert(warning.id(), StandingWarning::new(warning.clone(), version));
                    }
                    Change::Forget(id) => {
                        core.warnings.remove(id);
                    }
                    Change::Show(_) => {}
                }
            }
        }
        Ok(())
    }

    fn add_to(&self, batch: Batch, change: &Change) -> Result<Batch, ServiceError> {
        let internal = |error: &dyn std::error::Error| ServiceError::internal(crate::chain(error));
        let version = |id: &WarningId| self.core().warnings.get(id).map(|standing| standing.version);
        match change {
            Change::Write(warning) => {
                let id = warning.id();
                let key = warning_key(&id).map_err(|error| internal(&error))?;
                let text = warning.encode().map_err(|error| internal(&error))?;
                let precondition = version(&id).map_or(Precondition::Absent, Precondition::At);
                Ok(batch.put(key, precondition, text))
            }
            Change::Forget(id) => {
                let key = warning_key(id).map_err(|error| internal(&error))?;
                Ok(match version(id) {
                    Some(version) => batch.delete(key, Precondition::At(version)),
                    None => batch,
                })
            }
            Change::Show(_) => Ok(batch),
        }
    }

    fn coordinator_facts(&self) -> CoordinatorFacts {
        let config = self.config();
        let braked = config
            .realms
            .keys()
            .filter_map(|realm| Some((realm.to_string(), self.failover_plan(realm).braked?.to_string())));
        CoordinatorFacts {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            now: self.now(),
            authority_ends: self.inner.authority.not_after(),
            server_certificate_ends: self.server_certificate_ends(),
            certificate_lifetime: HOST_CERTIFICATE_LIFETIME,
            store: store_sizes(&config.store_path()).map(|sizes| (sizes.database, sizes.free, sizes.space)),
            braked: braked.collect(),
        }
    }

    fn host_facts(&self) -> Vec<HostFacts> {
        let (config, now) = (self.config(), self.both_clocks());
        let leftovers = self.leftovers(now);
        let contradictions = self.contradictions();
        let mut facts = Vec::new();
        let mut from = Bound::Unbounded;
        loop {
            let core = self.core();
            let mut last = None;
            for (id, entry) in core.hosts.range((from, Bound::Unbounded)).take(LOOKED_AT_ONCE) {
                facts.push(HostFacts {
                    leftovers: leftovers.get(id).copied().unwrap_or_default(),
                    contradiction: contradictions.get(id).cloned(),
                    ..self.facts_of(&core, entry, &config, now)
                });
                last = Some(*id);
            }
            let Some(last) = last else { return facts };
            from = Bound::Excluded(last);
        }
    }

    fn facts_of(&self, core: &Core, entry: &HostEntry, config: &CoordinatorConfig, now: Now) -> HostFacts {
        let host = &entry.kept.value;
        let hearing = match connection(entry, config, now) {
            Connection::NeverJoined => Hearing::NeverJoined,
            Connection::Connected { .. } => Hearing::Heard,
            Connection::Suspected { .. } => Hearing::Awaited,
            Connection::Fenced { .. } | Connection::SelfFenced { .. } => Hearing::Fenced,
            Connection::Lost { since } if self.is_lost(entry) => Hearing::Lost(since),
            Connection::Lost { .. } => Hearing::Awaited,
        };
        let waits = |vm: &VmId| core.vm(*vm).is_some_and(|current| wants_decision(core, config, &current.vm));
        let decisions = match hearing {
            Hearing::Lost(_) | Hearing::Fenced => {
                core.living_on(host.id).iter().filter(|vm| waits(vm)).count()
            }
            Hearing::Heard | Hearing::NeverJoined | Hearing::Awaited => 0,
        };
        let profile = config.hardware_profiles.get(&host.profile);
        let not_configured = match (config.realms.get(&host.realm), profile) {
            (None, _) => Some(format!("its realm {} is not in the configuration", host.realm)),
            (_, None) => Some(format!("its hardware profile {} is not in the configuration", host.profile)),
            _ => None,
        };
        let shortfalls = profile.map(|profile| capacity(entry, profile, config).1).unwrap_or_default();
        let by_leases = config.realms.get(&host.realm).is_some_and(|realm| realm.lease.is_some());
        HostFacts {
            name: host.name.to_string(),
            is_settled: self.in_service_for() >= SETTLED_AFTER,
            is_left_alone: !may_be_told(host.state),
            hearing,
            has_reported: entry.report.is_some(),
            refused: entry.refused.clone(),
            libvirt_answers: entry.report.as_ref().is_none_or(|report| report.hypervisor_reachable),
            bad_pools: bad_pools(entry),
            not_configured,
            shortfalls: shortfalls.iter().map(ToString::to_string).collect(),
            clock_ahead_ms: entry.clock_ahead_ms,
            certificate_ends: entry.certificate_ends,
            lock_manager: entry.lock_manager,
            agent_version: entry.inventory.as_ref().map(|found| found.agent_version.clone()),
            lacks_watchdog: entry.life.is_connected() && by_leases && entry.life.lacks_watchdog(),
            unmanaged: entry.unmanaged.len(),
            leftovers: 0,
            decisions,
            contradiction: None,
        }
    }

    /// How many VMs have been going from each connected host for too long.
    fn leftovers(&self, now: Now) -> BTreeMap<HostId, usize> {
        let mut counts = BTreeMap::new();
        let mut from = Bound::Unbounded;
        loop {
            let core = self.core();
            let mut last = None;
            for (id, entry) in core.vms().range((from, Bound::Unbounded)).take(LOOKED_AT_ONCE) {
                for displaced in &entry.current.borrow().vm.displaced_from {
                    let is_late = now.wall.since(displaced.at) >= LEFTOVER_PATIENCE;
                    let host = core.hosts.get(&displaced.host);
                    if is_late && host.is_some_and(|host| host.life.is_connected()) {
                        *counts.entry(displaced.host).or_default() += 1;
                    }
                }
                last = Some(*id);
            }
            let Some(last) = last else { return counts };
            from = Bound::Excluded(last);
        }
    }
}

fn bad_pools(entry: &HostEntry) -> Vec<String> {
    let Some(report) = entry.report.as_ref().filter(|report| report.hypervisor_reachable) else {
        return Vec::new();
    };
    let pools = report.pools.iter().filter_map(|pool| match pool.state {
        PoolState::Active { .. } => None,
        PoolState::Inactive => Some(format!("{} is not started", pool.name)),
        PoolState::Missing => Some(format!("{} is not defined", pool.name)),
    });
    pools.collect()
}

#[cfg(test)]
#[path = "warnings_tests.rs"]
mod tests;
