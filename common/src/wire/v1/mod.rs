//! Owns the messages of protocol version 1 as they are on the wire. **Frozen**: a released enum only gets new variants
//! at its end, a released struct nothing at all; anything else is `v2`. `tests/golden.rs` holds the exact bytes.
//!
//! Each type converts from the domain's (`From`) and to it (`TryFrom`). The way in checks names, ranges and text
//! again: the other side may be another release, or no friend.
//!
//! Must not: hold a domain type, recurse, or have a type without size.

mod adoption;
mod checkpoint;
mod command;
mod description;
mod event;
mod hello;
mod inventory;
mod join;
mod journal;
mod observation;
mod sample;
mod storage;
mod vm;

use std::time::Duration;

pub(super) use command::{Command, Reply};
pub(super) use event::Event;
pub(super) use hello::{Hello, Welcome};
pub(super) use join::{JoinAnswer, JoinRequest};
pub(super) use sample::HostSample;
use uuid::Uuid;

use super::bounded::Text;
use super::limits;
use crate::ids::InvalidName;
use crate::text;

/// Why a message that decoded well makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMessage {
    /// A name is none.
    #[error("a name in the message is not allowed")]
    Name(#[from] InvalidName),
    /// A number is not in its range.
    #[error("{what} is {value}, allowed are {minimum} to {maximum}")]
    OutOfRange {
        /// What the number says.
        what: &'static str,
        /// The number.
        value: u64,
        /// The least allowed.
        minimum: u64,
        /// The most allowed.
        maximum: u64,
    },
    /// A text is not of its form.
    #[error("{what} is not of the form it must have: {text:?}")]
    Form {
        /// What the text says.
        what: &'static str,
        /// The text, made printable.
        text: String,
    },
}

impl From<std::convert::Infallible> for InvalidMessage {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

/// A name on the wire.
type Name = Text<{ limits::NAME_LENGTH_MAX }>;
/// Free text on the wire.
type FreeText = Text<{ limits::TEXT_LENGTH_MAX }>;
/// A PEM text on the wire.
type Pem = Text<{ limits::PEM_LENGTH_MAX }>;
/// A UUID on the wire.
type Id = [u8; 16];

fn to_name(name: impl Into<String>) -> Name {
    Text(name.into())
}

fn from_name<T: TryFrom<String, Error = InvalidName>>(name: Name) -> Result<T, InvalidMessage> {
    Ok(T::try_from(name.0)?)
}

/// Free text is made harmless on both sides: the sender so that it fits, the receiver because it does not trust.
fn to_free_text(text: &str) -> FreeText {
    Text(text::printable(text, text::TEXT_LENGTH_MAX))
}

fn from_free_text(text: &FreeText) -> String {
    text::printable(&text.0, text::TEXT_LENGTH_MAX)
}

const fn to_id(id: Uuid) -> Id {
    id.into_bytes()
}

const fn from_id(id: Id) -> Uuid {
    Uuid::from_bytes(id)
}

fn to_milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn from_milliseconds(what: &'static str, value: u64, minimum: Duration) -> Result<Duration, InvalidMessage> {
    in_range(what, value, to_milliseconds(minimum), to_milliseconds(limits::DURATION_MAX))
        .map(Duration::from_millis)
}

fn in_range(what: &'static str, value: u64, minimum: u64, maximum: u64) -> Result<u64, InvalidMessage> {
    if (minimum..=maximum).contains(&value) {
        Ok(value)
    } else {
        Err(InvalidMessage::OutOfRange { what, value, minimum, maximum })
    }
}

/// Defines a wire enum that has the same variants as one of the domain, without fields, and converts both ways.
macro_rules! mirrored_enum {
    ($(#[$doc:meta])* $wire:ident mirrors $domain:path { $($variant:ident),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        pub(in crate::wire) enum $wire { $($variant),+ }

        impl From<$domain> for $wire {
            fn from(value: $domain) -> Self {
                match value { $(<$domain>::$variant => Self::$variant),+ }
            }
        }

        impl From<$wire> for $domain {
            fn from(value: $wire) -> Self {
                match value { $($wire::$variant => Self::$variant),+ }
            }
        }
    };
}
use mirrored_enum;
