//! Owns the comparison of reports with the records, and the carrying out of what repairs by itself: at each report, on a
//! timer (`comparison-frequency` of the realm), and when an administrator asks.
//!
//! ```text
//!   report ──▶ compare (model/reconciliation.rs) ──▶ repairs, each under its VM's lock ──▶ whoever asked for it
//! ```
//!
//! Must not: decide what repairs a difference, or touch what needs a decision.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use reeve_common::ids::{HostId, HostName, OperationId, VmId};
use reeve_common::logging::messages;
use reeve_common::mutation::Mutation;
use reeve_common::protocol::{CommandBody, HostReport, ReplyBody};
use reeve_common::storage::LockManager;
use reeve_common::vm::{ObservedVm, VmObservation};
use tokio::sync::oneshot;

use super::core::{Core, LastReport};
use super::lives::connection;
use super::{Actor, Service, ServiceError};
use crate::agents::AgentHandle;
use crate::model::host::{Connection, may_be_told};
use crate::model::reconciliation::{Difference, HostComparison, Recorded, Repair, Treatment};
use crate::model::vm::Vm;
use crate::model::vm_life;

/// How long an agent has to look at all its domains and to send the report: a libvirt with thousands of domains lists
/// them within seconds.
const REPORT_PATIENCE: Duration = Duration::from_secs(25);

impl Service {
    /// A host tells all it has.
    pub(crate) async fn follow_report(&self, host: HostId, report: HostReport) {
        let answers = report.answers.clone();
        if !self.keep_report(host, &report) {
            return;
        }
        self.describe_host(host);
        let mut comparison = self.compare_host(host, &report);
        for difference in &mut comparison.differences {
            let observation = report.vms.iter().find(|seen| seen.vm == difference.vm);
            self.carry_out(host, difference, observation).await;
        }
        self.inner.fleet_changed.notify_one();
        let waiting: Vec<oneshot::Sender<HostComparison>> = {
            let mut core = self.core();
            let Some(entry) = core.hosts.get_mut(&host) else { return };
            answers.iter().filter_map(|operation| entry.awaited.remove(operation)).collect()
        };
        for waiting in waiting {
            // Whoever asked may have given up.
            let _ = waiting.send(comparison.clone());
        }
    }

    /// A host tells of one VM.
    pub(crate) async fn follow_vm(&self, host: HostId, observation: &VmObservation) {
        let difference = {
            let core = self.core();
            let record = core.any_vm(observation.vm).map(|current| current.vm);
            let name = host_name(&core, host);
            let recorded = Recorded {
                host,
                host_name: &name,
                here: &[],
                leftovers: &[],
                record: |_: VmId| None::<Arc<Vm>>,
            };
            recorded.judge(record.as_deref(), observation, self.now())
        };
        if let Some(mut difference) = difference {
            if let Treatment::Repaired { repair: repair @ Repair::FollowAndTell, .. } =
                &mut difference.treatment
            {
                // In the middle of a life its wish is known to its agent; only a report may follow a new beginning.
                *repair = Repair::Follow;
            }
            self.carry_out(host, &mut difference, Some(observation)).await;
        }
    }

    /// Compares a host's VMs with what it has just now. With `dry_run` nothing is repaired by this question.
    ///
    /// # Errors
    /// [`ServiceError`] when there is no such host, or it cannot be asked: then nothing is known of it.
    pub async fn fix_vms(
        &self,
        name: &HostName,
        dry_run: bool,
        actor: &Actor,
    ) -> Result<HostComparison, ServiceError> {
        let host = self.host_id(name)?;
        let agent = self.agent_to_ask(host, name)?;
        let comparison = if dry_run {
            match agent.ask(self, CommandBody::ReadReport, REPORT_PATIENCE).await? {
                ReplyBody::Report(report) => self.compare_host(host, &report),
                other => {
                    return Err(ServiceError::internal(format!(
                        "host {name} answered something else: {other:?}"
                    )));
                }
            }
        } else {
            self.ask_for_comparison(host, &agent).await?
        };
        log::info!(REEVE_HOST:% = name, REEVE_OPERATOR:% = actor.name;
            "host {name} was compared with its records{}, by {}: {} VMs are the same, {} differences",
            if dry_run { " without repairing" } else { "" }, actor.name, comparison.same, comparison.differences.len());
        if !comparison.hypervisor_reachable {
            return Err(ServiceError::unavailable(format!(
                "libvirt on host {name} does not answer its agent"
            ))
            .advise("see whether libvirtd runs there; until then nothing is known of its VMs"));
        }
        Ok(comparison)
    }

    /// Asks a connected host's agent for a report and waits until it has been followed.
    pub(crate) async fn ask_for_comparison(
        &self,
        host: HostId,
        agent: &AgentHandle,
    ) -> Result<HostComparison, ServiceError> {
        let operation = OperationId::random();
        let (told, compared) = oneshot::channel();
        if let Some(entry) = self.core().hosts.get_mut(&host) {
            entry.awaited.insert(operation, told);
        }
        let asked = async {
            agent.ask_as(self, operation, CommandBody::Report, REPORT_PATIENCE).await?;
            compared
                .await
                .map_err(|_| ServiceError::unavailable("the connection with its agent ended meanwhile"))
        };
        let result = tokio::time::timeout(REPORT_PATIENCE, asked).await;
        if let Some(entry) = self.core().hosts.get_mut(&host) {
            entry.awaited.remove(&operation);
        }
        result.unwrap_or_else(|_| {
            Err(ServiceError::unavailable(format!(
                "its agent sent no report within {} s",
                REPORT_PATIENCE.as_secs()
            ))
            .advise("its agent's log says what it waits for: `journalctl -u reeve-agent`"))
        })
    }

    /// How often a host is compared as a whole, if it is in a realm that is configured.
    pub(crate) fn comparison_frequency(&self, host: HostId) -> Option<Duration> {
        let realm = self.realm_of(host)?;
        self.config().realms.get(&realm).map(|realm| realm.comparison_frequency)
    }

    pub(super) fn agent_to_ask(&self, host: HostId, name: &HostName) -> Result<AgentHandle, ServiceError> {
        let (config, now) = (self.config(), self.both_clocks());
        let core = self.core();
        let entry = core.hosts.get(&host);
        let entry = entry.ok_or_else(|| ServiceError::not_found("host", name, "reeve host list"))?;
        if !may_be_told(entry.kept.value.state) {
            return Err(ServiceError::conflict(format!("host {name} is disabled, and left alone"))
                .advise(format!("`reeve host set-state {name} no-scheduler` comes first")));
        }
        entry.agent.clone().ok_or_else(|| {
            let how = match connection(entry, &config, now) {
                Connection::NeverJoined => "has never joined",
                _ => "is not connected",
            };
            ServiceError::unavailable(format!("host {name} {how}: what its VMs do is unknown"))
                .advise("`reeve host list` says since when; its VMs hold their capacity until it is back")
        })
    }

    /// Keeps what a report says of everything but the states of our VMs. Returns whether there is such a host.
    fn keep_report(&self, host: HostId, report: &HostReport) -> bool {
        let now = self.steady_now();
        let mut core = self.core();
        let is_known = |core: &Core, vm: VmId| core.vms().contains_key(&vm);
        let unmanaged = report.vms.iter().filter(|seen| !matches!(seen.observed, ObservedVm::Gone(_)));
        let unmanaged = unmanaged.map(|seen| seen.vm).filter(|vm| !is_known(&core, *vm)).collect();
        // What cannot be asked may be running.
        let off = |seen: &&VmObservation| {
            matches!(
                seen.observed,
                ObservedVm::Defining | ObservedVm::Starting | ObservedVm::Ended(_) | ObservedVm::Gone(_)
            )
        };
        let off: BTreeSet<VmId> = report.vms.iter().filter(off).map(|seen| seen.vm).collect();
        let sizes = report.sizes.iter().filter(|size| !off.contains(&size.vm)).cloned().collect();
        let Some(entry) = core.hosts.get_mut(&host) else { return false };
        if report.hypervisor_reachable {
            entry.life.report(now);
        }
        entry.unmanaged = unmanaged;
        // An agent that has yet to find out says nothing new.
        if report.lock_manager != LockManager::Unknown {
            entry.lock_manager = report.lock_manager;
        }
        entry.report = Some(LastReport {
            hypervisor_reachable: report.hypervisor_reachable,
            foreign: report.foreign.clone(),
            pools: report.pools.clone(),
            sizes,
        });
        true
    }

    fn compare_host(&self, host: HostId, report: &HostReport) -> HostComparison {
        let now = self.now();
        let core = self.core();
        let here: Vec<VmId> = core.fleet.vms_on(host).collect();
        let leftovers = core.left_on(host);
        let name = host_name(&core, host);
        let record = |vm: VmId| core.any_vm(vm).map(|current| current.vm);
        Recorded { host, host_name: &name, here: &here, leftovers: &leftovers, record }.compare(report, now)
    }

    /// Repairs what repairs by itself, and says in the log what does not.
    async fn carry_out(
        &self,
        host: HostId,
        difference: &mut Difference,
        observation: Option<&VmObservation>,
    ) {
        let id = difference.vm;
        let repair = match &difference.treatment {
            Treatment::Repaired { repair, .. } => *repair,
            Treatment::Failed { .. } => return,
            Treatment::Decision { choices } => {
                let name = difference.name.clone().unwrap_or_else(|| id.to_string());
                let choice = choices.first().map(String::as_str).unwrap_or_default();
                log::warn!(MESSAGE_ID:% = messages::VM_NEEDS_DECISION, REEVE_VM:% = id, REEVE_HOST:% = self.host_label_of(host);
                    "VM {name} on host {} needs a decision: {}; {choice}", self.host_label_of(host), difference.words);
                return;
            }
        };
        let result = match (repair, observation) {
            (Repair::Follow | Repair::FollowAndTell, Some(seen)) => {
                let following =
                    self.change_vm_on(host, id, |vm, now| vm_life::apply_observation(vm, seen, now));
                let followed = self.report_of(host, id).scope(following).await;
                if repair == Repair::FollowAndTell && !Mutation::ForgetToRepeat.is_active() {
                    self.tell(id);
                }
                followed
            }
            (Repair::FollowAbsence | Repair::FollowLeftover, None)
                if Mutation::ForgetToRepeat.is_active() =>
            {
                Ok(())
            }
            (Repair::FollowAbsence, _) => {
                let following = self.change_vm_on(host, id, vm_life::apply_absence);
                self.report_of(host, id).scope(following).await
            }
            (Repair::FollowLeftover, seen) => {
                let is_gone = seen.is_some_and(|seen| matches!(seen.observed, ObservedVm::Gone(_)));
                self.follow_leftover(host, id, is_gone).await;
                Ok(())
            }
            (Repair::LetForget, Some(seen)) => {
                self.let_forget(Some(host), id, seen.generation);
                Ok(())
            }
            (_, None) => Ok(()),
        };
        if let Err(error) = &result {
            difference.treatment = Treatment::Failed { why: error.to_string() };
        }
        self.see_to_failure(host, id, result);
    }
}

fn host_name(core: &Core, host: HostId) -> String {
    core.hosts.get(&host).map(|entry| entry.kept.value.name.to_string()).unwrap_or_default()
}

/// A change that could not be made durable is tried again at the agent's next report.
pub(super) fn log_failure(id: VmId, changed: Result<(), ServiceError>) {
    if let Err(error) = changed {
        log::error!(MESSAGE_ID:% = messages::NOT_RECORDED, REEVE_VM:% = id;
            "what its host reports of VM {id} could not be recorded: {error}");
    }
}

#[cfg(test)]
#[path = "reconciling_tests.rs"]
mod tests;
