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
//! Only a peer that receives at the address it sends from takes room in the line, and it comes in before those that came
//! later. Waiting costs a peer a datagram now and then; being sent away and dialling anew would cost both sides more.
//!
//! Must not: know what is said in a handshake.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use quinn::{Endpoint, Incoming};

use crate::quic::{HandshakeGate, HandshakePermit};

/// Peers that wait for a place. A peer gives up after [`crate::quic::IDLE_TIMEOUT`]; many more than this would wait in vain,
/// and each takes memory.
pub const LINE_MAX: usize = 6 << 10;

/// Lets peers in through one port.
#[derive(Debug)]
pub struct Admission {
    endpoint: Endpoint,
    gate: HandshakeGate,
    line: VecDeque<Incoming>,
    line_max: usize,
    /// How many wait, for whoever watches.
    waiting: Arc<AtomicUsize>,
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
        Self { endpoint, gate, line: VecDeque::new(), line_max, waiting: Arc::default() }
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
            self.tell();
            // Before the next knock is looked at: a flood of them must not keep out who waits.
            if !self.line.is_empty()
                && let Some(place) = self.gate.free_place()
                && let Some(incoming) = self.line.pop_front()
            {
                self.tell();
                return Some((incoming, place));
            }
            tokio::select! {
                incoming = self.endpoint.accept() => self.receive(incoming?),
                place = self.gate.place(), if !self.line.is_empty() => {
                    if let Some(incoming) = self.line.pop_front() {
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
        } else if self.line.len() < self.line_max {
            self.line.push_back(incoming);
        } else {
            incoming.ignore();
        }
    }
}
