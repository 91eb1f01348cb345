//! Owns this host's lease: how long its VMs may run without the coordinator's word. Pure; moments are times since the
//! machine's boot, suspension included, which nobody can set.
//!
//! ```text
//!              the realm asks for leases
//!   unbound ─────────────────────────────▶ held ◀──────── granted ────────┐
//!      ▲                                    │  │                          │
//!      │                                    │  └── the time is over ──▶ run out
//!      │   the coordinator has acknowledged │                             │
//!      └──────────── giving up ◀────────────┴─────────────────────────────┘
//!                    (the realm asks for none any more, or the agent ends)
//! ```
//!
//! A grant counts from when it was *asked for*: what the coordinator noted when it heard the question is later than that,
//! so it never counts less than this host does. A grant that is repeated, late or out of order moves nothing back, and
//! lengthens nothing beyond what its question allowed. While the lease is being given up, the host is bound by it: only
//! the coordinator's word ends that, since until then it may count on this host to stop by itself.
//!
//! The whole argument stands in the coordinator's `model/host_life.rs`.

use std::collections::VecDeque;
use std::time::Duration;

/// Questions that may still be answered. Each is asked after a part of a lease, so that older ones are worth nothing.
const QUESTIONS_MAX: usize = 16;

/// So often a lease is renewed within its time: two answers in a row may be lost before it runs out.
const RENEWALS_PER_LEASE: u32 = 4;

/// How the host stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It goes by no lease.
    Unbound,
    /// Its VMs may run.
    Held {
        /// For so much longer.
        left: Duration,
    },
    /// Its VMs must not run.
    RunOut,
}

/// A question for a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    /// Comes back in the grant.
    pub number: u64,
    /// Whether it says that the host is not to be counted as able to stop by itself from now on.
    pub gives_up: bool,
}

/// This host's lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    bound: Option<Bound>,
    questions: VecDeque<(Question, Duration)>,
    next_number: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bound {
    length: Duration,
    until: Duration,
    gives_up: bool,
    asked_at: Option<Duration>,
}

impl Lease {
    /// None yet. `first_number` is chosen at random, so that no other life's grant is taken for an answer.
    #[must_use]
    pub const fn unbound(first_number: u64) -> Self {
        Self { bound: None, questions: VecDeque::new(), next_number: first_number }
    }

    /// One that an earlier life of the agent, since the same boot, held until then.
    #[must_use]
    pub const fn kept(length: Duration, until: Duration, first_number: u64) -> Self {
        let bound = Bound { length, until, gives_up: false, asked_at: None };
        Self { bound: Some(bound), questions: VecDeque::new(), next_number: first_number }
    }

    /// The coordinator has just said whether the realm asks for leases, and how long they are.
    pub fn told(&mut self, length: Option<Duration>, now: Duration) {
        match (&mut self.bound, length) {
            (None, None) => {}
            // The coordinator is there; it counts on this host from the first question on, which is later than now.
            (None, Some(length)) => {
                let until = now.saturating_add(length);
                self.bound = Some(Bound { length, until, gives_up: false, asked_at: None });
            }
            (Some(bound), Some(length)) => {
                bound.length = length;
                bound.gives_up = false;
            }
            (Some(bound), None) => {
                if !bound.gives_up {
                    bound.asked_at = None;
                }
                bound.gives_up = true;
            }
        }
    }

    /// How the host stands.
    #[must_use]
    pub fn standing(&self, now: Duration) -> Standing {
        match self.bound {
            None => Standing::Unbound,
            Some(bound) if now < bound.until => Standing::Held { left: bound.until.saturating_sub(now) },
            Some(_) => Standing::RunOut,
        }
    }

    /// Until when it holds, and how long one is; none without one.
    #[must_use]
    pub const fn terms(&self) -> Option<(Duration, Duration)> {
        match self.bound {
            Some(bound) => Some((bound.length, bound.until)),
            None => None,
        }
    }

    /// Whether it is being given up.
    #[must_use]
    pub fn is_given_up(&self) -> bool {
        self.bound.is_some_and(|bound| bound.gives_up)
    }

    /// How long until the next question is due; none while there is nothing to ask.
    #[must_use]
    pub fn due_in(&self, now: Duration) -> Option<Duration> {
        let bound = self.bound?;
        let Some(asked_at) = bound.asked_at else { return Some(Duration::ZERO) };
        Some(asked_at.saturating_add(bound.length / RENEWALS_PER_LEASE).saturating_sub(now))
    }

    /// The next question, which is sent now. None when there is nothing to ask.
    pub fn ask(&mut self, now: Duration) -> Option<Question> {
        let bound = self.bound.as_mut()?;
        bound.asked_at = Some(now);
        let question = Question { number: self.next_number, gives_up: bound.gives_up };
        self.next_number = self.next_number.wrapping_add(1);
        self.questions.push_back((question, now));
        if self.questions.len() > QUESTIONS_MAX {
            self.questions.pop_front();
        }
        Some(question)
    }

    /// The coordinator grants a lease of this length in answer to a question. Returns whether anything has changed.
    pub fn grant(&mut self, number: u64, length: Duration) -> bool {
        let Some(at) = self.questions.iter().position(|(question, _)| question.number == number) else {
            return false;
        };
        let Some((question, asked_at)) = self.questions.remove(at) else { return false };
        let Some(bound) = &mut self.bound else { return false };
        if bound.gives_up && question.gives_up {
            self.bound = None;
            self.questions.clear();
            return true;
        }
        if question.gives_up {
            // It was to be given up and is not any more; the coordinator does not count on it until it asks again.
            return false;
        }
        let until = asked_at.saturating_add(length);
        let longer = until > bound.until;
        bound.until = bound.until.max(until);
        longer
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LEASE: Duration = Duration::from_secs(30);

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(1000 + seconds)
    }

    fn bound() -> Lease {
        let mut lease = Lease::unbound(7);
        lease.told(Some(LEASE), at(0));
        lease
    }

    #[test]
    fn a_grant_counts_from_its_question() {
        let mut lease = bound();
        assert_eq!(lease.due_in(at(0)), Some(Duration::ZERO));
        let question = lease.ask(at(10)).unwrap();
        assert_eq!(lease.due_in(at(10)), Some(LEASE / 4));
        assert!(lease.grant(question.number, LEASE));
        assert_eq!(lease.standing(at(39)), Standing::Held { left: Duration::from_secs(1) });
        assert_eq!(lease.standing(at(40)), Standing::RunOut, "10 and 30, whenever the answer came");
    }

    #[test]
    fn a_lease_that_has_run_out_comes_back_only_with_a_question_that_was_asked_late_enough() {
        let mut lease = bound();
        let early = lease.ask(at(1)).unwrap();
        assert_eq!(lease.standing(at(300)), Standing::RunOut);
        // Frozen for five minutes: what was waiting to be read is an answer to an old question.
        lease.grant(early.number, LEASE);
        assert_eq!(lease.standing(at(300)), Standing::RunOut);
        let fresh = lease.ask(at(300)).unwrap();
        assert!(lease.grant(fresh.number, LEASE));
        assert!(matches!(lease.standing(at(301)), Standing::Held { .. }));
    }

    #[test]
    fn repeated_foreign_and_disordered_grants_do_nothing() {
        let mut lease = bound();
        let (first, second) = (lease.ask(at(10)).unwrap(), lease.ask(at(20)).unwrap());
        assert!(lease.grant(second.number, LEASE));
        let terms = lease.terms();
        assert!(!lease.grant(first.number, LEASE), "the earlier one allows less");
        assert!(!lease.grant(second.number, Duration::from_secs(3600)), "it was answered");
        assert!(!lease.grant(99, LEASE));
        assert_eq!(lease.terms(), terms);
    }

    #[test]
    fn a_host_is_bound_until_its_giving_up_is_acknowledged() {
        let mut lease = bound();
        let before = lease.ask(at(1)).unwrap();
        lease.told(None, at(2));
        assert_eq!(lease.due_in(at(2)), Some(Duration::ZERO), "it is said at once");
        assert!(lease.grant(before.number, LEASE));
        assert_eq!(lease.standing(at(40)), Standing::RunOut, "it was not acknowledged");
        let giving_up = lease.ask(at(41)).unwrap();
        assert!(giving_up.gives_up);
        lease.told(Some(LEASE), at(42));
        assert!(!lease.grant(giving_up.number, LEASE));
        assert_eq!(
            lease.standing(at(43)),
            Standing::RunOut,
            "it is asked for again, and nothing is granted yet"
        );
        lease.told(None, at(44));
        let giving_up = lease.ask(at(44)).unwrap();
        assert!(lease.grant(giving_up.number, Duration::ZERO));
        assert_eq!(lease.standing(at(9999)), Standing::Unbound);
        assert_eq!(lease.ask(at(9999)), None);
    }

    #[test]
    fn a_lease_is_kept_by_the_next_life_of_the_agent() {
        let mut lease = Lease::kept(LEASE, at(20), 99);
        assert_eq!(lease.standing(at(19)), Standing::Held { left: Duration::from_secs(1) });
        assert_eq!(lease.standing(at(20)), Standing::RunOut);
        let question = lease.ask(at(21)).unwrap();
        assert!(lease.grant(question.number, LEASE));
        assert!(matches!(lease.standing(at(22)), Standing::Held { .. }));
    }

    proptest! {
        /// Whatever is granted, in whatever order and how often: it never holds longer than the latest question allows.
        #[test]
        fn no_lease_is_longer_than_its_latest_question(
            steps in proptest::collection::vec((0..40_u64, any::<bool>(), 0..30_u64), 1..60),
        ) {
            let mut lease = bound();
            let (mut now, mut latest) = (0, 0);
            for (pause, asks, number) in steps {
                now += pause;
                if asks {
                    lease.ask(at(now)).unwrap();
                    latest = now;
                } else {
                    lease.grant(7 + number, LEASE);
                }
                let (_, until) = lease.terms().unwrap();
                prop_assert!(until <= at(latest) + LEASE);
            }
        }
    }
}
