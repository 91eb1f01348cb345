//! Owns the record of one placement decision: the scheduler's explanation in short, so that a record stays small however
//! large the fleet is, and when it was taken; and how it is handed over to be told in words.

use reeve_common::clock::Timestamp;
use reeve_common::ids::HostId;
use reeve_scheduler::{ChoiceRule, ExplanationDigest, HostExplanation, HostsTold};
use serde::{Deserialize, Serialize};

use crate::decision_words::{DecisionWords, HostWords, RefusalWords};

/// The hosts that a kept decision names: the chosen one and those that came nearest, and some that could not take the VM.
pub const HOSTS_KEPT: HostsTold = HostsTold { feasible: 10, refused: 10 };

/// Why a VM is where it is, or nowhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PlacementDecision {
    /// When it was taken.
    pub at: Timestamp,
    /// How many VMs were placed by one plan, where that plan chose another host than the best for this VM alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_once: Option<usize>,
    /// What was found.
    #[serde(flatten)]
    pub digest: ExplanationDigest,
}

impl PlacementDecision {
    /// What is to be told of it.
    pub(crate) fn words(&self) -> DecisionWords<'_> {
        DecisionWords { at_once: self.at_once, ..words(&self.digest) }
    }
}

fn words(digest: &ExplanationDigest) -> DecisionWords<'_> {
    let explanation = &digest.explanation;
    let refusals = digest.refusals.iter().map(|refusal| RefusalWords {
        hosts: refusal.hosts,
        example: refusal.example.as_str(),
        reason: &refusal.reason,
    });
    DecisionWords {
        at_once: None,
        by_total: explanation.rule == ChoiceRule::Total,
        considered: digest.considered,
        hosts: explanation.hosts.iter().map(|host| host_words(host, explanation.chosen)).collect(),
        refusals: refusals.collect(),
    }
}

fn host_words(host: &HostExplanation, chosen: Option<HostId>) -> HostWords<'_> {
    HostWords {
        name: host.name.as_str(),
        id: host.host.0,
        chosen: chosen == Some(host.host),
        reason: host.reason.as_deref(),
        before: finite(host.before),
        after: finite(host.after),
        increase: finite(host.increase),
    }
}

/// A cost that means something; one that is not finite means "never here".
pub(crate) fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}
