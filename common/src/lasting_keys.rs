//! Owns what is derived from the secret that a coordinator keeps over its restarts, each purpose with a key of its own: by
//! these, and by nothing that it stores, its next life knows the agents of this one again.
//!
//! | key | what it lets the next life do |
//! |---|---|
//! | resets | tell an agent that its connection is over, before a long silence does |
//! | address tokens | believe that an agent was heard at its address (`address_tokens.rs`) |
//! | session tickets | go on with an agent's session, without looking at its certificate anew (`tls/session_tickets.rs`) |
//!
//! Must not: keep the secret itself, or show a key.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ring::{hkdf, hmac};

use crate::address_tokens::SpentTokens;

/// For how long an agent is believed what it was given, an address token or a session ticket. Agents connect anew more often
/// than this, with each new certificate, and are given new ones.
pub(crate) const WORD_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// A coordinator's keys for its agents' return, and which of their words it has believed already. Clones are the same keys
/// and share what was believed, so that a port whose certificate is renewed forgets nothing.
#[derive(Clone)]
pub struct LastingKeys {
    resets: Arc<hmac::Key>,
    address_tokens: Arc<hkdf::Prk>,
    spent_tokens: Arc<SpentTokens>,
    session_tickets: Arc<hkdf::Prk>,
}

impl LastingKeys {
    /// Derived from `secret`, which only this coordinator may know and which must be the same after a restart.
    #[must_use]
    pub fn of(secret: &[u8]) -> Self {
        let extract = |purpose: &[u8]| Arc::new(hkdf::Salt::new(hkdf::HKDF_SHA256, purpose).extract(secret));
        let reset = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), b"reeve stateless reset");
        Self {
            resets: Arc::new(hmac::Key::new(hmac::HMAC_SHA256, reset.as_ref())),
            address_tokens: extract(b"reeve address token"),
            spent_tokens: Arc::default(),
            session_tickets: extract(b"reeve session ticket"),
        }
    }

    pub(crate) fn resets(&self) -> Arc<hmac::Key> {
        Arc::clone(&self.resets)
    }

    pub(crate) fn address_tokens(&self) -> Arc<hkdf::Prk> {
        Arc::clone(&self.address_tokens)
    }

    pub(crate) fn spent_tokens(&self) -> Arc<SpentTokens> {
        Arc::clone(&self.spent_tokens)
    }

    pub(crate) fn session_tickets(&self) -> Arc<hkdf::Prk> {
        Arc::clone(&self.session_tickets)
    }
}

impl fmt::Debug for LastingKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("LastingKeys")
    }
}
