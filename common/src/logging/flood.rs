//! Owns how many lines of one kind are written: what a peer, a guest or libvirt causes again and again is written a
//! bounded number of times a minute, and then counted.
//!
//! ```text
//!   line ─▶ first LINES_MAX of its kind within WINDOW ─▶ written
//!             └─▶ further ones ─▶ counted, the last kept ─▶ WINDOW is over ─▶ "N more of the same"
//! ```
//!
//! Must not: read a clock or write anything. `now` is the time since any fixed moment.

use std::collections::HashMap;
use std::time::Duration;

/// How long lines of one kind are counted together.
pub(super) const WINDOW: Duration = Duration::from_secs(60);
/// Lines of one kind that are written within [`WINDOW`]: enough to see that something comes again and in which rhythm,
/// few enough to be read.
pub(super) const LINES_MAX: u32 = 10;
/// Kinds that are counted apart: about 100 bytes and one held line each. A large fleet's hosts fit; beyond it, new
/// subjects of one place in the source are counted together.
pub(super) const KINDS_MAX: usize = 4096;
/// How often room is looked for when there is none.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// The subject of what is counted together for want of room.
const EVERYTHING_ELSE: u64 = 0;

/// What makes lines of one kind: where in the source they come from, and whom they are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Kind {
    /// The source file and the line in it. There are some hundreds, so they alone are bounded.
    pub(super) place: (&'static str, u32),
    /// A hash of which message it is, and of the VM, host or realm that it is about.
    pub(super) subject: u64,
}

/// Lines that were not written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Held<L> {
    /// How many.
    pub(super) count: u64,
    /// The last of them.
    pub(super) last: L,
}

#[derive(Debug)]
struct Window<L> {
    began: Duration,
    written: u32,
    held: Option<Held<L>>,
}

impl<L> Window<L> {
    fn is_over(&self, now: Duration) -> bool {
        now.saturating_sub(self.began) >= WINDOW
    }
}

/// Counts lines. `L` is what is kept of one that is not written.
#[derive(Debug)]
pub(super) struct FloodGate<L> {
    windows: HashMap<Kind, Window<L>>,
    /// When room was last looked for.
    looked_at: Duration,
}

impl<L> Default for FloodGate<L> {
    fn default() -> Self {
        Self { windows: HashMap::new(), looked_at: Duration::ZERO }
    }
}

impl<L> FloodGate<L> {
    /// Whether a line may be written; otherwise it is counted, and `line` is kept as the last one. What was held in a
    /// window that is over is answered too: it is to be told before the line.
    pub(super) fn offer(
        &mut self,
        kind: Kind,
        now: Duration,
        line: impl FnOnce() -> L,
    ) -> (bool, Option<Held<L>>) {
        let kind = self.with_room(kind, now);
        let told = match self.windows.get(&kind) {
            Some(window) if window.is_over(now) => self.windows.remove(&kind).and_then(|window| window.held),
            _ => None,
        };
        let fresh = Window { began: now, written: 0, held: None };
        let window = self.windows.entry(kind).or_insert(fresh);
        if window.written < LINES_MAX {
            window.written += 1;
            return (true, told);
        }
        let count = window.held.as_ref().map_or(0, |held| held.count).saturating_add(1);
        window.held = Some(Held { count, last: line() });
        (false, told)
    }

    /// What was held in windows that are over by `now`, each once.
    pub(super) fn take_due(&mut self, now: Duration) -> Vec<Held<L>> {
        self.take(|window| window.is_over(now))
    }

    /// What is held now, each once; for the end of the process.
    pub(super) fn take_all(&mut self) -> Vec<Held<L>> {
        self.take(|_| true)
    }

    fn take(&mut self, is_due: impl Fn(&Window<L>) -> bool) -> Vec<Held<L>> {
        let mut due = Vec::new();
        self.windows.retain(|_, window| {
            let over = is_due(window);
            if over {
                due.extend(window.held.take());
            }
            !over
        });
        due
    }

    /// When the next window that holds something is over.
    #[must_use]
    pub(super) fn next_due(&self) -> Option<Duration> {
        let holding = self.windows.values().filter(|window| window.held.is_some());
        holding.map(|window| window.began.saturating_add(WINDOW)).min()
    }

    /// The kind itself, or everything else of its place when there is no room for another kind.
    fn with_room(&mut self, kind: Kind, now: Duration) -> Kind {
        if self.windows.len() < KINDS_MAX || self.windows.contains_key(&kind) {
            return kind;
        }
        // Not at every line: in a flood of new subjects that would be the dearer part of it.
        if now.saturating_sub(self.looked_at) >= LOOK_INTERVAL {
            self.looked_at = now;
            // What was written and never held has nothing to tell any more.
            self.windows.retain(|_, window| window.held.is_some() || !window.is_over(now));
        }
        if self.windows.len() < KINDS_MAX { kind } else { Kind { subject: EVERYTHING_ELSE, ..kind } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(line: u32, subject: u64) -> Kind {
        Kind { place: ("a.rs", line), subject }
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_flood_is_written_a_bounded_number_of_times_and_then_counted() {
        let mut gate = FloodGate::default();
        let mut written = 0;
        let mut told = Vec::new();
        // Ten minutes, a thousand lines a second.
        for millisecond in 0..600_000_u64 {
            let (write, held) = gate.offer(kind(1, 7), Duration::from_millis(millisecond), || millisecond);
            written += u64::from(write);
            told.extend(held);
        }
        told.extend(gate.take_due(seconds(600)));
        assert_eq!(written, 10 * u64::from(LINES_MAX));
        assert_eq!(told.len(), 10, "one for each minute");
        assert_eq!(told.iter().map(|held| held.count).sum::<u64>() + written, 600_000, "none is forgotten");
        assert_eq!(told[0], Held { count: 60_000 - u64::from(LINES_MAX), last: 59_999 });
    }

    #[test]
    fn what_is_held_is_told_when_its_time_is_over_though_nothing_follows() {
        let mut gate = FloodGate::default();
        for _ in 0..=LINES_MAX {
            gate.offer(kind(1, 7), seconds(5), || "again");
        }
        assert_eq!(gate.next_due(), Some(seconds(65)));
        assert_eq!(gate.take_due(seconds(64)), []);
        assert_eq!(gate.take_due(seconds(65)), [Held { count: 1, last: "again" }]);
        assert_eq!(gate.take_due(seconds(900)), [], "once");
        assert_eq!(gate.next_due(), None);
    }

    #[test]
    fn what_is_rare_is_never_held_and_others_floods_do_not_touch_it() {
        let mut gate = FloodGate::default();
        for second in 0..1000 {
            assert!(gate.offer(kind(1, 1), seconds(second * 10), || ()).0);
            for _ in 0..100 {
                gate.offer(kind(1, 2), seconds(second * 10), || ());
                gate.offer(kind(2, 1), seconds(second * 10), || ());
            }
        }
    }

    #[test]
    fn memory_is_bounded_whatever_the_subjects_are() {
        let mut gate = FloodGate::default();
        let mut written = 0;
        for subject in 1..200_000 {
            written += u64::from(gate.offer(kind(1, subject), seconds(1), || ()).0);
        }
        assert!(gate.windows.len() <= KINDS_MAX + 1, "{}", gate.windows.len());
        assert_eq!(written, KINDS_MAX as u64 + u64::from(LINES_MAX));
        let held = gate.take_all();
        assert_eq!(held.iter().map(|held| held.count).sum::<u64>() + written, 199_999);
        // What is over makes room again.
        for subject in 1..=100 {
            assert!(gate.offer(kind(3, subject), seconds(70), || ()).0);
        }
    }
}
