//! Owns the words of joining as they are on the wire. The protocol's name (`reeve-join/1`) is their version.

use serde::{Deserialize, Serialize};

use super::{FreeText, InvalidMessage, Name, Pem, from_free_text, from_name, to_free_text, to_name};
use crate::ids::HostId;
use crate::text::printable;
use crate::tls::{JoinSecret, check_address};
use crate::wire::bounded::{Blob, Text};
use crate::wire::join as domain;
use crate::wire::limits::ADDRESS_LENGTH_MAX;

/// A join secret's length.
const SECRET_LENGTH_MAX: usize = 32;

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::wire) struct JoinRequest {
    secret: Blob<SECRET_LENGTH_MAX>,
    signing_request: Pem,
}

impl Drop for JoinRequest {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.secret.0);
    }
}

impl From<domain::JoinRequest> for JoinRequest {
    fn from(request: domain::JoinRequest) -> Self {
        Self {
            secret: Blob(request.secret.reveal().to_vec()),
            signing_request: Text(request.signing_request),
        }
    }
}

impl TryFrom<JoinRequest> for domain::JoinRequest {
    type Error = InvalidMessage;

    fn try_from(mut request: JoinRequest) -> Result<Self, InvalidMessage> {
        let secret = JoinSecret::from_bytes(&request.secret.0)
            .ok_or(InvalidMessage::Form { what: "a join secret", text: "…".to_owned() })?;
        Ok(Self { secret, signing_request: std::mem::take(&mut request.signing_request.0) })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::wire) enum JoinAnswer {
    Joined {
        certificate: Pem,
        authority: Pem,
        agent_address: Text<ADDRESS_LENGTH_MAX>,
        realm: Name,
        host: u32,
        host_name: Name,
    },
    UnknownToken,
    UsedToken {
        at: u64,
    },
    ExpiredToken {
        at: u64,
    },
    RemovedHost,
    SigningRequest(FreeText),
    Unavailable(FreeText),
}

impl From<domain::JoinAnswer> for JoinAnswer {
    fn from(answer: domain::JoinAnswer) -> Self {
        match answer {
            Ok(joined) => Self::Joined {
                certificate: Text(joined.certificate),
                authority: Text(joined.authority),
                agent_address: Text(joined.agent_address),
                realm: to_name(joined.realm),
                host: joined.host.0,
                host_name: to_name(joined.host_name),
            },
            Err(domain::JoinRefusal::UnknownToken) => Self::UnknownToken,
            Err(domain::JoinRefusal::UsedToken { at }) => Self::UsedToken { at: at.0 },
            Err(domain::JoinRefusal::ExpiredToken { at }) => Self::ExpiredToken { at: at.0 },
            Err(domain::JoinRefusal::RemovedHost) => Self::RemovedHost,
            Err(domain::JoinRefusal::SigningRequest(why)) => Self::SigningRequest(to_free_text(&why)),
            Err(domain::JoinRefusal::Unavailable(why)) => Self::Unavailable(to_free_text(&why)),
        }
    }
}

impl TryFrom<JoinAnswer> for domain::JoinAnswer {
    type Error = InvalidMessage;

    fn try_from(answer: JoinAnswer) -> Result<Self, InvalidMessage> {
        use crate::clock::Timestamp;
        Ok(match answer {
            JoinAnswer::Joined { certificate, authority, agent_address, realm, host, host_name } => {
                check_address(&agent_address.0).map_err(|_| InvalidMessage::Form {
                    what: "the coordinator's address",
                    text: printable(&agent_address.0, ADDRESS_LENGTH_MAX),
                })?;
                Ok(domain::Joined {
                    certificate: certificate.0,
                    authority: authority.0,
                    agent_address: agent_address.0,
                    realm: from_name(realm)?,
                    host: HostId(host),
                    host_name: from_name(host_name)?,
                })
            }
            JoinAnswer::UnknownToken => Err(domain::JoinRefusal::UnknownToken),
            JoinAnswer::UsedToken { at } => Err(domain::JoinRefusal::UsedToken { at: Timestamp(at) }),
            JoinAnswer::ExpiredToken { at } => Err(domain::JoinRefusal::ExpiredToken { at: Timestamp(at) }),
            JoinAnswer::RemovedHost => Err(domain::JoinRefusal::RemovedHost),
            JoinAnswer::SigningRequest(why) => Err(domain::JoinRefusal::SigningRequest(from_free_text(&why))),
            JoinAnswer::Unavailable(why) => Err(domain::JoinRefusal::Unavailable(from_free_text(&why))),
        })
    }
}
