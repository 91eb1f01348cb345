//! Owns the `cost-functions` section: names, terms, and the presets that are there without being declared. A declared
//! function with a preset's name takes its place.
//!
//! Must not: understand a term; that is the scheduler's compiler, whose complaints are shown at their place in the
//! file.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use reeve_common::ids::CostFunctionName;
use reeve_scheduler::{ChoiceRule, CostError, CostFunction, presets};

use super::finding::Severity;
use super::section::{Entry, Section};
use super::value::choice;

/// The cost functions, and the names of those that were declared and could not be compiled: a profile that names one
/// of them is not wrong as well.
#[derive(Debug, Default)]
pub(super) struct CostFunctions {
    pub(super) compiled: BTreeMap<CostFunctionName, Arc<CostFunction>>,
    pub(super) failed: BTreeSet<CostFunctionName>,
}

/// All cost functions, the presets first.
pub(super) fn read_cost_functions(section: &Section<'_>) -> CostFunctions {
    let mut functions = CostFunctions::default();
    for (name, terms) in presets() {
        // The scheduler's own tests compile every preset.
        if let Ok(function) = CostFunction::compile(&name, &terms, ChoiceRule::default()) {
            functions.compiled.insert(name, Arc::new(function));
        }
    }
    for (name, function) in read_declared(section) {
        match function {
            Some(function) => drop(functions.compiled.insert(name, function)),
            None => drop(functions.failed.insert(name)),
        }
    }
    functions
}

/// Those that are declared, in the order of the file; none for one that cannot be compiled, which was reported.
pub(super) fn read_declared(section: &Section<'_>) -> Vec<(CostFunctionName, Option<Arc<CostFunction>>)> {
    let mut functions = Vec::new();
    for (key, entry) in section.entries() {
        match CostFunctionName::new(key) {
            Ok(name) => {
                let function = read_function(&name, &entry).map(Arc::new);
                functions.push((name, function));
            }
            Err(error) => entry.report_key(Severity::Error, error.to_string()),
        }
    }
    functions
}

fn read_function(name: &CostFunctionName, entry: &Entry<'_>) -> Option<CostFunction> {
    let mut section = entry.section()?;
    let rule = section.entry("by").map_or(Some(ChoiceRule::default()), |entry| {
        choice(&entry, &[("increase", ChoiceRule::Increase), ("total", ChoiceRule::Total)])
    });
    let entries = section.entries();
    let texts = entries.iter().map(|(term, entry)| {
        let text = entry.text("a term, an expression in quotes such as \"2 * power(cores.load, 2)\",")?;
        Some((term.clone(), text.to_owned()))
    });
    let terms: Option<Vec<(String, String)>> = texts.collect();
    let (rule, terms) = (rule?, terms?);
    if terms.is_empty() {
        section.report(
            Severity::Error,
            "a cost function has at least one term, such as load = \"cores.load\"".to_owned(),
        );
        return None;
    }
    match CostFunction::compile(name, &terms, rule) {
        Ok(function) => Some(function),
        Err(mistakes) => {
            for mistake in mistakes {
                let term = entries.iter().find(|(term, _)| *term == mistake.term);
                report(&mistake, term.map_or(entry, |(_, entry)| entry));
            }
            None
        }
    }
}

/// Shows a mistake under its place in the file, or, where the text does not stand there as it is (over several lines,
/// with escapes, substituted), names the column within the expression.
fn report(mistake: &CostError, entry: &Entry<'_>) {
    let help = mistake.help.as_ref().map_or_else(String::new, |help| format!("; {help}"));
    let quoted = format!("\"{}\"", mistake.source_text);
    let place = entry.written().and_then(|written| match written {
        written if written.starts_with(&quoted) => Some(1),
        written if written.starts_with(&mistake.source_text) => Some(0),
        _ => None,
    });
    match place {
        Some(quote) => {
            let marked =
                mistake.source_text.get(mistake.span.0..mistake.span.0.saturating_add(mistake.span.1));
            let length = marked.map_or(1, |marked| marked.chars().count());
            entry.refuse_at(mistake.column() - 1 + quote, length, format!("{}{help}", mistake.message));
        }
        None => {
            let (column, text) = (mistake.column(), &mistake.source_text);
            entry.refuse(format!("{} (at column {column} of {text:?}){help}", mistake.message));
        }
    }
}
