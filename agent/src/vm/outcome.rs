//! Owns what an agent learns from a step it has carried out: how `Known` changes with each outcome, when something is
//! tried again, and when a start is given up.
//!
//! Must not: choose steps; that is `lifecycle`'s.

use std::time::Duration;

use reeve_common::clock::Timestamp;
use reeve_common::vm::StopReason;

use super::known::{Known, Seen, StartPhase, Wish};
use super::lifecycle::Step;
use crate::hypervisor::{DomainState, InactiveCause};

/// Failed attempts at the steps of a start before it is given up. With the delays below that is about seven seconds:
/// long enough for a restart of libvirtd, short enough that the coordinator can try another host.
pub const START_FAILURES_MAX: u32 = 4;

/// The delay after a first failure; it doubles with each further one.
pub const RETRY_DELAY_FIRST: Duration = Duration::from_secs(1);

/// The longest delay between two attempts at removing something: an administrator who repairs a pool should not have
/// to wait long for the VM to be gone.
pub const RETRY_DELAY_MAX: Duration = Duration::from_secs(30);

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is done.
    Done,
    /// Whether the guest answered.
    Answered(bool),
    /// It is not done, or nobody knows.
    Failed {
        /// The chain of errors.
        why: String,
        /// Whether it may succeed if repeated.
        retryable: bool,
    },
}

impl Known {
    /// Notes that `step` is being carried out from now on.
    pub fn begin(&mut self, step: &Step, now: Timestamp) {
        if matches!(step, Step::Ping(_)) {
            self.progress.last_ping = Some(now);
        }
    }

    /// Takes over that the guest opened or closed its agent's channel.
    pub fn hear_guest_agent(&mut self, connected: bool) {
        self.progress.guest_agent_connected = Some(connected);
        if connected {
            // It has never been asked with its channel open: ask at once, and with fresh patience.
            self.progress.last_ping = None;
            self.progress.pings_unanswered = 0;
        }
    }

    /// Takes over how `step` ended. Returns whether the hypervisor must be looked at before the next step: always,
    /// unless the step's success itself says what is there now.
    #[must_use]
    pub fn record(&mut self, step: &Step, outcome: Outcome, now: Timestamp) -> bool {
        match outcome {
            Outcome::Done => {
                self.progress.failures = 0;
                self.progress.retry_at = None;
                self.record_success(step, now)
            }
            Outcome::Answered(answered) => {
                self.record_answer(answered, now);
                false
            }
            Outcome::Failed { why, retryable } => {
                self.record_failure(step, &why, retryable, now);
                true
            }
        }
    }

    fn record_success(&mut self, step: &Step, now: Timestamp) -> bool {
        match step {
            Step::RecordPreparation(_) => self.progress.prepared = true,
            Step::CreateDisk(_) => self.progress.disk_made = true,
            Step::Define(_, ledger) => {
                self.progress.defined = true;
                let state = DomainState::Inactive(InactiveCause::Unknown);
                self.see(Seen::Present { state, ledger: ledger.clone() }, now);
            }
            Step::WriteLedger(written) => {
                if let Seen::Present { ledger, state } = &mut self.seen {
                    ledger.clone_from(written);
                    let inactive = matches!(state, DomainState::Inactive(_));
                    if inactive && matches!(self.wish, Wish::Running { .. }) {
                        self.progress.start = StartPhase::Armed;
                    }
                }
            }
            Step::Start => {
                self.progress.start = StartPhase::Done;
                return true;
            }
            Step::GiveUp(reason) => {
                self.wish = Wish::Stopped { destroy_at: now, reason: Some(reason.clone()) };
                self.progress.give_up = None;
            }
            Step::Settle(settled) => {
                if let Wish::Stopped { reason, .. } = &mut self.wish {
                    *reason = Some(settled.clone());
                }
            }
            Step::AskShutdown => {
                self.record_asked(now);
                return true;
            }
            Step::SaveConsole => {
                self.progress.console_saved = true;
                return true;
            }
            Step::DeleteDisk(_) => {
                self.progress.disk_deleted = true;
                return true;
            }
            Step::WriteTombstone(tombstone) => {
                self.buried = Some(tombstone.reason.clone());
                return true;
            }
            // What is there after a release is nobody's of ours: nothing of the VM is left.
            Step::Undefine | Step::Release => self.see(Seen::Absent, now),
            Step::Destroy => {
                self.progress.destroyed_at = Some(now);
                return true;
            }
            Step::Ping(_) | Step::Wait(_) | Step::Done => {}
        }
        false
    }

    fn record_asked(&mut self, now: Timestamp) {
        if self.progress.stop_asked_at.is_some() {
            self.progress.stop_asked_again = true;
        } else {
            self.progress.stop_asked_at = Some(now);
        }
    }

    fn record_answer(&mut self, answered: bool, now: Timestamp) {
        if answered {
            self.progress.pings_unanswered = 0;
            self.progress.registered_at.get_or_insert(now);
        } else {
            self.progress.pings_unanswered = self.progress.pings_unanswered.saturating_add(1);
        }
    }

    fn record_failure(&mut self, step: &Step, why: &str, retryable: bool, now: Timestamp) {
        match step {
            Step::Ping(_) => return self.record_answer(false, now),
            // The guest may not be able to listen; its deadline settles that.
            Step::AskShutdown => return self.record_asked(now),
            // The output is a help to people, not a reason to keep a dead VM.
            Step::SaveConsole => {
                self.progress.console_saved = true;
                return;
            }
            _ => {}
        }
        self.progress.failures = self.progress.failures.saturating_add(1);
        self.progress.retry_at = Some(now.after(retry_delay(self.progress.failures)));
        if !self.is_starting() {
            return;
        }
        // A ledger entry that may or may not have been written names an attempt of this life, not of an earlier one.
        let arming = matches!(step, Step::WriteLedger(_)) && self.progress.start == StartPhase::None;
        if arming || self.progress.start == StartPhase::Armed {
            self.progress.start = StartPhase::Failed;
        }
        self.progress.start_failures = self.progress.start_failures.saturating_add(1);
        if !retryable || self.progress.start_failures >= START_FAILURES_MAX {
            self.progress.give_up = Some(StopReason::StartFailed(why.to_owned()));
        }
    }

    /// Whether a failure now is a failure of the start.
    fn is_starting(&self) -> bool {
        matches!(self.wish, Wish::Running { .. })
            && self.buried.is_none()
            && !self.seen.is_active()
            && self.progress.start != StartPhase::Done
    }
}

fn retry_delay(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    RETRY_DELAY_FIRST.saturating_mul(1 << doublings).min(RETRY_DELAY_MAX)
}
