//! Owns the commands that switch hosts off, or state that they are off.

use std::time::Duration;

use reeve_common::ids::HostName;

use super::Run;
use crate::api::types::{Fence, FenceState};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::show;

/// How often it is asked how far a fencing is.
const LOOK_INTERVAL: Duration = Duration::from_millis(300);

impl Run<'_> {
    pub(super) async fn fence_host(&mut self, name: &HostName, dry_run: bool) -> Result<Exit, Failure> {
        if dry_run {
            let trial = self.client.try_fence(name).await?;
            self.print(&show::fence::trial(&self.screen, &trial))?;
            return Ok(if trial.is_on.is_some() { Exit::Done } else { Exit::Failed });
        }
        let begun = self.client.fence_host(name).await?;
        let command = begun.command.as_deref().unwrap_or_default();
        self.remark(&format!("host {name} is being fenced with {command}\n"));
        let fence = self.wait_for_fence(name, begun).await?;
        self.print(&show::fence::fence(&self.screen, &fence))?;
        Ok(if fence.state == FenceState::Off { Exit::Done } else { Exit::Failed })
    }

    async fn wait_for_fence(&self, name: &HostName, begun: Fence) -> Result<Fence, Failure> {
        let mut fence = begun;
        while !fence.state.is_final() {
            tokio::time::sleep(LOOK_INTERVAL).await;
            let host = self.client.host(name).await?;
            let found = host.fences.into_iter().find(|found| found.number == fence.number);
            fence = found.ok_or_else(|| {
                Failure::new(Exit::Failed, format!("the fencing of host {name} is not known any more"))
            })?;
        }
        Ok(fence)
    }

    pub(super) async fn confirm_off(&mut self, name: &HostName) -> Result<Exit, Failure> {
        let fence = self.client.confirm_off(name).await?;
        self.remark(&format!(
            "recorded: you state that host {name} is off. Its VMs may be started elsewhere from now on; if it is not off after \
             all, they run twice and their disks are lost. Keep it off until you know what became of them\n"
        ));
        self.print(&show::fence::fence(&self.screen, &fence))
    }
}
