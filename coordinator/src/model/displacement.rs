//! Owns how a VM leaves a host that was lost, is placed anew, and what is left of it on the old host goes. Pure.
//!
//! ```text
//!   on node-1, generation 3
//!        │ node-1 is proved to run it no more
//!        ▼
//!   on no host, generation 4, displaced from node-1 ──▶ placed, … on node-2, generation 4
//!        │ node-1 returns and reports it, whatever it says of it: it is told to stop it, at generation 4
//!        │ node-1 says that nothing of it is left
//!        ▼
//!   displaced from nowhere
//! ```
//!
//! The generation is what keeps the two apart: a wish for the old place that is still on its way is older than the one
//! to stop, and a report of the old place never touches the record. Its new system disk has a new name, so that the old
//! host's clearing up cannot take it away where both see the same pool. What the guest had written on the old one is
//! lost; what matters lies on drives.

use std::time::Duration;

use reeve_common::clock::Timestamp;
use reeve_common::ids::{Generation, HostId, VolumeName};
use reeve_common::vm::DesiredVm;
use reeve_scheduler::Assignment;
use serde::{Deserialize, Serialize};

use super::definition::Definition;
use super::vm::{Vm, Wish};
use super::vm_state::VmState;

/// A host that a VM was on and that has not confirmed that nothing of it is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Displaced {
    /// Which.
    pub host: HostId,
    /// The generation of the wish that nothing of it is left there.
    pub generation: Generation,
    /// Since when it is elsewhere.
    pub at: Timestamp,
}

/// Takes `vm` off its host. The caller has a proof that the host runs it no more. None when it is on no host, or is not
/// to run.
#[must_use]
pub fn displace(vm: &Vm, why: &str, now: Timestamp) -> Option<Vm> {
    let host = vm.host.filter(|_| vm.wish == Wish::Run && !vm.state.is_final())?;
    let mut next = vm.clone();
    next.generation = vm.generation.next();
    next.host = None;
    next.assignment = Assignment::default();
    next.registered_at = None;
    next.displaced_from.retain(|displaced| displaced.host != host);
    next.displaced_from.push(Displaced { host, generation: next.generation, at: now });
    next.request.left.insert(host);
    // What somebody else made can be made by nobody here.
    let Definition::Made(spec) = &mut next.definition else { return None };
    spec.system_disk.volume = disk_name(vm, next.generation)?;
    next.enter(VmState::Unplaceable, Some(format!("{why}; it waits for a place elsewhere")), now);
    Some(next)
}

/// The name of a system disk that no earlier one of the VM has. A name has at most 63 characters, and a VM's own at most
/// 55: no suffix longer than this leaves room for all generations there will be.
fn disk_name(vm: &Vm, generation: Generation) -> Option<VolumeName> {
    VolumeName::new(format!("{}.g{}", vm.name, generation.0)).ok()
}

/// What a host that the VM was displaced from is told of it; none when it was not on that host, or nothing is left.
#[must_use]
pub fn leftover_wish(vm: &Vm, host: HostId) -> Option<(Generation, DesiredVm)> {
    let displaced = vm.displaced_from.iter().find(|displaced| displaced.host == host)?;
    Some((displaced.generation, DesiredVm::Stopped { grace: Duration::ZERO }))
}

/// A host has confirmed that nothing of the VM is left on it. None when that is known.
#[must_use]
pub fn confirm_gone(vm: &Vm, host: HostId) -> Option<Vm> {
    let known = vm.displaced_from.iter().any(|displaced| displaced.host == host);
    known.then(|| {
        let mut next = vm.clone();
        next.displaced_from.retain(|displaced| displaced.host != host);
        next
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use reeve_common::ids::VmName;

    use super::super::{fixture, vm_life};
    use super::*;

    const NOW: Timestamp = Timestamp(5_000);

    fn disk_of(vm: &Vm) -> VolumeName {
        vm.definition.made().unwrap().system_disk.volume.clone()
    }

    fn on(host: u32) -> Vm {
        let mut vm = fixture::vm();
        vm.host = Some(HostId(host));
        vm.enter(VmState::Running, None, NOW);
        vm
    }

    #[test]
    fn a_displaced_vm_is_nowhere_with_a_new_generation_and_a_new_disk() {
        let vm = on(1);
        let displaced = displace(&vm, "host node-1 was fenced", NOW).unwrap();
        assert_eq!((displaced.host, displaced.generation), (None, vm.generation.next()));
        assert!(!displaced.holds_capacity() && displaced.state == VmState::Unplaceable);
        assert_ne!(disk_of(&displaced), disk_of(&vm));
        assert!(displaced.request.left.contains(&HostId(1)), "it is never placed there again");
        assert_eq!(
            displaced.reason.as_deref(),
            Some("host node-1 was fenced; it waits for a place elsewhere")
        );
        let (generation, wish) = leftover_wish(&displaced, HostId(1)).unwrap();
        assert_eq!(generation, displaced.generation);
        assert_eq!(wish, DesiredVm::Stopped { grace: Duration::ZERO });
        assert!(leftover_wish(&displaced, HostId(2)).is_none());
        let confirmed = confirm_gone(&displaced, HostId(1)).unwrap();
        assert!(confirmed.displaced_from.is_empty() && confirm_gone(&confirmed, HostId(1)).is_none());
    }

    #[test]
    fn the_longest_name_has_room_for_a_new_disk() {
        let mut vm = on(1);
        vm.name = VmName::new(format!("{}-5f0c0000", "a".repeat(46))).unwrap();
        vm.generation = Generation(99_999);
        assert!(displace(&vm, "lost", NOW).is_some());
    }

    #[test]
    fn what_is_not_to_run_or_is_nowhere_is_not_displaced() {
        assert!(displace(&fixture::vm(), "x", NOW).is_none());
        let stopping = vm_life::wish_stop(&on(1), Duration::ZERO, NOW).changed.unwrap();
        assert!(displace(&stopping, "x", NOW).is_none());
    }

    proptest! {
        /// However often it is displaced: generations grow, no disk has the name of another, each old host has its wish,
        /// newer than all that host was told before.
        #[test]
        fn places_are_kept_apart(hosts in proptest::collection::vec(1..6_u32, 1..12)) {
            let mut vm = on(hosts[0]);
            let mut disks = vec![disk_of(&vm)];
            for host in &hosts {
                vm.host = Some(HostId(*host));
                let told = vm.generation;
                let next = displace(&vm, "lost", NOW).unwrap();
                prop_assert!(leftover_wish(&next, HostId(*host)).unwrap().0 > told);
                prop_assert!(!disks.contains(&disk_of(&next)));
                disks.push(disk_of(&next));
                vm = next;
            }
            let mut distinct = hosts.clone();
            distinct.sort_unstable();
            distinct.dedup();
            prop_assert_eq!(vm.displaced_from.len(), distinct.len());
        }
    }
}
