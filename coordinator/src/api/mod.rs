//! The coordinator's API: HTTP and JSON on a UNIX socket.
//!
//! ```text
//!   socket ─▶ server (who is it? how many? how long?) ─▶ routes/ ─▶ Service
//!                                                          │
//!                                          types/ ◀── conversions/
//! ```
//!
//! Must not: decide anything about hosts or VMs; that is the service's. A question that changes something is carried
//! to its end even if whoever asked goes away in the middle.

mod access;
mod answer;
mod conversions;
mod openapi;
mod question;
mod recording;
mod routes;
mod server;
mod socket;
pub mod types;

pub use self::openapi::document;
pub use self::server::{ApiSocket, ServeError, serve};
pub use self::socket::BindError;
