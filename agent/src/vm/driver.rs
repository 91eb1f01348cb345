//! Owns how a step is carried out: which call to the hypervisor or the state directory it is, on a thread that may
//! block, and how many such calls run at the same time.
//!
//! Must not: choose steps, or hold a lock while it waits.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use reeve_common::ids::VmId;
use reeve_common::logging::messages;
use reeve_common::mutation::Mutation;
use reeve_common::text::{TEXT_LENGTH_MAX, chain, printable};
use reeve_common::vm::DomainSize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::known::Seen;
use super::lifecycle::Step;
use super::outcome::Outcome;
use super::workers::{BlockingThreads, Work, Workers};
use crate::hypervisor::{Hypervisor, HypervisorError, HypervisorResult, OwnDomain};
use crate::start_gate::StartGate;
use crate::state_directory::{CONSOLE_LENGTH_MAX, StateDirectory, StateError};

/// Ordinary calls to the hypervisor at the same time: libvirtd works on five requests of one client at once, and one
/// is left for whatever else comes along.
pub const CALLS_MAX: usize = 4;

/// Guests being waited for at the same time. These calls take seconds when a guest holds its channel open and does
/// not answer, so they have places of their own and never take one from the calls above.
pub const PINGS_MAX: usize = 2;

/// Volumes being made or removed on command at the same time: filling one may take minutes, and two at once are no
/// faster on one disk.
pub const STORAGE_CALLS_MAX: usize = 1;

/// Threads that may block at the same time: the calls above, the state directory's writers (one works, one waits),
/// and the sampler.
pub const BLOCKING_THREADS_MAX: usize = CALLS_MAX + PINGS_MAX + STORAGE_CALLS_MAX + 3;

/// The kinds of calls that have places of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallKind {
    /// Quick.
    Ordinary,
    /// Waits for a guest.
    Ping,
    /// Works on a volume.
    Storage,
}

/// What was seen of one VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// Of its life.
    pub seen: Seen,
    /// What it may take, if it is there and ours.
    pub size: Option<DomainSize>,
}

impl Look {
    fn of(domain: OwnDomain) -> Self {
        let OwnDomain { vm, name, state, vcpus, memory, ledger } = domain;
        let size = Some(DomainSize { vm, name, vcpus, memory });
        Self { seen: Seen::Present { state, ledger }, size }
    }
}

/// Carries out steps.
#[derive(Debug, Clone)]
pub struct Driver {
    hypervisor: Arc<dyn Hypervisor>,
    state: Arc<StateDirectory>,
    workers: Arc<dyn Workers>,
    calls: Arc<Semaphore>,
    pings: Arc<Semaphore>,
    storage_calls: Arc<Semaphore>,
    gate: StartGate,
}

impl Driver {
    /// A driver for this hypervisor and this state directory.
    #[must_use]
    pub fn new(hypervisor: Arc<dyn Hypervisor>, state: Arc<StateDirectory>) -> Self {
        Self::with_workers(hypervisor, state, Arc::new(BlockingThreads))
    }

    /// The same, with others to carry out what blocks.
    #[must_use]
    pub fn with_workers(
        hypervisor: Arc<dyn Hypervisor>,
        state: Arc<StateDirectory>,
        workers: Arc<dyn Workers>,
    ) -> Self {
        Self {
            hypervisor,
            state,
            workers,
            calls: Arc::new(Semaphore::new(CALLS_MAX)),
            pings: Arc::new(Semaphore::new(PINGS_MAX)),
            storage_calls: Arc::new(Semaphore::new(STORAGE_CALLS_MAX)),
            gate: StartGate::default(),
        }
    }

    /// The gate that every start goes through.
    #[must_use]
    pub const fn gate(&self) -> &StartGate {
        &self.gate
    }

    /// Runs one call to the hypervisor when its kind has a place free.
    ///
    /// # Errors
    /// The call's own.
    pub async fn call<T, F>(&self, kind: CallKind, work: F) -> HypervisorResult<T>
    where
        T: Send + 'static,
        F: FnOnce(&dyn Hypervisor) -> HypervisorResult<T> + Send + 'static,
    {
        let hypervisor = Arc::clone(&self.hypervisor);
        let permit = self.permit(kind).await;
        self.run_blocking(Work::Hypervisor(kind), move || {
            let result = work(hypervisor.as_ref());
            // The place is kept as long as the call runs, also when nobody waits for its answer any more.
            drop(permit);
            result
        })
        .await
        .unwrap_or_else(|why| Err(HypervisorError::Failed { doing: "the call", why }))
    }

    /// Writes to, or reads from, the state directory.
    ///
    /// # Errors
    /// The directory's own.
    pub async fn remember<T, F>(&self, work: F) -> Result<T, StateError>
    where
        T: Send + 'static,
        F: FnOnce(&StateDirectory) -> Result<T, StateError> + Send + 'static,
    {
        let state = Arc::clone(&self.state);
        self.run_blocking(Work::Memory, move || work(&state)).await.unwrap_or_else(|why| {
            Err(StateError::Io {
                doing: "using",
                path: "the state directory".into(),
                source: std::io::Error::other(why),
            })
        })
    }

    /// What the hypervisor says of one VM now.
    pub async fn look(&self, vm: VmId) -> Look {
        let looked = self.call(CallKind::Ordinary, move |hypervisor| {
            if let Some(domain) = hypervisor.domain(vm)? {
                return Ok(Look::of(domain));
            }
            let others = hypervisor.domains()?.foreign;
            if others.iter().any(|foreign| foreign.id == vm) {
                log::warn!(MESSAGE_ID:% = messages::FOREIGN_DOMAIN_IN_THE_WAY, REEVE_VM:% = vm;
                    "the domain {vm} carries a VM's id and no readable ledger");
                return Ok(Look { seen: Seen::NotOurs, size: None });
            }
            Ok(Look { seen: Seen::Absent, size: None })
        });
        looked.await.unwrap_or_else(|error| {
            log::debug!(REEVE_VM:% = vm; "{vm} cannot be looked at: {error}");
            let seen = if Mutation::UnknownIsAbsent.is_active() { Seen::Absent } else { Seen::Unknown };
            Look { seen, size: None }
        })
    }

    /// Carries out one step that has an effect.
    pub async fn perform(&self, vm: VmId, step: &Step) -> Outcome {
        match step.clone() {
            Step::RecordPreparation(preparation) => {
                state_outcome(step, self.remember(move |state| state.prepare(preparation)).await)
            }
            Step::CreateDisk(spec) => {
                self.ordinary(step, move |hypervisor| hypervisor.create_system_disk(&spec)).await
            }
            Step::Define(spec, ledger) => {
                self.ordinary(step, move |hypervisor| hypervisor.define(vm, &spec, &ledger)).await
            }
            Step::WriteLedger(ledger) => {
                self.ordinary(step, move |hypervisor| hypervisor.write_ledger(vm, &ledger)).await
            }
            Step::Start => {
                let gate = self.gate.clone();
                self.ordinary(step, move |hypervisor| {
                    // Here, where nothing lies between the question and the act.
                    let passage = gate.pass();
                    let _passage =
                        passage.map_err(|why| HypervisorError::Failed { doing: "starting it", why })?;
                    hypervisor.start(vm)
                })
                .await
            }
            Step::Ping(patience) => self.ping(vm, patience).await,
            Step::AskShutdown => self.ordinary(step, move |hypervisor| hypervisor.shutdown(vm)).await,
            Step::Destroy => self.ordinary(step, move |hypervisor| hypervisor.destroy(vm)).await,
            Step::SaveConsole => self.save_console(vm, step).await,
            Step::DeleteDisk(_) if Mutation::ForgetDisk.is_active() => Outcome::Done,
            Step::WriteTombstone(_) if Mutation::ForgetTombstone.is_active() => Outcome::Done,
            Step::DeleteDisk((pool, volume)) => {
                self.ordinary(step, move |hypervisor| {
                    // A pool that is gone took the disk with it.
                    not_found_is_done(hypervisor.delete_volume(&pool, &volume))
                })
                .await
            }
            Step::WriteTombstone(tombstone) => {
                state_outcome(step, self.remember(move |state| state.bury(tombstone)).await)
            }
            Step::Undefine => {
                self.ordinary(step, move |hypervisor| not_found_is_done(hypervisor.undefine(vm))).await
            }
            Step::Release => self.ordinary(step, move |hypervisor| hypervisor.release(vm)).await,
            Step::Wait(_) | Step::GiveUp(_) | Step::Settle(_) | Step::Done => Outcome::Done,
        }
    }

    async fn ordinary<F>(&self, step: &Step, work: F) -> Outcome
    where
        F: FnOnce(&dyn Hypervisor) -> HypervisorResult<()> + Send + 'static,
    {
        hypervisor_outcome(step, self.call(CallKind::Ordinary, work).await)
    }

    async fn ping(&self, vm: VmId, patience: Duration) -> Outcome {
        if patience.is_zero() {
            return Outcome::Answered(false);
        }
        let asked = self.call(CallKind::Ping, move |hypervisor| hypervisor.guest_ping(vm, patience));
        Outcome::Answered(asked.await.unwrap_or(false))
    }

    async fn save_console(&self, vm: VmId, step: &Step) -> Outcome {
        let read =
            self.call(CallKind::Ordinary, move |hypervisor| hypervisor.console(vm, CONSOLE_LENGTH_MAX));
        match read.await {
            Ok(output) if output.is_empty() => Outcome::Done,
            Ok(output) => {
                state_outcome(step, self.remember(move |state| state.save_console(vm, &output)).await)
            }
            Err(error) => hypervisor_outcome(step, Err(error)),
        }
    }

    /// Has `job` done where it may block. `Err`: it panicked, or the agent is ending.
    async fn run_blocking<T: Send + 'static>(
        &self,
        work: Work,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, String> {
        let (sender, answer) = oneshot::channel();
        self.workers.give(
            work,
            Box::new(move || {
                // Whoever asked may be gone; the job is done all the same.
                let _ = sender.send(job());
            }),
        );
        answer.await.map_err(|_| "it panicked, or the agent is ending".to_owned())
    }

    async fn permit(&self, kind: CallKind) -> Option<OwnedSemaphorePermit> {
        let places = match kind {
            CallKind::Ordinary => &self.calls,
            CallKind::Ping => &self.pings,
            CallKind::Storage => &self.storage_calls,
        };
        // The semaphores are never closed; without a permit the call would only be unbounded.
        Arc::clone(places).acquire_owned().await.ok()
    }
}

fn not_found_is_done(result: HypervisorResult<()>) -> HypervisorResult<()> {
    match result {
        Err(HypervisorError::NotFound { .. }) => Ok(()),
        other => other,
    }
}

fn hypervisor_outcome(step: &Step, result: HypervisorResult<()>) -> Outcome {
    match result {
        Ok(()) => Outcome::Done,
        Err(error) => failed(step, &error, error.is_retryable()),
    }
}

/// A full or failing disk may be repaired; what could not be recorded is tried again.
fn state_outcome(step: &Step, result: Result<(), StateError>) -> Outcome {
    match result {
        Ok(()) => Outcome::Done,
        Err(error) => failed(step, &error, true),
    }
}

fn failed(step: &Step, error: &dyn Error, retryable: bool) -> Outcome {
    let why = printable(&format!("{}: {}", step.doing(), chain(error)), TEXT_LENGTH_MAX);
    Outcome::Failed { why, retryable }
}

#[cfg(test)]
#[path = "driver_tests.rs"]
mod tests;
