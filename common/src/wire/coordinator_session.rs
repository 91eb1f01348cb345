//! Owns a connection with an agent that has been welcomed: requests in flight, events and samples.
//!
//! Must not: interpret a reply or an event.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quinn::{RecvStream, SendStream};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::frame::{FrameError, FrameReader};
use super::link::{CloseReason, LinkError, RefusalCode};
use super::message::Message as _;
use super::session::{Hold, SEND_QUEUE_LENGTH, Session, StreamKind, write_queue};
use super::silence::{LOOK_INTERVAL, Silence};
use crate::ids::OperationId;
use crate::logging::messages;
use crate::protocol::{Command, Event, Reply};
use crate::utilization::HostSample;

/// Commands to one agent that wait for their reply. A host works on a few at once; the rest may as well wait here.
const REQUESTS_MAX: usize = 256;
/// Events that have been read and not taken yet. When it is full, reading stops and the agent waits.
const EVENT_QUEUE_LENGTH: usize = 64;

/// The coordinator's end of a connection with a welcomed agent. Clones speak over the same connection, which is closed
/// when the last of them goes.
#[derive(Debug, Clone)]
pub struct CoordinatorEnd {
    commands: mpsc::Sender<Vec<u8>>,
    requests: Arc<Requests>,
    places: Arc<Semaphore>,
    /// Boxed, since a queue takes room for dozens of them as soon as it is made, and each host has one.
    events: Arc<Mutex<Option<mpsc::Receiver<Box<Event>>>>>,
    samples: watch::Receiver<Option<Arc<HostSample>>>,
    hold: Arc<Hold>,
}

/// Who waits for which reply.
#[derive(Debug, Default)]
struct Requests(Mutex<HashMap<OperationId, oneshot::Sender<Reply>>>);

impl Requests {
    fn waiting(&self) -> MutexGuard<'_, HashMap<OperationId, oneshot::Sender<Reply>>> {
        // Nothing that holds the lock can panic half-way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place among those who wait; given up when its owner stops waiting.
struct Waiting<'a> {
    requests: &'a Requests,
    operation: OperationId,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.requests.waiting().remove(&self.operation);
    }
}

impl CoordinatorEnd {
    pub(super) fn start(
        session: Arc<Session>,
        control: SendStream,
        replies: FrameReader<RecvStream>,
        certificate_time_left: Duration,
    ) -> Self {
        let (command_queue, commands) = mpsc::channel(SEND_QUEUE_LENGTH);
        let (event_queue, events) = mpsc::channel(EVENT_QUEUE_LENGTH);
        let (sample_slot, samples) = watch::channel(None);
        let requests = Arc::new(Requests::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(write_queue(Arc::clone(&session), commands, control, Vec::new()));
        tasks.spawn(read_replies(Arc::clone(&session), replies, Arc::clone(&requests)));
        tasks.spawn(read_one_way_streams(Arc::clone(&session), event_queue, sample_slot));
        tasks.spawn(end_in_time(Arc::clone(&session), certificate_time_left));
        Self {
            commands: command_queue,
            requests,
            places: Arc::new(Semaphore::new(REQUESTS_MAX)),
            events: Arc::new(Mutex::new(Some(events))),
            samples,
            hold: Hold::new(session, tasks),
        }
    }

    /// Sends a command and waits for its reply, for as long as `patience` in all. Many may be under way at once, each
    /// with an operation of its own.
    ///
    /// # Errors
    /// [`LinkError`]; after [`LinkError::NoReply`] the command may have been carried out all the same.
    pub async fn request(&self, command: Command, patience: Duration) -> Result<Reply, LinkError> {
        let operation = command.operation;
        let frame = self.hold.session.framed(command)?;
        timeout(patience, self.exchange(operation, frame))
            .await
            .unwrap_or(Err(LinkError::NoReply { operation, seconds: patience.as_secs() }))
    }

    async fn exchange(&self, operation: OperationId, frame: Vec<u8>) -> Result<Reply, LinkError> {
        let session = &self.hold.session;
        // The semaphore is never closed, so there is always a place in the end.
        let _place = self.places.acquire().await.ok();
        let (sender, reply) = oneshot::channel();
        {
            let mut waiting = self.requests.waiting();
            if waiting.contains_key(&operation) {
                return Err(LinkError::OperationInUse { operation });
            }
            waiting.insert(operation, sender);
        }
        let _waiting = Waiting { requests: &self.requests, operation };
        session.enqueue(&self.commands, frame).await?;
        tokio::select! {
            biased;
            Ok(reply) = reply => Ok(reply),
            reason = session.closed() => Err(LinkError::Closed(reason)),
        }
    }

    /// Where the agent's events come out, in order and none missing; they wait there, and then at the agent, until
    /// taken. Only the first call gets it, and dropping it closes the connection: events are not lost in silence.
    #[must_use]
    pub fn take_events(&mut self) -> Option<mpsc::Receiver<Box<Event>>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The latest sample, its VMs in the order of their ids.
    #[must_use]
    pub fn samples(&self) -> watch::Receiver<Option<Arc<HostSample>>> {
        self.samples.clone()
    }

    /// How many datagrams have come in, those that only keep the connection alive among them.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.hold.session.received()
    }

    /// How many signs of life have come in that are nothing else.
    #[must_use]
    pub fn signs(&self) -> u64 {
        self.hold.session.connection.stats().frame_rx.datagram
    }

    /// Asks the agent whether it is there: with a datagram without content, which its side of QUIC acknowledges within moments,
    /// whatever the agent does. One that takes no datagrams keeps the connection alive and nothing more.
    pub fn nudge(&self) {
        // A connection that is over needs no sign any more.
        let _ = self.hold.session.connection.send_datagram(Vec::new().into());
    }

    /// Closes the connection and tells the agent why.
    pub fn close(&self, code: RefusalCode, text: &str) {
        self.hold.session.close(code, text);
    }

    /// Waits for the end of the connection and says why it came.
    pub async fn closed(&self) -> CloseReason {
        self.hold.session.closed().await
    }
}

/// Ends the connection when the host's certificate ends, or when nothing is heard any more.
async fn end_in_time(session: Arc<Session>, certificate_time_left: Duration) {
    let now = Instant::now();
    // What is further away than can be told never comes.
    let expires_at = now.checked_add(certificate_time_left);
    let mut silence = Silence::new(session.received(), now);
    loop {
        let look_at = Instant::now() + LOOK_INTERVAL;
        sleep_until(expires_at.map_or(look_at, |expires_at| expires_at.min(look_at))).await;
        let now = Instant::now();
        if expires_at.is_some_and(|expires_at| expires_at <= now) {
            return session.close(RefusalCode::CertificateExpired, "the host's certificate has expired");
        }
        if silence.is_over(session.received(), now) {
            return session.give_up();
        }
    }
}

async fn read_replies(session: Arc<Session>, mut reader: FrameReader<RecvStream>, requests: Arc<Requests>) {
    reader.set_length_max(Reply::FRAME_MAX);
    while let Some(reply) = session.receive::<Reply>(&mut reader).await {
        let waiting = requests.waiting().remove(&reply.operation);
        let operation = reply.operation;
        if waiting.is_none_or(|waiting| waiting.send(reply).is_err()) {
            log::debug!(REEVE_OPERATION:% = operation; "a reply that nobody waits for any more");
        }
    }
    // An agent that will not answer commands is of no use.
    session.close(RefusalCode::Finished, "the reply stream has ended");
}

/// What comes in on the agent's one-way streams goes here; each is taken by the first stream of its kind.
struct Sinks {
    events: Option<mpsc::Sender<Box<Event>>>,
    samples: Option<watch::Sender<Option<Arc<HostSample>>>>,
}

/// Takes the agent's one-way streams, one of each kind, in whatever order they come. The agent says of what kind a stream is
/// with the first thing that it sends there, so none waits for another's.
async fn read_one_way_streams(
    session: Arc<Session>,
    events: mpsc::Sender<Box<Event>>,
    samples: watch::Sender<Option<Arc<HostSample>>>,
) {
    let sinks = Arc::new(Mutex::new(Sinks { events: Some(events), samples: Some(samples) }));
    let mut readers = JoinSet::new();
    while let Ok(stream) = session.connection.accept_uni().await {
        readers.spawn(read_one_way_stream(Arc::clone(&session), stream, Arc::clone(&sinks)));
    }
}

async fn read_one_way_stream(session: Arc<Session>, stream: RecvStream, sinks: Arc<Mutex<Sinks>>) {
    let mut reader = FrameReader::new(stream, StreamKind::FRAME_MAX);
    let kind = read_kind(&mut reader).await;
    let take = || sinks.lock().unwrap_or_else(PoisonError::into_inner);
    let violation = match kind {
        Ok(Some(StreamKind::Events)) => {
            let queue = take().events.take();
            match queue {
                Some(queue) => return read_events(session, reader, queue).await,
                None => "a second event stream".to_owned(),
            }
        }
        Ok(Some(StreamKind::Samples)) => {
            let slot = take().samples.take();
            match slot {
                Some(slot) => return read_samples(session, reader, slot).await,
                None => "a second sample stream".to_owned(),
            }
        }
        Ok(None) => "a stream of no known kind".to_owned(),
        Err(error) => format!("a stream without a kind: {error}"),
    };
    log::warn!(REEVE_HOST:% = session.host, REEVE_REALM:% = session.realm, MESSAGE_ID:% = messages::PROTOCOL_VIOLATED;
        "closing the connection with {}: {violation}", session.connection.remote_address());
    session.close(RefusalCode::ProtocolViolation, &violation);
}

async fn read_kind(reader: &mut FrameReader<RecvStream>) -> Result<Option<StreamKind>, FrameError> {
    let frame = reader.next().await?.unwrap_or_default();
    Ok(frame.first().copied().and_then(StreamKind::from_byte))
}

async fn read_events(
    session: Arc<Session>,
    mut reader: FrameReader<RecvStream>,
    queue: mpsc::Sender<Box<Event>>,
) {
    reader.set_length_max(Event::FRAME_MAX);
    while let Some(event) = session.receive(&mut reader).await {
        if queue.send(Box::new(event)).await.is_err() {
            return;
        }
    }
}

async fn read_samples(
    session: Arc<Session>,
    mut reader: FrameReader<RecvStream>,
    slot: watch::Sender<Option<Arc<HostSample>>>,
) {
    reader.set_length_max(HostSample::FRAME_MAX);
    while let Some(mut sample) = session.receive::<HostSample>(&mut reader).await {
        // In this order two samples are compared without looking anything up.
        sample.vms.sort_unstable_by_key(|vm| vm.vm);
        slot.send_replace(Some(Arc::new(sample)));
    }
}
