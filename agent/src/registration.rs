//! Owns the schedule by which a guest is asked for its first sign of life, and how long each answer is waited for.
//!
//! The event that its agent's channel opened makes a guest be asked at once. Whatever it does, it is asked less and less
//! often without being heard: one whose channel is closed costs a refused call each time, and one that holds it open and
//! does not answer, or babbles, occupies a call for as long as it is waited for. How many are waited for at
//! the same time is bounded by `vm::driver`: such a guest delays other guests' registration a little, and nothing else.

use std::time::Duration;

use reeve_common::clock::Timestamp;

use crate::vm::known::Progress;

/// Time between the first questions to a guest that may still be booting.
pub const PING_INTERVAL: Duration = Duration::from_secs(1);

/// The longest time between two questions to a guest that does not answer: registration is seen within it even if
/// libvirt's event is lost.
pub const PING_INTERVAL_MAX: Duration = Duration::from_secs(10);

/// Patience with a guest asked for the first times. One under software emulation on a busy host answers in
/// well under a second once its agent runs.
pub const PATIENCE_FIRST: Duration = Duration::from_secs(2);

/// Patience with a guest that has not answered several times: perhaps it is only slow.
pub const PATIENCE_MAX: Duration = Duration::from_secs(4);

/// Unanswered questions after which patience grows.
const UNANSWERED_BEFORE_MORE_PATIENCE: u32 = 3;

/// When the guest is asked next. Never later than its deadline if it has not been asked since, so that the last
/// question comes when its time is over and not before.
#[must_use]
pub fn next_ping(progress: &Progress, deadline: Timestamp, now: Timestamp) -> Timestamp {
    let Some(last) = progress.last_ping else { return now };
    let doublings = progress.pings_unanswered.saturating_sub(1).min(8);
    let interval = PING_INTERVAL.saturating_mul(1 << doublings).min(PING_INTERVAL_MAX);
    let regular = last.after(interval);
    // A wall clock that was set back must not silence the schedule.
    if last > now || (last < deadline && regular > deadline && now >= deadline) { now } else { regular }
}

/// How long the next answer is waited for.
#[must_use]
pub const fn patience(progress: &Progress) -> Duration {
    if progress.pings_unanswered < UNANSWERED_BEFORE_MORE_PATIENCE { PATIENCE_FIRST } else { PATIENCE_MAX }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINE: Timestamp = Timestamp(100_000);

    fn after(unanswered: u32, connected: Option<bool>) -> Progress {
        Progress {
            last_ping: Some(Timestamp(5_000)),
            pings_unanswered: unanswered,
            guest_agent_connected: connected,
            ..Progress::default()
        }
    }

    #[test]
    fn a_guest_is_asked_at_once() {
        let fresh = Progress::default();
        assert_eq!(next_ping(&fresh, DEADLINE, Timestamp(7)), Timestamp(7));
    }

    #[test]
    fn a_mute_guest_is_asked_less_and_less_often() {
        for connected in [None, Some(false), Some(true)] {
            let due = |unanswered| next_ping(&after(unanswered, connected), DEADLINE, Timestamp(5_000)).0;
            assert_eq!([due(1), due(2), due(3), due(4), due(5)], [6_000, 7_000, 9_000, 13_000, 15_000]);
            assert_eq!(due(u32::MAX), 15_000);
        }
    }

    #[test]
    fn the_last_question_comes_at_the_deadline() {
        let progress = Progress { last_ping: Some(Timestamp(99_500)), ..after(9, Some(true)) };
        assert_eq!(next_ping(&progress, DEADLINE, DEADLINE), DEADLINE);
    }

    #[test]
    fn a_clock_set_back_does_not_silence_the_schedule() {
        assert_eq!(next_ping(&after(1, None), DEADLINE, Timestamp(10)), Timestamp(10));
    }
}
