//! Owns the `cost-functions` section: names, terms, and the presets that are there without being declared. A declared
//! function with a preset's name takes its place.
//!
//! Must not: understand a term; that is the scheduler's compiler, whose complaints are shown at their place in the
//! file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use reeve_common::ids::CostFunctionName;
use reeve_common::text::printable;
use reeve_scheduler::{ChoiceRule, CostError, CostFunction, presets};

use super::finding::Severity;
use super::section::{Entry, Mark, Section};
use super::value::choice;

/// The section that declares them.
pub(super) const SECTION: &str = "cost-functions";

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

/// The file's own cost functions: those of its section `cost-functions`; or all there is in a file that holds what would
/// stand in that section; or, where nothing in it is a section, the one whose terms it holds, named as the file is.
pub(super) fn read_file_of_functions(mut root: Section<'_>, file: &Path) -> Option<Vec<Arc<CostFunction>>> {
    let section = match root.entry(SECTION) {
        Some(entry) => entry.section()?,
        None => root,
    };
    let entries = section.entries();
    if entries.is_empty() {
        let example = "spread { load = \"power(cores.load, 2)\" }";
        let message = format!("there is no cost function here; write for example {example}");
        section.report(Severity::Error, message);
        return None;
    }
    if entries.iter().all(|(_, entry)| !entry.is_section()) {
        return read_terms(&name_of(file)?, section).map(|function| vec![Arc::new(function)]);
    }
    read_declared(&section).into_iter().map(|(_, function)| function).collect()
}

/// A file's name without its ending, if a cost function can have it.
fn name_of(file: &Path) -> Option<CostFunctionName> {
    let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    CostFunctionName::new(stem).or_else(|_| CostFunctionName::new(NAMELESS)).ok()
}

/// As much of a term's text is repeated in a message about it.
const SHOWN_LENGTH_MAX: usize = 200;

/// What a cost function is called that has no name of its own.
const NAMELESS: &str = "function";

fn read_function(name: &CostFunctionName, entry: &Entry<'_>) -> Option<CostFunction> {
    read_terms(name, entry.section()?)
}

fn read_terms(name: &CostFunctionName, mut section: Section<'_>) -> Option<CostFunction> {
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
                match entries.iter().find(|(term, _)| *term == mistake.term) {
                    Some((_, entry)) => report(&mistake, entry),
                    // A name that is too long to be shown whole.
                    None => section.report(Severity::Error, mistake.to_string()),
                }
            }
            None
        }
    }
}

/// Shows a mistake under its place in the file, or, where the text does not stand there as it is (with escapes,
/// substituted), names the column within the expression.
fn report(mistake: &CostError, entry: &Entry<'_>) {
    let help = mistake.help.as_ref().map_or_else(String::new, |help| format!("; {help}"));
    let Some(start) = start_of_text(mistake, entry) else {
        let (column, text) = (mistake.column(), printable(&mistake.source_text, SHOWN_LENGTH_MAX));
        entry.refuse(format!("{} (at column {column} of {text:?}){help}", mistake.message));
        return;
    };
    let (before, marked) =
        mistake.source_text.split_at_checked(mistake.span.0).unwrap_or((&mistake.source_text, ""));
    let marked = marked.get(..mistake.span.1).and_then(|marked| marked.lines().next()).unwrap_or_default();
    let mark = match before.rsplit_once('\n') {
        Some((above, line)) => Mark { line: above.matches('\n').count() + 1, start: line.chars().count() },
        None => Mark { line: 0, start: start + before.chars().count() },
    };
    entry.refuse_at(mark, marked.chars().count(), format!("{}{help}", mistake.message));
}

/// How many characters behind the value's beginning its text stands in the file just as it was read; none where it does
/// not.
fn start_of_text(mistake: &CostError, entry: &Entry<'_>) -> Option<usize> {
    let (text, written) = (&mistake.source_text, entry.written()?);
    let whole = format!("\"{text}\"");
    // Over several lines only text in three quotes stands as it is.
    let first = text.split('\n').next().filter(|first| first.len() < text.len());
    match first {
        Some(first) => written.strip_prefix("\"\"\"").filter(|behind| *behind == first).map(|_| 3),
        None if written.starts_with(&format!("\"\"{whole}")) => Some(3),
        None if written.starts_with(&whole) => Some(1),
        None => written.starts_with(text.as_str()).then_some(0),
    }
}
