//! Owns the questions about switching hosts off.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use reeve_common::ids::HostName;

use super::carried_out;
use crate::api::answer::Refusal;
use crate::api::conversions::{fence_of, fence_trial_of};
use crate::api::question::{Asking, Named};
use crate::api::types::{Fence, FenceTrial, ProblemReport};
use crate::service::Service;

/// Begins to switch a host off with its fence command. How far it is, is in the host's `fences`.
#[utoipa::path(post, path = "/v1/hosts/{host}/fence", tag = "hosts",
    params(("host" = String, Path, description = "Its name")), responses(
    (status = 202, description = "It has been begun", body = Fence),
    (status = "default", description = "What is wrong", body = ProblemReport)))]
pub(in crate::api) async fn fence_host(
    State(service): State<Service>,
    Named(name): Named<HostName>,
    Asking(actor): Asking,
) -> Result<(StatusCode, Json<Fence>), Refusal> {
    let fence = carried_out(async move { service.begin_fence(&name, &actor.name).await }).await?;
    Ok((StatusCode::ACCEPTED, Json(fence_of(&fence))))
}

/// Asks a host's fence command for its status and says what fencing would do. Nothing is switched off.
#[utoipa::path(post, path = "/v1/hosts/{host}/fence-trial", tag = "hosts",
    params(("host" = String, Path, description = "Its name")), responses(
    (status = 200, description = "What would be done", body = FenceTrial),
    (status = "default", description = "What is wrong", body = ProblemReport)))]
pub(in crate::api) async fn try_fence(
    State(service): State<Service>,
    Named(name): Named<HostName>,
    Asking(_actor): Asking,
) -> Result<Json<FenceTrial>, Refusal> {
    Ok(Json(fence_trial_of(service.try_fence(&name).await?)))
}

/// States that a host is off. Its VMs may be started elsewhere from then on: whoever states it answers for it.
#[utoipa::path(post, path = "/v1/hosts/{host}/confirm-off", tag = "hosts",
    params(("host" = String, Path, description = "Its name")), responses(
    (status = 200, description = "It is recorded", body = Fence),
    (status = "default", description = "What is wrong", body = ProblemReport)))]
pub(in crate::api) async fn confirm_off(
    State(service): State<Service>,
    Named(name): Named<HostName>,
    Asking(actor): Asking,
) -> Result<Json<Fence>, Refusal> {
    let fence = carried_out(async move { service.confirm_off(&name, &actor).await }).await?;
    Ok(Json(fence_of(&fence)))
}
