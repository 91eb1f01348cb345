//! Owns the four TLS configurations: agent and coordinator, joining host and join server. TLS 1.3 only, one crypto
//! provider named explicitly, and no early data. Only an agent goes on with an earlier session (`session_tickets.rs`).
//!
//! | | proves itself with | asks the other for |
//! |---|---|---|
//! | agent | its host certificate | the coordinator, of the authority it joined |
//! | coordinator | its server certificate | a host certificate of its authority |
//! | joining host | nothing; it has none yet | the coordinator, of the authority its line names |
//! | join server | its server certificate | nothing |

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::{NoServerSessionStorage, WantsServerCert};
use rustls::time_provider::TimeProvider;
use rustls::version::TLS13;
use rustls::{CipherSuite, ClientConfig, ConfigBuilder, ServerConfig};

use super::credentials::Credentials;
use super::fingerprint::CaFingerprint;
use super::session_tickets::{LastTicket, TicketSealer};
use super::verifier::{CoordinatorVerifier, HostVerifier, Trust};
use crate::address_tokens::AddressToken;
use crate::clock::Clock;
use crate::lasting_keys::LastingKeys;
use crate::quic;

/// The protocol between agents and the coordinator. Its generation changes only if `Hello` itself must.
pub const AGENT_ALPN: &[u8] = b"reeve/1";
/// The protocol by which a machine becomes a host.
pub const JOIN_ALPN: &[u8] = b"reeve-join/1";
/// The name in the coordinator's certificate. It is the same wherever the coordinator runs: hosts know it by its
/// authority, and by whatever address the administrator gives.
pub const COORDINATOR_SERVER_NAME: &str = "coordinator.reeve.internal";

/// Why a configuration cannot be made from credentials.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificate, its key or the authority does not work.
    #[error("the certificate, its key and its authority cannot be used together")]
    Rustls(#[source] rustls::Error),
    /// The authority's certificate does not work.
    #[error("the authority's certificate cannot be used: {0}")]
    Verifier(String),
    /// The crypto provider lacks what QUIC starts with; a mistake in how the program was built.
    #[error("the TLS library was built without the cipher suite that QUIC starts with")]
    NoInitialCipherSuite,
}

/// How an agent connects.
///
/// # Errors
/// [`TlsError`] when the credentials cannot be used.
pub fn agent_client_config(
    credentials: &Credentials,
    clock: Arc<dyn Clock>,
) -> Result<quinn::ClientConfig, TlsError> {
    let trust = Trust::Authority(credentials.authority().clone());
    let ticket = LastTicket::new(credentials.facts().not_after, Arc::clone(&clock));
    let mut tls = client_builder(trust, clock)?
        .with_client_auth_cert(credentials.certificate_alone(), credentials.clone_key())
        .map_err(TlsError::Rustls)?;
    tls.alpn_protocols = vec![AGENT_ALPN.to_vec()];
    tls.resumption = Resumption::store(Arc::new(ticket));
    client(tls, quic::agent_transport())
}

/// How a machine connects that wants to become a host.
///
/// # Errors
/// [`TlsError`] when the TLS library refuses, which it has no reason to.
pub fn join_client_config(
    fingerprint: CaFingerprint,
    clock: Arc<dyn Clock>,
) -> Result<quinn::ClientConfig, TlsError> {
    let mut tls = client_builder(Trust::Pinned(fingerprint), clock)?.with_no_client_auth();
    tls.alpn_protocols = vec![JOIN_ALPN.to_vec()];
    tls.resumption = Resumption::disabled();
    client(tls, quic::join_transport())
}

/// How a coordinator serves agents that it will not know again when they come back.
///
/// # Errors
/// [`TlsError`] when the credentials cannot be used.
pub fn coordinator_server_config(
    credentials: &Credentials,
    clock: Arc<dyn Clock>,
) -> Result<quinn::ServerConfig, TlsError> {
    server(coordinator_tls(credentials, clock)?, quic::coordinator_transport())
}

/// How the coordinator serves agents that it will know again when they come back, as will its next life and the next of
/// its certificates, by the same keys.
///
/// # Errors
/// [`TlsError`] when the credentials cannot be used.
pub fn lasting_coordinator_config(
    credentials: &Credentials,
    keys: &LastingKeys,
    clock: Arc<dyn Clock>,
) -> Result<quinn::ServerConfig, TlsError> {
    let mut tls = coordinator_tls(credentials, Arc::clone(&clock))?;
    tls.send_tls13_tickets = 1;
    tls.ticketer = Arc::new(TicketSealer::new(keys.session_tickets(), clock));
    let mut config = server(tls, quic::coordinator_transport())?;
    quic::know_addresses_again(&mut config, keys);
    Ok(config)
}

fn coordinator_tls(credentials: &Credentials, clock: Arc<dyn Clock>) -> Result<ServerConfig, TlsError> {
    let provider = provider();
    let verifier = HostVerifier::new(credentials.authority(), Arc::clone(&provider))?;
    let builder = server_builder(provider, clock)?.with_client_cert_verifier(Arc::new(verifier));
    server_tls(builder, credentials.certificate_alone(), credentials, AGENT_ALPN)
}

/// How the coordinator serves joining hosts.
///
/// # Errors
/// [`TlsError`] when the credentials cannot be used.
pub fn join_server_config(
    credentials: &Credentials,
    clock: Arc<dyn Clock>,
) -> Result<quinn::ServerConfig, TlsError> {
    let builder = server_builder(provider(), clock)?.with_no_client_auth();
    server(server_tls(builder, credentials.chain(), credentials, JOIN_ALPN)?, quic::join_transport())
}

/// The library's own, with another order of the same ciphers. Most of what a connection costs before anything is said is
/// hashing for its keys: processors have instructions for SHA-256, and none for SHA-384.
pub(super) fn provider() -> Arc<CryptoProvider> {
    let mut provider = rustls::crypto::ring::default_provider();
    provider.cipher_suites.sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
    Arc::new(provider)
}

fn client_builder(
    trust: Trust,
    clock: Arc<dyn Clock>,
) -> Result<ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>, TlsError> {
    let provider = provider();
    let verifier = CoordinatorVerifier::new(trust, Arc::clone(&provider)).map_err(TlsError::Rustls)?;
    Ok(ClientConfig::builder_with_details(provider, Arc::new(WallClock(clock)))
        .with_protocol_versions(&[&TLS13])
        .map_err(TlsError::Rustls)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier)))
}

fn server_builder(
    provider: Arc<CryptoProvider>,
    clock: Arc<dyn Clock>,
) -> Result<ConfigBuilder<ServerConfig, rustls::WantsVerifier>, TlsError> {
    ServerConfig::builder_with_details(provider, Arc::new(WallClock(clock)))
        .with_protocol_versions(&[&TLS13])
        .map_err(TlsError::Rustls)
}

fn client(mut tls: ClientConfig, transport: quinn::TransportConfig) -> Result<quinn::ClientConfig, TlsError> {
    tls.enable_early_data = false;
    let crypto = QuicClientConfig::try_from(tls).map_err(|_| TlsError::NoInitialCipherSuite)?;
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(transport)).token_store(Arc::new(AddressToken::default()));
    Ok(config)
}

fn server_tls(
    builder: ConfigBuilder<ServerConfig, WantsServerCert>,
    chain: Vec<CertificateDer<'static>>,
    credentials: &Credentials,
    protocol: &[u8],
) -> Result<ServerConfig, TlsError> {
    let mut tls = builder.with_single_cert(chain, credentials.clone_key()).map_err(TlsError::Rustls)?;
    tls.alpn_protocols = vec![protocol.to_vec()];
    tls.max_early_data_size = 0;
    tls.send_tls13_tickets = 0;
    tls.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(tls)
}

fn server(tls: ServerConfig, transport: quinn::TransportConfig) -> Result<quinn::ServerConfig, TlsError> {
    let crypto = QuicServerConfig::try_from(tls).map_err(|_| TlsError::NoInitialCipherSuite)?;
    Ok(quic::bounded_server(Arc::new(crypto), transport))
}

/// Gives rustls the product's own clock.
struct WallClock(Arc<dyn Clock>);

impl TimeProvider for WallClock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_millis(self.0.now().0)))
    }
}

impl fmt::Debug for WallClock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("WallClock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_agreed_on_with_the_hash_that_processors_have_and_no_cipher_is_lost() {
        let ciphers = provider().cipher_suites.clone();
        assert_eq!(ciphers.first().unwrap().suite(), CipherSuite::TLS13_AES_128_GCM_SHA256);
        assert_eq!(ciphers.len(), rustls::crypto::ring::default_provider().cipher_suites.len());
    }
}
