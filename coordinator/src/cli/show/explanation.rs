//! Owns how a placement decision is shown: a line that sums it up, a table of hosts, a table of terms.

use crate::api::types::{Explanation, HostVerdict};
use crate::cli::screen::{Screen, number, table, words, yes_or_no};
use crate::decision_words::{DecisionWords, HostWords, RefusalWords, cost, cost_increase};

/// The answer to `setup simulate`.
pub(in crate::cli) fn simulation(screen: &Screen, explanation: &Explanation, with_terms: bool) -> String {
    let chosen =
        |explanation: &Explanation| explanation.chosen.as_ref().map_or_else(String::new, ToString::to_string);
    screen.one(explanation, chosen, |explanation| decision(screen, explanation, with_terms))
}

/// A decision host by host, and what it comes to.
pub(super) fn decision(screen: &Screen, explanation: &Explanation, with_terms: bool) -> String {
    let mut text = hosts(screen, explanation);
    if with_terms {
        text.push('\n');
        text.push_str(&terms(screen, explanation));
    }
    text.push('\n');
    text.push_str(&summary(explanation));
    text.push('\n');
    text
}

/// A row for each host.
pub(super) fn hosts(screen: &Screen, explanation: &Explanation) -> String {
    let columns = [
        words(" "),
        words("HOST"),
        words("FEASIBLE"),
        number("COST BEFORE"),
        number("AFTER"),
        number("INCREASE"),
        words("REASON"),
    ];
    let rows = explanation.hosts.iter().map(|host| {
        vec![
            if host.chosen { "*" } else { " " }.to_owned(),
            host.host.to_string(),
            yes_or_no(host.feasible).to_owned(),
            cost(host.before),
            cost(host.after),
            cost_increase(host.increase),
            host.reason.clone().unwrap_or_else(|| " ".to_owned()),
        ]
    });
    table(screen.header.then_some(&columns), &columns, rows)
}

/// A row for each term of each host.
pub(super) fn terms(screen: &Screen, explanation: &Explanation) -> String {
    let columns = [words("HOST"), words("TERM"), number("BEFORE"), number("AFTER"), words("EXPRESSION")];
    let rows = explanation.hosts.iter().flat_map(|host| {
        host.terms.iter().enumerate().map(|(index, term)| {
            vec![
                if index == 0 { host.host.to_string() } else { " ".to_owned() },
                term.term.clone(),
                cost(term.before),
                cost(term.after),
                term.expression.clone(),
            ]
        })
    });
    table(screen.header.then_some(&columns), &columns, rows)
}

/// One line: the host, what it costs there, and who came second. Where no host fits: the reasons.
pub(in crate::cli) fn summary(explanation: &Explanation) -> String {
    decision_words(explanation).summary()
}

/// The same where the host has been named already.
pub(in crate::cli) fn why(explanation: &Explanation) -> String {
    decision_words(explanation).why()
}

/// What is to be told of a decision.
pub(super) fn decision_words(explanation: &Explanation) -> DecisionWords<'_> {
    DecisionWords {
        by_total: explanation.by == "total",
        at_once: explanation.at_once,
        considered: explanation.considered.max(explanation.hosts.len()),
        hosts: explanation.hosts.iter().map(host_words).collect(),
        refusals: explanation
            .refusals
            .iter()
            .map(|refusals| RefusalWords {
                hosts: refusals.hosts,
                example: refusals.example.as_str(),
                reason: &refusals.reason,
            })
            .collect(),
    }
}

/// What is to be told of one host.
pub(super) fn host_words(host: &HostVerdict) -> HostWords<'_> {
    HostWords {
        name: host.host.as_str(),
        id: host.id.0,
        chosen: host.chosen,
        reason: host.reason.as_deref(),
        before: host.before,
        after: host.after,
        increase: host.increase,
    }
}
