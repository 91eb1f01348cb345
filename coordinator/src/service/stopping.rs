//! Owns the end of a VM by request, and the one way in which any VM's record changes.

use std::sync::Arc;
use std::time::Duration;

use log::Level;
use reeve_common::clock::Timestamp;
use reeve_common::ids::{Generation, HostId, VmId};
use reeve_common::logging::messages;
use reeve_common::mutation::Mutation;

use super::views::VmView;
use super::{Actor, Service, ServiceError};
use crate::model::host::may_be_told;
use crate::model::vm::Vm;
use crate::model::vm_life::{self, Outcome};
use crate::model::vm_state::VmState;
use crate::records::{Record, VMS};
use crate::store::{Batch, Precondition, Version};

/// The longest a guest may be given to shut down: a day is no shutdown.
pub(super) const GRACE_MAX: Duration = Duration::from_secs(24 * 3600);

impl Service {
    /// Asks a VM's guest to shut down; it is destroyed if it has not within `grace` (the realm's `shutdown-timeout`
    /// when none is given).
    ///
    /// # Errors
    /// [`ServiceError`] when there is no such VM, it is over, or it is on a host that is disabled.
    pub async fn shutdown_vm(
        &self,
        id: &VmId,
        grace: Option<Duration>,
        actor: &Actor,
    ) -> Result<VmView, ServiceError> {
        let realm = self.vm_detail(*id)?.view.vm.realm.clone();
        let grace = grace.unwrap_or_else(|| {
            self.config().realms.get(&realm).map_or(Duration::from_secs(180), |realm| realm.shutdown_timeout)
        });
        if grace > GRACE_MAX {
            return Err(ServiceError::invalid("a guest may be given a day at most to shut down"));
        }
        self.stop(*id, grace, actor).await
    }

    /// Ends a VM at once, as if its plug were pulled.
    ///
    /// # Errors
    /// As for [`Self::shutdown_vm`].
    pub async fn destroy_vm(&self, id: &VmId, actor: &Actor) -> Result<VmView, ServiceError> {
        self.stop(*id, Duration::ZERO, actor).await
    }

    async fn stop(&self, id: VmId, grace: Duration, actor: &Actor) -> Result<VmView, ServiceError> {
        let detail = self.vm_detail(id)?;
        if detail.view.vm.state.is_final() {
            return Err(ServiceError::conflict(format!(
                "VM {} is {} already",
                detail.view.vm.name, detail.view.vm.state
            )));
        }
        if let Some((host, name)) = &detail.view.host
            && self.is_left_alone(*host)
        {
            return Err(ServiceError::conflict(format!(
                "host {name} is disabled, and its VMs are left alone"
            ))
            .advise(format!("`reeve host set-state {name} no-scheduler` comes first")));
        }
        log::info!(REEVE_REALM:% = detail.view.vm.realm, REEVE_VM:% = id, REEVE_OPERATOR:% = actor.name;
            "VM {} is to stop within {}, by {}", detail.view.vm.name, reeve_common::units::format_duration(grace), actor.name);
        self.change_vm(id, |vm, now| vm_life::wish_stop(vm, grace, now)).await?;
        if Mutation::FreeCapacityEarly.is_active() {
            self.core().fleet.release(id);
        }
        Ok(self.vm_detail(id)?.view)
    }

    /// Changes a VM's record by a pure rule: one change at a time, durable before it is shown, shown before it is told.
    pub(super) async fn change_vm(
        &self,
        id: VmId,
        rule: impl FnOnce(&Vm, Timestamp) -> Outcome,
    ) -> Result<(), ServiceError> {
        let Some(writer) = self.writer(id) else { return Ok(()) };
        let _writer = writer.lock().await;
        let Some(current) = self.core().vm(id) else { return Ok(()) };
        let outcome = rule(&current.vm, self.now());
        let host = current.vm.host;
        let mut generation = current.vm.generation;
        if let Some(changed) = outcome.changed {
            generation = changed.generation;
            let over = changed.state.is_final();
            let (batch, precondition) = if over {
                // It moves from the living to the past in one step.
                (Batch::new().delete(VMS.key(&id), Precondition::At(current.version)), Precondition::Absent)
            } else {
                (Batch::new(), Precondition::At(current.version))
            };
            let version = self.write_change(batch, &changed, precondition).await?;
            self.log_change(&current.vm, &changed);
            let released = over && changed.definition.is_adopted();
            self.show_vm(version, *changed);
            if over {
                if let Some(host) = host.filter(|_| released) {
                    // It may run on, and counts as somebody else's from now on.
                    self.describe_host(host);
                }
                self.inner.fleet_changed.notify_one();
                self.wake_workflows();
            }
        }
        if outcome.gone {
            self.let_forget(host, id, generation);
        } else if outcome.tell_agent {
            self.tell(id);
        }
        Ok(())
    }

    /// Makes a changed record durable, and with the end of a VM its next run, if one follows.
    async fn write_change(
        &self,
        batch: Batch,
        changed: &Vm,
        precondition: Precondition,
    ) -> Result<Version, ServiceError> {
        let Some(next) = self.hold_successor(changed) else {
            return self.write_vm(batch, changed, precondition).await;
        };
        let text = next.encode().map_err(|error| ServiceError::internal(error.to_string()));
        let written = match text {
            Ok(text) => {
                let batch = batch.put(VMS.key(&next.id), Precondition::Absent, text);
                self.write_vm(batch, changed, precondition).await
            }
            Err(error) => Err(error),
        };
        match &written {
            Ok(version) => self.show_successor(*version, next, changed),
            Err(_) => self.drop_successor(next.id),
        }
        written
    }

    fn log_change(&self, before: &Vm, after: &Vm) {
        if before.state == after.state && before.reason == after.reason {
            return;
        }
        let host = after.host.map(|host| self.host_label(host)).unwrap_or_default();
        let why = after.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
        let (level, message) = match after.state {
            VmState::Failed => (Level::Warn, messages::VM_FAILED),
            VmState::Unplaceable => (Level::Warn, messages::VM_UNPLACEABLE),
            _ => (Level::Info, messages::VM_STATE_CHANGED),
        };
        log::log!(level, MESSAGE_ID:% = message, REEVE_VM:% = after.id, REEVE_HOST:% = host,
            REEVE_REALM:% = after.realm, REEVE_OWNER:% = after.owner;
            "VM {} is {} now{why}", after.name, after.state);
    }

    /// The lock under which a VM's record is changed.
    pub(super) fn writer(&self, id: VmId) -> Option<Arc<tokio::sync::Mutex<()>>> {
        self.core().vms().get(&id).map(|entry| Arc::clone(&entry.writer))
    }

    /// Has the VM's host told the VM's wish, if the host is connected; otherwise it hears it when it connects.
    pub(super) fn tell(&self, id: VmId) {
        let core = self.core();
        let Some(host) = core.vm(id).and_then(|current| current.vm.host) else { return };
        let Some(entry) = core.hosts.get(&host) else { return };
        if let Some(agent) = &entry.agent
            && may_be_told(entry.kept.value.state)
        {
            agent.queue().push_wish(id);
        }
    }

    /// Has every VM on a host told.
    pub(super) fn tell_host_everything(&self, host: HostId) {
        let on_it: Vec<VmId> = self
            .core()
            .living()
            .filter(|current| current.vm.host == Some(host))
            .map(|current| current.vm.id)
            .collect();
        for id in on_it {
            self.tell(id);
        }
    }

    /// Lets the host forget a VM that is over.
    pub(super) fn let_forget(&self, host: Option<HostId>, id: VmId, generation: Generation) {
        let Some(host) = host else { return };
        if let Some(agent) = self.core().hosts.get(&host).and_then(|entry| entry.agent.as_ref()) {
            agent.queue().push_forget(id, generation);
        }
    }

    fn is_left_alone(&self, host: HostId) -> bool {
        self.core().hosts.get(&host).is_some_and(|entry| !may_be_told(entry.kept.value.state))
    }
}
