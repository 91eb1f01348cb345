//! Owns the following of agents' connections, and what their hosts are told of their wishes and their realm. What they
//! report of VMs is compared in `reconciling.rs`.

use std::sync::Arc;
use std::time::Duration;

use reeve_common::clock::Timestamp;
use reeve_common::ids::{HostId, RealmName, VmId};
use reeve_common::logging::messages;
use reeve_common::protocol::{CommandBody, Hello, Refusal, Welcome};
use reeve_common::storage::LockManager;
use reeve_common::vm::DesiredVm;
use reeve_common::wire::RefusalCode;
use reeve_scheduler::Contact;
use tokio::sync::OwnedMutexGuard;

use super::reconciling::log_failure;
use super::{Service, ServiceError};
use crate::agents::AgentHandle;
use crate::model::displacement::leftover_wish;
use crate::model::vm::Vm;
use crate::model::vm_life;
use crate::recovery::origin_text;

fn no_such_host(host: HostId) -> (RefusalCode, String) {
    (RefusalCode::RemovedHost, format!("host {host} was deleted, or never added, at this coordinator"))
}

impl Service {
    /// Whether there is a host of that number, before its agent has said anything.
    ///
    /// # Errors
    /// The reason, for both sides' logs.
    pub(crate) fn know_host(&self, host: HostId) -> Result<(), (RefusalCode, String)> {
        if self.core().hosts.contains_key(&host) { Ok(()) } else { Err(no_such_host(host)) }
    }

    /// Whether the agent that says `hello` is welcome, and with which words.
    ///
    /// # Errors
    /// The reason, for both sides' logs.
    pub(crate) fn greet(&self, host: HostId, hello: &Hello) -> Result<Welcome, (RefusalCode, String)> {
        let config = self.config();
        let core = self.core();
        let Some(entry) = core.hosts.get(&host) else {
            return Err(no_such_host(host));
        };
        let record = &entry.kept.value;
        if record.realm != hello.realm {
            let why = format!("host {} is in realm {}, not in {}", record.name, record.realm, hello.realm);
            return Err((RefusalCode::WrongRealm, why));
        }
        let Some(realm) = config.realms.get(&record.realm) else {
            let why = format!("realm {} is not in the coordinator's configuration", record.realm);
            return Err((RefusalCode::TooBusy, why));
        };
        if hello.highest_epoch > self.inner.epoch {
            let why = format!(
                "this host has obeyed epoch {}, and this coordinator is in epoch {}: it was restored from an old backup, or another one has taken over",
                hello.highest_epoch, self.inner.epoch
            );
            return Err((RefusalCode::NotInOffice, why));
        }
        Ok(Welcome { epoch: self.inner.epoch, realm: realm.settings(config.sample_interval) })
    }

    /// Makes sure that this coordinator is still in office. A host that was away may have lost its VMs to another place
    /// meanwhile, by another coordinator's decision: one that has been succeeded must not tell it what it remembers.
    ///
    /// # Errors
    /// Why the agent must not be welcomed, for both sides' logs.
    pub(crate) async fn confirm_office(&self) -> Result<(), (RefusalCode, String)> {
        self.inner.term.confirm().await.map_err(|error| {
            let code = if error.is_retryable() { RefusalCode::TooBusy } else { RefusalCode::NotInOffice };
            (code, crate::chain(&error))
        })
    }

    /// An agent is connected. Answers the one it takes the place of.
    pub(crate) fn agent_connected(
        &self,
        host: HostId,
        agent: AgentHandle,
        hello: Hello,
    ) -> Option<AgentHandle> {
        let now = self.steady_now();
        let mut core = self.core();
        let entry = core.hosts.get_mut(&host)?;
        let (name, realm) = (entry.kept.value.name.clone(), entry.kept.value.realm.clone());
        entry.life.connect(now);
        entry.contact = Contact::Connected;
        entry.inventory = Some(hello.inventory);
        entry.instance = Some(hello.instance);
        entry.refused = None;
        entry.clock_ahead_ms = None;
        entry.lock_manager = LockManager::Unknown;
        // What it said before it was away may have changed: it takes new VMs once it has reported.
        entry.report = None;
        let before = entry.agent.replace(agent);
        drop(core);
        self.describe_host(host);
        self.metrics().agent_connected();
        log::info!(MESSAGE_ID:% = messages::HOST_CONNECTED, REEVE_HOST:% = name, REEVE_REALM:% = realm;
            "host {name} is connected");
        before
    }

    /// A host has proved itself with a certificate that expires then, or has put such a one to use.
    pub(crate) fn note_certificate(&self, host: HostId, ends: Timestamp) {
        if let Some(entry) = self.core().hosts.get_mut(&host) {
            entry.certificate_ends = Some(ends);
        }
    }

    /// When a host's certificate expires, as far as is known.
    #[cfg(test)]
    pub(crate) fn certificate_ends(&self, host: HostId) -> Option<Timestamp> {
        self.core().hosts.get(&host)?.certificate_ends
    }

    /// The connection `connection` to a host's agent is over; `silent_for` is how long nothing was heard by then.
    pub(crate) fn agent_disconnected(&self, host: HostId, connection: u64, silent_for: Duration, why: &str) {
        let now = self.steady_now();
        let mut core = self.core();
        let Some(entry) = core.hosts.get_mut(&host) else { return };
        if entry.agent.as_ref().is_none_or(|agent| agent.connection() != connection) {
            return; // another connection has taken its place
        }
        self.metrics().agent_disconnected();
        let (name, realm) = (entry.kept.value.name.clone(), entry.kept.value.realm.clone());
        entry.agent = None;
        entry.life.disconnect(silent_for, now);
        entry.contact = Contact::Suspected;
        // Whoever waits for its report waits in vain.
        entry.awaited.clear();
        core.fleet.set_measured(host, None);
        drop(core);
        self.describe_host(host);
        log::warn!(MESSAGE_ID:% = messages::HOST_DISCONNECTED, REEVE_HOST:% = name, REEVE_REALM:% = realm;
            "host {name} is not connected any more: {why}");
    }

    /// Waits until everything that is being followed of the host is followed. None when the connection is not the host's any
    /// more: what it still holds is older than what the agent has said since, however late it is read.
    pub(crate) async fn listen_to(&self, host: HostId, connection: u64) -> Option<OwnedMutexGuard<()>> {
        let ear = Arc::clone(&self.core().hosts.get(&host)?.ear);
        let turn = ear.lock_owned().await;
        let agent = self.agent_of(host)?;
        (agent.connection() == connection).then_some(turn)
    }

    /// The agent at a host's connection, if it is still that connection's.
    pub(crate) fn agent_of(&self, host: HostId) -> Option<AgentHandle> {
        self.core().hosts.get(&host)?.agent.clone()
    }

    /// An agent was turned away; remembered for whoever asks why the host is not connected.
    pub(crate) fn agent_refused(&self, host: HostId, why: &str) {
        self.metrics().agent_refused();
        if let Some(entry) = self.core().hosts.get_mut(&host) {
            entry.refused = Some(why.to_owned());
        }
    }

    /// A host tells that its libvirt went away or came back.
    pub(crate) fn follow_hypervisor(&self, host: HostId, reachable: bool) {
        {
            let mut core = self.core();
            let Some(entry) = core.hosts.get_mut(&host) else { return };
            let (name, realm) = (entry.kept.value.name.clone(), entry.kept.value.realm.clone());
            match &mut entry.report {
                Some(report) if report.hypervisor_reachable != reachable => {
                    report.hypervisor_reachable = reachable;
                    if reachable {
                        log::info!(MESSAGE_ID:% = messages::LIBVIRT_BACK, REEVE_HOST:% = name, REEVE_REALM:% = realm;
                            "libvirt on host {name} answers again");
                    } else {
                        log::warn!(MESSAGE_ID:% = messages::LIBVIRT_UNREACHABLE, REEVE_HOST:% = name, REEVE_REALM:% = realm;
                            "libvirt on host {name} does not answer its agent");
                    }
                }
                _ => return,
            }
        }
        self.describe_host(host);
        if reachable {
            self.inner.fleet_changed.notify_one();
        }
    }

    /// Changes a VM's record by what `host` says of it, as long as the VM is that host's: it may leave it meanwhile.
    pub(super) async fn change_vm_on(
        &self,
        host: HostId,
        id: VmId,
        rule: impl FnOnce(&Vm, Timestamp) -> vm_life::Outcome,
    ) -> Result<(), ServiceError> {
        let only_there = |vm: &Vm, now| {
            if vm.host == Some(host) { rule(vm, now) } else { vm_life::Outcome::NOTHING }
        };
        self.change_vm(id, only_there).await
    }

    /// A host has refused a VM's wish for good. Answers whether that is settled; if not, it could not be recorded.
    pub(crate) async fn wish_refused(&self, host: HostId, id: VmId, refusal: &Refusal) -> bool {
        if let Refusal::StaleEpoch { highest, .. } = refusal {
            log::error!(MESSAGE_ID:% = messages::COORDINATOR_DEPOSED, REEVE_HOST:% = self.host_label(host), REEVE_VM:% = id;
                "another coordinator has taken over (epoch {highest}): stop this one");
            return true;
        }
        let why = refusal.to_string();
        let giving_up = self.change_vm_on(host, id, |vm, now| vm_life::give_up(vm, &why, now));
        let changed = self.report_of(host, id).scope(giving_up).await;
        let settled = changed.is_ok();
        log_failure(id, changed);
        settled
    }

    /// What could not be recorded must be heard again: nothing else may happen to the VM for a long time.
    pub(super) fn see_to_failure(&self, host: HostId, id: VmId, changed: Result<(), ServiceError>) {
        if changed.is_err()
            && let Some(agent) = self.agent_of(host)
        {
            agent.queue().push_report();
        }
        log_failure(id, changed);
    }

    /// What is wished for a VM on this host, as a command; none when it is over or not on this host.
    pub(crate) fn wish_for(&self, host: HostId, id: VmId) -> Option<CommandBody> {
        let core = self.core();
        let vm = core.any_vm(id).filter(|_| !core.displacing.contains(&id))?.vm;
        if let Some((generation, desired)) = leftover_wish(&vm, host) {
            return Some(CommandBody::EnsureVm { vm: id, generation, desired });
        }
        let here = vm.host == Some(host) && !vm.state.is_final();
        if !here {
            return None;
        }
        let mut desired = vm.desired();
        // Its host keeps this for a coordinator that has lost its records.
        match &mut desired {
            DesiredVm::Running(spec) => spec.origin = origin_text(&vm),
            DesiredVm::Adopted(adopted) => adopted.origin = origin_text(&vm),
            DesiredVm::Stopped { .. } | DesiredVm::Released => {}
        }
        Some(CommandBody::EnsureVm { vm: id, generation: vm.generation, desired })
    }

    /// A host's realm.
    pub(crate) fn realm_of(&self, host: HostId) -> Option<RealmName> {
        self.core().hosts.get(&host).map(|entry| entry.kept.value.realm.clone())
    }

    /// A host's name for logs.
    pub(crate) fn host_label_of(&self, host: HostId) -> String {
        self.host_label(host)
    }

    /// Sends every connected agent what it must know of its realm.
    pub(super) fn configure_agents(&self) {
        let config = self.config();
        let core = self.core();
        for entry in core.hosts.values() {
            if let (Some(agent), Some(realm)) = (&entry.agent, config.realms.get(&entry.kept.value.realm)) {
                agent.queue().push_settings(realm.settings(config.sample_interval));
            }
        }
    }
}
