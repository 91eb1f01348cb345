//! Owns the coordinator's end of a simulated connection, behind the product's own traits.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reeve_common::clock::Timestamp;
use reeve_common::ids::{OperationId, VmId};
use reeve_common::protocol::{Command, CommandBody, Event, Hello, Reply, Welcome};
use reeve_common::tls::Identity;
use reeve_common::utilization::HostSample;
use reeve_common::vm::{DesiredVm, ObservedVm};
use reeve_common::wire::{CloseReason, LinkError, RefusalCode};
use reeve_coordinator::agents::{AgentLink, GreetingAgent, LinkFuture, Welcomed};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use super::network::{Side, Stream, Wire};

/// An agent that has said hello.
pub struct Greeting {
    pub(super) wire: Arc<Wire>,
    pub(super) hello: Hello,
    pub(super) identity: Identity,
    pub(super) commands: Stream,
    pub(super) replies: mpsc::Receiver<Reply>,
    pub(super) events: mpsc::Receiver<Event>,
    pub(super) answer: oneshot::Sender<Result<Welcome, (RefusalCode, String)>>,
}

impl GreetingAgent for Greeting {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn hello(&self) -> &Hello {
        &self.hello
    }

    fn remote(&self) -> String {
        format!("host {}", self.wire.host)
    }

    async fn welcome(self, welcome: Welcome, _now: Timestamp) -> Result<Welcomed, LinkError> {
        let Self { wire, commands, mut replies, events, answer, .. } = self;
        if answer.send(Ok(welcome)).is_err() {
            return Err(LinkError::Closed(wire.closed(Side::Coordinator).await));
        }
        let waiting: Waiting = Arc::default();
        let answered = Arc::clone(&waiting);
        tokio::spawn(async move {
            while let Some(reply) = replies.recv().await {
                let waits = answered.lock().unwrap_or_else(PoisonError::into_inner).remove(&reply.operation);
                // A reply that nobody waits for any more is none.
                if let Some(waits) = waits {
                    let _ = waits.send(reply);
                }
            }
        });
        let (arrived, events) = until_closed(Arc::clone(&wire), events);
        tokio::spawn(arrived);
        // None is ever sent: what is measured decides nothing here.
        let (no_samples, samples) = watch::channel(None);
        let link = SimulatedLink { wire, commands, waiting, _no_samples: no_samples };
        Ok(Welcomed { link: Arc::new(link), events, samples })
    }

    fn refuse(self, code: RefusalCode, text: &str) {
        let _ = self.answer.send(Err((code, text.to_owned())));
        self.wire.close(Side::Coordinator, code, text);
    }
}

type Waiting = Arc<Mutex<BTreeMap<OperationId, oneshot::Sender<Reply>>>>;

struct SimulatedLink {
    wire: Arc<Wire>,
    commands: Stream,
    waiting: Waiting,
    _no_samples: watch::Sender<Option<Arc<HostSample>>>,
}

impl fmt::Debug for SimulatedLink {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SimulatedLink").field("host", &self.wire.host).finish_non_exhaustive()
    }
}

impl Drop for SimulatedLink {
    fn drop(&mut self) {
        self.wire.close(Side::Coordinator, RefusalCode::Finished, "no more to say");
    }
}

impl AgentLink for SimulatedLink {
    fn request(&self, command: Command, patience: Duration) -> LinkFuture<'_, Result<Reply, LinkError>> {
        Box::pin(async move {
            let operation = command.operation;
            timeout(patience, self.exchange(command))
                .await
                .unwrap_or(Err(LinkError::NoReply { operation, seconds: patience.as_secs() }))
        })
    }

    fn received(&self) -> u64 {
        self.wire.received()
    }

    fn close(&self, code: RefusalCode, text: &str) {
        self.wire.close(Side::Coordinator, code, text);
    }

    fn closed(&self) -> LinkFuture<'_, CloseReason> {
        Box::pin(self.wire.closed(Side::Coordinator))
    }
}

impl SimulatedLink {
    async fn exchange(&self, command: Command) -> Result<Reply, LinkError> {
        let (sender, reply) = oneshot::channel();
        let operation = command.operation;
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(operation, sender);
        let _waits = GiveUpWaiting { waiting: &self.waiting, operation };
        self.wire.network.obedience.hear_command(self.wire.host, &command);
        self.commands.send(command).await?;
        tokio::select! {
            biased;
            Ok(reply) = reply => Ok(reply),
            reason = self.wire.closed(Side::Coordinator) => Err(LinkError::Closed(reason)),
        }
    }
}

struct GiveUpWaiting<'a> {
    waiting: &'a Waiting,
    operation: OperationId,
}

impl Drop for GiveUpWaiting<'_> {
    fn drop(&mut self) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.operation);
    }
}

/// Events as the session takes them: they end with the connection.
fn until_closed(
    wire: Arc<Wire>,
    mut arriving: mpsc::Receiver<Event>,
) -> (impl Future<Output = ()>, mpsc::Receiver<Box<Event>>) {
    let (sender, events) = mpsc::channel(1);
    let work = async move {
        loop {
            tokio::select! {
                biased;
                _ = wire.closed(Side::Coordinator) => return,
                event = arriving.recv() => match event {
                    Some(event) => if sender.send(Box::new(event)).await.is_err() {
                        // Events are not lost in silence.
                        wire.close(Side::Coordinator, RefusalCode::Finished, "nobody listens");
                        return;
                    },
                    None => return,
                }
            }
        }
    };
    (work, events)
}

pub(super) fn command_name(command: &Command) -> (&'static str, Option<VmId>) {
    match &command.body {
        CommandBody::EnsureVm { vm, desired, .. } => match desired {
            DesiredVm::Running(_) => ("is told to run", Some(*vm)),
            DesiredVm::Stopped { .. } => ("is told to stop", Some(*vm)),
            DesiredVm::Adopted(_) => ("is told to be adopted", Some(*vm)),
            DesiredVm::Released => ("is told to be released", Some(*vm)),
        },
        CommandBody::ForgetVm { vm, .. } => ("may forget", Some(*vm)),
        CommandBody::ConfigureRealm(_) => ("is told its realm's settings", None),
        CommandBody::Report => ("is asked for a report", None),
        _ => ("is asked something", None),
    }
}

pub(super) fn reply_name(reply: &Reply) -> (&'static str, Option<VmId>) {
    (if reply.outcome.is_ok() { "has answered" } else { "has refused" }, None)
}

pub(super) fn event_name(event: &Event) -> (&'static str, Option<VmId>) {
    match event {
        Event::Report(_) => ("has reported everything", None),
        Event::Vm(observation) => (observed_name(&observation.observed), Some(observation.vm)),
        Event::Hypervisor { reachable: true } => ("says libvirt is back", None),
        Event::Hypervisor { reachable: false } => ("says libvirt is away", None),
        Event::Request(_) => ("wants something", None),
    }
}

const fn observed_name(observed: &ObservedVm) -> &'static str {
    match observed {
        ObservedVm::Defining => "says it makes",
        ObservedVm::Starting => "says it starts",
        ObservedVm::Registering { .. } => "says it awaits the guest of",
        ObservedVm::Running { .. } => "says there runs",
        ObservedVm::Paused => "says there pauses",
        ObservedVm::Stopping => "says it stops",
        ObservedVm::Ended(_) => "says there ended",
        ObservedVm::Gone(_) => "says there is nothing left of",
        ObservedVm::Unknown => "cannot say anything of",
    }
}
