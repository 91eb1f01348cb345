//! Owns `reeve-agent join LINE`: how a machine becomes a host.
//!
//! ```text
//!   key made here ─▶ server proved by the line's fingerprint ─▶ secret and signing request sent
//!                                └── no: nothing is sent            └─▶ certificate checked ─▶ stored
//! ```

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use reeve_common::clock::Clock;
use reeve_common::quic;
use reeve_common::tls::certificate::{certificate_from_pem, key_fingerprint};
use reeve_common::tls::{
    COORDINATOR_SERVER_NAME, InvalidCertificate, JoinLine, Side, TlsError, TlsRefusal, join_client_config,
};
use reeve_common::wire::frame::{FrameError, FrameReader, write_frame};
use reeve_common::wire::join::{JoinAnswer, JoinRefusal, JoinRequest, Joined, decode_answer, encode_request};
use reeve_common::wire::limits::JOIN_FRAME_MAX;
use reeve_common::wire::{CloseReason, EncodeError, MessageError, RefusalCode};
use tokio::time::timeout;

use crate::identity::{HostIdentity, IdentityDirectory, IdentityError, make_key};

/// For each address that the coordinator's name has: the handshake and one answer.
const JOIN_TIMEOUT: Duration = Duration::from_secs(15);
/// A name rarely has more than one address of each kind; a long list would be a long wait.
const ADDRESSES_MAX: usize = 4;
/// When the stream breaks, the reason follows in a packet of its own; this long is waited for it.
const REASON_TIMEOUT: Duration = Duration::from_secs(1);

/// Why a machine did not become a host.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// It is one already.
    #[error(
        "this machine is host {name} already, and its certificate is good until {until}: to join it anew, add --replace; its VMs are then no longer known to the old coordinator"
    )]
    Joined {
        /// Its name.
        name: String,
        /// How long its certificate is good.
        until: String,
    },
    /// Its identity directory is in the way.
    #[error("the identity cannot be made or stored")]
    Identity(#[from] IdentityError),
    /// The coordinator's name has no address.
    #[error("the coordinator's address {address} cannot be resolved; check the name in the join line")]
    Resolve {
        /// As in the line.
        address: String,
        /// The resolver's words.
        #[source]
        source: io::Error,
    },
    /// No socket.
    #[error("no network socket can be opened")]
    Socket(#[source] io::Error),
    /// The TLS library refuses to be set up.
    #[error("a secure connection cannot be prepared")]
    Tls(#[from] TlsError),
    /// Nobody answered.
    #[error(
        "no answer from the coordinator at {address} within {seconds} s: check that it runs, and that UDP reaches its port for joining hosts; the join line is unused"
    )]
    NoAnswer {
        /// Where.
        address: SocketAddr,
        /// How long it was waited for.
        seconds: u64,
    },
    /// Somebody answered, and then no more. The secret may have been used.
    #[error(
        "the coordinator at {address} did not answer in {} s; if the line is refused as used when tried again, print a new one with `reeve host join-token`",
        JOIN_TIMEOUT.as_secs()
    )]
    TooSlow {
        /// Where.
        address: SocketAddr,
    },
    /// Somebody else answered. The secret was not sent.
    #[error("{}", refusal.advice_to_refuser(Side::Host))]
    NotTheCoordinator {
        /// What was wrong with it.
        refusal: TlsRefusal,
    },
    /// The coordinator refused.
    #[error("the coordinator refused")]
    Refused(#[source] JoinRefusal),
    /// The connection broke; the secret may have been used.
    #[error(
        "the connection broke; if the line is refused as used when tried again, print a new one with `reeve host join-token`"
    )]
    Broken(#[source] CloseReason),
    /// The answer did not come through.
    #[error("the coordinator's answer did not come through")]
    Frame(#[from] FrameError),
    /// The answer makes no sense.
    #[error("the coordinator's answer makes no sense: check that its release goes with the agent's")]
    Answer(#[from] MessageError),
    /// The request is too long; a mistake in this program.
    #[error("the request cannot be sent")]
    Request(#[from] EncodeError),
    /// The certificate of the authority that came with the answer is not the one that the line names.
    #[error("the authority that the coordinator sent is not the one that the join line names")]
    OtherAuthority,
    /// The authority's certificate is unreadable.
    #[error("the authority that the coordinator sent cannot be read")]
    Authority(#[source] InvalidCertificate),
}

/// Makes this machine the host that the line is for. `replace` lets it be another host than it is now.
///
/// # Errors
/// [`JoinError`] says what to do.
pub async fn join(
    line: &JoinLine,
    directory: &IdentityDirectory,
    replace: bool,
    clock: Arc<dyn Clock>,
) -> Result<HostIdentity, JoinError> {
    if !replace {
        check_not_joined(directory, &clock)?;
    }
    let new = make_key()?;
    let addresses = resolve(&line.address).await?;
    let mut last = JoinError::Resolve {
        address: line.address.clone(),
        source: io::Error::from(io::ErrorKind::AddrNotAvailable),
    };
    for address in addresses {
        match timeout(JOIN_TIMEOUT, exchange(line, address, &new.signing_request, &clock)).await {
            Ok(Ok(joined)) => {
                check_authority(line, &joined)?;
                return Ok(directory.store(&joined, &new.key, clock.now())?);
            }
            Ok(Err(error @ (JoinError::NoAnswer { .. } | JoinError::Socket(_)))) => last = error,
            Ok(Err(error)) => return Err(error),
            // It may have redeemed the line, so the other addresses are not tried.
            Err(_) => return Err(JoinError::TooSlow { address }),
        }
    }
    Err(last)
}

fn check_not_joined(directory: &IdentityDirectory, clock: &Arc<dyn Clock>) -> Result<(), JoinError> {
    match directory.load() {
        Ok(identity) if identity.credentials.facts().not_after > clock.now() => Err(JoinError::Joined {
            name: identity.name.to_string(),
            until: identity.credentials.facts().not_after.to_string(),
        }),
        // An identity that has expired or is damaged is of no use to anybody; joining again is the remedy.
        _ => Ok(()),
    }
}

async fn resolve(address: &str) -> Result<Vec<SocketAddr>, JoinError> {
    let found = tokio::net::lookup_host(address)
        .await
        .map_err(|source| JoinError::Resolve { address: address.to_owned(), source })?;
    Ok(found.take(ADDRESSES_MAX).collect())
}

async fn exchange(
    line: &JoinLine,
    address: SocketAddr,
    signing_request: &str,
    clock: &Arc<dyn Clock>,
) -> Result<Joined, JoinError> {
    let local = match address {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let endpoint = quic::client_endpoint(local).map_err(JoinError::Socket)?;
    let configuration = join_client_config(line.fingerprint, Arc::clone(clock))?;
    let connecting = endpoint
        .connect_with(configuration, address, COORDINATOR_SERVER_NAME)
        .map_err(|error| JoinError::Socket(io::Error::other(error)))?;
    let connection = connecting.await.map_err(|error| explain(CloseReason::at_host(&error), address))?;
    // From here on the server has proved to hold a certificate of the pinned authority: now the secret may be sent.
    let answer = ask(&connection, line, signing_request).await;
    let answer = match answer {
        Err(JoinError::Frame(error)) => {
            return Err(match timeout(REASON_TIMEOUT, connection.closed()).await {
                Ok(reason) => JoinError::Broken(CloseReason::at_host(&reason)),
                Err(_) => JoinError::Frame(error),
            });
        }
        other => other?,
    };
    connection.close(RefusalCode::Finished.number(), b"");
    endpoint.wait_idle().await;
    answer.map_err(JoinError::Refused)
}

async fn ask(
    connection: &quinn::Connection,
    line: &JoinLine,
    signing_request: &str,
) -> Result<JoinAnswer, JoinError> {
    let lost = |error: quinn::ConnectionError| JoinError::Frame(FrameError::Stream(error.into()));
    let (mut requests, answers) = connection.open_bi().await.map_err(lost)?;
    let request = JoinRequest { secret: line.secret.clone(), signing_request: signing_request.to_owned() };
    write_frame(&mut requests, &encode_request(request)?, JOIN_FRAME_MAX).await?;
    let mut reader = FrameReader::new(answers, JOIN_FRAME_MAX);
    let bytes = reader.next().await?.ok_or(FrameError::Truncated)?;
    Ok(decode_answer(&bytes)?)
}

fn explain(reason: CloseReason, address: SocketAddr) -> JoinError {
    match reason {
        CloseReason::RefusedHere { refusal, .. } => JoinError::NotTheCoordinator { refusal },
        CloseReason::Silent => JoinError::NoAnswer { address, seconds: quic::JOIN_IDLE_TIMEOUT.as_secs() },
        reason => JoinError::Broken(reason),
    }
}

fn check_authority(line: &JoinLine, joined: &Joined) -> Result<(), JoinError> {
    let authority = certificate_from_pem(&joined.authority).map_err(JoinError::Authority)?;
    let fingerprint = key_fingerprint(&authority).map_err(JoinError::Authority)?;
    if fingerprint == line.fingerprint { Ok(()) } else { Err(JoinError::OtherAuthority) }
}
