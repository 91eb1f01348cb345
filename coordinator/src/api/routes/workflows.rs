//! Owns the routes of workflows, and of emptying hosts.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use reeve_common::ids::HostName;

use super::carried_out;
use super::vms::{CHANGES_WAIT_MAX, ChangesQuery, Selector};
use crate::api::answer::Refusal;
use crate::api::conversions::{duration, host_of, vm_of, workflow_of};
use crate::api::question::{Asked, Asking, Body, Named};
use crate::api::types::{DrainRequest, Host, ProblemReport, Vm, Workflow};
use crate::service::Service;
use crate::workflow::WorkflowId;

type Answer<T> = Result<Json<T>, Refusal>;

/// The workflows that are under way, and the most recent ones that are over.
#[utoipa::path(get, path = "/v1/workflows", tag = "workflows", responses(
    (status = 200, description = "The workflows, oldest first", body = Vec<Workflow>),
    (status = "default", description = "What is wrong", body = ProblemReport)))]
pub(in crate::api) async fn workflows(State(service): State<Service>) -> Json<Vec<Workflow>> {
    Json(service.workflows().iter().map(workflow_of).collect())
}

/// One workflow.
#[utoipa::path(get, path = "/v1/workflows/{workflow}", tag = "workflows",
    params(("workflow" = u64, Path, description = "Its number")), responses(
    (status = 200, description = "The workflow", body = Workflow),
    (status = "default", description = "What is wrong", body = ProblemReport)))]
pub(in crate::api) async fn workflow(
    State(service): State<Service>,
    Named(id): Named<WorkflowId>,
) -> Answer<Workflow> {
    Ok(Json(workflow_of(&service.workflow(id)?)))
}

/// Waits until a workflow's document is newer than `after`, or the time is up; answers it as it is then.
#[utoipa::path(get, path = "/v1/workflows/{workflow}/changes", tag = "workflows", params(
    ("workflow" = u64, Path, description = "Its number"),
    ("after" = Option<u64>, Query, description = "The version that is known already"),
    ("wait-ms" = Option<u64>, Query, description = "How long to wait, at most 30000")), responses(
    (status = 200, description = "The workflow as it is now", body = Workflow),
    (status = "default", description = "What is wrong", body = ProblemReport)))]
pub(in crate::api) async fn workflow_changed(
    State(service): State<Service>,
    Named(id): Named<WorkflowId>,
    Asked(query): Asked<ChangesQuery>,
) -> Answer<Workflow> {
    let at_most = Duration::from_millis(query.wait_ms).min(CHANGES_WAIT_MAX);
    Ok(Json(workflow_of(&service.workflow_changed(id, query.after, at_most).await?)))
}

/// Turns a workflow round: what was begun of it is undone as far as it can be; one that is stuck is tried again.
#[utoipa::path(post, path = "/v1/workflows/{workflow}/cancel", tag = "workflows",
    params(("workflow" = u64, Path, description = "Its number")), responses(
    (status = 200, description = "The workflow as it is now", body = Workflow),
    (status = "default", description = "What is wrong", body = ProblemReport)))]
pub(in crate::api) async fn cancel_workflow(
    State(service): State<Service>,
    Named(id): Named<WorkflowId>,
    Asking(actor): Asking,
) -> Answer<Workflow> {
    let cancelled = carried_out(async move { service.cancel_workflow(id, &actor).await }).await?;
    Ok(Json(workflow_of(&cancelled)))
}

/// Begins to empty a host. Answers as soon as that is durably wished; the workflow tells how far it is.
#[utoipa::path(post, path = "/v1/hosts/{host}/drain", tag = "hosts", request_body = DrainRequest,
    params(("host" = String, Path, description = "Its name")), responses(
    (status = 201, description = "The workflow", body = Workflow),
    (status = "default", description = "What is wrong", body = ProblemReport)))]
pub(in crate::api) async fn drain_host(
    State(service): State<Service>,
    Named(name): Named<HostName>,
    Asking(actor): Asking,
    Body(request): Body<DrainRequest>,
) -> Result<(StatusCode, Json<Workflow>), Refusal> {
    let grace = request.grace.as_deref().map(|grace| duration("grace", grace)).transpose()?;
    let begun = carried_out(async move { service.drain_host(&name, grace, &actor).await }).await?;
    Ok((StatusCode::CREATED, Json(workflow_of(&begun))))
}

/// Cancels the emptying of a host: it is chosen again, and VMs that were not asked to stop stay.
#[utoipa::path(delete, path = "/v1/hosts/{host}/drain", tag = "hosts",
    params(("host" = String, Path, description = "Its name")), responses(
    (status = 200, description = "The workflow as it is now", body = Workflow),
    (status = "default", description = "What is wrong", body = ProblemReport)))]
pub(in crate::api) async fn cancel_drain(
    State(service): State<Service>,
    Named(name): Named<HostName>,
    Asking(actor): Asking,
) -> Answer<Workflow> {
    let cancelled = carried_out(async move { service.cancel_drain(&name, &actor).await }).await?;
    Ok(Json(workflow_of(&cancelled)))
}

/// Lets a host that was emptied be chosen again.
#[utoipa::path(post, path = "/v1/hosts/{host}/undrain", tag = "hosts",
    params(("host" = String, Path, description = "Its name")), responses(
    (status = 200, description = "The host as it is now", body = Host),
    (status = "default", description = "What is wrong", body = ProblemReport)))]
pub(in crate::api) async fn undrain_host(
    State(service): State<Service>,
    Named(name): Named<HostName>,
    Asking(actor): Asking,
) -> Answer<Host> {
    let host = carried_out(async move { service.undrain_host(&name, &actor).await }).await?;
    Ok(Json(host_of(&host)))
}

/// Starts a VM of a lost host elsewhere. Refused without a proof that its host runs it no more, with what is missing.
#[utoipa::path(post, path = "/v1/vms/{vm}/restart-elsewhere", tag = "vms", params(
    ("vm" = String, Path, description = "Its id, the unique start of its id, its name, or a configuration with one VM")), responses(
    (status = 200, description = "The VM as it is now", body = Vm),
    (status = "default", description = "What is wrong", body = ProblemReport)))]
pub(in crate::api) async fn restart_elsewhere(
    State(service): State<Service>,
    Named(Selector(selector)): Named<Selector>,
    Asking(actor): Asking,
) -> Answer<Vm> {
    let id = service.vm(&selector).await?.view.vm.id;
    let view = carried_out(async move { service.restart_elsewhere(&id, &actor).await }).await?;
    Ok(Json(vm_of(&view)))
}
