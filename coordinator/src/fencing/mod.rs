//! Owns running fence commands: what they are told, for how long they may run, and what is kept of what they say. They
//! speak the fence-agents convention: options on standard input as `name=value` lines, among them
//! `action=off|on|reboot|status|monitor`; exit status 0 is success, and `status` ends with 0 for on and 2 for off.
//!
//! Must not: judge what came of it (`model::fence` does), or decide who is fenced. Runs unprivileged, as the coordinator.

mod options;
mod output;
mod program;

pub(crate) use self::options::is_secret;

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use reeve_common::ids::HostName;
use reeve_common::mutation::Mutation;

use crate::config::FenceMeans;
use crate::model::fence::{Ended, Next, Verdict, after, judge_off, judge_status};

/// What a fence agent is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FenceAction {
    /// Switch the machine off.
    Off,
    /// Say whether it is on.
    Status,
}

impl FenceAction {
    /// Its name in the convention.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Status => "status",
        }
    }
}

/// One run of a fence command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FenceRun {
    /// How it ended.
    pub ended: Ended,
    /// The end of what it wrote, printable and without secrets.
    pub output: String,
}

/// What a whole fencing has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fencing {
    /// What.
    pub verdict: Verdict,
    /// How often the command was tried.
    pub attempts: u32,
    /// The end of what the last runs wrote.
    pub output: String,
}

/// A run of a fence command that is under way.
pub type RunFuture<'a> = Pin<Box<dyn Future<Output = FenceRun> + Send + 'a>>;

/// Runs fence commands: programs, or in the simulation what stands for them.
pub trait FenceCommands: fmt::Debug + Send + Sync + 'static {
    /// Runs one once. It ends within the time that `means` allows.
    fn run<'a>(&'a self, means: &'a FenceMeans, host: &'a HostName, action: FenceAction) -> RunFuture<'a>;
}

/// Programs of this machine. When the time of one is over, it and all its children are killed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Programs;

impl FenceCommands for Programs {
    fn run<'a>(&'a self, means: &'a FenceMeans, host: &'a HostName, action: FenceAction) -> RunFuture<'a> {
        Box::pin(async move {
            match options::input(means, host, action) {
                Err(why) => FenceRun { ended: Ended::NotStarted(why), output: String::new() },
                Ok(input) => program::run(&means.command, input, means.timeout).await,
            }
        })
    }
}

/// Switches a host off and makes sure of it, with a few attempts.
pub async fn switch_off(commands: &dyn FenceCommands, means: &FenceMeans, host: &HostName) -> Fencing {
    let mut attempts = 0;
    loop {
        attempts += 1;
        let off = commands.run(means, host, FenceAction::Off).await;
        let (verdict, output) = match judge_off(&off.ended) {
            Err(verdict) => (verdict, off.output),
            Ok(()) if Mutation::FenceWithoutStatus.is_active() => (Verdict::Off, off.output),
            Ok(()) => {
                let status = commands.run(means, host, FenceAction::Status).await;
                (judge_status(&status.ended), output::joined(&off.output, &status.output))
            }
        };
        match after(attempts, verdict) {
            Next::End(verdict) => return Fencing { verdict, attempts, output },
            Next::Again { pause } => tokio::time::sleep(pause).await,
        }
    }
}

#[cfg(test)]
mod tests;
