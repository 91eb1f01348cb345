//! Owns the bound on what substitutions make of a file. The library repeats a substituted value wherever it is used,
//! so thirty keys, each the one before it twice, would keep it busy for ever. How large the result will be is known
//! from the outline, before the library is asked.
//!
//! Must not: evaluate. The estimate may be too high, never too low.

use std::collections::HashMap;

use super::finding::{Findings, Severity};
use super::outline::{Assignment, KeyPath, Outline, Substitution, show_path};

/// Substitutions in all files together.
const SUBSTITUTIONS_MAX: usize = 256;
/// What all values come to, in bytes, with everything substituted.
const EXPANSION_BYTES_MAX: usize = 1 << 20;
/// What a key costs besides its text.
const KEY_BYTES: usize = 32;

/// Refuses what would grow beyond all bounds, refer to itself or refer to nothing. False when the library must not be
/// asked.
pub(super) fn check(outline: &Outline, findings: &mut Findings) -> bool {
    let mut check = Check { outline, costs: HashMap::new(), problem: None };
    let substitutions =
        outline.assignments.iter().map(|assignment| assignment.substitutions.len()).sum::<usize>();
    let total = if substitutions > SUBSTITUTIONS_MAX {
        check.problem = Some(Problem::TooMany);
        0
    } else {
        (0..outline.assignments.len()).fold(0, |total: usize, index| total.saturating_add(check.cost(index)))
    };
    if check.problem.is_none() && total > EXPANSION_BYTES_MAX {
        check.problem = Some(Problem::TooLarge);
    }
    let missing = missing_targets(outline);
    for substitution in &missing {
        let message = format!(
            "${{{}}} refers to no key and to no variable of the environment; write ${{?{}}} if it may be missing",
            show_path(&substitution.target),
            show_path(&substitution.target)
        );
        findings.push(outline.finding(Severity::Error, Some(substitution.place), &[], message));
    }
    let Some(problem) = check.problem else { return missing.is_empty() };
    let (index, message) = match problem {
        Problem::TooMany => (
            first_with_substitution(outline),
            format!("there are more than {SUBSTITUTIONS_MAX} substitutions"),
        ),
        Problem::TooLarge => {
            let largest =
                check.costs.iter().max_by_key(|(index, cost)| (**cost, **index)).map(|(index, _)| *index);
            let size = EXPANSION_BYTES_MAX >> 20;
            (largest, format!("with everything substituted this configuration has more than {size} MiB"))
        }
        Problem::Circle(index) => (
            Some(index),
            "this value refers to itself; give the value it builds on a key of its own".to_owned(),
        ),
    };
    let assignment = index.and_then(|index| outline.assignments.get(index));
    let place = assignment.map(|assignment| assignment.value_place);
    let key = assignment.map_or(&[][..], |assignment| &assignment.path);
    findings.push(outline.finding(Severity::Error, place, key, message));
    false
}

#[derive(Debug)]
enum Problem {
    TooMany,
    TooLarge,
    Circle(usize),
}

struct Check<'a> {
    outline: &'a Outline,
    /// By assignment; `None` while it is being worked out.
    costs: HashMap<usize, Option<usize>>,
    problem: Option<Problem>,
}

impl Check<'_> {
    /// The bytes that an assignment's value comes to. Recurses at most [`SUBSTITUTIONS_MAX`] deep: each step goes
    /// through another assignment that has substitutions.
    fn cost(&mut self, index: usize) -> usize {
        let outline = self.outline;
        let Some(assignment) = outline.assignments.get(index) else { return 0 };
        match self.costs.get(&index) {
            Some(Some(cost)) => return *cost,
            Some(None) => {
                self.problem = self.problem.take().or(Some(Problem::Circle(index)));
                return 0;
            }
            None => {}
        }
        self.costs.insert(index, None);
        let mut cost = KEY_BYTES.saturating_add(assignment.length);
        if assignment.appends {
            self.problem = self.problem.take().or(Some(Problem::Circle(index)));
        }
        for substitution in &assignment.substitutions {
            let environment = std::env::var_os(substitution.target.join(".")).map_or(0, |value| value.len());
            cost = cost.saturating_add(environment);
            for target in related(outline, substitution) {
                cost = cost.saturating_add(self.cost(target));
            }
        }
        self.costs.insert(index, Some(cost));
        cost
    }
}

/// Every assignment whose value a substitution may take a part of: at its target, below it, or above it if that one
/// is not merely a section's opening.
fn related(outline: &Outline, substitution: &Substitution) -> Vec<usize> {
    let mut found = Vec::new();
    for target in [&substitution.target, &substitution.relative_target] {
        let below = outline.paths().range(target.clone()..).take_while(|(path, _)| path.starts_with(target));
        found.extend(below.flat_map(|(_, indexes)| indexes));
        for length in 0..target.len() {
            let above: KeyPath = target.iter().take(length).cloned().collect();
            let indexes = outline.paths().get(&above).into_iter().flatten();
            let is_value = |index: &&usize| outline.assignments.get(**index).is_some_and(gives_value);
            found.extend(indexes.filter(is_value));
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

fn gives_value(assignment: &Assignment) -> bool {
    !assignment.is_section
}

fn missing_targets(outline: &Outline) -> Vec<&Substitution> {
    let all = outline.assignments.iter().flat_map(|assignment| &assignment.substitutions);
    all.filter(|substitution| {
        !substitution.optional
            && related(outline, substitution).is_empty()
            && std::env::var_os(substitution.target.join(".")).is_none()
    })
    .collect()
}

fn first_with_substitution(outline: &Outline) -> Option<usize> {
    outline.assignments.iter().position(|assignment| !assignment.substitutions.is_empty())
}
