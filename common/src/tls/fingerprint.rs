//! Owns fingerprints of public keys: SHA-256 over a certificate's SubjectPublicKeyInfo, written in 43 characters.
//!
//! The key is hashed and not the certificate, so that a pin stays true when the same key gets a new certificate.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};

/// The fingerprint of a public key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyFingerprint([u8; SHA256_OUTPUT_LEN]);

/// The fingerprint of a certificate authority's key: what a joining host pins.
pub type CaFingerprint = KeyFingerprint;

impl KeyFingerprint {
    /// The fingerprint of a DER-encoded SubjectPublicKeyInfo.
    #[must_use]
    pub fn of_public_key(subject_public_key_info: &[u8]) -> Self {
        Self(sha256(subject_public_key_info))
    }
}

/// SHA-256, as bytes.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; SHA256_OUTPUT_LEN] {
    let mut out = [0; SHA256_OUTPUT_LEN];
    out.copy_from_slice(digest(&SHA256, bytes).as_ref());
    out
}

/// Why a text is no fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint is 43 letters, digits, '-' and '_'")]
pub struct InvalidFingerprint;

impl FromStr for KeyFingerprint {
    type Err = InvalidFingerprint;

    fn from_str(text: &str) -> Result<Self, InvalidFingerprint> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidFingerprint)?;
        bytes.try_into().map(Self).map_err(|_| InvalidFingerprint)
    }
}

impl fmt::Display for KeyFingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for KeyFingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_reads_back_as_it_was_written() {
        let fingerprint = KeyFingerprint::of_public_key(b"abc");
        // SHA-256 of "abc", from FIPS 180-2, in base64url.
        assert_eq!(fingerprint.to_string(), "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0");
        assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
    }

    #[test]
    fn what_is_no_fingerprint_is_refused() {
        for bad in [
            "",
            "abc",
            "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa",
            "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=",
        ] {
            assert!(bad.parse::<KeyFingerprint>().is_err(), "{bad:?} was taken as a fingerprint");
        }
    }
}
