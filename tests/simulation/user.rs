//! Owns whoever uses the simulated coordinator: asks for things, remembers what was acknowledged, and holds the coordinator
//! to it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use reeve_common::ids::{ConfigurationName, VmId};
use reeve_coordinator::service::{Actor, ServiceError};
use tokio::time::timeout;

use super::checker::Checker;
use super::coordinator::Office;
use super::succession::Succession;
use super::trace::{Place, Trace, violated};

/// A request that is not answered for so long by a coordinator that runs never will be.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// A user.
pub struct User {
    pub(super) succession: Arc<Succession>,
    pub(super) checker: Arc<Checker>,
    pub(super) trace: Trace,
    known: Mutex<Vec<VmId>>,
    /// VMs that were asked to stop.
    asked: Mutex<BTreeSet<VmId>>,
    requests: AtomicU64,
}

/// So many requests in a row go to the coordinator that took over last; the next goes to the one before it, if that still
/// serves.
const REQUESTS_TO_THE_NEW: u64 = 2;

/// How long a user waits at a coordinator that does not answer before they look for it again.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(2);

pub(super) fn actor() -> Actor {
    Actor { uid: 1000, name: "ann".to_owned() }
}

impl User {
    /// One who has asked for nothing yet.
    #[must_use]
    pub fn new(succession: Arc<Succession>, checker: Arc<Checker>, trace: Trace) -> Arc<Self> {
        Arc::new(Self {
            succession,
            checker,
            trace,
            known: Mutex::default(),
            asked: Mutex::default(),
            requests: AtomicU64::new(0),
        })
    }

    /// The coordinator that this request goes to: as people do, now and then the wrong one.
    pub(super) async fn office(&self) -> Option<Office> {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let asks_the_old = number.is_multiple_of(REQUESTS_TO_THE_NEW + 1);
        loop {
            let outlived = self.succession.outlived().filter(|_| asks_the_old);
            let machine = outlived.unwrap_or_else(|| self.succession.current());
            // Whoever gets no answer there looks where the coordinator is by now.
            if let Ok(office) = timeout(ASK_AGAIN_AFTER, machine.until_open()).await {
                return office;
            }
        }
    }

    /// The VMs that were asked to stop.
    #[must_use]
    pub fn asked(&self) -> BTreeSet<VmId> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn known(&self, pick: u64) -> Option<VmId> {
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
        let Some(office) = self.office().await else { return Ok(()) };
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
        let Some(office) = self.office().await else { return };
        let Some(vm) = self.known(pick) else { return };
        self.trace.note(Place::User, if at_once { "destroys" } else { "shuts down" }, Some(vm));
        // What was asked may be done although the answer is lost.
        self.checker.excuse(vm);
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).insert(vm);
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

    /// The answer to a request; none when it is a no, or the coordinator dies first: then nobody knows.
    pub(super) async fn answer<T>(
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
