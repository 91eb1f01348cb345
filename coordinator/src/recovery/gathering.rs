//! Owns the asking: a port on which agents are let in by their certificates alone, each is asked what is on its host, and
//! is told nothing.
//!
//! ```text
//!   agent ─ hello ─▶ realm configured? ─▶ welcomed in its own epoch ─▶ its report ─▶ its ledgers, page by page ─▶ answer
//! ```
//!
//! An agent is greeted with the highest epoch that it has obeyed itself, so that asking changes nothing on any host,
//! whoever is right in the end.
//!
//! Must not: send a wish, or keep anything.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use reeve_common::clock::{Clock, Timestamp};
use reeve_common::ids::{Epoch, HostId, HostName, OperationId, RealmName, VmId};
use reeve_common::protocol::{Command, CommandBody, Event, HostReport, ReplyBody, Welcome};
use reeve_common::quic::HandshakeGate;
use reeve_common::tls::Identity;
use reeve_common::vm::{ObservedVm, VmDescription, VmObservation};
use reeve_common::wire::RefusalCode;
use reeve_common::wire::coordinator_end::{CoordinatorEnd, PendingAgent, accept_wanted};
use reeve_common::wire::limits::VMS_MAX;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout, timeout_at};

use crate::config::CoordinatorConfig;

/// How long one answer may take: a listing of all domains of a busy host.
const ANSWER_PATIENCE: Duration = Duration::from_secs(15);
/// Answers that wait to be taken in; whoever comes later waits.
const ANSWERS_QUEUED: usize = 256;

/// What one host has said.
#[derive(Debug, Clone, PartialEq)]
pub struct HostAnswer {
    /// Which, by its certificate.
    pub host: HostId,
    /// Its realm, by its certificate.
    pub realm: RealmName,
    /// Its name, as it says.
    pub name: HostName,
    /// The highest epoch it has obeyed.
    pub highest_epoch: Epoch,
    /// Whether its libvirt answers; if not, nothing is known of what is on it.
    pub hypervisor_reachable: bool,
    /// VMs with a domain there.
    pub vms: Vec<VmDescription>,
    /// VMs without a domain there that it remembers: those being made, and tombstones.
    pub others: Vec<VmObservation>,
}

/// Lets agents in until all `awaited` hosts have answered and there are `count` of them, or `until` has come; what was
/// asked in vain is said by host.
pub(super) async fn gather(
    endpoint: quinn::Endpoint,
    config: Arc<CoordinatorConfig>,
    clock: Arc<dyn Clock>,
    awaited: BTreeSet<HostId>,
    count: usize,
    until: Instant,
) -> Vec<HostAnswer> {
    let (sender, mut answers) = mpsc::channel(ANSWERS_QUEUED);
    let (stop, stopping) = watch::channel(false);
    let listening = tokio::spawn(listen(endpoint, config, clock, sender, stopping));
    let mut gathered: BTreeMap<HostId, HostAnswer> = BTreeMap::new();
    let complete = |gathered: &BTreeMap<HostId, HostAnswer>| {
        gathered.len() >= count && awaited.iter().all(|host| gathered.contains_key(host))
    };
    while !complete(&gathered) {
        let Ok(Some(answer)) = timeout_at(until, answers.recv()).await else { break };
        log::info!(REEVE_HOST:% = answer.name, REEVE_REALM:% = answer.realm;
            "host {} has told what is on it: {} VMs", answer.name, answer.vms.len());
        // The latest answer of a host that came back counts.
        gathered.insert(answer.host, answer);
    }
    stop.send_replace(true);
    listening.abort();
    gathered.into_values().collect()
}

async fn listen(
    endpoint: quinn::Endpoint,
    config: Arc<CoordinatorConfig>,
    clock: Arc<dyn Clock>,
    answers: mpsc::Sender<HostAnswer>,
    stopping: watch::Receiver<bool>,
) {
    let gate = HandshakeGate::default();
    while let Some(incoming) = endpoint.accept().await {
        let Some((incoming, permit)) = gate.admit(incoming) else { continue };
        let (config, answers, stopping) = (Arc::clone(&config), answers.clone(), stopping.clone());
        let clock = Arc::clone(&clock);
        tokio::spawn(async move {
            let now = clock.now();
            let accepted = accept_wanted(incoming, clock.as_ref(), |_| Ok(())).await;
            drop(permit);
            // Whoever was not let in has been told, and it has been logged.
            if let Ok(pending) = accepted {
                hear(pending, &config, now, answers, stopping).await;
            }
        });
    }
}

/// Hears one agent out, and keeps its connection until the end, so that it does not dial again and again.
async fn hear(
    pending: PendingAgent,
    config: &CoordinatorConfig,
    now: Timestamp,
    answers: mpsc::Sender<HostAnswer>,
    mut stopping: watch::Receiver<bool>,
) {
    let (Identity::Host { host, realm }, hello) = (pending.identity.clone(), pending.hello.clone()) else {
        pending.refuse(RefusalCode::WrongHost, "this port is for agents");
        return;
    };
    let Some(settings) = config.realms.get(&realm).map(|realm| realm.settings(config.sample_interval)) else {
        log::warn!(REEVE_HOST:% = hello.name, REEVE_REALM:% = realm;
            "host {} is of realm {realm}, which is not in the configuration: it is left out", hello.name);
        pending.refuse(RefusalCode::TooBusy, "this host's realm is not in the coordinator's configuration");
        return;
    };
    let welcome = Welcome { epoch: hello.highest_epoch, realm: settings };
    let Ok(mut end) = pending.welcome(welcome, now).await else { return };
    match ask(&mut end, hello.highest_epoch).await {
        Ok((report, vms)) => {
            let described: BTreeSet<VmId> = vms.iter().map(|vm| vm.observation.vm).collect();
            let others = report.vms.into_iter().filter(|seen| !described.contains(&seen.vm));
            let answer = HostAnswer {
                host,
                realm,
                name: hello.name,
                highest_epoch: hello.highest_epoch,
                hypervisor_reachable: report.hypervisor_reachable,
                others: others.filter(|seen| seen.observed != ObservedVm::Unknown).collect(),
                vms,
            };
            if answers.send(answer).await.is_err() {
                return;
            }
        }
        Err(why) => log::warn!(REEVE_HOST:% = hello.name, REEVE_REALM:% = realm;
            "host {} has not told what is on it: {why}", hello.name),
    }
    tokio::select! {
        _ = stopping.wait_for(|stopping| *stopping) => {}
        _ = end.closed() => {}
    }
    end.close(
        RefusalCode::ShuttingDown,
        "the coordinator has learnt what is on this host and begins its work",
    );
}

/// An agent's report of everything, and what its ledgers say.
async fn ask(end: &mut CoordinatorEnd, epoch: Epoch) -> Result<(HostReport, Vec<VmDescription>), String> {
    let mut events = end.take_events().ok_or("its events were taken already")?;
    let report = async {
        while let Some(event) = events.recv().await {
            if let Event::Report(report) = *event {
                return Ok(report);
            }
        }
        Err("its connection ended".to_owned())
    };
    let mut report =
        timeout(ANSWER_PATIENCE, report).await.map_err(|_| "its report did not come".to_owned())??;
    // Taken on, so that the stream does not fill up while the connection stands.
    tokio::spawn(async move { while events.recv().await.is_some() {} });
    if !report.hypervisor_reachable {
        return Ok((report, Vec::new()));
    }
    let mut vms: Vec<VmDescription> = Vec::new();
    loop {
        let after = vms.last().map(|vm| vm.observation.vm);
        let body = CommandBody::DescribeVms { after };
        let command = Command { epoch, operation: OperationId::random(), body };
        let reply = end.request(command, ANSWER_PATIENCE).await.map_err(|error| crate::chain(&error))?;
        let (page, more) = match reply.outcome {
            Ok(ReplyBody::Descriptions { vms, more }) => (vms, more),
            Ok(other) => return Err(format!("it answered something else: {other:?}")),
            Err(refusal) if refusal.is_retryable() => {
                // Its libvirt went away between the report and now.
                report.hypervisor_reachable = false;
                return Ok((report, Vec::new()));
            }
            Err(refusal) => return Err(refusal.to_string()),
        };
        // In order and without repetition, or a host could keep us here for ever.
        let in_order = page
            .iter()
            .map(|vm| vm.observation.vm)
            .fold((after, true), |(last, good), vm| (Some(vm), good && last.is_none_or(|last| vm > last)));
        if !in_order.1 || (more && page.is_empty()) || vms.len() + page.len() > VMS_MAX {
            return Err("its VMs come in no order, or there is no end of them".to_owned());
        }
        vms.extend(page);
        if !more {
            return Ok((report, vms));
        }
    }
}
