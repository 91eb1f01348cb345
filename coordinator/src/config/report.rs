//! Owns `reeve-coordinator check`: what was found, for people, and an exit code for scripts.
//!
//! Must not: decide what is an error.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use super::CoordinatorConfig;
use super::finding::Finding;

/// Checks the configuration at `path` and prints what was found: warnings and errors to standard error, and one line
/// to standard output when the service would start with it. The exit code is 0 then and 1 otherwise.
#[must_use]
pub fn command_check(path: &Path) -> ExitCode {
    let (report, line, code) = match super::check(path) {
        Ok((config, warnings)) => (show_all(&warnings), summary(&config, warnings.len()), ExitCode::SUCCESS),
        Err(errors) => (format!("{errors}\n"), String::new(), ExitCode::FAILURE),
    };
    // A closed pipe is no reason to fail: the exit code says it as well.
    let _ = std::io::stderr().write_all(report.as_bytes());
    let _ = std::io::stdout().write_all(line.as_bytes());
    code
}

fn show_all(warnings: &[Finding]) -> String {
    warnings.iter().fold(String::new(), |mut text, warning| {
        // Writing to a text does not fail.
        let _ = writeln!(text, "{warning}");
        text
    })
}

/// One line on what a good configuration holds: `ok: 2 realms, 3 hardware profiles, 6 cost functions`.
#[must_use]
pub fn summary(config: &CoordinatorConfig, warnings: usize) -> String {
    let disabled = config.realms.values().filter(|realm| realm.disabled).count();
    let disabled = if disabled > 0 { format!(" ({disabled} disabled)") } else { String::new() };
    let warned = if warnings > 0 { format!(", {}", counted(warnings, "warning")) } else { String::new() };
    format!(
        "ok: {}{disabled}, {}, {}{warned}\n",
        counted(config.realms.len(), "realm"),
        counted(config.hardware_profiles.len(), "hardware profile"),
        counted(config.cost_functions.len(), "cost function"),
    )
}

fn counted(count: usize, word: &str) -> String {
    if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") }
}
