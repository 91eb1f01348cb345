//! Owns the NUMA nodes and huge pages of one host: what there is, what is gone, and which nodes a VM gets.
//!
//! ```text
//!   a VM on n nodes      1/n of its cores and of its memory on each, rounded up; n nodes that have that left, those
//!                        with the least left first, the lowest number among equals
//!   a VM on huge pages   its memory in pages of one size; no ordinary memory
//!   any other            floats: it counts for the host as a whole, and for no node
//! ```
//!
//! The host as a whole must have room besides; that is another constraint's.
//!
//! Must not: remember which VM has what (`fleet/node_assignment`).

use std::collections::BTreeMap;

use reeve_common::hardware_profile::{Capacity, HugePageSize, NUMA_NODES_MAX, NumaNode};

use crate::constraint::Amount;
use crate::fleet::AMOUNT_MAX;
use crate::request::Request;

/// Pages of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pages {
    /// Of this size.
    pub(crate) size: HugePageSize,
    /// So many.
    pub(crate) count: u64,
}

/// What a VM takes of nodes and of huge pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NodeDemand {
    /// On how many nodes it is; none when it floats.
    pub(crate) nodes: u32,
    /// Millicores on each of them.
    pub(crate) cores: u64,
    /// MiB of ordinary memory on each of them.
    pub(crate) memory: u64,
    /// Huge pages on each of them; none when its memory is ordinary.
    pub(crate) pages: Option<Pages>,
    /// Huge pages in all.
    pub(crate) pages_in_all: u64,
}

impl NodeDemand {
    /// What a VM with so many millicores and MiB takes; none when it neither takes huge pages nor asks for nodes.
    pub(crate) fn new(cores: u64, memory: u64, huge_pages: Option<HugePageSize>, nodes: u32) -> Option<Self> {
        if huge_pages.is_none() && nodes == 0 {
            return None;
        }
        let each = |whole: u64| whole.div_ceil(u64::from(nodes.max(1)));
        // More than can be counted is more than any host has.
        let is_beyond = memory > AMOUNT_MAX;
        let in_all = |size: HugePageSize| {
            if is_beyond { u64::MAX } else { size.pages_for(reeve_common::units::Mebibytes(memory)) }
        };
        Some(Self {
            nodes,
            cores: each(cores),
            memory: if huge_pages.is_some() { 0 } else { each(memory) },
            pages: huge_pages.map(|size| Pages { size, count: each(in_all(size)) }),
            pages_in_all: huge_pages.map_or(0, in_all),
        })
    }

    /// What `request` takes.
    pub(crate) fn of(request: &Request) -> Option<Self> {
        let nodes = request.numa_nodes.unwrap_or(0);
        Self::new(request.cores.0, request.memory.0, request.huge_pages, nodes)
    }
}

/// What there is on one node, or on a host as a whole, and what is gone of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Room {
    cores: Amount,
    memory: Amount,
    pages: BTreeMap<HugePageSize, Amount>,
}

impl Room {
    fn of(node: &NumaNode) -> Self {
        Self {
            cores: amount(node.cores.0),
            memory: amount(node.memory.0),
            pages: page_amounts(&node.huge_pages),
        }
    }

    fn pages(&self, size: HugePageSize) -> Amount {
        self.pages.get(&size).copied().unwrap_or_default()
    }

    fn fits(&self, demand: &NodeDemand) -> bool {
        let has_pages = |pages: Pages| self.pages(pages.size).fits(pages.count);
        self.cores.fits(demand.cores) && self.memory.fits(demand.memory) && demand.pages.is_none_or(has_pages)
    }

    /// What is left of the memory that a VM takes: pages of its size, or MiB.
    fn left_for(&self, demand: &NodeDemand) -> u64 {
        demand.pages.map_or(self.memory, |pages| self.pages(pages.size)).free()
    }

    fn change(&mut self, demand: &NodeDemand, change: Change) {
        self.cores.used = change(self.cores.used, demand.cores);
        self.memory.used = change(self.memory.used, demand.memory);
        if let Some(pages) = demand.pages {
            let amount = self.pages.entry(pages.size).or_default();
            amount.used = change(amount.used, pages.count);
        }
    }
}

type Change = fn(u64, u64) -> u64;

fn amount(total: u64) -> Amount {
    Amount { total: total.min(AMOUNT_MAX), used: 0 }
}

/// A page of no size would be memory from nothing.
fn page_amounts(pages: &BTreeMap<HugePageSize, u64>) -> BTreeMap<HugePageSize, Amount> {
    pages.iter().filter(|(size, _)| size.0 > 0).map(|(size, count)| (*size, amount(*count))).collect()
}

/// The nodes and huge pages of one host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct HostNodes {
    pages: BTreeMap<HugePageSize, Amount>,
    nodes: Vec<Room>,
}

impl HostNodes {
    /// None of any.
    pub(crate) const NONE: Self = Self { pages: BTreeMap::new(), nodes: Vec::new() };

    /// What `capacity` promises, nothing of it gone.
    pub(crate) fn new(capacity: &Capacity) -> Self {
        let nodes = capacity.numa_nodes.iter().take(NUMA_NODES_MAX as usize);
        Self { pages: page_amounts(&capacity.huge_pages), nodes: nodes.map(Room::of).collect() }
    }

    /// Huge pages of one size on the whole host.
    pub(crate) fn pages(&self, size: HugePageSize) -> Amount {
        self.pages.get(&size).copied().unwrap_or_default()
    }

    /// How many nodes there are.
    pub(crate) fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// On how many nodes an equal part of the VM would fit.
    pub(crate) fn fitting(&self, demand: &NodeDemand) -> usize {
        self.nodes.iter().filter(|room| room.fits(demand)).count()
    }

    /// Whether all that the VM takes would fit on `nodes`.
    pub(crate) fn fits_on(&self, demand: &NodeDemand, nodes: &[u32]) -> bool {
        let fits = |node: &u32| self.nodes.get(*node as usize).is_some_and(|room| room.fits(demand));
        nodes.len() == demand.nodes as usize && nodes.iter().all(fits)
    }

    /// The nodes for a VM that has those of `nodes` already, in the order of their numbers. Where too few have room for it,
    /// as when it was found running, those with the most left; where there are too few, all.
    pub(crate) fn choose(&self, demand: &NodeDemand, nodes: &[u32]) -> Vec<u32> {
        let missing = (demand.nodes as usize).saturating_sub(nodes.len());
        let numbered = (0_u32..).zip(&self.nodes).filter(|(number, _)| !nodes.contains(number));
        let mut candidates: Vec<(bool, u64, u32)> = numbered
            .map(|(number, room)| {
                let left = room.left_for(demand);
                let fits = room.fits(demand);
                (!fits, if fits { left } else { u64::MAX - left }, number)
            })
            .collect();
        candidates.sort_unstable();
        let chosen = candidates.into_iter().take(missing).map(|(_, _, number)| number);
        let mut all: Vec<u32> = nodes.iter().copied().chain(chosen).collect();
        all.sort_unstable();
        all
    }

    /// Counts a VM on `nodes`. A node that is not there is left out.
    pub(crate) fn take(&mut self, demand: &NodeDemand, nodes: &[u32]) {
        self.change(demand, nodes, u64::saturating_add);
    }

    /// Counts it no longer.
    pub(crate) fn give_back(&mut self, demand: &NodeDemand, nodes: &[u32]) {
        self.change(demand, nodes, u64::saturating_sub);
    }

    fn change(&mut self, demand: &NodeDemand, nodes: &[u32], change: Change) {
        if let Some(Pages { size, .. }) = demand.pages {
            let amount = self.pages.entry(size).or_default();
            amount.used = change(amount.used, demand.pages_in_all);
        }
        for node in nodes {
            if let Some(room) = self.nodes.get_mut(*node as usize) {
                room.change(demand, change);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use reeve_common::units::{Mebibytes, Millicores};

    use super::*;

    const GIANT: HugePageSize = HugePageSize(1024);

    fn host(memories: &[u64], pages: u64) -> HostNodes {
        let node = |memory: &u64| NumaNode {
            cores: Millicores(8000),
            memory: Mebibytes(*memory),
            huge_pages: BTreeMap::from([(GIANT, pages), (HugePageSize(0), 1000)]),
        };
        HostNodes::new(&Capacity {
            huge_pages: BTreeMap::from([(GIANT, pages * memories.len() as u64), (HugePageSize(0), 1000)]),
            numa_nodes: memories.iter().map(node).collect(),
            ..Capacity::default()
        })
    }

    #[test]
    fn the_fullest_nodes_that_fit_are_taken() {
        let mut nodes = host(&[4096, 2048, 1024, 2048], 0);
        let demand = |memory, count| NodeDemand::new(2000, memory, None, count).unwrap();
        assert_eq!(nodes.choose(&demand(2048, 1), &[]), [1], "the lowest number among equals");
        assert_eq!(nodes.choose(&demand(2049, 2), &[]), [1, 2].map(|n| if n == 2 { 3 } else { 1 }));
        assert_eq!(nodes.choose(&demand(1024, 2), &[3]), [2, 3], "what it has it keeps");
        assert_eq!((nodes.fitting(&demand(2049, 1)), nodes.fitting(&demand(4097, 1))), (1, 0));
        // What is there already goes where the most is left, and to all nodes where it asks for more.
        assert_eq!(nodes.choose(&demand(9000, 1), &[]), [0]);
        assert_eq!(nodes.choose(&demand(9000, u32::MAX), &[]), [0, 1, 2, 3]);
        let before = nodes.clone();
        nodes.take(&demand(9000, 4), &[0, 1, 2, 3, 77]);
        assert_eq!(nodes.fitting(&demand(1, 1)), 1, "only the first has some of its 4096 left");
        nodes.give_back(&demand(9000, 4), &[0, 1, 2, 3, 77]);
        assert_eq!(nodes, before);
    }

    #[test]
    fn pages_are_another_kind_of_memory() {
        let mut nodes = host(&[100, 100], 3);
        let demand = NodeDemand::new(1000, 5000, Some(GIANT), 2).unwrap();
        assert_eq!((demand.memory, demand.pages_in_all), (0, 5));
        assert_eq!(demand.pages, Some(Pages { size: GIANT, count: 3 }), "rounded up");
        assert_eq!(nodes.choose(&demand, &[]), [0, 1]);
        nodes.take(&demand, &[0, 1]);
        assert_eq!(nodes.pages(GIANT), Amount { total: 6, used: 5 });
        assert_eq!(nodes.fitting(&demand), 0);
        let floating = NodeDemand::new(1000, 1024, Some(GIANT), 0).unwrap();
        nodes.take(&floating, &[]);
        assert_eq!(nodes.pages(GIANT).free(), 0);
    }

    #[test]
    fn numbers_beyond_all_measure_fit_nowhere() {
        let nodes = host(&[u64::MAX, u64::MAX], u64::MAX / 2);
        for size in [GIANT, HugePageSize(0), HugePageSize(u32::MAX)] {
            let demand = NodeDemand::new(u64::MAX, u64::MAX, Some(size), u32::MAX).unwrap();
            assert!(!nodes.pages(size).fits(demand.pages_in_all));
        }
        assert_eq!(nodes.pages(HugePageSize(0)).total, 0, "no memory from nothing");
        let many = NodeDemand::new(1, 1, None, u32::MAX).unwrap();
        assert!(nodes.fitting(&many) < u32::MAX as usize);
        assert_eq!(NodeDemand::new(1, 1, None, 0), None);
    }
}
