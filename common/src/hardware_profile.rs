//! Owns hardware profiles: how much of a kind of host may be scheduled. Declared in the configuration, they serve
//! all realms.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::{CostFunctionName, DeviceClass, ProfileName};
use crate::text::printable;
use crate::units::{Bytes, Mebibytes, Millicores};

/// A factor in thousandths: 4.0 is 4000. An integer, so that capacity is exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Overcommit(pub u32);

impl Overcommit {
    /// No overcommitment.
    pub const NONE: Self = Self(1000);
}

impl Default for Overcommit {
    fn default() -> Self {
        Self::NONE
    }
}

/// The most NUMA nodes of a host that are told apart, as many as Linux does. Nodes beyond are not promised to anybody.
pub const NUMA_NODES_MAX: u32 = 1024;

/// The size of a huge page in MiB: 2 or 1024 on x86.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HugePageSize(pub u32);

/// A text that is no size of huge pages.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no size of huge pages: write 2 MiB or 1 GiB")]
pub struct InvalidHugePageSize(String);

impl HugePageSize {
    /// Those that x86 processors have.
    pub const ALL: [Self; 2] = [Self(2), Self(1024)];

    /// How many pages hold `memory`, rounded up.
    #[must_use]
    pub const fn pages_for(self, memory: Mebibytes) -> u64 {
        memory.0.div_ceil(if self.0 == 0 { 1 } else { self.0 as u64 })
    }
}

impl FromStr for HugePageSize {
    type Err = InvalidHugePageSize;

    fn from_str(text: &str) -> Result<Self, InvalidHugePageSize> {
        let bytes: Option<Bytes> = text.parse().ok();
        let known = |size: &Self| bytes == Some(Mebibytes(u64::from(size.0)).bytes());
        Self::ALL
            .into_iter()
            .find(known)
            .ok_or_else(|| InvalidHugePageSize(printable(text, crate::ids::NAME_LENGTH_MAX)))
    }
}

impl std::fmt::Display for HugePageSize {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Mebibytes(u64::from(self.0)).fmt(formatter)
    }
}

/// What of one NUMA node of a host can be promised to VMs that ask for nodes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct NumaNode {
    /// Processor time.
    pub cores: Millicores,
    /// Memory, huge pages apart.
    pub memory: Mebibytes,
    /// How many huge pages of each size.
    pub huge_pages: BTreeMap<HugePageSize, u64>,
}

/// What may be scheduled on a host of this kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct HardwareProfile {
    /// Its name in the configuration.
    pub name: ProfileName,
    /// Processor time of the whole host.
    pub cores: Millicores,
    /// Memory of the whole host.
    pub memory: Mebibytes,
    /// Devices by class.
    pub devices: BTreeMap<DeviceClass, u32>,
    /// The classes whose devices may be shared by VMs (vGPU, mediated devices).
    pub divisible_devices: BTreeSet<DeviceClass>,
    /// How many huge pages of each size are set aside, out of the memory of the whole host.
    pub huge_pages: BTreeMap<HugePageSize, u64>,
    /// How many NUMA nodes of equal size it has; none when nobody asks for nodes.
    pub numa_nodes: Option<u32>,
    /// Processor time kept for the host itself.
    pub reserved_cores: Millicores,
    /// Memory kept for the host itself.
    pub reserved_memory: Mebibytes,
    /// How many times the processor time left may be promised.
    pub cores_overcommit: Overcommit,
    /// How many times the memory left may be promised.
    pub memory_overcommit: Overcommit,
    /// The cost function that hosts of this kind are judged by.
    pub cost_function: CostFunctionName,
}

/// What of a host can be promised to VMs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Capacity {
    /// Processor time.
    pub cores: Millicores,
    /// Memory, huge pages apart: they are set aside for VMs that ask for them.
    pub memory: Mebibytes,
    /// Devices by class.
    pub devices: BTreeMap<DeviceClass, u32>,
    /// The classes whose devices may be shared by VMs.
    #[serde(default)]
    pub divisible_devices: BTreeSet<DeviceClass>,
    /// How many huge pages of each size.
    #[serde(default)]
    pub huge_pages: BTreeMap<HugePageSize, u64>,
    /// NUMA nodes by their number; empty where none can be asked for.
    #[serde(default)]
    pub numa_nodes: Vec<NumaNode>,
}

impl HardwareProfile {
    /// What VMs may be promised: (whole - reserve) x overcommit, rounded down; never below zero. Memory in huge pages is
    /// promised once and to nobody else; of pages that the memory besides the reserve does not hold, the smallest stay;
    /// pages of no size are nothing.
    #[must_use]
    pub fn capacity(&self) -> Capacity {
        let (huge_pages, set_aside) = self.pages_held();
        let cores = promised(self.cores.0, self.reserved_cores.0, self.cores_overcommit);
        let kept = self.reserved_memory.0.saturating_add(set_aside);
        let memory = promised(self.memory.0, kept, self.memory_overcommit);
        let nodes = self.numa_nodes.unwrap_or(0);
        let share = |whole: u64| whole / u64::from(nodes.max(1));
        let node = NumaNode {
            cores: Millicores(share(cores)),
            memory: Mebibytes(share(memory)),
            huge_pages: huge_pages.iter().map(|(size, count)| (*size, share(*count))).collect(),
        };
        Capacity {
            cores: Millicores(cores),
            memory: Mebibytes(memory),
            devices: self.devices.clone(),
            divisible_devices: self.divisible_devices.clone(),
            huge_pages,
            numa_nodes: vec![node; nodes.min(NUMA_NODES_MAX) as usize],
        }
    }

    /// The huge pages that fit into the memory besides the reserve, and the MiB they take.
    fn pages_held(&self) -> (BTreeMap<HugePageSize, u64>, u64) {
        let whole = self.memory.0.saturating_sub(self.reserved_memory.0);
        let mut left = whole;
        let mut held = BTreeMap::new();
        for (size, count) in self.huge_pages.iter().filter(|(size, _)| size.0 > 0) {
            let count = (*count).min(left / u64::from(size.0));
            left -= count * u64::from(size.0);
            held.insert(*size, count);
        }
        (held, whole - left)
    }
}

/// What of `whole` may be promised, besides a reserve, so many times.
pub(crate) fn promised(whole: u64, reserve: u64, overcommit: Overcommit) -> u64 {
    let left = u128::from(whole.saturating_sub(reserve));
    u64::try_from(left * u128::from(overcommit.0) / 1000).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn huge_pages_are_read_as_they_are_written() {
        for size in HugePageSize::ALL {
            assert_eq!(size.to_string().parse(), Ok(size));
        }
        assert_eq!("1024 MiB".parse(), Ok(HugePageSize(1024)));
        for bad in ["", "2", "4 MiB", "2 MB", "0 B", "-1 GiB"] {
            assert!(bad.parse::<HugePageSize>().unwrap_err().to_string().contains("2 MiB or 1 GiB"), "{bad}");
        }
    }

    fn profile() -> HardwareProfile {
        HardwareProfile {
            name: ProfileName::new("r750").unwrap(),
            cores: Millicores::from_cores(64),
            memory: Mebibytes(500 << 10),
            devices: BTreeMap::new(),
            divisible_devices: BTreeSet::new(),
            huge_pages: BTreeMap::new(),
            numa_nodes: None,
            reserved_cores: Millicores::from_cores(2),
            reserved_memory: Mebibytes(8 << 10),
            cores_overcommit: Overcommit(4000),
            memory_overcommit: Overcommit::NONE,
            cost_function: CostFunctionName::new("balanced").unwrap(),
        }
    }

    #[test]
    fn capacity_is_what_is_left_times_the_overcommitment() {
        let profile = profile();
        assert_eq!(profile.capacity().cores, Millicores::from_cores(248));
        assert_eq!(profile.capacity().memory, Mebibytes(492 << 10));
        let profile = HardwareProfile {
            huge_pages: BTreeMap::from([(HugePageSize(1024), 92)]),
            numa_nodes: Some(2),
            ..profile
        };
        let capacity = profile.capacity();
        assert_eq!(capacity.memory, Mebibytes(400 << 10), "memory in huge pages is set aside");
        assert_eq!(capacity.numa_nodes.len(), 2);
        let [node, _] = capacity.numa_nodes.as_slice() else { panic!("two nodes") };
        assert_eq!((node.cores, node.memory), (Millicores::from_cores(124), Mebibytes(200 << 10)));
        assert_eq!(node.huge_pages, BTreeMap::from([(HugePageSize(1024), 46)]));
        assert_eq!(HugePageSize(2).pages_for(Mebibytes(5)), 3);
        assert_eq!(promised(5, 9, Overcommit(4000)), 0);
        assert_eq!(promised(u64::MAX, 0, Overcommit(4000)), u64::MAX);
    }

    #[test]
    fn absurd_numbers_promise_nothing_that_is_not_there() {
        let huge = HardwareProfile {
            cores: Millicores(u64::MAX),
            memory: Mebibytes(u64::MAX),
            cores_overcommit: Overcommit(u32::MAX),
            memory_overcommit: Overcommit(u32::MAX),
            huge_pages: BTreeMap::from([(HugePageSize(u32::MAX), u64::MAX)]),
            numa_nodes: Some(1_000_000_000),
            ..profile()
        };
        let capacity = huge.capacity();
        assert_eq!(capacity.numa_nodes.len(), NUMA_NODES_MAX as usize);
        assert!(capacity.huge_pages.values().all(|count| *count <= u64::MAX / u64::from(u32::MAX)));
        let nothing = HardwareProfile {
            cores: Millicores(0),
            memory: Mebibytes(0),
            huge_pages: BTreeMap::from([(HugePageSize(0), u64::MAX), (HugePageSize(2), 5)]),
            numa_nodes: Some(0),
            ..profile()
        };
        let capacity = nothing.capacity();
        assert_eq!((capacity.cores, capacity.memory), (Millicores(0), Mebibytes(0)));
        assert_eq!(capacity.huge_pages, BTreeMap::from([(HugePageSize(2), 0)]), "no memory from nothing");
        assert!(capacity.numa_nodes.is_empty());
        // 10 GiB, 2 of them kept: eight pages of 1 GiB at most, and small ones go first.
        let pages = BTreeMap::from([(HugePageSize(2), 512), (HugePageSize(1024), 100)]);
        let small = HardwareProfile {
            memory: Mebibytes(10 << 10),
            reserved_memory: Mebibytes(2 << 10),
            huge_pages: pages,
            ..profile()
        };
        let capacity = small.capacity();
        assert_eq!(capacity.huge_pages, BTreeMap::from([(HugePageSize(2), 512), (HugePageSize(1024), 7)]));
        assert_eq!(capacity.memory, Mebibytes(0));
    }
}
