//! Owns the coordinator's side of its agents' connections: who may connect, what they are told, what they tell.
//!
//! ```text
//!   listener ── one task per connection ──▶ session ── events, samples ──▶ Service
//!                                              │
//!                                           teller ◀── queue ◀── Service (wishes to send)
//! ```
//!
//! Must not: decide anything about VMs. That is the service's, by the rules in `model`.

mod comparing;
mod link;
mod listener;
mod queue;
mod session;
mod teller;

use std::sync::Arc;
use std::time::Duration;

use reeve_common::ids::OperationId;
use reeve_common::protocol::{Command, CommandBody, Reply, ReplyBody};
use reeve_common::wire::{LinkError, RefusalCode};

pub use self::link::{AgentLink, GreetingAgent, LinkFuture, Welcomed};
pub use self::listener::{ListenError, listen, serve};
#[cfg(test)]
pub(crate) use self::queue::Task;
pub(crate) use self::queue::TaskQueue;
pub use self::session::serve as serve_agent;
use crate::metrics::CommandFailure;
use crate::service::{Service, ServiceError};

/// A connected agent, for whoever has something to say to it.
#[derive(Debug, Clone)]
pub(crate) struct AgentHandle {
    /// Tells this connection from those before and after it.
    connection: u64,
    end: Arc<dyn AgentLink>,
    queue: Arc<TaskQueue>,
}

impl AgentHandle {
    /// A hold on the connection numbered `connection`, with nothing to tell yet.
    pub(crate) fn over(connection: u64, end: Arc<dyn AgentLink>) -> Self {
        Self { connection, end, queue: Arc::new(TaskQueue::default()) }
    }

    /// Tells this connection from those before and after it.
    pub(crate) const fn connection(&self) -> u64 {
        self.connection
    }

    /// How much has come in on the connection: when it grows, the agent is there.
    pub(crate) fn received(&self) -> u64 {
        self.end.received()
    }

    /// Asks for a sign that it is there, without waiting for it.
    pub(crate) fn nudge(&self) {
        self.end.nudge();
    }

    /// What it is still to be told.
    pub(crate) fn queue(&self) -> &TaskQueue {
        &self.queue
    }

    /// Ends the connection for good.
    pub(crate) fn cut_off(&self, why: &str) {
        self.end.close(RefusalCode::RemovedHost, why);
    }

    /// Ends the connection; the agent may come back.
    pub(crate) fn hang_up(&self, why: &str) {
        self.end.close(RefusalCode::Finished, why);
    }

    /// Whether the agent is there: it answers, whatever it says.
    pub(crate) async fn answers(&self, service: &Service, patience: Duration) -> bool {
        let body = CommandBody::Report;
        let command = Command { epoch: service.epoch(), operation: OperationId::random(), body };
        self.request(service, command, patience).await.is_ok()
    }

    /// Sends a command and waits for its reply; how long that took is counted.
    async fn request(
        &self,
        service: &Service,
        command: Command,
        patience: Duration,
    ) -> Result<Reply, LinkError> {
        let begun = service.monotonic();
        let answer = self.end.request(command, patience).await;
        let failure = match &answer {
            Ok(Reply { outcome: Ok(_), .. }) => None,
            Ok(Reply { outcome: Err(_), .. }) => Some(CommandFailure::Refused),
            Err(_) => Some(CommandFailure::NoAnswer),
        };
        service.metrics().commanded(service.monotonic().saturating_duration_since(begun), failure);
        answer
    }

    /// Asks one thing and waits for the answer.
    pub(crate) async fn ask(
        &self,
        service: &Service,
        body: CommandBody,
        patience: Duration,
    ) -> Result<ReplyBody, ServiceError> {
        self.ask_as(service, OperationId::random(), body, patience).await
    }

    /// The same as an operation whose id the caller knows.
    pub(crate) async fn ask_as(
        &self,
        service: &Service,
        operation: OperationId,
        body: CommandBody,
        patience: Duration,
    ) -> Result<ReplyBody, ServiceError> {
        let command = Command { epoch: service.epoch(), operation, body };
        match self.request(service, command, patience).await {
            Ok(reply) => reply.outcome.map_err(|refusal| {
                if refusal.is_retryable() {
                    ServiceError::conflict(refusal.to_string())
                } else {
                    ServiceError::invalid(refusal.to_string())
                }
            }),
            Err(error) => {
                Err(ServiceError::unavailable(format!("its agent does not answer: {}", crate::chain(&error)))
                    .advise("`reeve host list` shows whether it is connected"))
            }
        }
    }
}
