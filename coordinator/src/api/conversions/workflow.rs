//! Owns how workflows become documents.

use crate::api::types::{Moment, WhenHostLost, Workflow, WorkflowState, WorkflowStep};
use crate::model::failover;
use crate::service::WorkflowVersion;
use crate::workflow;

const fn state_of(state: workflow::WorkflowState) -> WorkflowState {
    match state {
        workflow::WorkflowState::Running => WorkflowState::Running,
        workflow::WorkflowState::Undoing => WorkflowState::Undoing,
        workflow::WorkflowState::Done => WorkflowState::Done,
        workflow::WorkflowState::Undone => WorkflowState::Undone,
        workflow::WorkflowState::Stuck => WorkflowState::Stuck,
    }
}

pub(in crate::api) fn workflow_of(current: &WorkflowVersion) -> Workflow {
    let workflow = &current.workflow;
    let done = |record: &&workflow::StepRecord| record.state == workflow::StepState::Done;
    Workflow {
        id: workflow.id.0,
        version: current.version.0,
        purpose: workflow.purpose.as_str().to_owned(),
        host: workflow.purpose.host_name().clone(),
        state: state_of(workflow.state),
        problem: workflow.problem.clone(),
        steps_done: workflow.steps.iter().filter(done).count(),
        steps: workflow.steps.iter().map(step_of).collect(),
        by: workflow.by.clone(),
        started_at: workflow.started_at.into(),
        ended_at: workflow.ended_at.map(Moment),
    }
}

fn step_of(record: &workflow::StepRecord) -> WorkflowStep {
    WorkflowStep {
        step: record.step.to_string(),
        state: record.state.as_str().to_owned(),
        note: record.note.clone(),
        begun_at: record.begun_at.map(Moment),
    }
}

pub(super) const fn when_host_lost(rule: WhenHostLost) -> failover::WhenHostLost {
    match rule {
        WhenHostLost::Restart => failover::WhenHostLost::Restart,
        WhenHostLost::Leave => failover::WhenHostLost::Leave,
        WhenHostLost::Ask => failover::WhenHostLost::Ask,
    }
}

pub(super) const fn when_host_lost_of(rule: failover::WhenHostLost) -> WhenHostLost {
    match rule {
        failover::WhenHostLost::Restart => WhenHostLost::Restart,
        failover::WhenHostLost::Leave => WhenHostLost::Leave,
        failover::WhenHostLost::Ask => WhenHostLost::Ask,
    }
}
