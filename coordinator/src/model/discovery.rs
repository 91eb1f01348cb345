//! Owns how what an agent tells of its host is held against the host's profile and the classes of devices: in the
//! scheduler's words, and with what was not looked for left open.

use std::collections::BTreeMap;

use reeve_common::discovered::Discovered;
use reeve_common::hardware_profile::{HardwareProfile, NumaNode};
use reeve_common::ids::DeviceClass;
use reeve_common::inventory::{HostInventory, NumaNodeInventory};
use reeve_common::units::Millicores;
use reeve_scheduler::CpuAbilities;

use crate::config::DeviceClassMembers;

/// The classes of devices that the configuration declares.
pub type DeviceClasses = BTreeMap<DeviceClass, DeviceClassMembers>;

/// What was found of what the profile promises. A class of devices that is not declared is believed as the profile says;
/// so is everything that the hypervisor does not tell.
#[must_use]
pub fn discovered(
    inventory: &HostInventory,
    profile: &HardwareProfile,
    classes: &DeviceClasses,
) -> Discovered {
    let tells_nodes = !inventory.numa_nodes.is_empty();
    let found = |(class, declared): (&DeviceClass, &u32)| {
        let count = classes.get(class).map_or(*declared, |members| members.count(inventory));
        (class.clone(), count)
    };
    Discovered {
        cores: (inventory.logical_cpus > 0).then(|| Millicores::from_cores(inventory.logical_cpus)),
        memory: (inventory.memory.0 > 0).then_some(inventory.memory),
        devices: tells_devices(inventory).then(|| profile.devices.iter().map(found).collect()),
        huge_pages: tells_nodes.then(|| inventory.huge_pages.clone()),
        numa_nodes: tells_nodes.then(|| inventory.numa_nodes.iter().map(numa_node).collect()),
    }
}

/// How many devices of each declared class a host has; none of a class it has none of.
#[must_use]
pub fn devices_by_class(inventory: &HostInventory, classes: &DeviceClasses) -> BTreeMap<DeviceClass, u32> {
    let counted = classes.iter().map(|(class, members)| (class.clone(), members.count(inventory)));
    counted.filter(|(_, count)| *count > 0).collect()
}

/// What the host's processor can do; none while nobody has said.
#[must_use]
pub fn cpu_abilities(inventory: &HostInventory) -> Option<CpuAbilities> {
    let processor = &inventory.processor;
    let is_told = !processor.models.is_empty() || !processor.features.is_empty();
    is_told.then(|| CpuAbilities {
        models: processor.models.iter().map(ToString::to_string).collect(),
        features: processor.features.iter().map(ToString::to_string).collect(),
    })
}

/// Every machine has some PCI device: where none is told, nobody looked.
fn tells_devices(inventory: &HostInventory) -> bool {
    !inventory.pci_devices.is_empty() || !inventory.mediated_devices.is_empty()
}

fn numa_node(node: &NumaNodeInventory) -> NumaNode {
    NumaNode {
        cores: Millicores::from_cores(node.logical_cpus),
        memory: node.memory,
        huge_pages: node.huge_pages.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use reeve_common::hardware_profile::{HugePageSize, Overcommit};
    use reeve_common::units::Mebibytes;

    use super::*;

    fn profile() -> HardwareProfile {
        HardwareProfile {
            name: "r750".parse().unwrap(),
            cores: Millicores::from_cores(64),
            memory: Mebibytes(500 << 10),
            devices: [("a100".parse().unwrap(), 4), ("fpga".parse().unwrap(), 2)].into(),
            divisible_devices: BTreeSet::new(),
            huge_pages: [(HugePageSize(1024), 64)].into(),
            numa_nodes: Some(2),
            reserved_cores: Millicores(0),
            reserved_memory: Mebibytes(0),
            cores_overcommit: Overcommit(4000),
            memory_overcommit: Overcommit::NONE,
            cost_function: "balanced".parse().unwrap(),
        }
    }

    fn classes() -> DeviceClasses {
        let ids = ["10de:20b0".parse().unwrap()].into();
        [("a100".parse().unwrap(), DeviceClassMembers { ids, ..DeviceClassMembers::default() })].into()
    }

    #[test]
    fn the_lower_of_declared_and_found_counts() {
        let node = |node| NumaNodeInventory {
            node,
            logical_cpus: 16,
            memory: Mebibytes(200 << 10),
            huge_pages: [(HugePageSize(1024), 16)].into(),
        };
        let inventory = HostInventory {
            logical_cpus: 32,
            memory: Mebibytes(400 << 10),
            numa_nodes: vec![node(0), node(1)],
            huge_pages: [(HugePageSize(1024), 32)].into(),
            pci_devices: [("10de:20b0".parse().unwrap(), 3)].into(),
            ..HostInventory::default()
        };
        let (capacity, shortfalls) = profile().capacity_on(&discovered(&inventory, &profile(), &classes()));
        assert_eq!(capacity.cores, Millicores::from_cores(128), "whole cores first, then the overcommitment");
        assert_eq!(capacity.huge_pages, [(HugePageSize(1024), 32)].into());
        let devices: Vec<u32> = capacity.devices.values().copied().collect();
        assert_eq!(devices, [3, 2], "nobody says what an fpga is, so the profile is believed");
        let words: Vec<String> = shortfalls.iter().map(ToString::to_string).collect();
        assert_eq!(words.len(), 4, "{words:?}");
        assert_eq!(devices_by_class(&inventory, &classes()), [("a100".parse().unwrap(), 3)].into());
    }

    #[test]
    fn what_nobody_looked_for_is_believed() {
        let found = discovered(&HostInventory::default(), &profile(), &classes());
        assert_eq!(found, Discovered::default());
        assert_eq!(profile().capacity_on(&found), (profile().capacity(), Vec::new()));
        assert_eq!(cpu_abilities(&HostInventory::default()), None);
    }
}
