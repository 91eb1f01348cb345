//! Owns a decision as a value that people and programs can read: for each host whether it is feasible or the reason
//! why not, and each term of its cost with the value before and after.
//!
//! Must not: decide. A number that is not finite is written as null, and read back as NaN.

use reeve_common::clock::Timestamp;
use reeve_common::ids::{CostFunctionName, HostId, HostName};
use serde::{Deserialize, Serialize};

use crate::cost::ChoiceRule;
use crate::request::Request;

/// Where a VM goes and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Explanation {
    /// What was asked.
    pub request: Request,
    /// The host with the lowest score, the lowest id among equals; none when none is feasible.
    pub chosen: Option<HostId>,
    /// The rule the chosen host was judged by; where none was chosen, that of the first host.
    pub rule: ChoiceRule,
    /// Every host, by id.
    pub hosts: Vec<HostExplanation>,
}

/// One host in a decision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct HostExplanation {
    /// Which.
    pub host: HostId,
    /// Its name.
    pub name: HostName,
    /// It could take the VM.
    pub feasible: bool,
    /// Why it could not.
    pub reason: Option<String>,
    /// The cost function it is judged by.
    pub cost_function: CostFunctionName,
    /// Which number of its cost is compared.
    pub rule: ChoiceRule,
    /// The terms of its cost, in their order.
    pub terms: Vec<TermExplanation>,
    /// The sum of the terms for the host as it is.
    #[serde(with = "number")]
    pub before: f64,
    /// The sum of the terms with the VM.
    #[serde(with = "number")]
    pub after: f64,
    /// By how much the VM would make it rise.
    #[serde(with = "number")]
    pub increase: f64,
    /// When the measured values in its cost were measured; none when there are none in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured_at: Option<Timestamp>,
}

impl HostExplanation {
    /// The number that is compared with other hosts'; lower is better.
    #[must_use]
    pub fn score(&self) -> f32 {
        self.rule.score(self.before, self.after)
    }
}

/// One term of a host's cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TermExplanation {
    /// Its name in the cost function.
    pub name: String,
    /// What was written.
    pub expression: String,
    /// Its value for the host as it is.
    #[serde(with = "number")]
    pub before: f64,
    /// Its value with the VM.
    #[serde(with = "number")]
    pub after: f64,
}

/// How many hosts a [`ExplanationDigest`] tells of in full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostsTold {
    /// Of those that can take the VM: the chosen one, which is always told, and those that come nearest.
    pub feasible: usize,
    /// Of those that cannot.
    pub refused: usize,
}

/// A decision in short: as exact as an [`Explanation`], and as short for a hundred thousand hosts as for a hundred.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ExplanationDigest {
    /// How many hosts were considered.
    pub considered: usize,
    /// How many of them can take the VM.
    pub feasible: usize,
    /// How many cannot, by the kind of reason; by the id of the first of each kind.
    #[serde(default)]
    pub refusals: Vec<RefusalCount>,
    /// The best hosts, best first, and behind them some that cannot take the VM, by id.
    pub explanation: Explanation,
}

/// Hosts that cannot take the VM for one kind of reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RefusalCount {
    /// How many.
    pub hosts: usize,
    /// The first of them.
    pub example: HostName,
    /// What stops that one, in numbers.
    pub reason: String,
}

/// What a cost function says of one host and one VM.
#[derive(Debug, Clone, PartialEq)]
pub struct CostEvaluation {
    /// Which host.
    pub host: HostId,
    /// Its name.
    pub name: HostName,
    /// The function.
    pub cost_function: CostFunctionName,
    /// Which of its numbers is compared.
    pub rule: ChoiceRule,
    /// Every attribute that goes into it, each once, by name.
    pub attributes: Vec<AttributeValue>,
    /// Its terms, in their order.
    pub terms: Vec<TermExplanation>,
    /// The sum of the terms for the host as it is.
    pub before: f64,
    /// The sum of the terms with the VM.
    pub after: f64,
    /// The difference.
    pub increase: f64,
}

/// An attribute with its values. Where placing the VM changes nothing, both are the same.
#[derive(Debug, Clone, PartialEq)]
pub struct AttributeValue {
    /// As it is written.
    pub name: String,
    /// For the host as it is.
    pub before: f64,
    /// With the VM.
    pub after: f64,
}

/// A float that may not be finite: JSON has no word for those, so they are null.
mod number {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[allow(clippy::trivially_copy_pass_by_ref)] // the signature is serde's
    pub(super) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        value.is_finite().then_some(*value).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        Option::<f64>::deserialize(deserializer).map(|value| value.unwrap_or(f64::NAN))
    }
}
