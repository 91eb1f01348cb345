//! Owns when which domains are asked for their sizes: those whose definition was written soon, and all from time to time.
//!
//! Must not: ask, wait or look at a clock: moments are arguments.
//!
//! ```text
//!   written ──▶ waiting, each once ── a turn, as far as the allowance goes ──▶ asked
//!                  │                                                             ▲
//!                  └────────────── all are looked at: the net ───────────────────┘
//! ```

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::saved_definitions::Written;

/// The shortest time between two looks at all: where nothing is told by the kernel, what changed on a host with few domains
/// is known within a second.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// What can be asked for on average. A question is some 90 µs here, two with a name to look up: five a second are not felt,
/// forty would be most of what an agent costs. So where nothing is told, a look at all comes later on a host with more
/// than two domains; with a hundred it is still sooner than the poll that compares everything. To ask for all in one call
/// would be cheap here and dear elsewhere: libvirt then asks each QEMU twice, which costs the host many times what it saves
/// the agent.
const QUESTION_INTERVAL: Duration = Duration::from_millis(200);
/// What may be asked for at once after a time in which little was: as many as a look at all of a hundred domains asks
/// for, which has the same average.
const ALLOWANCE_MAX: u32 = 100;
/// The longest time between two looks at all while every change is told: what was missed all the same is known within a
/// minute, and the agent of a quiet host with a hundred domains asks for a third of what it would otherwise.
const NET_INTERVAL: Duration = Duration::from_secs(60);
/// From a hint to the question: libvirt writes several times for one deed.
const GATHER: Duration = Duration::from_millis(20);
/// The time between two turns: a domain that is written all the time is asked for four times a second, and the last
/// of its changes is known well within a second.
const TURN_INTERVAL: Duration = Duration::from_millis(250);
/// Domains of one turn: a hundred that start at once have their turns within the second, and libvirt's lane is free again
/// after some milliseconds each time.
const TURN_MAX: usize = 25;
/// Domains that can wait for their turn. Beyond it they are looked at with all others.
const WAITING_MAX: usize = 512;

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Every domain's size is to be asked for.
    All,
    /// The sizes of the domains of these names are.
    These(Vec<String>),
    /// Nothing yet.
    Nothing,
}

/// How the time until the next turn is spent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pause {
    /// What is written ends it.
    Watching(Duration),
    /// What is written can wait: a flood of it must not keep anybody awake.
    Resting(Duration),
}

/// Whose turn it is.
#[derive(Debug)]
pub(super) struct AskingTurns {
    /// In the order of their first hints.
    waiting: VecDeque<String>,
    turn_at: Instant,
    allowance: u32,
    /// Up to when the allowance has grown.
    grown_until: Instant,
    looked_at: Instant,
    /// When all are looked at again, at the latest.
    all_at: Instant,
    /// How many there were.
    domains: usize,
}

impl AskingTurns {
    /// Begins with a look at all.
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            waiting: VecDeque::new(),
            turn_at: now,
            allowance: ALLOWANCE_MAX,
            grown_until: now,
            looked_at: now,
            all_at: now,
            domains: 0,
        }
    }

    /// Takes up what was written.
    pub(super) fn note(&mut self, written: Written, now: Instant) {
        if self.waiting.is_empty() && !written.domains.is_empty() {
            self.turn_at = self.turn_at.max(now + GATHER);
        }
        for domain in written.domains {
            if self.waiting.len() >= WAITING_MAX {
                self.look_at_all();
            } else if !self.waiting.contains(&domain) {
                self.waiting.push_back(domain);
            }
        }
        if written.more {
            self.look_at_all();
        }
    }

    /// Says whose turn it is now, and counts it as taken.
    pub(super) fn next(&mut self, now: Instant) -> Turn {
        if now >= self.all_at {
            return Turn::All;
        }
        if self.waiting.is_empty() || now < self.turn_at {
            return Turn::Nothing;
        }
        self.grow_allowance(now);
        let allowed = usize::try_from(self.allowance).unwrap_or(usize::MAX);
        let turn: Vec<String> = self.waiting.drain(..self.waiting.len().min(TURN_MAX).min(allowed)).collect();
        self.allowance -= u32::try_from(turn.len()).unwrap_or(self.allowance);
        self.turn_at = now + TURN_INTERVAL;
        if turn.is_empty() { Turn::Nothing } else { Turn::These(turn) }
    }

    /// All were looked at, so many; or they could not be asked for. Also whether every change is told from now on.
    pub(super) fn all_were_looked_at(&mut self, domains: Option<usize>, all_is_told: bool, now: Instant) {
        self.looked_at = now;
        self.domains = domains.unwrap_or(0);
        let soonest = pause(self.domains);
        self.all_at =
            now + if domains.is_some() && all_is_told { soonest.max(NET_INTERVAL) } else { soonest };
        if domains.is_some() {
            self.waiting.clear();
        }
    }

    /// Something may have been missed: all are looked at as soon as what they cost allows.
    pub(super) fn look_at_all(&mut self) {
        self.all_at = self.all_at.min(self.looked_at + pause(self.domains));
    }

    /// How to spend the time until something is to be done.
    pub(super) fn pause(&self, now: Instant) -> Pause {
        if self.waiting.is_empty() {
            Pause::Watching(self.all_at.saturating_duration_since(now))
        } else {
            Pause::Resting(self.all_at.min(self.turn_at).saturating_duration_since(now))
        }
    }

    fn grow_allowance(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.grown_until);
        let grown =
            u32::try_from(passed.as_millis() / QUESTION_INTERVAL.as_millis()).unwrap_or(ALLOWANCE_MAX);
        let grown = grown.min(ALLOWANCE_MAX);
        self.allowance = self.allowance.saturating_add(grown).min(ALLOWANCE_MAX);
        // What is begun of the next one is kept, unless nothing could grow.
        self.grown_until =
            if self.allowance == ALLOWANCE_MAX { now } else { self.grown_until + QUESTION_INTERVAL * grown };
    }
}

/// The time between two looks at all that are not felt.
fn pause(domains: usize) -> Duration {
    let domains = u32::try_from(domains).unwrap_or(u32::MAX);
    LOOK_INTERVAL.max(QUESTION_INTERVAL.saturating_mul(domains))
}

#[cfg(test)]
#[path = "asking_turns_tests.rs"]
mod tests;
