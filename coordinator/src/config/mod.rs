//! Owns the coordinator's configuration: reading it, checking it, and saying what is wrong with it.
//!
//! ```text
//!   files ──▶ tree.rs: all that is written, with its places (parsed by the HOCON library)
//!                │
//!                ▼
//!             evaluation.rs: what every key's value is, within a budget
//!                │
//!                ▼
//!             daemon.rs, realm.rs, …: key by key ──▶ CoordinatorConfig and warnings, or all errors at once
//! ```
//!
//! Must not: act on what it reads. A configuration is taken whole or not at all: `check` returns one that can be used,
//! or every reason why not.
//!
//! Where this is stricter than HOCON: an included file must be there and be named whole; a relative one is looked for
//! beside the including file; `null` counts as missing; `+=` and values that refer to themselves are refused; a key
//! given twice in one file is a warning (`duplicates.rs`).

mod cost_functions;
mod daemon;
mod device_classes;
mod duplicates;
mod evaluation;
mod file;
mod finding;
mod place;
mod profiles;
mod quotas;
mod realm;
mod report;
mod section;
mod tree;
mod value;

use std::cell::RefCell;
use std::path::Path;

pub use daemon::CoordinatorConfig;
pub use device_classes::DeviceClassMembers;
pub use finding::{ConfigErrors, Excerpt, Finding, Severity};
pub use realm::{DriveRules, Realm};
pub use report::{command_check, summary};

use self::finding::Findings;
use self::place::Sources;
use self::section::{Reading, Section};

/// Where the configuration is unless somebody says otherwise.
pub const DEFAULT_PATH: &str = "/etc/reeve/coordinator.conf";

/// Reads and checks the configuration at `path`. What is returned with it are warnings.
///
/// # Errors
/// [`ConfigErrors`] with everything that was found, not only the first.
pub fn check(path: &Path) -> Result<(CoordinatorConfig, Vec<Finding>), ConfigErrors> {
    let (mut findings, mut sources) = (Findings::default(), Sources::default());
    let tree = tree::read(path, &mut sources, &mut findings);
    if findings.has_errors() {
        return Err(errors(findings));
    }
    duplicates::check(&tree, &sources, &mut findings);
    let Some(values) = evaluation::evaluate(&tree, &sources, &mut findings) else {
        return Err(errors(findings));
    };
    let reading = Reading { sources: &sources, findings: RefCell::new(findings) };
    let config = daemon::read_root(Section::root(&reading, &values));
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
