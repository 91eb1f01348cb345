//! Owns what becomes of VMs whose host is lost: whom the plan wants restarted gets a workflow that first obtains a proof
//! and then takes the VMs off the host, one transaction each; the waiting VMs are then placed as all others.
//!
//! ```text
//!   plan (model/failover) ──▶ workflow: prove that the host is stopped ──▶ displace each VM ──▶ placed anew
//!                                        │ fence it, if there is a command; or wait for its lease, or a person
//!                                        └─ it returns: it says itself what it has, and nothing is displaced
//! ```
//!
//! **Never twice.** A VM is taken off its host only under `displacing`: the proof is asked for under the lock under which
//! the VM is barred from being told to that host; so if the host returns before the record is durable, it does not hear
//! the old wish, and after that the record names another place and a higher generation.
//!
//! Must not: decide who is restarted; that is `model/failover`. Start anything without `Ownership::Released`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use reeve_common::ids::{HostId, HostName, RealmName, VmId};
use reeve_common::logging::messages;
use reeve_common::mutation::Mutation;
use reeve_scheduler::Contact;

use super::core::{Core, HostEntry, VmVersion};
use super::lives::contact;
use super::views::VmView;
use super::{Actor, Service, ServiceError};
use crate::audit::Who;
use crate::config::CoordinatorConfig;
use crate::model::displacement::{self, displace};
use crate::model::failover::{
    Brake, Braked, FailoverRules, HostFacts, RealmPlan, VmFacts, WhenHostLost, plan, urgency,
};
use crate::model::host::may_be_told;
use crate::model::host_life::{Ownership, Proof, ownership};
use crate::model::vm::{Vm, Wish};
use crate::store::{Batch, Precondition};
use crate::workflow::{Outcome, Purpose, Step, WorkflowState};

/// How often it is looked whether a host is lost: as often as that is judged.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// How long after a fencing that failed the next is tried: its own attempts are over by then, and a management controller
/// that was restarted is back.
const FENCE_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// How long after its start the coordinator takes a host that it has never heard for one that is only coming back: agents
/// reconnect within 30 seconds, also when all of them do at once.
const FIRST_CONTACT_PATIENCE: Duration = Duration::from_secs(60);

/// What is asked for in an automatic fencing's record.
const BY_ITSELF: &str = "failover";

/// What holds for a VM: what its configuration says, and where that is silent, its realm.
pub(super) fn failover_rules(core: &Core, config: &CoordinatorConfig, vm: &Vm) -> FailoverRules {
    let configuration = vm.configuration.as_ref().and_then(|name| core.configurations.get(name));
    let own = configuration.and_then(|kept| kept.value.when_host_lost);
    let of_realm = || config.realms.get(&vm.realm).map(|realm| realm.when_host_lost).unwrap_or_default();
    FailoverRules {
        // What was adopted can be made by nobody elsewhere.
        when_host_lost: if vm.definition.is_adopted() {
            WhenHostLost::Leave
        } else {
            own.unwrap_or_else(of_realm)
        },
        priority: configuration.map_or(0, |kept| kept.value.priority),
    }
}

/// Whether a person must decide what becomes of a VM that is on a lost host.
pub(super) fn wants_decision(core: &Core, config: &CoordinatorConfig, vm: &Vm) -> bool {
    vm.wish == Wish::Run && failover_rules(core, config, vm).when_host_lost == WhenHostLost::Ask
}

impl Service {
    /// Looks after lost hosts; never returns.
    pub async fn keep_failing_over(self) {
        let mut braked = BTreeSet::new();
        loop {
            self.fail_over(&mut braked).await;
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// Begins what the plans of all realms want done. `braked` are the realms of which it was said that they are braked.
    pub(crate) async fn fail_over(&self, braked: &mut BTreeSet<RealmName>) {
        let realms: Vec<RealmName> = self.config().realms.keys().cloned().collect();
        for realm in realms {
            let planned = self.failover_plan(&realm);
            say_braked(&realm, planned.braked, braked);
            for host in planned.hosts.into_iter().filter(|host| !host.restart.is_empty()) {
                if let Err(error) = self.begin_failover(host.host).await {
                    log::error!(MESSAGE_ID:% = messages::NOT_RECORDED, REEVE_REALM:% = realm;
                        "the restart of VMs of a lost host could not be begun: {error}");
                }
            }
        }
    }

    /// What is to be done about the lost hosts of a realm.
    pub(super) fn failover_plan(&self, realm: &RealmName) -> RealmPlan {
        let Some((brake, hosts)) = self.silence_of(realm) else { return RealmPlan::default() };
        let config = self.config();
        let core = self.core();
        if !hosts.iter().any(|host| host.is_lost) {
            return RealmPlan::default(); // the usual case costs no look at the VMs
        }
        let lost: BTreeSet<HostId> = hosts.iter().filter(|host| host.is_lost).map(|host| host.host).collect();
        let on_lost = core.living().map(|current| current.vm).filter(|vm| vm.wish == Wish::Run);
        let facts = |vm: Arc<Vm>| {
            let host = vm.host.filter(|host| lost.contains(host))?;
            let rules = failover_rules(&core, &config, &vm);
            Some(VmFacts { vm: vm.id, host, rules, requested_at: vm.requested_at })
        };
        let vms: Vec<VmFacts> = on_lost.filter_map(facts).collect();
        plan(brake, &hosts, &vms)
    }

    /// How much of a realm is silent, and how much may be.
    fn silence_of(&self, realm: &RealmName) -> Option<(Brake, Vec<HostFacts>)> {
        let mut brake = self.config().realms.get(realm)?.brake;
        if Mutation::IgnoreBrake.is_active() {
            brake.hosts = u32::MAX;
        }
        let core = self.core();
        let known = core.hosts.values().filter(|entry| entry.kept.value.realm == *realm);
        let joined = known.filter(|entry| entry.kept.value.joined_at.is_some());
        let facts = joined.map(|entry| HostFacts {
            host: entry.kept.value.id,
            is_silent: entry.contact != Contact::Connected,
            is_lost: self.is_lost(entry),
            is_left_alone: !may_be_told(entry.kept.value.state),
        });
        Some((brake, facts.collect()))
    }

    /// Whether a host is lost, and not only not heard yet since the coordinator started.
    pub(super) fn is_lost(&self, entry: &HostEntry) -> bool {
        let up_for = self.inner.clock.monotonic().saturating_duration_since(self.inner.opened);
        let was_awaited = entry.life.was_heard() || up_for >= FIRST_CONTACT_PATIENCE;
        entry.contact == Contact::Lost && !entry.life.is_connected() && was_awaited
    }

    /// Whether a host is silent for so long that it counts as lost, though its connection may not have been given up yet.
    fn is_shown_as_lost(&self, host: HostId) -> bool {
        let (config, now) = (self.config(), self.steady_now());
        self.core().hosts.get(&host).is_some_and(|entry| contact(entry, &config, now) == Contact::Lost)
    }

    /// Whether somebody has cancelled the failover of a host that has not been heard since.
    fn was_called_off(&self, host: HostId) -> bool {
        let now = self.both_clocks();
        let core = self.core();
        let mut workflows = core.workflows.values().map(|entry| Arc::clone(&entry.borrow().workflow));
        let latest = workflows
            .rfind(|workflow| matches!(workflow.purpose, Purpose::Failover { host: of, .. } if of == host));
        let heard =
            core.hosts.get(&host).and_then(|entry| entry.life.last_sign()).map(|sign| now.shown(sign));
        latest.is_some_and(|workflow| {
            workflow.state == WorkflowState::Undone
                && heard.is_none_or(|heard| workflow.ended_at > Some(heard))
        })
    }

    async fn begin_failover(&self, host: HostId) -> Result<(), ServiceError> {
        let _writer = self.inner.workflow_writer.lock().await;
        // A drain that is under way, or a failover that somebody has called off, is not interfered with.
        if self.workflow_of_host(host).is_some() || self.was_called_off(host) {
            return Ok(());
        }
        let name = self.host_by_id(host)?.host.name;
        log::warn!(MESSAGE_ID:% = messages::FAILOVER_BEGUN, REEVE_HOST:% = name;
            "host {name} is lost: VMs whose configuration asks for it are restarted elsewhere, once it is proved that it runs them no more");
        let purpose = Purpose::Failover { host, name };
        self.begin_workflow(purpose, vec![Step::ProveStopped { host }], BY_ITSELF).await.map(drop)
    }

    /// It is proved that the host runs nothing any more.
    pub(super) async fn prove_stopped(&self, host: HostId) -> Result<Outcome, ServiceError> {
        let known = self
            .core()
            .hosts
            .get(&host)
            .map(|entry| (entry.kept.value.name.clone(), entry.contact, self.is_lost(entry)));
        let Some((name, contact, is_lost)) = known else {
            return Ok(Outcome::Done { note: Some("the host was deleted".to_owned()), then: Vec::new() });
        };
        let proof = match self.ownership(host).map(proven_by_suspicion) {
            Some(Ownership::Holds) if contact != Contact::Connected => {
                return Ok(Outcome::NotYet { note: Some("its connection is not over yet".to_owned()) });
            }
            None | Some(Ownership::Holds) => {
                let note = Some("the host has returned, and says itself what it has".to_owned());
                return Ok(Outcome::Done { note, then: Vec::new() });
            }
            Some(_) if self.brake_of(host).is_some() => {
                return Ok(Outcome::NotYet { note: self.brake_of(host).map(|braked| braked.to_string()) });
            }
            Some(Ownership::Released(proof)) => proof,
            Some(Ownership::Unknown { .. }) if !is_lost => {
                return Ok(Outcome::NotYet { note: Some("it may be on its way back".to_owned()) });
            }
            Some(Ownership::Unknown { .. }) => return self.seek_proof(host, &name).await,
        };
        Ok(Outcome::Done { note: Some(proof_words(&proof)), then: self.displacements(host) })
    }

    /// Whether so much of the host's realm is silent that nothing is done by itself.
    fn brake_of(&self, host: HostId) -> Option<Braked> {
        let realm = self.core().hosts.get(&host).map(|entry| entry.kept.value.realm.clone())?;
        // Also when none is lost: to a coordinator that has just started they are only silent, and what the one before it
        // proved may stand already.
        let (brake, hosts) = self.silence_of(&realm)?;
        plan(brake, &hosts, &[]).braked
    }

    /// A step for each VM that is to be restarted elsewhere, the most urgent first.
    fn displacements(&self, host: HostId) -> Vec<Step> {
        let config = self.config();
        let core = self.core();
        let on_it = core
            .living()
            .map(|current| current.vm)
            .filter(|vm| vm.host == Some(host) && vm.wish == Wish::Run);
        let mut restarted: Vec<(FailoverRules, Arc<Vm>)> = on_it
            .map(|vm| (failover_rules(&core, &config, &vm), vm))
            .filter(|(rules, _)| rules.restarts())
            .collect();
        restarted.sort_by_key(|(rules, vm)| urgency(rules.priority, vm.requested_at, vm.id));
        let step =
            |(_, vm): (FailoverRules, Arc<Vm>)| Step::Displace { vm: vm.id, name: vm.name.clone(), host };
        restarted.into_iter().map(step).collect()
    }

    /// Has the host fenced if there is a command for it, and says what the proof waits for.
    async fn seek_proof(&self, host: HostId, name: &HostName) -> Result<Outcome, ServiceError> {
        if !self.can_be_fenced(host) {
            let note = format!(
                "no command can fence it: it waits until the host's lease is over with a watchdog behind it, the host returns, or a person states `reeve host confirm-off {name}`"
            );
            return Ok(Outcome::NotYet { note: Some(note) });
        }
        let latest = self.core().hosts.get(&host).and_then(|entry| entry.fences.last().cloned());
        let now = self.now();
        let note = match latest.map(|kept| kept.value) {
            Some(fence) if !fence.state.is_final() => "it is being fenced".to_owned(),
            Some(fence)
                if fence.ended_at.is_some_and(|at| now.since(at) < FENCE_AGAIN_AFTER)
                    && !fence.is_proof() =>
            {
                let why = fence.reason.as_deref().unwrap_or(fence.state.as_str());
                format!("it could not be fenced ({why}), and that is tried again")
            }
            _ => {
                self.begin_fence(name, BY_ITSELF).await?;
                "it is being fenced".to_owned()
            }
        };
        Ok(Outcome::NotYet { note: Some(note) })
    }

    /// The VM has left its host, and waits for a place.
    pub(super) async fn displace_vm(&self, id: VmId, host: HostId) -> Result<Outcome, ServiceError> {
        let Some(writer) = self.writer(id) else { return Ok(Outcome::DONE) };
        let _writer = writer.lock().await;
        let Some(current) = self.core().vm(id).filter(|current| current.vm.host == Some(host)) else {
            return Ok(Outcome::DONE); // it has left already, or is over
        };
        let steady = self.steady_now();
        let proof = {
            let mut core = self.core();
            let judged = core.hosts.get(&host).map(|entry| ownership(&entry.life, steady));
            match judged.map(proven_by_suspicion) {
                Some(Ownership::Released(proof)) => {
                    core.displacing.insert(id);
                    proof
                }
                // What was proved is over: the host is back, and what it says decides.
                _ => {
                    return Ok(Outcome::Done {
                        note: Some("its host is back, and says itself what became of it".to_owned()),
                        then: Vec::new(),
                    });
                }
            }
        };
        let result = self.write_displaced(&current, host, &proof).await;
        self.core().displacing.remove(&id);
        if result.is_err() {
            // Its host may have returned meanwhile, and was told nothing of it.
            self.tell(id);
        }
        result?;
        self.inner.fleet_changed.notify_one();
        Ok(Outcome::Done { note: Some("it waits for a place, or has one".to_owned()), then: Vec::new() })
    }

    async fn write_displaced(
        &self,
        current: &VmVersion,
        host: HostId,
        proof: &Proof,
    ) -> Result<(), ServiceError> {
        let name = self.host_label(host);
        let why = format!("host {name} is lost: {}", proof_words(proof));
        let Some(displaced) = displace(&current.vm, &why, self.now()) else { return Ok(()) };
        let version = self.write_vm(Batch::new(), &displaced, Precondition::At(current.version)).await?;
        log::warn!(MESSAGE_ID:% = messages::VM_LEAVES_LOST_HOST, REEVE_VM:% = displaced.id, REEVE_HOST:% = name, REEVE_REALM:% = displaced.realm;
            "VM {} leaves host {name}, which is lost ({}), and is started elsewhere", displaced.name, proof_words(proof));
        // What it held there is free: the host is proved to run it no more, and it takes nothing new until it returns.
        let id = displaced.id;
        self.core().fleet.release(id);
        self.show_vm(version, displaced);
        // It may have returned while this was being written, and hears what it is to clear up.
        if let Some(agent) = self.core().hosts.get(&host).and_then(|entry| entry.agent.as_ref()) {
            agent.queue().push_wish(id);
        }
        Ok(())
    }

    /// Starts a VM of a lost host elsewhere, by hand: the proof is asked for all the same, the brake is not.
    ///
    /// # Errors
    /// [`ServiceError`] when there is no such VM, its host is not lost, there is no proof, or the store fails.
    pub async fn restart_elsewhere(&self, id: &VmId, actor: &Actor) -> Result<VmView, ServiceError> {
        let view = self.vm_detail(*id)?.view;
        let vm = &view.vm;
        let Some((host, host_name)) = &view.host else {
            return Err(ServiceError::conflict(format!("VM {} is on no host", vm.name)));
        };
        if vm.definition.is_adopted() {
            return Err(ServiceError::conflict(format!(
                "VM {} was adopted: there is no image to make it from elsewhere",
                vm.name
            )));
        }
        if vm.state.is_final() || vm.wish != Wish::Run {
            return Err(ServiceError::conflict(format!("VM {} is not to run ({})", vm.name, vm.state)));
        }
        let ownership = self.ownership(*host);
        let is_unknown = match ownership {
            Some(Ownership::Unknown { .. }) => true,
            Some(Ownership::Holds) => self.is_shown_as_lost(*host),
            Some(Ownership::Released(_)) | None => false,
        };
        match ownership {
            Some(Ownership::Released(_)) => {}
            _ if is_unknown => {
                let fence = if self.can_be_fenced(*host) {
                    format!("`reeve host fence {host_name}` fences it; ")
                } else {
                    String::new()
                };
                return Err(ServiceError::conflict(format!(
                    "nothing proves that host {host_name} does not run VM {} any more: started elsewhere, it might run twice",
                    vm.name
                ))
                .advise(format!(
                    "{fence}`reeve host confirm-off {host_name}` states that you have seen the machine off"
                )));
            }
            _ => {
                return Err(ServiceError::conflict(format!(
                    "host {host_name} is not lost, and VM {} is its",
                    vm.name
                ))
                .advise(format!("`reeve vm shutdown {}` and a start move it", vm.name)));
            }
        }
        log::warn!(REEVE_HOST:% = host_name, REEVE_REALM:% = vm.realm, REEVE_VM:% = id, REEVE_OPERATOR:% = actor.name;
            "VM {} is to be started elsewhere, by {}", vm.name, actor.name);
        self.displace_vm(*id, *host).await?;
        self.place_waiting().await;
        Ok(self.vm_detail(*id)?.view)
    }

    /// A host reports a VM that was displaced from it: it is told that nothing of it is to be left, and when it says so, that
    /// is noted. Says whether that was so.
    pub(super) async fn follow_leftover(&self, host: HostId, id: VmId, is_gone: bool) -> bool {
        let leftover =
            self.core().any_vm(id).and_then(|current| displacement::leftover_wish(&current.vm, host));
        let Some((generation, _)) = leftover else { return false };
        if !is_gone {
            if let Some(agent) = self.core().hosts.get(&host).and_then(|entry| entry.agent.as_ref()) {
                agent.queue().push_wish(id);
            }
            return true;
        }
        match self.confirm_leftover_gone(host, id).await {
            Ok(()) => self.let_forget(Some(host), id, generation),
            Err(error) => {
                log::error!(MESSAGE_ID:% = messages::NOT_RECORDED, REEVE_HOST:% = self.host_label(host), REEVE_VM:% = id;
                    "that nothing of VM {id} is left on its old host could not be recorded: {error}");
                // The host says it once; it is to say it again.
                if let Some(agent) = self.agent_of(host) {
                    agent.queue().push_report();
                }
            }
        }
        true
    }

    async fn confirm_leftover_gone(&self, host: HostId, id: VmId) -> Result<(), ServiceError> {
        // One that is over is not written any more: its end is what counts.
        let Some(writer) = self.writer(id) else { return Ok(()) };
        let _writer = writer.lock().await;
        let Some(current) = self.core().vm(id) else { return Ok(()) };
        let Some(confirmed) = displacement::confirm_gone(&current.vm, host) else { return Ok(()) };
        let who = Who::Host { id: host, name: self.host_label(host) };
        let act = self.begin_act(who, "confirm-gone", format!("vm {}", confirmed.name));
        let writing = self.write_vm(Batch::new(), &confirmed, Precondition::At(current.version));
        let version = act.scope(writing).await?;
        log::info!(REEVE_REALM:% = confirmed.realm, REEVE_VM:% = id, REEVE_HOST:% = self.host_label(host);
            "nothing of VM {} is left on host {}, from which it was moved", confirmed.name, self.host_label(host));
        self.show_vm(version, confirmed);
        Ok(())
    }
}

/// The same, but for the rule that is broken on purpose: then not being heard is proof enough.
fn proven_by_suspicion(judged: Ownership) -> Ownership {
    match judged {
        Ownership::Unknown { since } if Mutation::RestartOnSuspicion.is_active() => {
            Ownership::Released(Proof::SelfFenced { lease_ran_out_at: since })
        }
        judged => judged,
    }
}

/// Why the host cannot run anything any more, in words.
fn proof_words(proof: &Proof) -> String {
    match proof {
        Proof::Fenced { by, .. } => format!("it is off, as {by} saw to"),
        Proof::SelfFenced { .. } => "its lease ran out, and its watchdog stands behind that".to_owned(),
        Proof::Returned { .. } => "it has returned without it".to_owned(),
    }
}

fn say_braked(realm: &RealmName, now: Option<Braked>, said: &mut BTreeSet<RealmName>) {
    match now {
        Some(braked) if said.insert(realm.clone()) => {
            log::error!(MESSAGE_ID:% = messages::REALM_BRAKED, REEVE_REALM:% = realm;
            "realm {realm} is braked: {braked}. Look whether the coordinator is cut off. By hand: `reeve host fence`, `reeve host confirm-off`, `reeve vm restart-elsewhere`")
        }
        None if said.remove(realm) => {
            log::warn!(MESSAGE_ID:% = messages::REALM_RELEASED, REEVE_REALM:% = realm;
            "realm {realm} is not braked any more: lost hosts are dealt with again")
        }
        _ => {}
    }
}
