//! Owns what a joining host and the coordinator say to each other: one request, one answer.
//!
//! Must not: redeem or issue anything (`coordinator/src/enrolment.rs`), or keep what was received
//! (`agent/src/enrolment.rs`).

use crate::clock::Timestamp;
use crate::ids::{HostId, HostName, RealmName};
use crate::tls::JoinSecret;

use super::codec;
use super::message::MessageError;
use super::v1;

/// What a machine says that wants to become a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinRequest {
    /// The secret of its join line.
    pub secret: JoinSecret,
    /// Its signing request, PEM. Only the key in it counts; the coordinator says who the host is.
    pub signing_request: String,
}

/// What makes a machine a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// Its certificate, PEM.
    pub certificate: String,
    /// Its authority's certificate, PEM.
    pub authority: String,
    /// Where agents connect, as `HOST:PORT`.
    pub agent_address: String,
    /// Its realm.
    pub realm: RealmName,
    /// Its number.
    pub host: HostId,
    /// Its name.
    pub host_name: HostName,
}

/// Why a machine may not become a host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JoinRefusal {
    /// No token has this secret.
    #[error(
        "the coordinator does not know this join line; print a new one with `reeve host join-token NAME`"
    )]
    UnknownToken,
    /// The token has done its work.
    #[error(
        "this join line was used already, at {at}; print a new one with `reeve host join-token NAME`, and if it was not you who used it, remove the host with `reeve host delete NAME` first"
    )]
    UsedToken {
        /// When.
        at: Timestamp,
    },
    /// The token's time is over.
    #[error("this join line expired at {at}; print a new one with `reeve host join-token NAME`")]
    ExpiredToken {
        /// When.
        at: Timestamp,
    },
    /// The host was removed after the token was made.
    #[error("the host that this join line was made for has been removed; add it again with `reeve host add`")]
    RemovedHost,
    /// The signing request is not acceptable.
    #[error("the signing request was refused: {0}")]
    SigningRequest(String),
    /// The coordinator cannot answer now.
    #[error(
        "the coordinator cannot join hosts now: {0}; try again with a new line from `reeve host join-token NAME`"
    )]
    Unavailable(String),
}

/// The coordinator's answer.
pub type JoinAnswer = Result<Joined, JoinRefusal>;

/// Writes a request as bytes.
///
/// # Errors
/// When the signing request is longer than any.
pub fn encode_request(request: JoinRequest) -> Result<Vec<u8>, codec::EncodeError> {
    codec::encode(&v1::JoinRequest::from(request))
}

/// Reads a request.
///
/// # Errors
/// When the bytes are none.
pub fn decode_request(bytes: &[u8]) -> Result<JoinRequest, MessageError> {
    Ok(codec::decode::<v1::JoinRequest>(bytes)?.try_into()?)
}

/// Writes an answer as bytes.
///
/// # Errors
/// When a certificate is longer than any.
pub fn encode_answer(answer: JoinAnswer) -> Result<Vec<u8>, codec::EncodeError> {
    codec::encode(&v1::JoinAnswer::from(answer))
}

/// Reads an answer.
///
/// # Errors
/// When the bytes are none.
pub fn decode_answer(bytes: &[u8]) -> Result<JoinAnswer, MessageError> {
    Ok(codec::decode::<v1::JoinAnswer>(bytes)?.try_into()?)
}
