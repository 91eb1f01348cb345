//! Owns the words by which a server that is restarted knows who was heard at its address before: what an agent keeps of
//! them, and which of them a server has believed already.
//!
//! ```text
//!   server ── token, once the handshake is done ──▶ agent keeps the last one
//!     │                                               │ dials again
//!     ◀── the address counts as proved, once ─────────┘
//! ```
//!
//! A token names the address and when it was given; the server's lasting secret seals it, so the server's next life
//! believes it, too. That life does not know what was believed before it: a token that somebody has overheard counts once
//! more then, from the same address only.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use quinn::{TokenLog, TokenReuseError, TokenStore};

/// Tokens that are remembered as spent, the newest: every host of the largest fleet a few times, in some 3 MiB.
const SPENT_MAX: usize = 1 << 16;

/// What an agent keeps of a server's word that it was heard at its address. It stays until the next one comes: a dial that
/// nobody answered has not spent it.
#[derive(Debug, Default)]
pub(crate) struct AddressToken(Mutex<Option<Bytes>>);

impl TokenStore for AddressToken {
    fn insert(&self, _server_name: &str, token: Bytes) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(token);
    }

    fn take(&self, _server_name: &str) -> Option<Bytes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The tokens that a server has believed.
#[derive(Debug, Default)]
pub(crate) struct SpentTokens(Mutex<Spent>);

#[derive(Debug, Default)]
struct Spent {
    numbers: HashSet<u128>,
    /// The oldest first.
    order: VecDeque<u128>,
}

impl TokenLog for SpentTokens {
    fn check_and_insert(
        &self,
        number: u128,
        _issued: SystemTime,
        _lifetime: Duration,
    ) -> Result<(), TokenReuseError> {
        let mut spent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Spent { numbers, order } = &mut *spent;
        if !numbers.insert(number) {
            return Err(TokenReuseError);
        }
        order.push_back(number);
        if order.len() > SPENT_MAX
            && let Some(oldest) = order.pop_front()
        {
            numbers.remove(&oldest);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_spent_once_whenever_it_was_given_and_memory_is_bounded() {
        let spent = SpentTokens::default();
        let spend = |number: u128, issued_ago: u64| {
            let issued = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 - issued_ago);
            spent.check_and_insert(number, issued, Duration::from_secs(60)).is_ok()
        };
        assert!(spend(1, 5) && spend(2, 50) && spend(3, 0), "in whatever order they were given");
        assert!(!spend(1, 5) && !spend(2, 50));
        for number in 0..SPENT_MAX as u128 {
            assert!(spend(100 + number, 0));
        }
        assert!(spend(1, 5), "the oldest are forgotten");
        let spent = spent.0.lock().unwrap();
        assert_eq!((spent.numbers.len(), spent.order.len()), (SPENT_MAX, SPENT_MAX));
    }
}
