//! Owns the documents of what would be: simulations, a VM and a host compared, a cost function worked out.

use std::collections::BTreeMap;

use reeve_common::ids::{CostFunctionName, HostName, ProfileName, SetupName, VmId, VmName};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::explanation::{Explanation, HostVerdict, TermCost};
use super::moment::Moment;

/// What is to be simulated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SimulationRequest {
    /// How many VMs, at most 10,000; one when left out.
    #[serde(default = "one")]
    pub count: usize,
    /// Whose VMs they would be; together with `team`.
    #[serde(default)]
    pub owner: Option<String>,
    /// The owner's team; together with `owner`.
    #[serde(default)]
    pub team: Option<String>,
    /// Hosts to be added that are not there, at most 10,000.
    #[serde(default)]
    pub with_hosts: Vec<AddedHosts>,
    /// Hosts to be left out.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub without_hosts: Vec<HostName>,
    /// What all hosts are judged by instead of their own cost functions.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub cost_function: Option<CostFunctionName>,
}

impl Default for SimulationRequest {
    fn default() -> Self {
        Self {
            count: one(),
            owner: None,
            team: None,
            with_hosts: Vec::new(),
            without_hosts: Vec::new(),
            cost_function: None,
        }
    }
}

/// Hosts of one hardware profile that could be bought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct AddedHosts {
    /// The profile.
    #[schema(value_type = String)]
    pub profile: ProfileName,
    /// How many of them; one when left out.
    #[serde(default = "one")]
    pub count: usize,
    /// Their labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

const fn one() -> usize {
    1
}

/// How many VMs of a setup fit, and where.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Simulation {
    /// How many were asked for.
    pub asked: usize,
    /// How many of them fit.
    pub fit: usize,
    /// By how much they make the fleet's cost rise.
    pub cost_increase: Option<f64>,
    /// The hosts that they would go to.
    pub hosts: Vec<SimulatedHost>,
    /// Where the VM would go and why, when one was asked for.
    pub decision: Option<Explanation>,
    /// Why the next one does not fit; null when all that were asked for fit.
    pub stopped_by: Option<Explanation>,
}

/// A host with what a simulation puts on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct SimulatedHost {
    /// Its name; made up for one that was added.
    #[schema(value_type = String)]
    pub host: HostName,
    /// Whether it was added for the simulation.
    pub new: bool,
    /// How many of the VMs would go there.
    pub vms: usize,
}

/// Why a VM is on a host, or is not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Comparison {
    /// The VM's id.
    #[schema(value_type = String)]
    pub vm: VmId,
    /// The VM's name.
    #[schema(value_type = String)]
    pub name: VmName,
    /// The host asked about.
    #[schema(value_type = String)]
    pub host: HostName,
    /// Where the VM is; null while it has no place.
    #[schema(value_type = Option<String>)]
    pub placed_on: Option<HostName>,
    /// What was found when the VM was placed, or last found no place; null when nothing is kept of it.
    pub then: Option<Judgement>,
    /// What would be found now, as if the VM were nowhere.
    pub now: Judgement,
}

/// What was found of a host beside the one chosen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Judgement {
    /// When.
    pub at: Moment,
    /// What was compared: `increase` or `total`.
    pub by: String,
    /// The host asked about; null when a kept decision, which names the best hosts and some others, does not name it.
    pub host: Option<HostVerdict>,
    /// The host that was chosen; null when none could take the VM.
    pub chosen: Option<HostVerdict>,
}

/// What a cost function says of one host as it stands and one VM. Numbers that are not finite are null.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct CostEvaluation {
    /// The cost function.
    #[schema(value_type = String)]
    pub cost_function: CostFunctionName,
    /// The host.
    #[schema(value_type = String)]
    pub host: HostName,
    /// The setup that the VM would be of.
    #[schema(value_type = String)]
    pub setup: SetupName,
    /// What is compared: `increase` or `total`.
    pub by: String,
    /// Every attribute that goes into it, by name.
    pub attributes: Vec<AttributeValue>,
    /// Its terms.
    pub terms: Vec<TermCost>,
    /// Their sum for the host as it is.
    pub before: Option<f64>,
    /// Their sum with the VM.
    pub after: Option<f64>,
    /// The difference.
    pub increase: Option<f64>,
}

/// An attribute with its values. What placing the VM does not change has the same twice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct AttributeValue {
    /// As it is written.
    pub attribute: String,
    /// For the host as it is.
    pub before: Option<f64>,
    /// With the VM.
    pub after: Option<f64>,
}
