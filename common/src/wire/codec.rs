//! Owns the only use of bincode: how a wire type becomes bytes and back. Everything bincode is known to get wrong is
//! held off here or by the types in `bounded.rs`.
//!
//! | trap | answer |
//! |---|---|
//! | lengths that outsiders choose | borrowed decoding, a limit, and types that carry their own limits |
//! | trailing bytes pass unnoticed | the used length is compared |
//! | an enum variant put in the middle decodes as another | wire enums are append-only; golden bytes hold them |
//! | recursive types overflow the stack, zero-sized ones multiply | there are none |

use serde::{Deserialize, Serialize};

use super::version::ProtocolVersion;

/// The longest message of any kind. A report of the most VMs that a host may have fits with room to spare.
pub const MESSAGE_LENGTH_MAX: usize = 4 << 20;

/// The layout: variable-length integers, lowest byte first; frozen with protocol version 1.
const LAYOUT: bincode::config::Configuration<
    bincode::config::LittleEndian,
    bincode::config::Varint,
    bincode::config::Limit<MESSAGE_LENGTH_MAX>,
> = bincode::config::standard().with_limit::<MESSAGE_LENGTH_MAX>();

/// Why a message cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the message cannot be sent: {why}")]
pub struct EncodeError {
    why: String,
}

impl EncodeError {
    pub(super) fn frame(kind: &str, length: usize, length_max: usize) -> Self {
        Self { why: format!("a {kind} of {length} bytes, at most {length_max} allowed") }
    }

    pub(super) fn version(version: ProtocolVersion) -> Self {
        Self { why: format!("protocol version {version} is not spoken here") }
    }
}

/// Why bytes are no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// They do not have the form of one.
    #[error("the bytes are no message: {why}")]
    Malformed {
        /// What the decoder found.
        why: String,
    },
    /// A message, and something behind it.
    #[error("{count} bytes follow the message")]
    TrailingBytes {
        /// How many.
        count: usize,
    },
    /// Longer than any message.
    #[error("{length} bytes are more than any message has")]
    TooLong {
        /// How many.
        length: usize,
    },
}

/// Writes a wire type as bytes.
///
/// # Errors
/// [`EncodeError`] when a text or list is longer than its type allows.
pub(super) fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, EncodeError> {
    let bytes = bincode::serde::encode_to_vec(message, LAYOUT)
        .map_err(|error| EncodeError { why: describe_encode(error) })?;
    if bytes.len() > MESSAGE_LENGTH_MAX {
        return Err(EncodeError {
            why: format!("it has {} bytes, at most {MESSAGE_LENGTH_MAX} allowed", bytes.len()),
        });
    }
    Ok(bytes)
}

/// Reads a wire type from exactly these bytes.
///
/// # Errors
/// [`DecodeError`] when they are not the whole of one message and nothing else.
pub(super) fn decode<'bytes, T: Deserialize<'bytes>>(bytes: &'bytes [u8]) -> Result<T, DecodeError> {
    if bytes.len() > MESSAGE_LENGTH_MAX {
        return Err(DecodeError::TooLong { length: bytes.len() });
    }
    let (message, used) = bincode::serde::borrow_decode_from_slice(bytes, LAYOUT)
        .map_err(|error| DecodeError::Malformed { why: describe_decode(error) })?;
    match bytes.len().saturating_sub(used) {
        0 => Ok(message),
        count => Err(DecodeError::TrailingBytes { count }),
    }
}

fn describe_encode(error: bincode::error::EncodeError) -> String {
    match error {
        bincode::error::EncodeError::OtherString(why) => why,
        other => other.to_string(),
    }
}

fn describe_decode(error: bincode::error::DecodeError) -> String {
    match error {
        bincode::error::DecodeError::OtherString(why) => why,
        bincode::error::DecodeError::UnexpectedEnd { .. } => "they end too early".to_owned(),
        other => other.to_string(),
    }
}
