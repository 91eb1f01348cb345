//! Owns actions of several steps that must end whole or leave nothing behind: what they are made of, as values. Each
//! step has an action and an undo beside it; where a workflow stands is a record, written before and after each step, so
//! that whoever takes up the work after a crash knows what may have happened.
//!
//! ```text
//!   workflow                                              step
//!
//!   running ── the last step is done ──▶ done             waiting
//!      │                                                     │ recorded, and only then acted
//!      │ a step fails for good, or somebody cancels          ▼
//!      ▼                                                   begun ── its action says done ──▶ done
//!   undoing ── nothing is left to undo ──▶ undone            │                                │
//!      │  ▲                                                  └──────────── its undo ──────────┴──▶ undone
//!      │  │ cancelled again
//!      ▼  │
//!    stuck: an undo failed too often; a person must look
//! ```
//!
//! **What an action must be.** It says what should be and looks whether it is so: it may be run any number of times, also
//! after it was done, and after a crash in its middle; the same holds for its undo. It never waits: *not yet* is an
//! answer, and it is asked again when something has changed. What must be chosen once (the id of a VM that is started) is
//! chosen when the step is made, and stands in its record before anything is done.
//!
//! **Starts and stops of VMs are workflows of one transaction, and are not here.** A start chooses a host and holds its
//! capacity in memory, writes the VM's record and the decision in *one* transaction, and tells the host afterwards; if the
//! transaction fails, its undo is the release of what was held, and a crash forgets that by itself. What follows is
//! level-triggered: the wish is told until the host reports it fulfilled. So there are no steps in between that a crash
//! could separate, nothing to resume, and a second record beside the VM's own could only contradict it. Drives are made
//! before a start, not for it: a VM takes only drives that are recorded as ready. The same tests hold starts as hold
//! workflows: a failure and a crash at every write.
//!
//! Must not: do anything. Pure; who carries out the steps is `service/workflows.rs`.

mod progress;
#[cfg(test)]
mod progress_tests;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use reeve_common::clock::Timestamp;
use reeve_common::ids::{ConfigurationName, HostId, HostName, VmId, VmName};
use serde::{Deserialize, Serialize};

pub use self::progress::{Direction, Due, Outcome, STEPS_AT_ONCE, STEPS_MAX, UNDO_ATTEMPTS_MAX};

/// Which workflow: a number that is never given out twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WorkflowId(pub u64);

impl fmt::Display for WorkflowId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// A text that is no workflow's number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no workflow; they are numbered, and `reeve workflow list` shows them")]
pub struct InvalidWorkflowId {
    /// The text as given.
    pub text: String,
}

impl FromStr for WorkflowId {
    type Err = InvalidWorkflowId;

    fn from_str(text: &str) -> Result<Self, InvalidWorkflowId> {
        text.parse().map(Self).map_err(|_| InvalidWorkflowId { text: text.to_owned() })
    }
}

/// An action of several steps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Workflow {
    /// Its number.
    pub id: WorkflowId,
    /// What it is for.
    pub purpose: Purpose,
    /// Where it stands.
    pub state: WorkflowState,
    /// Its steps, in the order in which they are begun.
    pub steps: Vec<StepRecord>,
    /// Why it is undone, or stuck.
    pub problem: Option<String>,
    /// Who asked for it.
    pub by: String,
    /// When it was asked for.
    pub started_at: Timestamp,
    /// When it was over.
    pub ended_at: Option<Timestamp>,
}

/// What a workflow is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "for")]
pub enum Purpose {
    /// A host is emptied.
    #[serde(rename_all = "kebab-case")]
    Drain {
        /// Which.
        host: HostId,
        /// Its name at the time.
        name: HostName,
        /// How long each guest has to shut down.
        grace: Duration,
    },
    /// VMs of a lost host are started elsewhere.
    #[serde(rename_all = "kebab-case")]
    Failover {
        /// Which.
        host: HostId,
        /// Its name at the time.
        name: HostName,
    },
}

impl Purpose {
    /// The host it is about.
    #[must_use]
    pub const fn host(&self) -> HostId {
        match self {
            Self::Drain { host, .. } | Self::Failover { host, .. } => *host,
        }
    }

    /// That host's name at the time.
    #[must_use]
    pub const fn host_name(&self) -> &HostName {
        match self {
            Self::Drain { name, .. } | Self::Failover { name, .. } => name,
        }
    }

    /// The word for it in lists.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Drain { .. } => "drain",
            Self::Failover { .. } => "failover",
        }
    }
}

/// Where a workflow stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WorkflowState {
    /// Its steps are carried out.
    Running,
    /// Its steps are undone, the latest first.
    Undoing,
    /// All of it was done.
    Done,
    /// All that was begun of it was undone.
    Undone,
    /// Something could not be undone.
    Stuck,
}

impl WorkflowState {
    /// The word for it in tables and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Undoing => "undoing",
            Self::Done => "done",
            Self::Undone => "undone",
            Self::Stuck => "stuck",
        }
    }

    /// Whether something of it is still to be carried out.
    #[must_use]
    pub const fn is_active(self) -> bool {
        matches!(self, Self::Running | Self::Undoing)
    }

    /// Whether it is over for ever.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Undone)
    }
}

/// A step and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct StepRecord {
    /// What is to be done.
    pub step: Step,
    /// Where it stands.
    pub state: StepState,
    /// What it waits for, or what came of it.
    pub note: Option<String>,
    /// How often its undo failed.
    pub attempts: u32,
    /// When it was begun.
    pub begun_at: Option<Timestamp>,
}

impl StepRecord {
    /// One that nobody has begun.
    #[must_use]
    pub const fn new(step: Step) -> Self {
        Self { step, state: StepState::Waiting, note: None, attempts: 0, begun_at: None }
    }
}

/// Where a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepState {
    /// Nothing was done.
    Waiting,
    /// Something may have been done.
    Begun,
    /// It is done.
    Done,
    /// Nothing of it is left.
    Undone,
}

impl StepState {
    /// The word for it in tables and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Begun => "begun",
            Self::Done => "done",
            Self::Undone => "undone",
        }
    }
}

/// One step. Beside each: what its undo does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "do")]
pub enum Step {
    /// No VM is placed on the host any more. Undo: it may be chosen again.
    #[serde(rename_all = "kebab-case")]
    MarkDraining {
        /// Which.
        host: HostId,
    },
    /// The VM is gone from its host. Undo: nothing, since a wish to stop is never taken back; those not yet asked stay.
    #[serde(rename_all = "kebab-case")]
    StopVm {
        /// Which.
        vm: VmId,
        /// Its name at the time.
        name: VmName,
        /// How long the guest has.
        grace: Duration,
        /// What is started in its place; the id is chosen here, so that it is started once.
        then: Option<StartAgain>,
    },
    /// A VM of the configuration was started. Undo: nothing, it takes the place of one that is gone.
    #[serde(rename_all = "kebab-case")]
    StartVm {
        /// What, under which id.
        start: StartAgain,
    },
    /// It is proved that the host runs nothing any more. Undo: nothing; what is off stays off.
    #[serde(rename_all = "kebab-case")]
    ProveStopped {
        /// Which.
        host: HostId,
    },
    /// The VM has left its lost host, and waits for a place. Undo: nothing; it waits, or has one, as any other.
    #[serde(rename_all = "kebab-case")]
    Displace {
        /// Which.
        vm: VmId,
        /// Its name at the time.
        name: VmName,
        /// Which host it leaves.
        host: HostId,
    },
    /// No VM is on the host; what came meanwhile is stopped too. Undo: nothing.
    #[serde(rename_all = "kebab-case")]
    ConfirmEmpty {
        /// Which.
        host: HostId,
    },
}

/// A start that is decided on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct StartAgain {
    /// Of which configuration.
    pub configuration: ConfigurationName,
    /// The id of the new VM.
    pub vm: VmId,
}

impl Step {
    /// Whether it may be under way at the same time as others of the kind beside it.
    #[must_use]
    pub const fn may_overlap(&self) -> bool {
        matches!(self, Self::StopVm { .. } | Self::StartVm { .. })
    }
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MarkDraining { .. } => formatter.write_str("choose the host for nothing more"),
            Self::StopVm { name, .. } => write!(formatter, "stop {name}"),
            Self::StartVm { start } => write!(formatter, "start {} elsewhere", start.configuration),
            Self::ProveStopped { .. } => formatter.write_str("prove that the host runs nothing any more"),
            Self::Displace { name, .. } => write!(formatter, "take {name} off the host"),
            Self::ConfirmEmpty { .. } => formatter.write_str("see that the host is empty"),
        }
    }
}
