//! Owns how an agent that comes back goes on with the session it had, so that neither side signs or checks a certificate
//! again: a whole fleet that returns to a restarted coordinator costs it a quarter less processor time that way.
//!
//! ```text
//!   full handshake ── ticket, sealed by the coordinator ──▶ agent keeps the last one
//!                                                             │ dials again, with the same certificate
//!   resumed handshake ◀── opens? not too old? ────────────────┘
//!     │        └─ no: a full handshake, as if there were none
//!     └── next ticket ──▶
//! ```
//!
//! A ticket holds the agent's certificate as it was checked, and the session's secret; only who has the lasting secret of
//! the coordinator that sealed it can open it, which proves that coordinator to the agent. Fresh keys are agreed on all the
//! same, and nothing is said before they are (no early data), so nothing can be replayed. What may have changed since the
//! certificate was checked is asked by others: whether it is still good in time, and whether its host is still wanted
//! (`wire/coordinator_end.rs`).
//!
//! Must not: decide who is let in.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use quinn::crypto::HandshakeTokenKey as _;
use ring::hkdf;
use ring::rand::{SecureRandom as _, SystemRandom};
use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;
use rustls::server::ProducesTickets;

use crate::clock::{Clock, Timestamp};
use crate::lasting_keys::WORD_LIFETIME;

/// Each ticket is sealed with a key of its own, derived with so many random bytes: enough that no two are ever the same.
const SALT_LENGTH: usize = 16;
/// The moment of sealing, in milliseconds since 1970, stands before what was sealed.
const MOMENT_LENGTH: usize = 8;

/// Seals and opens a coordinator's tickets.
pub(super) struct TicketSealer {
    key: Arc<hkdf::Prk>,
    clock: Arc<dyn Clock>,
}

impl TicketSealer {
    pub(super) const fn new(key: Arc<hkdf::Prk>, clock: Arc<dyn Clock>) -> Self {
        Self { key, clock }
    }

    fn is_fresh(&self, sealed_at: Timestamp) -> bool {
        let now = self.clock.now();
        // One from the future was sealed before the clock was set back; it would be good for longer than it should.
        sealed_at <= now && now.since(sealed_at) < WORD_LIFETIME
    }
}

impl ProducesTickets for TicketSealer {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(WORD_LIFETIME.as_secs()).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let mut ticket = [0; SALT_LENGTH].to_vec();
        SystemRandom::new().fill(&mut ticket).ok()?;
        let mut sealed = self.clock.now().0.to_be_bytes().to_vec();
        sealed.extend_from_slice(plain);
        self.key.aead_from_hkdf(&ticket).seal(&mut sealed, &[]).ok()?;
        ticket.append(&mut sealed);
        Some(ticket)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (salt, sealed) = ticket.split_at_checked(SALT_LENGTH)?;
        let mut sealed = sealed.to_vec();
        let opened = self.key.aead_from_hkdf(salt).open(&mut sealed, &[]).ok()?;
        let (moment, plain) = opened.split_first_chunk::<MOMENT_LENGTH>()?;
        self.is_fresh(Timestamp(u64::from_be_bytes(*moment))).then(|| plain.to_vec())
    }
}

impl fmt::Debug for TicketSealer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("TicketSealer")
    }
}

/// The ticket that an agent has. It is good for one dial: the library gives each out once, and one more comes with each
/// connection. A dial that nobody answers has spent it, and the next one is a full handshake. So it is when the agent's
/// certificate has expired, and the coordinator says clearly what is wrong.
pub(super) struct LastTicket {
    ticket: Mutex<Option<Tls13ClientSessionValue>>,
    certificate_ends: Timestamp,
    clock: Arc<dyn Clock>,
}

impl LastTicket {
    pub(super) const fn new(certificate_ends: Timestamp, clock: Arc<dyn Clock>) -> Self {
        Self { ticket: Mutex::new(None), certificate_ends, clock }
    }
}

impl fmt::Debug for LastTicket {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("LastTicket")
    }
}

impl ClientSessionStore for LastTicket {
    fn set_kx_hint(&self, _server_name: ServerName<'static>, _group: NamedGroup) {}

    fn kx_hint(&self, _server_name: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _server_name: ServerName<'static>, _session: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _server_name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _server_name: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, _server_name: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        *self.ticket.lock().unwrap_or_else(PoisonError::into_inner) = Some(ticket);
    }

    fn take_tls13_ticket(&self, _server_name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        let ticket = self.ticket.lock().unwrap_or_else(PoisonError::into_inner).take();
        ticket.filter(|_| self.clock.now() < self.certificate_ends)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::{Duration, Instant};

    use super::*;
    use crate::clock::SystemClock;
    use crate::lasting_keys::LastingKeys;

    /// A clock that stands still until it is set.
    struct HandSetClock(AtomicU64);

    impl HandSetClock {
        fn at(now: Timestamp) -> Arc<Self> {
            Arc::new(Self(now.0.into()))
        }

        fn set(&self, now: Timestamp) {
            self.0.store(now.0, Ordering::Relaxed);
        }

        fn advance(&self, duration: Duration) {
            self.set(self.now().after(duration));
        }
    }

    impl Clock for HandSetClock {
        fn now(&self) -> Timestamp {
            Timestamp(self.0.load(Ordering::Relaxed))
        }

        fn monotonic(&self) -> Instant {
            SystemClock.monotonic()
        }
    }

    const SESSION: &[u8] = b"a session";

    fn sealer(secret: &[u8], clock: &Arc<HandSetClock>) -> TicketSealer {
        TicketSealer::new(LastingKeys::of(secret).session_tickets(), Arc::clone(clock) as Arc<dyn Clock>)
    }

    #[test]
    fn a_ticket_is_opened_by_the_next_life_and_by_nobody_else() {
        let clock = HandSetClock::at(Timestamp(1_000_000_000));
        let ticket = sealer(b"secret", &clock).encrypt(SESSION).unwrap();
        assert_eq!(sealer(b"secret", &clock).decrypt(&ticket).as_deref(), Some(SESSION));
        assert_eq!(sealer(b"another", &clock).decrypt(&ticket), None);
        assert!(!ticket.windows(SESSION.len()).any(|window| window == SESSION), "it is readable");
        assert_ne!(sealer(b"secret", &clock).encrypt(SESSION).unwrap(), ticket, "a key is used twice");
    }

    #[test]
    fn a_ticket_that_was_touched_is_none_wherever_it_was_touched_and_however_long_it_is() {
        let clock = HandSetClock::at(Timestamp(1_000_000_000));
        let sealer = sealer(b"secret", &clock);
        let ticket = sealer.encrypt(SESSION).unwrap();
        for place in 0..ticket.len() {
            let mut touched = ticket.clone();
            touched[place] ^= 1;
            assert_eq!(sealer.decrypt(&touched), None, "byte {place}");
            assert_eq!(sealer.decrypt(&ticket[..place]), None, "{place} bytes");
        }
        assert_eq!(sealer.decrypt(&[ticket, vec![0]].concat()), None);
    }

    #[test]
    fn a_ticket_ages_and_one_from_the_future_is_none() {
        let clock = HandSetClock::at(Timestamp(1_000_000_000));
        let sealer = sealer(b"secret", &clock);
        let ticket = sealer.encrypt(SESSION).unwrap();
        clock.advance(WORD_LIFETIME - Duration::from_millis(1));
        assert!(sealer.decrypt(&ticket).is_some());
        clock.advance(Duration::from_millis(1));
        assert_eq!(sealer.decrypt(&ticket), None, "it is too old");
        let ticket = sealer.encrypt(SESSION).unwrap();
        clock.set(Timestamp(1_000_000_000));
        assert_eq!(sealer.decrypt(&ticket), None, "the clock was set back");
    }
}
