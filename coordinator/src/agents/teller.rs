//! Owns the telling: takes what is queued for one agent, says it as it is at that moment, and sees to what was refused.

use std::sync::Arc;
use std::time::Duration;

use reeve_common::ids::{HostId, OperationId};
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
    let body = match task.clone() {
        Task::Grant(number, lease) => CommandBody::GrantLease { number, lease },
        Task::Settings(settings) => CommandBody::ConfigureRealm(settings),
        Task::Certificate(certificate, _) => CommandBody::InstallCertificate { certificate },
        Task::Forget(vm, generation) => CommandBody::ForgetVm { vm, generation },
        Task::Report => {
            // The store is given a moment to recover.
            tokio::time::sleep(REPEAT_AFTER).await;
            CommandBody::Report
        }
        Task::Wish(vm) => match service.wish_for(host, vm) {
            Some(body) => body,
            None => return, // over, or elsewhere, by now
        },
    };
    let operation = OperationId::random();
    let command = Command { epoch: service.epoch(), operation, body };
    let is_settled = match agent.request(service, command, ACCEPT_PATIENCE).await {
        Ok(reply) => match reply.outcome {
            Ok(_) => {
                if let Task::Certificate(_, ends) = task {
                    service.note_certificate(host, ends);
                }
                true
            }
            Err(refusal) => refused(service, host, operation, &task, &refusal).await,
        },
        Err(error) => {
            log::debug!(
                REEVE_HOST:% = service.host_label_of(host), REEVE_OPERATION:% = operation; "a command to host {} was not answered: {}",
                service.host_label_of(host),
                crate::chain(&error)
            );
            match task {
                _ if error.is_retryable() => false,
                // It cannot even be said: nothing of it will ever be on the host.
                Task::Wish(vm) => {
                    service.wish_refused(host, vm, &Refusal::Invalid(crate::chain(&error))).await
                }
                _ => true,
            }
        }
    };
    if !is_settled {
        // Nobody else would: the host may stay connected, and is compared seldom.
        tokio::time::sleep(REPEAT_AFTER).await;
        agent.queue().push_again(task);
    }
}

/// Sees to a refusal. Returns whether nothing more is to be told.
async fn refused(
    service: &Service,
    host: HostId,
    operation: OperationId,
    task: &Task,
    refusal: &Refusal,
) -> bool {
    match task {
        Task::Wish(vm) if refusal.is_retryable() => {
            log::warn!(MESSAGE_ID:% = messages::VM_STEP_FAILED, REEVE_HOST:% = service.host_label_of(host), REEVE_VM:% = vm;
                "the wish for VM {vm} could not be taken up yet: {refusal}");
            false
        }
        // If it cannot be recorded, the host is asked again, and will refuse again.
        Task::Wish(vm) => service.wish_refused(host, *vm, refusal).await,
        _ => {
            log::warn!(REEVE_OPERATION:% = operation, REEVE_HOST:% = service.host_label_of(host);
                "a command was refused: {refusal}");
            !refusal.is_retryable()
        }
    }
}

#[cfg(test)]
#[path = "teller_tests.rs"]
mod tests;
