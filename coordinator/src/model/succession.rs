//! Owns what follows when a VM was found stopped that nobody had asked to stop, as after its host lost power: where its
//! configuration says that it is restarted when its host is lost, a new run of it is asked for. Pure.
//!
//! ```text
//!   running ── host loses power, returns, and says that it is stopped ──▶ cleared up, failed
//!                                                                            │ when-host-lost = restart
//!                                                                            ▼
//!                                                        the same VM anew: another id, another system disk,
//!                                                        waiting for a place on any host
//! ```
//!
//! The host's own word that nothing of the old run is left is the proof; before it nothing follows. The new run is recorded
//! in the same transaction as the end of the old one, so that no crash can lose it or ask for it twice.

use reeve_common::clock::Timestamp;
use reeve_common::ids::{Generation, VmId, VolumeName};
use reeve_common::vm::{StopReason, VmSpec};
use reeve_scheduler::Assignment;

use super::admission::{DISK_SUFFIX, vm_name};
use super::definition::Definition;
use super::vm::{Transition, Vm, Wish};
use super::vm_state::VmState;

/// Whether a new run may follow this end: it was to run, and nobody saw why it stopped. What crashed, or was stopped by
/// hand, is not started again: its host was not lost.
#[must_use]
pub fn may_be_followed(ended: &Vm) -> bool {
    ended.state == VmState::Failed
        && ended.ended_unasked
        && ended.end == Some(StopReason::FoundStopped)
        && ended.configuration.is_some()
        && ended.definition.made().is_some()
}

/// The new run of a VM that may be followed, under this id. None when it may not.
#[must_use]
pub fn successor(ended: &Vm, id: VmId, now: Timestamp) -> Option<Vm> {
    if !may_be_followed(ended) {
        return None;
    }
    let configuration = ended.configuration.as_ref()?;
    let name = vm_name(configuration, id).ok()?;
    let mut spec = VmSpec { name: name.clone(), origin: String::new(), ..ended.definition.made()?.clone() };
    spec.system_disk.volume = VolumeName::new(format!("{name}{DISK_SUFFIX}")).ok()?;
    let mut request = ended.request.clone();
    // A new run has never been anywhere.
    request.left.clear();
    let mut next = Vm {
        id,
        name,
        request,
        definition: Definition::Made(spec),
        state: VmState::Requested,
        reason: None,
        host: None,
        assignment: Assignment::default(),
        displaced_from: Vec::new(),
        wish: Wish::Run,
        generation: Generation(1),
        end: None,
        ended_unasked: false,
        requested_at: now,
        registered_at: None,
        ended_at: None,
        history: vec![Transition { at: now, state: VmState::Requested, reason: None }],
        ..ended.clone()
    };
    let reason =
        format!("{} was found stopped on its host; this is its next run, and waits for a place", ended.name);
    next.enter(VmState::Unplaceable, Some(reason), now);
    Some(next)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use reeve_common::ids::{Epoch, HostId};
    use reeve_common::vm::{ObservedVm, VmObservation};
    use uuid::Uuid;

    use super::super::{fixture, vm_life};
    use super::*;

    const NOW: Timestamp = Timestamp(9_000);

    fn running() -> Vm {
        let mut vm = fixture::vm();
        vm.host = Some(HostId(1));
        vm.enter(VmState::Running, None, NOW);
        vm
    }

    fn seen(vm: &Vm, observed: ObservedVm) -> Vm {
        let observation = VmObservation { vm: vm.id, generation: vm.generation, epoch: Epoch(1), observed };
        let outcome = vm_life::apply_observation(vm, &observation, NOW);
        outcome.changed.map_or_else(|| vm.clone(), |vm| *vm)
    }

    fn ended(vm: &Vm, reason: StopReason) -> Vm {
        seen(&seen(vm, ObservedVm::Ended(reason)), ObservedVm::Gone(StopReason::Destroyed))
    }

    #[test]
    fn what_its_host_found_stopped_is_asked_for_anew_with_nothing_of_the_old_run() {
        let mut before = running();
        before.request.left.insert(HostId(7));
        let over = ended(&before, StopReason::FoundStopped);
        let id = VmId(Uuid::from_u128(7 << 96));
        let next = successor(&over, id, NOW).unwrap();
        assert_eq!((next.id, next.wish.clone(), next.generation), (id, Wish::Run, Generation(1)));
        assert_eq!((next.host, next.state, next.end.clone()), (None, VmState::Unplaceable, None));
        assert_ne!(next.name, over.name);
        let disk = |vm: &Vm| vm.definition.made().unwrap().system_disk.volume.clone();
        assert_ne!(disk(&next), disk(&over), "the old disk is being removed");
        assert!(next.request.left.is_empty(), "it may go where the old one was");
        assert_eq!((&next.configuration, &next.owner), (&over.configuration, &over.owner));
        assert!(next.reason.as_deref().unwrap().contains("web-5f0c0000"));
    }

    #[test]
    fn nothing_follows_an_end_that_somebody_saw_or_wished() {
        let id = VmId(Uuid::from_u128(7));
        for reason in [StopReason::Crashed, StopReason::Destroyed, StopReason::GuestPowerOff] {
            assert_eq!(successor(&ended(&running(), reason.clone()), id, NOW), None, "{reason}");
        }
        let asked = *vm_life::wish_stop(&running(), Duration::ZERO, NOW).changed.unwrap();
        assert_eq!(successor(&ended(&asked, StopReason::FoundStopped), id, NOW), None, "it was to stop");
        let found = seen(&running(), ObservedVm::Ended(StopReason::FoundStopped));
        assert_eq!(successor(&found, id, NOW), None, "its host has not said that nothing is left");
        let destroyed = *vm_life::wish_stop(&found, Duration::ZERO, NOW).changed.unwrap();
        let over = seen(&destroyed, ObservedVm::Gone(StopReason::Destroyed));
        assert_eq!(successor(&over, id, NOW), None, "somebody has given it up meanwhile");
    }
}
