//! Owns the commands about what would be: `setup simulate`, `vm why` and `cost explain`.

use reeve_common::ids::{CostFunctionName, HostName};

use super::Run;
use crate::api::types::SimulationRequest;
use crate::cli::arguments::{CostExplainArguments, SimulateArguments};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::selector::VmSelector;
use crate::cli::show;

impl Run<'_> {
    pub(super) async fn simulate(&mut self, arguments: SimulateArguments) -> Result<Exit, Failure> {
        let SimulateArguments { name, count, with_hosts, without_hosts, cost, owner, team, terms } =
            arguments;
        if count.is_none() && with_hosts.is_empty() && without_hosts.is_empty() && cost.is_none() {
            let user = owner.as_deref().zip(team.as_deref());
            let explanation = self.client.simulate_one(&name, user).await?;
            self.print(&show::explanation::simulation(&self.screen, &explanation, terms))?;
            return Ok(if explanation.chosen.is_some() { Exit::Done } else { Exit::Unplaceable });
        }
        let request = SimulationRequest {
            count: count.unwrap_or(1),
            owner,
            team,
            with_hosts,
            without_hosts,
            cost_function: cost,
        };
        let mut simulation = self.client.simulate(&name, &request).await?;
        if count.is_some() {
            // Who counts is told numbers, also of one.
            simulation.decision = None;
        }
        self.print(&show::simulation::simulation(&self.screen, &simulation, terms))?;
        Ok(if simulation.fit == simulation.asked { Exit::Done } else { Exit::Unplaceable })
    }

    pub(super) async fn why(&mut self, vm: &VmSelector, host: &HostName) -> Result<Exit, Failure> {
        let comparison = self.client.compare(vm, host).await?;
        self.print(&show::simulation::comparison(&self.screen, &comparison))
    }

    pub(super) async fn explain_cost(
        &mut self,
        name: &CostFunctionName,
        arguments: &CostExplainArguments,
    ) -> Result<Exit, Failure> {
        let CostExplainArguments { host, setup, owner, team } = arguments;
        let user = owner.as_deref().zip(team.as_deref());
        let evaluation = self.client.evaluate_cost(name, host, setup, user).await?;
        self.print(&show::simulation::evaluation(&self.screen, &evaluation))
    }
}
