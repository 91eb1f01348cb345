//! Owns whoever uses the simulated coordinator: asks for things, remembers what was acknowledged, and holds the coordinator
//! to it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use reeve_common::ids::{ConfigurationName, HostId, VmId};
use reeve_coordinator::service::{Actor, ServiceError};
use reeve_scheduler::HostState;
use tokio::time::timeout;

use super::checker::Checker;
use super::coordinator::{CoordinatorMachine, Office};
use super::estate::host_name;
use super::trace::{Place, Trace, violated};

/// A request that is not answered for so long by a coordinator that runs never will be.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// A user.
pub struct User {
    coordinator: Arc<CoordinatorMachine>,
    checker: Arc<Checker>,
    trace: Trace,
    known: Mutex<Vec<VmId>>,
}

fn actor() -> Actor {
    Actor { uid: 1000, name: "ann".to_owned() }
}

impl User {
    /// One who has asked for nothing yet.
    #[must_use]
    pub fn new(coordinator: Arc<CoordinatorMachine>, checker: Arc<Checker>, trace: Trace) -> Arc<Self> {
        Arc::new(Self { coordinator, checker, trace, known: Mutex::default() })
    }

    fn known(&self, pick: u64) -> Option<VmId> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let count = u64::try_from(known.len()).ok().filter(|count| *count > 0)?;
        known.get(usize::try_from(pick % count).ok()?).copied()
    }

    /// Starts a VM.
    ///
    /// # Errors
    /// Never.
    pub async fn start(self: Arc<Self>, configuration: &'static str) -> Result<()> {
        let name = ConfigurationName::new(configuration)?;
        let Some(office) = self.coordinator.until_open().await else { return Ok(()) };
        self.trace.tell(Place::User, "starts a VM", configuration);
        let by = actor();
        let asked = office.service.start_vm(&name, &by);
        if let Some(detail) = self.answer(&office, "the start", asked).await {
            let vm = detail.view.vm.id;
            self.trace.tell_vm(Place::User, "is promised", vm, detail.view.vm.state.to_string());
            self.checker.promise_start(vm);
            self.known.lock().unwrap_or_else(PoisonError::into_inner).push(vm);
        }
        Ok(())
    }

    /// Shuts a VM down, or destroys it.
    pub async fn stop(self: Arc<Self>, pick: u64, at_once: bool) {
        let Some(office) = self.coordinator.until_open().await else { return };
        let Some(vm) = self.known(pick) else { return };
        self.trace.note(Place::User, if at_once { "destroys" } else { "shuts down" }, Some(vm));
        // What was asked may be done although the answer is lost.
        self.checker.excuse(vm);
        let by = actor();
        let asked = async {
            if at_once {
                office.service.destroy_vm(&vm, &by).await
            } else {
                office.service.shutdown_vm(&vm, None, &by).await
            }
        };
        if self.answer(&office, "the stop", asked).await.is_some() {
            self.trace.note(Place::User, "is promised the stop of", Some(vm));
            self.checker.promise_stop(vm);
        }
    }

    /// Takes a host out of placement, or takes it back.
    ///
    /// # Errors
    /// Never.
    pub async fn schedule(self: Arc<Self>, host: HostId, schedule: bool) -> Result<()> {
        let name = host_name(host)?;
        let Some(office) = self.coordinator.until_open().await else { return Ok(()) };
        let state = if schedule { HostState::Enabled } else { HostState::NoScheduler };
        self.trace.tell(Place::User, "sets a host", format!("{name} {state}"));
        let by = actor();
        let asked = office.service.set_host_state(&name, state, &by);
        self.answer(&office, "the host's state", asked).await;
        Ok(())
    }

    /// The answer to a request; none when it is a no, or the coordinator dies first: then nobody knows.
    async fn answer<T>(
        &self,
        office: &Office,
        what: &'static str,
        asked: impl Future<Output = Result<T, ServiceError>>,
    ) -> Option<T> {
        let asked = std::pin::pin!(asked);
        tokio::select! {
            biased;
            () = office.death() => {
                self.trace.note(Place::User, "is not answered", None);
                None
            }
            answer = timeout(ANSWER_WITHIN, asked) => match answer {
                Ok(Ok(answer)) => Some(answer),
                Ok(Err(error)) => {
                    self.trace.tell(Place::User, "is told no", error.to_string());
                    None
                }
                Err(_) => {
                    violated(&self.trace, "every request ends", format!("{what} was never answered"));
                    None
                }
            }
        }
    }
}
