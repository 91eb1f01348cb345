//! Owns the line an administrator carries from the coordinator to a host: where the coordinator is, which authority
//! to trust, and a secret that works once.
//!
//! ```text
//!   reeve-join:v1:HOST:PORT:FINGERPRINT:SECRET
//! ```
//!
//! Must not: redeem the secret or store it (`coordinator/src/pki/join_token.rs` keeps its hash).

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroize;

use super::fingerprint::{CaFingerprint, sha256};

/// What every join line of this form starts with.
const PREFIX: &str = "reeve-join:v1:";
/// 256 random bits: nobody guesses one, so a plain hash is enough to store it.
const SECRET_LENGTH: usize = 32;
/// A DNS name has at most 253 characters; brackets, a colon and a port come on top.
const ADDRESS_LENGTH_MAX: usize = 262;
/// A line is refused above this before it is looked at: the longest good one is shorter.
const LINE_LENGTH_MAX: usize = 512;

/// The secret that turns a machine into a host, once.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinSecret([u8; SECRET_LENGTH]);

impl JoinSecret {
    /// A new random one.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn generate() -> Result<Self, NoRandomness> {
        let mut bytes = [0; SECRET_LENGTH];
        SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandomness)?;
        Ok(Self(bytes))
    }

    /// What the coordinator stores of it.
    #[must_use]
    pub fn hash(&self) -> SecretHash {
        SecretHash(sha256(&self.0))
    }

    /// The secret's own bytes, to be sent to a server that has proved who it is.
    #[must_use]
    pub const fn reveal(&self) -> &[u8; SECRET_LENGTH] {
        &self.0
    }

    /// A secret from its bytes; none when they are not as many as a secret has.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl Drop for JoinSecret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for JoinSecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JoinSecret(…)")
    }
}

/// The operating system's source of randomness failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gives no random numbers: check that getrandom() is allowed to this process")]
pub struct NoRandomness;

/// The hash of a join secret.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SecretHash([u8; 32]);

impl fmt::Display for SecretHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl FromStr for SecretHash {
    type Err = InvalidSecretHash;

    fn from_str(text: &str) -> Result<Self, InvalidSecretHash> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidSecretHash)?;
        bytes.try_into().map(Self).map_err(|_| InvalidSecretHash)
    }
}

/// A stored text is no hash of a join secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the hash of a join secret is 43 letters, digits, '-' and '_'")]
pub struct InvalidSecretHash;

/// All that a machine needs to become a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinLine {
    /// Where the coordinator serves joining hosts, as `HOST:PORT`; an IPv6 address stands in brackets.
    pub address: String,
    /// The authority the coordinator must prove itself with.
    pub fingerprint: CaFingerprint,
    /// Works once, and not for long.
    pub secret: JoinSecret,
}

impl fmt::Display for JoinLine {
    /// The line itself, secret included: only ever printed for the administrator who asked for it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secret = URL_SAFE_NO_PAD.encode(self.secret.0);
        write!(formatter, "{PREFIX}{}:{}:{secret}", self.address, self.fingerprint)
    }
}

/// Why a text is no join line. Never repeats the text: it may hold a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidJoinLine {
    /// It does not start as it must.
    #[error(
        "a join line starts with reeve-join:v1: — print a new one with `reeve host join-token NAME` and paste it whole"
    )]
    Prefix,
    /// Something is missing or too long.
    #[error(
        "the join line has not the form reeve-join:v1:HOST:PORT:FINGERPRINT:SECRET; paste it whole, as one line"
    )]
    Shape,
    /// The address is none.
    #[error("the address in the join line is not HOST:PORT with a port from 1 to 65535")]
    Address,
    /// The fingerprint is none.
    #[error("the fingerprint in the join line is cut or mistyped; paste the line whole")]
    Fingerprint,
    /// The secret is none.
    #[error("the secret in the join line is cut or mistyped; paste the line whole")]
    Secret,
}

impl FromStr for JoinLine {
    type Err = InvalidJoinLine;

    fn from_str(text: &str) -> Result<Self, InvalidJoinLine> {
        let rest = text.trim();
        if rest.len() > LINE_LENGTH_MAX {
            return Err(InvalidJoinLine::Shape);
        }
        let rest = rest.strip_prefix(PREFIX).ok_or(InvalidJoinLine::Prefix)?;
        let (rest, secret) = rest.rsplit_once(':').ok_or(InvalidJoinLine::Shape)?;
        let (address, fingerprint) = rest.rsplit_once(':').ok_or(InvalidJoinLine::Shape)?;
        check_address(address)?;
        let fingerprint = fingerprint.parse().map_err(|_| InvalidJoinLine::Fingerprint)?;
        let mut bytes = URL_SAFE_NO_PAD.decode(secret).map_err(|_| InvalidJoinLine::Secret)?;
        let secret = JoinSecret::from_bytes(&bytes).ok_or(InvalidJoinLine::Secret);
        bytes.zeroize();
        Ok(Self { address: address.to_owned(), fingerprint, secret: secret? })
    }
}

/// Checks that `address` is `HOST:PORT`: a name, an IPv4 address, or an IPv6 address in brackets.
///
/// # Errors
/// [`InvalidJoinLine::Address`] when it is not.
pub fn check_address(address: &str) -> Result<(), InvalidJoinLine> {
    let (host, port) = address.rsplit_once(':').ok_or(InvalidJoinLine::Address)?;
    let port_is_good =
        port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0);
    let host_is_good = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(literal) => literal.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'))
        }
    };
    if port_is_good && host_is_good && address.len() <= ADDRESS_LENGTH_MAX {
        Ok(())
    } else {
        Err(InvalidJoinLine::Address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(address: &str) -> JoinLine {
        JoinLine {
            address: address.to_owned(),
            fingerprint: CaFingerprint::of_public_key(b"key"),
            secret: JoinSecret([7; SECRET_LENGTH]),
        }
    }

    #[test]
    fn a_join_line_reads_back_as_it_was_written() {
        for address in ["coordinator.example.net:7444", "192.0.2.7:7444", "[2001:db8::7]:7444"] {
            let line = line(address);
            assert_eq!(format!("  {line}\n").parse(), Ok(line), "{address}");
        }
    }

    #[test]
    fn a_spoiled_join_line_is_refused_and_not_repeated() {
        let good = line("coordinator:7444").to_string();
        let cut = good.get(..good.len() - 1).unwrap();
        for (bad, error) in [
            ("", InvalidJoinLine::Prefix),
            ("reeve-join:v2:a:1:b:c", InvalidJoinLine::Prefix),
            ("reeve-join:v1:", InvalidJoinLine::Shape),
            (cut, InvalidJoinLine::Secret),
            (&good.replace(":7444", ""), InvalidJoinLine::Address),
            (&good.replace(":7444", ":0"), InvalidJoinLine::Address),
            (&good.replace("coordinator:", "co ordinator:"), InvalidJoinLine::Address),
            (&good.replace("coordinator:", "::1:"), InvalidJoinLine::Address),
            (&format!("{good}{}", "A".repeat(LINE_LENGTH_MAX)), InvalidJoinLine::Shape),
        ] {
            assert_eq!(bad.parse::<JoinLine>().unwrap_err(), error, "{bad}");
        }
        assert!(!format!("{:?}", line("a:1")).contains("BwcH"), "Debug shows the secret");
    }
}
