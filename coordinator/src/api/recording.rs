//! Owns the audit log's place in the API: every question that changes something is an act of whoever asks, and leaves a
//! record whether it is done or refused. It stands around the routes, by the table, so that no route is without it.
//!
//! Must not: know what is asked.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use super::access::Peer;
use super::openapi::document;
use super::types::{Problem, ProblemKind};
use crate::audit::{Outcome, Who};
use crate::service::Service;

/// Records what comes to one route.
#[derive(Clone)]
pub(super) struct Recorder {
    service: Service,
    what: Arc<str>,
}

impl Recorder {
    pub(super) fn new(service: Service, what: String) -> Self {
        Self { service, what: what.into() }
    }
}

/// What the API's document calls each operation, with dashes: by path and method.
pub(super) fn operation_names() -> BTreeMap<(String, String), String> {
    let document = serde_json::to_value(document()).unwrap_or_default();
    let mut names = BTreeMap::new();
    for (path, methods) in document["paths"].as_object().into_iter().flatten() {
        for (method, operation) in methods.as_object().into_iter().flatten() {
            if let Some(name) = operation["operationId"].as_str() {
                names.insert((path.clone(), method.to_uppercase()), name.replace('_', "-"));
            }
        }
    }
    names
}

/// Does what is asked as an act of whoever asks, and sees that it is recorded however it ends.
pub(super) async fn recorded(State(recorder): State<Recorder>, request: Request, next: Next) -> Response {
    let who = who(&request);
    let object = object(&request);
    let act = recorder.service.begin_act(who, &*recorder.what, object);
    let response = act.clone().scope(next.run(request)).await;
    match response.extensions().get::<Problem>() {
        Some(problem) if problem.kind == ProblemKind::TimedOut => act.leave_open(outcome_of(problem)).await,
        Some(problem) => act.end(outcome_of(problem)).await,
        None if response.status().is_success() => act.end(Outcome::Done).await,
        None => act.end(Outcome::failed("internal", format!("answered {}", response.status()))).await,
    }
    response
}

/// Records that somebody was not answered at all, whatever was asked; some of very many.
pub(super) async fn denials_recorded(
    State(service): State<Service>,
    request: Request,
    next: Next,
) -> Response {
    let known = request.extensions().get::<Peer>().is_some();
    let asked = format!("{} {}", request.method(), object(&request));
    let response = next.run(request).await;
    if let Some(problem) = response.extensions().get::<Problem>()
        && problem.kind == ProblemKind::Denied
        && !known
    {
        let who = Who::Stranger { address: "the API's socket".to_owned() };
        service.record_stranger(who, "ask", &asked, "denied", &problem.message).await;
    }
    response
}

fn who(request: &Request) -> Who {
    match request.extensions().get::<Peer>() {
        Some(peer) => Who::Operator { uid: peer.actor.uid, name: peer.actor.name.clone() },
        None => Who::Stranger { address: "the API's socket".to_owned() },
    }
}

/// What the path names, without the API's version.
fn object(request: &Request) -> String {
    let path = request.uri().path();
    path.strip_prefix("/v1/").unwrap_or(path).to_owned()
}

fn outcome_of(problem: &Problem) -> Outcome {
    let (kind, refused) = match problem.kind {
        ProblemKind::NotFound => ("not-found", true),
        ProblemKind::Invalid => ("invalid", true),
        ProblemKind::Conflict => ("conflict", true),
        ProblemKind::Denied => ("denied", true),
        ProblemKind::Unavailable => ("unavailable", false),
        ProblemKind::TimedOut => ("timed-out", false),
        ProblemKind::Internal => ("internal", false),
    };
    if refused { Outcome::refused(kind, &problem.message) } else { Outcome::failed(kind, &problem.message) }
}

#[cfg(test)]
#[path = "recording_tests.rs"]
mod tests;
