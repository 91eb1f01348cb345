//! Owns how the coordinator says no: what kind of no it is, why, and what to do next.

use std::fmt;

/// What kind of no. The API turns it into a status, the CLI into an exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// There is no such thing.
    NotFound,
    /// What was asked makes no sense, whatever the state of things.
    Invalid,
    /// It contradicts how things are now.
    Conflict,
    /// Whoever asks may not.
    Denied,
    /// Something needed cannot be reached now; the same may succeed later.
    Unavailable,
    /// The coordinator itself failed.
    Internal,
}

/// A no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceError {
    /// Its kind.
    pub kind: ErrorKind,
    /// What is wrong, with the names and numbers of the case.
    pub message: String,
    /// What to do next, where that is known.
    pub advice: Option<String>,
}

impl ServiceError {
    /// There is no `what` called `name`; `list` is the command that shows those there are.
    #[must_use]
    pub fn not_found(what: &str, name: impl fmt::Display, list: &str) -> Self {
        Self {
            kind: ErrorKind::NotFound,
            message: format!("there is no {what} {name}"),
            advice: Some(format!("`{list}` shows those there are")),
        }
    }

    /// What was asked makes no sense.
    #[must_use]
    pub fn invalid(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Invalid, message: message.into(), advice: None }
    }

    /// It contradicts how things are.
    #[must_use]
    pub fn conflict(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Conflict, message: message.into(), advice: None }
    }

    /// Something cannot be reached now.
    #[must_use]
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Unavailable, message: message.into(), advice: None }
    }

    /// The coordinator itself failed.
    #[must_use]
    pub fn internal(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Internal, message: message.into(), advice: None }
    }

    /// The same, with what to do next.
    #[must_use]
    pub fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    /// Whether the same request may succeed later without anybody changing anything.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self.kind, ErrorKind::Unavailable)
    }
}

impl fmt::Display for ServiceError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)?;
        match &self.advice {
            Some(advice) => write!(formatter, "; {advice}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ServiceError {}
