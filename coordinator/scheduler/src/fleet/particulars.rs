//! Owns what only demanding requests ask of a realm's hosts, so that ordinary ones never meet it.

use std::collections::BTreeMap;

use reeve_common::ids::PoolName;

use crate::host::HostDescription;
use crate::numa::HostNodes;
use crate::request::Request;

/// Those of a host that has none.
static NO_NODES: HostNodes = HostNodes::NONE;

/// What few requests ask, by slot.
#[derive(Debug, Clone, Default)]
pub(super) struct Particulars {
    /// Whether some pool cannot be used on the host.
    has_pool_problems: Vec<bool>,
    /// On how many hosts each pool cannot be used.
    troubled_pools: BTreeMap<PoolName, usize>,
    /// NUMA nodes and huge pages; none where there are none and nobody takes any.
    nodes: Vec<Option<Box<HostNodes>>>,
}

impl Particulars {
    /// Replaces what is known of the host in a slot; `old` was there before.
    pub(super) fn set(&mut self, slot: usize, old: Option<&HostDescription>, new: Option<&HostDescription>) {
        for pool in old.iter().flat_map(|host| host.pool_problems.keys()) {
            if let Some(count) = self.troubled_pools.get_mut(pool) {
                *count -= 1;
                if *count == 0 {
                    self.troubled_pools.remove(pool);
                }
            }
        }
        for pool in new.iter().flat_map(|host| host.pool_problems.keys()) {
            *self.troubled_pools.entry(pool.clone()).or_default() += 1;
        }
        if self.has_pool_problems.len() <= slot {
            self.has_pool_problems.resize(slot + 1, false);
        }
        self.has_pool_problems[slot] = new.is_some_and(|host| !host.pool_problems.is_empty());
        if new.is_none() {
            self.set_nodes(slot, HostNodes::default());
        }
    }

    /// Replaces the NUMA nodes and huge pages of the host in a slot.
    pub(super) fn set_nodes(&mut self, slot: usize, nodes: HostNodes) {
        if nodes == NO_NODES {
            if let Some(place) = self.nodes.get_mut(slot) {
                *place = None;
            }
        } else {
            *self.nodes_mut(slot) = nodes;
        }
    }

    /// The NUMA nodes and huge pages of the host in a slot.
    pub(super) fn nodes(&self, slot: usize) -> &HostNodes {
        self.nodes.get(slot).and_then(Option::as_deref).unwrap_or(&NO_NODES)
    }

    /// The same to be changed.
    pub(super) fn nodes_mut(&mut self, slot: usize) -> &mut HostNodes {
        if self.nodes.len() <= slot {
            self.nodes.resize(slot + 1, None);
        }
        self.nodes[slot].get_or_insert_default()
    }

    /// Leaves the slots in `order`, in that order.
    pub(super) fn reorder(&mut self, order: &[usize]) {
        self.has_pool_problems = order.iter().map(|slot| self.has_pool_problems(*slot)).collect();
        let mut take = |slot: &usize| self.nodes.get_mut(*slot).and_then(Option::take);
        self.nodes = order.iter().map(&mut take).collect();
    }

    /// Whether some pool cannot be used on the host in a slot.
    pub(super) fn has_pool_problems(&self, slot: usize) -> bool {
        self.has_pool_problems.get(slot).copied().unwrap_or_default()
    }

    /// Whether one of the request's pools cannot be used on some host.
    pub(super) fn is_troubled(&self, request: &Request) -> bool {
        !self.troubled_pools.is_empty()
            && request.pools.iter().any(|pool| self.troubled_pools.contains_key(pool))
    }
}
