//! Owns fencings: the record of each, and the judgement of what a fence command did. Pure.
//!
//! ```text
//!   requested ─▶ running ─┬─▶ off            `off` succeeded, `status` says off, and the host's agent does not answer
//!                         ├─▶ failed         the command refuses, or the host is still on, after all attempts
//!                         ├─▶ unknown        a time limit, or the coordinator ended meanwhile: not fenced
//!                         └─▶ not-believed   the command says off, and the host's agent answers
//!   stated by a person ───┴─▶ off | not-believed
//! ```
//!
//! Only *off* proves anything, and only until the host connects again (`returned_at`).

use std::time::Duration;

use reeve_common::clock::Timestamp;
use reeve_common::ids::{HostId, HostName, OperationId};
use serde::{Deserialize, Serialize};

/// How often a fence command is tried: a management controller that is busy answers the second time, and one that does
/// not answer three times needs a person.
pub const ATTEMPTS_MAX: u32 = 3;
/// The pause before the second attempt; it doubles before each that follows.
pub const FIRST_PAUSE: Duration = Duration::from_secs(2);

/// `status` of the fence-agents convention when the machine is on.
const STATUS_ON: i32 = 0;
/// And when it is off.
const STATUS_OFF: i32 = 2;

/// One fencing of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Fence {
    /// Its number; later ones have higher ones.
    pub number: u64,
    /// Of which host.
    pub host: HostId,
    /// What it was called then.
    pub host_name: HostName,
    /// When it was asked for.
    pub requested_at: Timestamp,
    /// By whom.
    pub requested_by: String,
    /// The command; none when a person states that the host is off.
    pub command: Option<String>,
    /// The life of its agent that was last heard; when that is heard again, the host never was off.
    pub instance: Option<OperationId>,
    /// How far it is.
    pub state: FenceState,
    /// Why it ended so.
    pub reason: Option<String>,
    /// How often the command was tried.
    pub attempts: u32,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// The end of the command's output, without secrets.
    pub output: String,
    /// When the host connected again; then it proves nothing any more.
    pub returned_at: Option<Timestamp>,
}

/// How far a fencing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FenceState {
    /// Recorded, nothing done yet.
    Requested,
    /// Its command runs.
    Running,
    /// The host is off.
    Off,
    /// The host was not fenced.
    Failed,
    /// Nobody can say; that is not fenced.
    Unknown,
    /// The command, or a person, says that the host is off, and its agent answers.
    NotBelieved,
}

impl FenceState {
    /// Its name in records, answers and tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Running => "running",
            Self::Off => "off",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
            Self::NotBelieved => "not-believed",
        }
    }

    /// Whether it has ended.
    #[must_use]
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Requested | Self::Running)
    }
}

impl Fence {
    /// Whether it proves that the host is off.
    #[must_use]
    pub const fn is_proof(&self) -> bool {
        matches!(self.state, FenceState::Off) && self.returned_at.is_none()
    }

    /// The same, ended.
    #[must_use]
    pub fn ended(mut self, state: FenceState, reason: Option<String>, now: Timestamp) -> Self {
        self.state = state;
        self.reason = reason;
        self.ended_at = Some(now);
        self
    }

    /// The same as a coordinator finds it that starts anew: what was under way has an end that nobody saw.
    #[must_use]
    pub fn found(self, now: Timestamp) -> Self {
        if self.state.is_final() {
            return self;
        }
        let why = "the coordinator ended while it was under way".to_owned();
        self.ended(FenceState::Unknown, Some(why), now)
    }

    /// The same when the host has connected. `same_life` says that its agent is the one that was heard before the host
    /// was said to be off: then it never was.
    #[must_use]
    pub fn returned(mut self, same_life: bool, now: Timestamp) -> Self {
        self.returned_at = Some(now);
        if same_life && self.state == FenceState::Off {
            self.state = FenceState::NotBelieved;
            self.reason = Some("the agent that ran before the host was said to be off runs on".to_owned());
        }
        self
    }
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// With this exit status.
    Exit(i32),
    /// By a signal.
    Signal,
    /// It was ended at its time limit.
    TimedOut,
    /// It could not be started.
    NotStarted(String),
}

/// What one attempt has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The command says, and its status says, that the host is off.
    Off,
    /// The host was not fenced.
    Failed(String),
    /// Nobody can say.
    Unknown(String),
}

/// What follows from one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// This is the end of it.
    End(Verdict),
    /// Once more, after a pause.
    Again {
        /// How long.
        pause: Duration,
    },
}

/// Whether `off` has done what it says, so that it is worth asking for the status.
///
/// # Errors
/// What it has come to instead.
pub fn judge_off(off: &Ended) -> Result<(), Verdict> {
    match off {
        Ended::Exit(0) => Ok(()),
        Ended::Exit(status) => Err(Verdict::Failed(format!("`off` failed with exit status {status}"))),
        Ended::Signal => Err(Verdict::Unknown("`off` was ended by a signal".to_owned())),
        Ended::TimedOut => Err(Verdict::Unknown("`off` did not end within its time limit".to_owned())),
        Ended::NotStarted(why) => Err(Verdict::Failed(why.clone())),
    }
}

/// What an `off` that succeeded has come to, by the status asked afterwards.
#[must_use]
pub fn judge_status(status: &Ended) -> Verdict {
    let unknown = |why: &str| Verdict::Unknown(format!("`off` succeeded, and then `status` {why}"));
    match status {
        Ended::Exit(STATUS_OFF) => Verdict::Off,
        Ended::Exit(STATUS_ON) => {
            Verdict::Failed("`off` says that it succeeded, and `status` that the host is on".to_owned())
        }
        Ended::Exit(other) => unknown(&format!("failed with exit status {other}")),
        Ended::Signal => unknown("was ended by a signal"),
        Ended::TimedOut => unknown("did not end within its time limit"),
        Ended::NotStarted(why) => unknown(&format!("could not be asked: {why}")),
    }
}

/// What follows from the attempt of this number, counted from 1.
#[must_use]
pub fn after(attempt: u32, verdict: Verdict) -> Next {
    if verdict == Verdict::Off || attempt >= ATTEMPTS_MAX {
        return Next::End(verdict);
    }
    Next::Again { pause: FIRST_PAUSE.saturating_mul(1 << attempt.saturating_sub(1).min(8)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fence(state: FenceState) -> Fence {
        Fence {
            number: 3,
            host: HostId(7),
            host_name: HostName::new("node-7").unwrap(),
            requested_at: Timestamp(1),
            requested_by: "ann".to_owned(),
            command: Some("/usr/sbin/fence_ipmilan".to_owned()),
            instance: None,
            state,
            reason: None,
            attempts: 1,
            ended_at: None,
            output: String::new(),
            returned_at: None,
        }
    }

    #[test]
    fn only_a_status_of_off_after_a_good_off_is_off() {
        assert_eq!(judge_off(&Ended::Exit(0)), Ok(()));
        assert_eq!(judge_status(&Ended::Exit(2)), Verdict::Off);
        let never = [Ended::Exit(1), Ended::Exit(2), Ended::Signal, Ended::TimedOut];
        for off in never {
            assert!(judge_off(&off).is_err(), "{off:?}");
        }
        for status in [Ended::Exit(0), Ended::Exit(1), Ended::Signal, Ended::TimedOut] {
            assert_ne!(judge_status(&status), Verdict::Off, "{status:?}");
        }
        assert!(
            matches!(judge_off(&Ended::TimedOut), Err(Verdict::Unknown(_))),
            "not failed, and not fenced"
        );
    }

    #[test]
    fn attempts_are_few_and_ever_further_apart() {
        let failed = || Verdict::Failed("x".to_owned());
        assert_eq!(after(1, failed()), Next::Again { pause: FIRST_PAUSE });
        assert_eq!(after(2, failed()), Next::Again { pause: FIRST_PAUSE * 2 });
        assert_eq!(after(ATTEMPTS_MAX, failed()), Next::End(failed()));
        assert_eq!(after(1, Verdict::Off), Next::End(Verdict::Off));
    }

    #[test]
    fn a_fence_proves_until_the_host_returns() {
        let off = fence(FenceState::Running).ended(FenceState::Off, None, Timestamp(9));
        assert!(off.is_proof());
        let back = off.clone().returned(false, Timestamp(10));
        assert!(!back.is_proof() && back.state == FenceState::Off, "it was off, and is on again");
        let lied = off.returned(true, Timestamp(10));
        assert!(!lied.is_proof() && lied.state == FenceState::NotBelieved);
    }

    #[test]
    fn what_was_under_way_when_the_coordinator_ended_is_unknown() {
        for state in [FenceState::Requested, FenceState::Running] {
            let found = fence(state).found(Timestamp(9));
            assert!(found.state == FenceState::Unknown && !found.is_proof());
        }
        let off = fence(FenceState::Off);
        assert_eq!(off.clone().found(Timestamp(9)), off);
    }
}
