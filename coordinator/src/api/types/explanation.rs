//! Owns the document of a placement decision: host by host and term by term.

use reeve_common::ids::{CostFunctionName, HostId, HostName};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::moment::Moment;

/// Why a VM is, or would be, where it is; or nowhere. Costs that are not finite, which mean "never here", are null.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Explanation {
    /// The host chosen; none when no host fits.
    #[schema(value_type = Option<String>)]
    pub chosen: Option<HostName>,
    /// What was compared: `increase` (whose total cost rises least) or `total` (whose total cost is lowest).
    pub by: String,
    /// How many VMs were placed by one plan, where that plan chose another host than the best for this VM alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_once: Option<usize>,
    /// How many hosts were considered.
    #[serde(default)]
    pub considered: usize,
    /// How many of them can take the VM.
    #[serde(default)]
    pub feasible: usize,
    /// The hosts that are told of in full. A decision that is kept names the best and some that cannot take the VM.
    pub hosts: Vec<HostVerdict>,
    /// How many hosts cannot take the VM, by the kind of reason.
    #[serde(default)]
    pub refusals: Vec<Refusals>,
}

/// Hosts that cannot take a VM for the same kind of reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Refusals {
    /// How many.
    pub hosts: usize,
    /// One of them.
    #[schema(value_type = String)]
    pub example: HostName,
    /// What stops that one, with the numbers.
    pub reason: String,
}

/// What was found about one host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct HostVerdict {
    /// Its name.
    #[schema(value_type = String)]
    pub host: HostName,
    /// Its id; ties go to the lowest.
    #[schema(value_type = u32)]
    pub id: HostId,
    /// Whether the VM can be there.
    pub feasible: bool,
    /// Why not, with the numbers.
    pub reason: Option<String>,
    /// Whether it is the one chosen.
    pub chosen: bool,
    /// What it was judged by.
    #[schema(value_type = String)]
    pub cost_function: CostFunctionName,
    /// Its total cost as it is.
    pub before: Option<f64>,
    /// Its total cost with the VM.
    pub after: Option<f64>,
    /// The difference.
    pub increase: Option<f64>,
    /// Each term of the cost function.
    pub terms: Vec<TermCost>,
}

/// One term of a host's cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct TermCost {
    /// Its name.
    pub term: String,
    /// What was written.
    pub expression: String,
    /// Its value as the host is.
    pub before: Option<f64>,
    /// Its value with the VM.
    pub after: Option<f64>,
}

/// An explanation, and when it was asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Decision {
    /// When it was taken.
    pub at: Moment,
    /// What was considered.
    pub explanation: Explanation,
}
