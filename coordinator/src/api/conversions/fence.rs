//! Owns how fencings become documents.

use crate::api::types::{Fence, FenceState, FenceTrial, Moment};
use crate::model::fence;
use crate::service;

const fn state_of(state: fence::FenceState) -> FenceState {
    match state {
        fence::FenceState::Requested => FenceState::Requested,
        fence::FenceState::Running => FenceState::Running,
        fence::FenceState::Off => FenceState::Off,
        fence::FenceState::Failed => FenceState::Failed,
        fence::FenceState::Unknown => FenceState::Unknown,
        fence::FenceState::NotBelieved => FenceState::NotBelieved,
    }
}

pub(in crate::api) fn fence_of(fence: &fence::Fence) -> Fence {
    Fence {
        number: fence.number,
        host: fence.host_name.clone(),
        requested_at: fence.requested_at.into(),
        requested_by: fence.requested_by.clone(),
        command: fence.command.clone(),
        state: state_of(fence.state),
        reason: fence.reason.clone(),
        attempts: fence.attempts,
        ended_at: fence.ended_at.map(Moment),
        output: fence.output.clone(),
        returned_at: fence.returned_at.map(Moment),
    }
}

pub(in crate::api) fn fence_trial_of(trial: service::FenceTrial) -> FenceTrial {
    FenceTrial {
        host: trial.host,
        command: trial.command,
        timeout_seconds: trial.timeout.as_secs(),
        options: trial.options,
        is_on: trial.is_on,
        problem: trial.problem,
        output: trial.output,
    }
}
