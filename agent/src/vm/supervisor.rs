//! Owns the task that keeps one VM: the only place from which a VM is changed.
//!
//! ```text
//!        ┌──────────────────────────────────────────────────────────────┐
//!        ▼                                                              │
//!   take the post ─▶ look if need be ─▶ tell ─▶ next_step ─▶ perform ─▶ record
//!                                                  │  ▲
//!                                            wait  ▼  │  post, or the time
//! ```
//!
//! Level-triggered: what woke it does not matter, it looks and decides anew. It ends when nothing of the VM is left
//! but its tombstone. It may be dropped at any moment; the next life of the agent begins from what was written.

use std::sync::Arc;
use std::time::Duration;

use reeve_common::clock::{Clock, Timestamp};
use reeve_common::logging::messages;
use reeve_common::mutation::Mutation;
use reeve_common::vm::{DomainSize, ObservedVm, StopReason};
use tokio::sync::Notify;

use super::driver::{Driver, Look};
use super::known::{Known, Seen, StartPhase};
use super::lifecycle::{Step, next_step};
use super::outcome::Outcome;
use crate::outbox::Outbox;
use crate::roster::{Mailbox, Post, Roster};

/// The longest sleep: the wall clock, by which deadlines are kept, may be set while the timer runs by another one.
const SLEEP_MAX: Duration = Duration::from_secs(60);

/// What a supervisor works with.
#[derive(Clone)]
pub struct Surroundings {
    /// Carries out steps.
    pub driver: Driver,
    /// Says what time it is.
    pub clock: Arc<dyn Clock>,
    /// Where what is known is shown.
    pub roster: Arc<Roster>,
    /// Where changes are told.
    pub outbox: Arc<Outbox>,
    /// Whoever compares the host as a whole: what a report alone tells of the VM has changed.
    pub attention: Arc<Notify>,
}

/// Keeps one VM until nothing of it is left.
pub async fn supervise(mut known: Known, mailbox: Arc<Mailbox>, surroundings: Surroundings) {
    let mut look = true;
    let mut last_size = None;
    loop {
        look |= take_post(&mut known, mailbox.take(), surroundings.clock.now());
        if look {
            let Look { seen, size } = surroundings.driver.look(known.vm).await;
            call_for_comparison(&known.seen, &seen, &mut last_size, size, &surroundings);
            known.see(seen, surroundings.clock.now());
            if Mutation::StartWithoutLooking.is_active() && known.is_interrupted_start() {
                known.progress.start = StartPhase::Armed;
            }
        }
        tell(&known, &surroundings);
        let now = surroundings.clock.now();
        let step = next_step(&known, now);
        look = match step {
            Step::Done => return,
            Step::Wait(until) => {
                wait(&mailbox, until, now).await;
                // Whatever ended the wait: time has passed, and what was seen may be old.
                until.is_some()
            }
            step => {
                known.begin(&step, now);
                let outcome = perform(&mut known, &step, &mailbox, &surroundings).await;
                log_outcome(&known, &step, &outcome);
                if Mutation::GiveUpSilently.is_active() && matches!(outcome, Outcome::Failed { .. }) {
                    std::future::pending::<()>().await;
                }
                known.record(&step, outcome, surroundings.clock.now())
            }
        };
    }
}

/// Has the host compared as a whole when somebody has done to the domain what only a report tells: given it another size
/// or name, or taken its ledger away or put it back.
fn call_for_comparison(
    before: &Seen,
    now: &Seen,
    last_size: &mut Option<DomainSize>,
    size: Option<DomainSize>,
    surroundings: &Surroundings,
) {
    let ledger_changed = (*before == Seen::NotOurs) != (*now == Seen::NotOurs);
    let resized = last_size.is_some() && size.is_some() && *last_size != size;
    if ledger_changed || resized {
        surroundings.attention.notify_one();
    }
    if size.is_some() {
        *last_size = size;
    }
}

/// Takes over what arrived. Returns whether the domain must be looked at.
fn take_post(known: &mut Known, post: Post, now: Timestamp) -> bool {
    if let Some(connected) = post.guest_agent {
        known.hear_guest_agent(connected);
    }
    if let Some((generation, epoch, desired)) = post.wish {
        known.adopt(generation, epoch, desired, now);
    }
    post.look
}

/// Carries the step out. While a guest is being waited for, a new wish goes first: nobody waits for a mute guest.
async fn perform(known: &mut Known, step: &Step, mailbox: &Mailbox, surroundings: &Surroundings) -> Outcome {
    let performed = surroundings.driver.perform(known.vm, step);
    if !matches!(step, Step::Ping(_)) {
        return performed.await;
    }
    let mut performed = std::pin::pin!(performed);
    let mut look = false;
    let outcome = loop {
        tokio::select! {
            biased;
            outcome = &mut performed => break outcome,
            () = mailbox.arrival() => {
                let post = mailbox.take();
                let moot = post.wish.is_some() || post.guest_agent == Some(false);
                look |= take_post(known, post, surroundings.clock.now());
                if moot {
                    break Outcome::Answered(false);
                }
            }
        }
    };
    if look {
        mailbox.look();
    }
    outcome
}

async fn wait(mailbox: &Mailbox, until: Option<Timestamp>, now: Timestamp) {
    match until {
        None => mailbox.arrival().await,
        Some(until) => {
            // A timer may fire a little early by this clock; a millisecond more is cheaper than a second look.
            let sleep = until.since(now).min(SLEEP_MAX) + Duration::from_millis(1);
            tokio::select! {
                biased;
                () = mailbox.arrival() => {}
                () = tokio::time::sleep(sleep) => {}
            }
        }
    }
}

fn tell(known: &Known, surroundings: &Surroundings) {
    if !surroundings.roster.update(known) {
        return;
    }
    let observation = known.observation();
    let vm = known.vm;
    match &observation.observed {
        ObservedVm::Defining | ObservedVm::Starting => {
            log::debug!(REEVE_VM:% = vm; "VM {vm} is being started");
        }
        ObservedVm::Registering { deadline, .. } => {
            log::info!(REEVE_VM:% = vm; "VM {vm} is running; its guest has until {deadline} to register");
        }
        ObservedVm::Running { .. } => {
            log::info!(REEVE_VM:% = vm; "VM {vm} is running and its guest has registered")
        }
        ObservedVm::Paused => log::info!(REEVE_VM:% = vm; "VM {vm} is paused"),
        ObservedVm::Stopping => log::info!(REEVE_VM:% = vm; "VM {vm} is being stopped and removed"),
        ObservedVm::Ended(StopReason::RegistrationTimeout)
        | ObservedVm::Gone(StopReason::RegistrationTimeout) => {
            log::warn!(MESSAGE_ID:% = messages::VM_REGISTERED_TOO_LATE, REEVE_VM:% = vm;
                "VM {vm}: {}", StopReason::RegistrationTimeout);
        }
        ObservedVm::Ended(reason) => {
            log::warn!(MESSAGE_ID:% = messages::VM_ENDED, REEVE_VM:% = vm;
                "VM {vm} has ended: {reason}; its domain and disk are kept until it is stopped");
        }
        ObservedVm::Gone(reason) if reason.is_failure() => {
            log::warn!(MESSAGE_ID:% = messages::VM_ENDED, REEVE_VM:% = vm; "VM {vm} is gone: {reason}");
        }
        ObservedVm::Gone(reason) => log::info!(REEVE_VM:% = vm; "VM {vm} is gone: {reason}"),
        // Why is said once for the whole host, or for a spoilt ledger by the hypervisor.
        ObservedVm::Unknown => {
            log::debug!(REEVE_VM:% = vm; "VM {vm} cannot be asked about; nothing is done to it")
        }
    }
    surroundings.outbox.vm_changed(observation);
}

fn log_outcome(known: &Known, step: &Step, outcome: &Outcome) {
    let vm = known.vm;
    match outcome {
        Outcome::Done => log::debug!(REEVE_VM:% = vm; "VM {vm}: {}: done", step.doing()),
        Outcome::Answered(answered) => {
            log::trace!(REEVE_VM:% = vm; "VM {vm}: the guest answered: {answered}");
        }
        Outcome::Failed { why, .. } => {
            log::warn!(MESSAGE_ID:% = messages::VM_STEP_FAILED, REEVE_VM:% = vm;
                "VM {vm}: {why} (failed {} times before)", known.progress.failures);
        }
    }
}
