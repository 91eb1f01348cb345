//! Owns who is let through TLS: chain, validity and purpose are checked by webpki; here the identity is added, and
//! each failure gets the alert that tells the other side what is wrong.
//!
//! Must not: look at a host's records. Whether a host has been removed is asked after `Hello`.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible, RootCertStore, SignatureScheme,
};

use super::certificate::{CertificateFacts, key_fingerprint};
use super::configuration::TlsError;
use super::fingerprint::CaFingerprint;
use super::identity::Identity;
use super::refusal::TlsRefusal;
use crate::clock::Timestamp;

/// Gives each refusal its own alert; see `refusal.rs`.
fn with_own_alert(error: Error) -> Error {
    match error {
        Error::InvalidCertificate(cause) => {
            Error::InvalidCertificate(TlsRefusal::from_certificate_error(&cause).to_certificate_error())
        }
        other => other,
    }
}

fn refuse(refusal: TlsRefusal) -> Error {
    Error::InvalidCertificate(refusal.to_certificate_error())
}

fn roots_of(authority: CertificateDer<'_>) -> Result<Arc<RootCertStore>, Error> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.into_owned())?;
    Ok(Arc::new(roots))
}

/// TLS 1.2 is off on both sides; a signature of it is never asked for.
fn no_tls12() -> Result<HandshakeSignatureValid, Error> {
    Err(Error::PeerIncompatible(PeerIncompatible::Tls12NotOffered))
}

/// Lets hosts of one authority in, and nobody else.
#[derive(Debug)]
pub(super) struct HostVerifier {
    chain: Arc<dyn ClientCertVerifier>,
}

impl HostVerifier {
    pub(super) fn new(
        authority: &CertificateDer<'_>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, TlsError> {
        let roots = roots_of(authority.clone()).map_err(TlsError::Rustls)?;
        let chain = WebPkiClientVerifier::builder_with_provider(roots, provider)
            .clear_root_hint_subjects()
            .build()
            .map_err(|error| TlsError::Verifier(error.to_string()))?;
        Ok(Self { chain })
    }
}

impl ClientCertVerifier for HostVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn client_auth_mandatory(&self) -> bool {
        true
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified =
            self.chain.verify_client_cert(end_entity, intermediates, now).map_err(with_own_alert)?;
        let facts = CertificateFacts::read(end_entity).map_err(|_| refuse(TlsRefusal::Unusable))?;
        match facts.identity {
            Identity::Host { .. } if facts.for_clients && !facts.for_servers => Ok(verified),
            _ => Err(refuse(TlsRefusal::WrongRole)),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

/// Checks a host certificate that was received, as the coordinator will check it: its authority, its time, its purpose.
///
/// # Errors
/// [`TlsRefusal`] says why the coordinator would refuse it.
pub fn verify_host_certificate(
    certificate: &CertificateDer<'_>,
    authority: &CertificateDer<'_>,
    now: Timestamp,
) -> Result<CertificateFacts, TlsRefusal> {
    let verifier =
        HostVerifier::new(authority, super::configuration::provider()).map_err(|_| TlsRefusal::Unusable)?;
    let now = UnixTime::since_unix_epoch(Duration::from_millis(now.0));
    match verifier.verify_client_cert(certificate, &[], now) {
        Ok(_) => CertificateFacts::read(certificate).map_err(|_| TlsRefusal::Unusable),
        Err(Error::InvalidCertificate(cause)) => Err(TlsRefusal::from_certificate_error(&cause)),
        Err(_) => Err(TlsRefusal::Unusable),
    }
}

/// Which authority a coordinator must prove itself with.
#[derive(Debug)]
pub(super) enum Trust {
    /// One that is known: a joined host has its certificate.
    Authority(CertificateDer<'static>),
    /// One of which a joining host knows the fingerprint; the server sends the certificate along.
    Pinned(CaFingerprint),
}

/// Accepts the coordinator, and nobody else.
#[derive(Debug)]
pub(super) struct CoordinatorVerifier {
    trust: Trust,
    /// The check of chains up to an authority that is known beforehand, made once and not for each connection.
    chain: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl CoordinatorVerifier {
    pub(super) fn new(trust: Trust, provider: Arc<CryptoProvider>) -> Result<Self, Error> {
        let algorithms = provider.signature_verification_algorithms;
        let chain = match &trust {
            Trust::Authority(authority) => Some(chain_up_to(authority.clone(), &provider)?),
            Trust::Pinned(_) => None,
        };
        Ok(Self { trust, chain, provider, algorithms })
    }

    fn chain(&self, sent: &[CertificateDer<'_>]) -> Result<Arc<WebPkiServerVerifier>, Error> {
        match (&self.chain, &self.trust) {
            (Some(chain), _) => Ok(Arc::clone(chain)),
            (None, trust) => chain_up_to(trust.authority(sent)?, &self.provider),
        }
    }
}

fn chain_up_to(
    authority: CertificateDer<'_>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, Error> {
    WebPkiServerVerifier::builder_with_provider(roots_of(authority)?, Arc::clone(provider))
        .build()
        .map_err(|error| Error::General(error.to_string()))
}

impl Trust {
    fn authority<'a>(&'a self, sent: &'a [CertificateDer<'a>]) -> Result<CertificateDer<'a>, Error> {
        match self {
            Self::Authority(authority) => Ok(authority.clone()),
            Self::Pinned(fingerprint) => sent
                .iter()
                .find(|certificate| key_fingerprint(certificate).is_ok_and(|found| found == *fingerprint))
                .cloned()
                .ok_or_else(|| refuse(TlsRefusal::WrongFingerprint)),
        }
    }
}

impl ServerCertVerifier for CoordinatorVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self
            .chain(intermediates)?
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            .map_err(with_own_alert)?;
        let facts = CertificateFacts::read(end_entity).map_err(|_| refuse(TlsRefusal::Unusable))?;
        if facts.identity == Identity::Coordinator && facts.for_servers && !facts.for_clients {
            Ok(verified)
        } else {
            Err(refuse(TlsRefusal::WrongRole))
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
