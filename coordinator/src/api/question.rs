//! Owns reading what is asked: names in paths, JSON bodies, and who asks. What cannot be read is refused in the API's
//! own words, never in the HTTP library's.

use std::fmt::Display;
use std::str::FromStr;

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::access::{Peer, admit};
use super::answer::Refusal;
use super::types::ProblemKind;
use crate::service::Actor;

/// The largest body read. The largest question, a setup with every label there may be, is a few KiB.
pub(super) const BODY_SIZE_MAX: usize = 256 << 10;

/// Where the questions are described.
const DESCRIBED: &str = "GET /v1/openapi.json describes what can be asked";

/// The one name in a path, checked.
pub(super) struct Named<T>(pub(super) T);

impl<S: Send + Sync, T: FromStr<Err: Display> + Send> FromRequestParts<S> for Named<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let path: Result<Path<String>, PathRejection> = Path::from_request_parts(parts, state).await;
        let Path(text) = path.map_err(|rejection| invalid(rejection.body_text()))?;
        name(&text).map(Self)
    }
}

/// A name from a path, checked.
pub(super) fn name<T: FromStr<Err: Display>>(text: &str) -> Result<T, Refusal> {
    text.parse().map_err(|error: T::Err| invalid(error.to_string()))
}

/// What stands behind the question mark.
pub(super) struct Asked<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let query: Result<Query<T>, QueryRejection> = Query::from_request_parts(parts, state).await;
        query.map(|Query(asked)| Self(asked)).map_err(|rejection| invalid(rejection.body_text()))
    }
}

/// A JSON body.
pub(super) struct Body<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let body: Result<Json<T>, JsonRejection> = Json::from_request(request, state).await;
        body.map(|Json(body)| Self(body)).map_err(|rejection| unreadable(&rejection))
    }
}

fn unreadable(rejection: &JsonRejection) -> Refusal {
    let status = rejection.status();
    let message = match status {
        StatusCode::PAYLOAD_TOO_LARGE => format!("the question is larger than {} KiB", BODY_SIZE_MAX >> 10),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            "the question must be JSON: `Content-Type: application/json`".to_owned()
        }
        _ => reason(&rejection.body_text()),
    };
    invalid(message).with_status(status)
}

/// What is wrong, without the library's preamble about what it was doing.
fn reason(text: &str) -> String {
    let told = text.strip_prefix("Failed to deserialize the JSON body into the target type: ");
    let told = told.or_else(|| text.strip_prefix("Failed to parse the request body as JSON: "));
    format!("the question is not understood: {}", told.unwrap_or(text))
}

fn invalid(message: String) -> Refusal {
    Refusal::new(ProblemKind::Invalid, message).advise(DESCRIBED)
}

/// Who asks.
pub(super) struct Asking(pub(super) Actor);

impl<S: Send + Sync> FromRequestParts<S> for Asking {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Refusal> {
        admit(parts.extensions.get::<Peer>()).map(|peer| Self(peer.actor.clone()))
    }
}
