//! Owns how long nothing may be heard on a connection before it is given up.
//!
//! QUIC has a limit of its own, and the library counts it from a peer's first datagram on: a peer that waits for its turn in
//! a line (`admission.rs`) must not have run out of it when its turn comes. So that limit is a long one, and this is the one
//! that counts.
//!
//! ```text
//!   a look:  something came since the last one ──────────▶ heard now
//!            the look is late: we were held up ourselves ▶ as if heard now; what came is still to be read
//!            neither, for IDLE_TIMEOUT ──────────────────▶ given up
//! ```
//!
//! Must not: say whether a host is lost; that is for the coordinator's model.

use std::time::Duration;

use tokio::time::Instant;

use crate::quic::IDLE_TIMEOUT;

/// How often somebody looks. To ask a connection how much has come in takes its lock, so it is not done more often than
/// needed.
pub(super) const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// What comes in counts as heard at the next look, up to an interval late, and that it has been too long is seen up to an
/// interval late. So a connection is given up within one interval of [`IDLE_TIMEOUT`].
const LIMIT: Duration = IDLE_TIMEOUT.saturating_sub(LOOK_INTERVAL);
/// A look this long after the one before is late by more than a busy machine makes it.
const HELD_UP: Duration = Duration::from_secs(5);

/// What was heard on a connection, and when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Silence {
    datagrams: u64,
    heard_at: Instant,
    looked_at: Instant,
}

impl Silence {
    /// Begins with a connection on which so many datagrams have come in.
    pub(super) const fn new(datagrams: u64, now: Instant) -> Self {
        Self { datagrams, heard_at: now, looked_at: now }
    }

    /// Whether it is time to look.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.looked_at) >= LOOK_INTERVAL
    }

    /// Looks: so many datagrams have come in by now. Whether nothing was heard for too long.
    pub(super) fn is_over(&mut self, datagrams: u64, now: Instant) -> bool {
        let was_held_up = now.saturating_duration_since(self.looked_at) > HELD_UP;
        if datagrams != self.datagrams || was_held_up {
            (self.datagrams, self.heard_at) = (datagrams, now);
        }
        self.looked_at = now;
        now.saturating_duration_since(self.heard_at) >= LIMIT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks at these seconds, and how many datagrams had come in by then; at which of them it was given up.
    fn given_up(looks: &[(u64, u64)]) -> Option<u64> {
        let begun = Instant::now();
        let mut silence = Silence::new(0, begun);
        let over = |(second, datagrams): &&(u64, u64)| {
            silence.is_over(*datagrams, begun + Duration::from_secs(*second))
        };
        looks.iter().find(over).map(|(second, _)| *second)
    }

    #[test]
    fn a_connection_is_given_up_after_so_much_silence() {
        let limit = LIMIT.as_secs();
        let looks: Vec<_> = (1..=limit + 4).map(|second| (second, u64::from(second >= 2))).collect();
        assert_eq!(given_up(&looks), Some(limit + 2));
    }

    #[test]
    fn one_on_which_anything_comes_in_is_not() {
        let looks: Vec<_> = (1..=60).map(|second| (second, second / 5)).collect();
        assert_eq!(given_up(&looks), None);
    }

    #[test]
    fn who_was_held_up_itself_does_not_blame_the_other_side() {
        let held_up_until = 30;
        let over_at = held_up_until + LIMIT.as_secs();
        assert_eq!(given_up(&[(1, 1), (held_up_until, 1), (over_at - 3, 1), (over_at - 1, 1)]), None);
        assert_eq!(given_up(&[(1, 1), (held_up_until, 1), (over_at - 2, 1), (over_at, 1)]), Some(over_at));
    }
}
