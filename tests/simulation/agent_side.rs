//! Owns the agent's end of a simulated connection, behind the product's own traits.

use std::net::SocketAddr;
use std::sync::Arc;

use reeve_agent::coordinator_link::{CoordinatorDial, CoordinatorLink, CoordinatorVoice};
use reeve_common::ids::HostId;
use reeve_common::protocol::{Command, Event, Hello, Reply, Welcome};
use reeve_common::tls::Identity;
use reeve_common::utilization::HostSample;
use reeve_common::wire::agent_end::ConnectError;
use reeve_common::wire::message::Message;
use reeve_common::wire::version::CURRENT;
use reeve_common::wire::{CloseReason, LinkError, RefusalCode};
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use super::coordinator_side::{Greeting, command_name, event_name, reply_name};
use super::network::{Network, Side, Stream, Wire};

/// Commands that have arrived and were not taken yet, as in the product.
const COMMAND_QUEUE_LENGTH: usize = 64;

/// A host's way to the coordinator.
pub struct SimulatedDial {
    /// The network.
    pub network: Arc<Network>,
    /// Whose.
    pub host: HostId,
}

/// A connection as the agent has it.
pub struct AgentLink {
    commands: mpsc::Receiver<Command>,
    voice: AgentVoice,
}

/// The sending half.
#[derive(Clone)]
pub struct AgentVoice {
    replies: Stream,
    events: Stream,
    hold: Arc<Hold>,
}

/// When the last hold goes, the connection is closed.
struct Hold(Arc<Wire>);

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.close(Side::Agent, RefusalCode::Finished, "no more to say");
    }
}

impl CoordinatorDial for SimulatedDial {
    type Link = AgentLink;

    async fn dial(&self, hello: Hello) -> Result<(AgentLink, Welcome), ConnectError> {
        let address = SocketAddr::from(([192, 0, 2, 1], 7443));
        let unsayable = |why: String| ConnectError::Dial { address, why };
        // What an agent says of itself goes through the codec as everything does.
        let bytes = hello.encode(CURRENT).map_err(|error| unsayable(error.to_string()))?;
        let hello = Hello::decode(CURRENT, &bytes).map_err(|error| unsayable(error.to_string()))?;
        let network = &self.network;
        let coordinator = network.route(self.host);
        // Two round trips.
        for _ in 0..2 {
            sleep(network.delay(self.host)).await;
            network.until_open(self.host, coordinator, Side::Coordinator).await;
            network.until_open(self.host, coordinator, Side::Agent).await;
        }
        let Some(listener) = network.until_listened(coordinator).await else {
            return std::future::pending().await;
        };
        let wire = network.connect(self.host, coordinator);
        let hold = Arc::new(Hold(Arc::clone(&wire)));
        let (command_sender, commands) = mpsc::channel(COMMAND_QUEUE_LENGTH);
        let (event_sender, events) = mpsc::channel(COMMAND_QUEUE_LENGTH);
        let (reply_sender, replies) = mpsc::channel(COMMAND_QUEUE_LENGTH);
        let command_stream = wire.stream(Side::Agent, command_name, command_sender.clone());
        let voice = AgentVoice {
            replies: wire.stream(Side::Coordinator, reply_name, reply_sender),
            events: wire.stream(Side::Coordinator, event_name, event_sender),
            hold,
        };
        let (answer, answered) = oneshot::channel();
        // The network vouches for whom it carries.
        let identity = Identity::Host { realm: hello.realm.clone(), host: self.host };
        network.obedience.learn_way_in(self.host, command_sender);
        let greeting = Greeting {
            wire: Arc::clone(&wire),
            hello,
            identity,
            commands: command_stream,
            replies,
            events,
            answer,
        };
        if listener.send(greeting).is_err() {
            return std::future::pending().await;
        }
        let answer = tokio::select! {
            biased;
            answer = answered => answer,
            reason = wire.closed(Side::Agent) => return Err(ConnectError::Broken { address, reason }),
        };
        sleep(network.delay(self.host)).await;
        network.until_open(self.host, coordinator, Side::Agent).await;
        match answer {
            Ok(Ok(welcome)) => Ok((AgentLink { commands, voice }, welcome)),
            Ok(Err((code, text))) => Err(ConnectError::Refused { address, code, text }),
            // It is gone, and says nothing.
            Err(_) => std::future::pending().await,
        }
    }

    fn address(&self) -> String {
        "coordinator".to_owned()
    }
}

impl CoordinatorLink for AgentLink {
    type Voice = AgentVoice;

    async fn next_command(&mut self) -> Result<Command, LinkError> {
        tokio::select! {
            biased;
            command = self.commands.recv() => match command {
                Some(command) => Ok(command),
                None => Err(LinkError::Closed(self.voice.closed().await)),
            },
            reason = self.voice.hold.0.closed(Side::Agent) => Err(LinkError::Closed(reason)),
        }
    }

    fn voice(&self) -> AgentVoice {
        self.voice.clone()
    }
}

impl CoordinatorVoice for AgentVoice {
    async fn reply(&self, reply: Reply) -> Result<(), LinkError> {
        self.hold.0.network.obedience.hear_reply(self.hold.0.host, &reply);
        self.replies.send(reply).await
    }

    async fn tell(&self, event: Event) -> Result<(), LinkError> {
        self.events.send(event).await
    }

    async fn offer(&self, _sample: HostSample) -> Result<(), LinkError> {
        Ok(())
    }

    async fn closed(&self) -> CloseReason {
        self.hold.0.closed(Side::Agent).await
    }

    fn close(&self, code: RefusalCode, text: &str) {
        self.hold.0.close(Side::Agent, code, text);
    }
}
