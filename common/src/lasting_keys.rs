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

use ring::{hkdf, hmac};

use crate::address_tokens::SpentTokens;

/// A coordinator's keys for its agents' return, and which of their words it has believed already. Clones are the same keys
/// and share what was believed, so that a port whose certificate is renewed forgets nothing.
#[derive(Clone)]
pub struct LastingKeys {
    resets: hmac::Key,
    address_tokens: hkdf::Prk,
    spent_tokens: Arc<SpentTokens>,
    session_tickets: hkdf::Prk,
}

impl LastingKeys {
    /// Derived from `secret`, which only this coordinator may know and which must be the same after a restart.
    #[must_use]
    pub fn of(secret: &[u8]) -> Self {
        let extract = |purpose: &[u8]| hkdf::Salt::new(hkdf::HKDF_SHA256, purpose).extract(secret);
        let reset = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), b"reeve stateless reset");
        Self {
            resets: hmac::Key::new(hmac::HMAC_SHA256, reset.as_ref()),
            address_tokens: extract(b"reeve address token"),
            spent_tokens: Arc::default(),
            session_tickets: extract(b"reeve session ticket"),
        }
    }

    pub(crate) fn resets(&self) -> Arc<hmac::Key> {
        Arc::new(self.resets.clone())
    }

    pub(crate) fn address_tokens(&self) -> Arc<hkdf::Prk> {
        Arc::new(self.address_tokens.clone())
    }

    pub(crate) fn spent_tokens(&self) -> Arc<SpentTokens> {
        Arc::clone(&self.spent_tokens)
    }

    pub(crate) fn session_tickets(&self) -> hkdf::Prk {
        self.session_tickets.clone()
    }
}

impl fmt::Debug for LastingKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("LastingKeys")
    }
}
