//! Owns the questions about the coordinator, what its configuration declares, and hosts.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use clap::ValueEnum;
use reeve_common::ids::{HostName, RealmName};

use super::carried_out;
use crate::api::answer::Refusal;
use crate::api::conversions::{
    cost_function_of, duration, host_comparison_of, host_of, host_state, host_to_add, join_token_of,
    profile_of, realm_of, status_of, volume_of,
};
use crate::api::openapi::document;
use crate::api::question::{Asking, Body, Named, name};
use crate::api::types::{
    CostFunction, Host, HostComparison, HostComparisonRequest, JoinToken, JoinTokenRequest, NewHost,
    PoolKind, ProblemKind, ProblemReport, Profile, Realm, StateChange, Status, Volumes,
};
use crate::service::Service;

/// How long a join line can be used unless something else is asked for: time enough to walk to the machine.
const TOKEN_LIFETIME_DEFAULT: Duration = crate::pki::JOIN_TOKEN_LIFETIME;

type Answer<T> = Result<Json<T>, Refusal>;

/// This document.
#[utoipa::path(get, path = "/v1/openapi.json", tag = "coordinator",
    responses((status = 200, description = "This document", body = Object)))]
pub(in crate::api) async fn openapi() -> Json<utoipa::openapi::OpenApi> {
    Json(document())
}

/// The coordinator and its fleet at a glance.
#[utoipa::path(get, path = "/v1/status", tag = "coordinator", responses(
    (status = 200, description = "The coordinator and its fleet", body = Status),
    (status = "default", description = "What is wrong", body = ProblemReport)))]
pub(in crate::api) async fn status(State(service): State<Service>) -> Json<Status> {
    Json(status_of(service.status()))
}

/// All realms.
#[utoipa::path(get, path = "/v1/realms", tag = "realms", responses(
    (status = 200, description = "All realms", body = Vec<Realm>),
    (status = "default", description = "What is wrong", body = ProblemReport)))]
pub(in crate::api) async fn realms(State(service): State<Service>) -> Json<Vec<Realm>> {
    Json(service.realms().iter().map(realm_of).collect())
}

/// One realm.
#[utoipa::path(get, path = "/v1/realms/{realm}", tag = "realms",
    params(("realm" = String, Path, description = "Its key in the configuration")), responses(
    (status = 200, description = "The realm", body = Realm),
    (status = "default", description = "What is wrong", body = ProblemReport)))]
pub(in crate::api) async fn realm(
    State(service): State<Service>,
    Named(name): Named<RealmName>,
) -> Answer<Realm> {
    Ok(Json(realm_of(&service.realm(&name)?)))
}

/// The volumes in one of a realm's pools, as one of its connected hosts lists them.
#[utoipa::path(get, path = "/v1/realms/{realm}/volumes/{pool}", tag = "realms", params(
    ("realm" = String, Path, description = "Its key in the configuration"),
    ("pool" = PoolKind, Path, description = "Which of its three pools")), responses(
    (status = 200, description = "The volumes", body = Volumes),
    (status = "default", description = "What is wrong", body = ProblemReport)))]
pub(in crate::api) async fn volumes(
    State(service): State<Service>,
    Path((realm, kind)): Path<(String, String)>,
) -> Answer<Volumes> {
    let realm: RealmName = name(&realm)?;
    let kind = PoolKind::from_str(&kind, false).map_err(|_| {
        let kinds = PoolKind::ALL.map(PoolKind::as_str).join(", ");
        Refusal::new(ProblemKind::Invalid, format!("{kind:?} is none of a realm's pools; there are {kinds}"))
    })?;
    let configured = service.realm(&realm)?.realm;
    let pool = match kind {
        PoolKind::Bricks => configured.bricks_pool,
        PoolKind::Volumes => configured.volumes_pool,
        PoolKind::Drives => configured.drives_pool,
    };
    let (host, volumes) = service.volumes(&realm, &pool).await?;
    Ok(Json(Volumes { realm, kind, pool, host, volumes: volumes.iter().map(volume_of).collect() }))
}

/// All hardware profiles.
#[utoipa::path(get, path = "/v1/profiles", tag = "placement", responses(
    (status = 200, description = "All hardware profiles", body = Vec<Profile>),
    (status = "default", description = "What is wrong", body = ProblemReport)))]
pub(in crate::api) async fn profiles(State(service): State<Service>) -> Json<Vec<Profile>> {
    Json(service.profiles().iter().map(profile_of).collect())
}

/// All cost functions, the presets among them.
#[utoipa::path(get, path = "/v1/cost-functions", tag = "placement", responses(
    (status = 200, description = "All cost functions", body = Vec<CostFunction>),
    (status = "default", description = "What is wrong", body = ProblemReport)))]
pub(in crate::api) async fn cost_functions(State(service): State<Service>) -> Json<Vec<CostFunction>> {
    Json(service.cost_functions().iter().map(|function| cost_function_of(function)).collect())
}

/// All hosts.
#[utoipa::path(get, path = "/v1/hosts", tag = "hosts", responses(
    (status = 200, description = "All hosts", body = Vec<Host>),
    (status = "default", description = "What is wrong", body = ProblemReport)))]
pub(in crate::api) async fn hosts(State(service): State<Service>) -> Json<Vec<Host>> {
    Json(service.hosts().iter().map(host_of).collect())
}

/// One host.
#[utoipa::path(get, path = "/v1/hosts/{host}", tag = "hosts",
    params(("host" = String, Path, description = "Its name")), responses(
    (status = 200, description = "The host", body = Host),
    (status = "default", description = "What is wrong", body = ProblemReport)))]
pub(in crate::api) async fn host(
    State(service): State<Service>,
    Named(name): Named<HostName>,
) -> Answer<Host> {
    Ok(Json(host_of(&service.host(&name)?)))
}

/// Adds a host. Its agent joins with a join line.
#[utoipa::path(post, path = "/v1/hosts", tag = "hosts", request_body = NewHost, responses(
    (status = 201, description = "The host as added", body = Host),
    (status = "default", description = "What is wrong", body = ProblemReport)))]
pub(in crate::api) async fn add_host(
    State(service): State<Service>,
    Asking(actor): Asking,
    Body(new): Body<NewHost>,
) -> Result<(StatusCode, Json<Host>), Refusal> {
    let new = host_to_add(new);
    let host = carried_out(async move { service.add_host(new, &actor).await }).await?;
    Ok((StatusCode::CREATED, Json(host_of(&host))))
}

/// Changes whether a host may be used.
#[utoipa::path(put, path = "/v1/hosts/{host}/state", tag = "hosts", request_body = StateChange,
    params(("host" = String, Path, description = "Its name")), responses(
    (status = 200, description = "The host as it is now", body = Host),
    (status = "default", description = "What is wrong", body = ProblemReport)))]
pub(in crate::api) async fn set_host_state(
    State(service): State<Service>,
    Named(name): Named<HostName>,
    Asking(actor): Asking,
    Body(change): Body<StateChange>,
) -> Answer<Host> {
    let state = host_state(change.state);
    let host = carried_out(async move { service.set_host_state(&name, state, &actor).await }).await?;
    Ok(Json(host_of(&host)))
}

/// Compares a host's VMs with what it has just now, and repairs what repairs by itself. A host that cannot be asked is
/// `unavailable`: nothing is known of its VMs then.
#[utoipa::path(post, path = "/v1/hosts/{host}/comparison", tag = "hosts", request_body = HostComparisonRequest,
    params(("host" = String, Path, description = "Its name")), responses(
    (status = 200, description = "What differs, and what became of it", body = HostComparison),
    (status = "default", description = "What is wrong", body = ProblemReport)))]
pub(in crate::api) async fn compare_host(
    State(service): State<Service>,
    Named(name): Named<HostName>,
    Asking(actor): Asking,
    Body(request): Body<HostComparisonRequest>,
) -> Answer<HostComparison> {
    let (host, dry_run) = (name.clone(), request.dry_run);
    let comparison = carried_out(async move { service.fix_vms(&name, dry_run, &actor).await }).await?;
    Ok(Json(host_comparison_of(&host, dry_run, &comparison)))
}

/// Removes a host without VMs.
#[utoipa::path(delete, path = "/v1/hosts/{host}", tag = "hosts",
    params(("host" = String, Path, description = "Its name")), responses(
    (status = 204, description = "It is gone"),
    (status = "default", description = "What is wrong", body = ProblemReport)))]
pub(in crate::api) async fn delete_host(
    State(service): State<Service>,
    Named(name): Named<HostName>,
    Asking(actor): Asking,
) -> Result<StatusCode, Refusal> {
    carried_out(async move { service.delete_host(&name, &actor).await }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes a line with which a host's agent joins. It holds a secret, works once, and is shown once.
#[utoipa::path(post, path = "/v1/hosts/{host}/join-token", tag = "hosts", request_body = JoinTokenRequest,
    params(("host" = String, Path, description = "Its name")), responses(
    (status = 201, description = "The line", body = JoinToken),
    (status = "default", description = "What is wrong", body = ProblemReport)))]
pub(in crate::api) async fn create_join_token(
    State(service): State<Service>,
    Named(name): Named<HostName>,
    Asking(actor): Asking,
    Body(request): Body<JoinTokenRequest>,
) -> Result<(StatusCode, Json<JoinToken>), Refusal> {
    let lifetime = match request.lifetime {
        Some(text) => duration("lifetime", &text)?,
        None => TOKEN_LIFETIME_DEFAULT,
    };
    let token = carried_out(async move { service.create_join_token(&name, lifetime, &actor).await }).await?;
    Ok((StatusCode::CREATED, Json(join_token_of(token))))
}
