//! Owns how a host is described to the scheduler: its record, its profile, and what its agent last said, in one value.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use reeve_common::clock::Timestamp;
use reeve_common::discovered::Shortfall;
use reeve_common::hardware_profile::{Capacity, HardwareProfile};
use reeve_common::ids::{HostId, PoolName};
use reeve_common::inventory::HostInventory;
use reeve_common::storage::PoolState;
use reeve_common::utilization::HostSample;
use reeve_scheduler::{ForeignUse, HostDescription, HostState, Measured};

use super::Service;
use super::core::{Core, HostEntry, LastReport};
use super::lives::contact;
use crate::config::CoordinatorConfig;
use crate::model::discovery;
use crate::model::unaccounted_use::unaccounted_use;

/// The host as the scheduler is to see it. A host whose profile is not configured any more keeps its VMs and gets no
/// new ones.
pub(super) fn describe(
    entry: &HostEntry,
    foreign: ForeignUse,
    config: &CoordinatorConfig,
    now: Timestamp,
) -> Option<HostDescription> {
    let host = &entry.kept.value;
    let realm = config.realms.get(&host.realm);
    let profile = config.hardware_profiles.get(&host.profile);
    let cost_function = profile
        .and_then(|profile| config.cost_functions.get(&profile.cost_function))
        .or_else(|| config.cost_functions.values().next())?;
    let problem = match (realm, profile) {
        (None, _) => Some(format!("realm {} is not in the configuration", host.realm)),
        (_, None) => Some(format!("hardware profile {} is not in the configuration", host.profile)),
        _ => storage_problem(entry),
    };
    let disabled = realm.is_none_or(|realm| realm.disabled);
    Some(HostDescription {
        id: host.id,
        name: host.name.clone(),
        realm: host.realm.clone(),
        state: if disabled { HostState::Disabled } else { host.state },
        contact: contact(entry, config, now),
        draining: host.draining,
        capacity: profile.map_or_else(Capacity::default, |profile| capacity(entry, profile, config).0),
        foreign,
        storage_problem: problem,
        pool_problems: entry.report.as_ref().map(pool_problems).unwrap_or_default(),
        cpu: entry.inventory.as_ref().and_then(discovery::cpu_abilities),
        labels: host.labels.clone(),
        cost_function: Arc::clone(cost_function),
    })
}

/// What VMs may be promised on a host of this profile, and of what it has less than its profile says. As long as its
/// agent has never connected, the profile is believed.
pub(super) fn capacity(
    entry: &HostEntry,
    profile: &HardwareProfile,
    config: &CoordinatorConfig,
) -> (Capacity, Vec<Shortfall>) {
    let found = entry.inventory.as_ref();
    let found = found.map(|found| discovery::discovered(found, profile, &config.device_classes));
    profile.capacity_on(&found.unwrap_or_default())
}

/// Why nothing can be started there although its agent is connected: it has not said what it has, or does not reach its
/// libvirt.
fn storage_problem(entry: &HostEntry) -> Option<String> {
    match &entry.report {
        None => Some("its agent has not reported what it has yet".to_owned()),
        Some(report) if !report.hypervisor_reachable => {
            Some("libvirt does not answer the host's agent".to_owned())
        }
        Some(_) => None,
    }
}

/// Why a pool cannot be used, for each that cannot: it matters to VMs with disks in it, and to no others.
fn pool_problems(report: &LastReport) -> BTreeMap<PoolName, String> {
    let problem = |state: &PoolState| match state {
        PoolState::Active { .. } => None,
        PoolState::Inactive => Some("it is not started"),
        PoolState::Missing => Some("it is not defined"),
    };
    let pools = report.pools.iter();
    pools.filter_map(|pool| Some((pool.name.clone(), problem(&pool.state)?.to_owned()))).collect()
}

/// What of a host is taken that nothing is reserved for.
fn foreign_use(core: &Core, entry: &HostEntry) -> ForeignUse {
    let Some(report) = &entry.report else { return ForeignUse::default() };
    let host = entry.kept.value.id;
    unaccounted_use(&report.foreign, &report.sizes, |vm| {
        let vm = core.vms().get(&vm)?.record();
        let here = vm.host == Some(host) && vm.holds_capacity();
        here.then_some(ForeignUse { cores: vm.request.cores, memory: vm.request.memory })
    })
}

/// A sample as the cost functions see it: shares as fractions from 0 to 1, rates in MiB per second since the sample
/// before. `at` is when it arrived. What was not measured is NaN, so that a term that needs it says "never here" instead of guessing.
pub(super) fn measured(
    sample: &HostSample,
    before: &HostSample,
    inventory: Option<&HostInventory>,
    at: Timestamp,
) -> Measured {
    let memory = inventory.map(|inventory| inventory.memory).unwrap_or_default();
    let fraction = |permille: u32| f64::from(permille) / 1000.0;
    let pressure = |permille: Option<u32>| permille.map_or(f64::NAN, fraction);
    let rate = |now: u64, earlier: u64| {
        if sample.at > before.at {
            mebibytes(now.saturating_sub(earlier)) / sample.at.since(before.at).as_secs_f64()
        } else {
            f64::NAN
        }
    };
    let network = |sample: &HostSample| sample.network_received.0.saturating_add(sample.network_sent.0);
    Measured {
        at,
        cpu_load: fraction(sample.cpu_permille),
        memory_load: if memory.0 == 0 {
            f64::NAN
        } else {
            mebibytes(sample.memory_used.bytes().0) / mebibytes(memory.bytes().0)
        },
        cpu_pressure: pressure(sample.cpu_pressure_permille),
        memory_pressure: pressure(sample.memory_pressure_permille),
        io_pressure: pressure(sample.io_pressure_permille),
        network_rate: rate(network(sample), network(before)),
        disk_rate: rate(disk(sample), disk(before)),
        vms_load: vms_load(sample, before, inventory),
    }
}

/// The share of all processor time since the sample before that VMs of ours used. A VM that was not there before is not
/// counted yet: what it used until then is not of this time. Both samples have their VMs in the order of their ids.
fn vms_load(sample: &HostSample, before: &HostSample, inventory: Option<&HostInventory>) -> f64 {
    let processors = inventory.map_or(0, |inventory| inventory.logical_cpus);
    let passed = sample.at.since(before.at).as_secs_f64() * f64::from(processors);
    if passed <= 0.0 {
        return f64::NAN;
    }
    let mut earlier = before.vms.iter().peekable();
    let used = sample.vms.iter().filter_map(|vm| {
        while earlier.next_if(|earlier| earlier.vm < vm.vm).is_some() {}
        let earlier = earlier.next_if(|earlier| earlier.vm == vm.vm)?;
        Some(vm.cpu_milliseconds.saturating_sub(earlier.cpu_milliseconds))
    });
    Duration::from_millis(used.fold(0, u64::saturating_add)).as_secs_f64() / passed
}

/// Bytes read and written by all VMs.
fn disk(sample: &HostSample) -> u64 {
    sample
        .vms
        .iter()
        .fold(0_u64, |sum, vm| sum.saturating_add(vm.disk_read.0).saturating_add(vm.disk_written.0))
}

#[allow(clippy::cast_precision_loss)] // a measurement, shown with three digits
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Brings the scheduler's picture of one host up to date.
pub(super) fn describe_in(core: &mut Core, id: HostId, config: &CoordinatorConfig, now: Timestamp) {
    let shared: &Core = core;
    let staying = shared.hosts.get(&id).filter(|entry| !entry.leaving);
    let description = staying.and_then(|entry| {
        let foreign = foreign_use(shared, entry);
        describe(entry, foreign, config, now)
    });
    match description {
        Some(description) => core.fleet.upsert_host(description),
        None => core.fleet.remove_host(id),
    }
}

impl Service {
    /// Brings the scheduler's picture of one host up to date.
    pub(super) fn describe_host(&self, id: HostId) {
        let (config, now) = (self.config(), self.steady_now());
        describe_in(&mut self.core(), id, &config, now);
    }

    pub(super) fn describe_all_hosts(&self) {
        let hosts: Vec<HostId> = self.core().hosts.keys().copied().collect();
        for host in hosts {
            self.describe_host(host);
        }
    }
}

#[cfg(test)]
mod tests {
    use reeve_common::clock::Timestamp;
    use reeve_common::ids::VmId;
    use reeve_common::storage::PoolReport;
    use reeve_common::units::{Bytes, Mebibytes};
    use reeve_common::utilization::VmSample;

    use super::*;

    fn vm(number: u128, cpu_milliseconds: u64) -> VmSample {
        VmSample {
            vm: VmId(uuid::Uuid::from_u128(number)),
            cpu_milliseconds,
            memory_resident: Mebibytes(0),
            disk_read: Bytes(0),
            disk_written: Bytes(0),
            network_received: Bytes(0),
            network_sent: Bytes(0),
        }
    }

    #[test]
    fn each_pool_that_cannot_be_used_is_told_and_no_other() {
        let pool = |name: &str, state: PoolState| PoolReport { name: PoolName::new(name).unwrap(), state };
        let pools = vec![pool("stopped", PoolState::Inactive), pool("gone", PoolState::Missing)];
        let mut report =
            LastReport { hypervisor_reachable: true, foreign: Vec::new(), pools, sizes: Vec::new() };
        report.pools.push(pool("good", PoolState::Active { capacity: Bytes(1), available: Bytes(1) }));
        let told = pool_problems(&report);
        let told: Vec<(&str, &str)> = told.iter().map(|(name, why)| (name.as_str(), why.as_str())).collect();
        assert_eq!(told, [("gone", "it is not defined"), ("stopped", "it is not started")]);
    }

    #[test]
    fn the_load_of_vms_is_what_they_used_of_the_time_between_two_samples() {
        let inventory = HostInventory { logical_cpus: 4, ..HostInventory::default() };
        let before = HostSample {
            at: Timestamp(1_000),
            vms: vec![vm(0, 70), vm(2, 500), vm(3, 100)],
            ..HostSample::default()
        };
        // Two VMs used a second of the eight that there were; two others are new, and one is gone.
        let sample = HostSample {
            at: Timestamp(3_000),
            vms: vec![vm(1, 9_000), vm(2, 1_400), vm(3, 200), vm(4, 9_000)],
            ..HostSample::default()
        };
        let load = measured(&sample, &before, Some(&inventory), Timestamp(0)).vms_load;
        assert!((load - 0.125).abs() < 1e-9, "{load}");
        assert!(measured(&sample, &before, None, Timestamp(0)).vms_load.is_nan(), "processors unknown");
        assert!(
            measured(&sample, &sample, Some(&inventory), Timestamp(0)).vms_load.is_nan(),
            "no time has passed"
        );
    }
}
