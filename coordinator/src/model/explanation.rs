//! Owns the record of one placement decision: the scheduler's explanation, abridged so that a record stays small
//! however large the fleet is, and when it was taken.

use reeve_common::clock::Timestamp;
use reeve_scheduler::{Explanation, HostExplanation};
use serde::{Deserialize, Serialize};

/// How many feasible hosts a kept decision names: the chosen one and those that came nearest.
pub const FEASIBLE_KEPT: usize = 10;
/// How many hosts that could not take the VM a kept decision names.
pub const INFEASIBLE_KEPT: usize = 10;

/// Why a VM is where it is, or nowhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PlacementDecision {
    /// When it was taken.
    pub at: Timestamp,
    /// How many hosts were considered.
    pub considered: usize,
    /// How many of them could have taken it.
    pub feasible: usize,
    /// The best of them, and some of those that could not.
    pub explanation: Explanation,
}

impl PlacementDecision {
    /// Keeps of an explanation what a person needs to understand the choice.
    #[must_use]
    pub fn new(mut explanation: Explanation, at: Timestamp) -> Self {
        let considered = explanation.hosts.len();
        let (mut able, mut unable): (Vec<HostExplanation>, Vec<HostExplanation>) =
            explanation.hosts.into_iter().partition(|host| host.feasible);
        let feasible = able.len();
        able.sort_by(|left, right| {
            left.score().total_cmp(&right.score()).then_with(|| left.host.cmp(&right.host))
        });
        able.truncate(FEASIBLE_KEPT);
        unable.truncate(INFEASIBLE_KEPT);
        able.append(&mut unable);
        explanation.hosts = able;
        Self { at, considered, feasible, explanation }
    }
}
