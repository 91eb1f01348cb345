//! Owns what is read out of a certificate: whose it is, how long it is good, which key it speaks for.
//!
//! Must not: decide whether to trust one. These are the certificate's own words; `verifier.rs` checks who wrote them.

use std::fmt;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;
use x509_parser::time::ASN1Time;

use super::fingerprint::KeyFingerprint;
use super::identity::{Identity, InvalidIdentity};
use crate::clock::Timestamp;

/// A certificate of ours has about 500 bytes and its PEM 700; what is far larger is not looked at.
pub const CERTIFICATE_PEM_LENGTH_MAX: usize = 8 * 1024;

/// A certificate is renewed when this part of its life is over, in thirds.
const RENEWAL_THIRDS: u32 = 2;

/// What a certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Whom it names.
    pub identity: Identity,
    /// Its number, unique with its authority.
    pub serial: SerialNumber,
    /// Not good before.
    pub not_before: Timestamp,
    /// Not good after.
    pub not_after: Timestamp,
    /// The key it speaks for.
    pub key: KeyFingerprint,
    /// May prove a server.
    pub for_servers: bool,
    /// May prove a client.
    pub for_clients: bool,
}

impl CertificateFacts {
    /// Reads them from a DER-encoded certificate.
    ///
    /// # Errors
    /// [`InvalidCertificate`] when it is none, or not one of this product's.
    pub fn read(der: &CertificateDer<'_>) -> Result<Self, InvalidCertificate> {
        let (rest, certificate) =
            X509Certificate::from_der(der).map_err(|_| InvalidCertificate::Malformed)?;
        if !rest.is_empty() {
            return Err(InvalidCertificate::Malformed);
        }
        let usage = certificate.extended_key_usage().map_err(|_| InvalidCertificate::Malformed)?;
        let (for_servers, for_clients) =
            usage.map_or((false, false), |usage| (usage.value.server_auth, usage.value.client_auth));
        Ok(Self {
            identity: identity_of(&certificate)?,
            serial: SerialNumber(certificate.raw_serial().to_vec()),
            not_before: timestamp(certificate.validity().not_before),
            not_after: timestamp(certificate.validity().not_after),
            key: KeyFingerprint::of_public_key(certificate.public_key().raw),
            for_servers,
            for_clients,
        })
    }

    /// Reads them from the first certificate of a PEM text.
    ///
    /// # Errors
    /// [`InvalidCertificate`] when there is none, or not one of this product's.
    pub fn read_pem(pem: &str) -> Result<Self, InvalidCertificate> {
        Self::read(&certificate_from_pem(pem)?)
    }

    /// Whether `now` lies in the last third of its life, or beyond it.
    #[must_use]
    pub fn needs_renewal(&self, now: Timestamp) -> bool {
        let life = self.not_after.since(self.not_before);
        now >= self.not_before.after(life * RENEWAL_THIRDS / 3)
    }

    /// How long it is still good; zero when it is not any more.
    #[must_use]
    pub fn time_left(&self, now: Timestamp) -> Duration {
        self.not_after.since(now)
    }
}

/// The fingerprint of any certificate's key, of whoever it is.
///
/// # Errors
/// [`InvalidCertificate`] when it is no certificate.
pub fn key_fingerprint(der: &CertificateDer<'_>) -> Result<KeyFingerprint, InvalidCertificate> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|_| InvalidCertificate::Malformed)?;
    Ok(KeyFingerprint::of_public_key(certificate.public_key().raw))
}

/// The first certificate of a PEM text.
///
/// # Errors
/// [`InvalidCertificate`] when there is none, or it is too long to be one of ours.
pub fn certificate_from_pem(pem: &str) -> Result<CertificateDer<'static>, InvalidCertificate> {
    if pem.len() > CERTIFICATE_PEM_LENGTH_MAX {
        return Err(InvalidCertificate::TooLong { length: pem.len() });
    }
    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| InvalidCertificate::Malformed)
}

fn identity_of(certificate: &X509Certificate<'_>) -> Result<Identity, InvalidCertificate> {
    let names = certificate.subject_alternative_name().map_err(|_| InvalidCertificate::Malformed)?;
    let mut uris =
        names.iter().flat_map(|extension| &extension.value.general_names).filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        });
    match (uris.next(), uris.next()) {
        (Some(uri), None) => Ok(uri.parse()?),
        (Some(_), Some(_)) => Err(InvalidCertificate::SeveralIdentities),
        (None, _) => Err(InvalidCertificate::NoIdentity),
    }
}

fn timestamp(time: ASN1Time) -> Timestamp {
    let seconds = u64::try_from(time.timestamp()).unwrap_or(0);
    Timestamp(seconds.saturating_mul(1000))
}

/// A certificate's number, shown in hexadecimal.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SerialNumber(Vec<u8>);

impl SerialNumber {
    /// From its bytes, the highest first.
    #[must_use]
    pub const fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for SerialNumber {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // RFC 5280 allows 20 bytes; a foreign certificate may still carry more.
        self.0.iter().take(20).try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for SerialNumber {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// Why a certificate cannot be read as one of this product's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCertificate {
    /// It is not a certificate in DER or PEM.
    #[error("it is not a readable certificate")]
    Malformed,
    /// Far longer than ours are.
    #[error("it has {length} bytes, and certificates here have at most {CERTIFICATE_PEM_LENGTH_MAX}")]
    TooLong {
        /// Its length.
        length: usize,
    },
    /// Its subject alternative names hold no URI.
    #[error("it names no identity of the form reeve://…")]
    NoIdentity,
    /// They hold more than one.
    #[error("it names more than one identity")]
    SeveralIdentities,
    /// The one they hold is none.
    #[error("it names an identity that is none")]
    Identity(#[from] InvalidIdentity),
}
