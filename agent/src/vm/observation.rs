//! Owns what is told of a VM: the fact of this host that follows from what is known.
//!
//! Must not: tell what is wished. "Cannot be asked" is told as unknown, never as off; gone is told only when nothing
//! but the tombstone is left.

use reeve_common::clock::Timestamp;
use reeve_common::vm::{ObservedVm, StopReason, VmObservation};

use super::known::{Known, Seen, StartPhase, Tombstone, Wish};
use crate::hypervisor::{DomainState, LedgerEntry};

impl Known {
    /// What is told of this VM.
    #[must_use]
    pub fn observation(&self) -> VmObservation {
        VmObservation { vm: self.vm, generation: self.generation, epoch: self.epoch, observed: observe(self) }
    }
}

impl Tombstone {
    /// What is told of a VM of which only this is left.
    #[must_use]
    pub fn observation(&self) -> VmObservation {
        VmObservation {
            vm: self.vm,
            generation: self.generation,
            epoch: self.epoch,
            observed: ObservedVm::Gone(self.reason.clone()),
        }
    }
}

fn observe(known: &Known) -> ObservedVm {
    match (&known.seen, &known.buried, &known.wish) {
        (Seen::Absent, Some(reason), _) => ObservedVm::Gone(reason.clone()),
        (Seen::NotOurs, Some(reason), _) if known.is_theirs_again() => ObservedVm::Gone(reason.clone()),
        (Seen::Unknown | Seen::NotOurs, _, _) => ObservedVm::Unknown,
        (_, Some(reason), _) => being_removed(known, Some(reason)),
        (_, None, Wish::Stopped { reason, .. }) => being_removed(known, reason.as_ref()),
        (Seen::Absent, None, Wish::Running { .. }) => {
            if known.progress.was_present {
                ObservedVm::Unknown
            } else {
                ObservedVm::Defining
            }
        }
        (Seen::Present { state, ledger }, None, Wish::Running { .. }) => {
            wished_running(known, *state, ledger)
        }
    }
}

fn wished_running(known: &Known, state: DomainState, ledger: &LedgerEntry) -> ObservedVm {
    match state {
        DomainState::Paused => ObservedVm::Paused,
        DomainState::Active | DomainState::ShuttingDown => {
            // An active domain that this ledger never started was started by hand; the next step writes that down.
            let started_at = ledger.started_at.unwrap_or_default();
            match known.registered_at() {
                Some(registered_at) => ObservedVm::Running { started_at, registered_at },
                None => ObservedVm::Registering { started_at, deadline: deadline(ledger, started_at) },
            }
        }
        DomainState::Inactive(_) => match &known.progress.ended {
            Some(reason) => ObservedVm::Ended(reason.clone()),
            None if known.progress.start == StartPhase::None && known.is_interrupted_start() => {
                ObservedVm::Unknown
            }
            None => ObservedVm::Starting,
        },
    }
}

fn deadline(ledger: &LedgerEntry, started_at: Timestamp) -> Timestamp {
    ledger.registration_deadline.unwrap_or_else(|| started_at.after(ledger.registration_timeout))
}

/// An orderly removal is told as stopping until it is complete; one that fails on the way tells what it is stuck with.
fn being_removed(known: &Known, reason: Option<&StopReason>) -> ObservedVm {
    match reason {
        Some(reason) if !known.seen.is_active() && known.progress.failures > 0 => {
            ObservedVm::Ended(reason.clone())
        }
        _ => ObservedVm::Stopping,
    }
}
