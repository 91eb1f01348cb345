//! Owns the agent's end of the link: dialling, the greeting, commands in, replies, events and samples out.
//!
//! Must not: decide when to dial again, or what a command means (`agent/src/session.rs`).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::{Connection, RecvStream, SendStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use super::frame::FrameReader;
use super::handshake::{HandshakeError, greet};
use super::limits;
use super::link::{CloseReason, LinkError, RefusalCode};
use super::message::Message as _;
use super::session::{Hold, SEND_QUEUE_LENGTH, Session, StreamKind, write_latest, write_queue};
use super::version::VersionRange;
use crate::clock::SystemClock;
use crate::protocol::{Command, Event, Hello, Reply, Welcome};
use crate::tls::{COORDINATOR_SERVER_NAME, Credentials, Side, TlsError, TlsRefusal, agent_client_config};
use crate::utilization::HostSample;

/// From the first datagram to `Welcome`. The coordinator writes its store in between, after a restart for every host
/// of the fleet at once.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// When the stream breaks, the reason follows in a packet of its own; this long is waited for it.
const REASON_TIMEOUT: Duration = Duration::from_secs(1);
/// Commands that have been read and not taken yet. When it is full, reading stops and the coordinator waits.
const COMMAND_QUEUE_LENGTH: usize = 64;

/// Why an agent is not connected. It has been logged already.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The host's own certificate, key and authority do not go together.
    #[error("this host's identity cannot be used; join it again with `reeve-agent join`")]
    Identity(#[source] TlsError),
    /// Not even the first datagram could be sent.
    #[error("the coordinator's address {address} cannot be dialled: {why}")]
    Dial {
        /// Where.
        address: SocketAddr,
        /// The library's words.
        why: String,
    },
    /// Nobody answered in time.
    #[error(
        "no answer from the coordinator at {address} within {seconds} s: check that it runs, and that UDP reaches it"
    )]
    NoAnswer {
        /// Where.
        address: SocketAddr,
        /// How long it was waited for.
        seconds: u64,
    },
    /// The coordinator did not accept this host's certificate.
    #[error("refused by the coordinator at {address}: {}", refusal.advice_to_refused(Side::Host))]
    CertificateRefused {
        /// Where.
        address: SocketAddr,
        /// Why.
        refusal: TlsRefusal,
    },
    /// What answered did not prove to be the coordinator.
    #[error("no connection to {address}: {}", refusal.advice_to_refuser(Side::Host))]
    CoordinatorRefused {
        /// Where.
        address: SocketAddr,
        /// Why.
        refusal: TlsRefusal,
    },
    /// The coordinator knows the host, and does not let it in.
    #[error("refused by the coordinator at {address}: {} ({text})", code.advice_to_host())]
    Refused {
        /// Where.
        address: SocketAddr,
        /// Why.
        code: RefusalCode,
        /// In the coordinator's words.
        text: String,
    },
    /// The coordinator's first words make no sense.
    #[error("the coordinator at {address} and this agent do not understand each other")]
    Greeting {
        /// Where.
        address: SocketAddr,
        /// What went wrong.
        #[source]
        source: HandshakeError,
    },
    /// The connection broke.
    #[error("the connection to the coordinator at {address} broke")]
    Broken {
        /// Where.
        address: SocketAddr,
        /// How.
        #[source]
        reason: CloseReason,
    },
}

impl ConnectError {
    /// Whether dialling again soon may help. After the other errors somebody has to do something first; an agent then
    /// dials seldom, and does not give up.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Dial { .. } | Self::NoAnswer { .. } | Self::Broken { .. } => true,
            Self::Refused { code, .. } => code.is_retryable(),
            Self::CertificateRefused { refusal, .. } | Self::CoordinatorRefused { refusal, .. } => {
                matches!(refusal, TlsRefusal::NotYetValid)
            }
            Self::Identity(_) | Self::Greeting { .. } => false,
        }
    }

    fn from_close(address: SocketAddr, reason: CloseReason) -> Self {
        match reason {
            CloseReason::ByPeer { code, text } => Self::Refused { address, code, text },
            CloseReason::RefusedByPeer { refusal, .. } => Self::CertificateRefused { address, refusal },
            CloseReason::RefusedHere { refusal, .. } => Self::CoordinatorRefused { address, refusal },
            CloseReason::Silent => {
                Self::NoAnswer { address, seconds: crate::quic::DIALLING_TIMEOUT.as_secs() }
            }
            reason => Self::Broken { address, reason },
        }
    }
}

/// The agent's end of a connection on which both sides have greeted each other.
#[derive(Debug)]
pub struct AgentEnd {
    commands: CommandReceiver,
    sender: Sender,
}

/// Where commands come out.
#[derive(Debug)]
pub struct CommandReceiver {
    queue: mpsc::Receiver<Command>,
    hold: Arc<Hold>,
}

/// Where replies, events and samples go in. Clones send on the same streams.
#[derive(Debug, Clone)]
pub struct Sender {
    replies: mpsc::Sender<Vec<u8>>,
    events: mpsc::Sender<Vec<u8>>,
    samples: Arc<watch::Sender<Option<Vec<u8>>>>,
    hold: Arc<Hold>,
}

impl AgentEnd {
    /// Dials the coordinator, proves who the host is, and waits to be welcomed.
    ///
    /// # Errors
    /// [`ConnectError`] says whose fault it is and what to do.
    pub async fn connect(
        endpoint: &quinn::Endpoint,
        address: SocketAddr,
        credentials: &Credentials,
        hello: Hello,
    ) -> Result<(Self, Welcome), ConnectError> {
        let configuration =
            agent_client_config(credentials, Arc::new(SystemClock)).map_err(ConnectError::Identity)?;
        Self::connect_with(endpoint, address, configuration, hello).await
    }

    /// The same with a configuration of the caller's, as for another clock.
    ///
    /// # Errors
    /// [`ConnectError`] says whose fault it is and what to do.
    pub async fn connect_with(
        endpoint: &quinn::Endpoint,
        address: SocketAddr,
        configuration: quinn::ClientConfig,
        hello: Hello,
    ) -> Result<(Self, Welcome), ConnectError> {
        let (host, realm) = (hello.name.clone(), hello.realm.clone());
        let result = dial(endpoint, address, configuration, hello).await;
        if let Err(error) = &result {
            log::warn!(REEVE_HOST:% = host, REEVE_REALM:% = realm; "{}", crate::text::chain(error));
        }
        result
    }

    /// The next command.
    ///
    /// Cancelling loses nothing.
    ///
    /// # Errors
    /// [`LinkError::Closed`] when the connection is over.
    pub async fn next_command(&mut self) -> Result<Command, LinkError> {
        self.commands.next_command().await
    }

    /// Sends a reply; see [`Sender::reply`].
    ///
    /// # Errors
    /// As there.
    pub async fn reply(&self, reply: Reply) -> Result<(), LinkError> {
        self.sender.reply(reply).await
    }

    /// Sends an event; see [`Sender::send_event`].
    ///
    /// # Errors
    /// As there.
    pub async fn send_event(&self, event: Event) -> Result<(), LinkError> {
        self.sender.send_event(event).await
    }

    /// Offers a sample; see [`Sender::send_sample`].
    ///
    /// # Errors
    /// As there.
    pub async fn send_sample(&self, sample: HostSample) -> Result<(), LinkError> {
        self.sender.send_sample(sample).await
    }

    /// A sender that can be given away.
    #[must_use]
    pub fn sender(&self) -> Sender {
        self.sender.clone()
    }

    /// Takes both directions apart. The connection is closed when all parts are gone.
    #[must_use]
    pub fn split(self) -> (CommandReceiver, Sender) {
        (self.commands, self.sender)
    }

    /// Waits for the end of the connection and says why it came.
    pub async fn closed(&self) -> CloseReason {
        self.sender.closed().await
    }

    /// Closes the connection. What was queued and not yet sent is lost.
    pub fn close(&self, code: RefusalCode, text: &str) {
        self.sender.close(code, text);
    }
}

impl CommandReceiver {
    /// The next command.
    ///
    /// Cancelling loses nothing.
    ///
    /// # Errors
    /// [`LinkError::Closed`] when the connection is over.
    pub async fn next_command(&mut self) -> Result<Command, LinkError> {
        match self.queue.recv().await {
            Some(command) => Ok(command),
            None => Err(LinkError::Closed(self.hold.session.closed().await)),
        }
    }
}

impl Sender {
    /// Answers a command. Returns when the reply is in the queue; it leaves in its turn.
    ///
    /// # Errors
    /// When the connection is over, or the reply larger than the coordinator takes.
    pub async fn reply(&self, reply: Reply) -> Result<(), LinkError> {
        let session = &self.hold.session;
        session.enqueue(&self.replies, session.framed(reply)?).await
    }

    /// Tells an event. Events are never dropped: when the coordinator is slow this waits. They arrive in order, but
    /// in no order with replies.
    ///
    /// # Errors
    /// When the connection is over, or the event larger than the coordinator takes.
    pub async fn send_event(&self, event: Event) -> Result<(), LinkError> {
        let session = &self.hold.session;
        session.enqueue(&self.events, session.framed(event)?).await
    }

    /// Offers a sample. Never waits: a sample that has not been sent when the next one comes is replaced by it.
    ///
    /// # Errors
    /// When the connection is over, or the sample larger than the coordinator takes.
    pub async fn send_sample(&self, sample: HostSample) -> Result<(), LinkError> {
        let session = &self.hold.session;
        let frame = session.framed(sample)?;
        if session.connection.close_reason().is_some() || self.samples.send(Some(frame)).is_err() {
            return Err(LinkError::Closed(session.closed().await));
        }
        Ok(())
    }

    /// Waits for the end of the connection and says why it came.
    pub async fn closed(&self) -> CloseReason {
        self.hold.session.closed().await
    }

    /// Closes the connection. What was queued and not yet sent is lost.
    pub fn close(&self, code: RefusalCode, text: &str) {
        self.hold.session.close(code, text);
    }
}

async fn dial(
    endpoint: &quinn::Endpoint,
    address: SocketAddr,
    configuration: quinn::ClientConfig,
    hello: Hello,
) -> Result<(AgentEnd, Welcome), ConnectError> {
    let deadline = Instant::now() + CONNECT_TIMEOUT;
    let connecting = endpoint
        .connect_with(configuration, address, COORDINATOR_SERVER_NAME)
        .map_err(|error| ConnectError::Dial { address, why: error.to_string() })?;
    let no_answer = ConnectError::NoAnswer { address, seconds: CONNECT_TIMEOUT.as_secs() };
    let Ok(connected) = timeout_at(deadline, connecting).await else { return Err(no_answer) };
    let connection = connected
        .map_err(|error| ConnectError::from_close(address, CloseReason::from_quic(&error, Side::Host)))?;
    // Being connected means nothing yet: TLS 1.3 lets the client go on before the server has looked at its certificate.
    match timeout_at(deadline, open(&connection, hello)).await {
        Ok(Ok(opened)) => Ok(opened),
        Ok(Err(error)) => Err(explain(&connection, address, error).await),
        Err(_) => {
            connection.close(RefusalCode::TooSlow.number(), b"no welcome in time");
            Err(no_answer)
        }
    }
}

/// Greets the coordinator and sets up the streams.
async fn open(connection: &Connection, hello: Hello) -> Result<(AgentEnd, Welcome), HandshakeError> {
    let lost =
        |error: quinn::ConnectionError| HandshakeError::Frame(super::frame::FrameError::Stream(error.into()));
    let (mut control, incoming) = connection.open_bi().await.map_err(lost)?;
    let mut reader = FrameReader::new(incoming, limits::HANDSHAKE_FRAME_MAX);
    let about = (hello.name.clone(), hello.realm.clone());
    let (version, welcome) = greet(&mut reader, &mut control, hello, VersionRange::SUPPORTED).await?;
    let events = connection.open_uni().await.map_err(lost)?;
    let samples = connection.open_uni().await.map_err(lost)?;
    reader.set_length_max(Command::FRAME_MAX);
    let session = Session::new(connection.clone(), version, Side::Host, about);
    Ok((assemble(session, reader, control, events, samples), welcome))
}

fn assemble(
    session: Arc<Session>,
    mut reader: FrameReader<RecvStream>,
    control: SendStream,
    events: SendStream,
    samples: SendStream,
) -> AgentEnd {
    let (reply_queue, replies) = mpsc::channel(SEND_QUEUE_LENGTH);
    let (event_queue, queued_events) = mpsc::channel(SEND_QUEUE_LENGTH);
    let (sample_slot, latest_sample) = watch::channel(None);
    let (command_queue, commands) = mpsc::channel(COMMAND_QUEUE_LENGTH);
    let mut tasks = JoinSet::new();
    tasks.spawn(write_queue(Arc::clone(&session), replies, control, Vec::new()));
    tasks.spawn(write_queue(Arc::clone(&session), queued_events, events, StreamKind::Events.frame()));
    tasks.spawn(write_latest(Arc::clone(&session), latest_sample, samples, StreamKind::Samples.frame()));
    let reading = Arc::clone(&session);
    tasks.spawn(async move {
        while let Some(command) = reading.receive(&mut reader).await {
            if command_queue.send(command).await.is_err() {
                return;
            }
        }
        // Without commands the connection is of no use; a coordinator that ended the stream has no more to say.
        reading.close(RefusalCode::Finished, "the command stream has ended");
    });
    let hold = Hold::new(session, tasks);
    let sender = Sender {
        replies: reply_queue,
        events: event_queue,
        samples: Arc::new(sample_slot),
        hold: Arc::clone(&hold),
    };
    AgentEnd { commands: CommandReceiver { queue: commands, hold }, sender }
}

/// Why greeting failed: what the connection ended with says more than the broken stream.
async fn explain(connection: &Connection, address: SocketAddr, error: HandshakeError) -> ConnectError {
    match error {
        HandshakeError::Frame(_) | HandshakeError::Ended => {
            match timeout(REASON_TIMEOUT, connection.closed()).await {
                Ok(reason) => ConnectError::from_close(address, CloseReason::from_quic(&reason, Side::Host)),
                Err(_) => ConnectError::Greeting { address, source: error },
            }
        }
        HandshakeError::NoCommonVersion { .. } => {
            connection.close(RefusalCode::VersionMismatch.number(), b"no common protocol version");
            ConnectError::Refused { address, code: RefusalCode::VersionMismatch, text: error.to_string() }
        }
        error => {
            connection.close(RefusalCode::ProtocolViolation.number(), error.to_string().as_bytes());
            ConnectError::Greeting { address, source: error }
        }
    }
}
