//! Owns how a placement decision is shown: a line that sums it up, a table of hosts, a table of terms.

use std::cmp::Ordering;

use crate::api::types::{Explanation, HostVerdict};
use crate::cli::amounts::{cost, cost_increase};
use crate::cli::screen::{Screen, number, table, words, yes_or_no};

/// How many hosts that cannot take the VM are told in a summary: the reasons repeat.
const REASONS_SHOWN_MAX: usize = 5;

/// The answer to `setup simulate`.
pub(in crate::cli) fn simulation(screen: &Screen, explanation: &Explanation, with_terms: bool) -> String {
    let chosen =
        |explanation: &Explanation| explanation.chosen.as_ref().map_or_else(String::new, ToString::to_string);
    screen.one(explanation, chosen, |explanation| {
        let mut text = hosts(screen, explanation);
        if with_terms {
            text.push('\n');
            text.push_str(&terms(screen, explanation));
        }
        text.push('\n');
        text.push_str(&summary(explanation));
        text.push('\n');
        text
    })
}

fn hosts(screen: &Screen, explanation: &Explanation) -> String {
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

fn terms(screen: &Screen, explanation: &Explanation) -> String {
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
    match &explanation.chosen {
        Some(host) => format!("{host}: {}", why(explanation)),
        None => why(explanation),
    }
}

/// The same where the host has been named already.
pub(in crate::cli) fn why(explanation: &Explanation) -> String {
    let Some(chosen) = explanation.hosts.iter().find(|host| host.chosen) else {
        return nowhere(explanation);
    };
    let score = |host: &HostVerdict| {
        if explanation.by == "total" {
            format!("total cost {}", cost(host.after))
        } else {
            format!("cost {}", cost_increase(host.increase))
        }
    };
    let runner_up = runner_up(explanation).map_or_else(
        || "no other host fits".to_owned(),
        |second| format!("runner-up {}, {}", second.host, score(second)),
    );
    format!("{} ({runner_up})", score(chosen))
}

fn runner_up(explanation: &Explanation) -> Option<&HostVerdict> {
    let score = |host: &HostVerdict| if explanation.by == "total" { host.after } else { host.increase };
    explanation.hosts.iter().filter(|host| host.feasible && !host.chosen).min_by(|one, other| {
        match (score(one), score(other)) {
            (Some(one), Some(other)) => one.total_cmp(&other),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => Ordering::Equal,
        }
        // Ties go to the lowest id.
        .then(one.id.cmp(&other.id))
    })
}

fn nowhere(explanation: &Explanation) -> String {
    if explanation.hosts.is_empty() {
        return "no host can take it: there are no hosts".to_owned();
    }
    let mut text = format!("none of {} hosts can take it", explanation.hosts.len());
    for host in explanation.hosts.iter().take(REASONS_SHOWN_MAX) {
        let reason = host.reason.as_deref().unwrap_or("for no reason given");
        text.push_str(&format!("\n  {}: {reason}", host.host));
    }
    if let Some(more) = explanation.hosts.len().checked_sub(REASONS_SHOWN_MAX).filter(|more| *more > 0) {
        text.push_str(&format!("\n  and {more} more"));
    }
    text
}
