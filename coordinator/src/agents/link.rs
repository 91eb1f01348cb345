//! Owns the seam between an agent's session and the network: what a session needs of an agent that has said hello and of
//! the connection with one that was welcomed, and both over QUIC. The simulation puts its own behind the same traits.
//!
//! Must not: know which hosts exist, or what an agent is to be told.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use reeve_common::clock::Timestamp;
use reeve_common::protocol::{Command, Event, Hello, Reply, Welcome};
use reeve_common::tls::Identity;
use reeve_common::utilization::HostSample;
use reeve_common::wire::coordinator_end::{CoordinatorEnd, PendingAgent};
use reeve_common::wire::{CloseReason, LinkError, RefusalCode};
use tokio::sync::{mpsc, watch};

/// An answer of the link, later. Boxed, so that whoever speaks to an agent need not know over what.
pub type LinkFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The connection with a welcomed agent; closed when the last hold on it goes.
pub trait AgentLink: fmt::Debug + Send + Sync + 'static {
    /// Sends a command and waits for its reply, for as long as `patience` in all. After [`LinkError::NoReply`] the command
    /// may have been carried out all the same.
    fn request(&self, command: Command, patience: Duration) -> LinkFuture<'_, Result<Reply, LinkError>>;

    /// How much has come in so far, what only keeps the connection alive included: when it grows, the agent is there.
    fn received(&self) -> u64;

    /// Asks for a sign, which [`AgentLink::received`] then counts, and does not wait for it. Agents give signs by themselves;
    /// where those are often enough, nobody need ask.
    fn nudge(&self) {}

    /// Closes the connection and tells the agent why.
    fn close(&self, code: RefusalCode, text: &str);

    /// Waits for the end of the connection and says why it came.
    fn closed(&self) -> LinkFuture<'_, CloseReason>;
}

/// A connection that has begun.
#[derive(Debug)]
pub struct Welcomed {
    /// The way to the agent.
    pub link: Arc<dyn AgentLink>,
    /// What the agent tells, in order and none missing; it ends with the connection.
    pub events: mpsc::Receiver<Box<Event>>,
    /// The latest sample, its VMs in the order of their ids.
    pub samples: watch::Receiver<Option<Arc<HostSample>>>,
}

/// An agent that has proved which host it is, has said hello, and waits.
pub trait GreetingAgent: Send + 'static {
    /// Who it has proved to be.
    fn identity(&self) -> &Identity;

    /// What it said; its host and realm are those that it has proved.
    fn hello(&self) -> &Hello;

    /// From where it connects, for messages.
    fn remote(&self) -> String;

    /// When the certificate by which it has proved that expires; none where there is none, as in the simulation.
    fn certificate_ends(&self) -> Option<Timestamp> {
        None
    }

    /// Lets it in.
    fn welcome(
        self,
        welcome: Welcome,
        now: Timestamp,
    ) -> impl Future<Output = Result<Welcomed, LinkError>> + Send;

    /// Turns it away, with a reason that its administrator reads.
    fn refuse(self, code: RefusalCode, text: &str);
}

impl AgentLink for CoordinatorEnd {
    fn request(&self, command: Command, patience: Duration) -> LinkFuture<'_, Result<Reply, LinkError>> {
        Box::pin(Self::request(self, command, patience))
    }

    fn received(&self) -> u64 {
        Self::received(self)
    }

    fn nudge(&self) {
        Self::nudge(self);
    }

    fn close(&self, code: RefusalCode, text: &str) {
        Self::close(self, code, text);
    }

    fn closed(&self) -> LinkFuture<'_, CloseReason> {
        Box::pin(Self::closed(self))
    }
}

impl GreetingAgent for PendingAgent {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn hello(&self) -> &Hello {
        &self.hello
    }

    fn remote(&self) -> String {
        self.remote.to_string()
    }

    fn certificate_ends(&self) -> Option<Timestamp> {
        Some(self.certificate.not_after)
    }

    async fn welcome(self, welcome: Welcome, now: Timestamp) -> Result<Welcomed, LinkError> {
        let mut end = Self::welcome(self, welcome, now).await?;
        // Nobody else has had the chance to take them; without events the session would end at once.
        let events = end.take_events().unwrap_or_else(|| mpsc::channel(1).1);
        let samples = end.samples();
        Ok(Welcomed { link: Arc::new(end), events, samples })
    }

    fn refuse(self, code: RefusalCode, text: &str) {
        Self::refuse(self, code, text);
    }
}
