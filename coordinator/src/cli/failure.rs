//! Owns how a command that did not work out is told: what is wrong in a line, what to do next in another.

use std::fmt;

use reeve_common::text::printable;

use super::exit::Exit;
use crate::api::types::Problem;

/// The longest line of an error that is printed; what is longer hides the rest of the screen.
const LINE_LENGTH_MAX: usize = 2048;

/// Lines under the first start here, so that they stand below its text.
const INDENT: &str = "       ";

/// Why a command did not work out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// How the process ends.
    pub exit: Exit,
    /// What is wrong; one line, or one for each mistake.
    pub message: String,
    /// What to do next, where that is known.
    pub advice: Option<String>,
}

impl Failure {
    /// A failure without advice.
    #[must_use]
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), advice: None }
    }

    /// The same, with what to do next.
    #[must_use]
    pub fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self { exit: problem.kind.into(), message: problem.message, advice: problem.advice }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = self.message.lines().chain(self.advice.iter().flat_map(|advice| advice.lines()));
        write!(formatter, "reeve: {}", printable(lines.next().unwrap_or("it failed"), LINE_LENGTH_MAX))?;
        for line in lines {
            write!(formatter, "\n{INDENT}{}", printable(line, LINE_LENGTH_MAX))?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_a_line_and_its_advice() {
        let failure = Failure::new(Exit::NotFound, "there is no host \u{1b}[2Jx").advise("`reeve host list`");
        assert_eq!(failure.to_string(), "reeve: there is no host ?[2Jx\n       `reeve host list`");
    }
}
