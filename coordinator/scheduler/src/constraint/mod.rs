//! Owns what must hold before cost is asked: one file for each constraint, each with its reason in numbers. The order
//! here is the order of the reasons: what nobody can change first, then what an administrator can, then what is full.
//!
//! Must not: know how the fleet keeps its numbers, or what a place costs.

mod affinity;
mod connection;
mod cores;
mod cpu;
mod devices;
mod draining;
mod host_labels;
mod huge_pages;
mod left;
mod memory;
mod numa;
mod pools;
mod quota;
mod realm;
mod state;
mod storage;

use crate::device_choice::{Entry, HostDevices};
use crate::host::HostDescription;
use crate::numa::{HostNodes, NodeDemand};
use crate::reason::Reason;
use crate::request::{Companions, Request};

pub(crate) use affinity::is_binding;
pub(crate) use quota::check as check_quota;

/// How much there is of one thing on one host, and how much of it is gone. The only place that says what fits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Amount {
    /// What may be promised.
    pub(crate) total: u64,
    /// What is promised or taken.
    pub(crate) used: u64,
}

impl Amount {
    /// What is left; nothing when more is used than there is.
    pub(crate) const fn free(self) -> u64 {
        self.total.saturating_sub(self.used)
    }

    /// Whether `asked` more can be promised. Nothing always can.
    pub(crate) const fn fits(self, asked: u64) -> bool {
        asked <= self.free()
    }
}

/// A host as the constraints see it.
pub(crate) struct Standing<'a> {
    /// What it is.
    pub(crate) host: &'a HostDescription,
    /// Its processor time in millicores.
    pub(crate) cores: Amount,
    /// Its memory in MiB.
    pub(crate) memory: Amount,
    /// Its devices.
    pub(crate) devices: &'a HostDevices,
    /// The devices asked for, by the numbers of their classes, in the order in which they are served.
    pub(crate) entries: &'a [Entry],
    /// Its NUMA nodes and huge pages.
    pub(crate) nodes: &'a HostNodes,
    /// How many of a VM's companions are on it.
    pub(crate) company_here: &'a dyn Fn(&Companions) -> u64,
    /// How many of them are on all hosts of the realm together.
    pub(crate) company_in_realm: &'a dyn Fn(&Companions) -> u64,
}

/// One constraint.
type Constraint = fn(&Standing<'_>, &Request) -> Result<(), Reason>;

/// A constraint that ordinary requests do not have. It is asked for whole fleets, so the answer comes without words.
struct Demand {
    /// Whether it holds.
    is_met: fn(&Standing<'_>, &Request) -> bool,
    /// Why it does not.
    reason: fn(&Standing<'_>, &Request) -> Reason,
}

impl Demand {
    fn check(&self, standing: &Standing<'_>, request: &Request) -> Result<(), Reason> {
        if (self.is_met)(standing, request) { Ok(()) } else { Err((self.reason)(standing, request)) }
    }
}

/// Those that do not depend on the request, within a realm: a host fails them for every VM.
const OF_HOST: [Constraint; 4] = [state::check, draining::check, connection::check, storage::check];

/// Those about what the host is and whom it has.
const OF_DEMANDS: [Demand; 5] =
    [left::DEMAND, cpu::DEMAND, host_labels::DEMAND, pools::DEMAND, affinity::DEMAND];

/// Those about how much is left of what few VMs ask for.
const OF_NODES: [Demand; 2] = [huge_pages::DEMAND, numa::DEMAND];

/// Those about how much is left.
const OF_CAPACITY: [Constraint; 3] = [cores::check, memory::check, devices::check];

/// Whether the host can take the VM, as far as cost has no say.
pub(crate) fn check(standing: &Standing<'_>, request: &Request) -> Result<(), Reason> {
    realm::check(standing, request)?;
    OF_HOST.iter().try_for_each(|constraint| constraint(standing, request))?;
    OF_DEMANDS.iter().try_for_each(|demand| demand.check(standing, request))?;
    OF_CAPACITY.iter().try_for_each(|constraint| constraint(standing, request))?;
    OF_NODES.iter().try_for_each(|demand| demand.check(standing, request))
}

/// Whether the host meets what the VM demands besides amounts.
pub(crate) fn meets_demands(standing: &Standing<'_>, request: &Request) -> bool {
    OF_DEMANDS.iter().chain(&OF_NODES).all(|demand| (demand.is_met)(standing, request))
}

/// Whether the VM demands anything besides amounts and usable pools.
pub(crate) fn is_demanding(request: &Request) -> bool {
    !request.cpu.is_nothing()
        || !request.host_labels.is_empty()
        || !request.left.is_empty()
        || !request.affinity.is_empty()
        || NodeDemand::of(request).is_some()
}

/// Whether the host can take any VM of its realm at all.
pub(crate) fn is_open(host: &HostDescription) -> bool {
    state::is_met(host) && draining::is_met(host) && connection::is_met(host) && storage::is_met(host)
}
