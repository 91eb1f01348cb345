//! Owns the order in which agents come in through one port: a bounded number of handshakes at a time, and a line for the
//! others, so that a whole fleet can come back at once without slowing down whoever is connected.
//!
//! ```text
//!   knock ── nobody waits, few handshakes ──────────────▶ line ── a place is free ──▶ handshake
//!     │                                                    ▲ │
//!     └─ otherwise: prove your address ── comes again ─────┘ └─ full: not answered; the peer knocks again by itself,
//!        (costs no memory)            with the proof            ever more seldom, as QUIC does with a lost datagram
//! ```
//!
//! Only a peer that receives at the address it sends from takes room in the line. Waiting costs a peer a datagram now and
//! then; being sent away and dialling anew would cost both sides more. But peers do not wait for ever, and a handshake with
//! one that has gone, and perhaps stands in the line once more, only makes the others wait longer, until they have gone as
//! well; from there on nobody would ever come in. So the oldest comes in first as long as it is surely there. When the line
//! has become longer than that, the newest does, who is there, and whoever has waited for longer than any peer does is
//! forgotten.
//!
//! Must not: know what is said in a handshake.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use quinn::{Endpoint, Incoming};
use tokio::time::Instant;

use crate::quic::{DIALLING_PATIENCE_MIN, DIALLING_TIMEOUT, HandshakeGate, HandshakePermit};

/// Peers that wait for a place: a fleet of ten thousand hosts at once, since whoever finds no room knocks again only after
/// seconds. A peer gives up after [`DIALLING_TIMEOUT`]; many more than this would wait in vain on two processors, and each
/// takes some kilobytes.
pub const LINE_MAX: usize = 16 << 10;

/// For so long at most a peer waits for the next word of a server before it gives up.
const PEERS_PATIENCE: Duration = DIALLING_TIMEOUT;
/// For so long every peer waits.
const SURELY_THERE: Duration = DIALLING_PATIENCE_MIN;

/// Lets peers in through one port.
#[derive(Debug)]
pub struct Admission {
    endpoint: Endpoint,
    gate: HandshakeGate,
    line: Line<Incoming>,
    /// How many wait, for whoever watches.
    waiting: Arc<AtomicUsize>,
}

/// Those that wait, the oldest first, and since when each does.
#[derive(Debug)]
struct Line<T> {
    waiting: VecDeque<(Instant, T)>,
    length_max: usize,
}

impl<T> Line<T> {
    const fn new(length_max: usize) -> Self {
        Self { waiting: VecDeque::new(), length_max }
    }

    fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Gives it back when there is no room.
    fn push(&mut self, peer: T, now: Instant) -> Result<(), T> {
        if self.waiting.len() >= self.length_max {
            return Err(peer);
        }
        self.waiting.push_back((now, peer));
        Ok(())
    }

    /// How long the oldest has waited.
    fn age(&self, now: Instant) -> Option<Duration> {
        self.waiting.front().map(|(since, _)| now.saturating_duration_since(*since))
    }

    /// The next one that has gone, as long as there is any.
    fn pop_gone(&mut self, now: Instant) -> Option<T> {
        let is_gone = self.age(now)? > PEERS_PATIENCE;
        if is_gone { self.waiting.pop_front().map(|(_, peer)| peer) } else { None }
    }

    /// The next one to come in.
    fn pop(&mut self, now: Instant) -> Option<T> {
        let is_surely_there = self.age(now)? <= SURELY_THERE;
        let next = if is_surely_there { self.waiting.pop_front() } else { self.waiting.pop_back() };
        next.map(|(_, peer)| peer)
    }
}

impl Admission {
    /// Lets peers in through `endpoint`, with as many handshakes at a time as `gate` has places.
    #[must_use]
    pub fn new(endpoint: Endpoint, gate: HandshakeGate) -> Self {
        Self::with_line(endpoint, gate, LINE_MAX)
    }

    /// The same with a line of another length.
    #[must_use]
    pub fn with_line(endpoint: Endpoint, gate: HandshakeGate, line_max: usize) -> Self {
        Self { endpoint, gate, line: Line::new(line_max), waiting: Arc::default() }
    }

    /// The same, saying how many wait.
    #[must_use]
    pub fn telling(self, waiting: Arc<AtomicUsize>) -> Self {
        Self { waiting, ..self }
    }

    fn tell(&self) {
        self.waiting.store(self.line.len(), Ordering::Relaxed);
    }

    /// The next peer whose handshake may begin, and its place; none when the endpoint is closed. Cancelling loses nothing.
    pub async fn next(&mut self) -> Option<(Incoming, HandshakePermit)> {
        loop {
            self.forget_gone();
            self.tell();
            // Before the next knock is looked at: a flood of them must not keep out who waits.
            if !self.line.is_empty()
                && let Some(place) = self.gate.free_place()
                && let Some(incoming) = self.line.pop(Instant::now())
            {
                self.tell();
                return Some((incoming, place));
            }
            tokio::select! {
                incoming = self.endpoint.accept() => self.receive(incoming?),
                place = self.gate.place(), if !self.line.is_empty() => {
                    self.forget_gone();
                    if let Some(incoming) = self.line.pop(Instant::now()) {
                        self.tell();
                        return Some((incoming, place));
                    }
                }
            }
        }
    }

    fn receive(&mut self, incoming: Incoming) {
        let is_proved = incoming.remote_address_validated() || !incoming.may_retry();
        if !is_proved && (self.gate.is_busy() || !self.line.is_empty()) {
            // The only error is "may not retry", which has been asked.
            let _ = incoming.retry();
        } else if let Err(incoming) = self.line.push(incoming, Instant::now()) {
            incoming.ignore();
        }
    }

    fn forget_gone(&mut self) {
        while let Some(gone) = self.line.pop_gone(Instant::now()) {
            gone.ignore();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_gone_is_not_let_in_and_nobody_else_is_left_out() {
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let mut line = Line::new(3);
        let patience = PEERS_PATIENCE.as_secs();
        for (peer, seconds) in [("first", 0), ("second", 1), ("third", patience)] {
            line.push(peer, at(seconds)).unwrap();
        }
        assert_eq!(line.push("fourth", at(patience)), Err("fourth"), "there is room for three");
        assert_eq!(line.pop_gone(at(patience)), None, "the first may be there still");
        assert_eq!(line.pop_gone(at(patience + 2)), Some("first"));
        assert_eq!(line.pop_gone(at(patience + 2)), Some("second"));
        assert_eq!(line.pop_gone(at(patience + 2)), None);
        assert_eq!(line.pop(at(patience + 2)), Some("third"));
        assert!(line.is_empty());
    }

    #[test]
    fn the_oldest_comes_in_first_as_long_as_it_is_surely_there() {
        let begun = Instant::now();
        let mut line = Line::new(8);
        for peer in 1..=5 {
            line.push(peer, begun).unwrap();
        }
        let later = begun + SURELY_THERE;
        assert_eq!([line.pop(begun), line.pop(later)], [Some(1), Some(2)]);
        line.push(6, later).unwrap();
        let too_late = later + Duration::from_millis(1);
        assert_eq!([line.pop(too_late), line.pop(too_late)], [Some(6), Some(5)]);
        assert_eq!(line.pop(later), Some(3));
    }

    /// An agent of a fleet that dials a coordinator which it knows nothing of: it gives up, waits a little, and dials again.
    struct Agent {
        attempt: u32,
        gives_up_at: Duration,
    }

    /// How long a fleet takes to come in where each handshake takes so long, whether the peer is there or not; none if it
    /// never does.
    fn comes_in_within(agents: usize, handshake: Duration) -> Option<Duration> {
        const PATIENCE_MAX: Duration = Duration::from_secs(12);
        const PAUSE: Duration = Duration::from_millis(500);
        const NEVER: Duration = Duration::from_secs(600);
        let begun = Instant::now();
        let patience = |attempt: u32| (DIALLING_PATIENCE_MIN * (1 << attempt.min(8))).min(PATIENCE_MAX);
        let mut line = Line::new(LINE_MAX);
        let mut fleet: Vec<Agent> =
            (0..agents).map(|_| Agent { attempt: 0, gives_up_at: patience(0) }).collect();
        for number in 0..agents {
            line.push((number, 0), begun).ok()?;
        }
        let (mut now, mut outside) = (Duration::ZERO, agents);
        while outside > 0 && now < NEVER {
            while line.pop_gone(begun + now).is_some() {}
            if let Some((number, attempt)) = line.pop(begun + now) {
                let agent = &mut fleet[number];
                if agent.attempt == attempt && now < agent.gives_up_at {
                    (agent.gives_up_at, outside) = (Duration::MAX, outside - 1);
                }
            }
            now += handshake;
            for (number, agent) in fleet.iter_mut().enumerate() {
                if now >= agent.gives_up_at.saturating_add(PAUSE) {
                    agent.attempt += 1;
                    agent.gives_up_at = now + patience(agent.attempt);
                    // Who finds no room is as good as gone until it dials again.
                    let _ = line.push((number, agent.attempt), begun + now);
                }
            }
        }
        (outside == 0).then_some(now)
    }

    #[test]
    fn a_fleet_comes_in_however_slow_the_coordinator_is() {
        // Half a minute of handshakes, and nobody waits for longer than twelve seconds.
        let within = comes_in_within(2000, Duration::from_millis(15)).expect("the fleet never comes in");
        assert!(within < Duration::from_secs(90), "{within:?}");
        let quick = comes_in_within(2000, Duration::from_millis(1)).unwrap();
        assert!(quick < Duration::from_millis(2100), "{quick:?}");
    }
}
