//! Owns how the scheduler's explanations become documents.

use reeve_scheduler::{ChoiceRule, HostExplanation, TermExplanation};

use crate::api::types::{Explanation, HostVerdict, TermCost};

/// The word for a rule of choice.
pub(super) const fn rule_word(rule: ChoiceRule) -> &'static str {
    match rule {
        ChoiceRule::Increase => "increase",
        ChoiceRule::Total => "total",
    }
}

/// JSON has no word for a number that is not finite.
fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

pub(in crate::api) fn explanation_of(explanation: &reeve_scheduler::Explanation) -> Explanation {
    let chosen = explanation.hosts.iter().find(|host| Some(host.host) == explanation.chosen);
    Explanation {
        chosen: chosen.map(|host| host.name.clone()),
        by: rule_word(explanation.rule).to_owned(),
        hosts: explanation
            .hosts
            .iter()
            .map(|host| verdict_of(host, explanation.chosen == Some(host.host)))
            .collect(),
    }
}

fn verdict_of(host: &HostExplanation, chosen: bool) -> HostVerdict {
    HostVerdict {
        host: host.name.clone(),
        id: host.host,
        feasible: host.feasible,
        reason: host.reason.clone(),
        chosen,
        cost_function: host.cost_function.clone(),
        before: finite(host.before),
        after: finite(host.after),
        increase: finite(host.increase),
        terms: host.terms.iter().map(term_of).collect(),
    }
}

fn term_of(term: &TermExplanation) -> TermCost {
    TermCost {
        term: term.name.clone(),
        expression: term.expression.clone(),
        before: finite(term.before),
        after: finite(term.after),
    }
}
