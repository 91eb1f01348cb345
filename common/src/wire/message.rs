//! Owns which wire types a message has in which version: the only place where versions fork.

use std::any::TypeId;

use super::codec::{self, DecodeError, EncodeError};
use super::limits;
use super::v1;
use super::v2;
use super::version::ProtocolVersion;
use crate::protocol::{Command, Event, Hello, Reply, Welcome};
use crate::utilization::HostSample;

pub use super::v1::InvalidMessage;

/// Why bytes are no message that can be acted on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// The bytes have not the form of a message.
    #[error("the message cannot be read")]
    Decode(#[from] DecodeError),
    /// They have, and it says something impossible.
    #[error("the message makes no sense")]
    Invalid(#[from] InvalidMessage),
    /// The version is not one that this release speaks.
    #[error("protocol version {0} is not spoken here")]
    Version(ProtocolVersion),
}

/// A message that has a form on the wire in each version.
pub trait Message: Sized {
    /// What it is called in errors.
    const KIND: &'static str;
    /// The longest frame it may come in.
    const FRAME_MAX: usize;

    /// Which form it has in a version: in two versions of the same form it has the same bytes. None where the version is not
    /// spoken here.
    fn form(version: ProtocolVersion) -> Option<TypeId>;

    /// Writes it as bytes of `version`.
    ///
    /// # Errors
    /// [`EncodeError`] when something in it is larger than the version allows.
    fn encode(self, version: ProtocolVersion) -> Result<Vec<u8>, EncodeError>;

    /// Reads it from bytes of `version`.
    ///
    /// # Errors
    /// [`MessageError`] when the bytes are none, or say something that no such message may say.
    fn decode(version: ProtocolVersion, bytes: &[u8]) -> Result<Self, MessageError>;
}

macro_rules! message {
    ($domain:ident, $kind:literal, $frame_max:path, $($($version:literal)|+ => $wire:ty),+) => {
        impl Message for $domain {
            const KIND: &'static str = $kind;
            const FRAME_MAX: usize = $frame_max;

            fn form(version: ProtocolVersion) -> Option<TypeId> {
                match version.0 {
                    $($($version)|+ => Some(TypeId::of::<$wire>()),)+
                    _ => None,
                }
            }

            fn encode(self, version: ProtocolVersion) -> Result<Vec<u8>, EncodeError> {
                match version.0 {
                    $($($version)|+ => codec::encode(&<$wire>::from(self)),)+
                    _ => Err(EncodeError::version(version)),
                }
            }

            #[allow(clippy::useless_conversion)] // some conversions cannot fail, most can
            fn decode(version: ProtocolVersion, bytes: &[u8]) -> Result<Self, MessageError> {
                match version.0 {
                    $($($version)|+ => Self::try_from(codec::decode::<$wire>(bytes)?)
                        .map_err(InvalidMessage::from)
                        .map_err(Into::into),)+
                    _ => Err(MessageError::Version(version)),
                }
            }
        }
    };
}

message!(Hello, "hello", limits::HANDSHAKE_FRAME_MAX, 1 | 2 => v1::Hello);
message!(Welcome, "welcome", limits::HANDSHAKE_FRAME_MAX, 1 | 2 => v1::Welcome);
message!(Command, "command", limits::COMMAND_FRAME_MAX, 1 | 2 => v1::Command);
message!(Reply, "reply", limits::REPLY_FRAME_MAX, 1 => v1::Reply, 2 => v2::Reply);
message!(Event, "event", limits::EVENT_FRAME_MAX, 1 => v1::Event, 2 => v2::Event);
message!(HostSample, "sample", limits::SAMPLE_FRAME_MAX, 1 | 2 => v1::HostSample);
