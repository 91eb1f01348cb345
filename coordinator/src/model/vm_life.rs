//! Owns how a VM's record follows what its host reports, and what is wished next. Pure: a record and a report in, a
//! changed record out.
//!
//! ```text
//!   report          wish Run                                   wish Stop
//!   defining        defining                                   stopping
//!   starting        starting                                   stopping
//!   registering     registering                                stopping
//!   running         running                                    stopping
//!   paused          paused                                     stopping
//!   ended(why)      wish becomes Stop at once; stopping        stopping            (Release as Stop)
//!   gone(why)       stopped or failed, capacity free           stopped or failed, capacity free
//!   unknown         as it was                                  as it was
//!   (not reported)  placed, defining: the wish is repeated     the wish is repeated: the agent
//!                   later: lost on its host; wish becomes Stop  answers gone
//! ```

use std::time::Duration;

use reeve_common::clock::Timestamp;
use reeve_common::vm::{ObservedVm, StopReason, VmObservation};

use super::vm::{Vm, Wish};
use super::vm_state::VmState;

/// What must happen after a record has been brought up to date.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The record as it is now, if it changed.
    pub changed: Option<Box<Vm>>,
    /// The agent must be told the (new) wish.
    pub tell_agent: bool,
    /// Nothing of it is left on the host: its capacity is free, and the agent may forget it.
    pub gone: bool,
}

impl Outcome {
    /// Nothing must happen.
    pub const NOTHING: Self = Self { changed: None, tell_agent: false, gone: false };
}

/// Brings `vm` up to date with what its host reports of it. The caller has made sure that the report comes from the
/// host the VM is placed on.
#[must_use]
pub fn apply_observation(vm: &Vm, observation: &VmObservation, now: Timestamp) -> Outcome {
    if vm.state.is_final() {
        // It is over; the agent repeats its notice until it may forget.
        let gone = matches!(observation.observed, ObservedVm::Gone(_));
        return Outcome { gone, ..Outcome::NOTHING };
    }
    if let ObservedVm::Gone(reason) = &observation.observed {
        return finish(vm, reason, now);
    }
    // Something older than the current wish: the agent has not heard of it yet.
    let behind = observation.generation < vm.generation;
    let mut next = vm.clone();
    match &observation.observed {
        ObservedVm::Ended(reason) => {
            if next.end.is_none() {
                next.end = Some(reason.clone());
            }
            if next.wish == Wish::Run {
                next.wish = Wish::Stop { grace: Duration::ZERO };
                next.generation = next.generation.next();
                next.ended_unasked = true;
            }
            next.enter(VmState::Stopping, Some(reason.to_string()), now);
        }
        ObservedVm::Unknown => {}
        _ if next.wish != Wish::Run => {
            let reason = next.reason.clone().filter(|_| next.state == VmState::Stopping);
            next.enter(VmState::Stopping, reason, now);
        }
        ObservedVm::Defining => next.enter(VmState::Defining, None, now),
        ObservedVm::Starting => next.enter(VmState::Starting, None, now),
        ObservedVm::Registering { .. } => next.enter(VmState::Registering, None, now),
        ObservedVm::Running { registered_at, .. } => {
            // By its host's clock, which may be wrong: it was after the VM was asked for, and is not still to come.
            next.registered_at.get_or_insert((*registered_at).max(vm.requested_at).min(now));
            next.enter(VmState::Running, None, now);
        }
        ObservedVm::Paused => next.enter(VmState::Paused, Some("suspended on its host".to_owned()), now),
        ObservedVm::Stopping => next.enter(VmState::Stopping, Some("stopping on its host".to_owned()), now),
        ObservedVm::Gone(_) => {}
    }
    let tell_agent = behind || next.generation != vm.generation;
    let changed = (next != *vm).then(|| Box::new(next));
    Outcome { changed, tell_agent, gone: false }
}

/// Whether a VM that a full report shows like this must be told its wish again although the agent obeys its latest
/// generation: an agent that was restarted in the middle of a start knows the domain and not the specification, and
/// starts nothing by itself. Telling it once too often is harmless.
#[must_use]
pub const fn must_hear_again(observed: &ObservedVm) -> bool {
    matches!(observed, ObservedVm::Defining | ObservedVm::Starting)
}

/// Brings `vm` up to date with a full report of its host that does not mention it.
#[must_use]
pub fn apply_absence(vm: &Vm, now: Timestamp) -> Outcome {
    if vm.state.is_final() {
        return Outcome::NOTHING;
    }
    let was_seen = !matches!(vm.state, VmState::Placed | VmState::Defining);
    if vm.wish != Wish::Run || !was_seen {
        // The agent never heard of it, or lost it before anything could run: telling it (again) is safe.
        return Outcome { tell_agent: true, ..Outcome::NOTHING };
    }
    // It has run there and is not known there any more. A second start could only be a different VM with this name.
    let mut next = vm.clone();
    next.end = Some(StopReason::FoundStopped);
    next.ended_unasked = true;
    next.wish = Wish::Stop { grace: Duration::ZERO };
    next.generation = next.generation.next();
    next.enter(VmState::Stopping, Some("its domain is no longer on its host".to_owned()), now);
    Outcome { changed: Some(Box::new(next)), tell_agent: true, gone: false }
}

/// Wishes that `vm` stops within `grace`; a repetition with a shorter grace hastens it.
#[must_use]
pub fn wish_stop(vm: &Vm, grace: Duration, now: Timestamp) -> Outcome {
    if vm.state.is_final() {
        return Outcome::NOTHING;
    }
    let mut next = vm.clone();
    if next.host.is_none() {
        // Nothing was ever made of it.
        next.wish = Wish::Stop { grace };
        next.end = Some(StopReason::Destroyed);
        next.enter(VmState::Stopped, Some("stopped before it was placed".to_owned()), now);
        return Outcome { changed: Some(Box::new(next)), tell_agent: false, gone: false };
    }
    next.ended_unasked = false;
    match vm.wish {
        Wish::Stop { grace: current } if current <= grace => {
            let changed = vm.ended_unasked.then(|| Box::new(next));
            return Outcome { changed, tell_agent: true, gone: false };
        }
        _ => {}
    }
    next.wish = Wish::Stop { grace };
    next.generation = next.generation.next();
    let words = if grace.is_zero() { "destroy requested" } else { "shutdown requested" };
    next.enter(VmState::Stopping, Some(words.to_owned()), now);
    Outcome { changed: Some(Box::new(next)), tell_agent: true, gone: false }
}

/// The agent refused the wish for good: gives up, and has the agent confirm that nothing is left.
#[must_use]
pub fn give_up(vm: &Vm, why: &str, now: Timestamp) -> Outcome {
    if vm.state.is_final() || vm.wish != Wish::Run {
        return Outcome::NOTHING;
    }
    let mut next = vm.clone();
    next.end = Some(StopReason::StartFailed(why.to_owned()));
    // What was to be adopted is somebody else's, and stays as it is.
    let adopted = next.definition.is_adopted();
    next.wish = if adopted { Wish::Release } else { Wish::Stop { grace: Duration::ZERO } };
    next.generation = next.generation.next();
    next.enter(VmState::Stopping, Some(why.to_owned()), now);
    Outcome { changed: Some(Box::new(next)), tell_agent: true, gone: false }
}

/// Wishes that `vm`, which was adopted, is ours no longer and runs on as it is. Nothing when that is wished already, or it
/// is to stop.
#[must_use]
pub fn wish_release(vm: &Vm, now: Timestamp) -> Outcome {
    if vm.state.is_final() || vm.wish != Wish::Run || !vm.definition.is_adopted() {
        return Outcome::NOTHING;
    }
    let mut next = vm.clone();
    next.wish = Wish::Release;
    next.generation = next.generation.next();
    next.enter(VmState::Stopping, Some("release requested".to_owned()), now);
    Outcome { changed: Some(Box::new(next)), tell_agent: true, gone: false }
}

fn finish(vm: &Vm, reported: &StopReason, now: Timestamp) -> Outcome {
    let mut next = vm.clone();
    // What was known first is the cause; the agent's notice of a clean-up we ordered is its consequence.
    let reason = next.end.get_or_insert_with(|| reported.clone()).clone();
    let state = if reason.is_failure() { VmState::Failed } else { VmState::Stopped };
    let words = match &reason {
        StopReason::StartFailed(why) if vm.definition.is_adopted() => format!("could not be adopted: {why}"),
        reason => reason.to_string(),
    };
    next.enter(state, Some(words), now);
    Outcome { changed: Some(Box::new(next)), tell_agent: false, gone: true }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use reeve_common::ids::{Epoch, Generation, HostId};

    use super::super::fixture;
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);

    fn seen(vm: &Vm, observed: ObservedVm) -> VmObservation {
        VmObservation { vm: vm.id, generation: vm.generation, epoch: Epoch(1), observed }
    }

    fn placed() -> Vm {
        let mut vm = fixture::vm();
        vm.host = Some(HostId(1));
        vm.enter(VmState::Placed, None, NOW);
        vm
    }

    fn running() -> ObservedVm {
        ObservedVm::Running { started_at: NOW, registered_at: NOW }
    }

    /// The record after an observation, changed or not.
    fn after(vm: &Vm, observed: ObservedVm) -> Vm {
        apply_observation(vm, &seen(vm, observed), NOW).changed.map_or_else(|| vm.clone(), |vm| *vm)
    }

    #[test]
    fn a_life_goes_forward_with_what_the_host_reports() {
        let mut vm = placed();
        let registering = ObservedVm::Registering { started_at: NOW, deadline: NOW };
        for (observed, state) in [
            (ObservedVm::Defining, VmState::Defining),
            (ObservedVm::Starting, VmState::Starting),
            (registering, VmState::Registering),
            (running(), VmState::Running),
            (ObservedVm::Paused, VmState::Paused),
            (running(), VmState::Running),
        ] {
            vm = after(&vm, observed);
            assert_eq!(vm.state, state);
        }
        assert_eq!(vm.registered_at, Some(NOW));
    }

    #[test]
    fn a_host_with_a_wrong_clock_makes_no_guest_register_before_it_was_asked_for_or_in_the_future() {
        let mut vm = placed();
        vm.requested_at = Timestamp(NOW.0 - 9_000);
        for (told, noted) in [(NOW.0 - 9_999, NOW.0 - 9_000), (NOW.0 - 7, NOW.0 - 7), (NOW.0 + 1, NOW.0)] {
            let running = ObservedVm::Running { started_at: NOW, registered_at: Timestamp(told) };
            assert_eq!(after(&vm, running).registered_at, Some(Timestamp(noted)));
        }
    }

    #[test]
    fn capacity_is_free_only_when_the_host_says_that_nothing_is_left() {
        let vm = after(&placed(), ObservedVm::Ended(StopReason::Crashed));
        assert!(vm.holds_capacity() && vm.state == VmState::Stopping);
        assert_eq!(vm.wish, Wish::Stop { grace: Duration::ZERO }, "the agent is to clean up");
        let outcome = apply_observation(&vm, &seen(&vm, ObservedVm::Gone(StopReason::Destroyed)), NOW);
        let over = outcome.changed.unwrap();
        assert!(outcome.gone && !over.holds_capacity());
        assert_eq!(over.state, VmState::Failed, "the crash is the cause, not the clean-up after it");
        assert_eq!(over.reason.as_deref(), Some("the guest or its QEMU crashed"));
    }

    #[test]
    fn unknown_changes_nothing() {
        let vm = after(&placed(), running());
        assert_eq!(apply_observation(&vm, &seen(&vm, ObservedVm::Unknown), NOW), Outcome::NOTHING);
    }

    #[test]
    fn an_agent_that_is_behind_is_told_again() {
        let vm = *wish_stop(&after(&placed(), running()), Duration::from_secs(9), NOW).changed.unwrap();
        let mut old = seen(&vm, running());
        old.generation = Generation(1);
        let outcome = apply_observation(&vm, &old, NOW);
        assert!(outcome.tell_agent);
        assert_eq!(outcome.changed, None, "an old report does not undo a wish");
    }

    #[test]
    fn a_start_that_was_interrupted_is_wished_again() {
        assert!(must_hear_again(&ObservedVm::Defining) && must_hear_again(&ObservedVm::Starting));
        assert!(!must_hear_again(&running()) && !must_hear_again(&ObservedVm::Gone(StopReason::Crashed)));
    }

    #[test]
    fn what_never_ran_is_told_again_and_what_ran_is_not_started_twice() {
        assert!(apply_absence(&placed(), NOW).tell_agent);
        assert_eq!(apply_absence(&placed(), NOW).changed, None);
        let lost = apply_absence(&after(&placed(), running()), NOW).changed.unwrap();
        assert_ne!(lost.wish, Wish::Run);
        assert_eq!(lost.end, Some(StopReason::FoundStopped));
    }

    #[test]
    fn a_shutdown_can_be_hastened_and_not_slowed() {
        let vm = after(&placed(), running());
        let soon = wish_stop(&vm, Duration::from_secs(60), NOW).changed.unwrap();
        assert_eq!(wish_stop(&soon, Duration::from_secs(90), NOW).changed, None);
        let now = wish_stop(&soon, Duration::ZERO, NOW).changed.unwrap();
        assert_eq!(now.generation, soon.generation.next());
    }

    #[test]
    fn a_vm_that_was_never_placed_stops_at_once() {
        let over = wish_stop(&fixture::vm(), Duration::from_secs(60), NOW).changed.unwrap();
        assert_eq!(over.state, VmState::Stopped);
    }

    fn any_observed() -> impl Strategy<Value = ObservedVm> {
        prop_oneof![
            Just(ObservedVm::Defining),
            Just(ObservedVm::Starting),
            Just(ObservedVm::Registering { started_at: NOW, deadline: NOW }),
            Just(running()),
            Just(ObservedVm::Paused),
            Just(ObservedVm::Stopping),
            Just(ObservedVm::Ended(StopReason::GuestPowerOff)),
            Just(ObservedVm::Gone(StopReason::Destroyed)),
            Just(ObservedVm::Unknown),
        ]
    }

    proptest! {
        /// Whatever is reported, in whatever order: generations only grow, a wish to stop is never taken back, what is
        /// over stays over, and only `gone` makes it over.
        #[test]
        fn no_report_can_bring_a_vm_back(steps in proptest::collection::vec((any_observed(), any::<bool>()), 1..40)) {
            let mut vm = placed();
            for (observed, stop) in steps {
                let before = vm.clone();
                let outcome = if stop {
                    wish_stop(&vm, Duration::from_secs(1), NOW)
                } else {
                    apply_observation(&vm, &seen(&vm, observed.clone()), NOW)
                };
                if let Some(changed) = outcome.changed {
                    vm = *changed;
                }
                prop_assert!(vm.generation >= before.generation);
                prop_assert!(before.wish == Wish::Run || vm.wish != Wish::Run);
                prop_assert!(!before.state.is_final() || vm.state == before.state);
                if vm.state.is_final() && !before.state.is_final() {
                    prop_assert!(!stop && matches!(observed, ObservedVm::Gone(_)));
                }
                prop_assert!(vm.history.len() <= super::super::vm::HISTORY_MAX);
            }
        }
    }
}
