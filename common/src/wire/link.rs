//! Owns how a connection ends, in words: the codes one side closes with, and what the other makes of them.

use std::fmt;

use quinn::{ConnectionError, VarInt};

use super::codec::EncodeError;
use crate::ids::OperationId;
use crate::text::printable;
use crate::tls::{Side, TlsRefusal};

/// As much of the other side's words as is kept.
pub(super) const REASON_LENGTH_MAX: usize = 512;

/// Why one side closes a connection. The numbers are part of the protocol: they are only ever added to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefusalCode {
    /// Nothing is wrong: the side that closes has no more to say.
    Finished,
    /// No protocol version is common to both.
    VersionMismatch,
    /// `Hello` names another host than the certificate.
    WrongHost,
    /// `Hello` names another realm than the certificate, or the host has moved to another realm.
    WrongRealm,
    /// The host has been removed, or never was.
    RemovedHost,
    /// Another agent with the same identity is connected: a cloned disk.
    DuplicateAgent,
    /// The same agent has connected anew.
    Replaced,
    /// The certificate's time has run out while the connection stood.
    CertificateExpired,
    /// What was sent is no message, or not one that may be sent here and now.
    ProtocolViolation,
    /// Something was awaited for too long.
    TooSlow,
    /// The side that closes is going down.
    ShuttingDown,
    /// The coordinator is not the one in office now.
    NotInOffice,
    /// No place is free now.
    TooBusy,
    /// A code of a later release.
    Other(u32),
}

impl RefusalCode {
    const NUMBERED: [(Self, u32); 13] = [
        (Self::Finished, 0),
        (Self::VersionMismatch, 1),
        (Self::WrongHost, 2),
        (Self::WrongRealm, 3),
        (Self::RemovedHost, 4),
        (Self::DuplicateAgent, 5),
        (Self::Replaced, 6),
        (Self::CertificateExpired, 7),
        (Self::ProtocolViolation, 8),
        (Self::TooSlow, 9),
        (Self::ShuttingDown, 10),
        (Self::NotInOffice, 11),
        (Self::TooBusy, 12),
    ];

    /// Whether the same agent may well be let in later without anybody doing anything.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        matches!(
            self,
            Self::Finished
                | Self::Replaced
                | Self::CertificateExpired
                | Self::TooSlow
                | Self::ShuttingDown
                | Self::NotInOffice
                | Self::TooBusy
        )
    }

    /// Its number in the protocol.
    #[must_use]
    pub fn number(self) -> VarInt {
        let numbered = Self::NUMBERED.iter().find(|(code, _)| *code == self).map(|(_, number)| *number);
        VarInt::from_u32(match (numbered, self) {
            (Some(number), _) | (None, Self::Other(number)) => number,
            (None, _) => u32::MAX,
        })
    }

    pub(super) fn from_number(number: VarInt) -> Self {
        let number = u32::try_from(number.into_inner()).unwrap_or(u32::MAX);
        Self::NUMBERED
            .iter()
            .find(|(_, known)| *known == number)
            .map_or(Self::Other(number), |(code, _)| *code)
    }

    /// What an agent's administrator should know and do.
    #[must_use]
    pub const fn advice_to_host(self) -> &'static str {
        match self {
            Self::Finished => "the coordinator closed the connection",
            Self::VersionMismatch => {
                "agent and coordinator have no protocol version in common: upgrade the older one"
            }
            Self::WrongHost => {
                "this agent takes itself for another host than its certificate names: its identity directory is mixed up; join the host again with a new line from `reeve host join-token`"
            }
            Self::WrongRealm => {
                "this agent takes itself for a host of another realm than its certificate or the coordinator's records name: join the host again with a new line from `reeve host join-token`"
            }
            Self::RemovedHost => {
                "this host has been removed from the coordinator: if that was a mistake, add it again and join it with a new line from `reeve host join-token`"
            }
            Self::DuplicateAgent => {
                "another agent is connected with this host's identity, as after cloning a disk: remove the identity directory of the copy and join it as a host of its own"
            }
            Self::Replaced => "this agent has connected anew, and its older connection was closed",
            Self::CertificateExpired => {
                "this host's certificate expired while it was connected: the agent connects again with the renewed one; if there is none, join the host again with a new line from `reeve host join-token`"
            }
            Self::ProtocolViolation => {
                "the coordinator could not understand what this agent sent: check that their releases go together"
            }
            Self::TooSlow => {
                "the coordinator waited too long for this agent: check the network and the host's load"
            }
            Self::ShuttingDown => "the coordinator is going down; the agent connects again when it is back",
            Self::NotInOffice => "this coordinator is not in office now; the agent tries again",
            Self::TooBusy => "the coordinator has no place free now; the agent tries again",
            Self::Other(_) => "the coordinator gave a reason of a later release: upgrade the agent",
        }
    }
}

impl fmt::Display for RefusalCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Finished => "finished",
            Self::VersionMismatch => "no common protocol version",
            Self::WrongHost => "wrong host",
            Self::WrongRealm => "wrong realm",
            Self::RemovedHost => "host removed",
            Self::DuplicateAgent => "duplicate agent",
            Self::Replaced => "replaced by a newer connection",
            Self::CertificateExpired => "certificate expired",
            Self::ProtocolViolation => "protocol violation",
            Self::TooSlow => "too slow",
            Self::ShuttingDown => "shutting down",
            Self::NotInOffice => "not in office",
            Self::TooBusy => "too busy",
            Self::Other(number) => return write!(formatter, "reason {number}"),
        })
    }
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// The other side closed it and said why.
    #[error("closed by the other side ({code}): {text}")]
    ByPeer {
        /// The reason.
        code: RefusalCode,
        /// In its words, made printable.
        text: String,
    },
    /// This side closed it.
    #[error("closed here ({code}): {text}")]
    Here {
        /// The reason.
        code: RefusalCode,
        /// In our words.
        text: String,
    },
    /// The other side did not accept this side's certificate.
    #[error("{}", refusal.advice_to_refused(*own))]
    RefusedByPeer {
        /// Why.
        refusal: TlsRefusal,
        /// Who we are.
        own: Side,
    },
    /// This side did not accept the other's certificate.
    #[error("{}", refusal.advice_to_refuser(*own))]
    RefusedHere {
        /// Why.
        refusal: TlsRefusal,
        /// Who we are.
        own: Side,
    },
    /// Nothing was heard any more.
    #[error("nothing was heard from the other side any more: check the network, and whether it still runs")]
    Silent,
    /// The other side has forgotten the connection: it was restarted.
    #[error("the other side does not know the connection any more: it was probably restarted")]
    Forgotten,
    /// QUIC failed.
    #[error("the connection failed: {0}")]
    Transport(String),
}

impl CloseReason {
    /// What the library says, in our words. `own` is this side.
    pub(super) fn from_quic(error: &ConnectionError, own: Side) -> Self {
        match error {
            ConnectionError::ApplicationClosed(close) => Self::ByPeer {
                code: RefusalCode::from_number(close.error_code),
                text: printable(&String::from_utf8_lossy(&close.reason), REASON_LENGTH_MAX),
            },
            ConnectionError::ConnectionClosed(close) => {
                match TlsRefusal::from_quic_code(u64::from(close.error_code)) {
                    Some(refusal) => Self::RefusedByPeer { refusal, own },
                    None => Self::Transport(printable(&error.to_string(), REASON_LENGTH_MAX)),
                }
            }
            ConnectionError::TransportError(failure) => {
                match TlsRefusal::from_quic_code(u64::from(failure.code)) {
                    Some(refusal) => Self::RefusedHere { refusal, own },
                    None => Self::Transport(printable(&error.to_string(), REASON_LENGTH_MAX)),
                }
            }
            ConnectionError::TimedOut => Self::Silent,
            ConnectionError::Reset => Self::Forgotten,
            ConnectionError::LocallyClosed => {
                Self::Here { code: RefusalCode::Finished, text: "no more to say".to_owned() }
            }
            ConnectionError::VersionMismatch | ConnectionError::CidsExhausted => {
                Self::Transport(error.to_string())
            }
        }
    }

    /// What the library says, as the coordinator sees it.
    #[must_use]
    pub fn at_coordinator(error: &ConnectionError) -> Self {
        Self::from_quic(error, Side::Coordinator)
    }

    /// What the library says, as a host sees it.
    #[must_use]
    pub fn at_host(error: &ConnectionError) -> Self {
        Self::from_quic(error, Side::Host)
    }

    /// Whether connecting again may help without anybody doing anything.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::ByPeer { code, .. } | Self::Here { code, .. } => code.is_retryable(),
            // Clocks are corrected and certificates renewed without the agent's doing.
            Self::RefusedByPeer { refusal, .. } | Self::RefusedHere { refusal, .. } => {
                matches!(refusal, TlsRefusal::NotYetValid)
            }
            Self::Silent | Self::Forgotten | Self::Transport(_) => true,
        }
    }
}

/// Why something could not be sent, asked or received.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// The connection is over.
    #[error("the connection is over")]
    Closed(#[source] CloseReason),
    /// No reply came in time. The command may have been carried out; repeat it or ask for a report.
    #[error("no reply to operation {operation} within {seconds} s")]
    NoReply {
        /// The command's.
        operation: OperationId,
        /// How long it was waited for.
        seconds: u64,
    },
    /// A command with the same operation is under way already.
    #[error("operation {operation} is under way already")]
    OperationInUse {
        /// The command's.
        operation: OperationId,
    },
    /// The message is larger than the other side takes.
    #[error("the message is larger than the other side takes")]
    TooLarge(#[source] EncodeError),
}

impl LinkError {
    /// Whether the same may succeed later, on this connection or the next.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Closed(_) | Self::NoReply { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_reads_back_as_it_was_sent_and_keeps_its_number() {
        for (index, (code, number)) in RefusalCode::NUMBERED.into_iter().enumerate() {
            assert_eq!(u64::try_from(index).unwrap(), u64::from(number), "{code} has lost its number");
            assert_eq!(RefusalCode::from_number(code.number()), code);
        }
        assert_eq!(RefusalCode::from_number(VarInt::from_u32(77)), RefusalCode::Other(77));
        assert_eq!(RefusalCode::Other(77).number(), VarInt::from_u32(77));
    }
}
