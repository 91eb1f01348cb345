//! Owns the rule on keys that are given twice. Across files that is how an included value is changed and says nothing.
//! Within one file it is a slip of the hand far more often than meant, so it is a warning that names both lines; the
//! later one counts, as HOCON has it. Sections may be continued as often as one likes, and a default that a later
//! `${?VARIABLE}` may replace is meant.
//!
//! Must not: change which one counts.

use super::finding::{Findings, Severity};
use super::outline::{Assignment, Outline};

/// Warns of keys given twice.
pub(super) fn check(outline: &Outline, findings: &mut Findings) {
    for path in outline.paths().keys() {
        let mut earlier: Vec<&Assignment> = Vec::new();
        for later in outline.at(path) {
            let same_file =
                earlier.iter().rev().find(|earlier| earlier.key_place.file == later.key_place.file);
            if let Some(first) = same_file.filter(|earlier| is_slip(earlier, later)) {
                let message = format!(
                    "this key was given in line {} already; the value here counts, remove one of them",
                    first.key_place.line
                );
                findings.push(outline.finding(Severity::Warning, Some(later.key_place), path, message));
            }
            earlier.push(later);
        }
    }
}

fn is_slip(earlier: &Assignment, later: &Assignment) -> bool {
    let continues = earlier.is_section && later.is_section;
    let builds_on_earlier =
        later.appends || later.substitutions.iter().any(|substitution| substitution.optional);
    !continues && !builds_on_earlier
}
