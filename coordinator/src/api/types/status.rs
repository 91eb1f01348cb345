//! Owns the document of the coordinator itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::moment::Moment;
use super::warning::OpenWarnings;

/// The coordinator and its fleet at a glance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Status {
    /// The coordinator's version.
    pub version: String,
    /// Its term of office.
    pub epoch: u64,
    /// When it started.
    pub started_at: Moment,
    /// Realms configured.
    pub realms: usize,
    /// Hosts by connection.
    pub hosts: HostCounts,
    /// VMs that are not over, by state; states without any are left out.
    pub vms: BTreeMap<String, usize>,
    /// Standing warnings that nobody has acknowledged.
    #[serde(default)]
    pub open_warnings: OpenWarnings,
    /// What an administrator should know.
    pub warnings: Vec<String>,
}

/// Hosts by connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct HostCounts {
    /// All.
    pub total: usize,
    /// Connected now.
    pub connected: usize,
    /// Of those, the ones that have told all they have since they connected: they take new VMs.
    pub reported: usize,
    /// Not heard for a moment.
    pub suspected: usize,
    /// Lost.
    pub lost: usize,
    /// Seen to be off, or fenced by themselves.
    pub fenced: usize,
    /// Never joined.
    pub never_joined: usize,
}
