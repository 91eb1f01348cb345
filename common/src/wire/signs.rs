//! Owns an agent's signs of life after it was held up: datagrams without content that say nothing but that it is there.
//!
//! QUIC keeps a connection alive by a packet now and then. A process that stood still has been silent for longer than that; if
//! a network that loses some takes the one packet that follows, or the one after it too, a host that is there counts as
//! lost. So whoever was held up says several times, close behind each other, that it is there.
//!
//! ```text
//!   woken in time       nothing; the connection is kept alive
//!   woken late          one sign at once, and REPEATS more
//! ```
//!
//! It wakes once a second for this, and looks now and then whether the other side was heard (`silence.rs`), too.
//!
//! Must not: carry anything. A peer that does not take datagrams is told nothing.

use std::sync::Arc;
use std::time::Duration;

use quinn::SendDatagramError;
use tokio::time::{Instant, sleep_until};

use super::session::Session;
use super::silence::Silence;

/// How often it is looked whether the process was held up: a pause that costs a host its standing is longer.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Whoever is woken this late was held up: by a machine that stood still, not by one that is busy.
const HELD_UP: Duration = Duration::from_millis(500);
/// So many signs follow the first one then: on a network that loses one datagram of twenty, all are lost once in three
/// million times.
const REPEATS: u32 = 4;
/// Between two of them: all are there within half a second, and what loses one has had time to pass.
const REPEAT_INTERVAL: Duration = Duration::from_millis(120);

/// When the next sign is due, and whether it is.
#[derive(Debug, Default)]
struct Rhythm {
    repeats_left: u32,
}

impl Rhythm {
    /// How long to wait now.
    const fn pause(&self) -> Duration {
        if self.repeats_left > 0 { REPEAT_INTERVAL } else { LOOK_INTERVAL }
    }

    /// Whether a sign is to be given, `late` after the moment that was waited for.
    fn is_due(&mut self, late: Duration) -> bool {
        if late >= HELD_UP {
            self.repeats_left = REPEATS;
            return true;
        }
        let is_repeat = self.repeats_left > 0;
        self.repeats_left = self.repeats_left.saturating_sub(1);
        is_repeat
    }
}

/// Gives signs until the connection is over, and gives it up when the other side gives none.
pub(super) async fn give_signs(session: Arc<Session>) {
    let mut rhythm = Rhythm::default();
    let mut silence = Silence::new(session.received(), Instant::now());
    loop {
        let due = Instant::now() + rhythm.pause();
        sleep_until(due).await;
        let now = Instant::now();
        if silence.is_due(now) && silence.is_over(session.received(), now) {
            return session.give_up();
        }
        if rhythm.is_due(due.elapsed()) {
            // A coordinator that takes none has the keep-alive.
            let given = session.connection.send_datagram(Vec::new().into());
            if matches!(given, Err(SendDatagramError::ConnectionLost(_))) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_was_held_up_says_several_times_that_it_is_there() {
        let mut rhythm = Rhythm::default();
        assert_eq!(rhythm.pause(), LOOK_INTERVAL);
        assert!(!rhythm.is_due(Duration::from_millis(20)));
        assert!(rhythm.is_due(Duration::from_secs(2)));
        for _ in 0..REPEATS {
            assert_eq!(rhythm.pause(), REPEAT_INTERVAL);
            assert!(rhythm.is_due(Duration::ZERO));
        }
        assert_eq!(rhythm.pause(), LOOK_INTERVAL);
        assert!(!rhythm.is_due(Duration::ZERO));
    }

    #[test]
    fn held_up_again_begins_anew() {
        let mut rhythm = Rhythm::default();
        assert!(rhythm.is_due(HELD_UP));
        assert!(rhythm.is_due(Duration::ZERO) && rhythm.is_due(HELD_UP));
        let repeats = (0..=REPEATS).take_while(|_| rhythm.is_due(Duration::ZERO)).count();
        assert_eq!(repeats, REPEATS as usize);
    }
}
