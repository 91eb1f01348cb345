//! Owns which question goes where, how long each may take, and that nobody is answered who may not ask.
//!
//! The table in [`table`] is the router: what is not in it cannot be asked, and a test holds it against the OpenAPI
//! document.

pub(super) mod catalogue;
pub(super) mod fleet;
pub(super) mod vms;

use std::future::Future;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, post, put};

use super::access::{Peer, admit};
use super::answer::Refusal;
use super::question::BODY_SIZE_MAX;
use super::types::ProblemKind;
use crate::service::{Service, ServiceError};

/// How long an answer may take: the longest an agent is waited for (30 s, for a listing), doubled.
const PATIENCE: Duration = Duration::from_secs(60);
/// The same where a volume is made or removed, which may write all of a large drive; a little more than the service's
/// own patience with the agent.
const VOLUME_PATIENCE: Duration = Duration::from_secs(630);

/// One route.
pub(super) struct Route {
    pub(super) method: Method,
    pub(super) path: &'static str,
    handler: MethodRouter<Service>,
    patience: Duration,
}

impl Route {
    fn new(method: Method, path: &'static str, handler: MethodRouter<Service>) -> Self {
        Self { method, path, handler, patience: PATIENCE }
    }

    fn patient(self) -> Self {
        Self { patience: VOLUME_PATIENCE, ..self }
    }
}

/// Every route there is.
pub(super) fn table() -> Vec<Route> {
    let get = |path, handler| Route::new(Method::GET, path, handler);
    let post = |path, handler| Route::new(Method::POST, path, handler);
    let put = |path, handler| Route::new(Method::PUT, path, handler);
    let delete = |path, handler| Route::new(Method::DELETE, path, handler);
    vec![
        get("/v1/openapi.json", self::get(fleet::openapi)),
        get("/v1/status", self::get(fleet::status)),
        get("/v1/realms", self::get(fleet::realms)),
        get("/v1/realms/{realm}", self::get(fleet::realm)),
        get("/v1/realms/{realm}/volumes/{pool}", self::get(fleet::volumes)),
        get("/v1/profiles", self::get(fleet::profiles)),
        get("/v1/cost-functions", self::get(fleet::cost_functions)),
        get("/v1/hosts", self::get(fleet::hosts)),
        post("/v1/hosts", self::post(fleet::add_host)),
        get("/v1/hosts/{host}", self::get(fleet::host)),
        delete("/v1/hosts/{host}", self::delete(fleet::delete_host)),
        put("/v1/hosts/{host}/state", self::put(fleet::set_host_state)),
        post("/v1/hosts/{host}/join-token", self::post(fleet::create_join_token)),
        get("/v1/images", self::get(catalogue::images)),
        post("/v1/images", self::post(catalogue::create_image)),
        get("/v1/images/{image}", self::get(catalogue::image)),
        delete("/v1/images/{image}", self::delete(catalogue::delete_image)),
        get("/v1/setups", self::get(catalogue::setups)),
        post("/v1/setups", self::post(catalogue::create_setup)),
        get("/v1/setups/{setup}", self::get(catalogue::setup)),
        delete("/v1/setups/{setup}", self::delete(catalogue::delete_setup)),
        get("/v1/setups/{setup}/simulation", self::get(catalogue::simulate)),
        get("/v1/configurations", self::get(catalogue::configurations)),
        post("/v1/configurations", self::post(catalogue::create_configuration)),
        get("/v1/configurations/{configuration}", self::get(catalogue::configuration)),
        delete("/v1/configurations/{configuration}", self::delete(catalogue::delete_configuration)),
        get("/v1/drives", self::get(catalogue::drives)),
        post("/v1/drives", self::post(catalogue::create_drive)).patient(),
        get("/v1/drives/{drive}", self::get(catalogue::drive)),
        delete("/v1/drives/{drive}", self::delete(catalogue::delete_drive)).patient(),
        get("/v1/vms", self::get(vms::vms)),
        post("/v1/vms", self::post(vms::start_vm)),
        get("/v1/past-vms", self::get(vms::past_vms)),
        get("/v1/vms/{vm}", self::get(vms::vm)),
        post("/v1/vms/{vm}/shutdown", self::post(vms::shutdown_vm)),
        post("/v1/vms/{vm}/destroy", self::post(vms::destroy_vm)),
        get("/v1/vms/{vm}/changes", self::get(vms::vm_changed)),
        get("/v1/vms/{vm}/log", self::get(vms::vm_log)),
    ]
}

/// The router over the table.
pub(super) fn router(service: Service) -> Router {
    let router = table().into_iter().fold(Router::new(), |router, route| {
        router.route(route.path, route.handler.layer(from_fn_with_state(route.patience, in_time)))
    });
    router
        .fallback(nothing_here)
        .method_not_allowed_fallback(not_this_way)
        .layer(DefaultBodyLimit::max(BODY_SIZE_MAX))
        .layer(from_fn(only_who_may))
        .with_state(service)
}

async fn in_time(State(patience): State<Duration>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(patience, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Refusal::new(
            ProblemKind::TimedOut,
            format!("there was no answer within {} s", patience.as_secs()),
        )
        .advise("what was asked may still be carried out: look before asking again")
        .into_response(),
    }
}

async fn only_who_may(request: Request, next: Next) -> Response {
    let who = match admit(request.extensions().get::<Peer>()) {
        Ok(peer) => peer.actor.clone(),
        Err(refusal) => return refusal.into_response(),
    };
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let response = next.run(request).await;
    let status = response.status();
    log::debug!(REEVE_OPERATOR:% = who.name; "{method} {path} by {} (uid {}): {status}", who.name, who.uid);
    response
}

async fn nothing_here(request: Request) -> Refusal {
    let path = reeve_common::text::printable(request.uri().path(), 200);
    Refusal::new(ProblemKind::NotFound, format!("there is nothing at {path}"))
        .advise("GET /v1/openapi.json describes what can be asked")
}

async fn not_this_way(request: Request) -> Refusal {
    let path = reeve_common::text::printable(request.uri().path(), 200);
    Refusal::new(ProblemKind::Invalid, format!("{} cannot be asked of {path}", request.method()))
        .with_status(StatusCode::METHOD_NOT_ALLOWED)
        .advise("GET /v1/openapi.json describes what can be asked")
}

/// Carries `work` to its end, whether or not whoever asked waits for it: what was made durable must also be shown,
/// and told to the agents.
pub(super) async fn carried_out<T: Send + 'static>(
    work: impl Future<Output = Result<T, ServiceError>> + Send + 'static,
) -> Result<T, Refusal> {
    match tokio::spawn(work).await {
        Ok(result) => result.map_err(Refusal::from),
        Err(_) => Err(Refusal::new(ProblemKind::Internal, "the coordinator failed in the middle of this")
            .advise("its log says more: `journalctl -u reeve-coordinator`")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::openapi::document;
    use super::*;

    #[test]
    fn the_document_and_the_table_say_the_same() {
        let routed: BTreeSet<(String, String)> = table()
            .iter()
            .map(|route| (route.path.to_owned(), route.method.to_string().to_lowercase()))
            .collect();
        assert_eq!(routed.len(), table().len(), "a route stands twice in the table");
        let document = serde_json::to_value(document()).unwrap();
        let paths = document["paths"].as_object().unwrap();
        let described: BTreeSet<(String, String)> = paths
            .iter()
            .flat_map(|(path, methods)| {
                let methods = methods.as_object().unwrap().keys();
                methods.map(move |method| (path.clone(), method.clone()))
            })
            .collect();
        let undescribed: Vec<_> = routed.difference(&described).collect();
        assert!(undescribed.is_empty(), "not in the OpenAPI document: {undescribed:?}");
        let unrouted: Vec<_> = described.difference(&routed).collect();
        assert!(unrouted.is_empty(), "in the OpenAPI document alone: {unrouted:?}");
    }

    #[test]
    fn every_route_is_registered_with_its_own_method() {
        // A handler under the wrong method would be described rightly and answer 405.
        for route in table() {
            let shown = format!("{:?}", route.handler);
            let method = route.method.to_string().to_lowercase();
            assert!(shown.contains(&format!("{method}: ")), "{} {}: {shown}", route.method, route.path);
        }
    }
}
