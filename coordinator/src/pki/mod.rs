//! Owns who is vouched for: the certificate authority, the certificates it issues, and the tokens by which a machine
//! becomes a host.
//!
//! Must not: know which hosts exist or store tokens (the store does, behind [`TokenBook`]), or speak on the network
//! (`enrolment.rs` does).

mod authority;
mod checkpoint_signer;
mod join_token;
mod server_certificate;
mod signing_request;

pub use authority::{Authority, AuthorityError, HOST_CERTIFICATE_LIFETIME, IssueError, IssuedCertificate};
pub use checkpoint_signer::CheckpointSigner;
pub use join_token::{JOIN_TOKEN_LIFETIME, JoinToken, JoiningHost, MemoryTokenBook, TokenBook, TokenRefusal};
pub use reeve_common::tls::{CaFingerprint, JoinLine, JoinSecret, SecretHash};
pub use server_certificate::{RenewError, ServedPort, ServerCertificate};
pub use signing_request::{RequestRefusal, SigningRequest};
