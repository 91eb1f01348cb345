//! Owns the commands by which domains that nobody manages become VMs, and VMs such domains.

use super::Run;
use super::wait::Goal;
use crate::api::types::{AdoptionRequest, VmState};
use crate::cli::arguments::{AdoptArguments, Format};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::screen::json;
use crate::cli::selector::VmSelector;
use crate::cli::show;

impl Run<'_> {
    pub(super) async fn unmanaged(&mut self) -> Result<Exit, Failure> {
        let domains = self.client.unmanaged_domains().await?;
        self.print(&show::adoption::unmanaged(&self.screen, &domains))
    }

    pub(super) async fn adopt(&mut self, arguments: AdoptArguments) -> Result<Exit, Failure> {
        let AdoptArguments { place, owner, team, project, title, waiting } = arguments;
        let request = AdoptionRequest { domain: place.domain, owner, team, project, title };
        let mut vm = self.client.adopt_vm(&place.host, &request).await?.vm;
        if !waiting.no_wait {
            vm = self
                .wait(vec![vm], Goal::TakenIn, waiting.timeout)
                .await
                .pop()
                .unwrap_or_else(|| Err(Failure::new(Exit::TimedOut, "nothing was heard of it")))?;
        }
        if vm.state == VmState::Failed {
            let reason = vm.reason.as_deref().unwrap_or("for no reason given");
            return Err(Failure::new(Exit::Failed, format!("{} {reason}", vm.name))
                .advise("it runs on as before; `reeve vm list --unmanaged` shows it"));
        }
        if self.screen.format == Format::Json {
            return self.print(&json(&vm));
        }
        if self.screen.quiet {
            return self.print(&format!("{}\n", vm.id));
        }
        let host = vm.host.as_ref().map_or_else(String::new, |host| format!(" on {host}"));
        self.print(&format!("{}: {}{host}, adopted as it runs\n", vm.name, vm.state.as_str()))
    }

    pub(super) async fn release(&mut self, vms: &[VmSelector]) -> Result<Exit, Failure> {
        let mut answers = Vec::new();
        for vm in vms {
            answers.push(self.client.release_vm(vm).await);
        }
        self.see_them_go(answers, crate::cli::arguments::Waiting::BRIEFLY).await
    }
}
