//! Owns what the scheduler is told of a host: what it is (the description) and how busy it is (what was measured).
//!
//! Must not: count reservations; those are the fleet's.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use reeve_common::clock::Timestamp;
use reeve_common::hardware_profile::{Capacity, HugePageSize};
use reeve_common::ids::{DeviceClass, HostId, HostName, PoolName, RealmName};
use reeve_common::units::{Mebibytes, Millicores};
use serde::{Deserialize, Serialize};

use crate::cost::CostFunction;

/// What an administrator lets a host be used for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostState {
    /// Managed, and chosen for new VMs.
    #[default]
    Enabled,
    /// Managed, but never chosen.
    NoScheduler,
    /// Left alone.
    Disabled,
}

impl HostState {
    /// All of them, in the order they are listed to people.
    pub const ALL: [Self; 3] = [Self::Enabled, Self::NoScheduler, Self::Disabled];

    /// The word for it in commands, files and answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::NoScheduler => "no-scheduler",
            Self::Disabled => "disabled",
        }
    }
}

impl fmt::Display for HostState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// Whether a host's agent is heard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Contact {
    /// It is.
    #[default]
    Connected,
    /// It has not been heard for a moment.
    Suspected,
    /// It is not connected, or has not been heard for so long that it counts as lost.
    Lost,
}

/// A text that is no host state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no host state; use enabled, no-scheduler or disabled")]
pub struct UnknownHostState {
    /// The text as given.
    pub text: String,
}

impl FromStr for HostState {
    type Err = UnknownHostState;

    fn from_str(text: &str) -> Result<Self, UnknownHostState> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| UnknownHostState { text: text.to_owned() })
    }
}

/// What domains take that are not ours: it is gone from the host's capacity, whoever started them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ForeignUse {
    /// Processor time.
    pub cores: Millicores,
    /// Memory.
    pub memory: Mebibytes,
}

/// A host as the scheduler sees it.
#[derive(Debug, Clone)]
pub struct HostDescription {
    /// Which.
    pub id: HostId,
    /// Its name.
    pub name: HostName,
    /// Its realm.
    pub realm: RealmName,
    /// What it may be used for.
    pub state: HostState,
    /// Whether its agent is heard.
    pub contact: Contact,
    /// It is being emptied.
    pub draining: bool,
    /// What may be promised to VMs: the lower of what the profile declares and what was discovered.
    pub capacity: Capacity,
    /// What is taken by domains that are not ours.
    pub foreign: ForeignUse,
    /// Why no VM at all can be started here; none when VMs can.
    pub storage_problem: Option<String>,
    /// Why a storage pool cannot be used here, for each that cannot.
    pub pool_problems: BTreeMap<PoolName, String>,
    /// What its processor can do; none while its agent has not said.
    pub cpu: Option<CpuAbilities>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// What it is judged by.
    pub cost_function: Arc<CostFunction>,
}

impl HostDescription {
    /// An enabled, connected host of which nothing else is known.
    #[must_use]
    pub fn new(
        id: HostId,
        name: HostName,
        realm: RealmName,
        capacity: Capacity,
        cost_function: Arc<CostFunction>,
    ) -> Self {
        Self {
            id,
            name,
            realm,
            state: HostState::Enabled,
            contact: Contact::Connected,
            draining: false,
            capacity,
            foreign: ForeignUse::default(),
            storage_problem: None,
            pool_problems: BTreeMap::new(),
            cpu: None,
            labels: BTreeMap::new(),
            cost_function,
        }
    }
}

/// What a host's processor can do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CpuAbilities {
    /// The named models that its hypervisor can give to guests.
    pub models: BTreeSet<String>,
    /// The features that it has.
    pub features: BTreeSet<String>,
}

/// How busy a host was when it was last measured. Shares are fractions: 0 is idle, 1 is all of it. A reading that
/// does not exist (a kernel without pressure information) is NaN, and then a term that names it means "never here".
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Measured {
    /// When it was measured.
    pub at: Timestamp,
    /// `measured.cpu.load`: busy processor time, of all processors.
    pub cpu_load: f64,
    /// `measured.memory.load`: memory in use, of all memory.
    pub memory_load: f64,
    /// `measured.cpu.pressure`: share of time in which some task waited for a processor.
    pub cpu_pressure: f64,
    /// `measured.memory.pressure`: share of time in which some task waited for memory.
    pub memory_pressure: f64,
    /// `measured.disk.pressure`: share of time in which some task waited for input or output.
    pub io_pressure: f64,
    /// `measured.network.rate`: MiB received and sent per second.
    pub network_rate: f64,
    /// `measured.disk.rate`: MiB read and written per second.
    pub disk_rate: f64,
    /// `measured.vms.load`: processor time used by VMs of ours, of all processors.
    pub vms_load: f64,
}

/// What of a host is promised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct HostUsage {
    /// What may be promised.
    pub capacity: Capacity,
    /// What is promised to our VMs. It may exceed the capacity after a profile shrank or a VM was found running.
    pub used: Promised,
    /// What others' domains take besides.
    pub foreign: ForeignUse,
    /// How many VMs of ours are counted here.
    pub vms: usize,
}

/// What is promised to VMs of ours.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Promised {
    /// Processor time.
    pub cores: Millicores,
    /// Memory, huge pages apart.
    pub memory: Mebibytes,
    /// Devices by class, in thousandths of a device.
    pub devices_permille: BTreeMap<DeviceClass, u64>,
    /// Huge pages by size.
    pub huge_pages: BTreeMap<HugePageSize, u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_states_are_read_as_they_are_written() {
        for state in HostState::ALL {
            assert_eq!(state.to_string().parse(), Ok(state));
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
        let error = "enable".parse::<HostState>().unwrap_err().to_string();
        assert_eq!(error, "\"enable\" is no host state; use enabled, no-scheduler or disabled");
    }
}
