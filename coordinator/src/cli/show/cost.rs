//! Owns how cost functions, and the reference of the language they are written in, are shown.

use reeve_scheduler::{AttributeReference, CostFunction as Compiled, CurveReference};
use serde::Serialize;

use crate::api::types::CostFunction;
use crate::cli::arguments::Format;
use crate::cli::screen::{Screen, Sheet, json, number, table, words, yes_or_no};
use crate::config::{ConfigErrors, Finding, Severity};

pub(in crate::cli) fn cost_functions(screen: &Screen, functions: &[CostFunction]) -> String {
    let columns = [words("NAME"), words("BY"), words("TERM"), words("EXPRESSION")];
    if screen.format == Format::Json || screen.quiet {
        return screen.list(functions, |function| function.name.to_string(), &columns, |_| Vec::new());
    }
    // One line for each term; the function's name stands on the first.
    let lines: Vec<Vec<String>> = functions
        .iter()
        .flat_map(|function| {
            function.terms.iter().enumerate().map(|(index, term)| {
                let once = |text: String| if index == 0 { text } else { " ".to_owned() };
                vec![
                    once(function.name.to_string()),
                    once(function.by.clone()),
                    term.name.clone(),
                    term.expression.clone(),
                ]
            })
        })
        .collect();
    screen.list(&lines, |_| String::new(), &columns, Clone::clone)
}

pub(in crate::cli) fn curves(screen: &Screen, curves: &[CurveReference]) -> String {
    let columns = [words("CURVE"), words("VALUE"), words("GOOD FOR")];
    let row = |curve: &CurveReference| {
        vec![curve.usage.to_owned(), curve.formula.to_owned(), curve.meaning.to_owned()]
    };
    let list = screen.list(curves, |curve| curve.name.to_owned(), &columns, row);
    if screen.format == Format::Json || screen.quiet {
        list
    } else {
        format!("{list}\n{}", parameters(screen, curves))
    }
}

fn parameters(screen: &Screen, curves: &[CurveReference]) -> String {
    let columns =
        [words("CURVE"), words("PARAMETER"), words("RANGE"), number("DEFAULT"), words("WHAT IT DOES")];
    let rows = curves.iter().flat_map(|curve| {
        curve.parameters.iter().enumerate().map(|(index, parameter)| {
            let name = if index == 0 { curve.name } else { " " };
            vec![
                name.to_owned(),
                parameter.name.to_owned(),
                parameter.range.clone(),
                parameter.default.map_or_else(String::new, |default| default.to_string()),
                parameter.meaning.to_owned(),
            ]
        })
    });
    table(screen.header.then_some(&columns), &columns, rows)
}

/// One curve with its picture.
pub(in crate::cli) fn curve(screen: &Screen, curve: &CurveReference, picture: &str) -> String {
    screen.one(
        curve,
        |curve| curve.name.to_owned(),
        |curve| {
            let sheet = Sheet::new()
                .line("Curve", curve.usage)
                .line("Value", curve.formula)
                .line("Good for", curve.meaning);
            let parameters = parameters(screen, std::slice::from_ref(curve));
            let sheet =
                if curve.parameters.is_empty() { sheet } else { sheet.section("Parameters", &parameters) };
            sheet.render() + "\n" + picture
        },
    )
}

pub(in crate::cli) fn attributes(screen: &Screen, attributes: &[AttributeReference]) -> String {
    let columns = [words("ATTRIBUTE"), words("UNIT"), words("BEFORE."), words("MEANING")];
    screen.list(
        attributes,
        |attribute| attribute.name.clone(),
        &columns,
        |attribute| {
            vec![
                attribute.name.clone(),
                attribute.unit.to_owned(),
                yes_or_no(attribute.changes).to_owned(),
                attribute.meaning.to_owned(),
            ]
        },
    )
}

/// What was found in a file of cost functions, for programs.
#[derive(Serialize)]
struct Checked<'a> {
    file: String,
    ok: bool,
    #[serde(rename = "cost-functions")]
    functions: Vec<CheckedFunction<'a>>,
    findings: Vec<CheckedFinding<'a>>,
    #[serde(rename = "more-errors")]
    more_errors: usize,
}

#[derive(Serialize)]
struct CheckedFunction<'a> {
    name: &'a str,
    by: reeve_scheduler::ChoiceRule,
    terms: Vec<CheckedTerm<'a>>,
}

#[derive(Serialize)]
struct CheckedTerm<'a> {
    name: &'a str,
    expression: &'a str,
}

#[derive(Serialize)]
struct CheckedFinding<'a> {
    severity: &'static str,
    file: String,
    line: Option<usize>,
    column: Option<usize>,
    key: Option<&'a str>,
    message: &'a str,
}

/// What a check of a file comes to: what goes to standard output, and what to standard error.
pub(in crate::cli) struct CheckReport {
    pub(in crate::cli) out: String,
    pub(in crate::cli) err: String,
}

/// The report on a file that holds `functions`, or, when it has mistakes, none.
pub(in crate::cli) fn checked(
    screen: &Screen,
    file: &std::path::Path,
    functions: &[std::sync::Arc<Compiled>],
    findings: &ConfigErrors,
) -> CheckReport {
    let file = file.display().to_string();
    if screen.format == Format::Json {
        let document = Checked {
            ok: findings.count() == 0,
            functions: functions.iter().map(|function| checked_function(function)).collect(),
            findings: findings.findings.iter().map(finding).collect(),
            more_errors: findings.not_kept,
            file,
        };
        return CheckReport { out: json(&document), err: String::new() };
    }
    let mut err: String = findings.findings.iter().map(|finding| format!("{finding}\n")).collect();
    if findings.not_kept > 0 {
        err.push_str(&format!("… and {} more\n", findings.not_kept));
    }
    match findings.count() {
        0 if screen.quiet => {
            let out = functions.iter().map(|function| format!("{}\n", function.name())).collect();
            CheckReport { out, err }
        }
        0 => {
            let terms = functions.iter().map(|function| function.terms().count()).sum();
            let functions = counted(functions.len(), "cost function");
            CheckReport { out: format!("{file}: {functions}, {}, no mistake\n", counted(terms, "term")), err }
        }
        count => {
            err.push_str(&format!("{file}: {}\n", counted(count, "mistake")));
            CheckReport { out: String::new(), err }
        }
    }
}

fn checked_function(function: &Compiled) -> CheckedFunction<'_> {
    let terms = function.terms().map(|(name, expression)| CheckedTerm { name, expression }).collect();
    CheckedFunction { name: function.name().as_str(), by: function.rule(), terms }
}

fn finding(finding: &Finding) -> CheckedFinding<'_> {
    CheckedFinding {
        severity: match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        },
        file: finding.file.display().to_string(),
        line: finding.line,
        column: finding.column,
        key: finding.key.as_deref(),
        message: &finding.message,
    }
}

fn counted(count: usize, word: &str) -> String {
    if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") }
}
