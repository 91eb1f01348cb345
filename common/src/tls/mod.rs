//! Owns identity on the network: who a certificate names, whom each side accepts, and the words for a refusal.
//!
//! Must not: issue certificates (the coordinator's `pki` does), keep files, or know a message.

pub mod certificate;
mod configuration;
mod credentials;
mod fingerprint;
mod identity;
mod join_line;
mod refusal;
mod session_tickets;
mod verifier;

pub use certificate::{CertificateFacts, InvalidCertificate, SerialNumber};
pub use configuration::{
    AGENT_ALPN, COORDINATOR_SERVER_NAME, JOIN_ALPN, TlsError, agent_client_config, coordinator_server_config,
    join_client_config, join_server_config, lasting_coordinator_config,
};
pub use credentials::{Credentials, InvalidCredentials};
pub use fingerprint::{CaFingerprint, InvalidFingerprint, KeyFingerprint, sha256};
pub use identity::{Identity, InvalidIdentity};
pub use join_line::{
    InvalidJoinLine, InvalidSecretHash, JoinLine, JoinSecret, NoRandomness, SecretHash, check_address,
};
pub use refusal::{Side, TlsRefusal};
pub use verifier::verify_host_certificate;
