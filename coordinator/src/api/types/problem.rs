//! Owns how the API says no: `{"error": {"kind", "message", "advice"}}`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The body of every answer that is not a success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ProblemReport {
    /// What is wrong.
    pub error: Problem,
}

/// What is wrong, and what to do next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Problem {
    /// What kind of no it is.
    pub kind: ProblemKind,
    /// What is wrong, with the names and numbers of the case.
    pub message: String,
    /// What to do next, where that is known.
    pub advice: Option<String>,
}

/// What kind of no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ProblemKind {
    /// There is no such thing (404).
    NotFound,
    /// The request makes no sense, whatever the state of things (400, 405, 413, 415, 422).
    Invalid,
    /// It contradicts how things are now (409).
    Conflict,
    /// Whoever asks may not (403).
    Denied,
    /// Something needed cannot be reached now; the same may succeed later (503).
    Unavailable,
    /// It took too long (504).
    TimedOut,
    /// The coordinator itself failed (500).
    Internal,
}
