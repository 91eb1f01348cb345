//! Owns how VMs, and the coordinator itself, become documents.

use reeve_common::units::Mebibytes;

use super::explanation::explanation_of;
use crate::api::types::{
    Decision, Explanation, HostCounts, OpenWarnings, Status, Transition, Vm, VmDetail, VmLog, VmState, Wish,
};
use crate::model;
use crate::service::{self, VmView};

const fn state_of(state: model::vm_state::VmState) -> VmState {
    use model::vm_state::VmState as Kept;
    match state {
        Kept::Requested => VmState::Requested,
        Kept::Unplaceable => VmState::Unplaceable,
        Kept::Placed => VmState::Placed,
        Kept::Defining => VmState::Defining,
        Kept::Starting => VmState::Starting,
        Kept::Registering => VmState::Registering,
        Kept::Running => VmState::Running,
        Kept::Paused => VmState::Paused,
        Kept::Stopping => VmState::Stopping,
        Kept::Stopped => VmState::Stopped,
        Kept::Failed => VmState::Failed,
        Kept::Unknown => VmState::Unknown,
    }
}

/// Why a VM is where it is; on a lost host, what a person must decide.
fn reason_of(view: &VmView) -> Option<String> {
    if !view.decision_wanted {
        return view.vm.reason.clone();
    }
    Some(format!(
        "its host is lost: decision wanted, `reeve vm restart-elsewhere {}` or leave it",
        view.vm.name
    ))
}

pub(in crate::api) fn vm_of(view: &VmView) -> Vm {
    let vm = &view.vm;
    let Mebibytes(memory_mib) = vm.definition.memory();
    Vm {
        id: vm.id,
        name: vm.name.clone(),
        title: vm.definition.title().to_owned(),
        configuration: vm.configuration.clone(),
        setup: vm.setup.clone(),
        adopted: vm.definition.is_adopted(),
        realm: vm.realm.clone(),
        owner: vm.owner.clone(),
        team: vm.team.clone(),
        project: vm.project.clone(),
        cores: vm.definition.vcpus(),
        memory_mib,
        state: state_of(view.state),
        reason: reason_of(view),
        decision_wanted: view.decision_wanted,
        state_since: vm.history.last().map_or(vm.requested_at, |last| last.at).into(),
        wish: match vm.wish {
            model::vm::Wish::Run => Wish::Run,
            model::vm::Wish::Stop { .. } => Wish::Stop,
            model::vm::Wish::Release => Wish::Release,
        },
        host: view.host.as_ref().map(|(_, name)| name.clone()),
        requested_at: vm.requested_at.into(),
        registered_at: vm.registered_at.map(Into::into),
        ended_at: vm.ended_at.map(Into::into),
        version: view.version,
    }
}

fn history_of(vm: &model::vm::Vm) -> Vec<Transition> {
    vm.history
        .iter()
        .map(|change| Transition {
            at: change.at.into(),
            state: state_of(change.state),
            reason: change.reason.clone(),
        })
        .collect()
}

pub(in crate::api) fn vm_detail_of(detail: &service::VmDetail) -> VmDetail {
    VmDetail {
        vm: vm_of(&detail.view),
        history: history_of(&detail.view.vm),
        decision: detail.decision.as_ref().map(|decision| Decision {
            at: decision.at.into(),
            explanation: Explanation { at_once: decision.at_once, ..explanation_of(&decision.digest) },
        }),
    }
}

pub(in crate::api) fn vm_log_of(log: service::VmLog) -> VmLog {
    VmLog {
        vm: vm_of(&log.view),
        history: history_of(&log.view.vm),
        hosts: log.hosts,
        console: log.console,
        console_problem: log.console_problem,
    }
}

pub(in crate::api) fn status_of(status: service::Status) -> Status {
    let service::HostCounts { total, connected, reported, suspected, lost, fenced, never_joined } =
        status.hosts;
    Status {
        version: status.version.to_owned(),
        epoch: status.epoch.0,
        started_at: status.started_at.into(),
        realms: status.realms,
        hosts: HostCounts { total, connected, reported, suspected, lost, fenced, never_joined },
        vms: status.vms.iter().map(|(state, count)| (state.as_str().to_owned(), *count)).collect(),
        open_warnings: OpenWarnings {
            failures: status.open_warnings.failures,
            warnings: status.open_warnings.warnings,
        },
        warnings: status.warnings,
    }
}
