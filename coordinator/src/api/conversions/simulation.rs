//! Owns how what would be becomes documents, and how questions about it are read.

use reeve_common::ids::SetupName;

use super::explanation::{explanation_of, rule_word, term_of, verdict_of};
use crate::api::answer::Refusal;
use crate::api::types::{
    AttributeValue, Comparison, CostEvaluation, Judgement, ProblemKind, SimulatedHost, Simulation,
    SimulationRequest,
};
use crate::model::explanation::finite;
use crate::service::{self, AddedHosts, SimulationAnswer, SimulationQuestion};

/// An owner and a team, or neither.
pub(in crate::api) fn user(
    owner: Option<String>,
    team: Option<String>,
) -> Result<Option<(String, String)>, Refusal> {
    match (owner, team) {
        (Some(owner), Some(team)) => Ok(Some((owner, team))),
        (None, None) => Ok(None),
        _ => Err(Refusal::new(ProblemKind::Invalid, "`owner` and `team` are given together, or neither is")),
    }
}

pub(in crate::api) fn simulation_question(request: SimulationRequest) -> Result<SimulationQuestion, Refusal> {
    let with = request.with_hosts.into_iter().map(|added| AddedHosts {
        profile: added.profile,
        count: added.count,
        labels: added.labels,
    });
    Ok(SimulationQuestion {
        count: request.count,
        user: user(request.owner, request.team)?,
        with: with.collect(),
        without: request.without_hosts,
        cost_function: request.cost_function,
    })
}

pub(in crate::api) fn simulation_of(answer: &SimulationAnswer) -> Simulation {
    let hosts = answer.hosts.iter().map(|host| SimulatedHost {
        host: host.name.clone(),
        new: host.is_new,
        vms: host.vms,
    });
    Simulation {
        asked: answer.simulation.asked,
        fit: answer.simulation.hosts.len(),
        cost_increase: finite(answer.simulation.cost),
        hosts: hosts.collect(),
        decision: answer.decision.as_ref().map(explanation_of),
        stopped_by: answer.simulation.stopped_by.as_ref().map(explanation_of),
    }
}

pub(in crate::api) fn comparison_of(comparison: &service::Comparison) -> Comparison {
    let view = &comparison.view;
    Comparison {
        vm: view.vm.id,
        name: view.vm.name.clone(),
        host: comparison.host.clone(),
        placed_on: view.host.as_ref().map(|(_, name)| name.clone()),
        then: comparison.then.as_ref().map(judgement_of),
        now: judgement_of(&comparison.now),
    }
}

fn judgement_of(judgement: &service::Judgement) -> Judgement {
    let chosen = judgement.chosen.as_ref();
    let host = judgement.host.as_ref();
    Judgement {
        at: judgement.at.into(),
        by: rule_word(judgement.rule).to_owned(),
        host: host.map(|host| verdict_of(host, chosen.is_some_and(|chosen| chosen.host == host.host))),
        chosen: chosen.map(|chosen| verdict_of(chosen, true)),
    }
}

pub(in crate::api) fn cost_evaluation_of(
    evaluation: &reeve_scheduler::CostEvaluation,
    setup: &SetupName,
) -> CostEvaluation {
    let attributes = evaluation.attributes.iter().map(|value| AttributeValue {
        attribute: value.name.clone(),
        before: finite(value.before),
        after: finite(value.after),
    });
    CostEvaluation {
        cost_function: evaluation.cost_function.clone(),
        host: evaluation.name.clone(),
        setup: setup.clone(),
        by: rule_word(evaluation.rule).to_owned(),
        attributes: attributes.collect(),
        terms: evaluation.terms.iter().map(term_of).collect(),
        before: finite(evaluation.before),
        after: finite(evaluation.after),
        increase: finite(evaluation.increase),
    }
}
