//! Owns the coordinator's end of the link: letting agents in, commands out, replies matched to them, events and samples
//! in.
//!
//! ```text
//!   Incoming ── accept ──▶ PendingAgent ── welcome ──▶ CoordinatorEnd
//!       └──▶ AcceptError       └── refuse ──▶ closed with the reason
//! ```
//!
//! Must not: know which hosts exist, or what to tell them (`coordinator/src/` does, when it is asked by `accept_wanted`, and
//! between that and `welcome`).

use std::net::SocketAddr;
use std::time::Duration;

use quinn::{Connection, Incoming, RecvStream, SendStream};
use rustls::pki_types::CertificateDer;
use tokio::time::{Instant, timeout_at};

use super::frame::FrameReader;
use super::handshake::{Agreed, HandshakeError, receive_hello, send_welcome};
use super::limits;
use super::link::{CloseReason, LinkError, RefusalCode};
use super::session::Session;
use super::version::{ProtocolVersion, VersionRange};
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::ids::{HostId, RealmName};
use crate::logging::{Message, messages};
use crate::protocol::{Hello, Welcome};
use crate::tls::{CertificateFacts, Identity, InvalidCertificate, Side, TlsRefusal};

pub use super::coordinator_session::CoordinatorEnd;

/// From the first datagram to the agent's `Hello`: two round trips and a signature, with room for a bad link. A peer
/// that drips bytes is let go after it.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a peer was not let in. It has been told, and it has been logged.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// Its certificate was not accepted.
    #[error("{remote} was refused: {}", refusal.advice_to_refuser(Side::Coordinator))]
    CertificateRefused {
        /// From where.
        remote: SocketAddr,
        /// Why.
        refusal: TlsRefusal,
    },
    /// It did not accept the coordinator's certificate.
    #[error("{remote} does not accept this coordinator: {}", refusal.advice_to_refused(Side::Coordinator))]
    CoordinatorRefused {
        /// From where.
        remote: SocketAddr,
        /// Why.
        refusal: TlsRefusal,
    },
    /// Its certificate passed TLS and still is no host's; TLS and this release disagree.
    #[error("{remote} was refused: its certificate cannot be read as a host's")]
    Certificate {
        /// From where.
        remote: SocketAddr,
        /// What is wrong.
        #[source]
        source: InvalidCertificate,
    },
    /// It took too long.
    #[error("{remote} did not complete its first words within {} s", HANDSHAKE_TIMEOUT.as_secs())]
    TooSlow {
        /// From where.
        remote: SocketAddr,
    },
    /// It takes itself for another host.
    #[error(
        "{remote} was refused: its certificate is host {certificate}'s and its hello says host {hello}; its identity directory is mixed up, join it again with a new line from `reeve host join-token`"
    )]
    WrongHost {
        /// From where.
        remote: SocketAddr,
        /// The host its certificate names.
        certificate: HostId,
        /// The host its hello names.
        hello: HostId,
    },
    /// It takes itself for a host of another realm.
    #[error(
        "{remote} was refused: host {host}'s certificate is of realm {certificate} and its hello says realm {hello}; join it again with a new line from `reeve host join-token`"
    )]
    WrongRealm {
        /// From where.
        remote: SocketAddr,
        /// Which host.
        host: HostId,
        /// The realm its certificate names.
        certificate: RealmName,
        /// The realm its hello names.
        hello: RealmName,
    },
    /// Its certificate is right, and the coordinator does not want that host.
    #[error("the agent at {remote} was turned away: {why}")]
    NotWanted {
        /// From where.
        remote: SocketAddr,
        /// Which host.
        host: HostId,
        /// Of which realm.
        realm: RealmName,
        /// Why.
        why: String,
    },
    /// Its first words make no sense.
    #[error("{remote} was refused: its first words make no sense")]
    Greeting {
        /// From where.
        remote: SocketAddr,
        /// What is wrong with them.
        #[source]
        source: HandshakeError,
    },
    /// The connection broke before its first words were complete.
    #[error("the connection with {remote} broke before its first words were complete")]
    Broken {
        /// From where.
        remote: SocketAddr,
        /// How.
        #[source]
        reason: CloseReason,
    },
}

impl AcceptError {
    /// What the journal calls it.
    fn message(&self) -> Message {
        match self {
            Self::Greeting { source: HandshakeError::NoCommonVersion { .. }, .. } => messages::VERSION_SKEW,
            Self::Greeting { .. } => messages::PROTOCOL_VIOLATED,
            _ => messages::PEER_REFUSED,
        }
    }
}

/// An agent that has proved which host it is, has said hello, and waits.
#[derive(Debug)]
pub struct PendingAgent {
    /// The host its certificate names; always [`Identity::Host`].
    pub identity: Identity,
    /// What it said; host and realm are those of the certificate.
    pub hello: Hello,
    /// From where it connects.
    pub remote: SocketAddr,
    /// What its certificate says.
    pub certificate: CertificateFacts,
    /// The protocol version both speak, and whether the agent knows.
    agreed: Agreed,
    connection: Connection,
    control: SendStream,
    reader: FrameReader<RecvStream>,
}

/// Takes a connection attempt as far as the agent's `Hello`, and checks that it matches the certificate, which must be good by
/// this machine's clock.
///
/// # Errors
/// [`AcceptError`] says what was wrong and what to do; the peer has been told and a line has been logged.
pub async fn accept(incoming: Incoming) -> Result<PendingAgent, AcceptError> {
    accept_wanted(incoming, &SystemClock, |_| Ok(())).await
}

/// The same by another clock, for hosts that `wanted` wants, or else says why not and with which code. It is asked before the agent has said
/// hello: who only looks whether it would be let in, as a doctor does, says none.
///
/// # Errors
/// Likewise.
pub async fn accept_wanted(
    incoming: Incoming,
    clock: &dyn Clock,
    wanted: impl FnOnce(HostId) -> Result<(), (RefusalCode, String)>,
) -> Result<PendingAgent, AcceptError> {
    let remote = incoming.remote_address();
    let result = receive(incoming, remote, clock, wanted).await;
    match &result {
        Err(error @ AcceptError::NotWanted { host, realm, .. }) => {
            log::warn!(MESSAGE_ID:% = messages::HOST_TURNED_AWAY, REEVE_HOST:% = host, REEVE_REALM:% = realm; "{error}");
        }
        Err(error) => {
            let message = error.message();
            log::warn!(MESSAGE_ID:% = message; "{}", crate::text::chain(error));
        }
        Ok(_) => {}
    }
    result
}

async fn receive(
    incoming: Incoming,
    remote: SocketAddr,
    clock: &dyn Clock,
    wanted: impl FnOnce(HostId) -> Result<(), (RefusalCode, String)>,
) -> Result<PendingAgent, AcceptError> {
    let deadline = Instant::now() + HANDSHAKE_TIMEOUT;
    let broken =
        |error: &quinn::ConnectionError| from_close(remote, CloseReason::from_quic(error, Side::Coordinator));
    let connecting = incoming.accept().map_err(|error| broken(&error))?;
    let connected = timeout_at(deadline, connecting).await.map_err(|_| AcceptError::TooSlow { remote })?;
    let connection = connected.map_err(|error| broken(&error))?;
    let refuse = |code: RefusalCode, error: AcceptError| {
        connection.close(code.number(), error.to_string().as_bytes());
        error
    };
    let certificate = peer_certificate(&connection).map_err(|source| {
        refuse(RefusalCode::ProtocolViolation, AcceptError::Certificate { remote, source })
    })?;
    // TLS has looked at it when the session began, which may be an earlier one.
    if certificate.time_left(clock.now()).is_zero() {
        let refusal = TlsRefusal::Expired;
        return Err(refuse(
            RefusalCode::CertificateExpired,
            AcceptError::CertificateRefused { remote, refusal },
        ));
    }
    if let Identity::Host { realm, host } = &certificate.identity
        && let Err((code, why)) = wanted(*host)
    {
        connection
            .close(code.number(), crate::text::printable(&why, super::link::REASON_LENGTH_MAX).as_bytes());
        return Err(AcceptError::NotWanted { remote, host: *host, realm: realm.clone(), why });
    }
    let greeting = timeout_at(deadline, first_words(&connection)).await;
    let (control, reader, agreed, hello) = match greeting {
        Err(_) => return Err(refuse(RefusalCode::TooSlow, AcceptError::TooSlow { remote })),
        Ok(Ok(words)) => words,
        Ok(Err(source)) => {
            let code = match &source {
                HandshakeError::NoCommonVersion { .. } => RefusalCode::VersionMismatch,
                _ => RefusalCode::ProtocolViolation,
            };
            if let Some(reason) = connection.close_reason() {
                return Err(broken(&reason));
            }
            connection.close(code.number(), source.to_string().as_bytes());
            return Err(AcceptError::Greeting { remote, source });
        }
    };
    check_hello(remote, &certificate.identity, &hello).map_err(|(code, error)| refuse(code, error))?;
    let identity = certificate.identity.clone();
    Ok(PendingAgent { identity, hello, remote, certificate, agreed, connection, control, reader })
}

fn peer_certificate(connection: &Connection) -> Result<CertificateFacts, InvalidCertificate> {
    let chain = connection
        .peer_identity()
        .and_then(|identity| identity.downcast::<Vec<CertificateDer<'static>>>().ok())
        .ok_or(InvalidCertificate::NoIdentity)?;
    CertificateFacts::read(chain.first().ok_or(InvalidCertificate::NoIdentity)?)
}

type FirstWords = (SendStream, FrameReader<RecvStream>, Agreed, Hello);

async fn first_words(connection: &Connection) -> Result<FirstWords, HandshakeError> {
    let (mut control, incoming) = connection.accept_bi().await.map_err(|_| HandshakeError::Ended)?;
    let mut reader = FrameReader::new(incoming, limits::HANDSHAKE_FRAME_MAX);
    let (agreed, hello) = receive_hello(&mut reader, &mut control, VersionRange::SUPPORTED).await?;
    Ok((control, reader, agreed, hello))
}

/// Checks that an agent takes itself for the host that its certificate names.
fn check_hello(
    remote: SocketAddr,
    identity: &Identity,
    hello: &Hello,
) -> Result<(), (RefusalCode, AcceptError)> {
    let Identity::Host { realm, host } = identity else {
        let refusal = TlsRefusal::WrongRole;
        return Err((RefusalCode::ProtocolViolation, AcceptError::CertificateRefused { remote, refusal }));
    };
    if *host != hello.host {
        let error = AcceptError::WrongHost { remote, certificate: *host, hello: hello.host };
        return Err((RefusalCode::WrongHost, error));
    }
    if *realm != hello.realm {
        let (certificate, hello) = (realm.clone(), hello.realm.clone());
        let error = AcceptError::WrongRealm { remote, host: *host, certificate, hello };
        return Err((RefusalCode::WrongRealm, error));
    }
    Ok(())
}

fn from_close(remote: SocketAddr, reason: CloseReason) -> AcceptError {
    match reason {
        CloseReason::RefusedHere { refusal, .. } => AcceptError::CertificateRefused { remote, refusal },
        CloseReason::RefusedByPeer { refusal, .. } => AcceptError::CoordinatorRefused { remote, refusal },
        reason => AcceptError::Broken { remote, reason },
    }
}

impl PendingAgent {
    /// The protocol version both speak.
    #[must_use]
    pub const fn version(&self) -> ProtocolVersion {
        self.agreed.version
    }

    /// Lets the agent in. The connection is closed when the certificate's time runs out, counted from `now`; by then
    /// the agent has a new one and connects again with it.
    ///
    /// # Errors
    /// [`LinkError::Closed`] when it is gone already.
    pub async fn welcome(self, welcome: Welcome, now: Timestamp) -> Result<CoordinatorEnd, LinkError> {
        let Self { certificate, hello, agreed, connection, mut control, reader, .. } = self;
        let version = agreed.version;
        let session = Session::new(connection, version, Side::Coordinator, (hello.name, hello.realm));
        match send_welcome(&mut control, agreed, welcome).await {
            Ok(()) => Ok(CoordinatorEnd::start(session, control, reader, certificate.time_left(now))),
            Err(HandshakeError::Encode(error)) => Err(LinkError::TooLarge(error)),
            Err(_) => Err(LinkError::Closed(session.closed().await)),
        }
    }

    /// Turns the agent away, with a reason that its administrator reads.
    pub fn refuse(self, code: RefusalCode, text: &str) {
        let Identity::Host { realm, host } = &self.identity else { return };
        let name = &self.hello.name;
        log::debug!(REEVE_HOST:% = name, REEVE_REALM:% = realm;
            "host {host} ({name}) at {} was refused ({code}): {text}", self.remote);
        self.connection
            .close(code.number(), crate::text::printable(text, super::link::REASON_LENGTH_MAX).as_bytes());
    }
}
