//! Owns which NUMA nodes a VM got: remembered as long as it is counted, so that exactly these come back.
//!
//! Must not: choose; that is the rule's (`numa`).

use reeve_common::hardware_profile::NUMA_NODES_MAX;
use reeve_common::ids::VmId;

use super::holding::{Book, Shape, Tenants};
use super::particulars::Particulars;
use crate::host::HostDescription;
use crate::numa::{HostNodes, NodeDemand};

impl Shape {
    /// What it takes of nodes and huge pages; none for most.
    pub(super) fn node_demand(&self) -> Option<NodeDemand> {
        NodeDemand::new(self.cores, self.memory, self.huge_pages, self.numa_nodes)
    }

    /// The nodes that are told of a VM, as far as it asks for so many.
    pub(super) fn nodes_told(&self, nodes: &[u32]) -> Vec<u32> {
        let mut told: Vec<u32> = nodes.iter().copied().filter(|node| *node < NUMA_NODES_MAX).collect();
        told.sort_unstable();
        told.dedup();
        told.truncate(self.numa_nodes as usize);
        told
    }
}

impl Particulars {
    /// Counts a VM. It keeps the nodes that it has, and gets those that it is still without.
    pub(super) fn admit(&mut self, slot: usize, vm: VmId, demand: &NodeDemand, book: &mut Book) {
        let host = self.nodes_mut(slot);
        let nodes = host.choose(demand, book.nodes.get(&vm).map_or(&[], Vec::as_slice));
        host.take(demand, &nodes);
        remember(vm, nodes, book);
    }

    /// Counts a VM no longer. Which nodes it had is still remembered.
    pub(super) fn dismiss(&mut self, slot: usize, vm: VmId, demand: &NodeDemand, book: &Book) {
        self.nodes_mut(slot).give_back(demand, book.nodes.get(&vm).map_or(&[], Vec::as_slice));
    }

    /// Counts anew: every VM keeps what it has, then those without get nodes.
    pub(super) fn recount(
        &mut self,
        slot: usize,
        host: &HostDescription,
        tenants: &Tenants,
        book: &mut Book,
    ) {
        let mut counted = HostNodes::new(&host.capacity);
        let demands: Vec<(VmId, NodeDemand)> = tenants
            .iter()
            .filter_map(|(vm, holding)| Some((vm, book.shapes.get(holding.shape)?.node_demand()?)))
            .collect();
        for (vm, demand) in &demands {
            counted.take(demand, book.nodes.get(vm).map_or(&[], Vec::as_slice));
        }
        for (vm, demand) in demands {
            let had = book.nodes.get(&vm).cloned().unwrap_or_default();
            let nodes = counted.choose(&demand, &had);
            if nodes.len() > had.len() {
                counted.give_back(&demand, &had);
                counted.take(&demand, &nodes);
                remember(vm, nodes, book);
            }
        }
        self.set_nodes(slot, counted);
    }

    /// Whether a VM that is to take `demand` keeps the nodes that it has: it takes the same, and has room there.
    pub(super) fn keeps_nodes(&self, slot: usize, vm: VmId, old: &Shape, new: &Shape, book: &Book) -> bool {
        let (Some(old), Some(new)) = (old.node_demand(), new.node_demand()) else { return false };
        old == new && book.nodes.get(&vm).is_some_and(|nodes| self.nodes(slot).fits_on(&new, nodes))
    }
}

fn remember(vm: VmId, nodes: Vec<u32>, book: &mut Book) {
    if !nodes.is_empty() {
        book.nodes.insert(vm, nodes);
    }
}
