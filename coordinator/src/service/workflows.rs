//! Owns the carrying out of workflows: each step is recorded as begun, carried out, and recorded as settled; what the
//! store holds at a start is taken up where it stands. The steps' doings are in files of their own (`draining`, …).
//!
//! Must not: decide what comes next; that is `workflow`'s. Nothing here waits for a host: what is not done yet is asked
//! for again when something has changed, and every second.

use std::sync::Arc;
use std::time::Duration;

use reeve_common::ids::HostId;
use reeve_common::logging::messages;

use super::{Actor, Service, ServiceError};
use crate::audit::Who;
use crate::records::{Record, WORKFLOW_COUNTER, WORKFLOWS};
use crate::store::{Batch, Precondition, Version, next_id};
use crate::workflow::{Direction, Outcome, Purpose, Step, StepRecord, Workflow, WorkflowId, WorkflowState};

use tokio::sync::watch;

/// How soon a step that waits is asked again though nothing was heard of. Asking costs microseconds.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// How many steps of one workflow are carried out before others have their turn.
const ROUNDS_MAX: usize = 64;

/// How many workflows that are over are kept: as many as an administrator looks back on.
pub(super) const ENDED_KEPT: usize = 100;

/// A workflow in memory, as last stored. Whoever waits for a change subscribes here.
pub(crate) type WorkflowEntry = watch::Sender<WorkflowVersion>;

/// A workflow's record and its version.
#[derive(Debug, Clone)]
pub struct WorkflowVersion {
    /// Grows with every change of the record.
    pub version: Version,
    /// The record.
    pub workflow: Arc<Workflow>,
}

impl Service {
    /// All workflows that are under way and the most recent ones that are over, oldest first.
    #[must_use]
    pub fn workflows(&self) -> Vec<WorkflowVersion> {
        self.core().workflows.values().map(|entry| entry.borrow().clone()).collect()
    }

    /// One workflow.
    ///
    /// # Errors
    /// [`ServiceError`] when there is none of this number, or it was over long ago.
    pub fn workflow(&self, id: WorkflowId) -> Result<WorkflowVersion, ServiceError> {
        let core = self.core();
        let entry = core
            .workflows
            .get(&id)
            .ok_or_else(|| ServiceError::not_found("workflow", id, "reeve workflow list"))?;
        Ok(entry.borrow().clone())
    }

    /// Waits until a workflow's record is newer than `after`, for `at_most`; answers it as it is then.
    ///
    /// # Errors
    /// As for [`Self::workflow`].
    pub async fn workflow_changed(
        &self,
        id: WorkflowId,
        after: u64,
        at_most: Duration,
    ) -> Result<WorkflowVersion, ServiceError> {
        let receiver = self.core().workflows.get(&id).map(WorkflowEntry::subscribe);
        if let Some(mut receiver) = receiver {
            let newer = receiver.wait_for(|current| current.version.0 > after);
            // Time running out and the record being dropped both mean: answer what is known now.
            let _ = tokio::time::timeout(at_most, newer).await;
        }
        self.workflow(id)
    }

    /// Turns a workflow round: what was begun of it is undone as far as it can be, what was not begun is left.
    ///
    /// # Errors
    /// [`ServiceError`] when there is none, it is over or being undone already, or the store fails.
    pub async fn cancel_workflow(
        &self,
        id: WorkflowId,
        actor: &Actor,
    ) -> Result<WorkflowVersion, ServiceError> {
        let _writer = self.inner.workflow_writer.lock().await;
        let current = self.workflow(id)?;
        let mut next = Workflow::clone(&current.workflow);
        if !next.cancel(&format!("cancelled by {}", actor.name), self.now()) {
            return Err(ServiceError::conflict(format!(
                "workflow {id} is {} already",
                current.workflow.state.as_str()
            )));
        }
        log::info!(REEVE_WORKFLOW:% = id, REEVE_HOST:% = next.purpose.host_name(), REEVE_OPERATOR:% = actor.name;
            "workflow {id} ({} of host {}) is cancelled by {}", next.purpose.as_str(), next.purpose.host_name(), actor.name);
        self.write_workflow(current.version, next).await?;
        self.wake_workflows();
        self.workflow(id)
    }

    /// Begins a workflow. The caller holds the workflows' writer lock, and has made sure that it may begin.
    pub(super) async fn begin_workflow(
        &self,
        purpose: Purpose,
        steps: Vec<Step>,
        by: &str,
    ) -> Result<WorkflowVersion, ServiceError> {
        let number = next_id(self.store(), WORKFLOW_COUNTER)
            .await
            .map_err(|error| ServiceError::internal(crate::chain(&error)))?;
        let workflow = Workflow {
            id: WorkflowId(number),
            purpose,
            state: WorkflowState::Running,
            steps: steps.into_iter().map(StepRecord::new).collect(),
            problem: None,
            by: by.to_owned(),
            started_at: self.now(),
            ended_at: None,
        };
        let text = workflow.encode().map_err(|error| ServiceError::internal(error.to_string()))?;
        let batch = Batch::new().put(WORKFLOWS.key(&number), Precondition::Absent, text);
        let version = self.write(batch).await?;
        let begun = WorkflowVersion { version, workflow: Arc::new(workflow) };
        self.core().workflows.insert(WorkflowId(number), watch::Sender::new(begun.clone()));
        self.wake_workflows();
        Ok(begun)
    }

    /// The workflow about this host that is under way, or waits for a person.
    pub(super) fn workflow_of_host(&self, host: HostId) -> Option<WorkflowVersion> {
        let core = self.core();
        let mut all = core.workflows.values().map(|entry| entry.borrow().clone());
        all.find(|current| current.workflow.purpose.host() == host && !current.workflow.state.is_final())
    }

    /// Something has changed that a workflow may wait for.
    pub(super) fn wake_workflows(&self) {
        self.inner.workflow_due.notify_one();
    }

    /// Carries out workflows as they become due; never returns.
    pub async fn keep_working(self) {
        loop {
            self.advance_workflows().await;
            // Time running out is as good a reason to look as a change.
            let _ = tokio::time::timeout(ASK_AGAIN_AFTER, self.inner.workflow_due.notified()).await;
        }
    }

    /// Carries out what is due of every workflow, until all of them wait or are over.
    pub(crate) async fn advance_workflows(&self) {
        let active: Vec<WorkflowId> = {
            let core = self.core();
            let active = core.workflows.iter().filter(|(_, entry)| entry.borrow().workflow.state.is_active());
            active.map(|(id, _)| *id).collect()
        };
        for id in active {
            for _ in 0..ROUNDS_MAX {
                // Boxed: it holds a whole failover.
                match Box::pin(self.advance(id)).await {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(error) => {
                        log::warn!(MESSAGE_ID:% = messages::NOT_RECORDED, REEVE_WORKFLOW:% = id;
                            "workflow {id} could not be taken further yet: {error}");
                        break;
                    }
                }
            }
        }
    }

    /// Carries out what is due of one workflow. Says whether that changed its record.
    async fn advance(&self, id: WorkflowId) -> Result<bool, ServiceError> {
        let _writer = self.inner.workflow_writer.lock().await;
        let WorkflowVersion { mut version, workflow } = self.workflow(id)?;
        let due = workflow.due();
        if due.is_empty() {
            return Ok(false);
        }
        let mut next = Workflow::clone(&workflow);
        next.begin(&due, self.now());
        if next != *workflow {
            version = self.write_workflow(version, next.clone()).await?;
        }
        let mut outcomes = Vec::with_capacity(due.len());
        for due in due {
            let Some(step) = next.steps.get(due.index).map(|record| record.step.clone()) else { continue };
            // What a step changes is the coordinator's own act; one that only looks leaves no record.
            let object =
                format!("workflow {id} ({} of host {})", next.purpose.as_str(), next.purpose.host_name());
            let outcome = match due.direction {
                Direction::Act => {
                    let act = self.begin_act(Who::Coordinator, "carry-on-workflow", object);
                    act.scope(self.act(&next, &step)).await
                }
                Direction::Undo => {
                    let act = self.begin_act(Who::Coordinator, "undo-workflow", object);
                    act.scope(self.undo(&step)).await
                }
            };
            outcomes.push((due, outcome.unwrap_or_else(|error| Outcome::Retry(error.to_string()))));
        }
        let before = next.clone();
        next.settle(outcomes, self.now());
        if next == before {
            return Ok(before != *workflow);
        }
        self.write_workflow(version, next).await?;
        Ok(true)
    }

    /// Makes a workflow's record durable, and shows it. Of those that are over the oldest are forgotten.
    async fn write_workflow(&self, version: Version, next: Workflow) -> Result<Version, ServiceError> {
        let text = next.encode().map_err(|error| ServiceError::internal(error.to_string()))?;
        let mut batch = Batch::new().put(WORKFLOWS.key(&next.id.0), Precondition::At(version), text);
        let forgotten = self.oldest_ended(&next);
        if let Some(oldest) = forgotten {
            batch = batch.delete(WORKFLOWS.key(&oldest.0), Precondition::Any);
        }
        let version = self.write(batch).await?;
        self.log_workflow(&next);
        let mut core = self.core();
        if let Some(oldest) = forgotten {
            core.workflows.remove(&oldest);
        }
        if let Some(entry) = core.workflows.get(&next.id) {
            entry.send_replace(WorkflowVersion { version, workflow: Arc::new(next) });
        }
        Ok(version)
    }

    /// Which workflow that is over makes room for `next`, if that is over now.
    fn oldest_ended(&self, next: &Workflow) -> Option<WorkflowId> {
        if !next.state.is_final() {
            return None;
        }
        let core = self.core();
        let ended = core.workflows.iter().filter(|(_, entry)| entry.borrow().workflow.state.is_final());
        let ended: Vec<WorkflowId> = ended.map(|(id, _)| *id).collect();
        (ended.len() >= ENDED_KEPT).then(|| ended.first().copied()).flatten()
    }

    fn log_workflow(&self, next: &Workflow) {
        let host = next.purpose.host_name();
        let what = format!("workflow {} ({} of host {host})", next.id, next.purpose.as_str());
        let why = next.problem.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
        match next.state {
            WorkflowState::Running => {}
            WorkflowState::Undoing => {
                log::warn!(REEVE_WORKFLOW:% = next.id, REEVE_HOST:% = host; "{what} is being undone{why}")
            }
            WorkflowState::Done => {
                log::info!(REEVE_WORKFLOW:% = next.id, REEVE_HOST:% = host; "{what} is done")
            }
            WorkflowState::Undone => {
                log::warn!(MESSAGE_ID:% = messages::WORKFLOW_UNDONE, REEVE_WORKFLOW:% = next.id, REEVE_HOST:% = host;
                    "{what} was undone{why}")
            }
            WorkflowState::Stuck => {
                log::error!(MESSAGE_ID:% = messages::WORKFLOW_STUCK, REEVE_WORKFLOW:% = next.id, REEVE_HOST:% = host;
                "{what} is stuck{why}; `reeve workflow show {0}` tells more, `reeve workflow cancel {0}` tries again", next.id)
            }
        }
    }

    /// Sees to it that what a step says is so, or on its way.
    pub(super) async fn act(&self, workflow: &Workflow, step: &Step) -> Result<Outcome, ServiceError> {
        match step {
            Step::MarkDraining { host } => self.mark_draining(*host, workflow).await,
            Step::StopVm { vm, grace, then, .. } => self.stop_for_drain(*vm, *grace, then.as_ref()).await,
            Step::StartVm { start } => self.start_again(start, &workflow.by).await,
            Step::ProveStopped { host } => self.prove_stopped(*host).await,
            Step::Displace { vm, host, .. } => self.displace_vm(*vm, *host).await,
            Step::ConfirmEmpty { host } => Ok(self.confirm_empty(*host, workflow)),
        }
    }

    /// Sees to it that nothing of what a step did is left.
    pub(super) async fn undo(&self, step: &Step) -> Result<Outcome, ServiceError> {
        match step {
            Step::MarkDraining { host } => self.unmark_draining(*host).await,
            Step::StopVm { .. }
            | Step::StartVm { .. }
            | Step::ProveStopped { .. }
            | Step::Displace { .. }
            | Step::ConfirmEmpty { .. } => Ok(Outcome::DONE),
        }
    }
}
