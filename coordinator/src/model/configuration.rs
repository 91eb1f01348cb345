//! Owns VM configurations: a hardware setup made somebody's, which can be started again and again.

use super::failover::WhenHostLost;
use reeve_common::clock::Timestamp;
use reeve_common::ids::{ConfigurationName, DriveName, SetupName};
use serde::{Deserialize, Serialize};

/// What can be started again and again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Configuration {
    /// Its name.
    pub name: ConfigurationName,
    /// Its title for people; free printable text. The name when none is given.
    pub title: String,
    /// The hardware setup its VMs are made from.
    pub setup: SetupName,
    /// Whose it is.
    pub owner: String,
    /// The owner's team.
    pub team: String,
    /// The project it is tagged with.
    pub project: Option<String>,
    /// The drives its VMs get, in order.
    pub drives: Vec<DriveUse>,
    /// What becomes of its VMs when their host is lost; none for what the realm says.
    #[serde(default)]
    pub when_host_lost: Option<WhenHostLost>,
    /// The higher, the sooner its VMs are placed when not all fit, and the later they are stopped when a host is
    /// emptied; 0 to [`super::failover::PRIORITY_MAX`].
    #[serde(default)]
    pub priority: u32,
    /// When it was made.
    pub created_at: Timestamp,
}

/// How a configuration uses a drive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DriveUse {
    /// Which.
    pub drive: DriveName,
    /// Never written by this configuration's VMs; several may read one drive.
    pub read_only: bool,
}
