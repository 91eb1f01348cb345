//! Owns the coordinator's configuration: reading it, checking it, and saying what is wrong with it.
//!
//! ```text
//!   files ──▶ outline: where every key stands, through all includes; refuses what cannot be evaluated safely
//!                │
//!   files ──▶ HOCON library: what every key's value is
//!                │
//!                ▼
//!             sections, key by key ──▶ CoordinatorConfig and warnings, or all errors at once
//! ```
//!
//! Must not: act on what it reads. A configuration is taken whole or not at all: `check` returns one that can be used,
//! or every reason why not.
//!
//! Where this is stricter than HOCON: an included file must be there; a relative include is looked for beside the
//! including file; `null` counts as missing; `+=` and values that refer to themselves are refused; a key given twice
//! in one file is a warning (`duplicates.rs`).

mod cost_functions;
mod daemon;
mod duplicates;
mod expansion;
mod file;
mod finding;
mod outline;
mod profiles;
mod realm;
mod report;
mod section;
mod value;

use std::cell::RefCell;
use std::path::Path;

use hocon::{Config, HoconError};

pub use daemon::CoordinatorConfig;
pub use finding::{ConfigErrors, Excerpt, Finding, Severity};
pub use realm::{DriveRules, Realm};
pub use report::{command_check, summary};

use self::finding::Findings;
use self::outline::{Outline, Place};
use self::section::{Reading, Section};

/// Where the configuration is unless somebody says otherwise.
pub const DEFAULT_PATH: &str = "/etc/reeve/coordinator.conf";

/// Reads and checks the configuration at `path`. What is returned with it are warnings.
///
/// # Errors
/// [`ConfigErrors`] with everything that was found, not only the first.
pub fn check(path: &Path) -> Result<(CoordinatorConfig, Vec<Finding>), ConfigErrors> {
    let mut findings = Findings::default();
    let outline = Outline::read(path, &mut findings);
    let can_evaluate = !findings.has_errors() && expansion::check(&outline, &mut findings);
    let value = if can_evaluate { evaluate(path, &outline, &mut findings) } else { None };
    let Some(value) = value else { return Err(errors(findings)) };
    duplicates::check(&outline, &mut findings);
    let reading = Reading { outline: &outline, findings: RefCell::new(findings) };
    let config = daemon::read_root(Section::root(&reading, &value));
    let findings = reading.findings.into_inner();
    match config {
        Some(config) if !findings.has_errors() => Ok((config, findings.into_sorted().0)),
        _ => Err(errors(findings)),
    }
}

fn errors(findings: Findings) -> ConfigErrors {
    let (findings, not_kept) = findings.into_sorted();
    ConfigErrors { findings, not_kept }
}

/// The values, by the library that knows HOCON. The outline has bounded what it has to do.
fn evaluate(path: &Path, outline: &Outline, findings: &mut Findings) -> Option<Config> {
    let error = match hocon::parse_file(path) {
        Ok(config) => return Some(config),
        Err(error) => error,
    };
    let (position, message) = match error {
        HoconError::Parse(error) => ((error.line, error.col), error.message),
        HoconError::Resolve(error) => ((error.line, error.col), error.message),
        other => ((1, 1), other.to_string()),
    };
    // The library says the line and not the file: it is the one in which a value stands there.
    let place = outline
        .assignments
        .iter()
        .map(|assignment| assignment.value_place)
        .find(|place| (place.line, place.column) == position);
    let place = place.unwrap_or(Place { file: 0, line: position.0.max(1), column: position.1.max(1) });
    let message = format!("this cannot be evaluated: {message}");
    findings.push(outline.finding(Severity::Error, Some(place), &[], message));
    None
}
