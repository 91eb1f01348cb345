//! Owns the commands about workflows, and the emptying of hosts, which is one.

use std::time::Duration;

use reeve_common::ids::HostName;
use reeve_common::units::format_duration;
use tokio::time::Instant;

use super::Run;
use super::wait::{QUESTION_AT_MOST, RETRY_PAUSE};
use crate::api::types::{DrainRequest, Workflow, WorkflowState};
use crate::cli::arguments::{Waiting, WorkflowCommand};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::progress::Progress;
use crate::cli::show;

impl Run<'_> {
    pub(super) async fn workflow(&mut self, command: WorkflowCommand) -> Result<Exit, Failure> {
        let workflow = match command {
            WorkflowCommand::List => {
                let workflows = self.client.workflows().await?;
                return self.print(&show::workflow::workflows(&self.screen, &workflows));
            }
            WorkflowCommand::Show { id } => self.client.workflow(id).await?,
            WorkflowCommand::Cancel { id } => self.client.cancel_workflow(id).await?,
        };
        self.print(&show::workflow::workflow(&self.screen, &workflow))
    }

    /// Empties a host, or ends that, and waits until it is over.
    pub(super) async fn drain(
        &mut self,
        name: &HostName,
        grace: Option<Duration>,
        cancel: bool,
        waiting: Waiting,
    ) -> Result<Exit, Failure> {
        let begun = if cancel {
            self.client.cancel_drain(name).await?
        } else {
            let grace = grace.map(|grace| format!("{} ms", grace.as_millis()));
            self.client.drain_host(name, &DrainRequest { grace }).await?
        };
        let wanted = if cancel { WorkflowState::Undone } else { WorkflowState::Done };
        let (workflow, mut exit) = if waiting.no_wait {
            (begun, Exit::Done)
        } else {
            self.wait_for_workflow(begun, waiting.timeout).await?
        };
        if exit == Exit::Done && workflow.state.is_over() && workflow.state != wanted {
            let why = workflow.problem.clone().unwrap_or_default();
            let failure = Failure::new(
                Exit::Failed,
                format!("workflow {} is {}: {why}", workflow.id, workflow.state.as_str()),
            );
            exit = self.tell(&failure);
        }
        self.print(&show::workflow::workflow(&self.screen, &workflow))?;
        if exit == Exit::Done && workflow.state == WorkflowState::Done {
            self.remark(&format!(
                "host {name} is empty; `reeve host undrain {name}` lets it be chosen again\n"
            ));
        }
        Ok(exit)
    }

    /// Waits until nothing more happens by itself, showing how it gets on.
    async fn wait_for_workflow(
        &mut self,
        mut workflow: Workflow,
        timeout: Duration,
    ) -> Result<(Workflow, Exit), Failure> {
        let until = Instant::now() + timeout;
        let mut progress = Progress::new(self.progress, 1);
        let mut known = workflow.version;
        while !workflow.state.is_over() {
            progress.say(0, &show::workflow::progress(&workflow), self.err);
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                progress.finish();
                let failure = Failure::new(
                    Exit::TimedOut,
                    format!(
                        "workflow {} is still {} after {}",
                        workflow.id,
                        workflow.state.as_str(),
                        format_duration(timeout)
                    ),
                )
                .advise(format!(
                    "it goes on by itself: `reeve workflow show {}` says how far it is",
                    workflow.id
                ));
                let exit = self.tell(&failure);
                return Ok((workflow, exit));
            }
            match self.client.workflow_changed(workflow.id, known, left.min(QUESTION_AT_MOST)).await {
                Ok(now) => {
                    known = now.version;
                    workflow = now;
                }
                Err(failure) if failure.exit == Exit::Unreachable => {
                    progress.say(0, &format!("{}; asking again", failure.message), self.err);
                    tokio::time::sleep(RETRY_PAUSE.min(left)).await;
                    // Whatever happened meanwhile is news.
                    known = 0;
                }
                Err(failure) => {
                    progress.finish();
                    return Err(failure);
                }
            }
        }
        progress.say(0, &show::workflow::progress(&workflow), self.err);
        progress.finish();
        Ok((workflow, Exit::Done))
    }
}
