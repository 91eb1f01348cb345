//! Owns the questions of whoever watches over the coordinator: its standing warnings, its metrics, and its configuration
//! without secrets.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

use super::carried_out;
use crate::api::answer::Refusal;
use crate::api::conversions::{configuration_in_force_of, warning_of};
use crate::api::question::{Asking, name};
use crate::api::types::{ConfigurationInForce, ProblemReport, Warning};
use crate::metrics::exposition;
use crate::model::warning::WarningId;
use crate::service::Service;

/// Standing warnings, and those that went within the last week.
#[utoipa::path(get, path = "/v1/warnings", tag = "coordinator", responses(
    (status = 200, description = "The warnings, by kind and subject", body = Vec<Warning>),
    (status = "default", description = "What is wrong", body = ProblemReport)))]
pub(in crate::api) async fn warnings(State(service): State<Service>) -> Json<Vec<Warning>> {
    Json(service.warnings().iter().map(warning_of).collect())
}

/// Notes that somebody knows of a warning. It comes back when it is worse, or when it comes up again after it was gone.
#[utoipa::path(post, path = "/v1/warnings/{kind}/{subject}/acknowledge", tag = "coordinator", params(
    ("kind" = String, Path, description = "What is wrong, such as `silent-host`"),
    ("subject" = String, Path, description = "With whom, such as the name of a host")), responses(
    (status = 200, description = "The warning as it is now", body = Warning),
    (status = "default", description = "What is wrong", body = ProblemReport)))]
pub(in crate::api) async fn acknowledge_warning(
    State(service): State<Service>,
    Path((kind, subject)): Path<(String, String)>,
    Asking(actor): Asking,
) -> Result<Json<Warning>, Refusal> {
    let id: WarningId = name(&format!("{kind}/{subject}"))?;
    let warning = carried_out(async move { service.acknowledge_warning(&id, &actor).await }).await?;
    Ok(Json(warning_of(&warning)))
}

/// The configuration in force, as far as no other document has it, without secrets.
#[utoipa::path(get, path = "/v1/configuration", tag = "coordinator", responses(
    (status = 200, description = "Where the coordinator listens, and how long it waits", body = ConfigurationInForce),
    (status = "default", description = "What is wrong", body = ProblemReport)))]
pub(in crate::api) async fn configuration_in_force(
    State(service): State<Service>,
) -> Json<ConfigurationInForce> {
    Json(configuration_in_force_of(&service.config()))
}

/// The metrics as Prometheus reads them.
#[utoipa::path(get, path = "/v1/metrics", tag = "coordinator", responses(
    (status = 200, description = "Text in Prometheus' format 0.0.4", body = String, content_type = "text/plain"),
    (status = "default", description = "What is wrong", body = ProblemReport)))]
pub(in crate::api) async fn metrics(State(service): State<Service>) -> impl IntoResponse {
    // It walks through all hosts.
    let text = tokio::task::spawn_blocking(move || service.metrics_text()).await.unwrap_or_default();
    ([(CONTENT_TYPE, exposition::CONTENT_TYPE)], text)
}
