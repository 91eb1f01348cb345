//! Owns the telling: takes what is queued for one agent, says it as it is at that moment, and sees to what was refused.

use std::sync::Arc;
use std::time::Duration;

use reeve_common::ids::{HostId, OperationId, VmId};
use reeve_common::logging::messages;
use reeve_common::protocol::{Command, CommandBody, Refusal};
use tokio::sync::Semaphore;

use super::AgentHandle;
use super::queue::Task;
use crate::service::Service;

/// Commands on their way to one agent at a time: enough to keep its four libvirt calls busy, few enough that a host
/// that is slow to answer holds little.
const COMMANDS_IN_FLIGHT_MAX: usize = 16;
/// How long an agent has to accept a command; accepting writes a ledger entry and does no more.
const ACCEPT_PATIENCE: Duration = Duration::from_secs(30);
/// How long until a command that failed is repeated: a libvirtd that is restarted is back within a second or two.
const REPEAT_AFTER: Duration = Duration::from_secs(1);

/// Tells one agent what is queued for it, until the task is dropped.
pub(super) async fn tell(service: Service, host: HostId, agent: AgentHandle) {
    let places = Arc::new(Semaphore::new(COMMANDS_IN_FLIGHT_MAX));
    let mut running = tokio::task::JoinSet::new();
    loop {
        let task = agent.queue().next().await;
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        while running.try_join_next().is_some() {}
        let (service, agent) = (service.clone(), agent.clone());
        // In a box, which goes when it is told; the task is cleared away only when there is something more to tell.
        running.spawn(Box::pin(async move {
            tell_one(&service, host, &agent, task).await;
            drop(place);
        }));
    }
}

async fn tell_one(service: &Service, host: HostId, agent: &AgentHandle, task: Task) {
    let installs = match &task {
        Task::Certificate(_, ends) => Some(*ends),
        _ => None,
    };
    let (body, vm) = match task {
        Task::Grant(number, lease) => (CommandBody::GrantLease { number, lease }, None),
        Task::Settings(settings) => (CommandBody::ConfigureRealm(settings), None),
        Task::Certificate(certificate, _) => (CommandBody::InstallCertificate { certificate }, None),
        Task::Forget(vm, generation) => (CommandBody::ForgetVm { vm, generation }, None),
        Task::Report => {
            // The store is given a moment to recover.
            tokio::time::sleep(REPEAT_AFTER).await;
            (CommandBody::Report, None)
        }
        Task::Wish(vm) => match service.wish_for(host, vm) {
            Some(body) => (body, Some(vm)),
            None => return, // over, or elsewhere, by now
        },
    };
    let operation = OperationId::random();
    let command = Command { epoch: service.epoch(), operation, body };
    match agent.request(service, command, ACCEPT_PATIENCE).await {
        Ok(reply) => match (reply.outcome, vm) {
            (Ok(_), _) => {
                if let Some(ends) = installs {
                    service.note_certificate(host, ends);
                }
            }
            (Err(refusal), Some(vm)) => refused(service, host, agent, vm, &refusal).await,
            (Err(refusal), None) => {
                log::warn!(REEVE_OPERATION:% = operation, REEVE_HOST:% = service.host_label_of(host);
                    "a command was refused: {refusal}");
            }
        },
        Err(error) => {
            log::debug!(
                REEVE_HOST:% = service.host_label_of(host), REEVE_OPERATION:% = operation; "a command to host {} was not answered: {}",
                service.host_label_of(host),
                crate::chain(&error)
            );
            match vm {
                Some(vm) if error.is_retryable() => again(agent, vm).await,
                // It cannot even be said: nothing of it will ever be on the host.
                Some(vm) => {
                    let refusal = Refusal::Invalid(crate::chain(&error));
                    if !service.wish_refused(host, vm, &refusal).await {
                        again(agent, vm).await;
                    }
                }
                None => {}
            }
        }
    }
}

async fn refused(service: &Service, host: HostId, agent: &AgentHandle, vm: VmId, refusal: &Refusal) {
    if refusal.is_retryable() {
        log::warn!(MESSAGE_ID:% = messages::VM_STEP_FAILED, REEVE_HOST:% = service.host_label_of(host), REEVE_VM:% = vm;
            "the wish for VM {vm} could not be taken up yet: {refusal}");
        again(agent, vm).await;
    } else if !service.wish_refused(host, vm, refusal).await {
        // It could not be recorded: the host is asked again, and will refuse again.
        again(agent, vm).await;
    }
}

async fn again(agent: &AgentHandle, vm: VmId) {
    tokio::time::sleep(REPEAT_AFTER).await;
    agent.queue().push_wish(vm);
}
