//! Owns how the API answers what it does not do: the status and the body of a refusal.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::types::{Problem, ProblemKind, ProblemReport};
use crate::service::{ErrorKind, ServiceError};

/// A no on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    status: StatusCode,
    problem: Problem,
}

impl Refusal {
    pub(super) fn new(kind: ProblemKind, message: impl Into<String>) -> Self {
        Self { status: status_of(kind), problem: Problem { kind, message: message.into(), advice: None } }
    }

    pub(super) fn advise(mut self, advice: impl Into<String>) -> Self {
        self.problem.advice = Some(advice.into());
        self
    }

    /// What is wrong, for an answer that has room for more than this.
    pub(super) fn into_problem(self) -> Problem {
        self.problem
    }

    /// The same with the status that HTTP has for this very case.
    pub(super) fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }
}

const fn status_of(kind: ProblemKind) -> StatusCode {
    match kind {
        ProblemKind::NotFound => StatusCode::NOT_FOUND,
        ProblemKind::Invalid => StatusCode::BAD_REQUEST,
        ProblemKind::Conflict => StatusCode::CONFLICT,
        ProblemKind::Denied => StatusCode::FORBIDDEN,
        ProblemKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ProblemKind::TimedOut => StatusCode::GATEWAY_TIMEOUT,
        ProblemKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

const fn kind_of(kind: ErrorKind) -> ProblemKind {
    match kind {
        ErrorKind::NotFound => ProblemKind::NotFound,
        ErrorKind::Invalid => ProblemKind::Invalid,
        ErrorKind::Conflict => ProblemKind::Conflict,
        ErrorKind::Denied => ProblemKind::Denied,
        ErrorKind::Unavailable => ProblemKind::Unavailable,
        ErrorKind::Internal => ProblemKind::Internal,
    }
}

impl From<ServiceError> for Refusal {
    fn from(error: ServiceError) -> Self {
        let kind = kind_of(error.kind);
        Self {
            status: status_of(kind),
            problem: Problem { kind, message: error.message, advice: error.advice },
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let problem = self.problem.clone();
        let mut response = (self.status, Json(ProblemReport { error: self.problem })).into_response();
        // For whoever keeps account of what was refused, so that it need not be read back from the body.
        response.extensions_mut().insert(problem);
        response
    }
}
