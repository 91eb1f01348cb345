//! Owns questions about a fleet that is not there: with hosts more, with hosts less, under another cost function. They are
//! put to a changed copy, so that the fleet itself cannot change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use reeve_common::hardware_profile::Capacity;
use reeve_common::ids::{HostId, HostName, RealmName};

use super::Fleet;
use crate::cost::CostFunction;
use crate::host::{CpuAbilities, HostDescription};

/// A host that could be bought.
#[derive(Debug, Clone)]
pub struct NewHost {
    /// What it would be called.
    pub name: HostName,
    /// Its realm.
    pub realm: RealmName,
    /// What of it could be promised.
    pub capacity: Capacity,
    /// What its processor could do.
    pub cpu: Option<CpuAbilities>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// What it would be judged by.
    pub cost_function: Arc<CostFunction>,
}

/// What would be different.
#[derive(Debug, Clone, Default)]
pub struct WhatIf {
    /// Hosts that come, in this order.
    pub with: Vec<NewHost>,
    /// Hosts that are not there, as if they had been removed.
    pub without: BTreeSet<HostId>,
    /// What all hosts are judged by, those that come as well; none to leave each its own.
    pub cost_function: Option<Arc<CostFunction>>,
}

impl WhatIf {
    /// Whether everything is as it is.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.with.is_empty() && self.without.is_empty() && self.cost_function.is_none()
    }
}

impl Fleet {
    /// A copy of the fleet in which that is so. The hosts that come get the ids that come next, as they would when they were
    /// added now.
    #[must_use]
    pub fn what_if(&self, changes: &WhatIf) -> Self {
        let mut changed = self.clone();
        for host in &changes.without {
            changed.remove_host(*host);
        }
        let last =
            self.places.hosts().chain(self.parked.keys().copied()).map(|host| host.0).max().unwrap_or(0);
        // A fleet has less than 2^32 hosts: each was given its own number, and none is given out again.
        for (id, new) in (last..u32::MAX).map(|last| HostId(last + 1)).zip(&changes.with) {
            let NewHost { name, realm, capacity, cpu, labels, cost_function } = new.clone();
            let described = HostDescription::new(id, name, realm, capacity, cost_function);
            changed.upsert_host(HostDescription { cpu, labels, ..described });
        }
        if let Some(cost_function) = &changes.cost_function {
            let described: Vec<HostDescription> = changed.hosts().cloned().collect();
            for host in described {
                changed.upsert_host(HostDescription { cost_function: Arc::clone(cost_function), ..host });
            }
        }
        changed
    }
}
