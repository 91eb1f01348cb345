//! Owns the questions about domains that nobody manages, and their adoption.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use reeve_common::ids::HostName;

use super::carried_out;
use super::vms::Selector;
use crate::api::answer::Refusal;
use crate::api::conversions::{adoption, unmanaged_of, vm_detail_of, vm_of};
use crate::api::question::{Asking, Body, Named};
use crate::api::types::{AdoptionRequest, ProblemReport, UnmanagedDomain, Vm, VmDetail};
use crate::service::Service;

/// The domains on all hosts that nobody manages, as last reported.
#[utoipa::path(get, path = "/v1/unmanaged-domains", tag = "vms", responses(
    (status = 200, description = "The domains that nobody manages", body = Vec<UnmanagedDomain>),
    (status = "default", description = "What is wrong", body = ProblemReport)))]
pub(in crate::api) async fn unmanaged_domains(State(service): State<Service>) -> Json<Vec<UnmanagedDomain>> {
    Json(service.unmanaged_domains().iter().map(unmanaged_of).collect())
}

/// Makes a domain that nobody manages a VM, where it runs and without a restart. Answers as soon as that is durable; its
/// host may still refuse, and then the VM has failed with the reason.
#[utoipa::path(post, path = "/v1/hosts/{host}/adoptions", tag = "vms", request_body = AdoptionRequest,
    params(("host" = String, Path, description = "The host's name")), responses(
    (status = 201, description = "The VM", body = VmDetail),
    (status = "default", description = "What is wrong", body = ProblemReport)))]
pub(in crate::api) async fn adopt_vm(
    State(service): State<Service>,
    Named(host): Named<HostName>,
    Asking(actor): Asking,
    Body(request): Body<AdoptionRequest>,
) -> Result<(StatusCode, Json<VmDetail>), Refusal> {
    let (domain, whose) = adoption(request);
    let detail = carried_out(async move { service.adopt_vm(&host, &domain, whose, &actor).await }).await?;
    Ok((StatusCode::CREATED, Json(vm_detail_of(&detail))))
}

/// Gives a VM that was adopted back as it is: it runs on, and nobody manages it. Answers as soon as that is durably wished.
#[utoipa::path(post, path = "/v1/vms/{vm}/release", tag = "vms", params(
    ("vm" = String, Path, description = "Its id, the unique start of its id, its name, or a configuration with one VM")), responses(
    (status = 200, description = "The VM as it is now", body = Vm),
    (status = "default", description = "What is wrong", body = ProblemReport)))]
pub(in crate::api) async fn release_vm(
    State(service): State<Service>,
    Named(Selector(selector)): Named<Selector>,
    Asking(actor): Asking,
) -> Result<Json<Vm>, Refusal> {
    let id = service.vm(&selector).await?.view.vm.id;
    let view = carried_out(async move { service.release_vm(&id, &actor).await }).await?;
    Ok(Json(vm_of(&view)))
}
