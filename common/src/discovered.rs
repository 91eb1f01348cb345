//! Owns what was found on a host, held against what its profile promises: the lower of both counts, and what falls short
//! can be told in words.
//!
//! Must not: ask the host; its agent does.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::hardware_profile::{Capacity, HardwareProfile, HugePageSize, NumaNode, promised};
use crate::ids::DeviceClass;
use crate::units::{Mebibytes, Millicores};

/// What was found on a host. What was not looked for is none, and does not count against the profile.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Discovered {
    /// Processor time of all its processors.
    pub cores: Option<Millicores>,
    /// All its memory, huge pages included.
    pub memory: Option<Mebibytes>,
    /// Devices by class; a class that is not here was not found.
    pub devices: Option<BTreeMap<DeviceClass, u32>>,
    /// Huge pages by size; a size that is not here was not found.
    pub huge_pages: Option<BTreeMap<HugePageSize, u64>>,
    /// NUMA nodes by their number, each with all that it has, huge pages included in its memory.
    pub numa_nodes: Option<Vec<NumaNode>>,
}

/// Something of which a host has less than its profile promises.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum Shortfall {
    /// Processor time.
    #[error("its profile promises {declared} cores, and it has {found}")]
    Cores {
        /// By the profile.
        declared: Millicores,
        /// On the host.
        found: Millicores,
    },
    /// Memory.
    #[error("its profile promises {declared} of memory, and it has {found}")]
    Memory {
        /// By the profile.
        declared: Mebibytes,
        /// On the host.
        found: Mebibytes,
    },
    /// Memory, since more of it is in huge pages than the profile says.
    #[error(
        "its profile promises {declared} of memory, and it has {found} besides {in_pages} in huge pages that the profile does not name"
    )]
    MemoryInPages {
        /// By the profile.
        declared: Mebibytes,
        /// On the host, the huge pages that the profile names included.
        found: Mebibytes,
        /// In other huge pages.
        in_pages: Mebibytes,
    },
    /// Devices of a class.
    #[error("its profile promises {declared} {class}, and it has {found}")]
    Devices {
        /// The class.
        class: DeviceClass,
        /// By the profile.
        declared: u32,
        /// On the host.
        found: u32,
    },
    /// Huge pages of a size.
    #[error("its profile promises {declared} huge pages of {size}, and it has {found}")]
    HugePages {
        /// The size.
        size: HugePageSize,
        /// By the profile.
        declared: u64,
        /// On the host.
        found: u64,
    },
    /// NUMA nodes.
    #[error("its profile promises {declared} NUMA nodes, and it has {found}")]
    NumaNodes {
        /// By the profile.
        declared: u32,
        /// On the host.
        found: u32,
    },
}

impl HardwareProfile {
    /// What VMs may be promised on a host on which this was found, and of what it has less than promised. Reserve and
    /// overcommitment are applied to the lower of both. Nodes are seldom of equal size, so each counts with what it has,
    /// without a word about it.
    #[must_use]
    pub fn capacity_on(&self, found: &Discovered) -> (Capacity, Vec<Shortfall>) {
        let mut shortfalls = Vec::new();
        let mut lowered = self.clone();
        if let Some(found) = found.cores.filter(|found| *found < self.cores) {
            shortfalls.push(Shortfall::Cores { declared: self.cores, found });
            lowered.cores = found;
        }
        if let Some(whole) = found.memory {
            let in_pages = self.pages_not_named(found);
            let declared = self.memory;
            let found = Mebibytes(whole.0.saturating_sub(in_pages.0));
            if found < declared {
                let in_pages_only = Shortfall::MemoryInPages { declared, found, in_pages };
                let memory = Shortfall::Memory { declared, found };
                shortfalls.push(if in_pages.0 > 0 { in_pages_only } else { memory });
                lowered.memory = found;
            }
        }
        if let Some(all) = &found.devices {
            lower(&mut lowered.devices, all, |class, declared, found| {
                shortfalls.push(Shortfall::Devices { class: class.clone(), declared, found });
            });
        }
        if let Some(all) = &found.huge_pages {
            lower(&mut lowered.huge_pages, all, |size, declared, found| {
                shortfalls.push(Shortfall::HugePages { size: *size, declared, found });
            });
        }
        let count = found.numa_nodes.as_ref().map(|nodes| u32::try_from(nodes.len()).unwrap_or(u32::MAX));
        if let (Some(declared), Some(found)) = (self.numa_nodes, count)
            && found < declared
        {
            shortfalls.push(Shortfall::NumaNodes { declared, found });
            lowered.numa_nodes = Some(found);
        }
        let mut capacity = lowered.capacity();
        for (node, found) in capacity.numa_nodes.iter_mut().zip(found.numa_nodes.iter().flatten()) {
            lowered.lower_node(node, found);
        }
        (capacity, shortfalls)
    }

    /// Memory in huge pages of which the profile knows nothing: nobody can have it.
    fn pages_not_named(&self, found: &Discovered) -> Mebibytes {
        let besides = found.huge_pages.iter().flatten().map(|(size, count)| {
            let named = self.huge_pages.get(size).copied().unwrap_or(0);
            u64::from(size.0).saturating_mul(count.saturating_sub(named))
        });
        Mebibytes(besides.fold(0, u64::saturating_add))
    }

    /// What of a node may be promised of which this was found.
    fn lower_node(&self, node: &mut NumaNode, found: &NumaNode) {
        let nodes = u64::from(self.numa_nodes.unwrap_or(1).max(1));
        lower(&mut node.huge_pages, &found.huge_pages, |_, _, _| {});
        let pages = node.huge_pages.iter().map(|(size, count)| u64::from(size.0).saturating_mul(*count));
        let kept = pages.fold(self.reserved_memory.0.div_ceil(nodes), u64::saturating_add);
        let cores = promised(found.cores.0, self.reserved_cores.0.div_ceil(nodes), self.cores_overcommit);
        let memory = promised(found.memory.0, kept, self.memory_overcommit);
        node.cores = node.cores.min(Millicores(cores));
        node.memory = node.memory.min(Mebibytes(memory));
    }
}

/// Lowers each amount to what was found, and tells of those that were higher.
fn lower<K: Ord, V: Ord + Copy + Default>(
    declared: &mut BTreeMap<K, V>,
    found: &BTreeMap<K, V>,
    mut tell: impl FnMut(&K, V, V),
) {
    for (key, amount) in declared {
        let found = found.get(key).copied().unwrap_or_default();
        if found < *amount {
            tell(key, *amount, found);
            *amount = found;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::hardware_profile::Overcommit;
    use crate::ids::{CostFunctionName, ProfileName};

    const GIANT: HugePageSize = HugePageSize(1024);

    fn class() -> DeviceClass {
        DeviceClass::new("nvidia-a100").unwrap()
    }

    fn profile() -> HardwareProfile {
        HardwareProfile {
            name: ProfileName::new("r750").unwrap(),
            cores: Millicores::from_cores(8),
            memory: Mebibytes(64 << 10),
            devices: BTreeMap::from([(class(), 4)]),
            divisible_devices: BTreeSet::new(),
            huge_pages: BTreeMap::from([(GIANT, 16)]),
            numa_nodes: Some(2),
            reserved_cores: Millicores::from_cores(1),
            reserved_memory: Mebibytes(4 << 10),
            cores_overcommit: Overcommit(4000),
            memory_overcommit: Overcommit::NONE,
            cost_function: CostFunctionName::new("balanced").unwrap(),
        }
    }

    #[test]
    fn what_was_not_looked_for_does_not_count_against_the_profile() {
        assert_eq!(profile().capacity_on(&Discovered::default()), (profile().capacity(), Vec::new()));
        let more = Discovered {
            cores: Some(Millicores::from_cores(64)),
            memory: Some(Mebibytes(1 << 20)),
            devices: Some(BTreeMap::from([(class(), 8)])),
            huge_pages: Some(BTreeMap::from([(GIANT, 64)])),
            numa_nodes: None,
        };
        assert_eq!(profile().capacity_on(&more), (profile().capacity(), Vec::new()));
        let tight = Discovered { memory: Some(Mebibytes(64 << 10)), ..more };
        let (capacity, shortfalls) = profile().capacity_on(&tight);
        assert_eq!(capacity.memory, Mebibytes(0), "48 GiB are in pages that nobody may have, 16 in others");
        assert_eq!(
            shortfalls.first().map(ToString::to_string).unwrap_or_default(),
            "its profile promises 64 GiB of memory, and it has 16 GiB besides 48 GiB in huge pages that the profile does not name"
        );
    }

    #[test]
    fn the_lower_counts_and_can_be_told() {
        let node = |gib: u64| NumaNode {
            cores: Millicores::from_cores(2),
            memory: Mebibytes(gib << 10),
            huge_pages: BTreeMap::from([(GIANT, 4)]),
        };
        let found = Discovered {
            cores: Some(Millicores::from_cores(2)),
            memory: Some(Mebibytes(32 << 10)),
            devices: Some(BTreeMap::new()),
            huge_pages: Some(BTreeMap::from([(GIANT, 8)])),
            numa_nodes: Some(vec![node(32)]),
        };
        let (capacity, shortfalls) = profile().capacity_on(&found);
        let words: Vec<String> = shortfalls.iter().map(ToString::to_string).collect();
        assert_eq!(
            words,
            [
                "its profile promises 8 cores, and it has 2",
                "its profile promises 64 GiB of memory, and it has 32 GiB",
                "its profile promises 4 nvidia-a100, and it has 0",
                "its profile promises 16 huge pages of 1 GiB, and it has 8",
                "its profile promises 2 NUMA nodes, and it has 1",
            ]
        );
        // Reserve and overcommitment come afterwards: (2 - 1) x 4 cores, 32 - 4 - 8 GiB.
        assert_eq!((capacity.cores, capacity.memory), (Millicores::from_cores(4), Mebibytes(20 << 10)));
        assert_eq!((capacity.devices[&class()], capacity.huge_pages[&GIANT]), (0, 8));
        let [node] = capacity.numa_nodes.as_slice() else { panic!("one node") };
        assert_eq!((node.cores, node.huge_pages[&GIANT]), (Millicores::from_cores(4), 4));
        assert_eq!(node.memory, Mebibytes(20 << 10));
    }

    #[test]
    fn nodes_of_unequal_size_count_with_what_they_have() {
        let node = |cores: u32, gib: u64| NumaNode {
            cores: Millicores::from_cores(cores),
            memory: Mebibytes(gib << 10),
            huge_pages: BTreeMap::from([(GIANT, 8)]),
        };
        let found = Discovered { numa_nodes: Some(vec![node(4, 48), node(4, 16)]), ..Discovered::default() };
        let (capacity, shortfalls) = profile().capacity_on(&found);
        assert_eq!(shortfalls, []);
        let memory: Vec<u64> = capacity.numa_nodes.iter().map(|node| node.memory.0 >> 10).collect();
        // Half of 64 - 4 - 16 GiB; of the second 16 - 2 - 8.
        assert_eq!(memory, [22, 6]);
    }

    #[test]
    fn absurd_numbers_are_lowered_like_others() {
        let absurd = HardwareProfile {
            cores: Millicores(u64::MAX),
            memory: Mebibytes(u64::MAX),
            huge_pages: BTreeMap::from([(HugePageSize(0), u64::MAX), (GIANT, u64::MAX)]),
            numa_nodes: Some(u32::MAX),
            ..profile()
        };
        let found = Discovered {
            cores: Some(Millicores(0)),
            memory: Some(Mebibytes(1)),
            huge_pages: Some(BTreeMap::from([(GIANT, u64::MAX)])),
            numa_nodes: Some(vec![NumaNode::default()]),
            ..Discovered::default()
        };
        let (capacity, _) = absurd.capacity_on(&found);
        assert_eq!(
            (capacity.cores, capacity.memory, capacity.huge_pages[&GIANT]),
            (Millicores(0), Mebibytes(0), 0)
        );
        assert_eq!(
            capacity.numa_nodes,
            [NumaNode { huge_pages: capacity.numa_nodes[0].huge_pages.clone(), ..NumaNode::default() }]
        );
    }
}
