//! Owns what one side proves itself with: its certificate chain, its private key, and the authority it trusts.
//!
//! The key is wiped from memory when the last copy goes, and no formatting shows it.

use std::fmt;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroize as _;

use super::certificate::{CertificateFacts, InvalidCertificate, certificate_from_pem};

/// A private key of ours has about 240 bytes of PEM; what is far longer is not looked at.
const KEY_PEM_LENGTH_MAX: usize = 4 * 1024;

/// A certificate, its key, and the authority that both sides trust.
pub struct Credentials {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    authority: CertificateDer<'static>,
    facts: CertificateFacts,
}

impl Credentials {
    /// From PEM texts: one certificate, its private key, and the authority's certificate.
    ///
    /// # Errors
    /// [`InvalidCredentials`] says which of the three is wrong.
    pub fn from_pem(certificate: &str, key: &str, authority: &str) -> Result<Self, InvalidCredentials> {
        let certificate = certificate_from_pem(certificate).map_err(InvalidCredentials::Certificate)?;
        let authority = certificate_from_pem(authority).map_err(InvalidCredentials::Authority)?;
        if key.len() > KEY_PEM_LENGTH_MAX {
            return Err(InvalidCredentials::Key);
        }
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| InvalidCredentials::Key)?;
        Self::new(certificate, key, authority)
    }

    /// From the parts.
    ///
    /// # Errors
    /// [`InvalidCredentials`] when the certificate is not one of this product's.
    pub fn new(
        certificate: CertificateDer<'static>,
        key: PrivateKeyDer<'static>,
        authority: CertificateDer<'static>,
    ) -> Result<Self, InvalidCredentials> {
        let facts = CertificateFacts::read(&certificate).map_err(InvalidCredentials::Certificate)?;
        // The authority goes along, so that a joining host which knows only its fingerprint can find it.
        let chain = vec![certificate, authority.clone()];
        Ok(Self { chain, key, authority, facts })
    }

    /// What the certificate says.
    #[must_use]
    pub const fn facts(&self) -> &CertificateFacts {
        &self.facts
    }

    /// The certificate and its authority's, for who does not have the latter.
    #[must_use]
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.chain.clone()
    }

    /// The certificate as a chain of one, for who has the authority's.
    #[must_use]
    pub fn certificate_alone(&self) -> Vec<CertificateDer<'static>> {
        self.chain.iter().take(1).cloned().collect()
    }

    /// The authority's certificate.
    #[must_use]
    pub const fn authority(&self) -> &CertificateDer<'static> {
        &self.authority
    }

    /// A copy of the key for whoever signs with it.
    #[must_use]
    pub fn clone_key(&self) -> PrivateKeyDer<'static> {
        self.key.clone_key()
    }
}

impl Clone for Credentials {
    fn clone(&self) -> Self {
        Self {
            chain: self.chain.clone(),
            key: self.key.clone_key(),
            authority: self.authority.clone(),
            facts: self.facts.clone(),
        }
    }
}

impl Drop for Credentials {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Credentials").field("facts", &self.facts).finish_non_exhaustive()
    }
}

/// Why texts are no credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCredentials {
    /// The certificate is wrong.
    #[error("the certificate cannot be used")]
    Certificate(#[source] InvalidCertificate),
    /// The authority's certificate is wrong.
    #[error("the authority's certificate cannot be used")]
    Authority(#[source] InvalidCertificate),
    /// The key is wrong.
    #[error("the private key is not a readable PEM key")]
    Key,
}
