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
mod fence;
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
use std::sync::Arc;

use reeve_scheduler::CostFunction;

pub use daemon::CoordinatorConfig;
pub use device_classes::DeviceClassMembers;
pub use fence::{FenceMeans, FenceRules, OptionValue};
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
    read(path, daemon::read_root)
}

/// Reads and checks the cost functions declared in the file at `path`, in their order; the presets are not among them. The
/// file is a configuration, of which only the section `cost-functions` is looked at; or holds nothing but what would stand
/// in that section; or nothing but the terms of one cost function, which is then named as the file is. What is returned
/// with them are warnings.
///
/// # Errors
/// [`ConfigErrors`] with everything that was found, not only the first. A file without a cost function is an error.
pub fn check_cost_functions(path: &Path) -> Result<(Vec<Arc<CostFunction>>, Vec<Finding>), ConfigErrors> {
    read(path, |root| cost_functions::read_file_of_functions(root, path))
}

/// Reads the file at `path` and all that it includes, and has `take` make something of it.
fn read<T>(
    path: &Path,
    take: impl FnOnce(Section<'_>) -> Option<T>,
) -> Result<(T, Vec<Finding>), ConfigErrors> {
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
    let taken = take(Section::root(&reading, &values));
    let findings = reading.findings.into_inner();
    match taken {
        Some(taken) if !findings.has_errors() => Ok((taken, findings.into_sorted().0)),
        _ => Err(errors(findings)),
    }
}

fn errors(findings: Findings) -> ConfigErrors {
    let (findings, not_kept) = findings.into_sorted();
    ConfigErrors { findings, not_kept }
}
