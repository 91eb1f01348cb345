//! Owns what is said about a configuration: errors and warnings, each with its file, line and key, and the line itself
//! with a mark under the place.
//!
//! Must not: know what the keys mean.
//!
//! ```text
//! error: realms/primary.conf:7:18: realms.primary.poll-frequency: "30" has no unit; allowed units are …
//!     7 | poll-frequency = 30
//!       |                  ^^
//! ```

use std::fmt;
use std::path::PathBuf;

use reeve_common::text::{is_printable, printable};

/// Errors and warnings that are kept, of each; who has more to mend begins with these.
const FINDINGS_MAX: usize = 100;
/// Characters of a line that are shown; what is longer is cut around the place.
const EXCERPT_LENGTH_MAX: usize = 100;
/// Bytes of a message that are shown: room for a long list of allowed words, none for a file quoted whole.
const MESSAGE_LENGTH_MAX: usize = 1000;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The service does not start with it.
    Error,
    /// The service starts; somebody should know.
    Warning,
}

/// A line with a mark under a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excerpt {
    /// What is shown of the line.
    pub text: String,
    /// Characters of it before the mark.
    pub start: usize,
    /// Characters that are marked, at least one.
    pub length: usize,
}

impl Excerpt {
    /// The line around the characters from `start` on, made fit for a terminal.
    #[must_use]
    pub fn new(line: &str, start: usize, length: usize) -> Self {
        let characters: Vec<char> = line.trim_end().chars().map(visible).collect();
        let start = start.min(characters.len());
        let length = length.clamp(1, EXCERPT_LENGTH_MAX / 2);
        // As much before the place as behind it, when not all can be shown.
        let from = (start + length).saturating_sub(EXCERPT_LENGTH_MAX * 3 / 4);
        let from = if characters.len() <= EXCERPT_LENGTH_MAX { 0 } else { from };
        let text = characters.iter().skip(from).take(EXCERPT_LENGTH_MAX).collect();
        Self { text, start: start - from, length }
    }
}

fn visible(character: char) -> char {
    match character {
        '\t' => ' ',
        other if is_printable(other) => other,
        _ => '?',
    }
}

/// An error or a warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// The file, as it was named.
    pub file: PathBuf,
    /// The line, counted from 1; none when it concerns the file as a whole.
    pub line: Option<usize>,
    /// The column, counted in characters from 1; none when it concerns the line or the file as a whole.
    pub column: Option<usize>,
    /// The key's path, such as `realms.primary.driver`.
    pub key: Option<String>,
    /// What is wrong, and what is allowed.
    pub message: String,
    /// The line itself.
    pub excerpt: Option<Excerpt>,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(formatter, "{severity}: {}:", self.file.display())?;
        if let Some(line) = self.line {
            write!(formatter, "{line}:")?;
        }
        if let Some(column) = self.column {
            write!(formatter, "{column}:")?;
        }
        if let Some(key) = &self.key {
            write!(formatter, " {}:", printable(key, MESSAGE_LENGTH_MAX))?;
        }
        write!(formatter, " {}", printable(&self.message, MESSAGE_LENGTH_MAX))?;
        if let (Some(line), Some(Excerpt { text, start, length })) = (self.line, &self.excerpt) {
            let (gap, mark) = (" ".repeat(*start), "^".repeat(*length));
            write!(formatter, "\n{line:>5} | {text}\n      | {gap}{mark}")?;
        }
        Ok(())
    }
}

/// What has been found so far.
#[derive(Debug, Default)]
pub(super) struct Findings {
    errors: Vec<Finding>,
    warnings: Vec<Finding>,
    errors_not_kept: usize,
}

impl Findings {
    /// Adds a finding, which is made only if it will be kept.
    pub(super) fn push_with(&mut self, severity: Severity, make: impl FnOnce() -> Finding) {
        let kept = match severity {
            Severity::Error => &mut self.errors,
            Severity::Warning => &mut self.warnings,
        };
        if kept.len() < FINDINGS_MAX {
            kept.push(make());
        } else if severity == Severity::Error {
            self.errors_not_kept += 1;
        }
    }

    pub(super) fn has_errors(&self) -> bool {
        !self.errors.is_empty()
    }

    /// What is kept, in the order of files and lines, and how many errors are not.
    pub(super) fn into_sorted(self) -> (Vec<Finding>, usize) {
        let mut kept = self.errors;
        kept.extend(self.warnings);
        kept.sort_by(|left, right| (&left.file, left.line).cmp(&(&right.file, right.line)));
        (kept, self.errors_not_kept)
    }
}

/// A configuration with which the service does not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors {
    /// All errors and warnings, by file and line.
    pub findings: Vec<Finding>,
    /// How many more errors there were than are kept.
    pub not_kept: usize,
}

impl ConfigErrors {
    /// How many of them are errors.
    #[must_use]
    pub fn count(&self) -> usize {
        let errors = self.findings.iter().filter(|finding| finding.severity == Severity::Error).count();
        errors + self.not_kept
    }
}

impl fmt::Display for ConfigErrors {
    /// Every finding with its line, then how many there are.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            writeln!(formatter, "{finding}")?;
        }
        if self.not_kept > 0 {
            writeln!(formatter, "… and {} more errors", self.not_kept)?;
        }
        match self.count() {
            1 => formatter.write_str("the configuration has 1 error"),
            count => write!(formatter, "the configuration has {count} errors"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let line = format!("{}here{}", "a".repeat(500), "b".repeat(500));
        let excerpt = Excerpt::new(&line, 500, 4);
        assert_eq!(excerpt.text.chars().count(), EXCERPT_LENGTH_MAX);
        let marked: String = excerpt.text.chars().skip(excerpt.start).take(excerpt.length).collect();
        assert_eq!(marked, "here");
    }

    #[test]
    fn a_line_cannot_steer_a_terminal() {
        assert_eq!(Excerpt::new("a\u{1b}[2J\tb\r", 0, 1).text, "a?[2J b");
    }

    #[test]
    fn a_place_behind_the_line_is_at_its_end() {
        assert_eq!(Excerpt::new("ab", 9, 0), Excerpt { text: "ab".to_owned(), start: 2, length: 1 });
    }
}
