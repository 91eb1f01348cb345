//! Owns the documents of fencing.

use std::collections::BTreeMap;

use reeve_common::ids::HostName;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::moment::Moment;

/// How far a fencing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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
    /// Its name in JSON and tables.
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

/// One fencing of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Fence {
    /// Its number; later ones have higher ones.
    pub number: u64,
    /// Of which host.
    #[schema(value_type = String)]
    pub host: HostName,
    /// When it was asked for.
    pub requested_at: Moment,
    /// By whom.
    pub requested_by: String,
    /// The command; none when a person stated that the host is off.
    pub command: Option<String>,
    /// How far it is.
    pub state: FenceState,
    /// Why it ended so.
    pub reason: Option<String>,
    /// How often the command was tried.
    pub attempts: u32,
    /// When it ended.
    pub ended_at: Option<Moment>,
    /// The end of the command's output.
    pub output: String,
    /// When the host connected again; then it proves nothing any more.
    pub returned_at: Option<Moment>,
}

/// What would be done to fence a host, and whether it can be asked. Nothing was switched off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct FenceTrial {
    /// The host.
    #[schema(value_type = String)]
    pub host: HostName,
    /// The command.
    pub command: String,
    /// How long each of its runs may take, in seconds.
    pub timeout_seconds: u64,
    /// What it is told besides the action, without secrets.
    pub options: BTreeMap<String, String>,
    /// Whether the host is on, as the command's `status` says.
    pub is_on: Option<bool>,
    /// Why it cannot say.
    pub problem: Option<String>,
    /// The end of what it wrote.
    pub output: String,
}
