//! Owns what requests demand besides amounts, and the answer of a host to it.
//!
//! ```text
//!   ordinary     amounts only, or pools that no host has trouble with      never comes here
//!   demanding    processor, host labels, affinity, troubled pools,         asked host by host, by the same
//!                NUMA nodes, huge pages                                    constraints as an explanation
//! ```

use std::collections::BTreeSet;

use reeve_common::hardware_profile::HugePageSize;
use reeve_common::ids::{HostId, PoolName};

use super::companions::Circle;
use super::particulars::Particulars;
use super::scoring::{Ground, LANES};
use crate::constraint::{self, Standing};
use crate::request::{Affinity, AffinityRule, Companions, CpuDemand, HostLabelRule, Request};

/// The part of a request class that is about demands. The request's affinity rules are those that bind.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct DemandKey {
    cpu: CpuDemand,
    host_labels: Vec<HostLabelRule>,
    affinity: Vec<AffinityRule>,
    pools: BTreeSet<PoolName>,
    left: BTreeSet<HostId>,
    huge_pages: Option<HugePageSize>,
    numa_nodes: Option<u32>,
    owner: Option<String>,
    team: Option<String>,
}

impl DemandKey {
    /// None for an ordinary request.
    pub(super) fn of(request: &Request, particulars: &Particulars) -> Option<Box<Self>> {
        if !is_demanding(request, particulars) {
            return None;
        }
        let asks = |companions| request.affinity.iter().any(|rule| rule.companions == companions);
        Some(Box::new(Self {
            cpu: request.cpu.clone(),
            host_labels: request.host_labels.clone(),
            affinity: request.affinity.clone(),
            pools: request.pools.clone(),
            left: request.left.clone(),
            huge_pages: request.huge_pages,
            numa_nodes: request.numa_nodes,
            owner: asks(Companions::Owner).then(|| request.owner.clone()),
            team: asks(Companions::Team).then(|| request.team.clone()),
        }))
    }
}

/// Whether hosts must be asked for more than amounts.
pub(super) fn is_demanding(request: &Request, particulars: &Particulars) -> bool {
    constraint::is_demanding(request) || particulars.is_troubled(request)
}

/// Whether some rule depends on who else is in the realm.
pub(super) fn wants_company(request: &Request) -> bool {
    request.affinity.iter().any(|rule| rule.kind == Affinity::Together)
}

/// What a demanding request is held against hosts with. Its affinity rules are those that bind.
#[derive(Debug)]
pub(super) struct Demands<'a> {
    request: &'a Request,
    circle: Circle<'a>,
    /// Nothing but pools: hosts without trouble need not be looked at.
    is_about_pools_only: bool,
}

/// The demands of a group's classes; none for ordinary ones.
pub(super) type GroupDemands<'a> = [Option<Demands<'a>>; LANES];

impl Ground<'_> {
    /// What a demanding `request` demands.
    pub(super) fn demands<'r>(&self, request: &'r Request) -> Demands<'r> {
        Demands {
            request,
            circle: Circle::of(request, self.book),
            is_about_pools_only: !constraint::is_demanding(request),
        }
    }

    /// Whether the host in a slot meets them.
    pub(super) fn meets(&self, slot: usize, demands: &Demands<'_>) -> bool {
        if demands.is_about_pools_only && !self.particulars.has_pool_problems(slot) {
            return true;
        }
        let Some(host) = self.host(slot) else { return false };
        let tenants = self.tenants.get(slot);
        let standing = Standing {
            host,
            cores: self.columns.cores(slot),
            memory: self.columns.memory(slot),
            // What there is room for has been asked before.
            devices: &self.columns.host_devices[slot],
            entries: &[],
            nodes: self.particulars.nodes(slot),
            company_here: &|companions| demands.circle.here(companions, tenants, self.book),
            // Only rules that bind are left, so somebody is there.
            company_in_realm: &|_| 1,
        };
        constraint::meets_demands(&standing, demands.request)
    }
}
