//! Owns the documents of a host's comparison with the records of its VMs.

use reeve_common::ids::{HostName, VmId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::host::ForeignDomain;

/// How a host is to be compared.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct HostComparisonRequest {
    /// Look, and repair nothing. What repairs by itself is repaired with the host's next report all the same.
    #[serde(default)]
    pub dry_run: bool,
}

/// What came of comparing a host with the records of its VMs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct HostComparison {
    /// Which host.
    #[schema(value_type = String)]
    pub host: HostName,
    /// Whether nothing was repaired.
    pub dry_run: bool,
    /// VMs that are as recorded.
    pub same: usize,
    /// What differs.
    pub differences: Vec<Difference>,
    /// Domains that are not ours: they are counted as used capacity, and left alone.
    pub foreign_domains: Vec<ForeignDomain>,
}

/// What becomes of a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Treatment {
    /// It was repaired.
    Repaired,
    /// It repairs by itself, and was only looked at.
    Repairable,
    /// The repair could not be recorded.
    Failed,
    /// An administrator must decide.
    Decision,
}

impl Treatment {
    /// Its name in JSON and tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Repaired => "repaired",
            Self::Repairable => "repairable",
            Self::Failed => "failed",
            Self::Decision => "decision",
        }
    }
}

/// One thing in which records and host differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Difference {
    /// Which VM.
    #[schema(value_type = String)]
    pub vm: VmId,
    /// Its name, as far as one is known.
    pub name: Option<String>,
    /// What differs.
    pub difference: String,
    /// What becomes of it.
    pub treatment: Treatment,
    /// What was or would be done, why it failed, or what can be done.
    pub actions: Vec<String>,
}
