//! Owns the documents of workflows and of emptying hosts.

use clap::ValueEnum;
use reeve_common::ids::HostName;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::moment::Moment;

/// What becomes of a VM when its host is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum WhenHostLost {
    /// It is started elsewhere, as soon as it is proved that its host runs it no more.
    Restart,
    /// It is left as it is until its host returns.
    Leave,
    /// A person decides.
    Ask,
}

impl WhenHostLost {
    /// Its name in JSON and tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Restart => "restart",
            Self::Leave => "leave",
            Self::Ask => "ask",
        }
    }
}

/// Where a workflow stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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
    /// Something could not be undone; a person must look.
    Stuck,
}

impl WorkflowState {
    /// Its name in JSON and tables.
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

    /// Whether nothing more happens by itself.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Undone | Self::Stuck)
    }
}

/// An action of several steps, each of which can be undone or needs no undoing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Workflow {
    /// Its number.
    pub id: u64,
    /// Grows with every change of this document.
    pub version: u64,
    /// What it is for: `drain`.
    pub purpose: String,
    /// The host it is about.
    #[schema(value_type = String)]
    pub host: HostName,
    /// Where it stands.
    pub state: WorkflowState,
    /// Why it is undone, or stuck.
    pub problem: Option<String>,
    /// How many of its steps are done.
    pub steps_done: usize,
    /// Its steps, in the order in which they are begun. More may follow from them.
    pub steps: Vec<WorkflowStep>,
    /// Who asked for it.
    pub by: String,
    /// When it was asked for.
    pub started_at: Moment,
    /// When it was over.
    pub ended_at: Option<Moment>,
}

/// A step of a workflow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct WorkflowStep {
    /// What it does, in words.
    pub step: String,
    /// `waiting`, `begun`, `done` or `undone`.
    pub state: String,
    /// What it waits for, or what came of it.
    pub note: Option<String>,
    /// When it was begun.
    pub begun_at: Option<Moment>,
}

/// What is said when a host is to be emptied.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct DrainRequest {
    /// How long each guest has to shut down, with a unit; the realm's `shutdown-timeout` when left out.
    #[serde(default)]
    #[schema(example = "30 seconds")]
    pub grace: Option<String>,
}
