//! Owns the choosing of hosts: the decision, its explanation, and the waiting VMs that are tried again when the fleet
//! changes. A chosen host's capacity is held from the moment of the choice, and freed if it cannot be made durable.

use std::time::Duration;

use reeve_common::clock::Timestamp;
use reeve_common::ids::{HostId, VmId};
use reeve_common::logging::messages;
use reeve_scheduler::{BatchGoal, Request};

use super::core::Core;
use super::failing_over::failover_rules;
use super::{Service, ServiceError};
use crate::audit::Who;
use crate::decision_words::{LINES_MAX, change};
use crate::metrics::DecisionOutcome;
use crate::model::explanation::{HOSTS_KEPT, PlacementDecision, finite};
use crate::model::failover::urgency;
use crate::model::vm::{Vm, Wish};
use crate::model::vm_state::VmState;
use crate::records::{DECISIONS, Record};
use crate::store::{Batch, Precondition};

impl Service {
    /// Tries the waiting VMs again, those first that have waited longest. Some at a time are planned together, so that they
    /// cost less than one after the other; none is left out for the sake of those who have waited less. A VM for which there
    /// is no place holds nobody up.
    pub(crate) async fn place_waiting(&self) {
        let mut waiting = {
            let (config, core) = (self.config(), self.core());
            waiting(&core, |vm| failover_rules(&core, &config, vm).priority)
        };
        while !waiting.is_empty() {
            let rest = waiting.split_off(waiting.len().min(BATCH_MAX));
            let planned = plan(&mut self.core_for_decisions(), &waiting);
            for (id, planned) in planned {
                if let Err(error) = self.place_again(id, planned).await {
                    log::warn!(MESSAGE_ID:% = messages::NOT_RECORDED, REEVE_VM:% = id;
                        "VM {id} could not be placed again: {error}");
                }
            }
            waiting = rest;
        }
    }

    /// Waits for changes of the fleet and tries the waiting VMs again; never returns. What is measured changes all the
    /// time, and is looked at from time to time.
    pub async fn keep_placing(self) {
        loop {
            // Time running out is as good a reason to look as a change.
            let _ = tokio::time::timeout(RETRY_AFTER, self.inner.fleet_changed.notified()).await;
            self.place_waiting().await;
        }
    }

    /// A plan is advice: each VM is held for itself, by the same rule, and if its place is gone by then it takes the best.
    async fn place_again(&self, id: VmId, planned: Planned) -> Result<(), ServiceError> {
        let Some(writer) = self.writer(id) else { return Ok(()) };
        let _writer = writer.lock().await;
        let Some(current) = self.core().vm(id) else { return Ok(()) };
        if current.vm.host.is_some() || current.vm.wish != Wish::Run || current.vm.state.is_final() {
            return Ok(());
        }
        let (now, begun) = (self.now(), self.monotonic());
        let Some((vm, decision)) = ({
            let mut core = self.core_for_decisions();
            choose(&mut core, &current.vm, Some(planned), now)
        }) else {
            return Ok(()); // still nowhere: its record says so already
        };
        let took = self.monotonic().saturating_duration_since(begun);
        self.metrics().decided(DecisionOutcome::Placed, took, []);
        self.log_decision(&vm, &decision);
        let stored = async {
            let text = decision.encode().map_err(|error| ServiceError::internal(error.to_string()))?;
            let batch = Batch::new().put(DECISIONS.key(&id), Precondition::Any, text);
            let act = self.begin_act(Who::Coordinator, "place-vm", format!("vm {}", vm.name));
            act.scope(self.write_vm(batch, &vm, Precondition::At(current.version))).await
        }
        .await;
        match stored {
            Ok(version) => {
                self.show_vm(version, vm);
                self.tell(id);
                Ok(())
            }
            Err(error) => {
                self.core().fleet.release(id);
                Err(error)
            }
        }
    }

    /// Writes a decision's explanation where the realm asks for it (`log-scheduling`).
    pub(super) fn log_decision(&self, vm: &Vm, decision: &PlacementDecision) {
        let config = self.config();
        if !config.realms.get(&vm.realm).is_some_and(|realm| realm.log_scheduling) {
            return;
        }
        for (host, line) in decision_lines(decision) {
            log::info!(REEVE_VM:% = vm.id, REEVE_HOST:% = host, REEVE_REALM:% = vm.realm;
                "scheduling {}: {line}", vm.name);
        }
    }
}

/// A decision line by line, each with the host that it is about, if any: what the command line says of it, then host by
/// host with every term. Few lines, however many hosts there are.
fn decision_lines(decision: &PlacementDecision) -> Vec<(&str, String)> {
    let (words, digest) = (decision.words(), &decision.digest);
    let chosen = words.hosts.iter().find(|host| host.chosen).map_or("", |host| host.name);
    // What is told of a refusal stands below one by one.
    let summary = words.summary().lines().next().unwrap_or_default().to_owned();
    let mut lines = vec![(chosen, summary)];
    for (told, host) in words.hosts.iter().zip(&digest.explanation.hosts) {
        let judgement = told.judgement();
        let terms = host
            .terms
            .iter()
            .map(|term| format!("{} {}", term.name, change(finite(term.before), finite(term.after))));
        let terms = terms.collect::<Vec<_>>().join(", ");
        let line = match told.reason {
            Some(_) => format!("host {}: {judgement}", told.name),
            None => format!("host {}: cost {judgement} ({terms})", told.name),
        };
        lines.push((told.name, line));
    }
    for (refusal, told) in digest.refusals.iter().zip(&words.refusals) {
        if refusal.hosts > 1 {
            lines.push(("", format!("not feasible: {}", told.line())));
        }
    }
    lines.truncate(LINES_MAX);
    lines
}

/// Where a plan puts a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Planned {
    host: HostId,
    /// How many VMs were planned together.
    at_once: usize,
}

/// The VMs that wait for a place, those of the highest priority first, and of them those that have waited longest.
fn waiting(core: &Core, priority: impl Fn(&Vm) -> u32) -> Vec<VmId> {
    let vms = core.waiting().iter().filter_map(|id| core.vm(*id)).map(|current| current.vm);
    let mut by_urgency: Vec<_> = vms.map(|vm| urgency(priority(&vm), vm.requested_at, vm.id)).collect();
    by_urgency.sort_unstable();
    by_urgency.into_iter().map(|(_, _, id)| id).collect()
}

/// Where waiting VMs would go together. Nothing is held.
fn plan(core: &mut Core, waiting: &[VmId]) -> Vec<(VmId, Planned)> {
    let wanted: Vec<(VmId, Request)> = waiting
        .iter()
        .filter_map(|id| core.vm(*id))
        .map(|current| (current.vm.id, current.vm.request.clone()))
        .collect();
    let placed = plan_together(core, &wanted).into_iter();
    placed.filter_map(|(index, planned)| Some((wanted.get(index)?.0, planned))).collect()
}

/// Where VMs would go together, those before never left out for the sake of those behind: each that has a place, by its
/// place in `wanted`, in an order in which each fits when its turn comes. Nothing is held.
pub(super) fn plan_together(core: &mut Core, wanted: &[(VmId, Request)]) -> Vec<(usize, Planned)> {
    let plan = core.fleet.plan_batch(wanted, BatchGoal::FirstComeFirst);
    let at_once = plan.order.len();
    let placed = plan.order.iter().filter_map(|index| Some((*index, plan.hosts.get(*index).copied()??)));
    placed.map(|(index, host)| (index, Planned { host, at_once })).collect()
}

/// Chooses a host for a VM that has none and holds its capacity; none when no host is feasible. The choice and the
/// holding are one step under the lock, and the holding checks again with the same rule. What was planned is done if it
/// still can be.
pub(super) fn choose(
    core: &mut Core,
    vm: &Vm,
    planned: Option<Planned>,
    now: Timestamp,
) -> Option<(Vm, PlacementDecision)> {
    let best = core.fleet.decide(&vm.request)?;
    let planned =
        planned.filter(|planned| planned.host != best && core.fleet.fits(planned.host, &vm.request).is_ok());
    let host = planned.map_or(best, |planned| planned.host);
    let digest = core.fleet.digest_choosing(&vm.request, host, HOSTS_KEPT);
    if let Err(reason) = core.fleet.reserve(vm.id, host, &vm.request) {
        let name = core.hosts.get(&host).map(|entry| entry.kept.value.name.to_string()).unwrap_or_default();
        log::error!(MESSAGE_ID:% = messages::PLACEMENT_CONTRADICTED, REEVE_HOST:% = name, REEVE_REALM:% = vm.realm,
            REEVE_VM:% = vm.id;
            "host {name} was chosen and does not fit: {reason}");
        return None;
    }
    let mut placed = vm.clone();
    placed.host = Some(host);
    placed.assignment = core.fleet.assignment(vm.id);
    placed.enter(VmState::Placed, None, now);
    let at_once = planned.map(|planned| planned.at_once);
    Some((placed, PlacementDecision { at: now, at_once, digest }))
}

/// After how long waiting VMs are tried again though no host came, left or was freed: load that kept them out may be gone.
/// Trying costs microseconds for each VM that waits.
const RETRY_AFTER: Duration = Duration::from_secs(10);
/// How many waiting VMs are planned together: so many that it helps, and so few that others wait for the lock some
/// milliseconds.
pub(super) const BATCH_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use reeve_common::hardware_profile::Capacity;
    use reeve_common::ids::{CostFunctionName, HostName, RealmName};
    use reeve_common::units::{Mebibytes, Millicores};
    use reeve_scheduler::{ChoiceRule, CostFunction, HostDescription};
    use uuid::Uuid;

    use super::super::core::VmVersion;
    use super::*;
    use crate::model::fixture;
    use crate::store::Version;

    const NOW: Timestamp = Timestamp(1_000);

    fn core(hosts: u32) -> Core {
        let mut core = Core::new();
        let terms = [("cpu".to_owned(), "power(cores.load, 2)".to_owned())];
        let name = CostFunctionName::new("even").unwrap();
        let cost = Arc::new(CostFunction::compile(&name, &terms, ChoiceRule::Increase).unwrap());
        for id in 1..=hosts {
            let capacity = Capacity {
                cores: Millicores::from_cores(8),
                memory: Mebibytes(64 << 10),
                ..Capacity::default()
            };
            let name = HostName::new(format!("node-{id}")).unwrap();
            let realm = RealmName::new("primary").unwrap();
            core.fleet.upsert_host(HostDescription::new(
                HostId(id),
                name,
                realm,
                capacity,
                Arc::clone(&cost),
            ));
        }
        core
    }

    fn waiting_vm(core: &mut Core, number: u128, cores: u32, requested_at: u64) -> VmId {
        let mut vm = fixture::vm();
        vm.id = VmId(Uuid::from_u128(number));
        vm.request.cores = Millicores::from_cores(cores);
        vm.requested_at = Timestamp(requested_at);
        vm.enter(VmState::Unplaceable, None, NOW);
        let current = VmVersion { version: Version::default(), vm: Arc::new(vm) };
        let id = current.vm.id;
        core.take_in(current, true);
        id
    }

    #[test]
    fn waiting_vms_are_planned_together_and_the_oldest_is_served_first() {
        let mut core = core(2);
        let small = [waiting_vm(&mut core, 3, 2, 30), waiting_vm(&mut core, 4, 2, 40)];
        let oldest = waiting_vm(&mut core, 9, 8, 10);
        let second = waiting_vm(&mut core, 1, 4, 20);
        assert_eq!(waiting(&core, |vm| u32::from(vm.id == small[1])), [small[1], oldest, second, small[0]]);
        assert_eq!(waiting(&core, |_| 0), [oldest, second, small[0], small[1]]);
        // One after the other, in any order but this, the oldest would find no place.
        let all = waiting(&core, |_| 0);
        let planned = plan(&mut core, &all);
        let host_of =
            |id: VmId| planned.iter().find(|(known, _)| *known == id).map(|(_, planned)| planned.host);
        assert!(planned.len() == 4 && planned.iter().all(|(_, planned)| planned.at_once == 4), "{planned:?}");
        assert!([second, small[0], small[1]].iter().all(|id| host_of(*id) != host_of(oldest)), "{planned:?}");
        assert_eq!(core.fleet.usage(HostId(1)).unwrap().vms, 0, "nothing is held yet");
    }

    #[test]
    fn a_plan_is_advice_and_each_vm_is_held_by_the_same_rule() {
        let mut core = core(2);
        let id = waiting_vm(&mut core, 1, 6, 10);
        let vm = core.vm(id).unwrap().vm;
        // The plan says the host that is not the best for this VM alone: it is done, and said.
        let planned = Planned { host: HostId(2), at_once: 5 };
        let (placed, decision) = choose(&mut core, &vm, Some(planned), NOW).unwrap();
        assert_eq!((placed.host, decision.digest.explanation.chosen), (Some(HostId(2)), Some(HostId(2))));
        assert!(
            decision.words().summary().starts_with("node-2: cost +0.5625 (runner-up node-1, cost +0.5625)")
        );
        assert!(
            decision.words().summary().ends_with("one of 5 VMs placed at once"),
            "{}",
            decision.words().summary()
        );
        // Its place is taken by now: the best that is left is chosen, and nothing is said of a plan.
        let other = waiting_vm(&mut core, 2, 6, 20);
        let vm = core.vm(other).unwrap().vm;
        let (placed, decision) = choose(&mut core, &vm, Some(planned), NOW).unwrap();
        assert_eq!((placed.host, decision.at_once), (Some(HostId(1)), None));
        let third = waiting_vm(&mut core, 3, 6, 30);
        let vm = core.vm(third).unwrap().vm;
        assert!(choose(&mut core, &vm, Some(planned), NOW).is_none());
    }

    #[test]
    fn a_decision_is_told_in_few_lines_whatever_the_size_of_the_fleet() {
        let mut core = core(1000);
        let id = waiting_vm(&mut core, 1, 2, 10);
        let vm = core.vm(id).unwrap().vm;
        let (_, decision) = choose(&mut core, &vm, None, NOW).unwrap();
        let lines = decision_lines(&decision);
        assert_eq!(lines.len(), 1 + HOSTS_KEPT.feasible);
        assert_eq!(lines[0], ("node-1", decision.words().summary()));
        assert_eq!(
            lines[1],
            ("node-1", "host node-1: cost 0.0000 -> 0.0625 (cpu 0.0000 -> 0.0625)".to_owned())
        );
        let huge = waiting_vm(&mut core, 2, 99, 20);
        let vm = core.vm(huge).unwrap().vm;
        let digest = core.fleet.digest(&vm.request, HOSTS_KEPT);
        let lines = decision_lines_of(digest);
        assert!(lines.len() <= LINES_MAX, "{lines:?}");
        assert_eq!(lines[0], "none of 1000 hosts can take it");
        assert!(lines[1].starts_with("host node-1: not feasible: cores: 99 asked"), "{lines:?}");
        let last = lines.last().unwrap();
        assert!(last.starts_with("not feasible: 1000 hosts, such as node-1: cores"), "{lines:?}");
    }

    fn decision_lines_of(digest: reeve_scheduler::ExplanationDigest) -> Vec<String> {
        let decision = PlacementDecision { at: NOW, at_once: None, digest };
        decision_lines(&decision).into_iter().map(|(_, line)| line).collect()
    }

    #[test]
    fn a_decision_that_was_kept_is_read_as_it_was_written() {
        let mut core = core(3);
        let id = waiting_vm(&mut core, 1, 2, 10);
        let vm = core.vm(id).unwrap().vm;
        let (_, decision) = choose(&mut core, &vm, None, NOW).unwrap();
        let text = serde_json::to_string(&decision).unwrap();
        assert_eq!(serde_json::from_str::<PlacementDecision>(&text).unwrap(), decision);
        // One from before refusals were counted.
        let mut old = serde_json::to_value(&decision).unwrap();
        assert!(old.as_object_mut().unwrap().remove("refusals").is_some());
        assert_eq!(serde_json::from_value::<PlacementDecision>(old).unwrap(), decision);
    }
}
