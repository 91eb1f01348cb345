//! Owns who a certificate says its holder is: the URI in its subject alternative name.
//!
//! ```text
//!   reeve://coordinator              the coordinator
//!   reeve://<realm>/host/<id>        one host of one realm
//! ```
//!
//! Must not: read certificates (`certificate.rs` does) or decide who may do what.

use std::fmt;
use std::str::FromStr;

use crate::ids::{HostId, RealmName};
use crate::text::printable;

/// Every identity's URI starts so.
const SCHEME: &str = "reeve://";
/// The rest of the coordinator's.
const COORDINATOR: &str = "coordinator";
/// What stands between a realm and a host's number.
const HOST: &str = "/host/";
/// As much of a foreign identity as an error repeats.
const SHOWN_LENGTH_MAX: usize = 120;

/// Who somebody is, as vouched for by the certificate authority.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Identity {
    /// The agent of one host.
    Host {
        /// The realm the host belongs to.
        realm: RealmName,
        /// Its number, never given out twice.
        host: HostId,
    },
    /// The coordinator.
    Coordinator,
}

impl fmt::Display for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host { realm, host } => write!(formatter, "{SCHEME}{realm}{HOST}{host}"),
            Self::Coordinator => write!(formatter, "{SCHEME}{COORDINATOR}"),
        }
    }
}

/// Why a text names nobody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no identity: it must be reeve://REALM/host/NUMBER or reeve://coordinator")]
pub struct InvalidIdentity {
    /// The text, made printable.
    text: String,
}

impl FromStr for Identity {
    type Err = InvalidIdentity;

    /// Reads exactly what `Display` writes: one identity has one spelling, so that comparing texts is comparing them.
    fn from_str(text: &str) -> Result<Self, InvalidIdentity> {
        parse(text)
            .filter(|identity| identity.to_string() == text)
            .ok_or_else(|| InvalidIdentity { text: printable(text, SHOWN_LENGTH_MAX) })
    }
}

fn parse(text: &str) -> Option<Identity> {
    let rest = text.strip_prefix(SCHEME)?;
    if rest == COORDINATOR {
        return Some(Identity::Coordinator);
    }
    let (realm, host) = rest.split_once(HOST)?;
    Some(Identity::Host { realm: realm.parse().ok()?, host: host.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_reads_back_as_it_was_written() {
        let host = Identity::Host { realm: RealmName::new("lab").unwrap(), host: HostId(7) };
        assert_eq!(host.to_string(), "reeve://lab/host/7");
        assert_eq!(host.to_string().parse(), Ok(host));
        assert_eq!("reeve://coordinator".parse(), Ok(Identity::Coordinator));
        // A realm may be called anything a name may be, this included.
        assert!(matches!("reeve://coordinator/host/1".parse(), Ok(Identity::Host { .. })));
    }

    #[test]
    fn there_is_one_spelling_only() {
        for bad in [
            "",
            "reeve://",
            "reeve://lab/host/",
            "reeve://lab/host/07",
            "reeve://lab/host/+7",
            "reeve://lab/host/-1",
            "reeve://lab/host/4294967296",
            "reeve://lab/host/7/",
            "reeve://lab/host/7 ",
            "reeve:///host/7",
            "reeve://../host/7",
            "reeve://lab/x/host/7",
            "REEVE://lab/host/7",
            "reeve://Coordinator",
            "reeve://coordinator/",
            "spiffe://lab/host/7",
        ] {
            assert!(bad.parse::<Identity>().is_err(), "{bad:?} was taken as an identity");
        }
    }
}
