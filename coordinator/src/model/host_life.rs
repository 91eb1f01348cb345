//! Owns what the coordinator may believe of a host it hears, hears no more, or heard again: how it stands, and whether
//! what ran there may still run there. Pure: moments go in, a judgement comes out.
//!
//! ```text
//!                 no sign for suspect-after            no sign for lost-after
//!   connected ───────────────────────▶ suspected ───────────────────────▶ lost
//!    ▲  ▲ ▲                               │                              │    │
//!    │  │ └───────────── a sign ──────────┘             seen to be off by │    │ its lease, its watchdog and
//!    │  │                                       a fence, or stated off by │    │ all margins are over
//!    │  │                                                 a person        ▼    ▼
//!    │  └──────── it connects: what was proved is over ────────────── fenced  self-fenced
//!    └─────────── it connects: returned, and says itself what it has ── lost
//! ```
//!
//! **Ownership.** What ran on a host belongs to it until it is *proved* that it cannot run there any more. Silence proves
//! nothing: the only ways from *unknown* to *released* are a fence that was seen to work, a lease that ran out on a host
//! that a watchdog resets if it does not obey it, and the host's own word after it has returned.
//!
//! **Why a lease that ran out is a proof.** All times of one line are of one clock; `d` bounds how much faster one
//! machine's clock runs than another's.
//! 1. The host asked for its lease at `s` (its clock) and had it until `s + lease`. The coordinator noted the lease when
//!    it *received* that request, which is later than `s`: so, by the coordinator's clock, the host's lease is over at
//!    `noted + lease`, or `d` of that later.
//! 2. From then on the agent starts nothing, destroys all its VMs, and gives its watchdog no more signs before libvirt has
//!    confirmed that all are off. If it does that at once, all is well. If it cannot (it is stopped, dead, or libvirt
//!    hangs), the watchdog resets the machine after `timeout` without a sign.
//! 3. The last sign is the trouble: an agent that has looked at its lease while it held, and is then frozen for less than
//!    `timeout`, gives one more sign when it thaws. So the last sign is before `end of lease + timeout`, and the reset
//!    before `end of lease + 2 * timeout`.
//! 4. An agent that ends in good order, or is told that its realm asks for no leases any more, is bound by its lease and
//!    keeps its watchdog armed until the coordinator has acknowledged that it is not to be counted as able to fence
//!    itself; one that is killed disarms nothing.
//! 5. A lease counts only for the connection on which it was asked for: what a host did before it connected anew is not
//!    known.
//!
//! So nothing runs there any more at `noted + (lease + 2 * timeout + reset) * (1 + d)`. A later lease is noted later, and
//! a grant that arrives late counts for the agent from when it *asked*, so neither breaks the bound. What the argument
//! rests on: the watchdog is real, and it resets the machine rather than asking it to shut down.
//!
//! All moments are of the coordinator's steady clock, which nobody can set: a clock that jumps changes no ownership. The
//! exception is a fence's, which must outlive the coordinator and is only shown.

use std::time::Duration;

use reeve_common::clock::Timestamp;
use serde::{Deserialize, Serialize};

/// What a reset takes beyond the watchdog's time: devices count in ticks of up to a second, and a machine that is being
/// reset writes for a moment longer.
pub const RESET_MARGIN: Duration = Duration::from_secs(5);

/// How much faster one machine's clock may run than another's, in thousandths. Crystals differ by 0.1, time
/// synchronisation adds at most 0.5; a virtual machine's clock that is being caught up adds more.
pub const DRIFT_PERMILLE: u32 = 20;

/// How long silence lasts before it means something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Before nothing new is placed there.
    pub suspect_after: Duration,
    /// Before what is there counts as unknown.
    pub lost_after: Duration,
}

/// How a host stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Its agent is heard.
    Connected {
        /// Since when.
        since: Timestamp,
    },
    /// It has not been heard for a moment. It takes nothing new; what it has is taken to be as it was.
    Suspected {
        /// Since when.
        since: Timestamp,
    },
    /// It has not been heard for too long: what it has is unknown.
    Lost {
        /// Since when; none when it was never heard since the coordinator started.
        since: Option<Timestamp>,
    },
    /// It was seen to be off.
    Fenced {
        /// When.
        at: Timestamp,
    },
    /// It must have stopped all it had.
    SelfFenced {
        /// When at the latest.
        at: Timestamp,
    },
}

/// Why what was on a host cannot run there any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "proof")]
pub enum Proof {
    /// The host was seen to be off, or a person has stated that it is.
    #[serde(rename_all = "kebab-case")]
    Fenced {
        /// When.
        at: Timestamp,
        /// Who asked for it.
        by: String,
    },
    /// Its lease ran out, and it cannot have outlived that.
    #[serde(rename_all = "kebab-case")]
    SelfFenced {
        /// When its lease ran out, all margins included.
        lease_ran_out_at: Timestamp,
    },
    /// It came back and said that it does not have it.
    #[serde(rename_all = "kebab-case")]
    Returned {
        /// When it said so.
        at: Timestamp,
    },
}

/// Whether what was on a host may still run there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ownership {
    /// It is the host's: its agent is heard, and says itself what it has.
    Holds,
    /// Nobody can say. It must be taken to run.
    Unknown {
        /// Since when.
        since: Timestamp,
    },
    /// It cannot run there any more.
    Released(Proof),
}

impl Ownership {
    /// The proof, if there is one: without it nothing of the host's is started elsewhere.
    #[must_use]
    pub const fn proof(&self) -> Option<&Proof> {
        match self {
            Self::Released(proof) => Some(proof),
            Self::Holds | Self::Unknown { .. } => None,
        }
    }
}

/// What has been heard of a host since the coordinator started, and what was proved of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostLife {
    heard: Heard,
    lease: Option<NotedLease>,
    off: Option<SeenOff>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    Never { watched_since: Timestamp },
    Connected { since: Timestamp, last_sign: Timestamp, reported: Option<Timestamp> },
    Silent { since: Timestamp },
}

/// A lease that a host may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct NotedLease {
    /// Whether a watchdog stood behind it when it was last asked for.
    is_backed: bool,
    /// When nothing can run there any more if it was the last.
    all_stopped_at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct SeenOff {
    at: Timestamp,
    by: String,
}

impl HostLife {
    /// A host that has not been heard since `watched_since`, when the coordinator started or the host was added.
    #[must_use]
    pub const fn new(watched_since: Timestamp) -> Self {
        Self { heard: Heard::Never { watched_since }, lease: None, off: None }
    }

    /// Its agent has connected. What was proved before is over: it may run what it likes again. So is its lease: it may
    /// have been set up anew meanwhile, and asks for one at once if it goes by leases.
    pub fn connect(&mut self, now: Timestamp) {
        self.heard = Heard::Connected { since: now, last_sign: now, reported: None };
        self.off = None;
        self.lease = None;
    }

    /// Its agent's connection is over; `silent_for` is how long nothing was heard by then.
    pub fn disconnect(&mut self, silent_for: Duration, now: Timestamp) {
        if let Heard::Connected { since, last_sign, .. } = self.heard {
            let silent_for = u64::try_from(silent_for.as_millis()).unwrap_or(u64::MAX);
            let silent_since = Timestamp(now.0.saturating_sub(silent_for));
            // It cannot have been silent since before it was last heard.
            self.heard = Heard::Silent { since: silent_since.max(last_sign.min(now)).max(since) };
        }
    }

    /// Its agent was heard, whatever it said.
    pub fn sign(&mut self, now: Timestamp) {
        if let Heard::Connected { last_sign, .. } = &mut self.heard {
            *last_sign = now.max(*last_sign);
        }
    }

    /// Its agent has told all it has, and could ask its hypervisor.
    pub fn report(&mut self, now: Timestamp) {
        self.sign(now);
        if let Heard::Connected { reported, .. } = &mut self.heard {
            *reported = Some(now);
        }
    }

    /// Its agent has asked for a lease of this length, and gets it. `watchdog` is the time after which its watchdog resets
    /// the machine; none when it has none, or is about to disarm it: then no lease of its ever proves anything.
    pub fn grant(&mut self, lease: Duration, watchdog: Option<Duration>, now: Timestamp) {
        self.sign(now);
        let before = self.lease.map_or(Timestamp::default(), |noted| noted.all_stopped_at);
        let stops = now.after(stopped_within(lease, watchdog.unwrap_or_default()));
        self.lease = Some(NotedLease { is_backed: watchdog.is_some(), all_stopped_at: stops.max(before) });
    }

    /// It was seen to be off, or a person states that it is. Believed unless its agent is connected.
    pub fn see_off(&mut self, at: Timestamp, by: &str) {
        if !self.is_connected() {
            self.off = Some(SeenOff { at, by: by.to_owned() });
        }
    }

    /// Whether its agent has a connection, heard on it lately or not.
    #[must_use]
    pub const fn is_connected(&self) -> bool {
        matches!(self.heard, Heard::Connected { .. })
    }

    /// Whether it has been heard since the coordinator started.
    #[must_use]
    pub const fn was_heard(&self) -> bool {
        !matches!(self.heard, Heard::Never { .. })
    }

    /// When it was last heard on its present connection.
    #[must_use]
    pub const fn last_sign(&self) -> Option<Timestamp> {
        match self.heard {
            Heard::Connected { last_sign, .. } => Some(last_sign),
            Heard::Never { .. } | Heard::Silent { .. } => None,
        }
    }

    /// When it told all it has on the present connection.
    #[must_use]
    pub const fn reported(&self) -> Option<Timestamp> {
        match self.heard {
            Heard::Connected { reported, .. } => reported,
            Heard::Never { .. } | Heard::Silent { .. } => None,
        }
    }

    /// When everything on it will have stopped by itself; none when that is not certain.
    #[must_use]
    pub const fn stops_by_itself_at(&self) -> Option<Timestamp> {
        match self.lease {
            Some(NotedLease { is_backed: true, all_stopped_at }) => Some(all_stopped_at),
            _ => None,
        }
    }

    /// Whether it goes by a lease that no watchdog stands behind.
    #[must_use]
    pub const fn lacks_watchdog(&self) -> bool {
        matches!(self.lease, Some(NotedLease { is_backed: false, .. }))
    }

    /// How it stands.
    #[must_use]
    pub fn standing(&self, patience: Patience, now: Timestamp) -> Standing {
        match (ownership(self, now), self.heard) {
            (Ownership::Released(Proof::Fenced { at, .. }), _) => Standing::Fenced { at },
            (Ownership::Released(Proof::SelfFenced { lease_ran_out_at }), _) => {
                Standing::SelfFenced { at: lease_ran_out_at }
            }
            (_, Heard::Never { .. }) => Standing::Lost { since: None },
            (_, Heard::Silent { since }) => silent(since, patience, now),
            (_, Heard::Connected { since, last_sign, .. }) => {
                if now.since(last_sign) < patience.suspect_after {
                    Standing::Connected { since }
                } else {
                    silent(last_sign, patience, now)
                }
            }
        }
    }

    /// How long until it stands otherwise if nothing is heard meanwhile.
    #[must_use]
    pub fn changes_within(&self, patience: Patience, now: Timestamp) -> Option<Duration> {
        let moments = match self.heard {
            Heard::Never { .. } => [None, None],
            Heard::Silent { since } => [None, Some(since.after(patience.lost_after))],
            Heard::Connected { last_sign, .. } => {
                [Some(last_sign.after(patience.suspect_after)), Some(last_sign.after(patience.lost_after))]
            }
        };
        let lease = self.stops_by_itself_at().filter(|_| !self.is_connected());
        let coming = moments.into_iter().chain([lease]).flatten().filter(|moment| *moment > now);
        coming.min().map(|moment| moment.since(now))
    }
}

fn silent(since: Timestamp, patience: Patience, now: Timestamp) -> Standing {
    if now.since(since) < patience.lost_after {
        Standing::Suspected { since }
    } else {
        Standing::Lost { since: Some(since) }
    }
}

/// How long after a lease was noted everything must have stopped: see the argument above.
#[must_use]
pub fn stopped_within(lease: Duration, watchdog: Duration) -> Duration {
    let all = lease.saturating_add(watchdog.saturating_mul(2)).saturating_add(RESET_MARGIN);
    all.saturating_add(all.saturating_mul(DRIFT_PERMILLE) / 1000)
}

/// Whether what was on a host may still run there. Only [`Ownership::Released`] lets it be started elsewhere.
#[must_use]
pub fn ownership(life: &HostLife, now: Timestamp) -> Ownership {
    let since = match life.heard {
        Heard::Connected { .. } => return Ownership::Holds,
        Heard::Never { watched_since } => watched_since,
        Heard::Silent { since } => since,
    };
    if let Some(SeenOff { at, by }) = &life.off {
        return Ownership::Released(Proof::Fenced { at: *at, by: by.clone() });
    }
    match life.stops_by_itself_at() {
        Some(stopped) if now >= stopped => {
            Ownership::Released(Proof::SelfFenced { lease_ran_out_at: stopped })
        }
        _ => Ownership::Unknown { since },
    }
}

/// The same for one thing that was on a host, of which the host, on its present connection, may have said that nothing
/// is left. Whoever asks must have taken back the wish for it before, so that it is not on its way to that host again.
#[must_use]
pub fn ownership_of(life: &HostLife, said_gone: bool, now: Timestamp) -> Ownership {
    match life.reported() {
        Some(at) if said_gone => Ownership::Released(Proof::Returned { at }),
        _ => ownership(life, now),
    }
}

#[cfg(test)]
#[path = "host_life_tests.rs"]
mod tests;
