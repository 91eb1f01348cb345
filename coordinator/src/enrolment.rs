//! Owns the port on which machines become hosts: one request, one answer, nothing kept open.
//!
//! ```text
//!   request ─▶ signing request readable? ─▶ token redeemed? ─▶ certificate issued ─▶ answer
//!                     └───────── no ───────────┴── no ──▶ refusal
//! ```
//!
//! The signing request is read before the token is spent, so that a broken agent does not cost its administrator a new
//! line. Everything is bounded: strangers at once, bytes, and time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::{Connection, Incoming};
use reeve_common::clock::Clock;
use reeve_common::logging::messages;
use reeve_common::quic::{HandshakeGate, HandshakePermit};
use reeve_common::text::chain;
use reeve_common::tls::Identity;
use reeve_common::wire::frame::{FrameError, FrameReader, write_frame};
use reeve_common::wire::join::{JoinAnswer, JoinRefusal, JoinRequest, Joined, decode_request, encode_answer};
use reeve_common::wire::limits::JOIN_FRAME_MAX;
use reeve_common::wire::{CloseReason, EncodeError, MessageError, RefusalCode};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::pki::{Authority, IssueError, JoiningHost, SigningRequest, TokenBook};

/// From the first datagram to the answer. A redemption waits for one transaction of the store.
const JOIN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the answer may take to reach the host, which closes the connection when it has it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Makes hosts of machines.
pub struct Enrolment<B> {
    authority: Arc<Authority>,
    book: Arc<B>,
    clock: Arc<dyn Clock>,
    agent_address: String,
}

/// Why nothing came of a connection on the join port.
#[derive(Debug, thiserror::Error)]
enum EnrolmentError {
    #[error("the connection broke")]
    Broken(#[source] CloseReason),
    #[error("no join request came within {} s", JOIN_TIMEOUT.as_secs())]
    TooSlow,
    #[error("the stream ended without a join request")]
    NoRequest,
    #[error("the join request did not come through")]
    Frame(#[from] FrameError),
    #[error("the join request makes no sense")]
    Request(#[from] MessageError),
    #[error("the answer cannot be sent")]
    Answer(#[from] EncodeError),
}

impl<B: TokenBook> Enrolment<B> {
    /// `agent_address` is where the hosts will find the port for agents, as `HOST:PORT`.
    #[must_use]
    pub fn new(
        authority: Arc<Authority>,
        book: Arc<B>,
        clock: Arc<dyn Clock>,
        agent_address: String,
    ) -> Self {
        Self { authority, book, clock, agent_address }
    }

    /// Serves the join port until the endpoint is closed.
    pub async fn serve(self: Arc<Self>, endpoint: quinn::Endpoint) {
        let gate = HandshakeGate::default();
        let mut joins = JoinSet::new();
        loop {
            tokio::select! {
                incoming = endpoint.accept() => {
                    let Some(incoming) = incoming else { return };
                    if let Some((incoming, permit)) = gate.admit(incoming) {
                        joins.spawn(Arc::clone(&self).serve_one(incoming, permit));
                    }
                }
                Some(_) = joins.join_next() => {}
            }
        }
    }

    async fn serve_one(self: Arc<Self>, incoming: Incoming, _permit: HandshakePermit) {
        let remote = incoming.remote_address();
        let outcome = timeout(JOIN_TIMEOUT, self.converse(incoming, remote)).await;
        match outcome.unwrap_or(Err(EnrolmentError::TooSlow)) {
            // The host closes when it has read the answer; closing first could overtake it.
            Ok(connection) => {
                let _ = timeout(ANSWER_TIMEOUT, connection.closed()).await;
                connection.close(RefusalCode::Finished.number(), b"");
            }
            Err(error) => log::warn!("a join from {remote} came to nothing: {}", chain(&error)),
        }
    }

    async fn converse(&self, incoming: Incoming, remote: SocketAddr) -> Result<Connection, EnrolmentError> {
        let broken =
            |error: quinn::ConnectionError| EnrolmentError::Broken(CloseReason::at_coordinator(&error));
        let connection = incoming.accept().map_err(broken)?.await.map_err(broken)?;
        let (mut answers, requests) = connection.accept_bi().await.map_err(broken)?;
        let mut reader = FrameReader::new(requests, JOIN_FRAME_MAX);
        let bytes = reader.next().await?.ok_or(EnrolmentError::NoRequest)?;
        let answer = self.answer(decode_request(&bytes)?, remote).await;
        write_frame(&mut answers, &encode_answer(answer)?, JOIN_FRAME_MAX).await?;
        // Finishing fails only on a stream that is finished.
        let _ = answers.finish();
        Ok(connection)
    }

    async fn answer(&self, request: JoinRequest, remote: SocketAddr) -> JoinAnswer {
        let answer = self.decide(request, remote).await;
        if let Err(refusal) = &answer {
            self.book.note_refusal(remote, &refusal.to_string()).await;
        }
        answer
    }

    async fn decide(&self, request: JoinRequest, remote: SocketAddr) -> JoinAnswer {
        let signing_request = SigningRequest::read(&request.signing_request).map_err(|refusal| {
            log::warn!(MESSAGE_ID:% = messages::JOIN_REFUSED;
                "a join from {remote} was refused: the signing request is bad: {refusal}");
            JoinRefusal::SigningRequest(refusal.to_string())
        })?;
        let host = self.book.redeem(request.secret.hash(), self.clock.now()).await.map_err(|refusal| {
            log::warn!(MESSAGE_ID:% = messages::JOIN_REFUSED; "a join from {remote} was refused: {refusal}");
            JoinRefusal::from(refusal)
        })?;
        let answer = self.issue(&signing_request, host.clone());
        let JoiningHost { realm, name, .. } = host;
        match &answer {
            Ok(_) => {
                log::info!(MESSAGE_ID:% = messages::HOST_JOINED, REEVE_HOST:% = name, REEVE_REALM:% = realm;
                    "{remote} has joined as host {name}");
            }
            Err(refusal) => log::warn!(
                MESSAGE_ID:% = messages::JOIN_REFUSED, REEVE_HOST:% = name, REEVE_REALM:% = realm;
                "{remote} could not join as host {name}, and its join line is spent: {refusal}"
            ),
        }
        answer
    }

    fn issue(&self, signing_request: &SigningRequest, host: JoiningHost) -> JoinAnswer {
        let identity = Identity::Host { realm: host.realm.clone(), host: host.host };
        let certificate = self.authority.issue(signing_request, &identity, self.clock.now()).map_err(
            |error| match error {
                IssueError::Request(refusal) => JoinRefusal::SigningRequest(refusal.to_string()),
                other => JoinRefusal::Unavailable(chain(&other)),
            },
        )?;
        Ok(Joined {
            certificate: certificate.pem,
            authority: self.authority.certificate_pem().to_owned(),
            agent_address: self.agent_address.clone(),
            realm: host.realm,
            host: host.host,
            host_name: host.name,
        })
    }
}
