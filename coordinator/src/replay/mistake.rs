//! Owns what can be wrong with a trace, and how that is told: file, line, column, what was expected.

use std::fmt;

use reeve_common::text::printable;

/// Mistakes that are told of one file; reading stops there, since whoever has made so many has made one of them often.
pub(super) const MISTAKES_MAX: usize = 20;
/// The longest piece of a file that is quoted in a message, in bytes.
const QUOTED_LENGTH_MAX: usize = 60;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The line, from 1; none when it is about the file as a whole.
    pub line: Option<u64>,
    /// The column's name; none when it is about the whole line.
    pub column: Option<&'static str>,
    /// What is wrong, and what would be right.
    pub message: String,
}

/// All that is wrong with one file of a trace, up to twenty mistakes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct TraceErrors {
    /// The file, as it was named.
    pub file: String,
    /// At least one, in the order of the lines.
    pub mistakes: Vec<Mistake>,
    /// Reading stopped before the end of the file, so there may be more.
    pub is_cut: bool,
}

impl TraceErrors {
    /// One mistake about the file as a whole.
    pub(super) fn of_file(file: String, message: String) -> Self {
        Self { file, mistakes: vec![Mistake { line: None, column: None, message }], is_cut: false }
    }
}

impl fmt::Display for TraceErrors {
    /// One line for each mistake: `FILE:LINE: COLUMN: what is wrong`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.mistakes.iter().enumerate() {
            let end = if index == 0 { "" } else { "\n" };
            write!(formatter, "{end}{}", self.file)?;
            if let Some(line) = mistake.line {
                write!(formatter, ":{line}")?;
            }
            if let Some(column) = mistake.column {
                write!(formatter, ": {column}")?;
            }
            write!(formatter, ": {}", mistake.message)?;
        }
        if self.is_cut {
            write!(formatter, "\n{}: reading stopped here; there may be more mistakes", self.file)?;
        }
        Ok(())
    }
}

/// Collects mistakes until there are enough.
#[derive(Debug, Default)]
pub(super) struct Mistakes {
    found: Vec<Mistake>,
    is_cut: bool,
}

impl Mistakes {
    /// Adds one about a field.
    pub(super) fn field(&mut self, line: u64, column: &'static str, message: String) {
        self.add(Mistake { line: Some(line), column: Some(column), message });
    }

    /// Adds one about a line.
    pub(super) fn line(&mut self, line: u64, message: String) {
        self.add(Mistake { line: Some(line), column: None, message });
    }

    /// Adds one about the file.
    pub(super) fn file(&mut self, message: impl Into<String>) {
        self.add(Mistake { line: None, column: None, message: message.into() });
    }

    /// Adds one after which reading cannot go on.
    pub(super) fn last(&mut self, line: u64, message: String) {
        self.line(line, message);
        self.is_cut = true;
    }

    fn add(&mut self, mistake: Mistake) {
        if self.found.len() < MISTAKES_MAX {
            self.found.push(mistake);
        }
    }

    /// Whether it makes sense to look for more; asked when there is more to read.
    pub(super) fn is_enough(&mut self) -> bool {
        self.is_cut |= self.found.len() >= MISTAKES_MAX;
        self.is_cut
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.found.len()
    }

    /// The errors of a file; none when nothing is wrong.
    pub(super) fn into_errors(self, file: &str) -> Result<(), TraceErrors> {
        if self.found.is_empty() {
            return Ok(());
        }
        Err(TraceErrors { file: file.to_owned(), mistakes: self.found, is_cut: self.is_cut })
    }
}

/// A piece of a file, safe to print, in quotes.
pub(super) fn quoted(text: &str) -> String {
    format!("{:?}", printable(text, QUOTED_LENGTH_MAX))
}
