//! Owns what is counted while the coordinator works. Cheap enough for every decision: a few atomic additions.
//!
//! Must not: keep anything per VM, per host or per person.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::histogram::Histogram;
use super::refusal::{REASONS, reason_of};

/// A decision takes tens of microseconds on a small fleet, and some milliseconds with an explanation of a large one.
const DECISION_BOUNDS: &[u64] =
    &[25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 1_000_000];
/// A disk's flush takes from a fraction of a millisecond to a tenth of a second; what is longer is a disk in trouble.
const WRITE_BOUNDS: &[u64] =
    &[250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 5_000_000];
/// An answer takes a round trip, or as long as libvirt does; 30 s is the patience with most commands.
const COMMAND_BOUNDS: &[u64] = &[
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 5_000_000, 10_000_000,
    30_000_000,
];

/// How a decision ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecisionOutcome {
    /// A host was found.
    Placed,
    /// None was.
    Unplaceable,
}

/// How a command ended that was not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandFailure {
    /// The agent said no.
    Refused,
    /// It did not answer.
    NoAnswer,
}

/// All that is counted.
#[derive(Debug)]
pub struct Recorder {
    pub(super) placed: AtomicU64,
    pub(super) unplaceable: AtomicU64,
    pub(super) refusals: [AtomicU64; REASONS.len()],
    pub(super) decisions: Histogram,
    pub(super) writes: Histogram,
    pub(super) writes_failed: AtomicU64,
    pub(super) commands: Histogram,
    pub(super) commands_refused: AtomicU64,
    pub(super) commands_unanswered: AtomicU64,
    pub(super) agents_connected: AtomicU64,
    pub(super) agents_disconnected: AtomicU64,
    pub(super) agents_refused: AtomicU64,
    agents_waiting: Arc<AtomicUsize>,
    server_certificate_ends: Arc<AtomicU64>,
}

impl Default for Recorder {
    fn default() -> Self {
        Self {
            placed: AtomicU64::new(0),
            unplaceable: AtomicU64::new(0),
            refusals: [const { AtomicU64::new(0) }; REASONS.len()],
            decisions: Histogram::new(DECISION_BOUNDS),
            writes: Histogram::new(WRITE_BOUNDS),
            writes_failed: AtomicU64::new(0),
            commands: Histogram::new(COMMAND_BOUNDS),
            commands_refused: AtomicU64::new(0),
            commands_unanswered: AtomicU64::new(0),
            agents_connected: AtomicU64::new(0),
            agents_disconnected: AtomicU64::new(0),
            agents_refused: AtomicU64::new(0),
            agents_waiting: Arc::default(),
            server_certificate_ends: Arc::default(),
        }
    }
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Recorder {
    /// A decision was made. `reasons` are what kept hosts out, one for each kind, in the scheduler's words; they count only
    /// when no host was found.
    pub fn decided<'a>(
        &self,
        outcome: DecisionOutcome,
        took: Duration,
        reasons: impl IntoIterator<Item = &'a str>,
    ) {
        self.decisions.observe(took);
        match outcome {
            DecisionOutcome::Placed => add(&self.placed),
            DecisionOutcome::Unplaceable => {
                add(&self.unplaceable);
                let mut counted = [false; REASONS.len()];
                for place in reasons.into_iter().map(reason_of) {
                    // Two kinds of reason may have one word; a decision counts once for each word.
                    if let (Some(counter), Some(known)) = (self.refusals.get(place), counted.get_mut(place))
                        && !std::mem::replace(known, true)
                    {
                        add(counter);
                    }
                }
            }
        }
    }

    /// A change was written, or not.
    pub fn wrote(&self, took: Duration, taken: bool) {
        self.writes.observe(took);
        if !taken {
            add(&self.writes_failed);
        }
    }

    /// A command was answered, or not.
    pub fn commanded(&self, took: Duration, failure: Option<CommandFailure>) {
        match failure {
            None => self.commands.observe(took),
            Some(CommandFailure::Refused) => {
                self.commands.observe(took);
                add(&self.commands_refused);
            }
            Some(CommandFailure::NoAnswer) => add(&self.commands_unanswered),
        }
    }

    /// An agent was welcomed.
    pub fn agent_connected(&self) {
        add(&self.agents_connected);
    }

    /// An agent's connection ended.
    pub fn agent_disconnected(&self) {
        add(&self.agents_disconnected);
    }

    /// An agent was turned away.
    pub fn agent_refused(&self) {
        add(&self.agents_refused);
    }

    /// Where whoever renews the coordinator's own certificate says when it expires, in milliseconds since 1970; zero when
    /// nobody has said.
    #[must_use]
    pub const fn server_certificate_ends(&self) -> &Arc<AtomicU64> {
        &self.server_certificate_ends
    }

    /// Where the length of the line at the agents' port is kept by whoever has the line.
    #[must_use]
    pub const fn agents_waiting(&self) -> &Arc<AtomicUsize> {
        &self.agents_waiting
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_counts_once_for_each_reason_and_only_when_no_host_was_found() {
        let recorder = Recorder::default();
        let took = Duration::from_micros(40);
        recorder.decided(DecisionOutcome::Placed, took, ["cores: 2 asked, 1 free of 4"]);
        let reasons = ["cores: 2 asked", "cpu: 1 asked", "cpu: model x asked", "memory: much asked"];
        recorder.decided(DecisionOutcome::Unplaceable, took, reasons);
        let counted = |word: &str| {
            let place = REASONS.iter().position(|known| *known == word).unwrap();
            recorder.refusals[place].load(Ordering::Relaxed)
        };
        assert_eq!((counted("cores"), counted("cpu"), counted("memory"), counted("other")), (1, 1, 1, 0));
    }
}
