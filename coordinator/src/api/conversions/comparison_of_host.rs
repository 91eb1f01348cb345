//! Owns how a host's comparison becomes a document.

use reeve_common::ids::HostName;

use super::host::foreign_of;
use crate::api::types::{Difference, HostComparison, Treatment};
use crate::model::reconciliation as model;

pub(in crate::api) fn host_comparison_of(
    host: &HostName,
    dry_run: bool,
    comparison: &model::HostComparison,
) -> HostComparison {
    HostComparison {
        host: host.clone(),
        dry_run,
        same: comparison.same,
        differences: comparison.differences.iter().map(|each| difference_of(each, dry_run)).collect(),
        foreign_domains: comparison.foreign.iter().map(foreign_of).collect(),
    }
}

fn difference_of(difference: &model::Difference, dry_run: bool) -> Difference {
    let (treatment, actions) = match &difference.treatment {
        model::Treatment::Repaired { words, .. } => {
            let treatment = if dry_run { Treatment::Repairable } else { Treatment::Repaired };
            (treatment, vec![words.clone()])
        }
        model::Treatment::Failed { why } => (Treatment::Failed, vec![why.clone()]),
        model::Treatment::Decision { choices } => (Treatment::Decision, choices.clone()),
    };
    Difference {
        vm: difference.vm,
        name: difference.name.clone(),
        difference: difference.words.clone(),
        treatment,
        actions,
    }
}
