//! Owns how the messages of `protocol` cross the network as bytes, and both ends of the link.
//!
//! ```text
//!   protocol (domain) ⇄ v1, v2 (frozen wire types) ⇄ codec (bytes) ⇄ frame (length) ⇄ QUIC streams
//! ```
//!
//! Must not: decide what a message means. Wire types never leave this module; what comes out has been checked.

pub mod agent_end;
pub mod arbitrary_bytes;
mod bounded;
mod codec;
pub mod coordinator_end;
mod coordinator_session;
pub mod frame;
pub mod handshake;
pub mod join;
pub mod limits;
mod link;
pub mod message;
mod session;
mod signs;
mod silence;
mod v1;
mod v2;
pub mod version;

pub use codec::{DecodeError, EncodeError, MESSAGE_LENGTH_MAX};
pub use link::{CloseReason, LinkError, RefusalCode};
pub use message::MessageError;
