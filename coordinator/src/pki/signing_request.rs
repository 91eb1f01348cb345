//! Owns what is accepted as a signing request: a P-256 key whose holder signed the request, and nothing else asked for.
//!
//! The names in a request never become names in a certificate. One that asks for a name is not obeyed in silence but
//! refused, unless it is the very name that the host has anyway. Pure.

use rcgen::{
    CertificateSigningRequestParams, ExtendedKeyUsagePurpose, IsCa, PKCS_ECDSA_P256_SHA256, PublicKey,
    SanType,
};
use reeve_common::text::printable;
use reeve_common::tls::Identity;

/// Our own requests have about 400 bytes of PEM; what is far longer is not looked at.
const REQUEST_LENGTH_MAX: usize = 8 * 1024;
/// As much of a foreign name as a refusal repeats.
const SHOWN_LENGTH_MAX: usize = 120;

/// A request that may be granted, to whomever the coordinator says.
#[derive(Debug)]
pub struct SigningRequest {
    pub(super) key: PublicKey,
    names: Vec<SanType>,
}

/// Why a signing request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestRefusal {
    /// It cannot be read, or its signature does not fit its key.
    #[error("it is not a readable signing request signed with its own key")]
    Malformed,
    /// Far longer than ours are.
    #[error("it has {length} bytes, at most {REQUEST_LENGTH_MAX} are taken")]
    TooLong {
        /// Its length.
        length: usize,
    },
    /// Not the kind of key that is used here.
    #[error("its key is not an ECDSA key on the curve P-256, the only kind used here")]
    KeyKind,
    /// It wants to be an authority, or to serve.
    #[error("it asks for more than a host's certificate may do")]
    Purpose,
    /// It asks for somebody else's name.
    #[error("it asks for the name {asked:?}, and the host it comes from is {identity}")]
    OtherIdentity {
        /// The name asked for, made printable.
        asked: String,
        /// Who the host is.
        identity: String,
    },
}

impl SigningRequest {
    /// Reads a request and checks all that does not depend on who asks.
    ///
    /// # Errors
    /// [`RequestRefusal`] says what is wrong.
    pub fn read(pem: &str) -> Result<Self, RequestRefusal> {
        if pem.len() > REQUEST_LENGTH_MAX {
            return Err(RequestRefusal::TooLong { length: pem.len() });
        }
        let request =
            CertificateSigningRequestParams::from_pem(pem).map_err(|_| RequestRefusal::Malformed)?;
        if request.public_key.algorithm() != &PKCS_ECDSA_P256_SHA256 {
            return Err(RequestRefusal::KeyKind);
        }
        let wanted = request.params;
        let client_only =
            wanted.extended_key_usages.iter().all(|purpose| *purpose == ExtendedKeyUsagePurpose::ClientAuth);
        if matches!(wanted.is_ca, IsCa::Ca(_)) || !client_only {
            return Err(RequestRefusal::Purpose);
        }
        Ok(Self { key: request.public_key, names: wanted.subject_alt_names })
    }

    /// Checks that it asks for no other name than `identity`'s.
    pub(super) fn check_names(&self, identity: &Identity) -> Result<(), RequestRefusal> {
        let own = identity.to_string();
        match self.names.iter().find(|name| !matches!(name, SanType::URI(uri) if uri.as_str() == own)) {
            None => Ok(()),
            Some(other) => {
                let asked = printable(&describe(other), SHOWN_LENGTH_MAX);
                Err(RequestRefusal::OtherIdentity { asked, identity: own })
            }
        }
    }
}

fn describe(name: &SanType) -> String {
    match name {
        SanType::URI(text) | SanType::DnsName(text) | SanType::Rfc822Name(text) => text.as_str().to_owned(),
        SanType::IpAddress(address) => address.to_string(),
        _ => "a name of another kind".to_owned(),
    }
}
