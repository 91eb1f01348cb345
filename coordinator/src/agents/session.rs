//! Owns one agent's connection from its greeting to its end.
//!
//! ```text
//!   accepted ──▶ greeted ──▶ alone? ──▶ welcomed ──▶ events, samples, wishes ──▶ closed
//!                  │            │
//!                  └─▶ refused ◀┘ (removed, wrong realm, old epoch, a twin is connected)
//! ```

use std::sync::Arc;
use std::time::Duration;

use reeve_common::ids::HostId;
use reeve_common::logging::messages;
use reeve_common::protocol::{AgentRequest, Event};
use reeve_common::quic::IDLE_TIMEOUT;
use reeve_common::tls::Identity;
use reeve_common::utilization::HostSample;
use reeve_common::wire::{CloseReason, RefusalCode};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::{AgentHandle, GreetingAgent, Welcomed, comparing, teller};
use crate::audit::Who;
use crate::service::Service;

/// How long an older connection of the same host has to show that it is alive. On a live link an answer takes
/// milliseconds; an agent that was killed never answers, and its successor should not wait for the idle timeout.
const TWIN_PATIENCE: Duration = Duration::from_secs(1);

/// A connection that stands.
struct Begun {
    host: HostId,
    agent: AgentHandle,
    events: mpsc::Receiver<Box<Event>>,
    samples: watch::Receiver<Option<Arc<HostSample>>>,
}

/// Serves one agent that has said hello, until its connection ends. `connection` tells this connection from all others
/// of the coordinator's life.
///
/// What is needed only for a moment is in boxes: a task takes as much memory as it ever needs for as long as it lives, and
/// there is one for each of ten thousand hosts.
pub async fn serve(service: Service, pending: impl GreetingAgent, connection: u64) {
    let Some(Begun { host, agent, events, samples }) = Box::pin(begin(&service, pending, connection)).await
    else {
        return;
    };
    // Whatever ends this session ends the telling with it.
    let mut telling = JoinSet::new();
    let witness = (service.clone(), agent.clone());
    telling.spawn(Box::pin(async move { witness.0.meet_witness(host, &witness.1).await }));
    telling.spawn(teller::tell(service.clone(), host, agent.clone()));
    telling.spawn(comparing::keep_comparing(service.clone(), host, agent.clone()));
    listen(&service, host, &agent, events, samples).await;
    telling.abort_all();
    let reason = agent.end.closed().await;
    let silent_for = if reason == CloseReason::Silent { IDLE_TIMEOUT } else { Duration::ZERO };
    service.agent_disconnected(host, connection, silent_for, &reason.to_string());
}

/// Lets an agent in, or turns it away.
async fn begin(service: &Service, pending: impl GreetingAgent, connection: u64) -> Option<Begun> {
    let Identity::Host { host, .. } = pending.identity().clone() else {
        pending.refuse(RefusalCode::WrongHost, "this port is for agents");
        return None;
    };
    let hello = pending.hello().clone();
    let greeted = match service.confirm_office().await {
        Ok(()) => service.greet(host, &hello),
        Err(refusal) => Err(refusal),
    };
    let welcome = match greeted {
        Ok(welcome) => welcome,
        Err((code, why)) => {
            log::warn!(MESSAGE_ID:% = messages::HOST_TURNED_AWAY, REEVE_REALM:% = hello.realm, REEVE_HOST:% = service.host_label_of(host);
                "the agent at {} was turned away: {why}", pending.remote());
            service.agent_refused(host, &why);
            record_refusal(service, host, pending.remote(), &why).await;
            pending.refuse(code, &why);
            return None;
        }
    };
    if let Some(twin) = service.agent_of(host)
        && twin.answers(service, TWIN_PATIENCE).await
    {
        let why = "another agent with this host's identity is connected and answers: was a disk cloned?";
        log::error!(MESSAGE_ID:% = messages::HOST_TURNED_AWAY, REEVE_REALM:% = hello.realm, REEVE_HOST:% = service.host_label_of(host);
            "the agent at {} was turned away: {why}", pending.remote());
        service.agent_refused(host, why);
        record_refusal(service, host, pending.remote(), why).await;
        pending.refuse(RefusalCode::DuplicateAgent, why);
        return None;
    }
    let certificate_ends = pending.certificate_ends();
    let Welcomed { link: end, events, samples } = match pending.welcome(welcome, service.now()).await {
        Ok(welcomed) => welcomed,
        Err(error) => {
            log::warn!(
                REEVE_HOST:% = service.host_label_of(host), REEVE_REALM:% = hello.realm;
                "host {} went away before it was welcomed: {}",
                service.host_label_of(host),
                crate::chain(&error)
            );
            return None;
        }
    };
    let agent = AgentHandle::over(connection, Arc::clone(&end));
    let instance = hello.instance;
    if let Some(before) = service.agent_connected(host, agent.clone(), hello) {
        before.end.close(RefusalCode::Replaced, "the agent has connected anew");
    }
    if let Some(ends) = certificate_ends {
        service.note_certificate(host, ends);
    }
    // Before it hears anything: a fence proves nothing any more from here on, and that must outlive this coordinator.
    if let Err(error) = service.end_proofs(host, instance).await {
        log::error!(MESSAGE_ID:% = messages::NOT_RECORDED, REEVE_HOST:% = service.host_label_of(host);
            "host {} is sent away: that it has returned cannot be recorded: {error}", service.host_label_of(host));
        end.close(RefusalCode::TooBusy, "its return cannot be recorded now");
        service.agent_disconnected(host, connection, Duration::ZERO, "its return cannot be recorded");
        return None;
    }
    Some(Begun { host, agent, events, samples })
}

pub(super) async fn record_refusal(service: &Service, host: HostId, remote: String, why: &str) {
    let who = Who::Host { id: host, name: service.host_label_of(host) };
    let object = format!("the port for agents, from {remote}");
    service.record_stranger(who, "connect", &object, "denied", why).await;
}

async fn listen(
    service: &Service,
    host: HostId,
    agent: &AgentHandle,
    mut events: mpsc::Receiver<Box<Event>>,
    mut samples: watch::Receiver<Option<Arc<HostSample>>>,
) {
    loop {
        tokio::select! {
            // What happened goes before what was measured.
            biased;
            event = events.recv() => match event {
                Some(event) => {
                    let Some(_turn) = service.listen_to(host, agent.connection()).await else { return };
                    Box::pin(follow(service, host, agent, *event)).await;
                }
                None => return,
            },
            changed = samples.changed() => {
                if changed.is_err() {
                    return;
                }
                let sample = samples.borrow_and_update().clone();
                if let Some(sample) = sample {
                    service.follow_sample(host, sample);
                }
            }
        }
    }
}

async fn follow(service: &Service, host: HostId, agent: &AgentHandle, event: Event) {
    service.hear(host);
    match event {
        Event::Report(report) => service.follow_report(host, report).await,
        Event::Vm(observation) => service.follow_vm(host, &observation).await,
        Event::Hypervisor { reachable } => service.follow_hypervisor(host, reachable),
        Event::Request(AgentRequest::RenewCertificate { signing_request }) => {
            renew(service, host, agent, &signing_request);
        }
        Event::Request(AgentRequest::RenewLease { number, watchdog }) => {
            if let Some(lease) = service.note_lease(host, agent.connection(), watchdog) {
                agent.queue().push_grant(number, lease);
            }
        }
    }
}

fn renew(service: &Service, host: HostId, agent: &AgentHandle, signing_request: &str) {
    let Some(realm) = service.realm_of(host) else { return };
    let identity = Identity::Host { realm: realm.clone(), host };
    match service.authority().issue_host(signing_request, &identity, service.now()) {
        Ok(issued) => {
            log::info!(REEVE_REALM:% = realm, REEVE_HOST:% = service.host_label_of(host);
                "the certificate of host {} is renewed until {}", service.host_label_of(host), issued.not_after);
            agent.queue().push_certificate(issued.pem, issued.not_after);
        }
        Err(error) => {
            log::error!(REEVE_REALM:% = realm, MESSAGE_ID:% = messages::CERTIFICATE_NOT_RENEWED, REEVE_HOST:% = service.host_label_of(host);
                "the certificate of host {} could not be renewed: {}", service.host_label_of(host), crate::chain(&error));
        }
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
