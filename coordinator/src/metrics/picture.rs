//! Owns what is gathered when metrics are asked for, as values: sums over the fleet, the store's sizes, the process.
//!
//! Must not: gather it; the service does, and `process` for what the kernel says.

use std::collections::BTreeMap;

use reeve_common::clock::Timestamp;
use reeve_common::ids::{DeviceClass, Epoch, HostName, ProfileName, RealmName};
use reeve_scheduler::HostState;

use crate::model::vm_state::VmState;

/// VMs that are not over, by realm and recorded state; kept up to date with every change, so that nobody has to count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VmTally {
    counts: BTreeMap<(RealmName, VmState), usize>,
}

impl VmTally {
    /// There is one more.
    pub fn enter(&mut self, realm: &RealmName, state: VmState) {
        *self.counts.entry((realm.clone(), state)).or_default() += 1;
    }

    /// There is one less.
    pub fn leave(&mut self, realm: &RealmName, state: VmState) {
        let place = (realm.clone(), state);
        if let Some(count) = self.counts.get_mut(&place) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.counts.remove(&place);
            }
        }
    }

    /// What there is.
    pub fn counts(&self) -> impl Iterator<Item = (&RealmName, VmState, usize)> {
        self.counts.iter().map(|((realm, state), count)| (realm, *state, *count))
    }
}

/// Capacity of the hosts of one realm and profile.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CapacitySum {
    /// Processor time that may be promised, in thousandths of a core.
    pub millicores: u64,
    /// What of it is promised.
    pub millicores_used: u64,
    /// Memory that may be promised, in bytes.
    pub memory: u64,
    /// What of it is promised.
    pub memory_used: u64,
    /// By class: devices in thousandths, and what of them is promised.
    pub devices: BTreeMap<DeviceClass, (u64, u64)>,
}

/// A host that is told by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostSeries {
    /// Its name.
    pub name: HostName,
    /// Its realm.
    pub realm: RealmName,
    /// Its profile.
    pub profile: ProfileName,
    /// Its agent's version; empty when it was not heard yet.
    pub agent_version: String,
    /// Its hypervisor and its version; likewise.
    pub hypervisor: String,
    /// Whether its agent is heard.
    pub connected: bool,
}

/// What the store takes, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreSizes {
    /// The database's file.
    pub database: u64,
    /// Its write-ahead log.
    pub write_ahead_log: u64,
    /// What may still be written by others than root.
    pub free: u64,
    /// All of the file system.
    pub space: u64,
}

/// What the kernel says of the coordinator's process.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ProcessFacts {
    /// Resident memory in bytes.
    pub resident: u64,
    /// Processor time in seconds.
    pub cpu_seconds: f64,
    /// Open file descriptors.
    pub open_files: u64,
    /// How many may be open.
    pub open_files_max: u64,
}

/// Everything that is gathered.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Picture {
    /// Now.
    pub now: Timestamp,
    /// When the coordinator started.
    pub started_at: Timestamp,
    /// Its term of office.
    pub epoch: Epoch,
    /// Realms configured.
    pub realms: usize,
    /// Hosts by realm, state and connection.
    pub hosts: BTreeMap<(RealmName, &'static str, &'static str), usize>,
    /// Hosts being emptied.
    pub draining: usize,
    /// Connected hosts without their libvirt.
    pub blind: usize,
    /// The first hosts, one by one.
    pub host_series: Vec<HostSeries>,
    /// The others.
    pub hosts_left_out: usize,
    /// VMs.
    pub vms: VmTally,
    /// VMs on hosts that are lost.
    pub vms_on_lost_hosts: usize,
    /// Capacity by realm and profile.
    pub capacity: BTreeMap<(RealmName, ProfileName), CapacitySum>,
    /// Certificates and when they expire.
    pub certificates: Vec<(&'static str, Timestamp)>,
    /// The same of the connected host whose certificate expires first.
    pub host_certificate: Option<Timestamp>,
    /// Standing warnings by severity.
    pub warnings: BTreeMap<&'static str, usize>,
    /// The store's sizes, where it has files.
    pub store: Option<StoreSizes>,
    /// The process.
    pub process: Option<ProcessFacts>,
}

/// A host's state as a label.
#[must_use]
pub const fn state_word(state: HostState) -> &'static str {
    match state {
        HostState::Enabled => "enabled",
        HostState::NoScheduler => "no-scheduler",
        HostState::Disabled => "disabled",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_left_is_not_told_as_zero() {
        let realm = RealmName::new("r").unwrap();
        let mut tally = VmTally::default();
        tally.enter(&realm, VmState::Running);
        tally.enter(&realm, VmState::Running);
        tally.enter(&realm, VmState::Placed);
        tally.leave(&realm, VmState::Placed);
        tally.leave(&realm, VmState::Stopped);
        assert_eq!(tally.counts().collect::<Vec<_>>(), [(&realm, VmState::Running, 2)]);
    }
}
