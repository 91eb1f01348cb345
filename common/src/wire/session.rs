//! Owns what both ends of a connection have in common once they have greeted each other: how it is closed and why, and
//! the tasks that move frames between queues and streams.
//!
//! Each stream has one task that writes it and one that reads it, so that no caller's cancelled future can leave half a
//! frame behind.

use std::sync::{Arc, OnceLock};

use quinn::{Connection, RecvStream, SendStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::codec::EncodeError;
use super::frame::{FrameError, FrameReader, frame};
use super::link::{CloseReason, LinkError, REASON_LENGTH_MAX, RefusalCode};
use super::message::Message;
use super::version::ProtocolVersion;
use crate::ids::{HostName, RealmName};
use crate::logging::messages;
use crate::text::{chain, printable};
use crate::tls::Side;

/// Frames that wait to be written on one stream. When it is full, whoever sends waits: nothing is dropped.
pub(super) const SEND_QUEUE_LENGTH: usize = 64;

/// The first frame on a one-way stream says what it carries. Fixed for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StreamKind {
    Events,
    Samples,
}

impl StreamKind {
    /// A kind's frame has one byte; later releases may put more behind.
    pub(super) const FRAME_MAX: usize = 64;

    pub(super) const fn to_byte(self) -> u8 {
        match self {
            Self::Events => 1,
            Self::Samples => 2,
        }
    }

    /// What its stream begins with.
    pub(super) fn frame(self) -> Vec<u8> {
        // One byte is never too long.
        frame(&[self.to_byte()], Self::FRAME_MAX).unwrap_or_default()
    }

    pub(super) const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Events),
            2 => Some(Self::Samples),
            _ => None,
        }
    }
}

/// A connection and what was agreed on it.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) connection: Connection,
    pub(super) version: ProtocolVersion,
    own: Side,
    /// The host at the agent's end, and its realm.
    pub(super) host: HostName,
    pub(super) realm: RealmName,
    closed_here: OnceLock<CloseReason>,
}

impl Session {
    pub(super) fn new(
        connection: Connection,
        version: ProtocolVersion,
        own: Side,
        (host, realm): (HostName, RealmName),
    ) -> Arc<Self> {
        Arc::new(Self { connection, version, own, host, realm, closed_here: OnceLock::new() })
    }

    /// Closes the connection; the first reason given is the one that counts.
    pub(super) fn close(&self, code: RefusalCode, text: &str) {
        if self.connection.close_reason().is_some() {
            // It is over, and closing now would hide why.
            return;
        }
        let text = printable(text, REASON_LENGTH_MAX);
        let _ = self.closed_here.set(CloseReason::Here { code, text: text.clone() });
        self.connection.close(code.number(), text.as_bytes());
    }

    /// How many datagrams have come in, those that only keep the connection alive among them.
    pub(super) fn received(&self) -> u64 {
        self.connection.stats().udp_rx.datagrams
    }

    /// Closes the connection because nothing is heard on it.
    pub(super) fn give_up(&self) {
        if self.connection.close_reason().is_some() {
            return;
        }
        let _ = self.closed_here.set(CloseReason::Silent);
        // For the case that it is heard at the other end.
        self.connection.close(RefusalCode::Finished.number(), b"nothing was heard for too long");
    }

    /// Waits for the end and says why it came.
    pub(super) async fn closed(&self) -> CloseReason {
        let reason = CloseReason::from_quic(&self.connection.closed().await, self.own);
        match (&reason, self.closed_here.get()) {
            (CloseReason::Here { .. }, Some(own)) => own.clone(),
            _ => reason,
        }
    }

    /// What is sent as a message, with its length in front.
    pub(super) fn framed<M: Message>(&self, message: M) -> Result<Vec<u8>, LinkError> {
        let payload = message.encode(self.version).map_err(LinkError::TooLarge)?;
        frame(&payload, M::FRAME_MAX)
            .map_err(|_| LinkError::TooLarge(EncodeError::frame(M::KIND, payload.len(), M::FRAME_MAX)))
    }

    /// Puts a frame into a queue, waiting for room. The error is how the connection ended.
    pub(super) async fn enqueue(
        &self,
        queue: &mpsc::Sender<Vec<u8>>,
        frame: Vec<u8>,
    ) -> Result<(), LinkError> {
        tokio::select! {
            biased;
            reason = self.closed() => Err(LinkError::Closed(reason)),
            sent = queue.send(frame) => match sent {
                Ok(()) => Ok(()),
                Err(_) => Err(LinkError::Closed(self.closed().await)),
            },
        }
    }

    /// Reads one message; none when the stream or the connection is over. Whatever is no message closes the connection.
    pub(super) async fn receive<M: Message>(&self, reader: &mut FrameReader<RecvStream>) -> Option<M> {
        let failure = match reader.next().await {
            Ok(None) | Err(FrameError::Stream(_)) => return None,
            Ok(Some(bytes)) => match M::decode(self.version, &bytes) {
                Ok(message) => return Some(message),
                Err(error) => (RefusalCode::ProtocolViolation, format!("{}: {}", M::KIND, chain(&error))),
            },
            Err(error @ FrameError::TooSlow) => (RefusalCode::TooSlow, error.to_string()),
            Err(error) => (RefusalCode::ProtocolViolation, error.to_string()),
        };
        let (code, text) = failure;
        log::warn!(REEVE_HOST:% = self.host, REEVE_REALM:% = self.realm, MESSAGE_ID:% = messages::PROTOCOL_VIOLATED;
            "closing the connection with {}: {text}", self.connection.remote_address());
        self.close(code, &text);
        None
    }
}

/// The user's hold on a session: when the last one goes, the tasks end and the connection is closed.
#[derive(Debug)]
pub(super) struct Hold {
    pub(super) session: Arc<Session>,
    _tasks: JoinSet<()>,
}

impl Hold {
    pub(super) fn new(session: Arc<Session>, tasks: JoinSet<()>) -> Arc<Self> {
        Arc::new(Self { session, _tasks: tasks })
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.session.close(RefusalCode::Finished, "no more to say");
    }
}

/// Writes frames in the order they were queued, each whole, the first behind `beginning`, with which it leaves together. Ends with the queue; a stream that the other side stops
/// reading is the end of the connection, since what is queued must not be dropped in silence.
pub(super) async fn write_queue(
    session: Arc<Session>,
    mut queue: mpsc::Receiver<Vec<u8>>,
    mut stream: SendStream,
    mut beginning: Vec<u8>,
) {
    while let Some(frame) = queue.recv().await {
        if stream.write_all(&behind(&mut beginning, frame)).await.is_err() {
            session.close(RefusalCode::Finished, "the other side reads no more");
            return;
        }
    }
}

/// The frame behind what the stream begins with, once.
fn behind(beginning: &mut Vec<u8>, frame: Vec<u8>) -> Vec<u8> {
    if beginning.is_empty() {
        return frame;
    }
    let mut bytes = std::mem::take(beginning);
    bytes.extend(frame);
    bytes
}

/// Writes the newest of what was offered whenever the stream has room; what was overtaken is never written.
pub(super) async fn write_latest(
    session: Arc<Session>,
    mut latest: watch::Receiver<Option<Vec<u8>>>,
    mut stream: SendStream,
    mut beginning: Vec<u8>,
) {
    while latest.changed().await.is_ok() {
        let frame = latest.borrow_and_update().clone();
        if let Some(frame) = frame
            && stream.write_all(&behind(&mut beginning, frame)).await.is_err()
        {
            session.close(RefusalCode::Finished, "the other side reads no more");
            return;
        }
    }
}
