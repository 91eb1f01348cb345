//! Owns the life of a VM on its host: what is to be done next, given what is known and the time.
//!
//! ```text
//!  wish: Running                                                  wish: Stopped (final)
//!
//!   (nothing)                                            running ── ask ── ask again ── destroy at the deadline
//!      │ record preparation   durable, before the disk      │
//!      │ create disk                                        ▼
//!      │ define               the ledger is in it        inactive
//!      ▼                                                    │ write ledger   with the reason, now settled
//!   inactive, never started ◀─ waits here after a           │ save console
//!      │                       restart of the agent,        │ delete disk
//!      │                       until the wish is repeated   │ write tombstone   durable: never started again
//!      │ write ledger         started_at and deadline       │ undefine
//!      │ start                                              ▼
//!      ▼                                                  (nothing but the tombstone, until it is forgotten)
//!   running, not registered ── guest silent at the ──▶ give up: Stopped(registration timeout)
//!      │ ping                  deadline
//!      │ write ledger         registered_at
//!      ▼
//!   running, registered ────── found inactive ───────▶ ended: reported, kept until the coordinator wishes it stopped
//!
//!   any failure before it runs ──▶ tried again a few times ──▶ give up: Stopped(start failed, with the reason)
//!   found inactive after an earlier life of the agent began to start it ──▶ looked at twice ──▶ give up likewise
//! ```
//!
//!   what was adopted: the same, but no disk is deleted, and instead of "undefine" our ledger is taken out ("release");
//!   wish: Released ── write tombstone ── release, running on
//!
//! Invariants, kept by the tests below: whatever step is the last before a crash, the VM is there once or nothing of
//! it is left but a tombstone with its reason; a VM is never started while it may be running, nor after it ran;
//! "cannot be asked" leads to no step but waiting.
//!
//! Must not: act, or know how a step is carried out.

use std::time::Duration;

use reeve_common::clock::Timestamp;
use reeve_common::vm::{StopReason, VmSpec};

use super::known::{Disk, Known, Preparation, Seen, StartPhase, Tombstone, Wish};
use crate::hypervisor::{DomainState, InactiveCause, LedgerEntry, LedgerWish};
use crate::registration;

/// How long an end that might be a misunderstanding is watched before it is believed: libvirtd carries a start on
/// when its client dies, and shows the domain as running within milliseconds of beginning it.
pub const DOUBT_MAX: Duration = Duration::from_secs(2);

/// How soon a VM that could not be asked is asked again. The hypervisor's `Connected` event is the usual way; this
/// covers single calls that failed.
pub const UNKNOWN_RECHECK: Duration = Duration::from_secs(5);

/// How often a domain that ought to change is looked at when no event comes: events are hints and may be lost.
pub const CHANGE_RECHECK: Duration = Duration::from_secs(5);

/// How long a domain that was destroyed may still be seen before it is destroyed again: QEMU is given some seconds to
/// die by libvirt itself.
pub const DESTROY_AGAIN: Duration = Duration::from_secs(2);

/// One thing to do for one VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Record durably that a disk is about to be made.
    RecordPreparation(Preparation),
    /// Make the system disk.
    CreateDisk(Box<VmSpec>),
    /// Define the domain with its first ledger entry.
    Define(Box<VmSpec>, LedgerEntry),
    /// Replace the ledger entry.
    WriteLedger(LedgerEntry),
    /// Start it.
    Start,
    /// Ask the guest for a sign of life.
    Ping(Duration),
    /// Nothing to do before this moment, or before something is heard.
    Wait(Option<Timestamp>),
    /// Give the wish to run up, for this reason.
    GiveUp(StopReason),
    /// Settle why it stops.
    Settle(StopReason),
    /// Ask the guest to shut down.
    AskShutdown,
    /// End it at once.
    Destroy,
    /// Keep the end of the console's output.
    SaveConsole,
    /// Remove the system disk.
    DeleteDisk(Disk),
    /// Record durably that it is gone.
    WriteTombstone(Tombstone),
    /// Remove the definition.
    Undefine,
    /// Take our ledger out of what was adopted, and leave the rest as it is.
    Release,
    /// Nothing is left to do, ever.
    Done,
}

impl Step {
    /// Whether it changes something outside the agent, and so waits after a failure.
    const fn is_effect(&self) -> bool {
        !matches!(self, Self::Wait(_) | Self::GiveUp(_) | Self::Settle(_) | Self::Done | Self::Ping(_))
    }

    /// What it is doing, for messages such as "creating the system disk: no such image".
    #[must_use]
    pub const fn doing(&self) -> &'static str {
        match self {
            Self::RecordPreparation(_) => "recording the start",
            Self::CreateDisk(_) => "creating the system disk",
            Self::Define(..) => "defining the domain",
            Self::WriteLedger(_) => "writing the domain's ledger",
            Self::Start => "starting the domain",
            Self::Ping(_) => "asking the guest for a sign of life",
            Self::Wait(_) => "waiting",
            Self::GiveUp(_) => "giving up",
            Self::Settle(_) => "settling the reason",
            Self::AskShutdown => "asking the guest to shut down",
            Self::Destroy => "destroying the domain",
            Self::SaveConsole => "saving the console",
            Self::DeleteDisk(_) => "deleting the system disk",
            Self::WriteTombstone(_) => "recording the end",
            Self::Undefine => "undefining the domain",
            Self::Release => "releasing the domain",
            Self::Done => "finishing",
        }
    }
}

/// What follows from `known` at `now`.
#[must_use]
pub fn next_step(known: &Known, now: Timestamp) -> Step {
    let step = match (&known.seen, &known.buried, &known.wish) {
        (Seen::NotOurs, Some(_), _) if known.is_theirs_again() => Step::Done,
        (Seen::NotOurs, None, _) if known.is_released() => bury(known, &StopReason::Released),
        (Seen::Unknown | Seen::NotOurs, _, _) => Step::Wait(Some(now.after(UNKNOWN_RECHECK))),
        (_, Some(_), _) => remove_the_rest(known, now),
        (_, None, Wish::Running { spec }) => keep_running(known, spec.as_deref(), now),
        (_, None, Wish::Stopped { destroy_at, reason }) => {
            bring_down(known, *destroy_at, reason.as_ref(), now)
        }
    };
    match known.progress.retry_at {
        Some(retry_at) if step.is_effect() && now < retry_at => Step::Wait(Some(retry_at)),
        _ => step,
    }
}

fn keep_running(known: &Known, spec: Option<&VmSpec>, now: Timestamp) -> Step {
    match &known.seen {
        Seen::Unknown | Seen::NotOurs => Step::Wait(Some(now.after(UNKNOWN_RECHECK))),
        Seen::Absent if known.progress.was_present => believe(known, now, vanished(known)),
        Seen::Absent => match (&known.progress.give_up, spec) {
            (Some(reason), _) => Step::GiveUp(reason.clone()),
            (None, None) => Step::Wait(None),
            (None, Some(spec)) => make(known, spec),
        },
        Seen::Present { state: DomainState::Inactive(_), ledger } => start_inactive(known, spec, ledger, now),
        Seen::Present { state, ledger } => watch_active(known, *state, ledger, now),
    }
}

/// The steps before there is a domain, and its definition.
fn make(known: &Known, spec: &VmSpec) -> Step {
    let disk = (spec.system_disk.pool.clone(), spec.system_disk.volume.clone());
    if !known.progress.prepared {
        let Known { vm, generation, epoch, .. } = *known;
        return Step::RecordPreparation(Preparation { vm, generation, epoch, disk });
    }
    if !known.progress.disk_made {
        return Step::CreateDisk(Box::new(spec.clone()));
    }
    let ledger = LedgerEntry {
        generation: known.generation,
        epoch: known.epoch,
        wish: LedgerWish::Running,
        registration_deadline: None,
        started_at: None,
        registered_at: None,
        system_disk: Some(disk),
        registration_timeout: spec.registration_timeout,
        origin: spec.origin.clone(),
    };
    Step::Define(Box::new(spec.clone()), ledger)
}

/// A domain that should run and does not.
fn start_inactive(known: &Known, spec: Option<&VmSpec>, ledger: &LedgerEntry, now: Timestamp) -> Step {
    if let Some(reason) = &known.progress.give_up {
        return Step::GiveUp(reason.clone());
    }
    match (known.progress.start, ledger.started_at, spec) {
        (StartPhase::Armed, _, _) => Step::Start,
        (StartPhase::None, None, Some(spec)) if !known.progress.disk_made || !known.progress.defined => {
            make(known, spec)
        }
        (StartPhase::Failed, _, _) | (StartPhase::None, None, Some(_)) => Step::WriteLedger(LedgerEntry {
            generation: known.generation,
            epoch: known.epoch,
            wish: LedgerWish::Running,
            started_at: Some(now),
            registration_deadline: Some(now.after(ledger.registration_timeout)),
            ..ledger.clone()
        }),
        (StartPhase::None, Some(_), _) if known.is_interrupted_start() => {
            believe(known, now, StopReason::StartFailed(INTERRUPTED.to_owned()))
        }
        // Never started, and nobody has repeated the wish yet; or ended, and reported as such.
        (StartPhase::None | StartPhase::Done, _, _) => Step::Wait(None),
    }
}

/// Why a start whose end nobody saw is given up.
const INTERRUPTED: &str = "the agent or libvirt was restarted while the VM was being started, and it is not running; \
                           start it again";

/// A domain with a QEMU.
fn watch_active(known: &Known, state: DomainState, ledger: &LedgerEntry, now: Timestamp) -> Step {
    let started_at = ledger.started_at.unwrap_or(now);
    let deadline =
        ledger.registration_deadline.unwrap_or_else(|| started_at.after(ledger.registration_timeout));
    let right = LedgerEntry {
        generation: known.generation,
        epoch: known.epoch,
        wish: LedgerWish::Running,
        started_at: Some(started_at),
        registration_deadline: Some(deadline),
        registered_at: known.registered_at(),
        ..ledger.clone()
    };
    if right != *ledger {
        return Step::WriteLedger(right);
    }
    if right.registered_at.is_some() {
        return Step::Wait(None);
    }
    // The last ping must have been after the deadline: an agent that was dead or frozen until then has not asked.
    let last_ping = known.progress.last_ping;
    if now >= deadline && last_ping.is_some_and(|at| at >= deadline) {
        return Step::GiveUp(StopReason::RegistrationTimeout);
    }
    let due = registration::next_ping(&known.progress, deadline, now);
    if now < due {
        return Step::Wait(Some(due));
    }
    let patience = if state == DomainState::Active {
        registration::patience(&known.progress)
    } else {
        // A suspended guest cannot answer; asking it only counts.
        Duration::ZERO
    };
    Step::Ping(patience)
}

/// A VM that is to stop, and of which there is no tombstone yet.
fn bring_down(known: &Known, destroy_at: Timestamp, reason: Option<&StopReason>, now: Timestamp) -> Step {
    match &known.seen {
        Seen::Unknown | Seen::NotOurs => Step::Wait(Some(now.after(UNKNOWN_RECHECK))),
        Seen::Absent => match reason {
            None => Step::Settle(asked_end(known, None)),
            Some(reason) => bury(known, reason),
        },
        Seen::Present { state, ledger } => {
            if let DomainState::Inactive(cause) = state
                && reason.is_none()
            {
                return Step::Settle(asked_end(known, Some((*cause, ledger))));
            }
            if known.seen.is_active() && reason.is_none() && now >= destroy_at {
                return Step::Settle(StopReason::DestroyedAfterGrace);
            }
            if let Some(StopReason::Released) = reason {
                // The tombstone says all that the next life of the agent must know.
                return bury(known, &StopReason::Released);
            }
            let wish = LedgerWish::Stopped { destroy_at, reason: reason.cloned() };
            let right =
                LedgerEntry { generation: known.generation, epoch: known.epoch, wish, ..ledger.clone() };
            if right != *ledger {
                return Step::WriteLedger(right);
            }
            match (known.seen.is_active(), reason) {
                (true, Some(_)) => destroy(known, now),
                (true, None) => shut_down(known, destroy_at, now),
                (false, None) => Step::Wait(None),
                (false, Some(_)) if !known.progress.console_saved => Step::SaveConsole,
                (false, Some(reason)) => bury(known, reason),
            }
        }
    }
}

/// Patience with a guest that is asked to shut down: asked now, once more half-way, and then its time runs out.
fn shut_down(known: &Known, destroy_at: Timestamp, now: Timestamp) -> Step {
    let Some(asked_at) = known.progress.stop_asked_at else { return Step::AskShutdown };
    let half_way = asked_at.after(destroy_at.since(asked_at) / 2);
    let next = match (known.progress.stop_asked_again, now >= half_way) {
        (false, true) => return Step::AskShutdown,
        (false, false) => half_way,
        (true, _) => destroy_at,
    };
    Step::Wait(Some(next.min(now.after(CHANGE_RECHECK))))
}

/// The last steps of a VM that does not run and whose reason is settled.
fn bury(known: &Known, reason: &StopReason) -> Step {
    match &known.disk {
        Some(disk) if !known.progress.disk_deleted => Step::DeleteDisk(disk.clone()),
        _ => Step::WriteTombstone(Tombstone {
            vm: known.vm,
            generation: known.generation,
            epoch: known.epoch,
            reason: reason.clone(),
        }),
    }
}

/// What is to be done with what is left of a VM that has its tombstone.
fn remove_the_rest(known: &Known, now: Timestamp) -> Step {
    match &known.seen {
        Seen::Absent => Step::Done,
        Seen::Present { ledger, .. } if ledger.is_adopted() && known.is_released() => Step::Release,
        Seen::Present { .. } if known.seen.is_active() => destroy(known, now),
        Seen::Present { ledger, .. } if ledger.is_adopted() => Step::Release,
        Seen::Present { .. } => Step::Undefine,
        Seen::Unknown | Seen::NotOurs => Step::Wait(None),
    }
}

/// Destroys it, and again after a while if it is still seen.
fn destroy(known: &Known, now: Timestamp) -> Step {
    match known.progress.destroyed_at.map(|at| at.after(DESTROY_AGAIN)) {
        Some(again_at) if now < again_at => Step::Wait(Some(again_at)),
        _ => Step::Destroy,
    }
}

/// Waits until what is seen has been seen long enough, then gives up.
fn believe(known: &Known, now: Timestamp, reason: StopReason) -> Step {
    let until = known.progress.doubtful_since.unwrap_or(now).after(DOUBT_MAX);
    if now < until { Step::Wait(Some(until)) } else { Step::GiveUp(reason) }
}

fn vanished(known: &Known) -> StopReason {
    match (&known.progress.ended, known.progress.start) {
        (Some(ended), _) => ended.clone(),
        (None, StartPhase::Done) => StopReason::FoundStopped,
        (None, StartPhase::None | StartPhase::Armed | StartPhase::Failed) => StopReason::StartFailed(
            "its domain was removed from libvirt while it was being started".to_owned(),
        ),
    }
}

/// Why a VM that was to stop has stopped.
fn asked_end(known: &Known, last: Option<(InactiveCause, &LedgerEntry)>) -> StopReason {
    let ran = known.progress.start == StartPhase::Done
        || last.is_some_and(|(_, ledger)| ledger.started_at.is_some());
    match last {
        _ if !ran => StopReason::Destroyed,
        Some((InactiveCause::Crashed, _)) => StopReason::Crashed,
        Some((InactiveCause::Destroyed, _)) => StopReason::Destroyed,
        _ => StopReason::ShutDown,
    }
}

#[cfg(test)]
#[path = "lifecycle_tests.rs"]
mod tests;
