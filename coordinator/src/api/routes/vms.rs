//! Owns the questions about VMs.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use reeve_common::ids::{InvalidName, VmId, VmName};
use serde::Deserialize;

use super::carried_out;
use crate::api::answer::Refusal;
use crate::api::conversions::{duration, vm_detail_of, vm_log_of, vm_of};
use crate::api::question::{Asked, Asking, Body, Named};
use crate::api::types::{
    ProblemReport, ShutdownRequest, StartOutcome, StartRequest, StartsRequest, Vm, VmDetail, VmLog,
};
use crate::service::Service;

/// The longest a question for changes is held back; well below what any question may take.
pub(super) const CHANGES_WAIT_MAX: Duration = Duration::from_secs(30);

type Answer<T> = Result<Json<T>, Refusal>;

/// Words that point at a VM: they hold the characters of names and ids, and nothing else.
pub(in crate::api) struct Selector(pub(in crate::api) String);

impl FromStr for Selector {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        VmName::new(text).map(|name| Self(name.into()))
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The VMs that are not over.
#[utoipa::path(get, path = "/v1/vms", tag = "vms", responses(
    (status = 200, description = "The VMs that are not over", body = Vec<Vm>),
    (status = "default", description = "What is wrong", body = ProblemReport)))]
pub(in crate::api) async fn vms(State(service): State<Service>) -> Json<Vec<Vm>> {
    Json(service.vms().iter().map(vm_of).collect())
}

/// The hundred most recent VMs that are over, the latest first.
#[utoipa::path(get, path = "/v1/past-vms", tag = "vms", responses(
    (status = 200, description = "The hundred most recent VMs that are over", body = Vec<Vm>),
    (status = "default", description = "What is wrong", body = ProblemReport)))]
pub(in crate::api) async fn past_vms(State(service): State<Service>) -> Json<Vec<Vm>> {
    Json(service.past_vms().iter().map(vm_of).collect())
}

/// One VM with its life so far and the decision that placed it.
#[utoipa::path(get, path = "/v1/vms/{vm}", tag = "vms", params(
    ("vm" = String, Path, description = "Its id, the unique start of its id, its name, or a configuration with one VM")), responses(
    (status = 200, description = "The VM", body = VmDetail),
    (status = "default", description = "What is wrong", body = ProblemReport)))]
pub(in crate::api) async fn vm(
    State(service): State<Service>,
    Named(Selector(selector)): Named<Selector>,
) -> Answer<VmDetail> {
    Ok(Json(vm_detail_of(&service.vm(&selector).await?)))
}

/// Starts a VM of a configuration. Answers as soon as it is durably placed, or durably waiting for a place.
#[utoipa::path(post, path = "/v1/vms", tag = "vms", request_body = StartRequest, responses(
    (status = 201, description = "The VM; `unplaceable` when no host can take it now", body = VmDetail),
    (status = "default", description = "What is wrong", body = ProblemReport)))]
pub(in crate::api) async fn start_vm(
    State(service): State<Service>,
    Asking(actor): Asking,
    Body(request): Body<StartRequest>,
) -> Result<(StatusCode, Json<VmDetail>), Refusal> {
    let detail = carried_out(async move {
        let started = service.start_vm(&request.configuration, &actor).await?;
        // Read again: the decision stands beside the record.
        service.vm(&started.view.vm.id.to_string()).await
    })
    .await?;
    Ok((StatusCode::CREATED, Json(vm_detail_of(&detail))))
}

/// Starts a VM of each of several configurations, planned together so that they cost less than one after the other.
/// Answers as soon as each is durably placed, durably waiting for a place, or refused.
#[utoipa::path(post, path = "/v1/starts", tag = "vms", request_body = StartsRequest, responses(
    (status = 200, description = "What became of each, in the order asked", body = Vec<StartOutcome>),
    (status = "default", description = "What is wrong with all of them", body = ProblemReport)))]
pub(in crate::api) async fn start_vms(
    State(service): State<Service>,
    Asking(actor): Asking,
    Body(request): Body<StartsRequest>,
) -> Answer<Vec<StartOutcome>> {
    let configurations = request.configurations.clone();
    let started = carried_out(async move { service.start_vms(&configurations, &actor).await }).await?;
    let outcomes = request.configurations.into_iter().zip(started).map(|(configuration, started)| {
        let (vm, problem) = match started {
            Ok(detail) => (Some(vm_detail_of(&detail)), None),
            Err(error) => (None, Some(Refusal::from(error).into_problem())),
        };
        StartOutcome { configuration, vm, problem }
    });
    Ok(Json(outcomes.collect()))
}

/// Asks a VM's guest to shut down, and destroys it when its grace is over. Answers as soon as that is durably wished.
#[utoipa::path(post, path = "/v1/vms/{vm}/shutdown", tag = "vms", request_body = ShutdownRequest, params(
    ("vm" = String, Path, description = "Its id, the unique start of its id, its name, or a configuration with one VM")), responses(
    (status = 200, description = "The VM as it is now", body = Vm),
    (status = "default", description = "What is wrong", body = ProblemReport)))]
pub(in crate::api) async fn shutdown_vm(
    State(service): State<Service>,
    Named(Selector(selector)): Named<Selector>,
    Asking(actor): Asking,
    Body(request): Body<ShutdownRequest>,
) -> Answer<Vm> {
    let grace = request.grace.as_deref().map(|grace| duration("grace", grace)).transpose()?;
    let id = service.vm(&selector).await?.view.vm.id;
    let view = carried_out(async move { service.shutdown_vm(&id, grace, &actor).await }).await?;
    Ok(Json(vm_of(&view)))
}

/// Ends a VM at once, as if its plug were pulled. Answers as soon as that is durably wished.
#[utoipa::path(post, path = "/v1/vms/{vm}/destroy", tag = "vms", params(
    ("vm" = String, Path, description = "Its id, the unique start of its id, its name, or a configuration with one VM")), responses(
    (status = 200, description = "The VM as it is now", body = Vm),
    (status = "default", description = "What is wrong", body = ProblemReport)))]
pub(in crate::api) async fn destroy_vm(
    State(service): State<Service>,
    Named(Selector(selector)): Named<Selector>,
    Asking(actor): Asking,
) -> Answer<Vm> {
    let id = service.vm(&selector).await?.view.vm.id;
    let view = carried_out(async move { service.destroy_vm(&id, &actor).await }).await?;
    Ok(Json(vm_of(&view)))
}

/// From which version changes are asked for, and how long to wait for one.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(in crate::api) struct ChangesQuery {
    #[serde(default)]
    pub(super) after: u64,
    #[serde(default)]
    pub(super) wait_ms: u64,
}

/// Waits until a VM's document is newer than `after`, or the time is up; answers it as it is then.
#[utoipa::path(get, path = "/v1/vms/{vm}/changes", tag = "vms", params(
    ("vm" = String, Path, description = "Its whole id"),
    ("after" = Option<u64>, Query, description = "The version that is known already"),
    ("wait-ms" = Option<u64>, Query, description = "How long to wait, at most 30000")), responses(
    (status = 200, description = "The VM as it is now", body = Vm),
    (status = "default", description = "What is wrong", body = ProblemReport)))]
pub(in crate::api) async fn vm_changed(
    State(service): State<Service>,
    Named(id): Named<VmId>,
    Asked(query): Asked<ChangesQuery>,
) -> Answer<Vm> {
    let at_most = Duration::from_millis(query.wait_ms).min(CHANGES_WAIT_MAX);
    Ok(Json(vm_of(&service.vm_changed(&id, query.after, at_most).await?)))
}

/// What happened to a VM, and the end of its serial console's output.
#[utoipa::path(get, path = "/v1/vms/{vm}/log", tag = "vms", params(
    ("vm" = String, Path, description = "Its id, the unique start of its id, its name, or a configuration with one VM")), responses(
    (status = 200, description = "Its log", body = VmLog),
    (status = "default", description = "What is wrong", body = ProblemReport)))]
pub(in crate::api) async fn vm_log(
    State(service): State<Service>,
    Named(Selector(selector)): Named<Selector>,
) -> Answer<VmLog> {
    let id = service.vm(&selector).await?.view.vm.id;
    Ok(Json(vm_log_of(service.vm_log(&id).await?)))
}
