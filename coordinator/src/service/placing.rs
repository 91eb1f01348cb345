//! Owns the choosing of hosts: the decision, its explanation, and the waiting VMs that are tried again when the fleet
//! changes. A chosen host's capacity is held from the moment of the choice, and freed if it cannot be made durable.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use reeve_common::clock::Timestamp;
use reeve_common::ids::VmId;
use reeve_scheduler::ExplanationDigest;

use super::core::Core;
use super::{Service, ServiceError};
use crate::decision_words::{LINES_MAX, change};
use crate::model::explanation::{HOSTS_KEPT, PlacementDecision, finite, words};
use crate::model::vm::{Vm, Wish};
use crate::model::vm_state::VmState;
use crate::records::{DECISIONS, Record};
use crate::store::{Batch, Precondition};

impl Service {
    /// Tries every waiting VM again, the one that has waited longest first.
    pub(crate) async fn place_waiting(&self) {
        let waiting: BTreeMap<(Timestamp, VmId), ()> = {
            let core = self.core();
            let waits = |vm: &Arc<Vm>| vm.host.is_none() && vm.wish == Wish::Run && !vm.state.is_final();
            core.living()
                .map(|current| current.vm)
                .filter(waits)
                .map(|vm| ((vm.requested_at, vm.id), ()))
                .collect()
        };
        for (_, id) in waiting.into_keys() {
            if let Err(error) = self.place_again(id).await {
                log::warn!(REEVE_VM:% = id; "VM {id} could not be placed again: {error}");
            }
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

    async fn place_again(&self, id: VmId) -> Result<(), ServiceError> {
        let Some(writer) = self.writer(id) else { return Ok(()) };
        let _writer = writer.lock().await;
        let Some(current) = self.core().vm(id) else { return Ok(()) };
        if current.vm.host.is_some() || current.vm.wish != Wish::Run || current.vm.state.is_final() {
            return Ok(());
        }
        let now = self.now();
        let Some((vm, decision)) = ({
            let mut core = self.core_for_decisions();
            choose(&mut core, &current.vm, now)
        }) else {
            return Ok(()); // still nowhere: its record says so already
        };
        self.log_decision(&vm, &decision);
        let stored = async {
            let text = decision.encode().map_err(|error| ServiceError::internal(error.to_string()))?;
            let batch = Batch::new().put(DECISIONS.key(&id), Precondition::Any, text);
            self.write_vm(batch, &vm, Precondition::At(current.version)).await
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
        for (host, line) in decision_lines(&decision.digest) {
            log::info!(REEVE_VM:% = vm.id, REEVE_HOST:% = host, REEVE_REALM:% = vm.realm;
                "scheduling {}: {line}", vm.name);
        }
    }
}

/// A decision line by line, each with the host that it is about, if any: what the command line says of it, then host by
/// host with every term. Few lines, however many hosts there are.
fn decision_lines(digest: &ExplanationDigest) -> Vec<(&str, String)> {
    let words = words(digest);
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

/// Chooses a host for a VM that has none and holds its capacity; none when no host is feasible. The choice and the
/// holding are one step under the lock, and the holding checks again with the same rule.
pub(super) fn choose(core: &mut Core, vm: &Vm, now: Timestamp) -> Option<(Vm, PlacementDecision)> {
    let host = core.fleet.decide(&vm.request)?;
    let digest = core.fleet.digest(&vm.request, HOSTS_KEPT);
    if let Err(reason) = core.fleet.reserve(vm.id, host, &vm.request) {
        log::error!(REEVE_VM:% = vm.id; "host {host} was chosen and does not fit: {reason}");
        return None;
    }
    let mut placed = vm.clone();
    placed.host = Some(host);
    placed.assignment = core.fleet.assignment(vm.id);
    placed.enter(VmState::Placed, None, now);
    Some((placed, PlacementDecision { at: now, digest }))
}

/// Why no host takes a request, in one line: how many hosts say what.
pub(super) fn refusal_summary(digest: &ExplanationDigest) -> String {
    words(digest).refusal()
}

/// After how long waiting VMs are tried again though no host came, left or was freed: load that kept them out may be gone.
/// Trying costs microseconds for each VM that waits.
const RETRY_AFTER: Duration = Duration::from_secs(10);
