//! Owns the rule on keys that are given twice. Across files that is how an included value is changed and says nothing.
//! Within one file it is a slip of the hand far more often than meant, so it is a warning that names both lines; the
//! later one counts, as HOCON has it. Sections may be continued as often as one likes, and a default that a later
//! `${?VARIABLE}` may replace is meant.
//!
//! Must not: change which one counts.

use std::collections::HashMap;

use super::finding::{Findings, Severity};
use super::place::{KeyPath, Sources};
use super::tree::{Expression, Given, Layer, Node};

/// Warns of keys given twice.
pub(super) fn check(root: &Node, sources: &Sources, findings: &mut Findings) {
    check_below(root, &mut Vec::new(), sources, findings);
}

fn check_below(node: &Node, path: &mut KeyPath, sources: &Sources, findings: &mut Findings) {
    let mut earlier: HashMap<usize, &Layer> = HashMap::new();
    for later in &node.layers {
        let same_file = earlier.insert(later.key_place.file, later);
        if let Some(first) = same_file.filter(|earlier| is_slip(earlier, later)) {
            findings.push_with(Severity::Warning, || {
                let line = first.key_place.line;
                let message = format!(
                    "this key was given in line {line} already; the value here counts, remove one of them"
                );
                sources.finding(Severity::Warning, later.key_place, path, message)
            });
        }
    }
    for (key, child) in &node.children {
        path.push(key.clone());
        check_below(child, path, sources, findings);
        path.pop();
    }
}

fn is_slip(earlier: &Layer, later: &Layer) -> bool {
    match (&earlier.given, &later.given) {
        (Given::Section, Given::Section) => false,
        (_, Given::Expression(expression)) => !may_be_nothing(expression),
        (Given::Expression(_), Given::Section) => !builds_on_section(&earlier.given),
    }
}

/// Whether it leaves the value before it in place when a variable is not set.
fn may_be_nothing(expression: &Expression) -> bool {
    match expression {
        Expression::Substitution(substitution) => substitution.is_optional,
        Expression::Sequence(parts) => parts.iter().any(may_be_nothing),
        _ => false,
    }
}

/// Whether it may be a section that the next one adds to.
fn builds_on_section(given: &Given) -> bool {
    match given {
        Given::Section => true,
        Given::Expression(Expression::Sequence(parts)) => {
            parts.iter().any(|part| matches!(part, Expression::Section(_) | Expression::Substitution(_)))
        }
        Given::Expression(expression) => {
            matches!(expression, Expression::Section(_) | Expression::Substitution(_))
        }
    }
}
