//! Owns how what would be is shown: simulations, a VM and a host compared, a cost function worked out.

use std::cmp::Ordering;

use super::explanation::{self, decision_words};
use crate::api::types::{
    Comparison, CostEvaluation, Explanation, HostVerdict, Judgement, SimulatedHost, Simulation,
};
use crate::cli::arguments::Format;
use crate::cli::moments::relative_and_absolute;
use crate::cli::screen::{Screen, Sheet, number, table, words, yes_or_no};
use crate::decision_words::{compared, cost, cost_increase};

/// The answer to `setup simulate` where more than a decision was asked for.
pub(in crate::cli) fn simulation(screen: &Screen, simulation: &Simulation, with_terms: bool) -> String {
    if screen.format == Format::Table && screen.quiet {
        let hosts = simulation.hosts.iter();
        return hosts.map(|host| format!("{}\n", host.host)).collect();
    }
    let name = |_: &Simulation| String::new();
    screen.one(simulation, name, |simulation| match &simulation.decision {
        Some(decision) => explanation::decision(screen, decision, with_terms),
        None => many(screen, simulation),
    })
}

fn many(screen: &Screen, simulation: &Simulation) -> String {
    let columns = [words("HOST"), number("VMS"), words("NEW")];
    let row = |host: &SimulatedHost| {
        vec![host.host.to_string(), host.vms.to_string(), yes_or_no(host.new).to_owned()]
    };
    let mut text = if simulation.hosts.is_empty() {
        String::new()
    } else {
        table(screen.header.then_some(&columns), &columns, simulation.hosts.iter().map(row)) + "\n"
    };
    text.push_str(&match simulation.fit {
        0 => format!("none of {} fits", simulation.asked),
        fit => format!(
            "{fit} of {} fit, on {} hosts; the fleet's cost changes by {}",
            simulation.asked,
            simulation.hosts.len(),
            cost_increase(simulation.cost_increase)
        ),
    });
    text.push('\n');
    if let Some(stopped_by) = &simulation.stopped_by {
        text.push_str(&format!("The next one: {}\n", decision_words(stopped_by).why()));
    }
    text
}

/// The answer to `vm why`.
pub(in crate::cli) fn comparison(screen: &Screen, comparison: &Comparison) -> String {
    let name = |comparison: &Comparison| comparison.host.to_string();
    screen.one(comparison, name, |comparison| {
        let Comparison { name, host, placed_on, then, now, .. } = comparison;
        let mut text = match placed_on {
            Some(placed_on) if placed_on == host => format!("{name} is on {host}.\n"),
            Some(placed_on) => format!("{name} is on {placed_on}, not on {host}.\n"),
            None => format!("{name} has no place.\n"),
        };
        if let Some(then) = then {
            let when = if placed_on.is_some() { "When it was placed" } else { "When it found no place" };
            text.push_str(&format!("\n{when}, {}:\n", relative_and_absolute(then.at, screen.now)));
            text.push_str(&judgement(screen, then, host.as_str(), &PAST));
        }
        text.push_str("\nNow, as if it were nowhere:\n");
        text.push_str(&judgement(screen, now, host.as_str(), &PRESENT));
        text
    })
}

/// The words for what was, and for what is.
struct Tense {
    cannot: &'static str,
    can: &'static str,
    is_chosen: &'static str,
}

const PAST: Tense =
    Tense { cannot: "could not take it", can: "could have taken it", is_chosen: "was chosen" };
const PRESENT: Tense = Tense { cannot: "cannot take it", can: "can take it", is_chosen: "would be chosen" };

fn judgement(screen: &Screen, judgement: &Judgement, host: &str, tense: &Tense) -> String {
    let Judgement { by, host: asked, chosen, .. } = judgement;
    let Some(asked) = asked else {
        let chosen = chosen.as_ref().map_or_else(
            || "no host could take it".to_owned(),
            |chosen| format!("{} {}", chosen.host, tense.is_chosen),
        );
        return format!(
            "  {host} is not named in what was kept: only the best hosts and some others are; {chosen}\n"
        );
    };
    let mut text = format!("  {}\n\n", verdict(by, asked, chosen.as_ref(), tense));
    let mut hosts = vec![asked.clone()];
    hosts.extend(chosen.clone().filter(|chosen| chosen.id != asked.id));
    let pair = Explanation {
        chosen: chosen.as_ref().map(|chosen| chosen.host.clone()),
        by: by.clone(),
        at_once: None,
        considered: hosts.len(),
        feasible: hosts.iter().filter(|host| host.feasible).count(),
        hosts,
        refusals: Vec::new(),
    };
    for block in [explanation::hosts(screen, &pair), explanation::terms(screen, &pair)] {
        block.lines().for_each(|line| text.push_str(&format!("  {line}\n")));
        text.push('\n');
    }
    text.pop();
    text
}

/// One sentence about the host asked for.
fn verdict(by: &str, asked: &HostVerdict, chosen: Option<&HostVerdict>, tense: &Tense) -> String {
    if let Some(reason) = &asked.reason {
        return format!("{} {}: {reason}", asked.host, tense.cannot);
    }
    let score = |host: &HostVerdict| if by == "total" { host.after } else { host.increase };
    let told = |host: &HostVerdict| {
        if by == "total" {
            format!("total cost {}", cost(score(host)))
        } else {
            format!("cost {}", cost_increase(score(host)))
        }
    };
    let Some(chosen) = chosen.filter(|chosen| chosen.id != asked.id) else {
        return format!("{} {}: {}", asked.host, tense.is_chosen, told(asked));
    };
    let why = match compared(score(chosen), score(asked)) {
        Ordering::Less => format!("{} {}: {}", chosen.host, tense.is_chosen, told(chosen)),
        Ordering::Equal => {
            format!("{} {}, which costs as much and has the lower id", chosen.host, tense.is_chosen)
        }
        Ordering::Greater => format!(
            "{} {} ({}), so that several VMs placed at once cost less together",
            chosen.host,
            tense.is_chosen,
            told(chosen)
        ),
    };
    format!("{} {} ({}), but {why}", asked.host, tense.can, told(asked))
}

/// The answer to `cost explain`.
pub(in crate::cli) fn evaluation(screen: &Screen, evaluation: &CostEvaluation) -> String {
    let name = |evaluation: &CostEvaluation| evaluation.cost_function.to_string();
    screen.one(evaluation, name, |evaluation| {
        let by = match evaluation.by.as_str() {
            "total" => "the lowest total is chosen",
            _ => "the lowest increase is chosen",
        };
        Sheet::new()
            .line("Cost function", format!("{} ({by})", evaluation.cost_function))
            .line("Host", format!("{}, as it stands", evaluation.host))
            .line("Setup", evaluation.setup.as_str())
            .section("What goes into it", &attributes(screen, evaluation))
            .section("What comes out", &outcome(screen, evaluation))
            .render()
    })
}

fn attributes(screen: &Screen, evaluation: &CostEvaluation) -> String {
    if evaluation.attributes.is_empty() {
        return String::new();
    }
    let columns = [words("ATTRIBUTE"), number("BEFORE"), number("WITH THE VM")];
    let rows = evaluation
        .attributes
        .iter()
        .map(|value| vec![value.attribute.clone(), amount(value.before), amount(value.after)]);
    table(screen.header.then_some(&columns), &columns, rows)
}

fn outcome(screen: &Screen, evaluation: &CostEvaluation) -> String {
    let columns =
        [words("TERM"), number("BEFORE"), number("WITH THE VM"), number("INCREASE"), words("EXPRESSION")];
    let increase =
        |before: Option<f64>, after: Option<f64>| before.zip(after).map(|(before, after)| after - before);
    let terms = evaluation.terms.iter().map(|term| {
        vec![
            term.term.clone(),
            cost(term.before),
            cost(term.after),
            cost_increase(increase(term.before, term.after)),
            term.expression.clone(),
        ]
    });
    let sum = vec![
        "sum".to_owned(),
        cost(evaluation.before),
        cost(evaluation.after),
        cost_increase(evaluation.increase),
        " ".to_owned(),
    ];
    table(screen.header.then_some(&columns), &columns, terms.chain([sum]))
}

/// A number with as many digits as it needs, four behind the point at most; `unknown` where nothing was measured.
fn amount(value: Option<f64>) -> String {
    let Some(value) = value else { return "unknown".to_owned() };
    let digits = format!("{value:.4}");
    let short = digits.trim_end_matches('0').trim_end_matches('.');
    if short == "-0" { "0".to_owned() } else { short.to_owned() }
}
