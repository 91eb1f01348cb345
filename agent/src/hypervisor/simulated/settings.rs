//! Owns what a simulated host is like: its size, its storage and how its guests behave by themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use reeve_common::hardware_profile::HugePageSize;
use reeve_common::ids::{MediatedType, PoolName, VolumeName};
use reeve_common::inventory::{NumaNodeInventory, PciId, Processor};
use reeve_common::storage::DiskFormat;
use reeve_common::units::{Bytes, Mebibytes};

/// What a simulated host is like.
#[derive(Debug, Clone)]
pub struct SimulationSettings {
    /// Logical processors.
    pub logical_cpus: u32,
    /// Memory.
    pub memory: Mebibytes,
    /// What guests can have of its processors.
    pub processor: Processor,
    /// NUMA nodes, each with an equal part of processors, memory and huge pages.
    pub numa_nodes: u32,
    /// Huge pages, out of the memory.
    pub huge_pages: BTreeMap<HugePageSize, u64>,
    /// PCI devices.
    pub pci_devices: BTreeMap<PciId, u32>,
    /// Mediated devices.
    pub mediated_devices: BTreeMap<MediatedType, u32>,
    /// Its pools and what is in them at first. What a state file holds already is not changed.
    pub pools: Vec<PoolSetting>,
    /// Whether a pool or image that is asked for and was never made is there all the same, so that a fleet of
    /// simulated hosts needs no storage to be prepared.
    pub boundless_storage: bool,
    /// How guests behave.
    pub guests: GuestMode,
    /// Where the state is kept, so that domains "run on" while the process is restarted; none: in memory alone.
    pub state_file: Option<PathBuf>,
}

impl Default for SimulationSettings {
    fn default() -> Self {
        Self {
            logical_cpus: 64,
            memory: Mebibytes(512 << 10),
            processor: Processor {
                models: names(&["qemu64", "Skylake-Server", "EPYC"]),
                features: names(&["aes", "avx", "avx2", "sse4.1", "sse4.2"]),
            },
            numa_nodes: 2,
            huge_pages: BTreeMap::new(),
            pci_devices: BTreeMap::new(),
            mediated_devices: BTreeMap::new(),
            pools: Vec::new(),
            boundless_storage: true,
            guests: GuestMode::Automatic(GuestPace::default()),
            state_file: None,
        }
    }
}

/// Those that are names; a test sees that all are.
fn names<N: FromStr + Ord>(texts: &[&str]) -> BTreeSet<N> {
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}

impl SimulationSettings {
    /// The NUMA nodes; what cannot be divided evenly goes to the first ones.
    pub(super) fn nodes(&self) -> Vec<NumaNodeInventory> {
        let count = self.numa_nodes.max(1);
        let part = |whole: u64, node: u32| {
            let count = u64::from(count);
            whole / count + u64::from(u64::from(node) < whole % count)
        };
        let node = |node: u32| NumaNodeInventory {
            node,
            logical_cpus: u32::try_from(part(u64::from(self.logical_cpus), node)).unwrap_or(u32::MAX),
            memory: Mebibytes(part(self.memory.0, node)),
            huge_pages: self.huge_pages.iter().map(|(size, pages)| (*size, part(*pages, node))).collect(),
        };
        (0..count).map(node).collect()
    }
}

/// Whether guests do anything by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuestMode {
    /// They boot, answer and shut down at this pace.
    Automatic(GuestPace),
    /// They do nothing until the test says so.
    Stepped,
}

/// How fast a guest is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuestPace {
    /// From its start until its guest agent answers and it obeys the power button.
    pub boot: Duration,
    /// From the power button until it is off.
    pub shutdown: Duration,
}

impl Default for GuestPace {
    /// About what a small guest takes under KVM.
    fn default() -> Self {
        Self { boot: Duration::from_secs(2), shutdown: Duration::from_secs(1) }
    }
}

/// A pool as it is at first.
#[derive(Debug, Clone)]
pub struct PoolSetting {
    /// Its name.
    pub name: PoolName,
    /// Whether it is started.
    pub active: bool,
    /// Its size.
    pub capacity: Bytes,
    /// What is in it: name, size, format.
    pub volumes: Vec<(VolumeName, Bytes, DiskFormat)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_the_whole_machine_between_them() {
        let settings = SimulationSettings {
            logical_cpus: 5,
            memory: Mebibytes(1001),
            huge_pages: [(HugePageSize(2), 3)].into(),
            ..SimulationSettings::default()
        };
        let nodes = settings.nodes();
        let [first, second] = nodes.as_slice() else { panic!("{nodes:?}") };
        assert_eq!((first.logical_cpus, second.logical_cpus), (3, 2));
        assert_eq!((first.memory, second.memory), (Mebibytes(501), Mebibytes(500)));
        assert_eq!((first.huge_pages[&HugePageSize(2)], second.huge_pages[&HugePageSize(2)]), (2, 1));
        assert_eq!((settings.processor.models.len(), settings.processor.features.len()), (3, 5));
    }
}
