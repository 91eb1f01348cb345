//! Owns the states of a VM as people see them.
//!
//! ```text
//! requested → placed → defining → starting → registering → running → stopping → stopped
//!    │          └─────────┴──────────┴───────────┴────────────┴─────────┴──▶ failed
//!    └─▶ unplaceable (retried when the fleet changes)
//! running ⇄ paused ;  any of these on a lost host is shown as unknown
//! ```
//!
//! Capacity is held from `placed` until `stopped` or `failed`, and those two are only reached when the host has said
//! that nothing of the VM is left on it. *Unknown* is never stored: it is what the others look like while their host
//! is lost.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where a VM is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VmState {
    /// Asked for.
    Requested,
    /// No host can take it now.
    Unplaceable,
    /// A host is chosen and its capacity reserved.
    Placed,
    /// Its disk and domain are being made.
    Defining,
    /// libvirt is starting it.
    Starting,
    /// Running in libvirt; the guest has given no sign of life yet.
    Registering,
    /// Running, and the guest has answered.
    Running,
    /// Suspended on its host by somebody.
    Paused,
    /// On its way down, or down and being cleaned up.
    Stopping,
    /// Ended as it was meant to.
    Stopped,
    /// Ended otherwise.
    Failed,
    /// Its host is lost.
    Unknown,
}

impl VmState {
    /// All of them, in the order of a life.
    pub const ALL: [Self; 12] = [
        Self::Requested,
        Self::Unplaceable,
        Self::Placed,
        Self::Defining,
        Self::Starting,
        Self::Registering,
        Self::Running,
        Self::Paused,
        Self::Stopping,
        Self::Stopped,
        Self::Failed,
        Self::Unknown,
    ];

    /// Its name in tables, JSON and records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Unplaceable => "unplaceable",
            Self::Placed => "placed",
            Self::Defining => "defining",
            Self::Starting => "starting",
            Self::Registering => "registering",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }

    /// Whether its life is over.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Stopped | Self::Failed)
    }
}

impl fmt::Display for VmState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}
