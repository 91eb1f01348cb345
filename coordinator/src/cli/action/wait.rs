//! Owns waiting for VMs to get somewhere. Each is asked about by a long question of its own; a coordinator that is
//! away for a moment is asked again until the time is up.

use std::time::Duration;

use reeve_common::units::format_duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Run;
use crate::api::types::{Vm, VmState};
use crate::cli::client::Client;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::progress::Progress;

/// How long the coordinator may hold one question back. Well below its own limit on a request.
pub(super) const QUESTION_AT_MOST: Duration = Duration::from_secs(20);

/// How long to wait before a coordinator that did not answer is asked again.
pub(super) const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    /// The guest has registered; or it is clear that it will not for now.
    Registered,
    /// Nothing is left of it on its host.
    Gone,
    /// It was adopted; or it is clear that it was not.
    TakenIn,
}

impl Goal {
    const fn is_reached(self, vm: &Vm) -> bool {
        match self {
            Self::Registered => {
                matches!(vm.state, VmState::Running | VmState::Unplaceable) || vm.state.is_final()
            }
            Self::Gone => vm.state.is_final(),
            Self::TakenIn => matches!(vm.state, VmState::Running | VmState::Paused) || vm.state.is_final(),
        }
    }
}

enum News {
    Changed(usize, Box<Vm>),
    Silent(usize, String),
}

impl Run<'_> {
    /// Waits for each of `vms`, showing how they get on; returns them in their order, as they were at the end.
    pub(super) async fn wait(
        &mut self,
        vms: Vec<Vm>,
        goal: Goal,
        timeout: Duration,
    ) -> Vec<Result<Vm, Failure>> {
        let until = Instant::now() + timeout;
        let mut progress = Progress::new(self.progress, vms.len());
        let (news, mut all_news) = mpsc::unbounded_channel();
        let mut waits = JoinSet::new();
        let mut results: Vec<Option<Result<Vm, Failure>>> = vms.iter().map(|_| None).collect();
        for (index, vm) in vms.into_iter().enumerate() {
            progress.changed(index, &vm, self.err);
            let wait = Wait { client: self.client.clone(), index, goal, until, timeout, news: news.clone() };
            waits.spawn(async move { (index, wait.run(vm).await) });
        }
        drop(news);
        while let Some(news) = all_news.recv().await {
            match news {
                News::Changed(index, vm) => progress.changed(index, &vm, self.err),
                News::Silent(index, why) => progress.say(index, &why, self.err),
            }
        }
        while let Some(ended) = waits.join_next().await {
            if let Ok((index, result)) = ended
                && let Some(place) = results.get_mut(index)
            {
                *place = Some(result);
            }
        }
        progress.finish();
        let lost = || Err(Failure::new(Exit::Failed, "the wait broke off"));
        results.into_iter().map(|result| result.unwrap_or_else(lost)).collect()
    }
}

struct Wait {
    client: Client,
    index: usize,
    goal: Goal,
    until: Instant,
    timeout: Duration,
    news: mpsc::UnboundedSender<News>,
}

impl Wait {
    async fn run(self, mut vm: Vm) -> Result<Vm, Failure> {
        let mut known = vm.version;
        loop {
            if self.goal.is_reached(&vm) {
                return Ok(vm);
            }
            let left = self.until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(self.timed_out(&vm));
            }
            match self.client.vm_changed(vm.id, known, left.min(QUESTION_AT_MOST)).await {
                Ok(now) => {
                    known = now.version;
                    vm = now;
                    // The receiver outlives every wait.
                    let _ = self.news.send(News::Changed(self.index, Box::new(vm.clone())));
                }
                Err(failure) if failure.exit == Exit::Unreachable => {
                    let why = format!("{}: {}; asking again", vm.name, failure.message);
                    let _ = self.news.send(News::Silent(self.index, why));
                    tokio::time::sleep(RETRY_PAUSE.min(left)).await;
                    // Whatever happened meanwhile is news.
                    known = 0;
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    fn timed_out(&self, vm: &Vm) -> Failure {
        let host = vm.host.as_ref().map_or_else(String::new, |host| format!(" on {host}"));
        let timeout = format_duration(self.timeout);
        Failure::new(
            Exit::TimedOut,
            format!("{} is still {}{host} after {timeout}", vm.name, vm.state.as_str()),
        )
        .advise(format!("it goes on by itself: `reeve vm show {}` says how far it is", vm.name))
    }
}
