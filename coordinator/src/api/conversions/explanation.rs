//! Owns how the scheduler's explanations become documents.

use reeve_scheduler::{ChoiceRule, ExplanationDigest, HostExplanation, TermExplanation};

use crate::api::types::{Explanation, HostVerdict, Refusals, TermCost};
use crate::model::explanation::finite;

/// The word for a rule of choice.
pub(super) const fn rule_word(rule: ChoiceRule) -> &'static str {
    match rule {
        ChoiceRule::Increase => "increase",
        ChoiceRule::Total => "total",
    }
}

pub(in crate::api) fn explanation_of(digest: &ExplanationDigest) -> Explanation {
    let explanation = &digest.explanation;
    let chosen = explanation.hosts.iter().find(|host| Some(host.host) == explanation.chosen);
    Explanation {
        chosen: chosen.map(|host| host.name.clone()),
        by: rule_word(explanation.rule).to_owned(),
        at_once: None,
        considered: digest.considered,
        feasible: digest.feasible,
        hosts: explanation
            .hosts
            .iter()
            .map(|host| verdict_of(host, explanation.chosen == Some(host.host)))
            .collect(),
        refusals: digest
            .refusals
            .iter()
            .map(|refusal| Refusals {
                hosts: refusal.hosts,
                example: refusal.example.clone(),
                reason: refusal.reason.clone(),
            })
            .collect(),
    }
}

pub(super) fn verdict_of(host: &HostExplanation, chosen: bool) -> HostVerdict {
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

pub(super) fn term_of(term: &TermExplanation) -> TermCost {
    TermCost {
        term: term.name.clone(),
        expression: term.expression.clone(),
        before: finite(term.before),
        after: finite(term.after),
    }
}
