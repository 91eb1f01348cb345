//! Owns which question goes where, how long each may take, and that nobody is answered who may not ask.
//!
//! The table in [`table`] is the router: what is not in it cannot be asked, and a test holds it against the OpenAPI
//! document.

pub(super) mod adoption;
pub(super) mod audit;
pub(super) mod catalogue;
pub(super) mod fencing;
pub(super) mod fleet;
pub(super) mod journals;
pub(super) mod simulation;
pub(super) mod vms;
pub(super) mod watching;
pub(super) mod workflows;

use std::future::Future;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::handler::Handler;
use axum::http::{Method, StatusCode};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{self, MethodRouter};

use super::access::{Peer, admit};
use super::answer::Refusal;
use super::question::BODY_SIZE_MAX;
use super::recording::{Recorder, denials_recorded, operation_names, recorded};
use super::types::ProblemKind;
use crate::audit::Outcome;
use crate::service::{Act, Service, ServiceError};

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
    /// Whether it changes something, and is recorded. Everything that is not a GET does, unless it says that it does not.
    pub(super) changes: bool,
}

impl Route {
    fn patient(self) -> Self {
        Self { patience: VOLUME_PATIENCE, ..self }
    }

    /// A question that only has too much to say for a GET.
    fn changing_nothing(self) -> Self {
        Self { changes: false, ..self }
    }

    fn new(method: Method, path: &'static str, handler: MethodRouter<Service>) -> Self {
        let changes = method != Method::GET;
        Self { method, path, handler, patience: PATIENCE, changes }
    }
}

fn get<H: Handler<T, Service>, T: 'static>(path: &'static str, handler: H) -> Route {
    Route::new(Method::GET, path, routing::get(handler))
}

fn post<H: Handler<T, Service>, T: 'static>(path: &'static str, handler: H) -> Route {
    Route::new(Method::POST, path, routing::post(handler))
}

fn put<H: Handler<T, Service>, T: 'static>(path: &'static str, handler: H) -> Route {
    Route::new(Method::PUT, path, routing::put(handler))
}

fn delete<H: Handler<T, Service>, T: 'static>(path: &'static str, handler: H) -> Route {
    Route::new(Method::DELETE, path, routing::delete(handler))
}

/// Every route there is.
pub(super) fn table() -> Vec<Route> {
    vec![
        get("/v1/openapi.json", fleet::openapi),
        get("/v1/status", fleet::status),
        get("/v1/warnings", watching::warnings),
        post("/v1/warnings/{kind}/{subject}/acknowledge", watching::acknowledge_warning),
        get("/v1/metrics", watching::metrics),
        get("/v1/configuration", watching::configuration_in_force),
        get("/v1/realms", fleet::realms),
        get("/v1/realms/{realm}", fleet::realm),
        get("/v1/realms/{realm}/volumes/{pool}", fleet::volumes),
        get("/v1/profiles", fleet::profiles),
        get("/v1/cost-functions", fleet::cost_functions),
        get("/v1/cost-functions/{function}/evaluation", simulation::evaluate_cost),
        get("/v1/audit", audit::records),
        get("/v1/audit/verification", audit::verification).patient(),
        get("/v1/hosts", fleet::hosts),
        post("/v1/hosts", fleet::add_host),
        get("/v1/hosts/{host}", fleet::host),
        delete("/v1/hosts/{host}", fleet::delete_host),
        put("/v1/hosts/{host}/state", fleet::set_host_state),
        post("/v1/hosts/{host}/join-token", fleet::create_join_token),
        post("/v1/hosts/{host}/comparison", fleet::compare_host),
        post("/v1/hosts/{host}/drain", workflows::drain_host),
        delete("/v1/hosts/{host}/drain", workflows::cancel_drain),
        post("/v1/hosts/{host}/undrain", workflows::undrain_host),
        get("/v1/workflows", workflows::workflows),
        get("/v1/workflows/{workflow}", workflows::workflow),
        get("/v1/workflows/{workflow}/changes", workflows::workflow_changed),
        post("/v1/workflows/{workflow}/cancel", workflows::cancel_workflow),
        post("/v1/hosts/{host}/fence", fencing::fence_host),
        post("/v1/hosts/{host}/fence-trial", fencing::try_fence).patient(),
        post("/v1/hosts/{host}/confirm-off", fencing::confirm_off),
        get("/v1/images", catalogue::images),
        post("/v1/images", catalogue::create_image),
        get("/v1/images/{image}", catalogue::image),
        delete("/v1/images/{image}", catalogue::delete_image),
        get("/v1/setups", catalogue::setups),
        post("/v1/setups", catalogue::create_setup),
        get("/v1/setups/{setup}", catalogue::setup),
        delete("/v1/setups/{setup}", catalogue::delete_setup),
        get("/v1/setups/{setup}/simulation", simulation::simulate_one),
        post("/v1/setups/{setup}/simulation", simulation::simulate).changing_nothing(),
        get("/v1/configurations", catalogue::configurations),
        post("/v1/configurations", catalogue::create_configuration),
        get("/v1/configurations/{configuration}", catalogue::configuration),
        delete("/v1/configurations/{configuration}", catalogue::delete_configuration),
        get("/v1/drives", catalogue::drives),
        post("/v1/drives", catalogue::create_drive).patient(),
        get("/v1/drives/{drive}", catalogue::drive),
        delete("/v1/drives/{drive}", catalogue::delete_drive).patient(),
        get("/v1/vms", vms::vms),
        post("/v1/vms", vms::start_vm),
        post("/v1/starts", vms::start_vms),
        get("/v1/past-vms", vms::past_vms),
        get("/v1/unmanaged-domains", adoption::unmanaged_domains),
        post("/v1/hosts/{host}/adoptions", adoption::adopt_vm),
        post("/v1/vms/{vm}/release", adoption::release_vm),
        get("/v1/vms/{vm}", vms::vm),
        post("/v1/vms/{vm}/shutdown", vms::shutdown_vm),
        post("/v1/vms/{vm}/destroy", vms::destroy_vm),
        post("/v1/vms/{vm}/restart-elsewhere", workflows::restart_elsewhere),
        get("/v1/vms/{vm}/comparison", simulation::compare),
        get("/v1/vms/{vm}/changes", vms::vm_changed),
        get("/v1/vms/{vm}/log", vms::vm_log),
        get("/v1/vms/{vm}/journal", journals::vm_journal),
        get("/v1/hosts/{host}/journal", journals::host_journal),
    ]
}

/// The router over the table.
pub(super) fn router(service: Service) -> Router {
    let names = operation_names();
    let router = table().into_iter().fold(Router::new(), |router, route| {
        let Route { method, path, handler, patience, changes } = route;
        let name = names.get(&(path.to_owned(), method.to_string())).cloned();
        let handler = handler.layer(from_fn_with_state(Limit { method, path, patience }, in_time));
        let handler = if changes {
            let what = name.unwrap_or_else(|| path.to_owned());
            handler.layer(from_fn_with_state(Recorder::new(service.clone(), what), recorded))
        } else {
            handler
        };
        router.route(path, handler)
    });
    router
        .fallback(nothing_here)
        .method_not_allowed_fallback(not_this_way)
        .layer(DefaultBodyLimit::max(BODY_SIZE_MAX))
        .layer(from_fn(only_who_may))
        .layer(from_fn_with_state(service.clone(), denials_recorded))
        .with_state(service)
}

/// How long one route may take.
#[derive(Clone)]
struct Limit {
    method: Method,
    path: &'static str,
    patience: Duration,
}

async fn in_time(State(limit): State<Limit>, request: Request, next: Next) -> Response {
    let Limit { method, path, patience } = limit;
    if let Ok(response) = tokio::time::timeout(patience, next.run(request)).await {
        return response;
    }
    log::warn!("{method} {path} was not answered within {} s", patience.as_secs());
    Refusal::new(ProblemKind::TimedOut, format!("there was no answer within {} s", patience.as_secs()))
        .advise("what was asked may still be carried out: look before asking again")
        .into_response()
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
    let act = Act::current();
    let work = async move {
        let result = work.await;
        let refused = result.as_ref().err().map(Outcome::from);
        if let (Some(outcome), Some(act)) = (refused, Act::current()) {
            // Here, since whoever asked may not be waiting any more.
            act.end(outcome).await;
        }
        result
    };
    let task = match act {
        Some(act) => tokio::spawn(act.scope(work)),
        None => tokio::spawn(work),
    };
    match task.await {
        Ok(result) => result.map_err(Refusal::from),
        Err(_) => Err(Refusal::new(ProblemKind::Internal, "the coordinator failed in the middle of this")
            .advise("its log says more: `journalctl -u reeve-coordinator`")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use axum::body::Body;
    use http_body_util::BodyExt;
    use hyper_util::service::TowerToHyperService;
    use serde_json::Value;
    use tokio::sync::oneshot;

    use super::super::openapi::document;
    use super::*;
    use crate::api::access::Role;
    use crate::api::types::ProblemReport;
    use crate::service::Actor;

    /// What `router` answers to `GET /`.
    async fn get_root(router: Router, peer: Option<Peer>) -> (StatusCode, Value) {
        let mut request = Request::builder().uri("/").body(Body::empty()).unwrap();
        if let Some(peer) = peer {
            request.extensions_mut().insert(peer);
        }
        let answered =
            hyper::service::Service::call(&TowerToHyperService::new(router), request).await.unwrap();
        let status = answered.status();
        let body = answered.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    #[tokio::test]
    async fn what_takes_too_long_is_answered_in_time() {
        let limit = Limit { method: Method::GET, path: "/", patience: Duration::from_millis(20) };
        let never =
            routing::get(std::future::pending::<StatusCode>).layer(from_fn_with_state(limit, in_time));
        let (status, document) = get_root(Router::new().route("/", never), None).await;
        assert_eq!(status, StatusCode::GATEWAY_TIMEOUT);
        let report: ProblemReport = serde_json::from_value(document).unwrap();
        assert_eq!(report.error.kind, ProblemKind::TimedOut);
    }

    #[tokio::test]
    async fn who_cannot_be_told_is_not_answered() {
        let router =
            || Router::new().route("/", routing::get(|| async { "secret" })).layer(from_fn(only_who_may));
        let (status, document) = get_root(router(), None).await;
        assert_eq!(status, StatusCode::FORBIDDEN);
        assert_eq!(document["error"]["kind"], "denied");
        let actor = Actor { uid: 0, name: "root".to_owned() };
        let (status, _) = get_root(router(), Some(Peer { actor, role: Role::Admin })).await;
        assert_eq!(status, StatusCode::OK);
    }

    #[tokio::test]
    async fn what_was_begun_is_finished_though_nobody_waits() {
        let (go_on, going_on) = oneshot::channel::<()>();
        let (done, finished) = oneshot::channel();
        let work = carried_out(async move {
            let _ = going_on.await;
            let _ = done.send(());
            Ok(())
        });
        assert!(tokio::time::timeout(Duration::from_millis(1), work).await.is_err());
        go_on.send(()).unwrap();
        finished.await.expect("the work ended with whoever waited for it");
    }

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
}
