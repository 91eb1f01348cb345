//! Owns what is still to be told to the coordinator: for each VM the latest observation, whether the hypervisor's
//! reachability changed, whether a full report is due, a request of the agent's, and its question for a lease.
//!
//! Nothing is dropped and nothing overflows: what is newer about the same thing takes the place of what is older, so
//! there is at most one entry for each VM. A full report covers everything that was waiting.
//!
//! Must not: send.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use reeve_common::ids::{OperationId, VmId};
use reeve_common::protocol::AgentRequest;
use reeve_common::vm::VmObservation;
use reeve_common::wire::limits::REPORT_ANSWERS_MAX;
use tokio::sync::Notify;

/// The next thing to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Due {
    /// Everything.
    Report,
    /// Whether the hypervisor answers.
    Hypervisor(bool),
    /// One VM changed.
    Vm(VmObservation),
    /// The agent wants something.
    Request(AgentRequest),
}

/// What is still to be told.
#[derive(Debug, Default)]
pub struct Outbox {
    waiting: Mutex<Waiting>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    report: bool,
    /// The commands that the next report answers, the oldest first.
    answers: Vec<OperationId>,
    hypervisor: Option<bool>,
    request: Option<AgentRequest>,
    lease: Option<AgentRequest>,
    vms: BTreeMap<VmId, VmObservation>,
    /// The order in which VMs first changed since they were last told of.
    order: VecDeque<VmId>,
}

impl Outbox {
    /// A VM changed.
    pub fn vm_changed(&self, observation: VmObservation) {
        let mut waiting = self.lock();
        let vm = observation.vm;
        if waiting.vms.insert(vm, observation).is_none() {
            waiting.order.push_back(vm);
        }
        drop(waiting);
        self.arrived.notify_one();
    }

    /// The hypervisor went away or came back.
    pub fn hypervisor_changed(&self, reachable: bool) {
        self.lock().hypervisor = Some(reachable);
        self.arrived.notify_one();
    }

    /// A full report is due. It takes the place of all that was waiting about VMs and the hypervisor.
    pub fn report_due(&self) {
        let mut waiting = self.lock();
        waiting.report = true;
        waiting.hypervisor = None;
        waiting.vms.clear();
        waiting.order.clear();
        drop(waiting);
        self.arrived.notify_one();
    }

    /// A full report is due because this command asked for one.
    pub fn report_due_for(&self, operation: OperationId) {
        let mut waiting = self.lock();
        if !waiting.answers.contains(&operation) {
            if waiting.answers.len() >= REPORT_ANSWERS_MAX {
                // Whoever asked first has waited longest and given up first.
                waiting.answers.remove(0);
            }
            waiting.answers.push(operation);
        }
        drop(waiting);
        self.report_due();
    }

    /// Takes the commands that the report about to be made answers.
    pub fn take_answers(&self) -> Vec<OperationId> {
        std::mem::take(&mut self.lock().answers)
    }

    /// The agent wants something.
    pub fn request(&self, request: AgentRequest) {
        self.lock().request = Some(request);
        self.arrived.notify_one();
    }

    /// The agent asks for its lease, which takes the place of an earlier question. It goes before everything else: what
    /// waits behind it is worth nothing when the lease has run out.
    pub fn lease_wanted(&self, request: AgentRequest) {
        self.lock().lease = Some(request);
        self.arrived.notify_one();
    }

    /// Takes the next thing to tell. The caller of a report makes it *after* this: what changes later waits here again.
    pub fn take(&self) -> Option<Due> {
        let mut waiting = self.lock();
        if let Some(request) = waiting.lease.take() {
            return Some(Due::Request(request));
        }
        if std::mem::take(&mut waiting.report) {
            return Some(Due::Report);
        }
        if let Some(reachable) = waiting.hypervisor.take() {
            return Some(Due::Hypervisor(reachable));
        }
        if let Some(vm) = waiting.order.pop_front()
            && let Some(observation) = waiting.vms.remove(&vm)
        {
            return Some(Due::Vm(observation));
        }
        waiting.request.take().map(Due::Request)
    }

    /// Waits for the next thing to tell.
    pub async fn next(&self) -> Due {
        loop {
            if let Some(due) = self.take() {
                return due;
            }
            self.arrived.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Each change is complete before the lock is let go; a panic elsewhere cannot have left it half done.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::sample_values::vm;
    use reeve_common::ids::{Epoch, Generation};
    use reeve_common::vm::ObservedVm;

    fn observation(number: u128, observed: ObservedVm) -> VmObservation {
        VmObservation { vm: vm(number), generation: Generation(1), epoch: Epoch(1), observed }
    }

    #[test]
    fn the_latest_of_each_vm_waits_in_the_order_of_first_change() {
        let outbox = Outbox::default();
        outbox.vm_changed(observation(2, ObservedVm::Defining));
        outbox.vm_changed(observation(1, ObservedVm::Defining));
        outbox.vm_changed(observation(2, ObservedVm::Starting));
        assert_eq!(outbox.take(), Some(Due::Vm(observation(2, ObservedVm::Starting))));
        assert_eq!(outbox.take(), Some(Due::Vm(observation(1, ObservedVm::Defining))));
        assert_eq!(outbox.take(), None);
    }

    #[test]
    fn a_report_covers_what_was_waiting_and_nothing_later() {
        let outbox = Outbox::default();
        outbox.vm_changed(observation(1, ObservedVm::Starting));
        outbox.hypervisor_changed(false);
        outbox.report_due();
        outbox.vm_changed(observation(1, ObservedVm::Paused));
        assert_eq!(outbox.take(), Some(Due::Report));
        assert_eq!(outbox.take(), Some(Due::Vm(observation(1, ObservedVm::Paused))));
        assert_eq!(outbox.take(), None);
    }
}
