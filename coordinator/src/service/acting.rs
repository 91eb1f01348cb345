//! Owns who is acting: an act is one thing that one somebody asks to be done, from its arrival to its end, and leaves one
//! record in the audit log, more only when it fails after it has begun to change things.
//!
//! ```text
//!   open ──the first batch written in it, which carries its record──▶ recorded ──it fails after all──▶ recorded twice
//!     ├──refused, failed────▶ recorded alone
//!     └──done, nothing to change──▶ recorded alone
//! ```
//!
//! The act travels with the task that does it, and not through the arguments of every method: whatever is written in it is
//! recorded, so that no method that will ever be added can forget to. What is written outside of an act is what hosts
//! report of their VMs and the coordinator's own book-keeping.
//!
//! Must not: decide who may do what.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use reeve_common::clock::Timestamp;
use reeve_common::ids::{HostId, OperationId, VmId};
use reeve_common::logging::{self, messages};

use super::{Service, ServiceError};
use crate::audit::{AUDIT, AuditEvent, Outcome, Who};
use crate::records::PAST_VMS;
use crate::store::{Batch, StoreError, Version};

tokio::task_local! {
    static CURRENT: Act;
}

/// One thing that somebody asks to be done.
#[derive(Debug, Clone)]
pub(crate) struct Act {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    service: Service,
    operation: OperationId,
    at: Timestamp,
    who: Who,
    what: String,
    /// Whether only a batch that ends a VM counts: what hosts report is no act of theirs, but for that.
    ends_only: bool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    object: String,
    /// Whether a service has named the object better than whoever asked.
    named: bool,
    stage: Stage,
    left_out: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    /// A batch with its record is being written.
    Writing,
    Recorded,
    /// Its end was recorded: nothing more is to be said.
    Ended,
}

impl Act {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes from a stage to another; false when it is not at that stage.
    fn step(&self, from: Stage, to: Stage) -> bool {
        let mut state = self.state();
        let there = state.stage == from;
        if there {
            state.stage = to;
        }
        there
    }

    fn event(&self, outcome: Outcome) -> AuditEvent {
        let mut state = self.state();
        AuditEvent {
            at: self.inner.at,
            who: self.inner.who.clone(),
            what: self.inner.what.clone(),
            object: state.object.clone(),
            operation: self.inner.operation,
            outcome,
            changes: Vec::new(),
            left_out: std::mem::take(&mut state.left_out),
        }
    }

    /// Notes how it ended: recorded if that is not said by what it has written.
    pub(crate) async fn end(&self, outcome: Outcome) {
        let recorded = match outcome {
            Outcome::Done => self.step(Stage::Open, Stage::Ended),
            Outcome::Refused { .. } | Outcome::Failed { .. } => {
                self.step(Stage::Open, Stage::Ended) || self.step(Stage::Recorded, Stage::Ended)
            }
        };
        if recorded {
            self.inner.service.record(self.event(outcome)).await;
        }
    }

    /// Notes that it is not known how it ends: whoever asked was told so, and it may go on.
    pub(crate) async fn leave_open(&self, outcome: Outcome) {
        if matches!(self.state().stage, Stage::Open | Stage::Writing) {
            self.inner.service.record(self.event(outcome)).await;
        }
    }

    /// The act that this task is doing, if any.
    pub(crate) fn current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok()
    }

    /// Does `work` as this act.
    pub(crate) async fn scope<F: Future>(self, work: F) -> F::Output {
        let operation = self.inner.operation;
        logging::in_operation(operation, CURRENT.scope(self, work)).await
    }
}

/// Names the thing that the act of this task is about, as `host node-1`, when whoever asked could not. The first name counts.
pub(super) fn acting_on(object: impl FnOnce() -> String) {
    let Some(act) = Act::current() else { return };
    let mut state = act.state();
    if !state.named {
        state.object = object();
        state.named = true;
    }
}

impl Service {
    /// A new act, to be done by [`Act::scope`].
    pub(crate) fn begin_act(&self, who: Who, what: impl Into<String>, object: impl Into<String>) -> Act {
        self.make_act(who, what.into(), object.into(), 0, false)
    }

    /// What a host reports of one VM: an act of its own if the VM is over by it, and otherwise none.
    pub(super) fn report_of(&self, host: HostId, vm: VmId) -> Act {
        let who = Who::Host { id: host, name: self.host_label(host) };
        self.make_act(who, "report-end".to_owned(), format!("vms/{vm}"), 0, true)
    }

    fn make_act(&self, who: Who, what: String, object: String, left_out: u64, ends_only: bool) -> Act {
        let state = State { object, named: false, stage: Stage::Open, left_out };
        let inner = Inner {
            service: self.clone(),
            operation: OperationId::random(),
            at: self.now(),
            who,
            what,
            ends_only,
            state: Mutex::new(state),
        };
        Act { inner: Arc::new(inner) }
    }

    /// Hands a batch to the store, and counts how long that took.
    async fn apply(&self, batch: Batch) -> Result<Version, StoreError> {
        let begun = self.monotonic();
        let applied = self.store().apply(batch).await;
        self.metrics().wrote(self.monotonic().saturating_duration_since(begun), applied.is_ok());
        applied
    }

    /// Makes a batch durable; in an act, with the act's record.
    pub(super) async fn write(&self, batch: Batch) -> Result<Version, ServiceError> {
        let counts = |act: &Act| !act.inner.ends_only || ends_a_vm(&batch);
        let act = Act::current().filter(|act| counts(act) && act.step(Stage::Open, Stage::Writing));
        let Some(act) = act else {
            return self.apply(batch).await.map_err(|error| super::catalogue::store_failed(&error));
        };
        let left_out = act.state().left_out;
        let mut event = act.event(Outcome::Done);
        event.changes = crate::audit::changes_of(&batch);
        let written = match event.entry() {
            Ok(entry) => self
                .apply(batch.append(AUDIT, entry))
                .await
                .map_err(|error| super::catalogue::store_failed(&error)),
            Err(error) => Err(ServiceError::internal(crate::chain(&error))),
        };
        if written.is_ok() {
            act.step(Stage::Writing, Stage::Recorded);
            self.inner.audit.grown();
        } else {
            act.state().left_out = left_out;
            act.step(Stage::Writing, Stage::Open);
        }
        written
    }

    /// Records something by itself. What cannot be recorded has changed nothing, and is in the journal.
    pub(super) async fn record(&self, event: AuditEvent) {
        let (what, object, operation) = (event.what.clone(), event.object.clone(), event.operation);
        let written = match event.entry() {
            Ok(entry) => {
                self.apply(Batch::new().append(AUDIT, entry)).await.map_err(|error| crate::chain(&error))
            }
            Err(error) => Err(crate::chain(&error)),
        };
        match written {
            Ok(_) => self.inner.audit.grown(),
            Err(error) => {
                log::error!(MESSAGE_ID:% = messages::AUDIT_NOT_RECORDED, REEVE_OPERATION:% = operation;
                    "{what} of {object} is not in the audit log: {error}")
            }
        }
    }

    /// Records a refusal of somebody who need not prove anything to try again; some of very many.
    pub(crate) async fn record_stranger(&self, who: Who, what: &str, object: &str, kind: &str, reason: &str) {
        let Some(left_out) = self.inner.audit.allow(&who, self.in_service_for()) else { return };
        let act = self.make_act(who, what.to_owned(), object.to_owned(), left_out, false);
        act.end(Outcome::refused(kind, reason)).await;
    }
}

fn ends_a_vm(batch: &Batch) -> bool {
    batch.operations().iter().any(|operation| operation.key.is_under(PAST_VMS.prefix()))
}

impl From<&ServiceError> for Outcome {
    fn from(error: &ServiceError) -> Self {
        use super::ErrorKind;
        let reason = error.message.clone();
        match error.kind {
            ErrorKind::NotFound => Self::refused("not-found", reason),
            ErrorKind::Invalid => Self::refused("invalid", reason),
            ErrorKind::Conflict => Self::refused("conflict", reason),
            ErrorKind::Denied => Self::refused("denied", reason),
            ErrorKind::Unavailable => Self::failed("unavailable", reason),
            ErrorKind::Internal => Self::failed("internal", reason),
        }
    }
}

#[cfg(test)]
#[path = "acting_tests.rs"]
mod tests;
