//! Owns what only demanding requests ask of a realm's hosts, so that ordinary ones never meet it.

use std::collections::BTreeMap;

use reeve_common::ids::PoolName;

use crate::host::HostDescription;
use crate::request::Request;

/// What few requests ask, by slot.
#[derive(Debug, Clone, Default)]
pub(super) struct Particulars {
    /// Whether some pool cannot be used on the host.
    has_pool_problems: Vec<bool>,
    /// On how many hosts each pool cannot be used.
    troubled_pools: BTreeMap<PoolName, usize>,
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
    }

    /// Leaves the slots in `order`, in that order.
    pub(super) fn reorder(&mut self, order: &[usize]) {
        self.has_pool_problems = order.iter().map(|slot| self.has_pool_problems(*slot)).collect();
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
