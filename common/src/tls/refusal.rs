//! Owns why a TLS handshake is refused, in words that both sides understand. TLS itself carries no more than an alert
//! number; this file is where our reasons become alerts and alerts become sentences again.
//!
//! ```text
//!   our verifier ── CertificateError ──▶ alert ── network ──▶ alert ──▶ TlsRefusal ──▶ what to do
//!         └────────────────────────▶ alert ──▶ TlsRefusal ──▶ what was refused
//! ```

use std::fmt;
use std::sync::Arc;

use rustls::{AlertDescription, CertificateError, OtherError};

/// QUIC's error codes for TLS alerts start here (RFC 9001, 4.8).
const QUIC_CRYPTO_ERRORS: std::ops::Range<u64> = 0x100..0x200;

/// Why one side did not accept the other's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TlsRefusal {
    /// None was offered.
    NoCertificate,
    /// It comes from an authority that is not ours.
    UnknownAuthority,
    /// Its time is over.
    Expired,
    /// Its time has not come.
    NotYetValid,
    /// A host's certificate offered by a server, or the coordinator's by a client.
    WrongRole,
    /// It is unreadable, or for another server.
    Unusable,
    /// Its holder does not have its key.
    NoProof,
    /// The server's authority is not the one that the join line names.
    WrongFingerprint,
    /// The other side speaks another protocol.
    WrongProtocol,
    /// Another TLS alert.
    Other(u8),
}

impl TlsRefusal {
    /// What a QUIC error code says, if it is a TLS alert.
    #[must_use]
    pub fn from_quic_code(code: u64) -> Option<Self> {
        if !QUIC_CRYPTO_ERRORS.contains(&code) {
            return None;
        }
        let alert = u8::try_from(code & 0xff).unwrap_or(u8::MAX);
        Some(match AlertDescription::from(alert) {
            AlertDescription::CertificateRequired => Self::NoCertificate,
            AlertDescription::UnknownCA => Self::UnknownAuthority,
            AlertDescription::CertificateExpired => Self::Expired,
            AlertDescription::CertificateUnknown => Self::NotYetValid,
            AlertDescription::UnsupportedCertificate => Self::WrongRole,
            AlertDescription::BadCertificate => Self::Unusable,
            AlertDescription::DecryptError => Self::NoProof,
            AlertDescription::AccessDenied => Self::WrongFingerprint,
            AlertDescription::NoApplicationProtocol => Self::WrongProtocol,
            _ => Self::Other(alert),
        })
    }

    /// Which error makes rustls send the alert that [`Self::from_quic_code`] turns back into this.
    pub(super) fn to_certificate_error(self) -> CertificateError {
        match self {
            Self::UnknownAuthority => CertificateError::UnknownIssuer,
            Self::Expired => CertificateError::Expired,
            // TLS has one alert for both ends of a certificate's life; the catch-all alert tells them apart.
            Self::NotYetValid => CertificateError::Other(OtherError(Arc::new(NotYetValid))),
            Self::WrongRole => CertificateError::InvalidPurpose,
            Self::WrongFingerprint => CertificateError::ApplicationVerificationFailure,
            _ => CertificateError::BadEncoding,
        }
    }

    /// What a verifier's error means, so that each case has an alert of its own.
    pub(super) fn from_certificate_error(error: &CertificateError) -> Self {
        match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotYetValid,
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                Self::WrongRole
            }
            // A signature that does not verify under our authority's key was made by another authority, whatever
            // name it goes by.
            CertificateError::UnknownIssuer
            | CertificateError::UnsupportedSignatureAlgorithmContext { .. }
            | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. }
            | CertificateError::BadSignature => Self::UnknownAuthority,
            CertificateError::ApplicationVerificationFailure => Self::WrongFingerprint,
            CertificateError::Other(OtherError(cause)) if cause.is::<NotYetValid>() => Self::NotYetValid,
            _ => Self::Unusable,
        }
    }

    /// For the side that was refused: what the other side holds against it, and what to do. `own` is this side.
    #[must_use]
    pub const fn advice_to_refused(self, own: Side) -> &'static str {
        match (own, self) {
            (Side::Host, Self::NoCertificate) => {
                "the coordinator wants a host certificate and this host showed none: join it with `reeve-agent join`"
            }
            (Side::Host, Self::UnknownAuthority) => {
                "the coordinator does not know the authority that signed this host's certificate: the host was joined to another coordinator, or this one was initialised anew; join it again with a new line from `reeve host join-token`"
            }
            (Side::Host, Self::Expired) => {
                "the coordinator says that this host's certificate has expired: compare the clocks of both machines; if the host was away for long, join it again with a new line from `reeve host join-token`"
            }
            (Side::Host, Self::NotYetValid) => {
                "the coordinator says that this host's certificate is not valid yet: compare the clocks of both machines"
            }
            (Side::Host, Self::WrongRole) => {
                "the coordinator accepts host certificates only, and this host showed another kind: join it again with `reeve-agent join`"
            }
            (Side::Host, Self::WrongProtocol) => {
                "what answers at this address does not speak this protocol: check that the port is the coordinator's port for agents, and that both have releases that go together"
            }
            (Side::Host, Self::NoProof) => {
                "the coordinator could not verify this host's key: the key and the certificate in the identity directory do not belong together; join the host again with `reeve-agent join`"
            }
            (Side::Host, _) => {
                "the coordinator could not use this host's certificate: join the host again with `reeve-agent join`"
            }
            (Side::Coordinator, Self::UnknownAuthority | Self::WrongFingerprint) => {
                "the host does not trust this coordinator's authority: it was joined to another coordinator, or its join line is for another one; print a new line with `reeve host join-token`"
            }
            (Side::Coordinator, Self::Expired | Self::NotYetValid) => {
                "the host says that the coordinator's certificate is not valid now: compare the clocks of both machines"
            }
            (Side::Coordinator, Self::WrongProtocol) => {
                "the peer speaks another protocol: check that the agent's release goes with the coordinator's"
            }
            (Side::Coordinator, _) => {
                "the host did not accept the coordinator's certificate: check that nothing else answers at the coordinator's address"
            }
        }
    }

    /// For the side that refused: what was wrong with the other, and what to do. `own` is this side.
    #[must_use]
    pub const fn advice_to_refuser(self, own: Side) -> &'static str {
        match (own, self) {
            (Side::Coordinator, Self::NoCertificate) => {
                "the peer showed no certificate; only joined hosts may connect here: join the host with `reeve-agent join`"
            }
            (Side::Coordinator, Self::UnknownAuthority) => {
                "the peer's certificate comes from another authority: if it is one of your hosts, join it again with a new line from `reeve host join-token`"
            }
            (Side::Coordinator, Self::Expired) => {
                "the peer's certificate has expired: compare the clocks of both machines; if the host was away for long, join it again with a new line from `reeve host join-token`"
            }
            (Side::Coordinator, Self::NotYetValid) => {
                "the peer's certificate is not valid yet: compare the clocks of both machines"
            }
            (Side::Coordinator, Self::WrongRole) => {
                "the peer's certificate is not a host's: the coordinator's own certificate must never leave it; if it has, initialise a new authority and join the hosts again"
            }
            (Side::Coordinator, Self::WrongProtocol) => {
                "the peer speaks another protocol: check that the agent's release goes with the coordinator's"
            }
            (Side::Coordinator, Self::NoProof) => {
                "the peer does not have the key of the certificate that it showed"
            }
            (Side::Coordinator, _) => "the peer's certificate cannot be used; join the host again",
            (Side::Host, Self::UnknownAuthority) => {
                "what answers at the coordinator's address has a certificate from another authority: check the address; if the coordinator was initialised anew, join this host again with a new line from `reeve host join-token`"
            }
            (Side::Host, Self::Expired) => {
                "the coordinator's certificate has expired: compare the clocks of both machines"
            }
            (Side::Host, Self::NotYetValid) => {
                "the coordinator's certificate is not valid yet: compare the clocks of both machines"
            }
            (Side::Host, Self::WrongRole) => {
                "what answers at the coordinator's address showed a host's certificate: some host poses as the coordinator; check the address, and remove that host"
            }
            (Side::Host, Self::WrongFingerprint) => {
                "what answers at the coordinator's address is not the coordinator that the join line was printed by: check the address, and print a new line with `reeve host join-token`; no secret was sent"
            }
            (Side::Host, _) => {
                "what answers at the coordinator's address did not prove to be the coordinator: check the address"
            }
        }
    }
}

/// Which side is speaking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// A host's agent.
    Host,
    /// The coordinator.
    Coordinator,
}

/// The cause carried through rustls for a certificate whose time has not come.
#[derive(Debug)]
struct NotYetValid;

impl fmt::Display for NotYetValid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the certificate is not valid yet")
    }
}

impl std::error::Error for NotYetValid {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_survives_its_way_through_tls() {
        for refusal in [
            TlsRefusal::UnknownAuthority,
            TlsRefusal::Expired,
            TlsRefusal::NotYetValid,
            TlsRefusal::WrongRole,
            TlsRefusal::WrongFingerprint,
        ] {
            let alert = AlertDescription::from(refusal.to_certificate_error());
            assert_eq!(TlsRefusal::from_quic_code(0x100 + u64::from(u8::from(alert))), Some(refusal));
        }
        assert_eq!(TlsRefusal::from_quic_code(0x100 + 116), Some(TlsRefusal::NoCertificate));
        assert_eq!(TlsRefusal::from_quic_code(0x0a), None);
        assert_eq!(TlsRefusal::from_quic_code(0x200), None);
    }
}
