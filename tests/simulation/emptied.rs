//! Owns the rules for hosts that were emptied, looked at when all has come to rest: the latest emptying of each host
//! against where VMs are, and what was to be started again.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use reeve_common::ids::{HostId, VmId};
use reeve_coordinator::model::failover::WhenHostLost;
use reeve_coordinator::model::vm::Vm;
use reeve_coordinator::records::{PAST_VMS, Record, VMS};
use reeve_coordinator::service::Service;
use reeve_coordinator::store::{MemoryStore, Store as _};
use reeve_coordinator::workflow::{Purpose, Step, Workflow, WorkflowState};

use super::estate::when_host_lost;
use super::trace::{Trace, short, violated};

const EMPTY: &str = "a host that was emptied is empty";
const OPEN: &str = "a drain that was cancelled leaves its host open";
const AGAIN: &str = "what an emptied host had is started again where it should be";
/// The words in a VM's record when it was asked to shut down.
const ASKED: &str = "shutdown requested";
/// How a step says that its start could not be.
const NOT_STARTED: &str = "not started";

/// Looks at the emptied hosts. `asked` are the VMs that users asked to stop.
///
/// # Errors
/// When a record cannot be read.
pub async fn check_emptied(
    service: &Service,
    store: &MemoryStore,
    asked: &BTreeSet<VmId>,
    trace: &Trace,
) -> Result<()> {
    let mut vms: BTreeMap<VmId, Vm> = BTreeMap::new();
    for prefix in [VMS.prefix(), PAST_VMS.prefix()] {
        for stored in store.list(prefix).await? {
            let vm = Vm::decode(&stored)?;
            vms.insert(vm.id, vm);
        }
    }
    let mut latest: BTreeMap<HostId, WorkflowState> = BTreeMap::new();
    // A drain that was cancelled may have stopped a VM and not started another: then the next is not to do it either.
    let replaced: BTreeSet<VmId> = service
        .workflows()
        .iter()
        .flat_map(|current| current.workflow.steps.iter().filter_map(|record| replaced_by(&record.step)))
        .chain(asked.iter().copied())
        .collect();
    for current in service.workflows() {
        let workflow = &current.workflow;
        if let Purpose::Drain { host, .. } = workflow.purpose {
            latest.insert(host, workflow.state);
            if workflow.state == WorkflowState::Done {
                check_starts(workflow, &vms, &replaced, trace);
            }
        }
    }
    let bookings = service.bookings();
    for host in service.host_bookings() {
        match latest.get(&host.host) {
            Some(WorkflowState::Undone) if host.is_draining => {
                violated(trace, OPEN, format!("host {} is shut", host.host));
            }
            Some(WorkflowState::Done) if host.is_draining => {
                if let Some(booking) = bookings.iter().find(|booking| booking.host == Some(host.host)) {
                    violated(trace, EMPTY, format!("VM {} is on host {}", short(booking.vm), host.host));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// The VM in whose place another is started by this step.
const fn replaced_by(step: &Step) -> Option<VmId> {
    match step {
        Step::StopVm { vm, then: Some(_), .. } => Some(*vm),
        _ => None,
    }
}

/// `accounted` are the VMs that users asked to stop and those in whose place others were to be started.
fn check_starts(workflow: &Workflow, vms: &BTreeMap<VmId, Vm>, accounted: &BTreeSet<VmId>, trace: &Trace) {
    for record in &workflow.steps {
        match &record.step {
            Step::StopVm { vm, then: None, .. } => {
                let is_wanted = vms.get(vm).is_some_and(|stopped| {
                    let was_asked =
                        stopped.history.iter().any(|entry| entry.reason.as_deref() == Some(ASKED));
                    was_asked
                        && stopped.configuration.as_ref().is_some_and(|configuration| {
                            when_host_lost(configuration.as_str()) == WhenHostLost::Restart
                        })
                });
                if is_wanted && !accounted.contains(vm) {
                    violated(
                        trace,
                        AGAIN,
                        format!("VM {} was stopped, and nothing takes its place", short(*vm)),
                    );
                }
            }
            Step::StartVm { start } => {
                let is_told = record.note.as_deref().is_some_and(|note| note.starts_with(NOT_STARTED));
                if !vms.contains_key(&start.vm) && !is_told {
                    violated(
                        trace,
                        AGAIN,
                        format!("VM {} was to be started, and never was", short(start.vm)),
                    );
                }
            }
            _ => {}
        }
    }
}
