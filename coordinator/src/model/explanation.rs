//! Owns the record of one placement decision: the scheduler's explanation and when it was asked.

use reeve_common::clock::Timestamp;
use reeve_scheduler::Explanation;
use serde::{Deserialize, Serialize};

/// Why a VM is where it is, or nowhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PlacementDecision {
    /// When it was taken.
    pub at: Timestamp,
    /// What was considered.
    pub explanation: Explanation,
}
