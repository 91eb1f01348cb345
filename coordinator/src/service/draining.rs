//! Owns the emptying of hosts: who may begin it, and what its steps do. A host that is drained is chosen for nothing
//! new; its VMs are stopped in order, those that matter least first and of those the newest; what their configurations
//! ask for is started again on another host.
//!
//! Every action here says what should be and looks whether it is so; it may run any number of times.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use reeve_common::ids::{HostId, HostName, VmId};
use reeve_common::mutation::Mutation;
use reeve_common::units::format_duration;

use super::failing_over::failover_rules;
use super::stopping::GRACE_MAX;
use super::views::HostView;
use super::workflows::WorkflowVersion;
use super::{Actor, Service, ServiceError};
use crate::model::host::may_be_told;
use crate::model::vm::{Vm, Wish};
use crate::model::vm_life;
use crate::records::DECISIONS;
use crate::workflow::{Outcome, Purpose, StartAgain, Step, Workflow};

/// How long after a guest's grace its VM must be gone, before it is told that it refuses: the agent destroys it when its
/// grace is over and then removes its disk, which takes seconds.
const STOP_OVERDUE: Duration = Duration::from_secs(30);

/// How many VMs are put on a list at once; those beyond it are found when these are gone.
const LISTED_MAX: usize = 500;

impl Service {
    /// Begins to empty a host. `grace` is what each guest has to shut down; the realm's `shutdown-timeout` when none is
    /// given.
    ///
    /// # Errors
    /// [`ServiceError`] when there is no such host, something is under way with it, it is disabled, or the store fails.
    pub async fn drain_host(
        &self,
        name: &HostName,
        grace: Option<Duration>,
        actor: &Actor,
    ) -> Result<WorkflowVersion, ServiceError> {
        let host = self.host_by_id(self.host_id(name)?)?.host;
        let grace = match grace {
            Some(grace) if grace > GRACE_MAX => {
                return Err(ServiceError::invalid("a guest may be given a day at most to shut down"));
            }
            Some(grace) => grace,
            None => self.known_realm(&host.realm)?.shutdown_timeout,
        };
        if !may_be_told(host.state) {
            return Err(ServiceError::conflict(format!(
                "host {name} is disabled, and its VMs are left alone"
            ))
            .advise(format!("`reeve host set-state {name} no-scheduler` comes first")));
        }
        let _writer = self.inner.workflow_writer.lock().await;
        self.nothing_under_way(host.id, name)?;
        log::info!(REEVE_HOST:% = name, REEVE_OPERATOR:% = actor.name;
            "host {name} is to be emptied, by {}; each guest has {}", actor.name, format_duration(grace));
        let purpose = Purpose::Drain { host: host.id, name: name.clone(), grace };
        let steps = vec![Step::MarkDraining { host: host.id }, Step::ConfirmEmpty { host: host.id }];
        self.begin_workflow(purpose, steps, &actor.name).await
    }

    /// Cancels the emptying of a host: it is chosen again, and VMs that were not asked to stop stay.
    ///
    /// # Errors
    /// [`ServiceError`] when there is no such host, it is not being emptied, or the store fails.
    pub async fn cancel_drain(
        &self,
        name: &HostName,
        actor: &Actor,
    ) -> Result<WorkflowVersion, ServiceError> {
        let host = self.host_id(name)?;
        let current = self.workflow_of_host(host);
        let drain = current.filter(|current| matches!(current.workflow.purpose, Purpose::Drain { .. }));
        let Some(drain) = drain else {
            return Err(ServiceError::conflict(format!("host {name} is not being emptied")).advise(format!(
                "`reeve host undrain {name}` lets a host that was emptied be chosen again"
            )));
        };
        self.cancel_workflow(drain.workflow.id, actor).await
    }

    /// Lets a host that was emptied be chosen again.
    ///
    /// # Errors
    /// [`ServiceError`] when there is no such host, it is still being emptied, or the store fails.
    pub async fn undrain_host(&self, name: &HostName, actor: &Actor) -> Result<HostView, ServiceError> {
        let host = self.host_id(name)?;
        let _writer = self.inner.workflow_writer.lock().await;
        self.nothing_under_way(host, name)?;
        self.unmark_draining(host).await?;
        log::info!(REEVE_HOST:% = name, REEVE_OPERATOR:% = actor.name;
            "host {name} may be chosen again, by {}", actor.name);
        self.host_by_id(host)
    }

    fn nothing_under_way(&self, host: HostId, name: &HostName) -> Result<(), ServiceError> {
        let Some(current) = self.workflow_of_host(host) else { return Ok(()) };
        let Workflow { id, purpose, state, .. } = &*current.workflow;
        Err(ServiceError::conflict(format!(
            "workflow {id} ({} of host {name}) is {} already",
            purpose.as_str(),
            state.as_str()
        ))
        .advise(format!(
            "`reeve workflow show {id}` says how far it is, `reeve workflow cancel {id}` ends it"
        )))
    }

    /// The host is chosen for nothing more, and what is on it is put on the list of what is to be stopped.
    pub(super) async fn mark_draining(
        &self,
        host: HostId,
        workflow: &Workflow,
    ) -> Result<Outcome, ServiceError> {
        if !self.core().hosts.contains_key(&host) {
            return Ok(Outcome::Failed("the host was deleted".to_owned()));
        }
        self.change_host(host, |record| record.draining = true).await?;
        self.describe_host(host);
        let then = self.stops(host, workflow);
        let count = then.len();
        Ok(Outcome::Done { note: Some(format!("{count} VMs were on it")), then })
    }

    /// The host may be chosen again.
    pub(super) async fn unmark_draining(&self, host: HostId) -> Result<Outcome, ServiceError> {
        if self.core().hosts.contains_key(&host) && !Mutation::ForgetToReopen.is_active() {
            self.change_host(host, |record| record.draining = false).await?;
            self.describe_host(host);
            self.inner.fleet_changed.notify_one();
        }
        Ok(Outcome::DONE)
    }

    /// Nothing is on the host; what has come meanwhile (a start that was under way, a VM found there) is stopped too.
    pub(super) fn confirm_empty(&self, host: HostId, workflow: &Workflow) -> Outcome {
        if Mutation::SkipLastLook.is_active() {
            return Outcome::DONE;
        }
        // Looked at before what is recorded: who arrives between the two looks is seen by the second.
        let arriving = self.core().arriving_on(host);
        let mut then = self.stops(host, workflow);
        match (then.is_empty(), arriving) {
            (true, None) => Outcome::DONE,
            (true, Some(vm)) => Outcome::NotYet { note: Some(format!("VM {vm} is being placed on it")) },
            (false, _) => {
                let note = Some(format!("{} VMs are on it", then.len()));
                then.push(Step::ConfirmEmpty { host });
                Outcome::Done { note, then }
            }
        }
    }

    /// A step for each VM that holds something on the host, in the order in which they are stopped.
    fn stops(&self, host: HostId, workflow: &Workflow) -> Vec<Step> {
        let Purpose::Drain { grace, .. } = &workflow.purpose else { return Vec::new() };
        let config = self.config();
        let core = self.core();
        let rules = |vm: &Vm| failover_rules(&core, &config, vm);
        let mut on_it: Vec<Arc<Vm>> =
            core.holding().filter(|vm| vm.host == Some(host) && vm.holds_capacity()).collect();
        on_it.sort_by_key(|vm| (rules(vm).priority, Reverse(vm.requested_at), vm.id));
        on_it.truncate(LISTED_MAX);
        let step = |vm: Arc<Vm>| {
            let again =
                rules(&vm).restarts() && vm.wish == Wish::Run && !Mutation::ForgetToStartAgain.is_active();
            let configuration = vm.configuration.clone().filter(|_| again);
            let then = configuration.map(|configuration| StartAgain { configuration, vm: VmId::random() });
            Step::StopVm { vm: vm.id, name: vm.name.clone(), grace: *grace, then }
        };
        on_it.into_iter().map(step).collect()
    }

    /// The VM is gone from its host.
    pub(super) async fn stop_for_drain(
        &self,
        id: VmId,
        grace: Duration,
        then: Option<&StartAgain>,
    ) -> Result<Outcome, ServiceError> {
        if self.core().vm(id).is_some() {
            self.change_vm(id, |vm, now| match vm.wish {
                // Somebody else's wish to stop, with whatever grace, is left as it is.
                Wish::Stop { .. } | Wish::Release => {
                    vm_life::Outcome { changed: None, tell_agent: true, gone: false }
                }
                Wish::Run => vm_life::wish_stop(vm, grace, now),
            })
            .await?;
        }
        let now = self.now();
        let core = self.core();
        let Some(current) = core.vm(id) else {
            // Not durable yet is not gone: its start is under way.
            if core.vms().contains_key(&id) {
                return Ok(Outcome::NotYet { note: Some("it is being started".to_owned()) });
            }
            let then = then.map(|start| Step::StartVm { start: start.clone() });
            return Ok(Outcome::Done {
                note: Some("it is gone".to_owned()),
                then: then.into_iter().collect(),
            });
        };
        let host = current.vm.host.and_then(|host| core.hosts.get(&host));
        let asked_at = current.vm.history.last().map(|last| last.at).unwrap_or_default();
        let waited = now.since(asked_at);
        let note = if host.is_some_and(|host| host.agent.is_none()) {
            "its host is not connected, and hears of it when it comes back".to_owned()
        } else if waited > grace.saturating_add(STOP_OVERDUE) {
            format!("it should be gone since {}: look at its host's libvirt", format_duration(waited - grace))
        } else {
            format!("it has {} to shut down", format_duration(grace))
        };
        Ok(Outcome::NotYet { note: Some(note) })
    }

    /// A VM of the configuration has been started, under this id and no other.
    pub(super) async fn start_again(&self, start: &StartAgain, by: &str) -> Result<Outcome, ServiceError> {
        // A decision is written with every start and outlives the VM: it says that this start has been.
        let started = self
            .store()
            .get(&DECISIONS.key(&start.vm))
            .await
            .map_err(|error| super::catalogue::store_failed(&error))?;
        if started.is_some() {
            return Ok(Outcome::DONE);
        }
        let actor = Actor { uid: 0, name: by.to_owned() };
        match self.start_vm_as(start.vm, &start.configuration, &actor).await {
            Ok(detail) => {
                Ok(Outcome::Done { note: Some(format!("as {}", detail.view.vm.name)), then: Vec::new() })
            }
            Err(error) if error.is_retryable() => Ok(Outcome::Retry(error.to_string())),
            // Its configuration was deleted, say: that is told, and keeps nobody from emptying the host.
            Err(error) => Ok(Outcome::Done { note: Some(format!("not started: {error}")), then: Vec::new() }),
        }
    }
}
