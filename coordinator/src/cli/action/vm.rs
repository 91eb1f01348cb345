//! Owns the commands about VMs.

use std::time::Duration;

use reeve_common::ids::ConfigurationName;

use super::Run;
use super::fleet::took;
use super::wait::Goal;
use crate::api::types::{ShutdownRequest, Vm, VmDetail, VmState};
use crate::cli::arguments::{Format, VmCommand, Waiting};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::screen::json;
use crate::cli::selector::VmSelector;
use crate::cli::show;

impl Run<'_> {
    pub(super) async fn vm(&mut self, command: VmCommand) -> Result<Exit, Failure> {
        match command {
            VmCommand::Start { configurations, waiting } => self.start(configurations, waiting).await,
            VmCommand::Shutdown { vms, grace, waiting } => self.shutdown(vms, grace, waiting).await,
            VmCommand::Destroy { vms, waiting } => self.destroy(vms, waiting).await,
            VmCommand::RestartElsewhere { vms } => self.restart_elsewhere(&vms).await,
            VmCommand::List { unmanaged: true } => self.unmanaged().await,
            VmCommand::Adopt(arguments) => self.adopt(arguments).await,
            VmCommand::Release { vms } => self.release(&vms).await,
            VmCommand::List { unmanaged: false } => {
                let vms = self.client.vms().await?;
                self.print(&show::vm::vms(&self.screen, &vms))
            }
            VmCommand::Past => {
                let vms = self.client.past_vms().await?;
                self.print(&show::vm::past_vms(&self.screen, &vms))
            }
            VmCommand::Show { vm } => {
                let detail = self.client.vm(&vm).await?;
                self.print(&show::vm::vm(&self.screen, &detail))
            }
            VmCommand::Why { vm, host } => self.why(&vm, &host).await,
            VmCommand::Logs { vm, console, part } => self.vm_logs(&vm, console, &part).await,
        }
    }

    async fn start(
        &mut self,
        configurations: Vec<ConfigurationName>,
        waiting: Waiting,
    ) -> Result<Exit, Failure> {
        let mut exits = Vec::new();
        let mut asked: Vec<VmDetail> = Vec::new();
        for answer in self.ask_for_starts(&configurations).await? {
            match answer {
                Ok(detail) => asked.push(detail),
                Err(failure) => exits.push(self.tell(&failure)),
            }
        }
        let waits = if waiting.no_wait {
            asked.iter().map(|detail| Ok(detail.vm.clone())).collect()
        } else {
            let vms = asked.iter().map(|detail| detail.vm.clone()).collect();
            self.wait(vms, Goal::Registered, waiting.timeout).await
        };
        let mut ended = Vec::new();
        for (mut detail, result) in asked.into_iter().zip(waits) {
            let timed_out = match result {
                Ok(vm) => {
                    detail.vm = vm;
                    None
                }
                Err(failure) => Some(self.tell(&failure)),
            };
            // Its history and decision as they are now, if they can be had: what was seen last is true as well.
            if !waiting.no_wait
                && let Ok(now) = self.client.vm(&detail.vm.id.into()).await
            {
                detail = now;
            }
            let exit = match timed_out {
                Some(exit) => exit,
                None => self.report_start(&detail)?,
            };
            exits.push(exit);
            ended.push(detail);
        }
        if self.screen.format == Format::Json {
            self.print(&json(&ended))?;
        }
        Ok(Exit::of_several(exits))
    }

    /// Asks for the VMs: several of them together, since then they are planned together.
    async fn ask_for_starts(
        &self,
        configurations: &[ConfigurationName],
    ) -> Result<Vec<Result<VmDetail, Failure>>, Failure> {
        if let [configuration] = configurations {
            return Ok(vec![self.client.start_vm(configuration).await]);
        }
        let outcomes = self.client.start_vms(configurations).await?;
        let answers = outcomes.into_iter().map(|outcome| match (outcome.vm, outcome.problem) {
            (Some(detail), _) => Ok(detail),
            (None, Some(problem)) => Err(problem.into()),
            (None, None) => Err(Failure::new(
                Exit::Failed,
                format!("the coordinator did not say what became of {}", outcome.configuration),
            )
            .advise("`reeve vm list` shows whether it was started")),
        });
        Ok(answers.collect())
    }

    /// Says where a VM that was started is and why, or why it is nowhere.
    fn report_start(&mut self, detail: &VmDetail) -> Result<Exit, Failure> {
        let vm = &detail.vm;
        let decision = detail.decision.as_ref().map(|decision| show::explanation::why(&decision.explanation));
        let why = decision.unwrap_or_default();
        match vm.state {
            VmState::Unplaceable => {
                let message = format!("{} has no place: {why}", vm.name);
                let advice = format!(
                    "it is tried again when the fleet changes; `reeve vm destroy {}` gives it up",
                    vm.name
                );
                Ok(self.tell(&Failure::new(Exit::Unplaceable, message).advise(advice)))
            }
            VmState::Failed | VmState::Stopped => Ok(self.tell(&ended_early(vm))),
            _ if self.screen.format == Format::Json => Ok(Exit::Done),
            _ if self.screen.quiet => self.print(&format!("{}\n", vm.id)),
            _ => {
                let since = vm.registered_at.map(|at| format!(" after {}", took(vm.requested_at, at)));
                let host = vm.host.as_ref().map_or_else(String::new, |host| format!(" on {host}"));
                let state = vm.state.as_str();
                self.print(&format!("{}: {state}{host}{}; {why}\n", vm.name, since.unwrap_or_default()))
            }
        }
    }

    async fn shutdown(
        &mut self,
        vms: Vec<VmSelector>,
        grace: Option<Duration>,
        waiting: Waiting,
    ) -> Result<Exit, Failure> {
        let grace = grace.map(|grace| format!("{} ms", grace.as_millis()));
        let request = ShutdownRequest { grace };
        let mut answers = Vec::new();
        for vm in &vms {
            answers.push(self.client.shutdown_vm(vm, &request).await);
        }
        self.see_them_go(answers, waiting).await
    }

    async fn destroy(&mut self, vms: Vec<VmSelector>, waiting: Waiting) -> Result<Exit, Failure> {
        let mut answers = Vec::new();
        for vm in &vms {
            answers.push(self.client.destroy_vm(vm).await);
        }
        self.see_them_go(answers, waiting).await
    }

    async fn restart_elsewhere(&mut self, vms: &[VmSelector]) -> Result<Exit, Failure> {
        let mut exits = Vec::new();
        let mut restarted = Vec::new();
        for vm in vms {
            match self.client.restart_elsewhere(vm).await {
                Ok(vm) => restarted.push(vm),
                Err(failure) => exits.push(self.tell(&failure)),
            }
        }
        if !restarted.is_empty() || self.screen.format == Format::Json {
            self.print(&show::vm::vms(&self.screen, &restarted))?;
        }
        Ok(Exit::of_several(exits))
    }

    pub(super) async fn see_them_go(
        &mut self,
        answers: Vec<Result<Vm, Failure>>,
        waiting: Waiting,
    ) -> Result<Exit, Failure> {
        let mut exits = Vec::new();
        let mut going = Vec::new();
        for answer in answers {
            match answer {
                Ok(vm) => going.push(vm),
                Err(failure) => exits.push(self.tell(&failure)),
            }
        }
        let mut last_seen = going.clone();
        let results = if waiting.no_wait {
            going.into_iter().map(Ok).collect()
        } else {
            self.wait(going, Goal::Gone, waiting.timeout).await
        };
        for (result, last) in results.into_iter().zip(&mut last_seen) {
            match result {
                Ok(vm) => {
                    exits.push(self.report_end(&vm)?);
                    *last = vm;
                }
                Err(failure) => exits.push(self.tell(&failure)),
            }
        }
        if self.screen.format == Format::Json {
            self.print(&json(&last_seen))?;
        }
        Ok(Exit::of_several(exits))
    }

    fn report_end(&mut self, vm: &Vm) -> Result<Exit, Failure> {
        match vm.state {
            VmState::Failed => Ok(self.tell(&ended_early(vm))),
            _ if self.screen.format == Format::Json => Ok(Exit::Done),
            _ if self.screen.quiet => self.print(&format!("{}\n", vm.id)),
            _ => {
                let reason = vm.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
                let reason = reeve_common::text::printable(&reason, reeve_common::text::TEXT_LENGTH_MAX);
                self.print(&format!("{}: {}{reason}\n", vm.name, vm.state.as_str()))
            }
        }
    }
}

/// A VM that is over and should not be, or not like this.
fn ended_early(vm: &Vm) -> Failure {
    let host = vm.host.as_ref().map_or_else(String::new, |host| format!(" on {host}"));
    let reason = vm.reason.as_deref().unwrap_or("for no reason given");
    Failure::new(Exit::Failed, format!("{} {}{host}: {reason}", vm.name, vm.state.as_str()))
        .advise(format!("`reeve vm logs {}` shows what happened", vm.name))
}
