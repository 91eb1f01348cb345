//! Owns why a VM of a trace was refused, in one word: which resource is gone from every host, or whether it is only that no
//! host has enough of each.
//!
//! Must not: say what fits. The fleet is asked, for the whole request and for each resource by itself.
//!
//! A host that cannot take a request can do so later only if a VM leaves it. So each search goes through the hosts once,
//! and then only looks at those that were left since: however many VMs are refused, that is little work.

use std::collections::HashMap;
use std::fmt;

use reeve_common::ids::{HostId, RealmName};
use reeve_common::units::{Mebibytes, Millicores};
use reeve_scheduler::{Fleet, Reason, Request};

use super::trace::{Shape, TraceHost};

/// Why a VM was refused. Of several reasons the first in this order counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// No host could take it even if it were empty.
    TooLarge,
    /// No host has devices enough left.
    Devices,
    /// No host has cores enough left.
    Cores,
    /// No host has memory enough left.
    Memory,
    /// Each is enough on some host, but not all on one.
    Together,
    /// Enough is left, but the cost of placing there is not finite.
    Cost,
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::TooLarge => "too large",
            Self::Devices => "devices",
            Self::Cores => "cores",
            Self::Memory => "memory",
            Self::Together => "not together",
            Self::Cost => "cost",
        })
    }
}

/// Says why VMs are refused, in the course of one run.
#[derive(Debug)]
pub(super) struct Judge<'a> {
    hosts: &'a [TraceHost],
    realm: RealmName,
    /// The hosts that VMs have left, in order.
    left: Vec<HostId>,
    searches: HashMap<Request, Search>,
    too_large: HashMap<usize, bool>,
}

/// How far hosts are known to have no room for a request.
#[derive(Debug, Default, Clone, Copy)]
struct Search {
    /// Those before this one, except for...
    next: usize,
    /// ...those left from here on.
    left_seen: usize,
}

impl<'a> Judge<'a> {
    pub(super) fn new(hosts: &'a [TraceHost], realm: RealmName) -> Self {
        Self { hosts, realm, left: Vec::new(), searches: HashMap::new(), too_large: HashMap::new() }
    }

    /// A VM has left a host.
    pub(super) fn left(&mut self, host: HostId) {
        self.left.push(host);
    }

    /// Why the fleet refuses a VM of this shape now.
    pub(super) fn judge(&mut self, number: usize, shape: &Shape, fleet: &Fleet) -> Refusal {
        let hosts = self.hosts;
        let fits_none = || !hosts.iter().any(|host| shape.fits_alone(host));
        if *self.too_large.entry(number).or_insert_with(fits_none) {
            return Refusal::TooLarge;
        }
        let whole = shape.request(self.realm.clone());
        let alone = |cores, memory| Request::new(self.realm.clone(), cores, memory);
        let parts = [
            (Refusal::Devices, Request { cores: Millicores(0), memory: Mebibytes(0), ..whole.clone() }),
            (Refusal::Cores, alone(whole.cores, Mebibytes(0))),
            (Refusal::Memory, alone(Millicores(0), whole.memory)),
        ];
        for (refusal, part) in parts {
            if !self.has_room(part, fleet) {
                return refusal;
            }
        }
        if self.has_room(whole, fleet) { Refusal::Cost } else { Refusal::Together }
    }

    /// Whether some host has enough left, whatever it would cost.
    fn has_room(&mut self, request: Request, fleet: &Fleet) -> bool {
        let fits = |host| matches!(fleet.fits(host, &request), Ok(()) | Err(Reason::Cost { .. }));
        let mut search = self.searches.get(&request).copied().unwrap_or_default();
        let found = search.run(&self.left, self.hosts.len(), fits);
        self.searches.insert(request, search);
        found
    }
}

impl Search {
    fn run(&mut self, left: &[HostId], hosts: usize, fits: impl Fn(HostId) -> bool) -> bool {
        while let Some(host) = left.get(self.left_seen) {
            if fits(*host) {
                return true;
            }
            self.left_seen += 1;
        }
        while self.next < hosts {
            if fits(host_id(self.next)) {
                return true;
            }
            self.next += 1;
        }
        false
    }
}

/// The id of the host on a line of the trace: they are numbered in the order of their file.
pub(super) fn host_id(index: usize) -> HostId {
    HostId(u32::try_from(index + 1).unwrap_or(u32::MAX))
}

/// The other way round.
pub(super) fn host_index(host: HostId) -> usize {
    (host.0 as usize).saturating_sub(1)
}
