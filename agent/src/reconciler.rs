//! Owns the comparison of what libvirt has with what the agent keeps: which VMs need a supervisor, which supervisor
//! must look again, and which VMs are only known by what was written down.
//!
//! Level-triggered and pure: it takes the whole of both sides each time. It never concludes that a VM is off: a
//! domain that is missing from the list makes its supervisor look for itself, since the list may be older than the
//! supervisor's last act.
//!
//! What somebody does to one of our domains behind our back, and what becomes of it:
//!
//! ```text
//!   done by hand              rule
//!   started                   kept as if we had started it: its guest must register in time
//!   destroyed, shut down      told as ended; kept until the coordinator wishes it stopped
//!   destroyed while starting  the same: it is not tried again against somebody's will
//!   suspended, resumed        told; nothing is done
//!   undefined while off       looked at for 2 s, then given up: what is left of it is removed
//!   undefined while running   kept: the ledger of what runs counts
//!   ledger removed, spoilt    unknown and left alone, whatever is wished
//!   ledger put back           kept again, as the ledger says
//!   reconfigured              left as it is; its size is told, and the excess counts as used
//!   renamed                   kept: the id counts; a name that is none of ours is left alone
//! ```
//!
//! Each is seen within a second: the hypervisor tells of every change (`hypervisor::events`), the VM's supervisor looks,
//! and calls for a comparison when what has changed is told by a report alone. The comparison on a timer repairs what a
//! lost event would have said.

use std::collections::{BTreeMap, BTreeSet};

use reeve_common::clock::Timestamp;
use reeve_common::ids::VmId;
use reeve_common::vm::{DomainSize, ForeignDomain};

use crate::hypervisor::{DomainState, Domains};
use crate::vm::known::{Known, Preparation, Seen, Tombstone};

/// What follows from a comparison.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reconciliation {
    /// VMs that nobody keeps yet, with what is known of them.
    pub adopt: Vec<Known>,
    /// VMs whose supervisor saw something else than libvirt says.
    pub look_again: Vec<VmId>,
    /// Preparations that a ledger entry or a tombstone has taken the place of.
    pub settled: Vec<VmId>,
    /// Everyone else's domains.
    pub foreign: Vec<ForeignDomain>,
    /// What ours may take.
    pub sizes: Vec<DomainSize>,
}

/// Compares all `domains` with the VMs being `kept` (and the state in which each was last seen), the tombstones and
/// the preparations that were written down.
#[must_use]
pub fn reconcile(
    domains: Domains,
    kept: &BTreeMap<VmId, Option<DomainState>>,
    tombstones: &BTreeMap<VmId, Tombstone>,
    preparations: &BTreeMap<VmId, Preparation>,
    now: Timestamp,
) -> Reconciliation {
    let present: BTreeSet<VmId> = domains.own.iter().map(|domain| domain.vm).collect();
    let mut result = Reconciliation { foreign: domains.foreign, ..Reconciliation::default() };
    for domain in domains.own {
        let (name, memory) = (domain.name.clone(), domain.memory);
        result.sizes.push(DomainSize { vm: domain.vm, name, vcpus: domain.vcpus, memory });
        match kept.get(&domain.vm) {
            Some(last_seen) if *last_seen == Some(domain.state) => {}
            Some(_) => result.look_again.push(domain.vm),
            None => {
                let tombstone = tombstones.get(&domain.vm).cloned();
                let known = Known::found(domain, now);
                result.adopt.push(match tombstone {
                    None => known,
                    Some(tombstone) => known.buried(tombstone),
                });
            }
        }
    }
    let missing = kept.iter().filter(|(vm, last_seen)| last_seen.is_some() && !present.contains(vm));
    result.look_again.extend(missing.map(|(vm, _)| *vm));
    for (vm, preparation) in preparations {
        if present.contains(vm) || tombstones.contains_key(vm) {
            result.settled.push(*vm);
        } else if !kept.contains_key(vm) {
            let mut known = Known::prepared(preparation.clone());
            // A domain with this id that is not recognisably ours is not nothing.
            if !result.foreign.iter().any(|foreign| foreign.id == *vm) {
                known.see(Seen::Absent, now);
            }
            result.adopt.push(known);
        }
    }
    result
}

#[cfg(test)]
#[path = "reconciler_tests.rs"]
mod tests;
