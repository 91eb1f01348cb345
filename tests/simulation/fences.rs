//! Owns what stands for a fence command in a simulation: it switches a host off and says so, or does not, or does not say
//! so, or lies.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reeve_common::ids::HostName;
use reeve_coordinator::config::FenceMeans;
use reeve_coordinator::fencing::{FenceAction, FenceCommands, FenceRun, RunFuture};
use reeve_coordinator::model::fence::Ended;
use tokio::time::sleep;

use super::chance::Chance;
use super::freeze::Freezer;
use super::machine::Machine;
use super::network::Number;
use super::park::Park;
use super::trace::Place;

/// How the command that fences a host behaves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FenceManner {
    /// It does what it says.
    #[default]
    Honest,
    /// It says that it cannot.
    Fails,
    /// It does not end in time, and has switched the host off or not.
    Hangs {
        /// Whether it has.
        off: bool,
    },
    /// It says that it has, and its status says that the host is on, which is so.
    WithoutEffect,
    /// It says that the host is off, and the host is on.
    Lies,
    /// It says that the host is off, which it is a few seconds later.
    Late,
}

impl FenceManner {
    /// Those that are not honest.
    pub const FAULTS: [Self; 6] = [
        Self::Fails,
        Self::Hangs { off: true },
        Self::Hangs { off: false },
        Self::WithoutEffect,
        Self::Lies,
        Self::Late,
    ];
}

/// The fence commands of one life of a coordinator.
pub struct SimulatedFences {
    /// Whose.
    pub coordinator: Number,
    /// All hosts.
    pub park: Park,
    /// How long things take.
    pub chance: Mutex<Chance>,
    /// Whether that life is over.
    pub dead: Arc<AtomicBool>,
    /// Whether its process is stopped.
    pub freezer: Freezer,
}

impl std::fmt::Debug for SimulatedFences {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("SimulatedFences").finish_non_exhaustive()
    }
}

impl FenceCommands for SimulatedFences {
    fn run<'a>(&'a self, means: &'a FenceMeans, host: &'a HostName, action: FenceAction) -> RunFuture<'a> {
        Box::pin(async move {
            let ended = self.perform(means, host, action).await;
            // Who is stopped learns of it when it goes on, and who is dead never does.
            self.freezer.until_thawed().await;
            if self.dead.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
            FenceRun { ended, output: String::new() }
        })
    }
}

impl SimulatedFences {
    fn takes(&self, milliseconds: std::ops::RangeInclusive<u64>) -> Duration {
        self.chance.lock().unwrap_or_else(PoisonError::into_inner).milliseconds(milliseconds)
    }

    async fn perform(&self, means: &FenceMeans, host: &HostName, action: FenceAction) -> Ended {
        let Some(machine) = self.park.named(host) else {
            return Ended::NotStarted("there is no such machine".to_owned());
        };
        let manner = machine.fence_manner();
        match action {
            FenceAction::Off => self.switch_off(&machine, manner, means.timeout).await,
            FenceAction::Status => {
                sleep(self.takes(50..=600)).await;
                if !machine.is_powered() {
                    return Ended::Exit(2);
                }
                if !matches!(manner, FenceManner::Lies | FenceManner::Late) {
                    return Ended::Exit(0);
                }
                machine.trace.note(Place::Host(machine.host), "is said to be off, and is on", None);
                machine.lied_about(self.coordinator);
                Ended::Exit(2)
            }
        }
    }

    async fn switch_off(&self, machine: &Arc<Machine>, manner: FenceManner, limit: Duration) -> Ended {
        sleep(self.takes(200..=2500)).await;
        match manner {
            FenceManner::Honest => {
                machine.be_fenced();
                Ended::Exit(0)
            }
            FenceManner::Fails => Ended::Exit(1),
            FenceManner::Hangs { off } => {
                if off {
                    machine.be_fenced();
                }
                sleep(limit).await;
                Ended::TimedOut
            }
            FenceManner::WithoutEffect | FenceManner::Lies => Ended::Exit(0),
            FenceManner::Late => {
                let (machine, later) = (Arc::clone(machine), self.takes(1500..=5000));
                tokio::spawn(async move {
                    sleep(later).await;
                    machine.be_fenced();
                });
                Ended::Exit(0)
            }
        }
    }
}
