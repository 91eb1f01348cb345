//! Owns the tokens by which machines become hosts: good for one host, once, for minutes. Only the hash of the secret is
//! kept.
//!
//! The token itself is pure. Where tokens are kept stands behind [`TokenBook`]: redeeming one must be a single
//! transaction there, so that of many attempts at once exactly one wins.

use std::collections::HashMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reeve_common::clock::Timestamp;
use reeve_common::ids::{HostId, HostName, RealmName};
use reeve_common::tls::SecretHash;
use reeve_common::wire::join::JoinRefusal;

/// Long enough to paste a line into another terminal, short enough that one forgotten in a chat is worth nothing.
pub const JOIN_TOKEN_LIFETIME: Duration = Duration::from_secs(15 * 60);

/// A token, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// The host that a machine becomes by it.
    pub host: HostId,
    /// Not good after.
    pub expires_at: Timestamp,
    /// When it was used, if it was.
    pub used_at: Option<Timestamp>,
}

/// Why a token does not work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefusal {
    /// No token has this secret.
    #[error("no join line has this secret")]
    Unknown,
    /// It has done its work.
    #[error(
        "the join line was used already, at {at}; if its owner did not use it, somebody else did: remove the host with `reeve host delete`"
    )]
    Used {
        /// When.
        at: Timestamp,
    },
    /// Its time is over.
    #[error("the join line expired at {at}; print a new one with `reeve host join-token`")]
    Expired {
        /// When.
        at: Timestamp,
    },
    /// Its host has been removed since.
    #[error("the host that the join line was made for has been removed")]
    RemovedHost,
    /// The book cannot be asked now. Nothing is known of the token.
    #[error("join lines cannot be looked up now: {0}")]
    Unavailable(String),
}

impl From<TokenRefusal> for JoinRefusal {
    fn from(refusal: TokenRefusal) -> Self {
        match refusal {
            TokenRefusal::Unknown => Self::UnknownToken,
            TokenRefusal::Used { at } => Self::UsedToken { at },
            TokenRefusal::Expired { at } => Self::ExpiredToken { at },
            TokenRefusal::RemovedHost => Self::RemovedHost,
            // What ails the store is the administrator's business, not a stranger's.
            TokenRefusal::Unavailable(_) => Self::Unavailable("its records cannot be reached".to_owned()),
        }
    }
}

impl JoinToken {
    /// A token made at `now`.
    #[must_use]
    pub fn new(host: HostId, now: Timestamp) -> Self {
        Self { host, expires_at: now.after(JOIN_TOKEN_LIFETIME), used_at: None }
    }

    /// Uses it: what comes back must be stored in its place before the host gets anything.
    ///
    /// # Errors
    /// [`TokenRefusal`] when it was used before, or is too old.
    pub const fn redeem(&self, now: Timestamp) -> Result<Self, TokenRefusal> {
        match self.used_at {
            Some(at) => Err(TokenRefusal::Used { at }),
            None if now.0 >= self.expires_at.0 => Err(TokenRefusal::Expired { at: self.expires_at }),
            None => Ok(Self { host: self.host, expires_at: self.expires_at, used_at: Some(now) }),
        }
    }
}

/// Whom a token makes a host of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoiningHost {
    /// Its realm.
    pub realm: RealmName,
    /// Its number.
    pub host: HostId,
    /// Its name.
    pub name: HostName,
}

/// Where tokens are kept.
pub trait TokenBook: Send + Sync + 'static {
    /// Notes that somebody at `remote` was refused, for whoever looks into it later. Nobody waits for it to be kept.
    fn note_refusal(&self, _remote: SocketAddr, _reason: &str) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }

    /// Finds the token with this secret, uses it as [`JoinToken::redeem`] says, and stores that, all in one
    /// transaction: of any number of calls with one secret, at most one succeeds.
    fn redeem(
        &self,
        secret: SecretHash,
        now: Timestamp,
    ) -> impl Future<Output = Result<JoiningHost, TokenRefusal>> + Send;
}

/// Tokens in memory, for tests.
#[derive(Debug, Default)]
pub struct MemoryTokenBook(Mutex<HashMap<SecretHash, (JoinToken, JoiningHost)>>);

impl MemoryTokenBook {
    /// Adds a token.
    pub fn add(&self, secret: SecretHash, token: JoinToken, host: JoiningHost) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(secret, (token, host));
    }
}

impl TokenBook for MemoryTokenBook {
    async fn redeem(&self, secret: SecretHash, now: Timestamp) -> Result<JoiningHost, TokenRefusal> {
        let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (token, host) = tokens.get_mut(&secret).ok_or(TokenRefusal::Unknown)?;
        *token = token.redeem(now)?;
        Ok(host.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_works_once_and_not_for_long() {
        let made = Timestamp(1_000_000);
        let token = JoinToken::new(HostId(1), made);
        let used = token.redeem(Timestamp(made.0 + 1)).unwrap();
        assert_eq!(used.redeem(Timestamp(made.0 + 2)), Err(TokenRefusal::Used { at: Timestamp(made.0 + 1) }));
        let last = Timestamp(token.expires_at.0 - 1);
        assert!(token.redeem(last).is_ok());
        assert_eq!(token.redeem(token.expires_at), Err(TokenRefusal::Expired { at: token.expires_at }));
        // A used one says so even when it has expired as well: that is what its owner must know.
        assert!(matches!(used.redeem(token.expires_at), Err(TokenRefusal::Used { .. })));
    }
}
