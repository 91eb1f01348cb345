//! Owns the documents of domains that nobody manages, and of their adoption.

use reeve_common::ids::{HostName, VmId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Whether a domain that nobody manages runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DomainState {
    /// It runs.
    Running,
    /// It is suspended.
    Paused,
    /// It does not run.
    Off,
}

impl DomainState {
    /// Its name in JSON and tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Off => "off",
        }
    }
}

/// A domain on a host that nobody manages: it is counted as used, and left alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct UnmanagedDomain {
    /// Its host.
    #[schema(value_type = String)]
    pub host: HostName,
    /// Its name in libvirt, made printable.
    pub name: String,
    /// Its UUID.
    #[schema(value_type = String)]
    pub id: VmId,
    /// Virtual processors.
    pub cores: u32,
    /// The most memory it may take.
    pub memory_mib: u64,
    /// Whether it runs.
    pub state: DomainState,
    /// Why it cannot be adopted; none when nothing is known that stands against it.
    pub obstacle: Option<String>,
}

/// Which domain is to be adopted, and whose it is to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct AdoptionRequest {
    /// Its name in libvirt, or its UUID.
    pub domain: String,
    /// Whose it is to be.
    pub owner: String,
    /// The owner's team.
    pub team: String,
    /// The project it is tagged with.
    #[serde(default)]
    pub project: Option<String>,
    /// Its name for people; its domain's name when left out.
    #[serde(default)]
    pub title: Option<String>,
}
