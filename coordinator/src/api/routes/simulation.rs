//! Owns the questions about what would be: simulations, a VM and a host compared, a cost function worked out.

use axum::Json;
use axum::extract::State;
use reeve_common::ids::{CostFunctionName, HostName, SetupName};
use serde::Deserialize;

use super::vms::Selector;
use crate::api::answer::Refusal;
use crate::api::conversions::{
    comparison_of, cost_evaluation_of, explanation_of, simulation_of, simulation_question, user,
};
use crate::api::question::{Asked, Body, Named};
use crate::api::types::{
    Comparison, CostEvaluation, Explanation, ProblemKind, ProblemReport, Simulation, SimulationRequest,
};
use crate::service::{Service, SimulationQuestion};

type Answer<T> = Result<Json<T>, Refusal>;

/// Whose VM is simulated.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(in crate::api) struct SimulationQuery {
    owner: Option<String>,
    team: Option<String>,
}

/// Says where a VM of this setup would go now and why. Nothing is reserved.
#[utoipa::path(get, path = "/v1/setups/{setup}/simulation", tag = "setups", params(
    ("setup" = String, Path, description = "Its name"),
    ("owner" = Option<String>, Query, description = "Whose VM it would be; together with `team`"),
    ("team" = Option<String>, Query, description = "The owner's team; together with `owner`")), responses(
    (status = 200, description = "The decision, host by host; `chosen` is null when no host can take it", body = Explanation),
    (status = "default", description = "What is wrong", body = ProblemReport)))]
pub(in crate::api) async fn simulate_one(
    State(service): State<Service>,
    Named(name): Named<SetupName>,
    Asked(query): Asked<SimulationQuery>,
) -> Answer<Explanation> {
    let user = user(query.owner, query.team)?;
    let question = SimulationQuestion { count: 1, user, ..SimulationQuestion::default() };
    let answer = service.simulate(&name, question).await?;
    let told = answer.decision.as_ref().map(explanation_of);
    told.map(Json).ok_or_else(|| Refusal::new(ProblemKind::Internal, "the decision was not explained"))
}

/// Says how many VMs of this setup fit and where they would go, on the fleet as it is or with hosts more or less, or under
/// another cost function. Nothing is reserved.
#[utoipa::path(post, path = "/v1/setups/{setup}/simulation", tag = "setups", request_body = SimulationRequest,
    params(("setup" = String, Path, description = "Its name")), responses(
    (status = 200, description = "How many fit, where, and what stops the next one", body = Simulation),
    (status = "default", description = "What is wrong", body = ProblemReport)))]
pub(in crate::api) async fn simulate(
    State(service): State<Service>,
    Named(name): Named<SetupName>,
    Body(request): Body<SimulationRequest>,
) -> Answer<Simulation> {
    let answer = service.simulate(&name, simulation_question(request)?).await?;
    Ok(Json(simulation_of(&answer)))
}

/// Which host is asked about.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(in crate::api) struct ComparisonQuery {
    host: HostName,
}

/// Says why a VM is on a host, or is not: when it was placed, and now.
#[utoipa::path(get, path = "/v1/vms/{vm}/comparison", tag = "vms", params(
    ("vm" = String, Path, description = "Its id, the unique start of its id, its name, or a configuration with one VM"),
    ("host" = String, Query, description = "The host's name")), responses(
    (status = 200, description = "What was found of the host, and of the one chosen", body = Comparison),
    (status = "default", description = "What is wrong", body = ProblemReport)))]
pub(in crate::api) async fn compare(
    State(service): State<Service>,
    Named(selector): Named<Selector>,
    Asked(query): Asked<ComparisonQuery>,
) -> Answer<Comparison> {
    Ok(Json(comparison_of(&service.compare(&selector.to_string(), &query.host).await?)))
}

/// For which host and which VM a cost function is worked out.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(in crate::api) struct EvaluationQuery {
    host: HostName,
    setup: SetupName,
    owner: Option<String>,
    team: Option<String>,
}

/// Works out a cost function for a host as it stands and a VM of a setup.
#[utoipa::path(get, path = "/v1/cost-functions/{function}/evaluation", tag = "placement", params(
    ("function" = String, Path, description = "The cost function's name, declared or preset"),
    ("host" = String, Query, description = "The host's name"),
    ("setup" = String, Query, description = "The setup that the VM would be of"),
    ("owner" = Option<String>, Query, description = "Whose VM it would be; together with `team`"),
    ("team" = Option<String>, Query, description = "The owner's team; together with `owner`")), responses(
    (status = 200, description = "Everything that goes into it and comes out", body = CostEvaluation),
    (status = "default", description = "What is wrong", body = ProblemReport)))]
pub(in crate::api) async fn evaluate_cost(
    State(service): State<Service>,
    Named(function): Named<CostFunctionName>,
    Asked(query): Asked<EvaluationQuery>,
) -> Answer<CostEvaluation> {
    let user = user(query.owner, query.team)?;
    let evaluation = service.evaluate_cost(&function, &query.host, &query.setup, user)?;
    Ok(Json(cost_evaluation_of(&evaluation, &query.setup)))
}
