//! Owns the questions about what would be: how many VMs of a setup there is room for, also on a fleet that is not there, and
//! what a cost function says of a host. Nothing is reserved, and the fleet stays as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use reeve_common::ids::{CostFunctionName, HostId, HostName, ProfileName, SetupName};
use reeve_scheduler::{
    CostEvaluation, ExplanationDigest, Fleet, HostsTold, NewHost, Request, SIMULATED_MAX, Simulation, WhatIf,
};

use super::catalogue::{check_labels, find_setup};
use super::core::Core;
use super::{Service, ServiceError};
use crate::config::CoordinatorConfig;
use crate::model::admission;
use crate::model::explanation::HOSTS_KEPT;

/// How many hosts a simulation tells of in full: all of most fleets. Of a larger one nobody would read more, and each takes
/// a KiB of the answer.
const HOSTS_TOLD: HostsTold = HostsTold { feasible: 1000, refused: 1000 };
/// How many VMs are simulated under the lock, each within microseconds. More, or another fleet, are tried on a copy, which
/// takes a large fleet a fifth of a second.
const IN_PLACE_MAX: usize = 1000;
/// How many hosts may be added to a simulation: more would be another data centre.
const HOSTS_ADDED_MAX: usize = 10_000;

/// Whose VM would be asked for: owner and team.
pub type User = (String, String);

/// Hosts that could be bought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddedHosts {
    /// What they are.
    pub profile: ProfileName,
    /// How many.
    pub count: usize,
    /// Their labels.
    pub labels: BTreeMap<String, String>,
}

/// What is to be simulated.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SimulationQuestion {
    /// How many VMs.
    pub count: usize,
    /// Whose they would be.
    pub user: Option<User>,
    /// Hosts that are not there.
    pub with: Vec<AddedHosts>,
    /// Hosts that are left out.
    pub without: Vec<HostName>,
    /// What all hosts are judged by instead.
    pub cost_function: Option<CostFunctionName>,
}

/// What would be.
#[derive(Debug, Clone)]
pub struct SimulationAnswer {
    /// How many VMs fit, and what stops the next one.
    pub simulation: Simulation,
    /// The hosts they would go to, by id.
    pub hosts: Vec<SimulatedHost>,
    /// Where one VM alone would go, told by id; when one was asked for.
    pub decision: Option<ExplanationDigest>,
}

/// A host with what a simulation puts on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimulatedHost {
    /// Its name.
    pub name: HostName,
    /// It was added for the simulation.
    pub is_new: bool,
    /// How many of the VMs go there.
    pub vms: usize,
}

impl Service {
    /// How many VMs of a setup fit and where they go, one after the other as they would be started.
    ///
    /// # Errors
    /// [`ServiceError`] when something named is not there, or too much is asked.
    pub async fn simulate(
        &self,
        name: &SetupName,
        question: SimulationQuestion,
    ) -> Result<SimulationAnswer, ServiceError> {
        if question.count == 0 || question.count > SIMULATED_MAX {
            return Err(ServiceError::invalid(format!(
                "{} VMs cannot be simulated: at least 1 and at most {SIMULATED_MAX}",
                question.count
            )));
        }
        let config = self.config();
        let (request, mut fleet, added) = {
            let mut core = self.core_for_decisions();
            let setup = find_setup(&core, name)?;
            let realm = self.known_realm(&setup.realm)?;
            let (owner, team) = question.user.clone().unwrap_or_default();
            let request = admission::request(&setup, &realm, &owner, &team);
            let changes = what_if(&core, &config, &request, &question)?;
            if changes.is_nothing() && question.count <= IN_PLACE_MAX {
                return Ok(answer(&mut core.fleet, &request, question.count, &BTreeSet::new()));
            }
            let added: BTreeSet<HostName> = changes.with.iter().map(|host| host.name.clone()).collect();
            (request, core.fleet.what_if(&changes), added)
        };
        // Off the threads that serve others: a large fleet takes its time.
        let work = tokio::task::spawn_blocking(move || answer(&mut fleet, &request, question.count, &added));
        work.await.map_err(|error| ServiceError::internal(format!("the simulation broke off: {error}")))
    }

    /// What a cost function says of a host as it stands and a VM of a setup, whether it fits there or not.
    ///
    /// # Errors
    /// [`ServiceError`] when something named is not there.
    pub fn evaluate_cost(
        &self,
        function: &CostFunctionName,
        host: &HostName,
        setup: &SetupName,
        user: Option<User>,
    ) -> Result<CostEvaluation, ServiceError> {
        let config = self.config();
        let function = config
            .cost_functions
            .get(function)
            .ok_or_else(|| ServiceError::not_found("cost function", function, "reeve cost list"))?;
        let core = self.core_for_decisions();
        let setup = find_setup(&core, setup)?;
        let realm = self.known_realm(&setup.realm)?;
        let (owner, team) = user.unwrap_or_default();
        let request = admission::request(&setup, &realm, &owner, &team);
        let host_id = find_host(&core, host)?;
        core.fleet.evaluate(host_id, &request, function).ok_or_else(|| not_in_the_fleet(host))
    }
}

/// The id of a host by its name.
pub(super) fn find_host(core: &Core, name: &HostName) -> Result<HostId, ServiceError> {
    let entry =
        core.host_named(name).ok_or_else(|| ServiceError::not_found("host", name, "reeve host list"))?;
    Ok(entry.kept.value.id)
}

/// A host that has a record and no capacity.
pub(super) fn not_in_the_fleet(host: &HostName) -> ServiceError {
    ServiceError::conflict(format!(
        "nothing can be placed on host {host}: its hardware profile is not in the configuration"
    ))
    .advise(format!("`reeve host show {host}` names the profile"))
}

/// The names in a question looked up.
fn what_if(
    core: &Core,
    config: &CoordinatorConfig,
    request: &Request,
    question: &SimulationQuestion,
) -> Result<WhatIf, ServiceError> {
    let count = question.with.iter().fold(0_usize, |sum, added| sum.saturating_add(added.count));
    if count > HOSTS_ADDED_MAX {
        return Err(ServiceError::invalid(format!(
            "{count} hosts cannot be added: at most {HOSTS_ADDED_MAX}"
        )));
    }
    let cost_function = question.cost_function.as_ref().map(|name| {
        let function = config.cost_functions.get(name);
        function.cloned().ok_or_else(|| ServiceError::not_found("cost function", name, "reeve cost list"))
    });
    let without = question.without.iter().map(|name| find_host(core, name));
    let without = without.collect::<Result<BTreeSet<HostId>, ServiceError>>()?;
    let mut names = NewNames::beside(core.hosts.values().map(|entry| entry.kept.value.name.clone()));
    let mut with = Vec::new();
    for added in &question.with {
        check_labels(&added.labels)?;
        let host = new_host(core, config, request, added)?;
        for _ in 0..added.count {
            with.push(NewHost { name: names.next(&added.profile)?, ..host.clone() });
        }
    }
    Ok(WhatIf { with, without, cost_function: cost_function.transpose()? })
}

/// A host of a profile, still without its own name.
fn new_host(
    core: &Core,
    config: &CoordinatorConfig,
    request: &Request,
    added: &AddedHosts,
) -> Result<NewHost, ServiceError> {
    let profile = config
        .hardware_profiles
        .get(&added.profile)
        .ok_or_else(|| ServiceError::not_found("hardware profile", &added.profile, "reeve profile list"))?;
    let cost_function = config
        .cost_functions
        .get(&profile.cost_function)
        .ok_or_else(|| ServiceError::not_found("cost function", &profile.cost_function, "reeve cost list"))?;
    // The profile does not say what the processor can do; a host of the same kind that is there does.
    let mut alike = core.hosts.values().filter(|entry| entry.kept.value.profile == added.profile);
    let cpu = alike.find_map(|entry| core.fleet.host(entry.kept.value.id)?.cpu.clone());
    let name = HostName::new("new").map_err(|error| ServiceError::internal(error.to_string()))?;
    Ok(NewHost {
        name,
        realm: request.realm.clone(),
        capacity: profile.capacity(),
        cpu,
        labels: added.labels.clone(),
        cost_function: Arc::clone(cost_function),
    })
}

/// Names for hosts that are not there: `new-r750-1` and so on, none of which anybody has.
struct NewNames {
    taken: BTreeSet<HostName>,
    number: usize,
}

impl NewNames {
    fn beside(taken: impl Iterator<Item = HostName>) -> Self {
        Self { taken: taken.collect(), number: 0 }
    }

    fn next(&mut self, profile: &ProfileName) -> Result<HostName, ServiceError> {
        loop {
            self.number += 1;
            let number = self.number;
            // The longest names of profiles leave no room for more.
            let name = HostName::new(format!("new-{profile}-{number}"))
                .or_else(|_| HostName::new(format!("new-{number}")))
                .map_err(|error| ServiceError::internal(error.to_string()))?;
            if !self.taken.contains(&name) {
                return Ok(name);
            }
        }
    }
}

fn answer(
    fleet: &mut Fleet,
    request: &Request,
    count: usize,
    added: &BTreeSet<HostName>,
) -> SimulationAnswer {
    let decision = (count == 1).then(|| {
        let mut digest = fleet.digest(request, HOSTS_TOLD);
        digest.explanation.hosts.sort_by_key(|host| host.host);
        digest
    });
    let simulation = fleet.simulate(request, count, HOSTS_KEPT);
    let mut vms: BTreeMap<HostId, usize> = BTreeMap::new();
    for host in &simulation.hosts {
        *vms.entry(*host).or_default() += 1;
    }
    let hosts = vms.into_iter().filter_map(|(host, vms)| {
        let name = fleet.host(host)?.name.clone();
        Some(SimulatedHost { is_new: added.contains(&name), name, vms })
    });
    let hosts = hosts.collect();
    SimulationAnswer { simulation, hosts, decision }
}
